"""What training raises: one root, grown from `audit.errors.DomainError`.

TrainingError
├── ConfigError            run.*          what was asked for cannot be run
│   └── AuditingError      auditing.*     an audit of the engine cannot be made of this
├── RunRefusedError        run.*          a rule of the house forbids the run
├── RunStateError          run.*          the run's state does not allow it now
├── RunFailedError         (any)          a run that somebody waited for did not finish
├── BudgetError            budget.*       the privacy budget does not allow it
├── LedgerError            ledger.*       the ledger was used or written wrongly: a fault of ours
├── ModelStateError        model.*        the model's state does not allow it now
├── RolloutError           rollout.*      a version cannot have this part, or this end of service
├── ExaminationError       examination.*  a model cannot be examined in this way
├── ExaminationStateError  examination.*  the examination's state does not allow it now
├── ExaminationFailedError (any)          an examination that somebody waited for did not finish
├── WatchError             watch.*        another pass of the watch was first
├── FeatureError           feature.*      a declaration or a column cannot be encoded
├── PredictionInputError   predict.*      one request row is not what the model's schema says
├── EngineError            engine.*       the training loop, or a rank of it, cannot go on
├── RandomnessError        randomness.*   a source of random bits is not acceptable here
├── CheckpointError        checkpoint.*   what was kept of an attempt cannot be written or read
├── EncoderError           encoder.*      a packaged encoder is not there, or is another one
└── ArtifactError          artifact.*     stored weights are not what they claim to be
"""

from audit.errors import DomainError, Kind


class TrainingError(DomainError):
    """Root of what training raises."""

    code = "training.error"


class ConfigError(TrainingError):
    """A run's parameters are missing, out of range or not finite; the pointer names the field."""

    code = "run.config_invalid"
    kind = Kind.INVALID


class AuditingError(ConfigError):
    """Too few canaries, or arrays that do not belong together."""

    code = "auditing.invalid"


class RunRefusedError(TrainingError):
    """The column plan, the dataset's declarations or a guarantee forbid this run."""

    code = "run.refused"
    kind = Kind.REFUSED


class RunStateError(TrainingError):
    """The run's state does not allow it now."""

    code = "run.state"
    kind = Kind.CONFLICT


class RunFailedError(TrainingError):
    """A run that somebody waited for ended without a model; `code` says why."""

    code = "run.failed"


class BudgetError(TrainingError):
    """No noise level, or no remaining budget, allows what was asked."""

    code = "budget.exceeded"
    kind = Kind.REFUSED


class LedgerError(TrainingError):
    """A line does not belong where it was to be written: nothing runs that was not reserved."""

    code = "ledger.invalid"


class RolloutError(TrainingError):
    """A version's part in the service, or the end of it, cannot be what was asked for."""

    code = "rollout.invalid"
    kind = Kind.INVALID


class ModelStateError(TrainingError):
    """The model version's state does not allow it now."""

    code = "model.state"
    kind = Kind.CONFLICT


class ExaminationError(TrainingError):
    """A rule of the house, or what the model claims, forbids this examination."""

    code = "examination.refused"
    kind = Kind.REFUSED


class ExaminationStateError(TrainingError):
    """The examination's state does not allow it now."""

    code = "examination.state"
    kind = Kind.CONFLICT


class ExaminationFailedError(TrainingError):
    """An examination that somebody waited for ended without figures; `code` says why."""

    code = "examination.failed"


class WatchError(TrainingError):
    """The window is closed, or the decline has its proposal: another pass was first."""

    code = "watch.done_already"
    kind = Kind.CONFLICT


class FeatureError(TrainingError):
    """A feature declaration is wrong, or a declared column is not in the table."""

    code = "feature.declaration_invalid"
    kind = Kind.INVALID


class PredictionInputError(TrainingError):
    """One request row does not fit the model's input schema. Never quotes the row."""

    code = "predict.input_invalid"
    kind = Kind.INVALID


class EngineError(TrainingError):
    """The training loop met something that would break its privacy or its result."""

    code = "engine.refused"


class RandomnessError(TrainingError):
    """A seeded or a forked source was offered where fresh secure randomness is required."""

    code = "randomness.refused"


class CheckpointError(TrainingError):
    """What a worker kept of an attempt is damaged, or there is no room to keep it."""

    code = "checkpoint.damaged"


class EncoderError(TrainingError):
    """The files of a packaged encoder are missing, or not those that are pinned."""

    code = "encoder.missing"


class ArtifactError(TrainingError):
    """Model bytes do not match their digest, their architecture or their declared shapes."""

    code = "artifact.invalid"
