"""Monthly statements: which licenses one covers, what its lines cost, and the bundle around it.

The lines are added up from the entries in the log, and held against the rollups: two ways to the
same sums. A statement on which they differ is not written.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final
from uuid import UUID

from django.conf import settings
from django.db.models import Max, Min, QuerySet, Sum
from django.utils import timezone

from audit.errors import BundleError
from audit.events import Event, Outcome
from audit.models import AuditEntry, Checkpoint, Leaf
from audit.reports import layout
from audit.reports.bundle import BundleResult, entries_in_order, write_bundle
from audit.reports.statement_page import render
from audit.reports.statements import Month, Place, Statement, Tally
from audit.sequencer import latest_checkpoint
from gateway.catalog import missing, named
from gateway.errors import NoLicenseError, StatementError
from gateway.models import License, UsageRollup
from gateway.rollups import rolled_end
from governance.lookup import own_tenant
from governance.models import Tenant
from governance.permissions import Permission
from governance.rbac import Actor, UserActor

Price = tuple[str, str]  # a decimal per charged unit, and its currency
Pricing = Callable[[License, str], Price | None]

FORMATS: Final = {
    "zip": "application/zip",
    "csv": "text/csv; charset=utf-8",
    "pdf": "application/pdf",
}

_pricing: list[Pricing] = []


def register_pricing(pricing: Pricing) -> None:
    """Say what a charged unit of a license and kind costs; the newest that was said counts."""
    _pricing.append(pricing)


def price_of(license_: License, sku: str) -> Price | None:
    """The price, None where nobody names one."""
    return _pricing[-1](license_, sku) if _pricing else None


def licenses_with(actor: Actor, customer: Tenant) -> QuerySet[License]:
    """The licenses of a customer that the actor's tenant gave; its own, all that it was given."""
    rows: QuerySet[License] = License.objects.visible_to(actor).filter(customer=customer)
    return rows


def customer_named(actor: UserActor, value: str | None) -> Tenant:
    """A customer under a license that the actor's tenant sees, by slug or id; by default itself.

    Raises:
        NotFoundError: there is none, or it is not the tenant's to know of; recorded.
        RefusedError: `permission.no_role`: the actor acts for nobody.
    """
    if value is None:
        return own_tenant(actor)
    known = License.objects.visible_to(actor).values("customer_id")
    found = Tenant.objects.filter(pk__in=known).filter(named(value)).first()
    if found is None:
        raise missing(actor, "tenant", Permission.STATEMENT_EXPORT)
    return found


@dataclass(frozen=True)
class StatementGrant:
    """The right to write one statement.

    Attributes:
        customer: who called.
        month: when.
        until: the place in the log up to which calls are counted.
        licenses: those that it covers, with their models' slugs.
    """

    customer: UUID
    month: Month
    until: int
    licenses: tuple[License, ...]

    @property
    def stem(self) -> str:
        """The name of its files, without an ending."""
        return f"statement-{self.month}-{str(self.customer)[:8]}"

    def write(self, out: Path | BinaryIO) -> BundleResult:
        """The bundle: the statement in three forms, its entries and their proofs.

        Raises:
            BundleError, StatementError: as `statement`, and as `audit.reports.bundle.write_bundle`.
        """
        statement = self.statement()
        return write_bundle(
            self._calls(),
            out,
            scope={"customer": str(self.customer), "statement": str(self.month)},
            extra={
                layout.STATEMENT: statement.text(),
                layout.STATEMENT_TABLE: statement.table(),
                layout.STATEMENT_PAGE: render(statement, _newest().note),
            },
        )

    def content(self, form: str) -> bytes:
        """The statement alone, as `csv` or `pdf`."""
        statement = self.statement()
        return statement.table() if form == "csv" else render(statement, _newest().note)

    def statement(self) -> Statement:
        """The lines.

        Raises:
            StatementError: `statement.not_reconciled`: log and rollups differ.
        """
        tally = Tally()
        for entry in entries_in_order(self._calls(), self.until):
            tally.add(entry)
        if _rolled(self) != {
            place: (total.first, total.last, total.calls, total.units, total.charged)
            for place, total in tally.sums.items()
        }:
            raise StatementError("the log and the rollups do not add up to the same")
        by_id = {str(license_.pk): license_ for license_ in self.licenses}
        prices: dict[Place, Price] = {}
        for license_, sku in tally.sums:
            if (price := price_of(by_id[license_], sku)) is not None:
                prices[license_, sku] = price
        pending = self._of_the_month().count() - self._calls().count()
        return Statement(
            origin=settings.LOG_ORIGIN,
            month=str(self.month),
            customer=str(self.customer),
            until=self.until,
            pending=pending,
            complete=pending == 0 and timezone.now() >= self.month.ends,
            lines=tally.lines({key: one.model.slug for key, one in by_id.items()}, prices),
        )

    def _of_the_month(self) -> QuerySet[AuditEntry]:
        start, end = self.month.span
        return AuditEntry.objects.filter(
            event=Event.PREDICTION_SERVED.value,
            outcome=Outcome.DONE.value,
            subject__in=[license_.reference for license_ in self.licenses],
            at__gte=start,
            at__lt=end,
        )

    def _calls(self) -> QuerySet[AuditEntry]:
        placed = Leaf.objects.filter(index__lt=self.until).values("entry_id")
        return self._of_the_month().filter(pk__in=placed)


def granted(actor: Actor, customer: Tenant, month: Month) -> StatementGrant:
    """What a statement covers, as the rollups are now; for the action that grants it.

    Raises:
        NoLicenseError: no license of this customer is the actor's to see.
        BundleError: `audit.log_empty`: nothing was signed yet.
    """
    licenses = tuple(licenses_with(actor, customer).select_related("model").order_by("pk"))
    if not licenses:
        raise NoLicenseError("there is no license of this customer")
    _newest()
    return StatementGrant(customer.pk, month, rolled_end(), licenses)


def rolled(grant: StatementGrant) -> QuerySet[UsageRollup]:
    """The rollups that a statement covers."""
    rows: QuerySet[UsageRollup] = UsageRollup.objects.filter(
        license__in=[license_.pk for license_ in grant.licenses],
        hour__gte=grant.month.starts,
        hour__lt=grant.month.ends,
        last_index__lt=grant.until,
    )
    return rows


def _rolled(grant: StatementGrant) -> dict[Place, tuple[int, int, int, int, int]]:
    """License and kind -> first and last place, calls, units and charged units."""
    rows = (
        rolled(grant)
        .values("license", "sku")
        .annotate(
            first=Min("first_index"),
            last=Max("last_index"),
            all_calls=Sum("calls"),
            all_units=Sum("units"),
            all_charged=Sum("charged"),
        )
        .order_by()
    )
    return {
        (str(row["license"]), row["sku"]): (
            row["first"],
            row["last"],
            row["all_calls"],
            row["all_units"],
            row["all_charged"],
        )
        for row in rows
    }


def _newest() -> Checkpoint:
    checkpoint = latest_checkpoint()
    if checkpoint is None:
        raise BundleError("the log has no checkpoint yet", code="audit.log_empty")
    return checkpoint
