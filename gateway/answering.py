"""A file of rows, from its claim to its end. Imports torch, with `gateway.batching`.

    1. every row is checked, and nothing is charged while one is wrong or the quota lacks room
    2. part by part: scored, and committed as a batch under a name that follows from the file
    3. the end: how it went, and the rows removed

Where a worker dies, the file is taken again, up to `CLAIMS` times: 1 is done anew and costs
nothing, and in 2 the parts that are there are passed over. A part commits under the job's lease: a
worker that was thought dead, or whose file was cancelled, charges nothing more.
"""

import logging
from dataclasses import replace
from typing import Final
from uuid import UUID

from audit.errors import DomainError
from audit.recording import request_id
from gateway import batching, keys
from gateway.actions.batches import serve_batch
from gateway.actions.callfiles import end_call_file
from gateway.authentication import KeyActor
from gateway.callfiles import name_of
from gateway.errors import CallFileError, CredentialError, InFlightError, RowsError
from gateway.filerows import parts
from gateway.licensing import Call, admit
from gateway.models import CallFile, CallFileState, Feature, Prediction
from gateway.standing import STANDINGS, Standing
from governance import leases
from governance.errors import LostLeaseError
from governance.leases import Lease
from governance.pulse import Pulse
from governance.scoping import across_tenants, tenant_scope
from training.models import ModelVersion

CLAIMS: Final = 5
_log: Final = logging.getLogger(__name__)


def work(job_id: UUID) -> None:
    """Claim a file's job, answer its rows, and write down how it ended.

    Nothing is raised for what went wrong with it: its state and the log say that.
    """
    lease = leases.claim(job_id)
    if lease is None:
        return
    with tenant_scope(lease.tenant_id):
        file = CallFile.objects.select_related("stored", "key").get(
            pk=lease.subject.partition(":")[2]
        )
        facts = keys.read_key(file.key.public_id)
        if facts is None:  # keys are never deleted; said for whoever changes that
            raise CredentialError("there is no such API key", code="key.unknown")
        actor = KeyActor(facts)
        standing = STANDINGS.find(actor, fresh=True)
        try:
            with Pulse(lease):
                _answer(file, lease, actor, standing)
            _end(file, lease, actor, standing, None)
        except LostLeaseError:
            _log.warning("job %s went to another worker, or was cancelled", job_id)
        except DomainError as error:
            _end(file, lease, actor, standing, error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the job must not hang
            # The type alone: a message may quote the cell that it choked on.
            _log.error("%s failed: %s", file.reference, type(error).__name__)
            _end(file, lease, actor, standing, CallFileError("", code="internal"))


def _answer(file: CallFile, lease: Lease, actor: KeyActor, standing: Standing) -> None:
    """Steps 1 and 2.

    Raises:
        LostLeaseError: the job is another's, or nobody's any more.
        DomainError: why it cannot go on.
    """
    if lease.fence > CLAIMS:
        raise CallFileError("every worker that took it died", code="callfile.given_up")
    with across_tenants(reason="a license reaches the model of another tenant"):
        version = ModelVersion.objects.select_related("model", "artifact").get(pk=file.version_id)
    lease.beat(stage="checking")
    rows = batching.check_parts(parts(file), version)  # 1
    answered = set(
        Prediction.objects.filter(request_id__startswith=f"{file.id.hex}-").values_list(
            "request_id", flat=True
        )
    )
    # Of a file taken up again, some rows are paid already.
    call = standing.call(actor, feature=Feature.BATCH, units=0 if answered else rows)
    call = replace(call, sunset_at=version.sunset_at)  # of the version that the file was sent for
    denial = admit(call)
    if denial is not None:
        raise denial.raised(call)
    done = 0
    for number, part in enumerate(parts(file)):  # 2
        lease.beat(stage="answering", done=done, of=rows)
        name = name_of(file.id, number)
        if name not in answered:
            _serve(part, replace(call, units=len(part)), version, name, lease, actor, standing)
        done += len(part)
    lease.beat(done=done, of=rows)


def _serve(
    part: list[dict[str, object]],
    call: Call,
    version: ModelVersion,
    name: str,
    lease: Lease,
    actor: KeyActor,
    standing: Standing,
) -> None:
    scored = batching.scored(
        part,
        customer=standing.customer,
        call=call,
        version=version,
        request_id=name,
        request_digest="",
    )
    token = request_id.set(name)
    try:
        serve_batch(actor, standing.license, scored.batch, lease)
    except InFlightError:
        return  # committed after all, by a worker that was thought dead
    finally:
        request_id.reset(token)
    batching.count_inputs(scored)


def _end(
    file: CallFile, lease: Lease, actor: KeyActor, standing: Standing, error: DomainError | None
) -> None:  # 3
    try:
        end_call_file(
            actor,
            standing.license,
            file=file,
            lease=lease,
            state=CallFileState.DONE if error is None else CallFileState.FAILED,
            code="" if error is None else error.stable_code,
            faults=error.faults if isinstance(error, RowsError) else (),
        )
    except LostLeaseError:
        _log.warning("job %s went to another worker, or was cancelled", lease.job_id)
