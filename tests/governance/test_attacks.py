"""What an insider tries with roles, approvals, names and queues: every one of these once worked."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import DatabaseError, OperationalError, connection, transaction
from django.utils import timezone

from audit.errors import DomainError
from audit.models import AuditEntry
from governance import approvals, ingest, intake, leases
from governance.actions import anonymization, datasets, keys, people, proposals, tenants
from governance.batches import Received
from governance.doors import DoorCommand
from governance.errors import NotFoundError
from governance.lookup import find
from governance.models import Approval, Dataset, Job, Part, Proposal, RoleBinding, Tenant, User
from governance.models.datasets import DatasetState
from governance.permissions import Permission, ProposalKind, Role
from governance.rbac import UserActor, ingest_worker
from governance.scoping import across_tenants, tenant_scope
from governance.vault import ObjectWriter, discard, open_object
from tests.factories.datasets import approve_plan, first_file, profiled, upload
from tests.factories.people import PASSWORD, House, bind, make_house, make_tenant, make_user

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("home")]
SUBJECT = "dataset:00000000-0000-0000-0000-000000000001"


@pytest.fixture
def house() -> House:
    return make_house()


def proposed(house: House, kind: ProposalKind = ProposalKind.REVEAL, **payload: Any) -> Proposal:
    with tenant_scope(house.id), transaction.atomic():
        return approvals.propose(
            kind, SUBJECT, payload, proposer_id=house.steward.user_id, tenant_id=house.id
        )


def code_of(attempt: Any) -> str:
    with pytest.raises(DomainError) as caught:
        attempt()
    return caught.value.stable_code


# Approvals


def test_an_approval_in_a_role_that_was_not_asked_fills_none(house: House) -> None:
    """{officer, steward} is no subset of {officer, tenant admin}, and once passed for it."""
    proposal = proposed(house)
    with tenant_scope(house.id):
        proposals.approve_proposal(house.officer, proposal)
        other = make_user("second", house.tenant, Role.STEWARD)
        Approval._base_manager.create(
            tenant=house.tenant,
            proposal=proposal,
            proposer_id=proposal.proposer_id,
            approver=other,
            role=Role.STEWARD.value,
            payload_hash=proposal.payload_hash,
        )
        assert approvals.what_lacks(proposal, timezone.now()) is not None


@pytest.mark.parametrize("how", ["revoked", "deactivated"])
def test_the_approval_of_somebody_who_was_shut_out_counts_no_more(house: House, how: str) -> None:
    proposal = proposed(house)
    second = make_user("second", house.tenant, Role.OFFICER)
    with tenant_scope(house.id):
        proposals.approve_proposal(house.officer, proposal)
        proposals.approve_proposal(house.owner, proposal)
        if how == "revoked":
            people.revoke_role(
                house.platform, RoleBinding.objects.get(user_id=house.officer.user_id)
            )
        else:
            people.deactivate_user(house.platform, house.tenant, user=house.user(house.officer))
        with transaction.atomic():
            assert code_of(lambda: approvals.use(ProposalKind.REVEAL, SUBJECT)) == (
                "approval.approver_left"
            )
        proposals.approve_proposal(UserActor(second.id, house.id), proposal)
        with transaction.atomic():
            approvals.use(ProposalKind.REVEAL, SUBJECT)


def test_a_stopped_ingest_can_be_proposed_again(house: House) -> None:
    """The approval ran out before a worker came: the data must not be lost for it."""
    dataset = profiled(house)
    approve_plan(house, dataset)
    make_user("second", house.tenant, Role.OFFICER)
    with tenant_scope(house.id):
        people.revoke_role(house.platform, RoleBinding.objects.get(user_id=house.officer.user_id))
    leases.run_here(dataset.reference)
    dataset.refresh_from_db()
    assert (dataset.state, dataset.error_code) == (DatasetState.FAILED, "approval.approver_left")
    with tenant_scope(house.id):
        plan = dataset.plans.first()
        assert plan is not None
        datasets.amend_plan(house.steward, dataset, plan=plan.as_json(), changed=0)
    dataset.refresh_from_db()
    assert dataset.state == DatasetState.PROPOSED


@pytest.mark.parametrize("what", ["left_out", "renamed", "evidence", "detector", "columns"])
def test_an_amended_plan_keeps_its_evidence(house: House, what: str) -> None:
    """The officer decides on what the detector found, not on what the steward says it found."""
    dataset = profiled(house)
    with tenant_scope(house.id):
        stored = dataset.plans.get()
        plan = stored.as_json()
        match what:
            case "left_out":
                plan["columns"].pop(0)
            case "renamed":
                plan["columns"][0]["name"] = "nothing"
            case "evidence":
                plan["columns"][0]["evidence"]["findings"] = []
            case "detector":
                plan["detector"] = "better.than.before"
            case "columns":
                del plan["columns"]
        assert (
            code_of(lambda: datasets.amend_plan(house.steward, dataset, plan=plan, changed=1))
            == "recognition.plan_invalid"
        )
        assert dataset.plans.get() == stored


def test_who_approves_anew_after_a_day_gets_a_code(house: House) -> None:
    """They hold both roles; another person has filled the one they had filled."""
    both = make_user("both", house.tenant, Role.OFFICER, Role.TENANT_ADMIN)
    proposal = proposed(house)
    with tenant_scope(house.id):
        Approval._base_manager.create(
            tenant=house.tenant,
            proposal=proposal,
            proposer_id=proposal.proposer_id,
            approver=both,
            role=Role.OFFICER.value,
            payload_hash=proposal.payload_hash,
            created_at=timezone.now() - timedelta(hours=25),
        )
        proposals.approve_proposal(house.officer, proposal)
        actor = UserActor(both.id, house.id)
        assert code_of(lambda: proposals.approve_proposal(actor, proposal)) == (
            "approval.role_filled"
        )


def test_nobody_approves_a_role_for_themselves(house: House) -> None:
    with tenant_scope(house.id):
        proposal = people.propose_role(
            house.platform,
            house.tenant,
            user=house.user(house.officer),
            role=Role.TENANT_ADMIN,
            tenant=house.tenant,
        )
        assert code_of(lambda: proposals.approve_proposal(house.officer, proposal)) == (
            "approval.own_role"
        )
    assert house.officer.roles() == {Role.OFFICER}


@pytest.mark.parametrize(
    "change",
    [
        {"used_at": None},
        {"rejected_at": timezone.now()},
        {"created_at": timezone.now() + timedelta(days=1)},
        {"expires_at": timezone.now() + timedelta(days=400)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_database_reopens_no_proposal(house: House, change: dict[str, Any]) -> None:
    proposal = proposed(house)
    row = Proposal._base_manager.filter(pk=proposal.pk)
    row.update(used_at=timezone.now())
    if "rejected_at" in change:
        second = proposed(house)
        row = Proposal._base_manager.filter(pk=second.pk)
        row.update(rejected_at=timezone.now() - timedelta(hours=1))
    with pytest.raises(DatabaseError), transaction.atomic():
        row.update(**change)


def test_the_database_replaces_no_proposal(house: House) -> None:
    """The approver opened this id; another payload under it would be approved unread."""
    proposal = proposed(house)
    columns = [str(field.column) for field in Proposal._meta.concrete_fields]
    names = ", ".join(columns)
    chosen = ", ".join("'x'" if name == "payload" else name for name in columns)
    if connection.vendor == "sqlite":
        verb, rest = "INSERT OR REPLACE", ""
    else:
        verb, rest = "INSERT", "ON CONFLICT (id) DO UPDATE SET payload = excluded.payload"
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            f"{verb} INTO governance_proposal ({names})"  # noqa: S608  # our own columns
            f" SELECT {chosen} FROM governance_proposal WHERE true {rest}"
        )
    proposal.refresh_from_db()
    assert bytes(proposal.payload) == b"{}"


# Roles, people and tenants


def test_another_tenants_admins_grant_no_role_here(house: House) -> None:
    """A rival with a platform admin and an officer of its own once granted itself a steward."""
    rival = make_house("rival")
    with tenant_scope(rival.id):
        assert (
            code_of(
                lambda: people.propose_role(
                    rival.platform,
                    rival.tenant,
                    user=rival.user(rival.steward),
                    role=Role.STEWARD,
                    tenant=house.tenant,
                )
            )
            == "role.other_tenant"
        )
    assert UserActor(rival.steward.user_id, house.id).roles() == frozenset()


def test_a_role_elsewhere_is_decided_by_the_officer_there(house: House) -> None:
    rival = make_house("rival")
    with tenant_scope(house.id, rival.id):
        proposal = people.propose_role(
            house.platform,
            house.tenant,
            user=house.user(house.engineer),
            role=Role.STEWARD,
            tenant=rival.tenant,
        )
        assert code_of(lambda: proposals.approve_proposal(house.officer, proposal)) == (
            "permission.other_tenant"
        )
        assert proposals.approve_proposal(rival.officer, proposal).complete


def test_a_customer_without_an_officer_is_staffed_by_the_house(house: House) -> None:
    customer = make_tenant("acme", provider=False, customer=True)
    person = make_user("ann")
    with tenant_scope(house.id):
        proposal = people.propose_role(
            house.platform, house.tenant, user=person, role=Role.TENANT_ADMIN, tenant=customer
        )
        proposals.approve_proposal(house.officer, proposal)
    assert UserActor(person.id, customer.id).roles() == {Role.TENANT_ADMIN}


def test_only_the_house_reaches_past_its_own_tenant(house: House) -> None:
    rival = make_house("rival")
    with tenant_scope(rival.id):
        assert (
            code_of(
                lambda: tenants.create_tenant(
                    rival.platform, rival.tenant, slug="shadow", name="Shadow", customer=True
                )
            )
            == "tenant.not_the_house"
        )
        assert (
            code_of(lambda: keys.rotate_keys(rival.platform, rival.tenant, level=keys.Level.ROOT))
            == "keys.not_the_house"
        )
    assert not Tenant.objects.filter(slug="shadow").exists()


def test_the_house_sees_what_its_admin_makes(house: House) -> None:
    with tenant_scope(house.id):
        tenants.create_tenant(house.platform, house.tenant, slug="acme", name="Acme", customer=True)
    assert AuditEntry.objects.get(event="tenant.created").tenant == str(house.id)


def test_the_last_officer_is_not_deactivated(house: House) -> None:
    officer = house.user(house.officer)
    with tenant_scope(house.id):
        attempt = lambda: people.deactivate_user(house.platform, house.tenant, user=officer)  # noqa: E731
        assert code_of(attempt) == "role.last_officer"
        second = make_user("second", house.tenant, Role.OFFICER)
        second.is_active = False
        second.save(update_fields=["is_active"])
        # One who cannot sign in is no officer who stays.
        assert code_of(attempt) == "role.last_officer"
        binding = RoleBinding.objects.get(user=officer)
        assert code_of(lambda: people.revoke_role(house.platform, binding)) == "role.last_officer"
    officer.refresh_from_db()
    assert officer.is_active


def test_a_tenant_shuts_nobody_out_of_another(house: House) -> None:
    rival = make_house("rival")
    shared = make_user("shared", house.tenant, Role.STEWARD)
    bind(shared, rival.tenant, Role.STEWARD)
    with tenant_scope(rival.id):
        assert (
            code_of(lambda: people.deactivate_user(rival.owner, rival.tenant, user=shared))
            == "user.other_tenants"
        )
        left = house.user(house.engineer)
        bind(left, rival.tenant, Role.ENGINEER)
        RoleBinding._base_manager.filter(user=left, tenant=rival.tenant).update(
            revoked_at=timezone.now()
        )
        # Whoever left this tenant is no longer its to shut out.
        assert (
            code_of(lambda: people.deactivate_user(rival.owner, rival.tenant, user=left))
            == "not_found"
        )


def test_a_role_is_revoked_once(house: House) -> None:
    with tenant_scope(house.id):
        binding = RoleBinding.objects.get(user_id=house.steward.user_id)
        stale = RoleBinding.objects.get(pk=binding.pk)
        people.revoke_role(house.officer, binding)
        assert code_of(lambda: people.revoke_role(house.officer, stale)) == "role.revoked"


@pytest.mark.parametrize(
    ("username", "password", "code"),
    [
        ("nia", "", "user.password_weak"),
        ("nia", "password1234", "user.password_weak"),
        ("nia", "short", "user.password_weak"),
        ("", PASSWORD, "user.name_missing"),
        ("n\x00a", PASSWORD, "user.name_missing"),
        ("n" * 151, PASSWORD, "user.name_missing"),
        ("house-steward", PASSWORD, "user.exists"),
    ],
)
def test_an_account_that_anybody_could_take_is_not_made(
    house: House, username: str, password: str, code: str
) -> None:
    before = User.objects.count()
    with tenant_scope(house.id):
        assert (
            code_of(
                lambda: people.create_user(
                    house.platform, house.tenant, username=username, password=password
                )
            )
            == code
        )
    assert User.objects.count() == before


def test_the_house_is_founded_by_two_people() -> None:
    named = {"tenant_slug": "house", "tenant_name": "House", "officer": "olga"}
    secret = {"officer_password": PASSWORD, "platform_password": PASSWORD}

    def found(platform: str, **more: str) -> Tenant:
        asked: dict[str, Any] = {**named, **secret, "platform": platform, **more}
        return people.bootstrap(people.BOOTSTRAP, None, **asked)

    assert code_of(lambda: found("olga")) == "bootstrap.one_person"
    assert code_of(lambda: found("pat", platform_password="")) == "user.password_weak"
    assert code_of(lambda: found("pat", tenant_slug="My House")) == "tenant.slug_invalid"
    assert not User.objects.exists()


def test_the_house_sees_who_tries_to_found_it_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORTCULLIS_OFFICER_PASSWORD", PASSWORD)
    monkeypatch.setenv("PORTCULLIS_PLATFORM_PASSWORD", PASSWORD)
    with pytest.raises(SystemExit):
        call_command(
            "bootstrap", "--tenant", "mine", "--name", "Mine", "--officer", "a", "--platform", "b"
        )
    entry = AuditEntry.objects.get(event="people.officer_bootstrapped")
    assert (entry.outcome, entry.tenant) == ("denied", str(house.id))


@pytest.mark.parametrize("slug", ["Zhang San", "张三", "13800138000", "", "ZhangSan", "a" * 61])
def test_a_purpose_is_a_word_and_not_a_person(house: House, slug: str) -> None:
    with tenant_scope(house.id):
        assert (
            code_of(
                lambda: tenants.declare_purpose(
                    house.officer, house.tenant, slug=slug, title="x", legal_basis="consent"
                )
            )
            == "purpose.slug_invalid"
        )
    assert slug not in bytes(AuditEntry.objects.get().body).decode() or not slug


def test_a_part_that_works_for_a_tenant_reaches_nothing_without_one(house: House) -> None:
    worker = ingest_worker(house.id)
    for subject in (None, "dataset:1", make_house("rival").tenant):
        decision = worker.may(Permission.DATASET_FINISH, subject)
        assert (decision.allowed, decision.reason) == (False, "permission.other_tenant")


@pytest.mark.parametrize("name", ["a\x00b", "\udcff", "x" * 300, "人", "'; --"])
def test_a_look_up_of_what_cannot_be_a_name_is_a_recorded_miss(house: House, name: str) -> None:
    with tenant_scope(house.id), pytest.raises(NotFoundError):
        find(house.steward, Dataset, name)
    assert AuditEntry.objects.get(event="access.refused").outcome == "denied"


# Data, queues and what a lost connection leaves


def test_a_broker_that_is_away_costs_nobody_their_upload(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row had committed, the message failed, and the door then removed the sealed bytes."""

    def away(_: Any) -> None:
        raise OSError("amqp://user:password@broker")

    monkeypatch.setitem(leases._work, "ingest.profile", leases.Work(send=away, run=ingest.profile))
    with tenant_scope(house.id):
        dataset = intake.take_in(
            house.steward, house.tenant, [intake.Incoming([b"a,b\n1,2\n"])],
            datasets.Declared(name="people", purposes=("credit-risk-scoring",)),
        )  # fmt: skip
        with open_object(first_file(dataset)) as file:
            assert file.read() == b"a,b\n1,2\n"
        Job.objects.update(sent_at=timezone.now() - timedelta(minutes=1))
        job = Job.objects.get()
    assert leases.resend_due() == 0  # and the sweeper outlives it
    with across_tenants(reason="as if the time had passed"):
        Job.objects.update(sent_at=timezone.now() - timedelta(minutes=1))
    sent: list[Any] = []
    monkeypatch.setitem(
        leases._work, "ingest.profile", leases.Work(send=sent.append, run=ingest.profile)
    )
    assert leases.resend_due() == 1
    assert sent == [job.id]


