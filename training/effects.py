"""What complete proposals and queued jobs of training do; registered once, at start-up."""

from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from audit.canonical import digest
from audit.recording import Record
from governance import approvals, leases, rounds
from governance.errors import RefusedError
from governance.models import DatasetVersion, Proposal
from governance.permissions import ProposalKind
from governance.rbac import training_worker
from governance.scoping import tenant_scope
from training import admission, ledger, members, retraining
from training.actions.examinations import EXAMINE
from training.actions.twins import TWIN, lose_twin
from training.admission import TRAIN, end, locked, start
from training.errors import ModelStateError
from training.models import Budget, ModelState, ModelVersion, Run, RunState

WATCH_EVERY: Final = 600.0  # seconds between two looks at what is served
CHECKPOINTS_EVERY: Final = 3600.0  # and at what is kept of stopped runs


def register() -> None:
    """Fill the registries of approvals and leases."""
    for kind in (ProposalKind.RUN_ADMISSION, ProposalKind.RUN_WAIVER):
        approvals.register_effect(kind, approvals.Effect(apply=_start_run, reject=_reject_run))
    approvals.register_effect(ProposalKind.EPSILON_CAP, approvals.Effect(apply=_set_cap))
    approvals.register_effect(ProposalKind.MODEL_RELEASE, approvals.Effect(apply=_release))
    approvals.register_effect(ProposalKind.MODEL_RETRAINING, approvals.Effect(apply=_retrain))
    approvals.register_effect(ProposalKind.MODEL_ROLLBACK, approvals.Effect(apply=_roll_back))
    rounds.register_round("watched", WATCH_EVERY, _watch)
    rounds.register_round("checkpoints", CHECKPOINTS_EVERY, _remove_checkpoints)
    leases.register_job(TRAIN, leases.Work(send=_send, run=_work, at_once=_runs_per_tenant))
    # Who asks for a twin draws it. A message is sent of one whose process died, and ends it.
    leases.register_job(TWIN, leases.Work(send=_lose_twin, run=_lose_twin))
    leases.register_job(EXAMINE, leases.Work(send=_send_examination, run=_examine))


def _runs_per_tenant() -> int:
    limit: int = settings.TRAINING_RUNS_PER_TENANT
    return limit


# The work itself imports torch and polars: only who does it pays for that.


def _send(job_id: UUID) -> None:
    from training.tasks import send  # noqa: PLC0415  # see above

    send(job_id)


def _work(job_id: UUID) -> None:
    from training.pipeline import work  # noqa: PLC0415  # see above

    work(job_id)


def _send_examination(job_id: UUID) -> None:
    from training.tasks import send_examination  # noqa: PLC0415  # see above

    send_examination(job_id)


def _examine(job_id: UUID) -> None:
    from training.examining import work  # noqa: PLC0415  # see above

    work(job_id)


def _lose_twin(job_id: UUID) -> None:
    """Close the account of a twin whose process died; at once, for that is no work."""
    lease = leases.claim(job_id)
    if lease is None:
        return
    with tenant_scope(lease.tenant_id):
        run = Run.objects.select_related("version").get(pk=lease.subject.partition(":")[2])
        lose_twin(training_worker(lease.tenant_id), run, lease=lease)


def _watch() -> int:
    from training.watcher import look_at_all  # noqa: PLC0415  # see above

    return sum(look_at_all().values())


def _remove_checkpoints() -> int:
    from training.keeper import remove_what_is_over  # noqa: PLC0415 - not needed to start up

    return remove_what_is_over()


def _start_run(record: Record, proposal: Proposal, payload: dict[str, Any]) -> None:
    del record
    run = locked(_run(proposal), RunState.AWAITING_APPROVAL)
    if admission.payload(run) != payload:
        raise RefusedError("what was approved is not what this is", code="approval.payload_changed")
    start(run)
    approvals.use(ProposalKind(proposal.kind), proposal.subject, proposal.payload_hash)


def _reject_run(record: Record, proposal: Proposal, payload: dict[str, Any]) -> None:
    del record, payload
    run = locked(_run(proposal), RunState.AWAITING_APPROVAL)
    end(run, RunState.CANCELLED, "approval.rejected")


def _run(proposal: Proposal) -> Run:
    run: Run = Run.objects.get(pk=proposal.subject.partition(":")[2])
    return run


def _set_cap(record: Record, proposal: Proposal, payload: dict[str, Any]) -> None:
    del record
    budget = Budget.objects.select_for_update().get(pk=payload["budget"])
    budget.epsilon_cap = Decimal(payload["epsilon_cap"])
    budget.save(update_fields=["epsilon_cap"])
    approvals.use(ProposalKind.EPSILON_CAP, proposal.subject, proposal.payload_hash)


def _release(record: Record, proposal: Proposal, payload: dict[str, Any]) -> None:
    del record
    version = ModelVersion.objects.select_for_update().get(pk=payload["version"])
    if version.state != ModelState.REGISTERED:
        raise ModelStateError(f"this model version is {version.state}")
    # The stored card, not only the digest beside it, must be the one that was read.
    same = (
        version.artifact_digest == payload["artifact"] and digest(version.card) == (payload["card"])
    )
    if not same:
        raise RefusedError("what was approved is not what this is", code="approval.payload_changed")
    version.state = ModelState.RELEASED
    version.released_at = timezone.now()
    version.save(update_fields=["state", "released_at"])
    approvals.use(ProposalKind.MODEL_RELEASE, proposal.subject, proposal.payload_hash)


def _retrain(record: Record, proposal: Proposal, payload: dict[str, Any]) -> None:
    """Ask for the run that was approved, and queue it: these approvals are all it needs."""
    del record
    version = ModelVersion.objects.select_for_update().get(pk=payload["model_version"])
    dataset_version = DatasetVersion.objects.get(pk=payload["dataset_version"])
    budget = ledger.budget_of(dataset_version.dataset)
    run = retraining.same_again(version, dataset_version, budget)
    if retraining.told(run) != {name: payload.get(name) for name in retraining.TOLD}:
        raise RefusedError("what was approved is not what this is", code="approval.payload_changed")
    run.idempotency_key = retraining.key_of(proposal)
    run.save(force_insert=True)
    start(run)
    approvals.use(ProposalKind.MODEL_RETRAINING, proposal.subject, proposal.payload_hash)


def _roll_back(record: Record, proposal: Proposal, payload: dict[str, Any]) -> None:
    """Withdraw the version: the newest that is still released is served from here on, or none.

    Ensembles that hold it go with it, as when somebody withdraws it.
    """
    version = ModelVersion.objects.select_for_update().get(pk=payload["model_version"])
    if version.state != ModelState.RELEASED:
        raise ModelStateError(f"this model version is {version.state}")
    after = retraining.next_best(version)
    same = version.artifact_digest == payload["artifact"] and retraining.is_served(version)
    if not same or (None if after is None else str(after.id)) != payload["to"]:
        raise RefusedError("what was approved is not what this is", code="approval.payload_changed")
    version.state = ModelState.WITHDRAWN
    version.save(update_fields=["state"])
    members.withdraw_ensembles(record, version)
    approvals.use(ProposalKind.MODEL_ROLLBACK, proposal.subject, proposal.payload_hash)
