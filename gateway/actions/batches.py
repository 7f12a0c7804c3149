"""One answered batch: charged for all of its rows, counted, recorded and stored, or not at all."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from django.db import IntegrityError
from django.utils import timezone

from audit.events import Event
from audit.recording import Record, action
from audit.rows import insert_rows
from gateway import batches, last_use, metering
from gateway.actions.predictions import Served
from gateway.authentication import KeyActor
from gateway.errors import InFlightError
from gateway.licensing import Call
from gateway.models import License, Prediction, UsageEvent
from governance.leases import Lease
from governance.permissions import Permission
from training.models import ModelVersion


@dataclass(frozen=True)
class AnsweredBatch:
    """What was computed before the transaction, ready to be charged and recorded.

    Attributes:
        id: of the batch.
        call: what is charged: a unit a row.
        version: what answered.
        scores: of each row, in the order of the body.
        decided: whether each row got the positive label.
        labels: the positive label, and the other; None where that is any but the positive one.
        inputs, outputs: Merkle roots over the rows' keyed hashes, and over their scores.
        request_id, request_digest: as in `Answered`.
    """

    id: uuid.UUID
    call: Call
    version: ModelVersion
    scores: Sequence[float]
    decided: Sequence[bool]
    labels: tuple[str, str | None]
    inputs: str
    outputs: str
    request_id: str
    request_digest: str


@action(Event.PREDICTION_SERVED, requires=Permission.PREDICT)
def serve_batch(
    record: Record,
    actor: KeyActor,
    license_: License,
    answered: AnsweredBatch,
    lease: Lease | None = None,
) -> Served:
    """Charge the license for all rows at once, count the use, store the answers, record them.

    `lease` is the job's, where the batch is a part of a file.

    Raises:
        LostLeaseError: the file was cancelled, or another worker holds it; nothing is charged.
        CredentialError, LicenseError, QuotaError: the batch is not allowed (any more); a quota that
            has room for some of its rows has room for none.
        InFlightError: the same request id was answered a moment ago, elsewhere.
    """
    if lease is not None:
        lease.check()
    now = timezone.now()
    call, version = answered.call, answered.version
    metering.take([(call, version.pk)], at=now)
    last_use.touch(actor.facts, at=now)
    owned = {"tenant_id": actor.tenant_id, "license_id": license_.pk, "created_at": now}
    usage = {
        **owned,
        "request_id": answered.request_id,
        "sku": call.feature.value,
        "units": call.units,
        "charged": call.key.charged,
    }
    head = {
        "batch": str(answered.id),
        "model": version.model.slug,
        "version": version.number,
        "guarantee": version.guarantee,
        "labels": answered.labels,
    }
    answer = batches.stored(head, answered.scores, answered.decided)
    prediction = {
        **owned,
        "id": answered.id,
        "key_id": actor.facts.id,
        "version_id": version.pk,
        "request_id": answered.request_id,
        "request_digest": answered.request_digest,
        "entry_id": record.entry_id,
        "answer": answer,
        "explanation": None,
        "rows": len(answered.scores),
    }
    try:
        insert_rows((UsageEvent, [usage]), (Prediction, [prediction]))
    except IntegrityError:
        raise InFlightError("this request was answered a moment ago: send it again") from None
    record.facts(
        prediction=f"prediction:{answered.id}",
        license=license_.reference,
        model=version.reference,
        artifact=version.artifact_digest,
        guarantee=version.guarantee,
        input=answered.inputs,
        outputs=answered.outputs,
        rows=len(answered.scores),
        sku=call.feature.value,
        units=call.units,
        charged=call.key.charged,
        purpose=call.stated_purpose,
        **({} if call.region is None else {"region": call.region}),
    )
    return Served(answer, record.entry_id, record)
