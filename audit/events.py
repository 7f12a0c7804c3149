"""Everything that can be recorded, and the facts that each event may carry.

A fact is public for ever: it is hashed into the log and shown to auditors and, in receipts, to
tenants. So there is no type for free text. A fact is an id, a code, a number, a digest or a count,
and each type has a pattern that a name, a phone number or an address does not fit. What must be
told but is personal goes through `Record.private`, which leaves only a salted commitment in the
log.
"""

import re
from enum import Enum, StrEnum
from typing import Any, Final, Self

from audit.canonical import LARGEST
from audit.errors import UndeclaredFactError


class Outcome(StrEnum):
    """How an action ended."""

    DONE = "done"
    DENIED = "denied"
    FAILED = "failed"


class Fact(StrEnum):
    """The type of a fact: what may stand in it."""

    REFERENCE = "reference"  # "dataset:<uuid>", an id of ours
    CODE = "code"  # a lower-case word of ours: a purpose slug, a state, an error code
    NUMBER = "number"  # a whole number
    DECIMAL = "decimal"  # a measured number as a decimal string
    DIGEST = "digest"  # hexadecimal SHA-256 or SM3
    FLAG = "flag"  # true or false
    COUNTS = "counts"  # code -> whole number
    CODES = "codes"  # a list of codes


_REFERENCE: Final = re.compile(r"[a-z][a-z_]{0,30}:[A-Za-z0-9_-]{1,64}")
_CODE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.+/-]{0,79}")
_DECIMAL: Final = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


def is_reference(text: str) -> bool:
    """Whether `text` names a row of ours and cannot be anything else."""
    return _REFERENCE.fullmatch(text) is not None


def is_code(text: str) -> bool:
    """Whether `text` has the form of a code."""
    return _CODE.fullmatch(text) is not None


def _fits(kind: Fact, value: object) -> bool:  # noqa: PLR0911 - one line a type
    match kind:
        case Fact.REFERENCE:
            return isinstance(value, str) and _REFERENCE.fullmatch(value) is not None
        case Fact.CODE:
            return isinstance(value, str) and _CODE.fullmatch(value) is not None
        case Fact.NUMBER:
            return type(value) is int and abs(value) <= LARGEST
        case Fact.DECIMAL:
            return isinstance(value, str) and _DECIMAL.fullmatch(value) is not None
        case Fact.DIGEST:
            return isinstance(value, str) and _DIGEST.fullmatch(value) is not None
        case Fact.FLAG:
            return isinstance(value, bool)
        case Fact.COUNTS:
            return isinstance(value, dict) and all(
                _fits(Fact.CODE, key) and _fits(Fact.NUMBER, count) for key, count in value.items()
            )
        case Fact.CODES:
            return isinstance(value, list) and all(_fits(Fact.CODE, item) for item in value)


