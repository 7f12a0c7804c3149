"""One call, from an authenticated key to an answer with its receipt.

    1. the key's license and its model, read afresh; another model's name looks like none
    2. the body read; a fault of its waits until the license was judged
    3. an answer given before under the same idempotency key is given again, without charge
    4. the license judged: the first denial in the fixed order
    5. the row checked against the model's own schema
    6. the model asked, outside any transaction
    7. charge, use, prediction and entry committed in one transaction (`serve_prediction`); after
       it, and in memory alone, a live call's inputs counted (`gateway.inputs`)
    8. the receipt signed, over what was committed

What goes wrong in steps 1 to 6 leaves one entry, written here; in step 7 it leaves the action's.
Imports torch, with `gateway.serving`: doors import this module when the first call comes.
"""

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from django.db import transaction
from django.utils import timezone

from audit.canonical import canonical
from audit.errors import DomainError, Kind
from audit.events import Event, Outcome
from audit.recording import Record, append_refusal, request_id
from gateway import idempotency, receipts, serving
from gateway.actions.predictions import Answered, serve_prediction
from gateway.authentication import KeyActor
from gateway.errors import RequestError
from gateway.inputs import COUNTER
from gateway.licensing import Call, Terms, admit
from gateway.models import Feature, License, Prediction
from gateway.releases import released_version
from governance import vault
from governance.errors import NotFoundError
from governance.lookup import find
from governance.models import Tenant
from governance.permissions import Permission
from training.errors import PredictionInputError
from training.models import ModelVersion

UNITS: Final = 1  # what one row costs
_LONGEST_PURPOSE: Final = 60


@dataclass(frozen=True)
class Asked:
    """The body of a call: `{"row": {…}, "purpose": "…"?}`."""

    row: object
    purpose: str | None
    fingerprint: str  # of the whole body

    @classmethod
    def of(cls, body: object) -> "Asked":
        """Read a parsed body.

        Raises:
            RequestError: `request.body_invalid`, with a pointer.
        """
        if not isinstance(body, dict) or not body.keys() <= {"row", "purpose"}:
            raise _wrong('the body is an object with "row" and, if told, "purpose"', "")
        if "row" not in body:
            raise _wrong("the row is missing", "/row")
        purpose = body.get("purpose")
        if purpose is not None and not (
            isinstance(purpose, str) and 0 < len(purpose) <= _LONGEST_PURPOSE
        ):
            raise _wrong("a purpose is a short text", "/purpose")
        return cls(body["row"], purpose, json.dumps(body, sort_keys=True))


@dataclass(frozen=True)
class Answer:
    """What the caller gets, and whether it was given before."""

    body: dict[str, Any]
    replayed: bool


def answer(
    actor: KeyActor,
    slug: str,
    *,
    feature: Feature,
    read_body: Callable[[], object],
    idempotency_key: str | None,
) -> Answer:
    """Answer one call, or refuse it for one recorded reason. The customer's scope is open.

    Args:
        actor: the key.
        slug: the model that the address names.
        feature: predict, or explain: a prediction with its explanation.
        read_body: gives the parsed body; what it raises is a refused call.
        idempotency_key: the header, if it was sent.

    Raises:
        DomainError: with a stable code; the entry is written already.
    """
    license_ = find(actor, License, str(actor.facts.license_id))
    customer = Tenant.objects.get(pk=actor.tenant_id)
    with ExitStack() as held:
        with _faults_recorded(actor, license_):
            if license_.model.slug != slug:  # 1
                raise NotFoundError("there is no such model here", code="model.not_found")
            asked, fault = _read(read_body)  # 2
            name, digest = _identified(customer, license_, feature, asked, idempotency_key)
            if idempotency_key is not None and asked is not None:
                earlier = _claimed_or_answered(held, actor, name, digest)  # 3
                if earlier is not None:
                    return Answer(_sent(earlier), replayed=True)
            call, version = _admitted(actor, license_, feature, asked)  # 4
            if fault is not None or asked is None:
                raise fault or _wrong("the body is missing", "")
            receipts.signing_key()  # before anything is charged for
            answered, note = _answered(call, version, asked, customer, name, digest)  # 5, 6
        token = request_id.set(name)  # entry, use and prediction carry one id
        try:
            prediction = serve_prediction(actor, license_, answered)  # 7
        finally:
            request_id.reset(token)
        if call.key.charged:
            note()
    return Answer(_sent(prediction), replayed=False)


def _read(read_body: Callable[[], object]) -> tuple[Asked | None, DomainError | None]:
    try:
        return Asked.of(read_body()), None
    except DomainError as fault:
        return None, fault


