"""Runs: asked for, approved, cancelled, tried again; allowed, denied, by a stranger, failed."""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from audit.errors import DomainError, Kind
from audit.models import AuditEntry
from governance import approvals, leases
from governance.actions.proposals import approve_proposal, reject_proposal
from governance.models import Job, Proposal, PurposeGrant
from governance.models.jobs import JobState
from governance.permissions import ProposalKind, Role
from governance.rbac import SystemActor, training_worker
from governance.scoping import across_tenants, tenant_scope
from tests.factories.people import House, actor_of, bind, make_house, make_user
from tests.factories.training import ASKED, DECLARATIONS, PURPOSE, approve, ask, make_version
from training import ledger
from training.actions.attempts import begin_run, finish_run, stop_run
from training.actions.budgets import propose_cap
from training.actions.runs import cancel_run, prioritize_run, request_run, retry_run
from training.models import Budget, BudgetEntry, Model, Run, RunState
from training.write_ahead import write_ahead


@pytest.fixture
def house(db: None, home: Any) -> House:
    return make_house()


def told(event: str) -> tuple[str, str | None, dict[str, Any]]:
    """Outcome, reason and facts of the newest entry of an event."""
    entry = AuditEntry.objects.filter(event=event).order_by("at").last()
    assert entry is not None, event
    body = json.loads(bytes(entry.body))
    return entry.outcome, body["reason"], body["facts"]


def proposal_of(run: Run, kind: ProposalKind = ProposalKind.RUN_ADMISSION) -> Proposal:
    with tenant_scope(run.tenant_id):
        found = approvals.latest(kind, run)
    assert found is not None
    return found


def fresh(run: Run) -> Run:
    with tenant_scope(run.tenant_id):
        return Run.objects.select_related("version__dataset").get(pk=run.pk)


def jobs() -> list[Job]:
    with across_tenants(reason="a test looks"):
        return list(Job.objects.order_by("created_at"))


def nothing_written() -> bool:
    with across_tenants(reason="a test looks"):
        made = (Run, BudgetEntry, Model, Job, Proposal, Budget)
        return not any(model.objects.exists() for model in made)


def test_a_request_within_the_rules_is_reserved_and_queued(house: House) -> None:
    version = make_version(house)
    run = ask(house, version, idempotency_key="k1")
    assert (run.state, run.attempt, run.queue) == (RunState.QUEUED, 1, "train.cpu")
    (job,) = jobs()
    assert (job.kind, job.subject, job.queue) == ("train", run.reference, "train.cpu")
    assert job.state == JobState.WAITING
    with tenant_scope(house.id):
        said = ledger.statement(version.dataset.budget)
    assert said.spent == 0
    assert 0.99 < said.reserved <= 1.0
    outcome, _, facts = told("run.requested")
    assert outcome == "done"
    assert facts["run"] == run.reference
    assert (facts["epsilon"], facts["delta"]) == ("1.000000", "0.00001")
    assert (facts["purpose"], facts["state"]) == (PURPOSE, "queued")
    assert facts["config"] == run.config_digest