def test_bytes_that_a_row_names_are_not_discarded(house: House) -> None:
    """The connection broke during the commit, which came through all the same."""
    dataset = upload(house)
    discard(first_file(dataset))
    with open_object(first_file(dataset)) as file:
        assert file.read(4) == b"name"


def test_a_job_that_was_just_sent_again_is_not_sent_every_sweep(house: House) -> None:
    upload(house)
    with across_tenants(reason="as if its worker had died"):
        job = Job.objects.get()
        assert leases.claim(job.id) is not None
        Job.objects.update(
            leased_until=timezone.now() - timedelta(seconds=1),
            sent_at=timezone.now() - timedelta(minutes=1),
        )
    assert [leases.resend_due(), leases.resend_due()] == [1, 0]


def test_a_kind_that_nobody_does_is_not_enqueued(house: House) -> None:
    with tenant_scope(house.id), pytest.raises(KeyError):
        leases.enqueue("no.such", SUBJECT, "ingest", tenant_id=house.id)
    with across_tenants(reason="looking for leftovers"):
        assert not Job.objects.exists()


@pytest.mark.parametrize("whose", ["rival", "house"])
def test_an_upload_takes_in_no_bytes_of_another_kind(house: House, whose: str) -> None:
    """Another tenant's object, or a sealed version of this one."""
    owner = make_house("rival").tenant if whose == "rival" else house.tenant
    with ObjectWriter(owner, "quarantine" if whose == "rival" else "version") as writer:
        writer.write(b"a,b\n1,2\n")
        stored = writer.finish()
    with tenant_scope(house.id):
        assert code_of(
            lambda: datasets.upload_dataset(
                house.steward, house.tenant, files=[Received(stored)],
                declared=datasets.Declared(name="x", purposes=("credit-risk-scoring",)),
            )
        ) == "dataset.not_its_file"  # fmt: skip