class Event(Enum):
    """What can happen. The value is the name in the log, and never changes."""

    def __new__(cls, name: str, *_declared: object) -> Self:
        """Make the dotted name the member's value; refuse a name that stands already."""
        if name in {member.value for member in cls}:
            raise ValueError(f"event {name} is declared twice")
        member = object.__new__(cls)
        member._value_ = name
        return member

    def __init__(self, _name: str, facts: dict[str, Fact] | None = None, *private: str) -> None:
        self.facts = facts or {}
        self.private = frozenset(private)

    # The log about itself
    UNAUDITED = "log.unaudited", {"reason": Fact.CODE}
    BUNDLE_EXPORTED = (
        "log.bundle_exported",
        {"size": Fact.NUMBER, "root": Fact.DIGEST, "entries": Fact.NUMBER},
    )
    LOOKUP_REFUSED = "access.refused", {"kind": Fact.CODE}
    LOGIN_REFUSED = "access.login_refused", {"count": Fact.NUMBER, "reason": Fact.CODE}
    CALL_REFUSED = "access.call_refused", {"count": Fact.NUMBER, "reason": Fact.CODE}

    # People and tenants
    OFFICER_BOOTSTRAPPED = "people.officer_bootstrapped", {"user": Fact.REFERENCE}
    USER_CREATED = "people.user_created", {"user": Fact.REFERENCE}, "username"
    USER_DEACTIVATED = "people.user_deactivated", {"user": Fact.REFERENCE}
    ROLE_PROPOSED = (
        "people.role_proposed",
        {"user": Fact.REFERENCE, "role": Fact.CODE, "proposal": Fact.REFERENCE},
    )
    ROLE_REVOKED = "people.role_revoked", {"user": Fact.REFERENCE, "role": Fact.CODE}
    TENANT_CREATED = (
        "tenant.created",
        {"suite": Fact.CODE, "provider": Fact.FLAG, "customer": Fact.FLAG},
    )
    PURPOSE_DECLARED = "tenant.purpose_declared", {"purpose": Fact.CODE, "legal_basis": Fact.CODE}
    KEYS_ROTATED = "keys.rotated", {"level": Fact.CODE, "rewrapped": Fact.NUMBER}

    # Approvals
    PROPOSAL_APPROVED = (
        "proposal.approved",
        {
            "kind": Fact.CODE,
            "role": Fact.CODE,
            "payload": Fact.DIGEST,
            "complete": Fact.FLAG,
            "subject": Fact.REFERENCE,
        },
    )
    PROPOSAL_REJECTED = (
        "proposal.rejected",
        {"kind": Fact.CODE, "role": Fact.CODE, "payload": Fact.DIGEST, "subject": Fact.REFERENCE},
    )

    # Data
    DATASET_UPLOADED = (
        "dataset.uploaded",
        {
            "purpose": Fact.CODE,
            "legal_basis": Fact.CODE,
            "batch": Fact.REFERENCE,
            "files": Fact.NUMBER,
            "object": Fact.REFERENCE,  # the first file's
            "sealed_bytes": Fact.NUMBER,
            "suite": Fact.CODE,
        },
    )
    DATASET_APPENDED = (
        "dataset.appended",
        {
            "number": Fact.NUMBER,
            "batch": Fact.REFERENCE,
            "files": Fact.NUMBER,
            "object": Fact.REFERENCE,
            "sealed_bytes": Fact.NUMBER,
            "suite": Fact.CODE,
        },
    )
    FETCH_REQUESTED = (
        "dataset.fetch_requested",
        {"source": Fact.CODE, "object": Fact.REFERENCE},
    )
    FETCH_STOPPED = "dataset.fetch_stopped", {"source": Fact.CODE, "code": Fact.CODE}
    DATASET_PREVIEWED = (
        "dataset.previewed",
        {"encoding": Fact.CODE, "object": Fact.REFERENCE},
    )
    DATASET_REREAD = "dataset.reread", {"encoding": Fact.CODE}
    DATASET_PROFILED = (
        "dataset.profiled",
        {
            "format": Fact.CODE,
            "encoding": Fact.CODE,
            "encoding_overridden": Fact.FLAG,
            "rows": Fact.NUMBER,
            "columns": Fact.NUMBER,
            "batch": Fact.REFERENCE,
            "files": Fact.NUMBER,
            "groups": Fact.NUMBER,
            "undeclared_sensitive": Fact.CODES,
            "covered": Fact.FLAG,  # by the plan in force: nothing new is proposed
            "plan": Fact.DIGEST,
            "detector": Fact.CODE,
            "proposal": Fact.REFERENCE,
            "entities": Fact.COUNTS,
        },
    )
    RULES_ADDED = (
        "recognition.rules_added",
        {
            "number": Fact.NUMBER,
            "digest": Fact.DIGEST,
            "finds": Fact.NUMBER,
            "allows": Fact.NUMBER,
        },
    )
    RULES_OPENED = "recognition.rules_opened", {"number": Fact.NUMBER}
    RULES_TRIED = (
        "recognition.rules_tried",
        {"finds": Fact.NUMBER, "allows": Fact.NUMBER, "object": Fact.REFERENCE},
    )
    DETECTOR_MEASURED = (
        "recognition.detector_measured",
        {
            "detector": Fact.CODE,
            "rules": Fact.CODE,
            "labeled": Fact.DIGEST,
            "rows": Fact.NUMBER,
            "values": Fact.NUMBER,
            "hidden": Fact.NUMBER,
        },
    )
    PLAN_AMENDED = (
        "dataset.plan_amended",
        {"plan": Fact.DIGEST, "proposal": Fact.REFERENCE, "changed": Fact.NUMBER},
    )
    ANONYMIZATION_BEGUN = (
        "dataset.anonymization_begun",
        {"plan": Fact.DIGEST, "proposal": Fact.REFERENCE, "groups": Fact.NUMBER},
    )
    APPEND_BEGUN = (
        "dataset.append_begun",
        {"plan": Fact.DIGEST, "batch": Fact.REFERENCE, "groups": Fact.NUMBER},
    )
    GROUP_SEALED = (
        "dataset.group_sealed",
        {
            "group": Fact.REFERENCE,
            "plan": Fact.DIGEST,
            "rows": Fact.NUMBER,
            "digest": Fact.DIGEST,
            "object": Fact.REFERENCE,
            "entities": Fact.COUNTS,
            "leaks": Fact.COUNTS,
            "compared": Fact.NUMBER,  # cells on which the fast way was held against the slow one
            "missed": Fact.COUNTS,
            "left_out": Fact.COUNTS,
        },
    )
    DATASET_SEALED = (
        "dataset.sealed",
        {
            "version": Fact.REFERENCE,
            "number": Fact.NUMBER,
            "rows": Fact.NUMBER,
            "digest": Fact.DIGEST,
            "plan": Fact.DIGEST,
            "detector": Fact.CODE,
            "entities": Fact.COUNTS,
            "leaks": Fact.NUMBER,
            "object": Fact.REFERENCE,
            "quality": Fact.REFERENCE,
            "passed": Fact.FLAG,
        },
    )
    INGEST_STOPPED = (
        "dataset.ingest_stopped",
        {"stage": Fact.CODE, "code": Fact.CODE, "leaks": Fact.COUNTS},
    )
    INGEST_CANCELLED = "dataset.ingest_cancelled", {"jobs": Fact.NUMBER}
    CONTRACT_SET = (
        "quality.contract_set",
        {
            "dataset": Fact.REFERENCE,
            "number": Fact.NUMBER,
            "digest": Fact.DIGEST,
            "columns": Fact.NUMBER,
        },
    )
    QUALITY_CHECK_BEGUN = "quality.check_begun", {"version": Fact.REFERENCE}
    QUALITY_CHECKED = (
        "quality.checked",
        {
            "version": Fact.REFERENCE,
            "quality": Fact.REFERENCE,
            "passed": Fact.FLAG,
            "breaches": Fact.NUMBER,
            "contract": Fact.DIGEST,
        },
    )
    EXPORT_BEGUN = "dataset.export_begun", {"version": Fact.REFERENCE, "format": Fact.CODE}
    VERSION_EXPORTED = (
        "dataset.version_exported",
        {
            "version": Fact.REFERENCE,
            "rows": Fact.NUMBER,
            "format": Fact.CODE,
            "leaks": Fact.NUMBER,
            "release": Fact.REFERENCE,
            "recipient_class": Fact.CODE,
            "suppressed": Fact.NUMBER,
            "k": Fact.NUMBER,
            "l": Fact.NUMBER,
            "t": Fact.DECIMAL,
            "level": Fact.NUMBER,
            "reasons": Fact.CODES,
            "file": Fact.DIGEST,
            "proposal": Fact.REFERENCE,
        },
    )
    DATA_RELEASE_PROPOSED = (
        "dataset.release_proposed",
        {"proposal": Fact.REFERENCE, "recipient_class": Fact.CODE, "reasons": Fact.CODES},
    )
    TWIN_BEGUN = (
        "dataset.twin_begun",
        {"run": Fact.REFERENCE, "version": Fact.REFERENCE, "epsilon": Fact.DECIMAL},
    )
    TWIN_WRITTEN = (
        "dataset.twin_written",
        {
            "version": Fact.REFERENCE,
            "rows": Fact.NUMBER,
            "format": Fact.CODE,
            "file": Fact.DIGEST,
            "run": Fact.REFERENCE,
            "epsilon": Fact.DECIMAL,
        },
    )
    TWIN_STOPPED = (
        "dataset.twin_stopped",
        {"run": Fact.REFERENCE, "version": Fact.REFERENCE, "epsilon": Fact.DECIMAL},
    )
    TWIN_LOST = (
        "dataset.twin_lost",
        {"run": Fact.REFERENCE, "version": Fact.REFERENCE, "epsilon": Fact.DECIMAL},
    )
    REVEAL_PROPOSED = (
        "token.reveal_proposed",
        {"proposal": Fact.REFERENCE, "reason": Fact.CODE, "tokens": Fact.NUMBER},
    )
    TOKENS_REVEALED = "token.revealed", {"proposal": Fact.REFERENCE, "tokens": Fact.NUMBER}

    # Budgets, runs, models
    BUDGET_PROPOSED = (
        "budget.proposed",
        {"epsilon": Fact.DECIMAL, "delta": Fact.DECIMAL, "proposal": Fact.REFERENCE},
    )
    RUN_REQUESTED = (
        "run.requested",
        {
            "run": Fact.REFERENCE,
            "purpose": Fact.CODE,
            "guarantee": Fact.CODE,
            "epsilon": Fact.DECIMAL,
            "delta": Fact.DECIMAL,
            "config": Fact.DIGEST,
            "proposal": Fact.REFERENCE,
            "state": Fact.CODE,
            "priority": Fact.CODE,
        },
    )
    RUN_ESTIMATED = (
        "run.estimated",
        {
            "purpose": Fact.CODE,
            "guarantee": Fact.CODE,
            "epsilon": Fact.DECIMAL,
            "config": Fact.DIGEST,
            "steps": Fact.NUMBER,
        },
    )
    RUN_PRIORITIZED = "run.prioritized", {"priority": Fact.CODE, "before": Fact.CODE}
    RUN_CURVES_EXPORTED = (
        "run.curves_exported",
        {"attempt": Fact.NUMBER, "points": Fact.NUMBER},
    )
    RUN_BEGUN = (
        "run.begun",
        {
            "attempt": Fact.NUMBER,
            "step": Fact.NUMBER,
            "plan": Fact.DIGEST,
            "noise_multiplier": Fact.DECIMAL,
            "sample_rate": Fact.DECIMAL,
            "steps": Fact.NUMBER,
            "max_grad_norm": Fact.DECIMAL,
            "noise_source": Fact.CODE,
            "queue": Fact.CODE,
            "trials": Fact.DECIMAL,
        },
    )
    RUN_FINISHED = (
        "run.finished",
        {
            "attempt": Fact.NUMBER,
            "steps": Fact.NUMBER,
            "epsilon": Fact.DECIMAL,
            "epsilon_pld": Fact.DECIMAL,
            "delta": Fact.DECIMAL,
            "guarantee": Fact.CODE,
            "model": Fact.REFERENCE,
            "artifact": Fact.DIGEST,
            "auroc": Fact.DECIMAL,
            "seconds": Fact.DECIMAL,
            "cost": Fact.DECIMAL,
            "currency": Fact.CODE,
        },
    )
    RUN_STOPPED = (
        "run.stopped",
        {
            "attempt": Fact.NUMBER,
            "state": Fact.CODE,
            "code": Fact.CODE,
            "steps": Fact.NUMBER,
            "epsilon": Fact.DECIMAL,
            "seconds": Fact.DECIMAL,
            "cost": Fact.DECIMAL,
            "currency": Fact.CODE,
        },
    )
    RUN_CHECKPOINT_REMOVED = (
        "run.checkpoint_removed",
        {"attempt": Fact.NUMBER, "step": Fact.NUMBER, "state": Fact.CODE, "code": Fact.CODE},
    )
    RUN_CANCELLED = "run.cancel_asked", {"state": Fact.CODE}
    RUN_RETRIED = (
        "run.retried",
        {
            "attempt": Fact.NUMBER,
            "step": Fact.NUMBER,
            "epsilon": Fact.DECIMAL,
            "state": Fact.CODE,
        },
    )
    RELEASE_PROPOSED = (
        "model.release_proposed",
        {"proposal": Fact.REFERENCE, "artifact": Fact.DIGEST, "card": Fact.DIGEST},
    )
    MODEL_EXPORTED = (
        "model.exported",
        {"artifact": Fact.DIGEST, "form": Fact.CODE, "file": Fact.DIGEST, "size": Fact.NUMBER},
    )
    # `member`: the version that an ensemble holds, and with which it was withdrawn.
    MODEL_WITHDRAWN = "model.withdrawn", {"artifact": Fact.DIGEST, "member": Fact.REFERENCE}
    MODEL_SERVICE_SET = (
        "model.service_set",
        {"artifact": Fact.DIGEST, "service": Fact.CODE, "share": Fact.NUMBER},
    )
    # `to`: what answers the calls from here on.
    MODEL_ROLLED_BACK = "model.rolled_back", {"artifact": Fact.DIGEST, "to": Fact.REFERENCE}
    # `ends`: microseconds since the Unix epoch; absent where the notice was taken back.
    SUNSET_ANNOUNCED = "model.sunset_announced", {"artifact": Fact.DIGEST, "ends": Fact.NUMBER}
    EXAMINATION_REQUESTED = (
        "examination.requested",
        {
            "examination": Fact.REFERENCE,
            "artifact": Fact.DIGEST,
            "kinds": Fact.CODES,
            "shadows": Fact.NUMBER,
            "run": Fact.REFERENCE,
            "epsilon": Fact.DECIMAL,
        },
    )
    EXAMINATION_FINISHED = (
        "examination.finished",
        {
            "model": Fact.REFERENCE,
            "artifact": Fact.DIGEST,
            "kinds": Fact.CODES,
            "figures": Fact.DIGEST,
            "objections": Fact.CODES,
            "run": Fact.REFERENCE,
            "epsilon": Fact.DECIMAL,
        },
    )
    EXAMINATION_FAILED = (
        "examination.failed",
        {
            "model": Fact.REFERENCE,
            "code": Fact.CODE,
            "run": Fact.REFERENCE,
            "epsilon": Fact.DECIMAL,
        },
    )
    EXAMINATION_CANCELLED = (
        "examination.cancelled",
        {"model": Fact.REFERENCE, "run": Fact.REFERENCE, "epsilon": Fact.DECIMAL},
    )
    WINDOW_CLOSED = (
        "model.window_closed",
        {
            "number": Fact.NUMBER,
            "ends": Fact.NUMBER,
            "served": Fact.NUMBER,
            "labeled": Fact.NUMBER,
            "correct": Fact.NUMBER,
            "accuracy": Fact.DECIMAL,
            "low": Fact.DECIMAL,  # of the 95 % interval
            "high": Fact.DECIMAL,
            "floor": Fact.DECIMAL,
            "psi": Fact.DECIMAL,
            "chance": Fact.DECIMAL,
            "reference": Fact.CODE,
            "inputs": Fact.NUMBER,  # answers whose inputs were counted
            "input_psi": Fact.DECIMAL,  # of the feature that moved farthest; names stay inside
            "input_chance": Fact.DECIMAL,
            "inputs_shifted": Fact.NUMBER,  # features
            "findings": Fact.CODES,
        },
    )
    RETRAINING_PROPOSED = (
        "model.retraining_proposed",
        {
            "proposal": Fact.REFERENCE,
            "window": Fact.NUMBER,
            "finding": Fact.CODE,
            "version": Fact.REFERENCE,
            "epsilon": Fact.DECIMAL,
            "config": Fact.DIGEST,
            "plan": Fact.DIGEST,
        },
    )
    ROLLBACK_PROPOSED = (
        "model.rollback_proposed",
        {
            "proposal": Fact.REFERENCE,
            "window": Fact.NUMBER,
            "finding": Fact.CODE,
            "because": Fact.CODE,  # why no retraining was proposed
            "artifact": Fact.DIGEST,
            "to": Fact.REFERENCE,
        },
    )

    # Commerce
    LICENSE_ISSUED = (
        "license.issued",
        {
            "customer": Fact.REFERENCE,
            "model": Fact.REFERENCE,
            "features": Fact.CODES,
            "purposes": Fact.CODES,
            "regions": Fact.CODES,
            "version": Fact.NUMBER,  # none: the newest released one
            "seats": Fact.NUMBER,
            "trial": Fact.FLAG,
            "quota": Fact.NUMBER,
            "expires": Fact.NUMBER,
            "rate": Fact.NUMBER,
            "burst": Fact.NUMBER,
            "terms": Fact.DIGEST,
        },
    )
    LIMIT_SET = (
        "limit.set",
        {
            "scope": Fact.CODE,
            "of": Fact.REFERENCE,
            "rate": Fact.NUMBER,
            "burst": Fact.NUMBER,
            "quota": Fact.NUMBER,
            "period": Fact.CODE,
        },
    )
    LIMIT_LIFTED = "limit.lifted", {"scope": Fact.CODE, "of": Fact.REFERENCE}
    LICENSE_REVOKED = "license.revoked", {"customer": Fact.REFERENCE}
    LICENSE_SUSPENDED = "license.suspended", {"customer": Fact.REFERENCE, "reason": Fact.CODE}
    LICENSE_RESUMED = "license.resumed", {"customer": Fact.REFERENCE}
    LICENSE_RENEWED = (
        "license.renewed",
        {
            "customer": Fact.REFERENCE,
            "number": Fact.NUMBER,
            "expires": Fact.NUMBER,
            "keys": Fact.NUMBER,  # that end with the license, and were extended with it
            "before": Fact.DIGEST,
            "after": Fact.DIGEST,
        },
    )
    LICENSE_AMENDED = (
        "license.amended",
        {
            "customer": Fact.REFERENCE,
            "number": Fact.NUMBER,
            "changed": Fact.CODES,
            "before": Fact.DIGEST,
            "after": Fact.DIGEST,
        },
    )
    LICENSE_FILE_ISSUED = (
        "license.file_issued",
        {
            "customer": Fact.REFERENCE,
            "file": Fact.DIGEST,
            "terms": Fact.DIGEST,
            "until": Fact.NUMBER,
            "size": Fact.NUMBER,  # of the log that the file names
        },
    )
    REVOCATIONS_ISSUED = (
        "license.revocations_issued",
        {
            "customer": Fact.REFERENCE,
            "file": Fact.DIGEST,
            "number": Fact.NUMBER,
            "revoked": Fact.NUMBER,
            "suspended": Fact.NUMBER,
            "next_update": Fact.NUMBER,
        },
    )
    KEY_ISSUED = (
        "key.issued",
        {
            "key": Fact.REFERENCE,
            "expires": Fact.NUMBER,
            "mode": Fact.CODE,
            "scopes": Fact.CODES,  # none: whatever the license allows
            "networks": Fact.NUMBER,  # how many; 0: from anywhere
        },
    )
    # `overlap` in seconds; `kept`: which secret stays good beside the new one for so long.
    KEY_ROTATED = (
        "key.rotated",
        {"key": Fact.REFERENCE, "overlap": Fact.NUMBER, "kept": Fact.CODE},
    )
    KEY_REVOKED = "key.revoked", {"key": Fact.REFERENCE}
    # Somebody found a key and sent it, whole: it is revoked.
    KEY_REPORTED = "key.reported", {"key": Fact.REFERENCE}
    # Texts that were sent as found keys and opened nothing; counted, as refused calls are.
    KEY_REPORT_REFUSED = "key.report_refused", {"count": Fact.NUMBER}
    PREDICTION_SERVED = (
        "prediction.served",
        {
            "prediction": Fact.REFERENCE,
            "license": Fact.REFERENCE,
            "model": Fact.REFERENCE,
            "artifact": Fact.DIGEST,
            "guarantee": Fact.CODE,
            "input": Fact.DIGEST,
            "output": Fact.DECIMAL,
            "explanation": Fact.DIGEST,
            "sku": Fact.CODE,
            "units": Fact.NUMBER,
            "purpose": Fact.CODE,
            "region": Fact.CODE,
            # Of a batch, whose `input` and `outputs` are Merkle roots over its rows.
            "rows": Fact.NUMBER,
            "outputs": Fact.DIGEST,
            "charged": Fact.FLAG,  # a test key's call is counted, not charged
        },
    )
    STATEMENT_EXPORTED = (
        "usage.statement_exported",
        {
            "customer": Fact.REFERENCE,
            "year": Fact.NUMBER,
            "month": Fact.NUMBER,
            "lines": Fact.NUMBER,
            "calls": Fact.NUMBER,
            "charged": Fact.NUMBER,
            "until": Fact.NUMBER,  # the place in the log up to which calls are counted
        },
    )
    # A file of rows, answered in parts that are each a `prediction.served`.
    CALL_FILE_TAKEN = (
        "call_file.taken",
        {
            "license": Fact.REFERENCE,
            "model": Fact.REFERENCE,
            "input": Fact.DIGEST,
            "bytes": Fact.NUMBER,
        },
    )
    CALL_FILE_ENDED = (
        "call_file.ended",
        {
            "license": Fact.REFERENCE,
            "state": Fact.CODE,
            "rows": Fact.NUMBER,
            "code": Fact.CODE,
        },
    )
    CALL_FILE_CANCELLED = (
        "call_file.cancelled",
        {"license": Fact.REFERENCE, "rows": Fact.NUMBER},
    )
    CALL_FILE_FETCHED = "call_file.fetched", {"license": Fact.REFERENCE, "rows": Fact.NUMBER}
    # How many labels came, and nothing of what they say.
    FEEDBACK_TAKEN = (
        "prediction.feedback_taken",
        {"license": Fact.REFERENCE, "taken": Fact.NUMBER, "known": Fact.NUMBER},
    )

    def check(self, facts: dict[str, Any]) -> None:
        """Raise UndeclaredFactError unless each fact is declared here and fits its type."""
        for name, value in facts.items():
            kind = self.facts.get(name)
            if kind is None:
                raise UndeclaredFactError(f"{self.value} declares no fact {name}")
            if not _fits(kind, value):
                raise UndeclaredFactError(f"{self.value}: {name} is not a {kind}")