@pytest.mark.parametrize(
    ("asked", "code", "outcome"),
    [
        ({"purpose": "marketing"}, "purpose.not_granted", "denied"),
        ({"purpose": ""}, "purpose.not_granted", "denied"),
        ({"target": "salary"}, "run.target_missing", "failed"),
        ({"target": "raw"}, "run.target_missing", "failed"),  # dropped by the plan
        ({"target": "name"}, "run.target_barred", "denied"),
        ({"target": "person"}, "run.target_barred", "denied"),
        ({"target": "note"}, "run.target_barred", "denied"),
        ({"target": "sex"}, "feature.target_labels", "failed"),  # which label is positive?
        ({"epsilon": "0"}, "run.epsilon_invalid", "failed"),
        ({"epsilon": "-1"}, "run.epsilon_invalid", "failed"),
        ({"epsilon": "nan"}, "run.epsilon_invalid", "failed"),
        ({"epsilon": "sNaN"}, "run.epsilon_invalid", "failed"),
        ({"epsilon": float("inf")}, "run.epsilon_invalid", "failed"),
        ({"epsilon": "1e-9"}, "run.epsilon_invalid", "failed"),
        ({"epsilon": "much"}, "run.epsilon_invalid", "failed"),
        ({"epsilon": None}, "run.epsilon_invalid", "failed"),
        ({"epsilon": "10.000001"}, "budget.over_cap", "denied"),
        ({"guarantee": "none"}, "run.guarantee_invalid", "failed"),
        ({"guarantee": "public-data"}, "run.not_public", "denied"),
        ({"model": "forest"}, "run.model_invalid", "failed"),
        ({"model": "lora", "config": {}}, "feature.one_text", "failed"),  # reads a text alone
        ({"config": {"lora_rank": 9}}, "run.lora_rank_invalid", "failed"),
        ({"queue": "serve"}, "run.queue_invalid", "failed"),
        ({"name": "no name"}, "model.name_invalid", "failed"),
        ({"name": "../../etc"}, "model.name_invalid", "failed"),
        ({"name": "n" * 81}, "run.model_name_invalid", "failed"),
        ({"idempotency_key": "k" * 101}, "run.idempotency_key_invalid", "failed"),
        ({"positive": "p" * 101}, "run.positive_invalid", "failed"),
        ({"config": {"steps": 0}}, "run.steps_invalid", "failed"),
        ({"config": {"steps": "many"}}, "run.steps_invalid", "failed"),
        ({"config": {"epsilon": "9"}}, "run.config_invalid", "failed"),
        ({"config": {"delta": "0.5"}}, "run.config_invalid", "failed"),
        ({"config": {"guarantee": "waived"}}, "run.config_invalid", "failed"),
        ({"config": {"learning_rate": "inf"}}, "run.learning_rate_invalid", "failed"),
    ],
)
def test_a_bad_request_is_one_clear_error_and_leaves_only_its_entry(
    house: House, asked: dict[str, Any], code: str, outcome: str
) -> None:
    version = make_version(house)
    with pytest.raises(DomainError) as caught:
        ask(house, version, **asked)
    assert caught.value.stable_code == code
    assert told("run.requested")[:2] == (outcome, code)
    assert nothing_written()


@pytest.mark.parametrize(
    ("made", "code"),
    [
        ({"subject": "", "source_rows": 241}, "run.rows_differ"),
        ({"subject": "", "source_rows": None}, "run.rows_differ"),
        ({"declarations": {**DECLARATIONS, "subjects": 0}}, "feature.declaration_invalid"),
        ({"declarations": {**DECLARATIONS, "subjects": 241}}, "feature.declaration_invalid"),
        ({"declarations": {**DECLARATIONS, "subjects": True}}, "feature.declaration_invalid"),
        ({"declarations": {**DECLARATIONS, "subjects": "240"}}, "feature.declaration_invalid"),
        ({"declarations": {**DECLARATIONS, "columns": {"gone": {}}}}, "feature.column_missing"),
        ({"declarations": {**DECLARATIONS, "groups": ["hours"]}}, "feature.declaration_invalid"),
    ],
)
def test_a_version_that_cannot_be_trained_on(house: House, made: dict[str, Any], code: str) -> None:
    version = make_version(house, **made)
    with pytest.raises(DomainError) as caught:
        ask(house, version)
    assert caught.value.stable_code == code
    assert nothing_written()


@pytest.mark.parametrize("who", ["steward", "officer", "owner", "platform", "auditor"])
def test_who_may_not_ask(house: House, who: str) -> None:
    version = make_version(house)
    with tenant_scope(house.id), pytest.raises(DomainError) as caught:
        request_run(getattr(house, who), version, **ASKED)
    assert caught.value.stable_code == "permission.role_missing"
    assert told("run.requested")[0] == "denied"
    assert nothing_written()


