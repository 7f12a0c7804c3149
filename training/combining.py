"""What a run of an ensemble makes: its members' artifacts in one, and what its card says of them.

Imports torch.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from audit.canonical import decimal
from governance.vault import open_object
from training import ledger, members
from training.artifacts import ensemble_to_bytes
from training.cards import promise_in_words
from training.config import Guarantee, Plan, TrainingConfig
from training.models import ModelVersion, Run
from training.units import Unit

_PLACES: Final = 10_000  # ε of a promise is rounded up to 1/10,000


def combined(run: Run, config: TrainingConfig, plan: Plan) -> bytes:
    """The artifact of a run's ensemble, of its members' stored bytes.

    Raises:
        ConfigError: `run.member_unknown`.
        SealError: a member's bytes do not open.
        ArtifactError: they are not the registered ones, or not a valid model.
        FeatureError: the members do not belong together.
    """
    stored = []
    digests = []
    for member in members.of(run):
        with open_object(member.artifact) as file:
            stored.append(file.read())
        digests.append(member.artifact_digest)
    return ensemble_to_bytes(stored, digests, config=config, plan=plan)


def sections(run: Run, card: Mapping[str, Any]) -> dict[str, Any]:
    """What an ensemble's card says otherwise than that of a trained model.

    Args:
        run: of the ensemble; its release is written ahead.
        card: as `cards.model_card` wrote it.
    """
    held = members.of(run)
    training = {
        **card["training"],
        "kept": "nothing was trained: the mean of the members' probabilities, with equal weights",
        "curve_means": "there is no curve",
    }
    shown: dict[str, Any] = {
        "members": [_told(one) for one in held],
        "training": training,
        "limits": [
            *card["limits"],
            "a member that is withdrawn withdraws this model with it",
        ],
    }
    if run.guarantee == Guarantee.DP:
        shown["privacy"] = _privacy(run, [one.run for one in held if one.run], card["privacy"])
    return shown


def _told(member: ModelVersion) -> dict[str, Any]:
    return {
        "name": members.name_of(member),
        "reference": member.reference,
        "artifact": member.artifact_digest,
        "card": member.card_digest,
        "kind": member.card["model"]["kind"],
        "epsilon_spent": member.card["privacy"].get("epsilon_spent"),
    }


def _privacy(run: Run, behind: Sequence[Run], told: Mapping[str, Any]) -> dict[str, Any]:
    """ε of what the members' runs wrote ahead, of the release, and of both together.

    Who sees an ensemble's answers sees something of every member, so the promise is about all that
    was written ahead for any of them, composed in Rényi terms: less than the sum of their ε. The
    release is on held-out rows, which no member was trained on: the larger of the two parts counts
    (`charges.Part`).
    """
    delta = float(run.version.dataset.budget.delta)
    unit = Unit(str(told["unit"]))
    together = ledger.spent_together([*behind, run], delta)
    promised = math.ceil(together * _PLACES) / _PLACES
    kept = {
        name: figure
        for name, figure in told.items()
        if name not in {"noise_multiplier", "max_grad_norm", "sample_rate", "sampling"}
        and not name.endswith("_share")
    }
    return {
        **kept,
        "epsilon_spent": decimal(together),
        "epsilon_members": decimal(ledger.spent_together(behind, delta)),
        "epsilon_release": decimal(ledger.spent_by(run, delta)),
        "epsilon_asked_for": "the release on the held-out rows alone; the members were paid for by "
        "their own runs",
        "composition": "the mean of the members is post-processing; the members' runs and the "
        "release compose in Rényi terms, " + str(told["composition"]),
        "promise": {
            language: promise_in_words(promised, delta, language, unit) for language in ("en", "zh")
        },
    }
