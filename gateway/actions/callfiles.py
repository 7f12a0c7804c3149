"""Files of rows: taken in, ended by a worker, fetched or cancelled; all of it as an API key."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from audit.events import Event
from audit.recording import Record, action
from gateway import licensing
from gateway.authentication import KeyActor
from gateway.callfiles import ANSWER, OPEN_AT_ONCE, QUEUE, Sealed
from gateway.errors import (
    CallFileError,
    CallFileStateError,
    Fault,
    InFlightError,
    LicenseError,
)
from gateway.licensing import Call
from gateway.models import CallFile, CallFileState, License, Prediction
from governance import leases
from governance.leases import Lease
from governance.models import StoredObject
from governance.models.jobs import JobState
from governance.permissions import Permission
from governance.vault import discard, keyed_hash
from training.models import ModelVersion

_ENDS = {
    CallFileState.DONE: JobState.DONE,
    CallFileState.FAILED: JobState.FAILED,
    CallFileState.CANCELLED: JobState.CANCELLED,
}


@action(Event.CALL_FILE_TAKEN, requires=Permission.PREDICT)
def take_call_file(
    record: Record,
    actor: KeyActor,
    license_: License,
    *,
    call: Call,
    version: ModelVersion | None,
    sealed: Sealed,
    request_id: str,
    request_digest: str,
) -> CallFile:
    """Take in a sealed file and give it its job; nothing is charged before a part is answered.

    Raises:
        CredentialError, LicenseError, QuotaError: a call of one row would be refused.
        CallFileError: `callfile.too_many`.
        InFlightError: the same request id was taken a moment ago, elsewhere.
    """
    denial = licensing.admit(call)
    if denial is not None:
        raise denial.raised(call)
    if version is None:  # denied before; said once more for whoever edits the table
        raise LicenseError("no version of this model is released", code="model.not_released")
    waiting = CallFile.objects.filter(license=license_, state=CallFileState.WAITING)
    if waiting.count() >= OPEN_AT_ONCE:
        raise CallFileStateError(
            f"{OPEN_AT_ONCE} files of this license wait already", code="callfile.too_many"
        )
    now = timezone.now()
    sealed.stored.save()
    try:
        made = CallFile.objects.create(
            tenant_id=actor.tenant_id,
            license=license_,
            key_id=actor.facts.id,
            version=version,
            stored=sealed.stored,
            form=sealed.form,
            request_id=request_id,
            request_digest=request_digest,
            created_at=now,
            expires_at=now + timedelta(days=settings.CALL_FILE_DAYS),
        )
    except IntegrityError:
        raise InFlightError("this file was taken a moment ago: send it again") from None
    leases.enqueue(ANSWER, made.reference, QUEUE, tenant_id=actor.tenant_id)
    record.about(made)
    record.facts(
        license=license_.reference,
        model=version.reference,
        input=keyed_hash(sealed.stored.tenant, "call file", sealed.sha256).hex(),
        bytes=sealed.stored.size,
    )
    return made


@action(Event.CALL_FILE_ENDED, requires=Permission.PREDICT)
def end_call_file(
    record: Record,
    actor: KeyActor,
    license_: License,
    *,
    file: CallFile,
    lease: Lease,
    state: CallFileState,
    code: str = "",
    faults: Sequence[Fault] = (),
) -> CallFile:
    """Write down how a file ended, and remove its rows; what was answered of it stays answered.

    Raises:
        LostLeaseError: another worker holds it, or it was cancelled; nothing is written.
    """
    del actor
    lease.end(_ENDS[state], error_code=code)
    ended = _ended(file, state, code=code, faults=faults)
    record.about(ended)
    record.facts(license=license_.reference, state=state.value, rows=ended.rows)
    if code:
        record.facts(code=code)
    return ended


@action(Event.CALL_FILE_CANCELLED, requires=Permission.PREDICT)
def cancel_call_file(
    record: Record, actor: KeyActor, license_: License, *, file: CallFile
) -> CallFile:
    """Stop answering a file: from here on no part of it is charged.

    Raises:
        CallFileStateError: `callfile.ended`.
    """
    del actor
    held = CallFile.objects.select_for_update().get(pk=file.pk)
    # First the job: a worker that commits a part holds its row, and is waited for.
    leases.halt(held.reference, ANSWER)
    if held.state != CallFileState.WAITING:
        raise CallFileStateError("this file has ended")
    ended = _ended(held, CallFileState.CANCELLED)
    record.about(ended)
    record.facts(license=license_.reference, rows=ended.rows)
    return ended


@action(Event.CALL_FILE_FETCHED, requires=Permission.PREDICT)
def fetch_call_file(
    record: Record, actor: KeyActor, license_: License, *, file: CallFile
) -> CallFile:
    """Hand out what was answered of a file.

    Raises:
        CallFileStateError: `callfile.waiting`: it has not ended; `callfile.expired`.
        CallFileError: `callfile.no_answers`.
    """
    del actor
    record.about(file)
    if file.state == CallFileState.WAITING:
        raise CallFileStateError("this file is being answered", code="callfile.waiting")
    if timezone.now() >= file.expires_at:
        raise CallFileStateError("its answers are kept no longer", code="callfile.expired")
    if not file.rows:
        raise CallFileError("nothing of this file was answered", code="callfile.no_answers")
    record.facts(license=license_.reference, rows=file.rows)
    return file


def _ended(
    file: CallFile, state: CallFileState, *, code: str = "", faults: Sequence[Fault] = ()
) -> CallFile:
    """The file at its end, without its rows: their key goes here, the sealed bytes follow."""
    stored = file.stored
    answered = Prediction.objects.filter(request_id__startswith=f"{file.id.hex}-")
    file.state, file.stored, file.error_code = state, None, code
    file.rows = sum(one or 0 for one in answered.values_list("rows", flat=True))
    file.faults = [asdict(fault) for fault in faults]
    file.ended_at = timezone.now()
    file.save()
    if stored is not None:
        StoredObject.objects.filter(pk=stored.pk).delete()
        transaction.on_commit(lambda: discard(stored))
    return file
