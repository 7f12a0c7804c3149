"""Hand out monthly statements."""

from django.db.models import Count, Sum

from audit.events import Event
from audit.recording import Record, action
from audit.reports.statements import Month
from gateway.statements import StatementGrant, granted, rolled
from governance.models import Tenant
from governance.permissions import Permission
from governance.rbac import UserActor


@action(Event.STATEMENT_EXPORTED, requires=Permission.STATEMENT_EXPORT)
def grant_statement(
    record: Record, actor: UserActor, tenant: Tenant, *, customer: Tenant, month: Month
) -> StatementGrant:
    """Allow `tenant`, the actor's own, the statement of a customer's month.

    It covers the licenses that both `tenant` sees and the customer holds. It is written after this
    has committed: adding up a month takes longer than a transaction should.

    Raises:
        NoLicenseError: no license of the customer is the tenant's to see.
        BundleError: `audit.log_empty`.
    """
    del tenant  # who is asked for it; the scope says what is theirs
    grant = granted(actor, customer, month)
    sums = rolled(grant).aggregate(calls=Sum("calls"), charged=Sum("charged"))
    lines = rolled(grant).values("license", "sku").order_by().distinct().aggregate(n=Count("*"))
    record.facts(
        customer=customer.reference,
        year=month.year,
        month=month.number,
        lines=lines["n"],
        calls=sums["calls"] or 0,
        charged=sums["charged"] or 0,
        until=grant.until,
    )
    return grant
