"""Who acts, and `may()`: role, tenant and approval, asked afresh for every act.

Roles are read from the database at each question, inside the action's transaction. A role or an
account that was revoked a moment ago therefore opens nothing, whatever a session or a worker still
remembers.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from django.utils import timezone

from governance import approvals
from governance.errors import InvalidError
from governance.errors import NotFoundError as NotFoundError  # noqa: PLC0414  # re-raised by doors
from governance.models import Proposal, RoleBinding, Tenant, User
from governance.permissions import GRANTS, NEEDS_APPROVAL, Permission, ProposalKind, Role
from governance.scoping import across_tenants


@dataclass(frozen=True)
class Decision:
    """An answer and its reason: a stable code that a person can look up."""

    allowed: bool
    reason: str


ALLOWED = Decision(allowed=True, reason="permission.granted")


class Actor(Protocol):
    """Who acts, for which tenant. Satisfies `audit.recording.Actor`."""

    @property
    def reference(self) -> str:
        """An id without personal data."""
        ...

    @property
    def tenant_id(self) -> UUID | None:
        """The tenant acted for."""
        ...

    @property
    def tenant_reference(self) -> str | None:
        """The tenant acted for, as a plain value."""
        ...

    def may(self, permission: Permission, subject: object) -> Decision:
        """Whether `permission` holds on `subject` now."""
        ...


@dataclass(frozen=True)
class UserActor:
    """A person, acting for one tenant."""

    user_id: UUID
    tenant_id: UUID | None

    @property
    def reference(self) -> str:
        """The user's id."""
        return f"user:{self.user_id}"

    @property
    def tenant_reference(self) -> str | None:
        """The tenant acted for."""
        return None if self.tenant_id is None else str(self.tenant_id)

    def roles(self) -> frozenset[Role]:
        """The roles held for this tenant, as the database has them now."""
        if self.tenant_id is None:
            return frozenset()
        with across_tenants(reason="a user's own roles"):
            held = RoleBinding.objects.filter(
                user_id=self.user_id,
                tenant_id=self.tenant_id,
                revoked_at__isnull=True,
                user__is_active=True,
            ).values_list("role", flat=True)
            return frozenset(Role(role) for role in held)

    def may(self, permission: Permission, subject: object) -> Decision:
        """Answer for a person, in this order: account and roles, tenant, grant, approval."""
        roles = self.roles()
        if not roles:
            return Decision(allowed=False, reason="permission.no_role")
        if not self._reaches(permission, subject, roles):
            return Decision(allowed=False, reason="permission.other_tenant")
        if not roles & GRANTS[permission]:
            return Decision(allowed=False, reason="permission.role_missing")
        if permission is Permission.PROPOSAL_DECIDE:
            return self._decides(subject, roles)
        kind = NEEDS_APPROVAL.get(permission)
        if kind is not None:
            return _approved(kind, subject, timezone.now())
        return ALLOWED

    def _reaches(self, permission: Permission, subject: object, roles: frozenset[Role]) -> bool:
        """A subject is reached by its owner, and a license by its customer's admin as well."""
        if subject is None:
            return True
        if getattr(subject, "tenant_id", None) == self.tenant_id:
            return True
        if permission is Permission.TENANT_VIEW and Role.PLATFORM in roles:
            # A customer must be found to be licensed to; other providers are the house's to know.
            return is_house(self.tenant_id) or bool(getattr(subject, "is_customer", False))
        customer = getattr(subject, "customer_id", None)
        own = {
            Permission.KEY_ISSUE,
            Permission.KEY_REVOKE,
            Permission.LICENSE_EXPORT,
            Permission.LICENSE_VIEW,
        }
        return (
            customer is not None
            and customer == self.tenant_id
            and permission in own
            and Role.TENANT_ADMIN in roles
        )

    def _decides(self, subject: object, roles: frozenset[Role]) -> Decision:
        if not isinstance(subject, Proposal):
            return Decision(allowed=False, reason="permission.not_a_proposal")
        if subject.proposer_id == self.user_id:
            return Decision(allowed=False, reason="approval.own_proposal")
        if not roles & set(subject.roles):
            return Decision(allowed=False, reason="permission.role_missing")
        return ALLOWED


