"""One answered call: charged, counted, recorded and stored in one transaction, or not at all."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import IntegrityError
from django.utils import timezone

from audit.canonical import decimal, digest
from audit.events import Event
from audit.explanation_records import shown
from audit.recording import Record, action
from audit.rows import Row, insert_rows
from audit.together import Act, actions_together
from gateway import last_use, metering
from gateway.authentication import KeyActor
from gateway.errors import InFlightError
from gateway.licensing import Call
from gateway.models import License, Prediction, UsageEvent
from governance.permissions import Permission
from governance.scoping import across_tenants
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


Serving = Act[KeyActor, License, Answered]


@dataclass(frozen=True)
class Served:
    """What was committed: the answer, and the entry that says so.

    `record` holds its body, where this process wrote it just now.
    """

    answer: dict[str, Any]
    entry_id: uuid.UUID
    record: Record | None = None


@action(Event.PREDICTION_SERVED, requires=Permission.PREDICT)
def serve_prediction(
    record: Record, actor: KeyActor, license_: License, answered: Answered
) -> Served:
    """Charge the license, count the use, store the answer, record it; nobody has seen it before.

    Raises:
        CredentialError, LicenseError, QuotaError: the call is not allowed (any more).
        InFlightError: the same request id was answered a moment ago, elsewhere.
    """
    return _served([record], [Act(actor, license_, answered)])[0]


@actions_together(Event.PREDICTION_SERVED, requires=Permission.PREDICT)
def serve_predictions(records: Sequence[Record], servings: Sequence[Serving]) -> list[Served]:
    """As `serve_prediction`, several in one transaction: all of them, or none.

    Raises:
        As there, for any of them.
    """
    with across_tenants(reason="calls of several customers are committed together"):
        return _served(records, servings)


def _served(records: Sequence[Record], servings: Sequence[Serving]) -> list[Served]:
    now = timezone.now()
    metering.take([(one.asked.call, one.asked.version.pk) for one in servings], at=now)
    for actor in {serving.actor for serving in servings}:
        last_use.touch(actor.facts, at=now)
    predictions = [
        _prediction(record, serving, now) for record, serving in zip(records, servings, strict=True)
    ]
    try:
        usage = [_usage(serving, now) for serving in servings]
        insert_rows((UsageEvent, usage), (Prediction, predictions))
    except IntegrityError:
        raise InFlightError("this request was answered a moment ago: send it again") from None
    return [
        Served(prediction["answer"], record.entry_id, record)
        for prediction, record in zip(predictions, records, strict=True)
    ]


def _usage(serving: Serving, now: datetime) -> Row:
    call = serving.asked.call
    return {
        "tenant_id": serving.actor.tenant_id,
        "license_id": call.terms.id,
        "request_id": serving.asked.request_id,
        "sku": call.feature.value,
        "units": call.units,
        "charged": call.key.charged,
        "created_at": now,
    }


def _prediction(record: Record, serving: Serving, now: datetime) -> Row:
    """The row of an answer; its entry is told what it may say of it."""
    answered, version = serving.asked, serving.asked.version
    told = None if answered.explanation is None else _told(answered.explanation)
    prediction = {
        "id": answered.id,
        "tenant_id": serving.actor.tenant_id,
        "license_id": serving.subject.pk,
        "key_id": serving.actor.facts.id,
        "version_id": version.pk,
        "request_id": answered.request_id,
        "request_digest": answered.request_digest,
        "entry_id": record.entry_id,
        "answer": {
            "prediction": str(answered.id),
            "model": version.model.slug,
            "version": version.number,
            "guarantee": version.guarantee,
            "score": answered.score,
            "label": answered.label,
            "explanation": told,
        },
        "explanation": answered.explanation,
        "created_at": now,
    }
    facts: dict[str, Any] = {
        "prediction": f"prediction:{answered.id}",
        "license": serving.subject.reference,
        "model": version.reference,
        "artifact": version.artifact_digest,
        "guarantee": version.guarantee,
        "input": answered.commitment,
        "output": decimal(answered.score),
        "sku": answered.call.feature.value,
        "units": answered.call.units,
        "purpose": answered.call.stated_purpose,
        "charged": answered.call.key.charged,
    }
    if answered.call.region is not None:
        facts["region"] = answered.call.region
    if told is not None:
        facts["explanation"] = told["record"]
    record.facts(**facts)
    return prediction


def _told(explanation: dict[str, Any]) -> dict[str, Any]:
    """The strongest features, rounded, beside the digest of the record that can be checked."""
    return {"record": digest(explanation), **shown(explanation)}
