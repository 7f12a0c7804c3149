"""For how long a stopped run can be gone on with, and what is left of its secret afterwards."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import FileSystemStorage, default_storage
from django.utils import timezone
from pytest_django.fixtures import Settings

from audit.models import AuditEntry
from governance import approvals, leases
from governance.models import StoredObject
from governance.permissions import ProposalKind
from governance.rbac import training_worker
from governance.scoping import tenant_scope
from governance.vault import sweep_orphans
from tests.factories.attempts import cancelled_at, fresh, job_of
from tests.factories.people import House, make_house
from tests.factories.training import approve, ask, make_version
from training import keeper, ledger, pipeline
from training.actions.attempts import remove_checkpoint
from training.actions.runs import retry_run
from training.errors import RunStateError
from training.keeper import remove_what_is_over
from training.keeping import kept_of
from training.models import Checkpoint, Run, RunState


@pytest.fixture
def house(db: None, home: Any) -> House:
    return make_house()


@pytest.fixture
def stopped(house: House, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Stopped by a person after 20 of 45 steps."""
    return cancelled_at(20, house, ask(house, make_version(house)), monkeypatch)


def aged(run: Run, days: float) -> None:
    """So long ago it ended, and was its checkpoint written."""
    then = timezone.now() - timedelta(days=days)
    with tenant_scope(run.tenant_id):
        Checkpoint.objects.filter(run=run).update(written_at=then)
        Run.objects.filter(pk=run.pk, ended_at__isnull=False).update(ended_at=then)


def is_kept(run: Run) -> bool:
    with tenant_scope(run.tenant_id):
        row = Checkpoint.objects.filter(run=run).exists()
        assert row is StoredObject.objects.filter(kind="checkpoint").exists()
        return row


def retried(house: House, run: Run) -> Run:
    with tenant_scope(house.id), leases.doing_it_here():
        return retry_run(house.engineer, fresh(run))


def test_after_its_time_a_run_begins_anew(house: House, stopped: Run) -> None:
    aged(stopped, 29.9)
    assert remove_what_is_over() == 0
    with tenant_scope(house.id):
        kept = kept_of(fresh(stopped))
    assert kept is not None
    assert kept.until is not None
    assert (kept.step, kept.until > timezone.now()) == (20, True)
    aged(stopped, 30.1)
    assert remove_what_is_over() == 1
    assert remove_what_is_over() == 0
    assert not is_kept(stopped)
    entry = AuditEntry.objects.get(event="run.checkpoint_removed")
    facts = json.loads(bytes(entry.body))["facts"]
    assert facts == {"attempt": 1, "step": 20, "state": "cancelled", "code": "run.cancelled"}
    with tenant_scope(house.id):
        assert kept_of(fresh(stopped)) is None
    run = retried(house, stopped)
    assert (run.attempt, run.since) == (2, 2)
    leases.run_here(run.reference)
    assert fresh(run).state == RunState.FINISHED
    with tenant_scope(house.id):
        assert ledger.account(run, 1).steps == 20  # spent, and stays so
        assert ledger.account(run, 2).steps == 45


def test_the_setting_says_how_long(stopped: Run, settings: Settings) -> None:
    aged(stopped, 3)
    settings.CHECKPOINT_KEEP_DAYS = 2
    assert remove_what_is_over() == 1
    assert not is_kept(stopped)


def test_a_run_that_is_tried_again_keeps_what_it_needs(house: House, stopped: Run) -> None:
    run = retried(house, stopped)
    aged(run, 400)
    assert remove_what_is_over() == 0
    with pytest.raises(RunStateError), tenant_scope(house.id):
        remove_checkpoint(training_worker(run.tenant_id), run)
    leases.run_here(run.reference)
    run = fresh(run)
    assert (run.state, run.since) == (RunState.FINISHED, 1)
    assert not is_kept(run)


def test_one_that_waited_too_long_for_its_approval_begins_anew(
    house: House, stopped: Run, settings: Settings
) -> None:
    settings.RUN_APPROVAL_EPSILON = 0.5
    run = retried(house, stopped)
    assert (run.state, run.since) == (RunState.AWAITING_APPROVAL, 1)
    aged(run, 29)
    assert remove_what_is_over() == 0
    aged(run, 31)
    assert remove_what_is_over() == 1
    assert (fresh(run).since, is_kept(run)) == (2, False)
    with tenant_scope(house.id):
        proposal = approvals.latest(ProposalKind.RUN_ADMISSION, run)
    assert proposal is not None
    approve(house, proposal)
    leases.run_here(run.reference)
    assert fresh(run).state == RunState.FINISHED
    with tenant_scope(house.id):
        assert ledger.account(run, 2).steps == 45


@pytest.mark.parametrize(
    ("code", "over"), [("internal", False), ("engine.rank_lost", False), ("engine.diverged", True)]
)
def test_what_would_only_repeat_its_end_goes_at_once(
    house: House, monkeypatch: pytest.MonkeyPatch, code: str, *, over: bool
) -> None:
    """However it was left: an end that forgot to forget, or a table that was put back."""
    run = ask(house, make_version(house))
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "_sealed", lambda *_: 1 / 0)
        leases.run_here(run.reference)
    with tenant_scope(house.id):
        Run.objects.filter(pk=run.pk).update(error_code=code)
    assert is_kept(run)
    assert remove_what_is_over() == int(over)
    assert is_kept(run) is not over


def test_one_that_cannot_be_removed_keeps_no_other(
    house: House, stopped: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = cancelled_at(20, house, ask(house, make_version(house, "others")), monkeypatch)
    for run in (stopped, other):
        aged(run, 31)

    # Tried again between the look and the removal.
    def between(actor: Any, run: Run) -> Run:
        if run.pk == stopped.pk:
            retried(house, stopped)
        return remove_checkpoint(actor, run)

    monkeypatch.setattr(keeper, "remove_checkpoint", between)
    assert remove_what_is_over() == 1
    assert kept_at(stopped) == 20
    assert kept_at(other) is None


def kept_at(run: Run) -> int | None:
    with tenant_scope(run.tenant_id):
        return Checkpoint.objects.filter(run=run).values_list("step", flat=True).first()


@pytest.mark.django_db(transaction=True)
def test_bytes_that_the_storage_keeps_are_swept(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key is gone with the row; sealed bytes without one go when the vault is swept."""
    house = make_house()
    run = cancelled_at(20, house, ask(house, make_version(house)), monkeypatch)
    assert job_of(run).state == "cancelled"
    aged(run, 31)
    with tenant_scope(house.id):
        path = Path(default_storage.path(Checkpoint.objects.get(run=run).stored.name))

    def refuse(*_: Any) -> None:
        raise OSError(28, "no")

    with monkeypatch.context() as patch:
        patch.setattr(FileSystemStorage, "delete", refuse)
        assert remove_what_is_over() == 1
    assert not is_kept(run)
    assert path.exists()
    assert sweep_orphans(timedelta(0)) >= 1
    assert not path.exists()