@dataclass(frozen=True)
class SystemActor:
    """A part of the product, which may do the few acts that it was made for and no other."""

    name: str
    permissions: frozenset[Permission]
    tenant_id: UUID | None = None

    @property
    def reference(self) -> str:
        """The part's name."""
        return f"system:{self.name}"

    @property
    def tenant_reference(self) -> str | None:
        """The tenant worked for."""
        return None if self.tenant_id is None else str(self.tenant_id)

    def may(self, permission: Permission, subject: object) -> Decision:
        """Answer from the fixed list; a part that works for a tenant reaches that tenant only."""
        if permission not in self.permissions:
            return Decision(allowed=False, reason="permission.not_this_part")
        owner = getattr(subject, "tenant_id", None)
        if self.tenant_id is not None and owner != self.tenant_id:
            return Decision(allowed=False, reason="permission.other_tenant")
        return ALLOWED


def ingest_worker(tenant_id: UUID) -> SystemActor:
    """The worker that profiles and anonymizes; it may only write down what it found."""
    return SystemActor("ingest", frozenset({Permission.DATASET_FINISH}), tenant_id)


def training_worker(tenant_id: UUID) -> SystemActor:
    """The worker that trains; it may only write down how a run went."""
    return SystemActor("training", frozenset({Permission.RUN_FINISH}), tenant_id)


def examining_worker(tenant_id: UUID) -> SystemActor:
    """The worker that attacks models; it may only write down what it found."""
    return SystemActor("examining", frozenset({Permission.EXAMINATION_FINISH}), tenant_id)


def watch_of(tenant_id: UUID) -> SystemActor:
    """The watch over released models; it closes windows and proposes, and decides nothing."""
    return SystemActor("watch", frozenset({Permission.MODEL_WATCH}), tenant_id)


def is_house(tenant_id: UUID | None) -> bool:
    """Whether a tenant is the one that was founded first: it operates the installation.

    What reaches past one tenant is asked of it alone: new tenants, roles elsewhere, the root key.
    """
    return tenant_id is not None and tenant_id == house_id()


def house_id() -> UUID | None:
    """The tenant that was founded first; None before there is any."""
    return Tenant.objects.order_by("created_at", "id").values_list("id", flat=True).first()


def actor_named(username: str, tenant_slug: str | None = None) -> UserActor:
    """The actor for a user name, as a command line gives it.

    A user of several tenants must say which one. An unknown user or tenant is one and the same
    error.

    Raises:
        InvalidError: `actor.unknown`, or `actor.tenant_needed`.
    """
    unknown = InvalidError("there is no such user with a role there", code="actor.unknown")
    user = User.objects.filter(username=username, is_active=True).first()
    if user is None:
        raise unknown
    tenants = tenants_of(user)
    if tenant_slug is not None:
        tenants = [tenant for tenant in tenants if tenant.slug == tenant_slug]
    if not tenants:
        raise unknown
    if len(tenants) > 1:
        raise InvalidError(
            "this user acts for several tenants: say which", code="actor.tenant_needed"
        )
    return UserActor(user.id, tenants[0].id)


def tenants_of(user: User) -> list[Tenant]:
    """The tenants that a user holds a role for, by slug."""
    with across_tenants(reason="a user's own tenants"):
        held = RoleBinding.objects.filter(user=user, revoked_at__isnull=True)
        return list(Tenant.objects.filter(id__in=held.values("tenant_id")).order_by("slug"))


def _approved(kind: ProposalKind, subject: object, now: datetime) -> Decision:
    proposal = approvals.latest(kind, subject)
    if proposal is None:
        return Decision(allowed=False, reason="approval.missing")
    lack = approvals.what_lacks(proposal, now)
    return ALLOWED if lack is None else Decision(allowed=False, reason=lack)