def test_a_stranger_may_do_nothing(house: House) -> None:
    stranger = make_house("other").engineer
    version = make_version(house)
    run = ask(house, version)
    acts: list[Callable[[], Any]] = [
        lambda: request_run(stranger, version, **ASKED),
        lambda: cancel_run(stranger, run),
        lambda: retry_run(stranger, run),
    ]
    for act in acts:
        with tenant_scope(house.id), pytest.raises(DomainError) as caught:
            act()
        assert caught.value.stable_code == "permission.other_tenant"
    assert fresh(run).state == RunState.QUEUED
    assert AuditEntry.objects.filter(outcome="denied").count() == 3


def test_the_same_key_with_the_same_request_is_the_same_run(house: House) -> None:
    version = make_version(house)
    first = ask(house, version, idempotency_key="k1")
    again = ask(house, version, idempotency_key="k1")
    assert again.id == first.id
    assert len(jobs()) == 1
    with tenant_scope(house.id):
        assert BudgetEntry.objects.count() == 1
    with pytest.raises(DomainError) as caught:
        ask(house, version, idempotency_key="k1", epsilon="2")
    assert caught.value.stable_code == "run.idempotency_conflict"
    assert ask(house, version, idempotency_key="k2").id != first.id


def test_a_model_name_of_another_tenant_is_taken(house: House) -> None:
    ask(house, make_version(house), name="income")
    other = make_house("other")
    with pytest.raises(DomainError) as caught:
        ask(other, make_version(other), name="income")
    assert caught.value.stable_code == "model.name_taken"
    assert caught.value.kind is Kind.CONFLICT


def test_the_budget_admits_until_it_is_full(house: House, settings: Any) -> None:
    settings.RUN_APPROVAL_EPSILON = 10.0
    version = make_version(house)
    admitted = 0
    code = None
    while code is None and admitted < 10:
        try:
            ask(house, version, epsilon="4")
            admitted += 1
        except DomainError as error:
            code = error.stable_code
    assert code == "budget.exceeded"
    assert told("run.requested")[:2] == ("denied", "budget.exceeded")
    assert admitted > 10 // 4  # composed in Rényi terms, more fit than plain sums allow
    with tenant_scope(house.id):
        said = ledger.statement(version.dataset.budget)
        assert Run.objects.count() == admitted
    assert said.spent + said.reserved <= 10


def test_over_the_threshold_two_people_admit_it(house: House) -> None:
    version = make_version(house)
    run = ask(house, version, epsilon="3.5")
    assert run.state == RunState.AWAITING_APPROVAL
    assert jobs() == []
    proposal = proposal_of(run)
    assert told("run.requested")[2]["proposal"] == proposal.reference
    with tenant_scope(house.id):
        assert not BudgetEntry.objects.exists()
        with pytest.raises(DomainError) as caught:
            approve_proposal(house.engineer, proposal)
        assert caught.value.kind is Kind.REFUSED
        assert not approve_proposal(house.officer, proposal).complete
    assert fresh(run).state == RunState.AWAITING_APPROVAL
    with tenant_scope(house.id):
        with leases.doing_it_here():
            assert approve_proposal(house.owner, proposal).complete
        said = ledger.statement(version.dataset.budget)
    assert fresh(run).state == RunState.QUEUED
    assert 3.4 < said.reserved <= 3.5
    proposal.refresh_from_db()
    assert proposal.used_at is not None


def test_an_engineer_who_is_tenant_admin_as_well_does_not_admit_their_own(house: House) -> None:
    both = make_user("both", house.tenant, Role.ENGINEER)
    bind(both, house.tenant, Role.TENANT_ADMIN)
    version = make_version(house)
    with tenant_scope(house.id):
        run = request_run(actor_of(both, house.tenant), version, **{**ASKED, "epsilon": "4"})
        with pytest.raises(DomainError) as caught:
            approve_proposal(actor_of(both, house.tenant), proposal_of(run))
    assert caught.value.stable_code == "approval.own_proposal"


