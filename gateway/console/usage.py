"""Usage by the hour, and the monthly statement made of it."""

from typing import Any, ClassVar, cast

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from audit.errors import DomainError
from audit.reports.statements import Month
from gateway.actions.statements import grant_statement
from gateway.api.statements import as_download
from gateway.bindings import binds_action
from gateway.console.access import check, house, person, sees
from gateway.console.forms import StatementForm
from gateway.console.sections import Section
from gateway.models import License, UsageRollup
from gateway.statements import customer_named
from governance.models import Tenant
from governance.permissions import Permission


@admin.register(UsageRollup)
class Usage(Section):
    """What was called and charged, by license and hour, with its places in the log."""

    requires = Permission.LICENSE_VIEW
    title = _("Usage")
    related: ClassVar[tuple[str, ...]] = ("license__model", "tenant")
    list_display = (
        "hour", "shown_model", "tenant", "sku", "calls", "units", "charged", "places",
    )  # fmt: skip
    list_display_links = None  # an hour has no page: its entries are in the log
    list_filter = ("sku",)
    ordering = ("-hour", "-pk")

    @display(description=_("model"), ordering="license__model__slug")
    def shown_model(self, rollup: UsageRollup) -> str:
        """The licensed model."""
        return str(rollup.license.model)

    @display(description=_("places in the log"), ordering="first_index")
    def places(self, rollup: UsageRollup) -> str:
        """From the first of its entries to the last."""
        return f"{rollup.first_index:,} – {rollup.last_index:,}"

    def doors(self) -> list[URLPattern]:
        """The monthly statement."""
        return [self.form_door("statement/", self.statement, "statement")]

    def links(self, request: HttpRequest) -> list[tuple[str, str, str]]:
        """The statement, for who may."""
        if not sees(request, Permission.STATEMENT_EXPORT):
            return []
        return [(self.address("statement"), gettext("Monthly statement"), "request_quote")]

    @binds_action(grant_statement)
    def statement(self, request: HttpRequest) -> HttpResponse:
        """Show the form; download a customer's statement of a month."""
        check(request, Permission.STATEMENT_EXPORT, self.kind)
        customers = _customers(request)
        if request.method != "POST":
            this_month = f"{timezone.now():%Y-%m}"
            form = StatementForm(customers=customers, initial={"month": this_month})
            return self._statement_page(request, form)
        form = StatementForm(request.POST, customers=customers)
        if not form.is_valid():
            return self._statement_page(request, form)
        said = form.cleaned_data
        try:
            grant = grant_statement(
                person(request),
                house(request),
                customer=customer_named(person(request), said["customer"]),
                month=Month.parse(said["month"]),
            )
            return cast("HttpResponse", as_download(grant, said["format"], status=200))
        except DomainError as error:
            return self._statement_page(request, form, error)

    def _statement_page(
        self, request: HttpRequest, form: StatementForm, error: DomainError | None = None
    ) -> HttpResponse:
        title, submit = gettext("Monthly statement"), gettext("Download")
        return self.form_page(request, title, form, error, submit=submit, icon="request_quote")


def _customers(request: HttpRequest) -> list[tuple[str, str]]:
    """The customers of the licenses that the reader's tenant gave or was given."""
    known: Any = License.objects.visible_to(person(request)).values("customer_id")
    rows = Tenant.objects.filter(pk__in=known).order_by("slug")
    return [(row.slug, row.name) for row in rows]
