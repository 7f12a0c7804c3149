"""From a labeled file to a stored measurement. The file is read once and kept nowhere."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from audit.errors import RefusedError
from audit.events import Event
from audit.recording import append_refusal
from governance.actions.measurements import Measured, record_measurement
from governance.errors import InvalidError
from governance.measurement.detecting import BATCH, detect
from governance.measurement.labels import LabeledRow, read_rows
from governance.measurement.scoring import Scorer
from governance.models import DetectorMeasurement, Tenant
from governance.permissions import Permission
from governance.rbac import UserActor
from governance.recognition.presidio import detector_version
from governance.recognition.tenant_rules import NO_RULES, TenantRules
from governance.recognition_rules import rules_of
from governance.tenant_keys import keyed_hash


def measure(
    actor: UserActor,
    tenant: Tenant,
    lines: Iterable[bytes],
    *,
    regimes: Sequence[str] = ("cn", "us"),
    own_rules: bool = True,
) -> DetectorMeasurement:
    """Run the detector over labeled rows, count, and keep the counts.

    Args:
        actor: who measures; asked for the right before the file is read.
        tenant: whose measurement it is, and whose rules take part.
        lines: of a labeled file; see `labels`.
        regimes: jurisdictions, as a dataset declares them.
        own_rules: let the newest edition of the tenant's own rules take part.

    Raises:
        RefusedError: the actor may not.
        InvalidError: a bad line, see `labels`; `measurement.empty`.
        ScanTimeoutError: a pattern ran past its time.
    """
    decision = actor.may(Permission.DETECTOR_MEASURE, tenant)
    if not decision.allowed:
        append_refusal(
            Event.LOOKUP_REFUSED,
            actor,
            tenant,
            decision.reason,
            Permission.DETECTOR_MEASURE,
            kind="measurement",
        )
        raise RefusedError("you may not do this", code=decision.reason)
    rules = rules_of(tenant) if own_rules else NO_RULES
    digest, scorer = hashlib.sha256(), Scorer(regimes)
    for batch in _batches(read_rows(_digested(lines, digest))):
        _score(scorer, batch, regimes, rules)
    if not scorer.rows:
        raise InvalidError("there is no labeled row in this file", code="measurement.empty")
    measured = Measured(
        detector=detector_version(),
        rules=rules.version,
        labeled=keyed_hash(tenant, "labeled", digest.digest()).hex(),
        rows=scorer.rows,
        counts=tuple(scorer.counts()),
    )
    return record_measurement(actor, tenant, measured=measured)


def _score(
    scorer: Scorer, rows: Sequence[LabeledRow], regimes: Sequence[str], rules: TenantRules
) -> None:
    for row, spans in zip(rows, detect(rows, regimes, rules), strict=True):
        scorer.add(row, spans)


def _batches(rows: Iterator[LabeledRow]) -> Iterator[list[LabeledRow]]:
    while batch := list(islice(rows, BATCH)):
        yield batch


def _digested(lines: Iterable[bytes], digest: "hashlib._Hash") -> Iterator[bytes]:
    for line in lines:
        digest.update(line)
        yield line
