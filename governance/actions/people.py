"""Who there is, and which roles they hold."""

from typing import Final
from uuid import UUID

from django.contrib.auth.hashers import make_password
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.utils import timezone

from audit.events import Event
from audit.recording import Record, action
from governance import approvals
from governance.errors import ConflictError, InvalidError, NotFoundError, RefusedError
from governance.guards import found_alone
from governance.models import Proposal, RoleBinding, Tenant, User
from governance.models.tenants import Suite
from governance.naming import checked_slug, taken_once
from governance.permissions import CONFLICTS, Permission, ProposalKind, Role
from governance.rbac import Actor, SystemActor, UserActor, is_house
from governance.subject_keys import subject_key_ref
from governance.tenant_keys import create_tenant_keys

_LONGEST_NAME: Final = 150  # as the model's field; PostgreSQL refuses a longer one with its text
BOOTSTRAP = SystemActor("bootstrap", frozenset({Permission.PEOPLE_BOOTSTRAP}))


@action(Event.OFFICER_BOOTSTRAPPED, requires=Permission.PEOPLE_BOOTSTRAP)
def bootstrap(  # noqa: PLR0913 - each is asked of whoever founds the house
    record: Record,
    actor: Actor,
    house: Tenant | None,
    *,
    tenant_slug: str,
    tenant_name: str,
    officer: str,
    officer_password: str,
    platform: str,
    platform_password: str,
    suite: str = Suite.INTERNATIONAL,
) -> Tenant:
    """Found the house: its tenant, its first privacy officer and its first platform admin.

    Everybody else enters by a proposal of the one and an approval of the other. It works once:
    where an officer exists, roles are granted by proposal. `house` is the one that is there
    already, so that its own auditor sees who tried again.

    Raises:
        RefusedError: `bootstrap.done`.
        InvalidError: `bootstrap.one_person`, `tenant.slug_invalid`, `user.name_missing`,
            `user.password_weak`.
    """
    del actor, house
    found_alone()
    if User.objects.exists() or Tenant.objects.exists():
        raise RefusedError("the house is founded already", code="bootstrap.done")
    if officer == platform:
        raise InvalidError("the two founders are two people", code="bootstrap.one_person")
    checked_slug(tenant_slug, code="tenant.slug_invalid")
    tenant = Tenant.objects.create(
        slug=tenant_slug, name=tenant_name, is_provider=True, is_customer=False, suite=suite
    )
    create_tenant_keys(tenant)
    people = {}
    for name, password, role in (
        (officer, officer_password, Role.OFFICER),
        (platform, platform_password, Role.PLATFORM),
    ):
        people[role] = _new_user(name, password)
        RoleBinding._base_manager.create(  # noqa: SLF001  # the tenant has no scope yet
            tenant=tenant, user=people[role], role=role.value
        )
    record.about(tenant)
    record.facts(user=people[Role.OFFICER].reference)
    return tenant


@action(Event.USER_CREATED, requires=Permission.PEOPLE_CREATE)
def create_user(
    record: Record, actor: Actor, tenant: Tenant, *, username: str, password: str
) -> User:
    """Add a person, who holds no role yet.

    The log holds a commitment to the name; the name itself lies under a key of the person's own,
    and is gone with it.

    Raises:
        ConflictError: `user.exists`.
        InvalidError: `user.name_missing`, `user.password_weak`.
    """
    del actor
    user = _new_user(username, password)
    record.facts(user=user.reference)
    record.private("username", username, key_ref=subject_key_ref(tenant.id, user.reference))
    return user


@action(Event.USER_DEACTIVATED, requires=Permission.PEOPLE_DEACTIVATE)
def deactivate_user(record: Record, actor: Actor, tenant: Tenant, *, user: User) -> None:
    """Shut a person out at once; what they did stays.

    Raises:
        NotFoundError: the person holds no role for this tenant.
        RefusedError: `user.other_tenants`: the person works for others too, whom only the house
            that operates this installation may take them from.
        ConflictError: `role.last_officer`: somebody must be able to approve.
    """
    del actor
    held = RoleBinding._base_manager.filter(  # noqa: SLF001  # an account is everybody's
        user=user, revoked_at__isnull=True
    )
    if not held.filter(tenant=tenant).exists():
        raise NotFoundError("there is no such user here")
    if held.exclude(tenant=tenant).exists() and not is_house(tenant.id):
        raise RefusedError("this person works for others too", code="user.other_tenants")
    for binding in held.filter(role=Role.OFFICER.value):
        _keep_an_officer(binding)
    user.is_active = False
    user.save(update_fields=["is_active"])
    record.facts(user=user.reference)


