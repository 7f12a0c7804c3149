"""A cast for every test: a house with one person in every role, and a rival for strangers."""

from dataclasses import dataclass
from uuid import UUID

from django.contrib.auth.hashers import make_password

from governance.models import Purpose, RoleBinding, Tenant, User
from governance.models.tenants import LegalBasis, Suite
from governance.permissions import Role
from governance.rbac import UserActor

PASSWORD = "correct horse battery staple"


def make_tenant(
    slug: str, *, provider: bool = True, customer: bool = False, suite: str = Suite.INTERNATIONAL
) -> Tenant:
    """A tenant row, without the action."""
    return Tenant.objects.create(
        slug=slug,
        name=slug.replace("-", " ").title(),
        is_provider=provider,
        is_customer=customer,
        suite=suite,
    )


def make_user(username: str, tenant: Tenant | None = None, *roles: Role) -> User:
    """A user who holds roles for a tenant."""
    user = User.objects.create(username=username, password=make_password(PASSWORD), is_staff=True)
    for role in roles:
        assert tenant is not None
        bind(user, tenant, role)
    return user


def bind(user: User, tenant: Tenant, role: Role) -> RoleBinding:
    """A role, without proposal and approval."""
    return RoleBinding._base_manager.create(tenant=tenant, user=user, role=role.value)


def actor_of(user: User, tenant: Tenant) -> UserActor:
    """The user, acting for the tenant."""
    return UserActor(user.id, tenant.id)


@dataclass(frozen=True)
class House:
    """A provider with its people, as actors."""

    tenant: Tenant
    steward: UserActor
    officer: UserActor
    engineer: UserActor
    owner: UserActor
    platform: UserActor
    auditor: UserActor

    def user(self, actor: UserActor) -> User:
        """The user behind an actor."""
        return User.objects.get(pk=actor.user_id)

    @property
    def id(self) -> UUID:
        """The tenant's id."""
        return self.tenant.id


def make_house(slug: str = "house", *, suite: str = Suite.INTERNATIONAL) -> House:
    """A house with one person in every staff role, and the purpose `credit-risk-scoring`."""
    tenant = make_tenant(slug, suite=suite)
    people = {
        role: actor_of(make_user(f"{slug}-{role.value}", tenant, role), tenant)
        for role in Role
        if role is not Role.API_CLIENT
    }
    Purpose._base_manager.create(
        tenant=tenant,
        slug="credit-risk-scoring",
        title="Credit risk scoring",
        legal_basis=LegalBasis.CONTRACT,
    )
    return House(
        tenant=tenant,
        steward=people[Role.STEWARD],
        officer=people[Role.OFFICER],
        engineer=people[Role.ENGINEER],
        owner=people[Role.TENANT_ADMIN],
        platform=people[Role.PLATFORM],
        auditor=people[Role.AUDITOR],
    )