def test_one_person_in_two_roles_is_one_approval(house: House) -> None:
    both = make_user("both", house.tenant, Role.OFFICER)
    bind(both, house.tenant, Role.TENANT_ADMIN)
    actor = actor_of(both, house.tenant)
    run = ask(house, make_version(house), guarantee="waived")
    proposal = proposal_of(run, ProposalKind.RUN_WAIVER)
    with tenant_scope(house.id):
        assert not approve_proposal(actor, proposal).complete
        with pytest.raises(DomainError) as caught:
            approve_proposal(actor, proposal)
        assert caught.value.stable_code == "approval.twice"
        assert fresh(run).state == RunState.AWAITING_APPROVAL
        with leases.doing_it_here():
            assert approve_proposal(house.owner, proposal).complete
    assert fresh(run).state == RunState.QUEUED


def test_approval_that_the_budget_no_longer_allows_is_undone(house: House) -> None:
    version = make_version(house)
    runs = [ask(house, version, epsilon="9"), ask(house, version, epsilon="9", name="second")]
    approve(house, proposal_of(runs[0]))
    with pytest.raises(DomainError) as caught:
        approve(house, proposal_of(runs[1]))
    assert caught.value.stable_code == "budget.exceeded"
    assert told("proposal.approved")[:2] == ("denied", "budget.exceeded")
    assert fresh(runs[1]).state == RunState.AWAITING_APPROVAL
    with tenant_scope(house.id):
        assert proposal_of(runs[1]).approvals.count() == 1


def test_a_changed_run_is_not_what_was_approved(house: House) -> None:
    run = ask(house, make_version(house), epsilon="4")
    with tenant_scope(house.id):
        Run.objects.filter(pk=run.pk).update(purpose="marketing")
    with pytest.raises(DomainError) as caught:
        approve(house, proposal_of(run))
    assert caught.value.stable_code == "approval.payload_changed"


def test_a_rejected_run_is_cancelled(house: House) -> None:
    run = ask(house, make_version(house), epsilon="4")
    with tenant_scope(house.id):
        reject_proposal(house.officer, proposal_of(run))
    run = fresh(run)
    assert (run.state, run.error_code) == (RunState.CANCELLED, "approval.rejected")


@pytest.mark.parametrize("who", ["officer", "engineer", "owner", "platform"])
def test_a_run_that_waits_is_cancelled_free_of_charge(house: House, who: str) -> None:
    version = make_version(house)
    run = ask(house, version)
    with tenant_scope(house.id):
        cancel_run(getattr(house, who), run)
        said = ledger.statement(version.dataset.budget)
    assert fresh(run).state == RunState.CANCELLED
    assert (said.spent, said.reserved) == (0, 0)
    (job,) = jobs()
    assert job.state == JobState.CANCELLED
    assert leases.claim(job.id) is None
    assert told("run.cancel_asked")[0] == "done"


def test_cancelling_a_run_that_waits_for_approval_closes_the_proposal(house: House) -> None:
    run = ask(house, make_version(house), epsilon="4")
    with tenant_scope(house.id):
        cancel_run(house.engineer, run)
        with pytest.raises(DomainError) as caught:
            approve_proposal(house.officer, proposal_of(run))
    assert caught.value.stable_code == "proposal.closed"


def test_a_run_at_work_is_asked_to_stop(house: House) -> None:
    run = ask(house, make_version(house))
    lease = leases.claim(jobs()[0].id)
    assert lease is not None
    with tenant_scope(house.id):
        assert cancel_run(house.engineer, run).state == RunState.QUEUED
    assert lease.beat()


@pytest.mark.parametrize("who", ["steward", "auditor"])
def test_who_may_not_cancel(house: House, who: str) -> None:
    run = ask(house, make_version(house))
    with tenant_scope(house.id), pytest.raises(DomainError) as caught:
        cancel_run(getattr(house, who), run)
    assert caught.value.stable_code == "permission.role_missing"


def stopped(house: House, run: Run, *, ahead: int = 20) -> Run:
    """The run, failed by a worker that had written `ahead` steps ahead."""
    lease = leases.claim(jobs()[-1].id)
    assert lease is not None
    worker = training_worker(house.id)
    with tenant_scope(house.id):
        begin_run(worker, run, lease=lease, noise_source="aes-256-ctr", step=0)
        first = ledger.account(run, run.attempt).reserved[0]
        charge = type(first)(
            type(first.mechanism)(first.mechanism.noise_multiplier, first.mechanism.sampling, ahead)
        )
        write_ahead(run, run.attempt, [charge], lease)
        return stop_run(worker, run, lease=lease, state=RunState.FAILED, code="engine.diverged")


