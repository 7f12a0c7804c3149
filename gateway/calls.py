"""One call, from an authenticated key to an answer with its receipt.

    1. what the key's license says, and its model; another model's name looks like none
    2. the body read; a fault of its waits until the license was judged
    3. an answer given before under the same idempotency key is given again, without charge
    4. the call taken from its rates (`gateway.limits`), and the license judged: the first denial in
       the fixed order
    5. the row checked against the model's own schema, and the score explained if asked for
    6. the model asked, outside any transaction, for all rows that wait (`gateway.committing`)
    7. charge, use, prediction and entry committed, with those of other calls or alone; after it,
       and in memory alone, a live call's inputs counted (`gateway.inputs`)
    8. the receipt signed, over what was committed

A call that would wait in 6 for longer than SERVE_TIMEOUT, or finds SERVE_QUEUE calls waiting, is
refused before 4 or in 6 (`gateway.shedding`): it is counted, and leaves no entry of its own.

What a license says is remembered for seconds (`gateway.standing`): a refusal is judged by rows that
are read for it, and step 7 asks all of it again. What goes wrong in steps 1 to 6 leaves one entry,
written here; in step 7 it leaves the action's.
Imports torch, with `gateway.serving`: doors import this module when the first call comes.
"""

import json
import logging
import math
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final

from django.db import transaction

from audit.canonical import canonical
from audit.errors import DomainError, Kind
from audit.events import Event, Outcome
from audit.recording import Record, append_refusal, request_id
from gateway import batches, batching, idempotency, receipts, serving
from gateway.actions.batches import serve_batch
from gateway.actions.predictions import Answered, Served
from gateway.agreements import is_region
from gateway.authentication import KeyActor
from gateway.committing import COMMITS, AnsweredError, Pending, StaleError, UnscoredError
from gateway.errors import OverloadedError, QuotaError, RateError, RequestError
from gateway.inputs import COUNTER
from gateway.keys import CACHE
from gateway.licensing import Call, admit
from gateway.limits import LIMITER
from gateway.models import Feature, License, Prediction
from gateway.refusals import REFUSALS
from gateway.releases import notice
from gateway.shadows import SHADOWS, Beside
from gateway.standing import STANDINGS, Standing
from governance import vault
from governance.errors import NotFoundError
from governance.models import Tenant
from governance.permissions import Permission
from training.errors import PredictionInputError
from training.models import ModelVersion

UNITS: Final = 1  # what one row costs
_log: Final = logging.getLogger(__name__)
_LONGEST_PURPOSE: Final = 60


@dataclass(frozen=True)
class Asked:
    """The body of a call: `{"row": {…}, "purpose": "…"?, "region": "…"?}`; a batch's has "rows"."""

    row: object
    purpose: str | None
    region: str | None
    fingerprint: str  # of the whole body
    rows: list[object] | None = None  # of a batch

    @classmethod
    def of(cls, body: object, *, batch: bool = False) -> "Asked":
        """Read a parsed body.

        Raises:
            RequestError: `request.body_invalid`, `request.rows_too_many`, with a pointer.
        """
        member = "rows" if batch else "row"
        if not isinstance(body, dict) or not body.keys() <= {member, "purpose", "region"}:
            raise _wrong(
                f'the body is an object with "{member}" and, if told, "purpose", "region"', ""
            )
        rows = batches.rows_of(body) if batch else None
        if rows is None and "row" not in body:
            raise _wrong("the row is missing", "/row")
        purpose = body.get("purpose")
        if purpose is not None and not (
            isinstance(purpose, str) and 0 < len(purpose) <= _LONGEST_PURPOSE
        ):
            raise _wrong("a purpose is a short text", "/purpose")
        region = body.get("region")
        if region is not None and not (isinstance(region, str) and is_region(region)):
            raise _wrong("a region is a country code or the slug of a region", "/region")
        return cls(body.get("row"), purpose, region, json.dumps(body, sort_keys=True), rows)

    @property
    def units(self) -> int:
        """What it costs."""
        return UNITS if self.rows is None else UNITS * len(self.rows)


@dataclass(frozen=True)
class Answer:
    """What the caller gets, and whether it was given before."""

    body: dict[str, Any]
    replayed: bool
    limits: Mapping[str, str] = field(default_factory=dict)  # what its rate still holds, as headers
    notice: Mapping[str, str] = field(default_factory=dict)  # of the end of the version's service

    @property
    def headers(self) -> dict[str, str]:
        """Those of the answer over HTTP that are its own."""
        replayed = {"Idempotent-Replayed": "true"} if self.replayed else {}
        return {**self.notice, **replayed, **self.limits}


