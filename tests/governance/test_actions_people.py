"""Founding the house, and roles: proposed by one, approved by another, never two that conflict."""

import json

import pytest
from django.db import IntegrityError, transaction

from audit.errors import RefusedError as MayNotError
from audit.models import AuditEntry, PendingLeaf
from audit.redaction import open_private
from governance.actions import people, proposals, tenants
from governance.errors import ConflictError, ErasedError, RefusedError
from governance.models import RoleBinding, SubjectKey, Tenant, User
from governance.permissions import CONFLICTS, Role
from governance.rbac import UserActor, actor_named
from governance.scoping import tenant_scope
from tests.factories.people import PASSWORD, House, actor_of, bind, make_house, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def house() -> House:
    return make_house()


def outcomes(event: str) -> list[str]:
    return list(AuditEntry.objects.filter(event=event).values_list("outcome", flat=True))


def found_house() -> Tenant:
    return people.bootstrap(
        people.BOOTSTRAP,
        None,
        tenant_slug="house",
        tenant_name="House",
        officer="olga",
        officer_password=PASSWORD,
        platform="pat",
        platform_password=PASSWORD,
    )


def test_the_first_officer_comes_from_a_recorded_bootstrap() -> None:
    tenant = found_house()
    entry = AuditEntry.objects.get(event="people.officer_bootstrapped")
    body = json.loads(bytes(entry.body))
    assert body["outcome"] == "done"
    assert body["actor"] == "system:bootstrap"
    assert body["facts"] == {"user": User.objects.get(username="olga").reference}
    assert actor_named("olga").roles() == {Role.OFFICER}
    assert PendingLeaf.objects.filter(entry_id=entry.id).exists()
    assert "olga" not in bytes(entry.body).decode()
    assert entry.tenant == str(tenant.id)


def test_the_bootstrap_works_once() -> None:
    found_house()
    with pytest.raises(RefusedError, match="founded already") as caught:
        found_house()
    assert caught.value.stable_code == "bootstrap.done"
    assert outcomes("people.officer_bootstrapped") == ["done", "denied"]


def test_nobody_but_the_bootstrap_may_bootstrap(house: House) -> None:
    with pytest.raises(MayNotError):
        people.bootstrap(
            house.platform, None, tenant_slug="x", tenant_name="X", officer="a",
            officer_password="b", platform="c", platform_password="d",
        )  # fmt: skip
    assert outcomes("people.officer_bootstrapped") == ["denied"]


def test_a_role_is_proposed_by_one_and_granted_by_another(house: House) -> None:
    with tenant_scope(house.id):
        newcomer = people.create_user(
            house.platform, house.tenant, username="nia", password=PASSWORD
        )
        proposal = people.propose_role(
            house.platform, house.tenant, user=newcomer, role=Role.STEWARD, tenant=house.tenant
        )
        assert UserActor(newcomer.id, house.id).roles() == frozenset()
        approved = proposals.approve_proposal(house.officer, proposal)
    assert approved.complete
    assert UserActor(newcomer.id, house.id).roles() == {Role.STEWARD}


def test_a_person_may_hold_two_roles_that_do_not_conflict(house: House) -> None:
    with tenant_scope(house.id):
        newcomer = make_user("nia")
        for role in (Role.STEWARD, Role.ENGINEER):
            proposal = people.propose_role(
                house.platform, house.tenant, user=newcomer, role=role, tenant=house.tenant
            )
            proposals.approve_proposal(house.officer, proposal)
    assert UserActor(newcomer.id, house.id).roles() == {Role.STEWARD, Role.ENGINEER}


@pytest.mark.parametrize(("one", "other"), CONFLICTS)
def test_conflicting_roles_are_refused_by_the_action_and_by_the_database(
    house: House, one: Role, other: Role
) -> None:
    for first, second in ((one, other), (other, one)):
        user = make_user(f"{first.value}-{second.value}", house.tenant, first)
        with tenant_scope(house.id), pytest.raises(RefusedError) as caught:
            people.propose_role(
                house.platform, house.tenant, user=user, role=second, tenant=house.tenant
            )
        assert caught.value.stable_code == "role.conflict"
        with pytest.raises(IntegrityError), transaction.atomic():
            bind(user, house.tenant, second)


def test_an_update_cannot_smuggle_a_conflict_in(house: House) -> None:
    user = make_user("nia", house.tenant, Role.AUDITOR)
    RoleBinding._base_manager.filter(user=user).update(revoked_at="2026-01-01T00:00:00Z")
    bind(user, house.tenant, Role.STEWARD)
    with pytest.raises(IntegrityError), transaction.atomic():
        RoleBinding._base_manager.filter(user=user, role="auditor").update(revoked_at=None)


def test_a_revoked_role_opens_nothing_from_then_on(house: House) -> None:
    with tenant_scope(house.id):
        binding = RoleBinding.objects.get(user_id=house.steward.user_id)
        people.revoke_role(house.officer, binding)
    assert house.steward.roles() == frozenset()


def test_the_last_officer_stays(house: House) -> None:
    with tenant_scope(house.id), pytest.raises(ConflictError) as caught:
        people.revoke_role(house.platform, RoleBinding.objects.get(user_id=house.officer.user_id))
    assert caught.value.stable_code == "role.last_officer"
    assert outcomes("people.role_revoked") == ["failed"]


def test_a_deactivated_user_is_nobody(house: House) -> None:
    with tenant_scope(house.id):
        people.deactivate_user(house.officer, house.tenant, user=house.user(house.steward))
    assert house.steward.roles() == frozenset()


def test_a_stranger_is_refused(house: House) -> None:
    rival = make_house("rival")
    with tenant_scope(house.id, rival.id), pytest.raises(MayNotError) as caught:
        tenants.declare_purpose(
            rival.officer, house.tenant, slug="spying", title="Spying", legal_basis="consent"
        )
    assert caught.value.stable_code == "permission.other_tenant"
    assert outcomes("tenant.purpose_declared") == ["denied"]


def test_each_tenant_holds_its_own_roles() -> None:
    house, rival = make_house(), make_house("rival")
    assert actor_of(house.user(house.officer), rival.tenant).roles() == frozenset()


def test_a_name_is_in_the_log_as_a_commitment_that_its_key_alone_opens(house: House) -> None:
    with tenant_scope(house.id):
        people.create_user(house.platform, house.tenant, username="zhangsan", password=PASSWORD)
    entry = AuditEntry.objects.get(event="people.user_created")
    assert b"zhangsan" not in bytes(entry.body)
    assert set(json.loads(bytes(entry.body))["private"]) == {"username"}
    assert open_private(entry.id, "username")[1] == "zhangsan"
    with tenant_scope(house.id):
        SubjectKey.objects.all().delete()
    with pytest.raises(ErasedError):
        open_private(entry.id, "username")