def _identified(
    customer: Tenant, license_: License, feature: Feature, asked: Asked | None, header: str | None
) -> tuple[str, str]:
    """The call's request id and its body's digest. A caller's own key enters the log as its hash.

    Raises:
        RequestError: `request.idempotency_key_invalid`.
    """
    fingerprint = "" if asked is None else asked.fingerprint
    digest = _keyed(customer, "call body", [str(license_.id), feature.value, fingerprint])
    if header is None:
        return uuid.uuid4().hex, digest
    own = idempotency.check_header(header)
    return f"ik-{_keyed(customer, 'call name', [str(license_.id), own])[:60]}", digest


def _claimed_or_answered(
    held: ExitStack, actor: KeyActor, name: str, digest: str
) -> Prediction | None:
    earlier = idempotency.answered(actor.tenant_id, name, digest)
    if earlier is None:
        held.enter_context(idempotency.claimed(actor.tenant_id, name, digest))
        # Answered by another process between the question and the claim?
        earlier = idempotency.answered(actor.tenant_id, name, digest)
    return earlier


def _admitted(
    actor: KeyActor, license_: License, feature: Feature, asked: Asked | None
) -> tuple[Call, ModelVersion]:
    version = released_version(license_.model_id)
    call = Call(
        key=actor.facts,
        terms=Terms.of(license_),
        feature=feature,
        purpose=None if asked is None else asked.purpose,
        model_purposes=None if version is None else _purposes(version),
        units=UNITS,
        now=timezone.now(),
    )
    denial = admit(call)
    if denial is not None:
        raise denial.raised()
    if version is None:  # denied above; said once more for whoever edits the table
        raise NotFoundError("there is no such model here", code="model.not_found")
    return call, version


def _purposes(version: ModelVersion) -> frozenset[str]:
    """What a version was trained for. One that was not trained here says so in its card."""
    if version.run is not None:
        return frozenset({version.run.purpose})
    return frozenset({str(version.card.get("purpose", ""))})


def _answered(
    call: Call, version: ModelVersion, asked: Asked, customer: Tenant, name: str, digest: str
) -> tuple[Answered, Callable[[], None]]:
    """What the model says, and what counts its inputs once that is committed."""
    model = serving.loaded(version)
    try:
        row = model.check_row(asked.row)
    except PredictionInputError as error:
        raise PredictionInputError(
            error.detail, code=error.stable_code, pointer=f"/row{error.pointer or ''}"
        ) from None
    identity = uuid.uuid4()
    commitment = _keyed(customer, "prediction input", [version.artifact_digest, row])
    scored = serving.score(
        model,
        version,
        row,
        explain=call.feature is Feature.EXPLAIN,
        record_id=str(identity),
        commitment=commitment,
    )
    answered = Answered(
        id=identity,
        call=call,
        version=version,
        score=scored.score,
        label=scored.label,
        explanation=scored.explanation,
        commitment=commitment,
        request_id=name,
        request_digest=digest,
    )
    return answered, partial(COUNTER.note, version, model.input_bins, row)


def _sent(prediction: Prediction) -> dict[str, Any]:
    return {**prediction.answer, "receipt": receipts.receipt_for(prediction.entry_id)}  # 8


def _keyed(customer: Tenant, use: str, value: object) -> str:
    return vault.keyed_hash(customer, use, canonical(value)).hex()


@contextmanager
def _faults_recorded(actor: KeyActor, license_: License) -> Iterator[None]:
    """One entry for what goes wrong before the action: `denied`, or `failed` where it is ours."""
    try:
        yield
    except NotFoundError as error:
        append_refusal(
            Event.LOOKUP_REFUSED,
            actor,
            license_,
            error.stable_code,
            Permission.PREDICT.value,
            kind="model",
        )
        raise
    except DomainError as error:
        if error.kind is Kind.FAILED:
            _record_failure(actor, license_, error.stable_code)
        else:
            append_refusal(
                Event.PREDICTION_SERVED,
                actor,
                license_,
                error.stable_code,
                Permission.PREDICT.value,
            )
        raise
    except Exception:
        _record_failure(actor, license_, "internal")
        raise


def _record_failure(actor: KeyActor, license_: License, reason: str) -> None:
    record = Record(Event.PREDICTION_SERVED, actor, license_, Permission.PREDICT.value)
    with transaction.atomic(durable=True):
        record.append(Outcome.FAILED, reason=reason)


def _wrong(detail: str, pointer: str) -> RequestError:
    return RequestError(detail, code="request.body_invalid", pointer=pointer)
