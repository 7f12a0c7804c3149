"""Two pairs of eyes: every way in which an approval must not count."""

from datetime import timedelta

import pytest
from django.db import DatabaseError, IntegrityError, transaction
from django.utils import timezone

from audit.errors import DomainError
from audit.errors import RefusedError as MayNotError
from audit.models import AuditEntry
from governance import approvals
from governance.actions.proposals import approve_proposal, reject_proposal
from governance.errors import RefusedError
from governance.models import Approval, Proposal
from governance.permissions import ProposalKind, Role
from governance.rbac import UserActor
from governance.scoping import tenant_scope
from tests.factories.people import House, bind, make_house, make_user

pytestmark = pytest.mark.django_db
SUBJECT = "dataset:00000000-0000-0000-0000-000000000001"


@pytest.fixture
def house() -> House:
    return make_house()


def proposed(house: House, kind: ProposalKind = ProposalKind.REVEAL) -> Proposal:
    """A reveal needs the officer and the tenant admin."""
    with tenant_scope(house.id):
        return approvals.propose(
            kind, SUBJECT, {"tokens": 3}, proposer_id=house.steward.user_id, tenant_id=house.id
        )


def lacks(proposal: Proposal) -> str | None:
    return approvals.what_lacks(proposal, timezone.now())


def test_both_roles_complete_it_and_it_is_used_once(house: House) -> None:
    proposal = proposed(house)
    with tenant_scope(house.id):
        assert not approve_proposal(house.officer, proposal).complete
        assert approve_proposal(house.owner, proposal).complete
        assert approvals.use(ProposalKind.REVEAL, SUBJECT, proposal.payload_hash) == proposal
        with pytest.raises(RefusedError) as caught:
            approvals.use(ProposalKind.REVEAL, SUBJECT, proposal.payload_hash)
    assert caught.value.stable_code == "approval.used"
    assert AuditEntry.objects.filter(event="proposal.approved", outcome="done").count() == 2


@pytest.mark.parametrize(
    ("who", "code"),
    [
        ("steward", "permission.role_missing"),  # proposed it, and may not decide anything
        ("engineer", "permission.role_missing"),
        ("auditor", "permission.role_missing"),
        ("platform", "permission.role_missing"),
    ],
)
def test_other_roles_do_not_decide(house: House, who: str, code: str) -> None:
    proposal = proposed(house)
    with tenant_scope(house.id), pytest.raises(MayNotError) as caught:
        approve_proposal(getattr(house, who), proposal)
    assert caught.value.stable_code == code


def test_nobody_approves_their_own(house: House) -> None:
    bind(house.user(house.steward), house.tenant, Role.OFFICER)
    proposal = proposed(house)
    with tenant_scope(house.id), pytest.raises(MayNotError) as caught:
        approve_proposal(house.steward, proposal)
    assert caught.value.stable_code == "approval.own_proposal"


def test_one_person_with_both_roles_counts_once(house: House) -> None:
    both = make_user("both", house.tenant, Role.OFFICER, Role.TENANT_ADMIN)
    actor = UserActor(both.id, house.id)
    proposal = proposed(house)
    with tenant_scope(house.id):
        approve_proposal(actor, proposal)
        with pytest.raises(RefusedError) as caught:
            approve_proposal(actor, proposal)
        assert caught.value.stable_code == "approval.twice"
        assert lacks(proposal) == "approval.missing"


def test_a_stranger_reaches_nothing(house: House) -> None:
    rival = make_house("rival")
    proposal = proposed(house)
    with tenant_scope(house.id, rival.id), pytest.raises(MayNotError) as caught:
        approve_proposal(rival.officer, proposal)
    assert caught.value.stable_code == "permission.other_tenant"


@pytest.mark.parametrize(
    ("hours", "code"), [(23, None), (25, "approval.expired")], ids=["fresh", "stale"]
)
def test_an_approval_counts_for_a_day(house: House, hours: int, code: str | None) -> None:
    proposal = proposed(house)
    with tenant_scope(house.id):
        approve_proposal(house.officer, proposal)
        approve_proposal(house.owner, proposal)
        later = timezone.now() + timedelta(hours=hours)
        assert approvals.what_lacks(proposal, later) == code


def test_a_proposal_lives_two_weeks(house: House) -> None:
    proposal = proposed(house)
    assert proposal.expires_at - proposal.created_at >= timedelta(days=14) - timedelta(seconds=5)
    Proposal._base_manager.filter(pk=proposal.pk).update(expires_at=timezone.now())
    with tenant_scope(house.id), pytest.raises(DomainError) as caught:
        approve_proposal(house.officer, proposal)
    assert caught.value.stable_code == "proposal.expired"


def test_a_rejected_proposal_is_closed(house: House) -> None:
    proposal = proposed(house)
    with tenant_scope(house.id):
        reject_proposal(house.officer, proposal)
        with pytest.raises(DomainError) as caught:
            approve_proposal(house.owner, proposal)
    assert caught.value.stable_code == "proposal.closed"


def test_a_newer_proposal_replaces_the_open_one(house: House) -> None:
    first, second = proposed(house), proposed(house)
    first.refresh_from_db()
    assert first.rejected_at is not None
    with tenant_scope(house.id):
        assert approvals.latest(ProposalKind.REVEAL, SUBJECT) == second


def test_another_payload_is_not_what_was_approved(house: House) -> None:
    proposal = proposed(house)
    with tenant_scope(house.id):
        approve_proposal(house.officer, proposal)
        approve_proposal(house.owner, proposal)
        with pytest.raises(RefusedError) as caught:
            approvals.use(ProposalKind.REVEAL, SUBJECT, "0" * 64)
    assert caught.value.stable_code == "approval.payload_changed"


@pytest.mark.parametrize(
    "change", [{"payload": b"{}"}, {"payload_hash": "0" * 64}, {"subject": "dataset:2"}]
)
def test_the_database_keeps_a_proposal_as_it_was_read(
    house: House, change: dict[str, object]
) -> None:
    proposal = proposed(house)
    with pytest.raises(DatabaseError), transaction.atomic():
        Proposal._base_manager.filter(pk=proposal.pk).update(**change)


@pytest.mark.parametrize("forged", ["self", "wrong_proposer", "wrong_payload", "second_role"])
def test_the_database_refuses_a_forged_approval(house: House, forged: str) -> None:
    proposal = proposed(house)
    row = {
        "tenant_id": house.id,
        "proposal": proposal,
        "proposer_id": house.steward.user_id,
        "approver_id": house.officer.user_id,
        "role": Role.OFFICER.value,
        "payload_hash": proposal.payload_hash,
    }
    match forged:
        case "self":
            row["approver_id"] = house.steward.user_id
        case "wrong_proposer":
            row["proposer_id"] = house.owner.user_id
        case "wrong_payload":
            row["payload_hash"] = "0" * 64
        case "second_role":
            Approval._base_manager.create(**row)
            row["role"] = Role.TENANT_ADMIN.value
    with pytest.raises(IntegrityError), transaction.atomic():
        Approval._base_manager.create(**row)


@pytest.mark.parametrize("verb", ["update", "delete"])
def test_approvals_are_only_added(house: House, verb: str) -> None:
    proposal = proposed(house)
    with tenant_scope(house.id):
        approve_proposal(house.officer, proposal)
    rows = Approval._base_manager.filter(proposal=proposal)
    with pytest.raises(IntegrityError), transaction.atomic():
        _ = rows.delete() if verb == "delete" else rows.update(role="tenant_admin")
