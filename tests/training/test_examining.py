"""An examination's worker: what it finds, what leaves, what that costs, and where it may die."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import pytest
from django.utils import timezone

from audit.canonical import digest
from audit.models import AuditEntry
from governance import leases
from governance.models import Job, PurposeGrant
from governance.models.jobs import JobState
from governance.rbac import examining_worker
from governance.scoping import across_tenants, tenant_scope
from governance.versions import frames
from tests.factories.people import House, make_house
from tests.factories.training import (
    DECLARATIONS,
    SMALL,
    examined,
    make_version,
    trained,
    untrained,
)
from tests.training.auditing.test_verdict import drawn_twice, half_the_noise, no_clipping, shuffled
from training import examining, ledger, reading
from training.actions.examinations import request_examination, stop_examination
from training.artifacts import from_bytes
from training.auditing.membership import lira
from training.auditing.released import BINS, noisy_threshold_attack
from training.charges import Part, cost
from training.config import Plan
from training.errors import ExaminationStateError
from training.examination import Examination, ExaminationState
from training.mechanisms import WHOLE, Mechanism, Purpose
from training.models import Run, RunState
from training.randomness import SECURE, seeded_secret
from training.recomputation import recompute
from training.split import held_out_subjects

DELTA: Final = 1e-5
PUBLIC: Final[dict[str, Any]] = {**DECLARATIONS, "public": True}
QUICK: Final[dict[str, Any]] = {**SMALL, "steps": 4}


@pytest.fixture
def house(db: None, home: Any) -> House:
    return make_house()


def account(examination: Examination) -> ledger.Account:
    """What the ledger says of it, confirmed by the recomputation."""
    run = examination.run
    assert run is not None
    with tenant_scope(run.tenant_id):
        budget = run.version.dataset.budget
        said, again = ledger.statement(budget), recompute(budget)
        assert again.agrees(said.spent, said.spent + said.reserved)
        return ledger.account(run, run.attempt)


def job_of(examination: Examination) -> Job:
    with across_tenants(reason="a test looks"):
        return Job.objects.get(subject=examination.reference)


def expire(job: Job) -> None:
    """The worker is dead and its lease is over."""
    with across_tenants(reason="a test turns the clock"):
        Job.objects.filter(pk=job.pk).update(leased_until=timezone.now() - timedelta(seconds=1))


def again(examination: Examination) -> Examination:
    with tenant_scope(examination.tenant_id):
        return Examination.objects.select_related("run").get(pk=examination.pk)


def entry(event: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        bytes(AuditEntry.objects.filter(event=event).latest("at").body)
    )
    return found


def test_the_loss_attack_is_released_with_noise_and_charged_what_was_asked(house: House) -> None:
    version = trained(house, make_version(house), epsilon="2", config=QUICK)
    with tenant_scope(house.id):
        budget = version.run.version.dataset.budget  # type: ignore[union-attr]  # trained here
        before = ledger.statement(budget).spent
    made = examined(house, version, epsilon="0.5")
    assert (made.state, made.error_code) == (ExaminationState.FINISHED, "")
    known = account(made)
    assert known.closed
    assert known.ahead == known.reserved
    assert {charge.part for charge in known.ahead} == set(Part)  # members, and held-out rows
    (mechanism,) = {charge.mechanism for charge in known.ahead}
    assert (mechanism.purpose, mechanism.steps, mechanism.sampling) == (
        Purpose.EXAMINATION, 1, WHOLE,
    )  # fmt: skip
    assert 0.499 < cost(known.ahead, DELTA) <= 0.5
    assert made.run is not None
    with tenant_scope(house.id):
        made.run.refresh_from_db()
        assert made.run.state == RunState.FINISHED
        assert before < ledger.statement(budget).spent < before + 0.5
    found = made.figures["loss"]
    with tenant_scope(house.id):
        people = [f"P{i:06d}" for i in range(240)]
        held_out = int(held_out_subjects(made.run.version.dataset_id, people).sum())
    assert (found["members"], found["outsiders"]) == (held_out, held_out)  # balanced
    # The noise in the figures is that of the ledger's line, and nothing exact is beside it.
    assert float(found["noise_multiplier"]) == mechanism.noise_multiplier
    assert {len(found["counts"][side]) for side in ("members", "outsiders")} == {BINS}
    assert made.figures["claim"]["delta"] == "0.000010000000000"
    assert 1.9 < float(made.figures["claim"]["epsilon"]) <= 2
    assert made.figures["objections"] == []
    assert made.digest == digest(made.figures)
    facts = entry("examination.finished")["facts"]
    assert facts["figures"] == made.digest
    assert facts["run"] == made.run.reference
    assert job_of(made).state == JobState.DONE


def test_counts_of_private_rows_are_noised_by_the_charged_mechanism(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Any, ...]] = []

    def spied(*asked: Any) -> Any:
        with tenant_scope(house.id):  # whatever was computed, it was paid for before
            run = Run.objects.get(model_name__endswith="-examination")
            assert ledger.account(run, 1).touched
        seen.append(asked)
        return noisy_threshold_attack(*asked)

    monkeypatch.setattr(examining, "noisy_threshold_attack", spied)
    made = examined(house, untrained(house), epsilon="1")
    ((members, outsiders, mechanism, source, claim),) = seen
    assert len(members) == len(outsiders)
    assert mechanism == account(made).reserved[0].mechanism
    assert source.name == SECURE
    assert claim is None  # waived


def test_public_rows_are_examined_exactly_and_charge_nothing(house: House) -> None:
    data = make_version(house, declarations=PUBLIC)
    version = trained(house, data, guarantee="public-data", config=QUICK)
    made = examined(house, version, kinds=["lira", "loss"], shadows=4, epsilon="no number")
    assert (made.state, made.error_code, made.kinds) == ("finished", "", ["loss", "lira"])
    assert (made.run_id, f"{made.epsilon:.1f}", made.shadows) == (None, "0.0", 4)
    assert made.figures["claim"] is None
    for kind in ("loss", "lira"):
        found = made.figures[kind]
        assert (found["noise_multiplier"], found["refutes"]) == (None, False)
        assert "counts" not in found
        assert 0 <= float(found["auc"]["low"]) <= float(found["auc"]["high"]) <= 1
        assert [at["ceiling"] for at in found["at"]] == [None, None]
    assert (job_of(made).done_units, job_of(made).all_units) == (6, 6)
    with tenant_scope(house.id):
        assert ledger.statement(data.dataset.budget).spent == 0


def test_shadow_models_leave_each_record_out_of_half_of_them(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    def spied(*asked: Any) -> Any:
        seen.append(asked)
        return lira(*asked)

    monkeypatch.setattr(examining, "lira", spied)
    data = make_version(house, declarations=PUBLIC)
    version = trained(house, data, guarantee="public-data", config=QUICK)
    assert examined(house, version, kinds=["lira"], shadows=6).state == "finished"
    ((target, shadows, included),) = seen
    assert shadows.shape == included.shape == (6, len(target))
    assert (included.sum(0) == 3).all()
    assert len({row.tobytes() for row in shadows}) == 6


def test_a_waived_model_may_be_attacked_by_shadows_but_its_counts_are_charged(
    house: House,
) -> None:
    made = examined(house, untrained(house), kinds=["loss", "lira"], epsilon="1")
    assert (made.state, made.error_code) == ("finished", "")
    assert made.figures["claim"] is None
    assert made.figures["loss"]["noise_multiplier"] is not None
    assert made.figures["lira"]["noise_multiplier"] is None
    assert 0.99 < cost(account(made).ahead, DELTA) <= 1


BROKEN: Final[dict[str, tuple[Callable[[pytest.MonkeyPatch], None], str]]] = {
    "half the noise": (half_the_noise, "engine.gaussian_fit"),
    "no clipping": (no_clipping, "engine.sensitivity"),
    "shuffled batches": (shuffled, "engine.poisson"),
    "a record drawn twice": (drawn_twice, "engine.sensitivity"),
}


def test_each_broken_engine_is_caught_and_the_real_one_is_not(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = trained(house, make_version(house))
    monkeypatch.setattr(examining, "fresh_secret", lambda: seeded_secret(1, allow_seeded=True))
    made = examined(house, version, kinds=["engine"])
    assert made.figures["objections"] == []
    found = made.figures["engine"]
    assert (found["steps"], found["canaries"], found["draws_testable"]) == (45, 1000, True)
    assert float(found["gaussian_fit"]["epsilon"]) < float(found["epsilon_claimed"])
    assert (made.run_id, f"{made.epsilon:.1f}") == (None, "0.0")  # invented records are free
    for name, (broken, caught) in BROKEN.items():
        with monkeypatch.context() as patch:
            broken(patch)
            made = examined(house, version, kinds=["engine"])
        assert (name, made.state) == (name, "finished")
        assert caught in made.figures["objections"], name
        assert entry("examination.finished")["facts"]["objections"] == made.figures["objections"]


def test_a_long_run_is_audited_as_far_as_there_is_room() -> None:
    plan = Plan(rows=30_000, sampling=WHOLE // 64, steps=150, noise_multiplier=1.0,
                max_grad_norm=1.0, paid=(Mechanism(9.0),))  # fmt: skip
    made = examining.engine_plan(plan)
    assert (made.rows, made.steps, made.paid) == (1_000, 150, ())
    assert (made.sampling, made.noise_multiplier) == (plan.sampling, 1.0)
    assert not examining.draws_testable(made)  # 2.3 expected draws a record
    long = examining.engine_plan(plan.with_steps(1_000_000))
    assert (long.rows, long.steps) == (1_000, 5_000)
    assert examining.draws_testable(long)
    rare = Plan(rows=10**6, sampling=WHOLE // 10**5, steps=100, noise_multiplier=1.0,
                max_grad_norm=1.0)  # fmt: skip
    assert (examining.engine_plan(rare).rows, examining.engine_plan(rare).steps) == (5_000, 100)


# What goes wrong: the job ends, the account is closed, and what was written ahead stays charged.


def _purpose_withdrawn(house: House, _patch: pytest.MonkeyPatch) -> None:
    PurposeGrant.objects.filter(tenant_id=house.id).delete()


def _rows_lost(_house: House, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(reading, "frames", lambda version: (frame.head(-1) for frame in frames(version)))


def _damaged(_house: House, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        examining, "from_bytes", lambda stored, expected: from_bytes(stored[:-1], expected=expected)
    )


def _ours(_house: House, patch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> Any:
        raise ValueError("a cell that nobody may read")

    patch.setattr(examining, "noisy_threshold_attack", fails)


@pytest.mark.parametrize(
    ("wrong", "code", "charged"),
    [
        (_purpose_withdrawn, "purpose.not_granted", False),
        (_damaged, "artifact.digest", False),
        (_rows_lost, "run.rows_differ", True),
        (_ours, "internal", True),
    ],
)
def test_what_goes_wrong_is_written_down(
    house: House,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    wrong: Callable[[House, pytest.MonkeyPatch], None],
    code: str,
    *,
    charged: bool,
) -> None:
    version = untrained(house)
    with tenant_scope(house.id), leases.doing_it_here():
        made = request_examination(house.engineer, version, epsilon="0.5")
        wrong(house, monkeypatch)
    leases.run_here(made.reference)
    made = again(made)
    assert (made.state, made.error_code, made.figures) == ("failed", code, {})
    known = account(made)
    assert (known.closed, known.touched) == (True, charged)
    assert cost(known.due, DELTA) == pytest.approx(0.5 if charged else 0, abs=0.001)
    assert job_of(made).error_code == code
    told = entry("examination.failed")
    assert (told["outcome"], told["reason"], told["facts"]["code"]) == ("failed", code, code)
    assert "cell" not in caplog.text


def test_rows_that_are_public_no_more_give_no_exact_figures(house: House) -> None:
    data = make_version(house, declarations=PUBLIC)
    version = trained(house, data, guarantee="public-data", config=QUICK)
    for kind in ("loss", "lira"):
        with tenant_scope(house.id), leases.doing_it_here():
            made = request_examination(house.engineer, version, kinds=[kind])
            data.dataset.declarations = DECLARATIONS
            data.dataset.save()
        leases.run_here(made.reference)
        assert again(made).error_code == "examination.not_private"
        with tenant_scope(house.id):
            data.dataset.declarations = PUBLIC
            data.dataset.save()


def test_three_dead_workers_are_enough(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        """Nothing catches it, and nothing more is written: as if the process were gone."""

    def dies(*_: Any) -> Any:
        raise Killed

    version = untrained(house)
    with tenant_scope(house.id), leases.doing_it_here():
        made = request_examination(house.engineer, version, epsilon="0.5")
    job = job_of(made)
    with monkeypatch.context() as patch:
        patch.setattr(examining, "noisy_threshold_attack", dies)
        for _ in range(3):
            with pytest.raises(Killed):
                examining.work(job.id)
            expire(job)
            assert account(made).lines == 2  # reserved, and written ahead once
    examining.work(job.id)
    made = again(made)
    assert (made.state, made.error_code) == ("failed", "examination.worker_lost")
    assert cost(account(made).due, DELTA) == pytest.approx(0.5, abs=0.001)
    examining.work(job.id)  # ended: a late message finds nothing to do
    assert again(made).error_code == "examination.worker_lost"


def test_a_worker_that_lost_its_lease_releases_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = untrained(house)
    with tenant_scope(house.id), leases.doing_it_here():
        made = request_examination(house.engineer, version, epsilon="0.5")
    job = job_of(made)

    def overtaken(*asked: Any) -> Any:
        found = noisy_threshold_attack(*asked)
        expire(job)
        assert leases.claim(job.id) is not None
        return found

    with monkeypatch.context() as patch:
        patch.setattr(examining, "noisy_threshold_attack", overtaken)
        examining.work(job.id)
    assert (again(made).state, again(made).figures) == ("queued", {})
    expire(job)
    examining.work(job.id)
    assert again(made).state == "finished"
    assert account(made).lines == 3  # reserved, written ahead once, closed


def test_a_job_of_an_ended_examination_writes_nothing(house: House) -> None:
    made = examined(house, untrained(house), epsilon="1")
    lease = leases.Lease(job_of(made).id, house.id, made.reference, 1, "nobody")
    with tenant_scope(house.id), pytest.raises(ExaminationStateError):
        stop_examination(examining_worker(house.id), made, lease=lease, code="internal")
    assert again(made).state == "finished"