def answer(
    actor: KeyActor,
    slug: str,
    *,
    feature: Feature,
    read_body: Callable[[], object],
    idempotency_key: str | None,
    batch: bool = False,
) -> Answer:
    """Answer one call, or refuse it for one recorded reason. The customer's scope is open.

    Args:
        actor: the key.
        slug: the model that the address names.
        feature: predict, or explain: a prediction with its explanation.
        read_body: gives the parsed body; what it raises is a refused call.
        idempotency_key: the header, if it was sent.
        batch: whether the body holds many rows, which are answered and charged as one.

    Raises:
        DomainError: with a stable code; the entry is written already.
    """
    standing = STANDINGS.find(actor)
    with ExitStack() as held:
        with _faults_recorded(actor, standing.license):
            if standing.license.model.slug != slug:  # 1
                raise NotFoundError("there is no such model here", code="model.not_found")
            if batch:
                held.enter_context(batching.place())
            asked, fault = _read(read_body, batch=batch)  # 2
            name, digest = _identified(standing, feature, asked, idempotency_key)
            if idempotency_key is not None and asked is not None:  # 3
                held.enter_context(idempotency.claimed(actor.tenant_id, name))
                earlier = idempotency.answered(actor.tenant_id, name, digest)
                if earlier is not None:
                    return Answer(_again(earlier), replayed=True)
        call = _Called(actor, feature, asked, fault, name, digest)
        with _faults_recorded(actor, standing.license):
            limits = _limited(call, standing)  # 4
        try:
            if not batch:
                COMMITS.check()  # before a row is checked or explained in vain
            try:
                served, version = _served_batch(call) if batch else _served(call, fresh=False)
            except StaleError:
                CACHE.drop(actor.facts.public_id)  # whatever of it did not hold, the next one reads
                served, version = _served(call, fresh=True)
        except AnsweredError as error:
            with _faults_recorded(actor, standing.license):
                return Answer(_again(idempotency.same(error.earlier, digest)), replayed=True)
        except OverloadedError as error:
            REFUSALS.count(error.stable_code, actor)  # no row each: the database has enough to do
            raise
    return Answer(_sent(served), replayed=False, limits=limits, notice=notice(version))


@dataclass(frozen=True)
class _Called:
    """A call that was read, and is not judged yet."""

    actor: KeyActor
    feature: Feature
    asked: Asked | None
    fault: DomainError | None  # of its body
    name: str
    digest: str


def _served(called: _Called, *, fresh: bool) -> tuple[Served, ModelVersion]:
    """Judge, score and commit one call; and which version answered it.

    Raises:
        StaleError: what was remembered does not hold; nothing was recorded.
        DomainError: recorded.
    """
    standing = _standing(called, fresh=fresh)
    with _faults_recorded(called.actor, standing.license):
        call, standing = _admitted(called, standing)  # 4
        if called.fault is not None or called.asked is None:
            raise called.fault or _wrong("the body is missing", "")
        receipts.signing_key()  # before anything is charged for
        pending = _pending(called, call, standing, called.asked, fresh=fresh)  # 5
    try:
        served = COMMITS.submit(pending)  # 6, 7
    except UnscoredError as error:
        with _faults_recorded(called.actor, standing.license):
            raise error.cause from None
    if call.key.charged:
        COUNTER.note(pending.answered.version, pending.model.input_bins, pending.row)
        if standing.shadow is not None:
            _compare(standing.shadow, pending, served)
    return served, pending.answered.version


def _standing(called: _Called, *, fresh: bool) -> Standing:
    """What the call rests on. A canary that does not open, or cannot read the row, costs no call.

    The version that answers the others answers this one as well.
    """
    found = STANDINGS.find(called.actor, fresh=fresh)
    drawn = found.drawn(called.name)
    if drawn is found or drawn.version is None or called.asked is None:
        return drawn
    try:
        serving.loaded(drawn.version).check_row(called.asked.row)
    except PredictionInputError:
        return found
    except DomainError as error:
        _log.warning("a canary cannot answer: %s: %s", drawn.version.reference, error.stable_code)
        return found
    return drawn


def _compare(shadow: ModelVersion, pending: Pending, served: Served) -> None:
    """Have the answer scored by a shadow as well, later and elsewhere."""
    version, told = pending.answered.version, served.answer
    SHADOWS.note(Beside(shadow, version, pending.row, told["score"], told["label"]))


def _served_batch(called: _Called) -> tuple[Served, ModelVersion]:
    """Judge, score and commit a batch: as a call, but alone, and by rows that are read for it.

    Raises:
        DomainError: recorded.
    """
    standing = STANDINGS.find(called.actor, fresh=True)
    with _faults_recorded(called.actor, standing.license):
        call, standing = _admitted(called, standing)  # 4
        version = standing.version
        if called.fault is not None or called.asked is None or called.asked.rows is None:
            raise called.fault or _wrong("the body is missing", "")
        if version is None:  # denied before, as in `_pending`
            raise NotFoundError("there is no such model here", code="model.not_found")
        receipts.signing_key()  # before anything is charged for
        scored = batching.scored(  # 5, 6
            called.asked.rows,
            customer=standing.customer,
            call=call,
            version=version,
            request_id=called.name,
            request_digest=called.digest,
        )
    token = request_id.set(called.name)
    try:
        served = serve_batch(called.actor, standing.license, scored.batch)  # 7
    finally:
        request_id.reset(token)
    batching.count_inputs(scored)
    return served, version


