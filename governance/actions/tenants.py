"""Organizations, and why they process personal data."""

from audit.events import Event
from audit.recording import Record, action
from governance.errors import InvalidError, RefusedError
from governance.models import Purpose, Tenant
from governance.models.tenants import LegalBasis, Suite
from governance.naming import checked_slug, taken_once
from governance.permissions import Permission
from governance.rbac import Actor, is_house
from governance.tenant_keys import create_tenant_keys


@action(Event.TENANT_CREATED, requires=Permission.TENANT_CREATE)
def create_tenant(
    record: Record,
    actor: Actor,
    house: Tenant,
    *,
    slug: str,
    name: str,
    provider: bool = False,
    customer: bool = False,
    suite: str = Suite.INTERNATIONAL,
) -> Tenant:
    """Add an organization. `house` is the tenant that the platform admin acts for.

    Raises:
        ConflictError: `tenant.exists`.
        InvalidError: `tenant.neither`, `tenant.suite_unknown`, `tenant.slug_invalid`.
        RefusedError: `tenant.not_the_house`: another than the house that operates this.
    """
    del actor
    if not is_house(house.id):
        raise RefusedError("only the house adds organizations", code="tenant.not_the_house")
    checked_slug(slug, code="tenant.slug_invalid")
    if not (provider or customer):
        raise InvalidError("a tenant is a provider, a customer or both", code="tenant.neither")
    if suite not in Suite.values:
        raise InvalidError("there is no such cipher suite", code="tenant.suite_unknown")
    with taken_once("this tenant exists already", code="tenant.exists"):
        tenant = Tenant.objects.create(
            slug=slug, name=name, is_provider=provider, is_customer=customer, suite=suite
        )
    create_tenant_keys(tenant)
    record.about(tenant)
    record.facts(suite=suite, provider=provider, customer=customer)
    return tenant


@action(Event.PURPOSE_DECLARED, requires=Permission.PURPOSE_DECLARE)
def declare_purpose(
    record: Record, actor: Actor, tenant: Tenant, *, slug: str, title: str, legal_basis: str
) -> Purpose:
    """Declare why a tenant processes personal data, and on what legal basis.

    Raises:
        InvalidError: `purpose.basis_unknown`, `purpose.slug_invalid`.
        ConflictError: `purpose.exists`.
    """
    del actor
    if legal_basis not in LegalBasis.values:
        raise InvalidError("there is no such legal basis", code="purpose.basis_unknown")
    # What others read in the log, where a name would stay for ever: a word with a letter in it.
    checked_slug(slug, code="purpose.slug_invalid")
    if not slug[0].isalpha():
        raise InvalidError("a purpose begins with a letter", code="purpose.slug_invalid")
    with taken_once("this purpose is declared already", code="purpose.exists"):
        purpose = Purpose.objects.create(
            tenant=tenant, slug=slug, title=title, legal_basis=legal_basis
        )
    record.about(purpose)
    record.facts(purpose=slug, legal_basis=legal_basis)
    return purpose