def test_a_retry_reserves_anew_and_what_was_spent_stays(house: House) -> None:
    version = make_version(house)
    run = stopped(house, ask(house, version))
    with tenant_scope(house.id), leases.doing_it_here():
        spent = ledger.statement(version.dataset.budget).spent
        assert 0 < spent < 1
        run = retry_run(house.engineer, run)
        said = ledger.statement(version.dataset.budget)
    assert (run.state, run.attempt) == (RunState.QUEUED, 2)
    assert said.spent == spent
    assert said.spent + said.reserved > 1.0
    assert [attempt.attempt for attempt in said.attempts] == [1, 2]
    outcome, _, facts = told("run.retried")
    assert (outcome, facts["attempt"], facts["epsilon"]) == ("done", 2, "1.000000")
    leases.run_here(run.reference)
    run = fresh(run)
    assert run.state == RunState.FINISHED


def test_a_retry_over_the_threshold_needs_a_new_approval(house: House) -> None:
    run = ask(house, make_version(house), epsilon="4")
    approve(house, proposal_of(run))
    run = stopped(house, fresh(run))
    with tenant_scope(house.id):
        run = retry_run(house.engineer, run)
    assert run.state == RunState.AWAITING_APPROVAL
    approve(house, proposal_of(run))
    assert fresh(run).state == RunState.QUEUED


@pytest.mark.parametrize(
    ("before", "code"),
    [
        (lambda _: PurposeGrant.objects.all().delete(), "purpose.not_granted"),
        (
            lambda v: type(v.dataset).objects.update(declarations={**DECLARATIONS, "columns": {}}),
            "run.declarations_changed",
        ),
        (lambda _: Budget.objects.update(epsilon_cap=Decimal("0.9")), "budget.over_cap"),
        (lambda _: Budget.objects.update(epsilon_cap=Decimal("1.1")), "budget.exceeded"),
    ],
)
def test_a_retry_meets_the_rules_of_today(
    house: House, before: Callable[[Any], Any], code: str
) -> None:
    version = make_version(house)
    run = stopped(house, ask(house, version), ahead=45)
    with tenant_scope(house.id):
        before(version)
        with pytest.raises(DomainError) as caught:
            retry_run(house.engineer, run)
    assert caught.value.stable_code == code
    assert fresh(run).attempt == 1


@pytest.mark.parametrize(
    ("act", "state"),
    [
        (lambda house, run: retry_run(house.engineer, run), RunState.QUEUED),
        (lambda house, run: retry_run(house.engineer, run), RunState.FINISHED),
        (lambda house, run: cancel_run(house.engineer, run), RunState.FINISHED),
        (lambda house, run: cancel_run(house.engineer, run), RunState.FAILED),
    ],
)
def test_what_the_state_does_not_allow(
    house: House, act: Callable[[House, Run], Any], state: RunState
) -> None:
    run = ask(house, make_version(house))
    with tenant_scope(house.id):
        for before in (RunState.RUNNING, state) if state != run.state else ():
            Run.objects.filter(pk=run.pk).update(state=before)
        with pytest.raises(DomainError) as caught:
            act(house, run)
    assert caught.value.stable_code == "run.state"
    assert caught.value.kind is Kind.CONFLICT


def test_a_priority_goes_with_the_job_and_may_change_until_it_begins(house: House) -> None:
    run = ask(house, make_version(house), priority="low")
    assert (run.priority, jobs()[0].priority) == ("low", -1)
    with tenant_scope(house.id):
        prioritize_run(house.owner, run, priority="high")
        assert (fresh(run).priority, jobs()[0].priority) == ("high", 1)
        outcome, _, facts = told("run.prioritized")
        assert (outcome, facts["priority"], facts["before"]) == ("done", "high", "low")
        assert leases.claim(jobs()[0].id) is not None
        Run.objects.filter(pk=run.pk).update(state=RunState.RUNNING)
        with pytest.raises(DomainError) as caught:
            prioritize_run(house.owner, run, priority="low")
    assert caught.value.stable_code == "run.state"
    assert jobs()[0].priority == 1


