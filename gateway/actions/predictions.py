"""One answered call: charged, counted, recorded and stored in one transaction, or not at all."""

import uuid
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from audit.canonical import decimal, digest
from audit.events import Event
from audit.explanation_records import shown
from audit.recording import Record, action
from gateway import metering
from gateway.authentication import KeyActor
from gateway.errors import InFlightError, LicenseError
from gateway.licensing import Call
from gateway.models import License, Prediction
from gateway.releases import still_released
from governance.permissions import Permission
from training.models import ModelVersion


@dataclass(frozen=True)
class Answered:
    """What was computed before the transaction, ready to be charged and recorded.

    Attributes:
        id: of the prediction; the explanation's seed follows from it.
        call: what is charged.
        version: what answered.
        score, label: the answer.
        explanation: the full record, which stays inside; callers are shown its strongest features.
        commitment: keyed hash of the input, which is kept nowhere.
        request_id, request_digest: of the call, for replays and reconciliation.
    """

    id: uuid.UUID
    call: Call
    version: ModelVersion
    score: float
    label: str | None
    explanation: dict[str, Any] | None
    commitment: str
    request_id: str
    request_digest: str


@action(Event.PREDICTION_SERVED, requires=Permission.PREDICT)
def serve_prediction(
    record: Record, actor: KeyActor, license_: License, answered: Answered
) -> Prediction:
    """Charge the license, count the use, store the answer, record it; nobody has seen it before.

    Raises:
        CredentialError, LicenseError, QuotaError: the call is not allowed (any more).
        InFlightError: the same request id was answered a moment ago, elsewhere.
    """
    now = timezone.now()
    metering.take(answered.call, at=now)
    version = answered.version
    if not still_released(version):
        raise LicenseError("this version was withdrawn meanwhile", code="model.not_released")
    metering.touch(actor.facts, at=now)
    told = None if answered.explanation is None else _told(answered.explanation)
    answer: dict[str, Any] = {
        "prediction": str(answered.id),
        "model": version.model.slug,
        "version": version.number,
        "guarantee": version.guarantee,
        "score": answered.score,
        "label": answered.label,
        "explanation": told,
    }
    try:
        with transaction.atomic():  # a savepoint: what failed is told in this transaction
            metering.count(
                answered.call,
                tenant=actor.tenant_id,
                request_id=answered.request_id,
                at=now,
            )
            prediction: Prediction = Prediction.objects.create(
                id=answered.id,
                tenant_id=actor.tenant_id,
                license=license_,
                key_id=actor.facts.id,
                version=version,
                request_id=answered.request_id,
                request_digest=answered.request_digest,
                entry_id=record.entry_id,
                answer=answer,
                explanation=answered.explanation,
                created_at=now,
            )
    except IntegrityError:
        raise InFlightError("this request was answered a moment ago: send it again") from None
    facts: dict[str, Any] = {
        "prediction": prediction.reference,
        "license": license_.reference,
        "model": version.reference,
        "artifact": version.artifact_digest,
        "guarantee": version.guarantee,
        "input": answered.commitment,
        "output": decimal(answered.score),
        "units": answered.call.units,
    }
    if told is not None:
        facts["explanation"] = told["record"]
    record.facts(**facts)
    return prediction


def _told(explanation: dict[str, Any]) -> dict[str, Any]:
    """The strongest features, rounded, beside the digest of the record that can be checked."""
    return {"record": digest(explanation), **shown(explanation)}