def _read(
    read_body: Callable[[], object], *, batch: bool
) -> tuple[Asked | None, DomainError | None]:
    try:
        return Asked.of(read_body(), batch=batch), None
    except DomainError as fault:
        return None, fault


def _identified(
    standing: Standing, feature: Feature, asked: Asked | None, header: str | None
) -> tuple[str, str]:
    """The call's request id and its body's digest. A caller's own key enters the log as its hash.

    Without a key of the caller's nobody can ask for the answer again, and there is no digest.

    Raises:
        RequestError: `request.idempotency_key_invalid`.
    """
    if header is None:
        return uuid.uuid4().hex, ""
    own = idempotency.check_header(header)
    customer, license_ = standing.customer, str(standing.license.id)
    fingerprint = "" if asked is None else asked.fingerprint
    digest = _keyed(customer, "call body", [license_, feature.value, fingerprint])
    return f"ik-{_keyed(customer, 'call name', [license_, own])[:60]}", digest


def _admitted(called: _Called, standing: Standing) -> tuple[Call, Standing]:
    """The call as it was judged, and by what. Nobody is refused for what was true a while ago."""
    call = _call(called, standing)
    denial = admit(call)
    if denial is not None:
        standing = _standing(called, fresh=True)
        call = _call(called, standing)
        denial = admit(call)
    if denial is not None:
        raise denial.raised(call)
    return call, standing


def _limited(called: _Called, standing: Standing) -> Mapping[str, str]:
    """Take the call from its rates, once, however often it is judged then.

    Whom the license itself refuses hears that first, and takes nothing.

    Raises:
        RateError: `limit.rate_exceeded`.
    """
    buckets = standing.limits.buckets(called.actor.facts.id)
    denial = admit(_call(called, standing)) if buckets else None
    if not buckets or not (denial is None or denial.error is QuotaError):
        return {}
    left = LIMITER.take(buckets)
    return {} if left is None else left.headers


def _call(called: _Called, standing: Standing) -> Call:
    asked = called.asked
    return standing.call(
        called.actor,
        feature=called.feature,
        units=UNITS if asked is None else asked.units,
        purpose=None if asked is None else asked.purpose,
        region=None if asked is None else asked.region,
    )


def _pending(
    called: _Called, call: Call, standing: Standing, asked: Asked, *, fresh: bool
) -> Pending:
    """The call with its row read, and its answer explained where that was asked for."""
    version = standing.version
    if version is None:  # denied before; said once more for whoever edits the table
        raise NotFoundError("there is no such model here", code="model.not_found")
    model = serving.loaded(version)
    try:
        row = model.check_row(asked.row)
    except PredictionInputError as error:
        raise PredictionInputError(
            error.detail, code=error.stable_code, pointer=f"/row{error.pointer or ''}"
        ) from None
    identity = uuid.uuid4()
    commitment = _keyed(standing.customer, "prediction input", [version.artifact_digest, row])
    answered = Answered(
        id=identity,
        call=call,
        version=version,
        score=math.nan,
        label=None,
        explanation=None,
        commitment=commitment,
        request_id=called.name,
        request_digest=called.digest,
    )
    explains = called.feature is Feature.EXPLAIN
    # A model that is asked row by row would hold up everybody else's calls.
    alone = not explains and not model.precise
    if alone:
        ((score, label),) = serving.scores(model, [row])
        answered = replace(answered, score=score, label=label)
    if explains:
        told = serving.explained(
            model, version, row, record_id=str(identity), commitment=commitment
        )
        answered = replace(
            answered, score=told.score, label=told.label, explanation=told.explanation
        )
    return Pending(called.actor, standing.license, model, row, answered, explains or alone, fresh)


def _sent(served: Served) -> dict[str, Any]:  # 8
    body = None if served.record is None else served.record.body
    receipt = receipts.receipt_for(served.entry_id) if body is None else receipts.receipt_over(body)
    return {**_told(served.answer), "receipt": receipt}


def _again(earlier: Prediction) -> dict[str, Any]:
    return {**_told(earlier.answer), "receipt": receipts.receipt_for(earlier.entry_id)}


def _told(answer: dict[str, Any]) -> dict[str, Any]:
    return batches.told(answer) if batches.is_batch(answer) else answer


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
    except RateError as error:
        REFUSALS.note(error.stable_code, actor)  # counted: an entry a minute, not one a call
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
