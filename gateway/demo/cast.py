"""Who plays in the demo: a house founded by the recorded bootstrap, its people, and a customer.

Everything here goes through actions, as it would on a real first day. A second run finds the cast
there and goes on with it; a home that holds another house is left alone.
"""

import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from audit.signer import write_private
from gateway.errors import DemoHomeError
from governance.actions import people, proposals, tenants
from governance.models import Purpose, Tenant, User
from governance.models.tenants import LegalBasis
from governance.permissions import Role
from governance.rbac import UserActor
from governance.scoping import across_tenants

HOUSE: Final = "qiantang-credit"
CUSTOMER: Final = "acme-lending"
PURPOSE: Final = "credit-risk-scoring"
# user name -> the roles held for the house
STAFF: Final[dict[str, tuple[Role, ...]]] = {
    "steward": (Role.STEWARD,),
    "engineer": (Role.ENGINEER,),
    "owner": (Role.TENANT_ADMIN,),
    "auditor": (Role.AUDITOR,),
}
FOUNDERS: Final = ("officer", "platform")
USERS: Final = ("steward", "engineer", "officer", "owner", "platform", "auditor", "acme")


@dataclass(frozen=True)
class Cast:
    """The demo's tenants and users."""

    house: Tenant
    customer: Tenant
    password: str
    is_new: bool

    def actor(self, username: str) -> UserActor:
        """A user of the cast, acting for their own organization."""
        tenant = self.customer if username == "acme" else self.house
        return UserActor(User.objects.get(username=username).id, tenant.id)


def gather(home: Path) -> Cast:
    """The cast of this home: founded now, or found as an earlier run left it.

    Raises:
        DemoHomeError: the home holds a house that no demo founded.
    """
    kept = home / "demo.json"
    if kept.exists():
        password = json.loads(kept.read_text())["password"]
    elif User.objects.exists():
        raise DemoHomeError(
            "this home holds a house of its own: set PORTCULLIS_HOME to another folder"
        )
    else:
        password = "-".join(secrets.token_hex(2) for _ in range(4))
        write_private(kept, json.dumps({"password": password}))
    is_new = not Tenant.objects.filter(slug=HOUSE).exists()
    if is_new:
        _found(password)
    with across_tenants(reason="the demo's cast spans two organizations"):
        house = Tenant.objects.get(slug=HOUSE)
        _staff(house, password)
        customer = _customer(house, password)
        _purpose(house)
    return Cast(house, customer, password, is_new)


def _found(password: str) -> None:
    people.bootstrap(
        people.BOOTSTRAP,
        None,
        tenant_slug=HOUSE,
        tenant_name="Qiantang Credit 钱塘征信",
        officer="officer",
        officer_password=password,
        platform="platform",
        platform_password=password,
    )


def _staff(house: Tenant, password: str) -> None:
    for username, roles in STAFF.items():
        for role in roles:
            _hire(house, house, username, role, password)


def _customer(house: Tenant, password: str) -> Tenant:
    platform = _actor("platform", house)
    customer = Tenant.objects.filter(slug=CUSTOMER).first() or tenants.create_tenant(
        platform, house, slug=CUSTOMER, name="Acme Lending", customer=True
    )
    _hire(house, customer, "acme", Role.TENANT_ADMIN, password)
    return customer


def _hire(house: Tenant, tenant: Tenant, username: str, role: Role, password: str) -> None:
    """The platform admin adds a person and proposes a role; the privacy officer agrees."""
    platform, officer = _actor("platform", house), _actor("officer", house)
    user = User.objects.filter(username=username).first() or people.create_user(
        platform, house, username=username, password=password
    )
    if role not in UserActor(user.id, tenant.id).roles():
        proposal = people.propose_role(platform, house, user=user, role=role, tenant=tenant)
        proposals.approve_proposal(officer, proposal)


def _purpose(house: Tenant) -> None:
    if not Purpose.objects.filter(tenant=house, slug=PURPOSE).exists():
        tenants.declare_purpose(
            _actor("officer", house),
            house,
            slug=PURPOSE,
            title="Credit risk scoring 信用风险评分",
            legal_basis=LegalBasis.CONTRACT,
        )


def _actor(username: str, tenant: Tenant) -> UserActor:
    return UserActor(User.objects.get(username=username).id, tenant.id)