@action(Event.ROLE_PROPOSED, requires=Permission.ROLE_PROPOSE)
def propose_role(
    record: Record, actor: UserActor, house: Tenant, *, user: User, role: Role, tenant: Tenant
) -> Proposal:
    """Propose that a person hold a role for a tenant; the privacy officer decides.

    For a role at another tenant it is that tenant's own officer, where it has one.

    Raises:
        RefusedError: `role.conflict`: the person holds a role that excludes this one;
            `role.other_tenant`: only the house that operates this installation grants elsewhere.
        ConflictError: `role.held`.
    """
    if tenant.id != house.id and not is_house(house.id):
        raise RefusedError("roles elsewhere are not yours to grant", code="role.other_tenant")
    held = {
        Role(name)
        for name in RoleBinding._base_manager.filter(  # noqa: SLF001  # conflicts cross tenants
            user=user, revoked_at__isnull=True
        ).values_list("role", flat=True)
    }
    for one, other in CONFLICTS:
        if (role is one and other in held) or (role is other and one in held):
            raise RefusedError("one person may not hold both roles", code="role.conflict")
    if RoleBinding._base_manager.filter(  # noqa: SLF001  # as above
        user=user, tenant=tenant, role=role.value, revoked_at__isnull=True
    ).exists():
        raise ConflictError("the person holds this role already", code="role.held")
    proposal = approvals.propose(
        ProposalKind.ROLE_GRANT,
        f"grant:{user.id.hex}-{role.value}-{tenant.id.hex[:8]}",
        {"user": str(user.id), "role": role.value, "tenant": str(tenant.id)},
        proposer_id=actor.user_id,
        tenant_id=tenant.id if _officers(tenant.id).exists() else house.id,
    )
    record.facts(user=user.reference, role=role.value, proposal=proposal.reference)
    return proposal


@action(Event.ROLE_REVOKED, requires=Permission.ROLE_REVOKE)
def revoke_role(record: Record, actor: Actor, binding: RoleBinding) -> None:
    """Take a role away; it stops working with the next question asked of it.

    Raises:
        ConflictError: `role.revoked`, or `role.last_officer`: somebody must be able to approve.
    """
    del actor
    binding = RoleBinding.objects.select_for_update().get(pk=binding.pk)
    if binding.revoked_at is not None:
        raise ConflictError("this role was revoked already", code="role.revoked")
    if binding.role == Role.OFFICER.value:
        _keep_an_officer(binding)
    binding.revoked_at = timezone.now()
    binding.save(update_fields=["revoked_at"])
    record.facts(user=f"user:{binding.user_id}", role=binding.role)


def _new_user(username: str, password: str) -> User:
    if not username or len(username) > _LONGEST_NAME or not username.isprintable():
        raise InvalidError("a user needs a name of 1 to 150 letters", code="user.name_missing")
    user = User(username=username, is_staff=True)
    try:
        validate_password(password, user)
    except ValidationError:
        raise InvalidError("the password is too easy to guess", code="user.password_weak") from None
    user.password = make_password(password)
    with taken_once("this user name is taken", code="user.exists"):
        user.save(force_insert=True)
    return user


def _officers(tenant_id: UUID) -> QuerySet[RoleBinding]:
    """The officers of a tenant who can approve."""
    return RoleBinding._base_manager.filter(  # noqa: SLF001  # the tenant may be another one
        tenant_id=tenant_id,
        role=Role.OFFICER.value,
        revoked_at__isnull=True,
        user__is_active=True,
    )


def _keep_an_officer(leaving: RoleBinding) -> None:
    """Refuse to take a tenant's last officer; two who leave at once wait here for each other."""
    Tenant.objects.select_for_update(no_key=True).get(pk=leaving.tenant_id)
    others = _officers(leaving.tenant_id).exclude(user_id=leaving.user_id)
    if not others.exists():
        raise ConflictError("a tenant keeps one privacy officer", code="role.last_officer")