@pytest.mark.parametrize(
    ("priority", "code"),
    [("high", "permission.role_missing"), ("urgent", "run.priority_invalid")],
)
def test_what_priority_an_engineer_may_not_ask_for(house: House, priority: str, code: str) -> None:
    version = make_version(house)
    with pytest.raises(DomainError) as caught:
        ask(house, version, priority=priority)
    assert caught.value.stable_code == code
    assert nothing_written()


def test_who_leads_and_trains_may_ask_for_a_high_one(house: House) -> None:
    bind(house.user(house.engineer), house.tenant, Role.TENANT_ADMIN)
    assert ask(house, make_version(house), priority="high").priority == "high"
    assert jobs()[0].priority == 1


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.API_CLIENT])
def test_nobody_but_the_worker_says_how_a_run_went(house: House, role: Role) -> None:
    run = ask(house, make_version(house))
    lease = leases.claim(jobs()[0].id)
    assert lease is not None
    person: Any = actor_of(make_user("somebody", house.tenant, role), house.tenant)
    stranger: Any = training_worker(make_house("other").id)
    nothing: Any = None
    other_part: Any = SystemActor("ingest", frozenset(), house.id)
    for actor in (person, stranger, other_part):
        for act in (
            lambda who: begin_run(who, run, lease=lease, noise_source="x", step=0),
            lambda who: stop_run(who, run, lease=lease, state=RunState.FAILED, code="x"),
            lambda who: finish_run(who, run, lease=lease, made=nothing),
        ):
            with tenant_scope(house.id), pytest.raises(DomainError) as caught:
                act(actor)
            assert caught.value.kind is Kind.REFUSED
    assert fresh(run).state == RunState.QUEUED


def test_an_attempt_that_touched_the_data_is_not_begun_again(house: House) -> None:
    run = ask(house, make_version(house))
    lease = leases.claim(jobs()[0].id)
    assert lease is not None
    worker = training_worker(house.id)
    with tenant_scope(house.id):
        for _ in range(2):  # before it touched anything, it may
            begin_run(worker, run, lease=lease, noise_source="aes-256-ctr", step=0)
        write_ahead(run, 1, ledger.account(run, 1).reserved[:1], lease)
        with pytest.raises(DomainError) as caught:
            begin_run(worker, run, lease=lease, noise_source="aes-256-ctr", step=0)
    assert caught.value.stable_code == "run.worker_lost"


def test_another_cap_needs_officer_and_tenant_admin(house: House) -> None:
    version = make_version(house)
    with tenant_scope(house.id):
        proposal = propose_cap(house.steward, version.dataset, epsilon="2.5")
        assert told("budget.proposed")[2]["epsilon"] == "2.500000"
        approve_proposal(house.officer, proposal)
        assert Budget.objects.get().epsilon_cap == 10
        approve_proposal(house.owner, proposal)
        assert Budget.objects.get().epsilon_cap == Decimal("2.5")
    with pytest.raises(DomainError) as caught:
        ask(house, version, epsilon="2.6")
    assert caught.value.stable_code == "budget.over_cap"


@pytest.mark.parametrize(
    ("who", "epsilon", "code"),
    [
        ("engineer", "5", "permission.role_missing"),
        ("officer", "5", "permission.role_missing"),
        ("steward", "0", "run.epsilon_invalid"),
        ("steward", "NaN", "run.epsilon_invalid"),
        ("steward", "100.5", "budget.cap_invalid"),
    ],
)
def test_a_cap_that_is_not_proposed(house: House, who: str, epsilon: str, code: str) -> None:
    version = make_version(house)
    with tenant_scope(house.id), pytest.raises(DomainError) as caught:
        propose_cap(getattr(house, who), version.dataset, epsilon=epsilon)
    assert caught.value.stable_code == code
    assert nothing_written()
