"""Who there is, and which roles they hold."""

from django.contrib.auth.hashers import make_password
from django.utils import timezone

from audit.events import Event
from audit.recording import Record, action
from governance import approvals
from governance.errors import ConflictError, InvalidError, NotFoundError, RefusedError
from governance.models import Proposal, RoleBinding, Tenant, User
from governance.models.tenants import Suite
from governance.permissions import CONFLICTS, Permission, ProposalKind, Role
from governance.rbac import Actor, SystemActor, UserActor
from governance.tenant_keys import create_tenant_keys

BOOTSTRAP = SystemActor("bootstrap", frozenset({Permission.PEOPLE_BOOTSTRAP}))


@action(Event.OFFICER_BOOTSTRAPPED, requires=Permission.PEOPLE_BOOTSTRAP)
def bootstrap(  # noqa: PLR0913 - each is asked of whoever founds the house
    record: Record,
    actor: Actor,
    subject: None,
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
    where an officer exists, roles are granted by proposal.

    Raises:
        RefusedError: `bootstrap.done`.
    """
    del actor, subject
    if User.objects.exists() or Tenant.objects.exists():
        raise RefusedError("the house is founded already", code="bootstrap.done")
    tenant = Tenant.objects.create(
        slug=tenant_slug, name=tenant_name, is_provider=True, is_customer=False, suite=suite
    )
    create_tenant_keys(tenant)
    people = {}
    for name, password, role in (
        (officer, officer_password, Role.OFFICER),
        (platform, platform_password, Role.PLATFORM),
    ):
        people[role] = User.objects.create(
            username=name, password=make_password(password), is_staff=True
        )
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
    """Add a person, who holds no role yet. The name stays out of the log.

    Raises:
        ConflictError: `user.exists`.
        InvalidError: `user.name_missing`.
    """
    del actor, tenant
    if not username:
        raise InvalidError("a user needs a name", code="user.name_missing")
    if User.objects.filter(username=username).exists():
        raise ConflictError("this user name is taken", code="user.exists")
    user = User.objects.create(username=username, password=make_password(password), is_staff=True)
    record.facts(user=user.reference)
    return user


@action(Event.USER_DEACTIVATED, requires=Permission.PEOPLE_DEACTIVATE)
def deactivate_user(record: Record, actor: Actor, tenant: Tenant, *, user: User) -> None:
    """Shut a person out at once; what they did stays.

    Raises:
        NotFoundError: the person holds no role for this tenant.
    """
    del actor
    if not RoleBinding.objects.filter(user=user, tenant=tenant).exists():
        raise NotFoundError("there is no such user here")
    user.is_active = False
    user.save(update_fields=["is_active"])
    record.facts(user=user.reference)


@action(Event.ROLE_PROPOSED, requires=Permission.ROLE_PROPOSE)
def propose_role(
    record: Record, actor: UserActor, house: Tenant, *, user: User, role: Role, tenant: Tenant
) -> Proposal:
    """Propose that a person hold a role for a tenant; the privacy officer decides.

    Raises:
        RefusedError: `role.conflict`: the person holds a role that excludes this one.
        ConflictError: `role.held`.
    """
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
        tenant_id=house.id,
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
    if binding.revoked_at is not None:
        raise ConflictError("this role was revoked already", code="role.revoked")
    officers = RoleBinding.objects.filter(
        tenant_id=binding.tenant_id, role=Role.OFFICER.value, revoked_at__isnull=True
    ).select_for_update()
    if binding.role == Role.OFFICER.value and len(officers) < 2:  # noqa: PLR2004  # the last one
        raise ConflictError("a tenant keeps one privacy officer", code="role.last_officer")
    binding.revoked_at = timezone.now()
    binding.save(update_fields=["revoked_at"])
    record.facts(user=f"user:{binding.user_id}", role=binding.role)