def test_a_row_that_points_at_another_tenants_object_opens_nothing(house: House) -> None:
    """The database's admin swaps a foreign key; each object opens with its own tenant's keys."""
    mine, theirs = upload(house), upload(make_house("rival"))
    Part._base_manager.filter(batch__dataset=mine).update(stored=first_file(theirs))
    leases.run_here(mine.reference)
    mine.refresh_from_db()
    assert (mine.state, mine.error_code) == (DatasetState.FAILED, "crypto.open_failed")


@pytest.mark.parametrize(
    "declared",
    [
        {"format": "f" * 11},
        {"encoding": "e" * 21},
        {"subject_column": "s" * 101},
        {"subject_column": "a\x00b"},
        {"declarations": {"source": "a\x00b"}},
    ],
)
def test_what_a_database_would_refuse_with_its_text_is_refused_before(
    house: House, declared: dict[str, Any]
) -> None:
    assert code_of(lambda: upload(house, **declared)) == "dataset.declaration_invalid"
    assert not [p for p in Path(settings.PORTCULLIS_HOME, "objects").rglob("*") if p.is_file()]


def test_a_lost_lease_is_seen_before_anything_is_written(house: House) -> None:
    dataset = upload(house)
    with across_tenants(reason="the only job"):
        old = leases.claim(Job.objects.get().id)
    assert old is not None
    with across_tenants(reason="as if the time had passed"):
        Job.objects.update(fence=9)
    with tenant_scope(house.id):
        assert (
            code_of(
                lambda: anonymization.stop_ingest(
                    ingest_worker(house.id),
                    dataset,
                    lease=old,
                    stage="profile",
                    code="x",
                    detail="x",
                )
            )
            == "job.lost_lease"
        )
    dataset.refresh_from_db()
    assert dataset.state == DatasetState.QUARANTINED


class _Broken(DoorCommand):
    def run(self, actor: UserActor, options: dict[str, Any]) -> dict[str, Any]:
        del actor, options
        raise OperationalError("Failing row contains (王小明, 13800138000)")


def test_a_command_that_breaks_prints_no_text_of_the_database(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        call_command(_Broken(), "--as", "house-steward")
    told = capsys.readouterr()
    assert left.value.code == 4
    assert json.loads(told.err)["code"] == "internal"
    assert "王小明" not in told.err + told.out


def test_another_tenants_proposal_is_nobodys(house: House) -> None:
    proposal = proposed(house)
    rival = make_house("rival")
    with tenant_scope(rival.id):
        for value in (str(proposal.id), str(uuid4())):
            assert code_of(lambda value=value: find(rival.officer, Proposal, value)) == "not_found"
