"""Fetches: data asked of a place that the operator named."""

from typing import Any, ClassVar

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from audit.errors import DomainError
from gateway.bindings import binds_action, scoped_read
from gateway.console import words
from gateway.console.access import check, house, person, sees
from gateway.console.forms import FetchForm
from gateway.console.sections import Section
from gateway.console.sentences import sentence
from governance.actions.datasets import Declared
from governance.actions.fetches import request_fetch
from governance.models import Dataset, Fetch, Purpose
from governance.models.datasets import DatasetState
from governance.models.fetches import FetchState
from governance.permissions import Permission
from governance.sources.config import sources_of
from governance.sources.fetching import ask

_KINDS = {"folder": _("path"), "bucket": _("prefix"), "query": _("query")}


@admin.register(Fetch)
class Fetches(Section):
    """What was asked of sources, and what came of it."""

    requires = Permission.DATASET_VIEW
    template = "console/fetch.html"
    title = _("Fetches from sources")
    related: ClassVar[tuple[str, ...]] = ("dataset", "requested_by")
    list_display = ("source", "shown_state", "dataset", "requested_by", "requested_at")
    list_filter = ("state",)
    ordering = ("-requested_at",)

    @display(description=_("state"), label=words.VARIANTS, ordering="state")
    def shown_state(self, fetch: Fetch) -> tuple[str, str]:
        """Where it stands."""
        return fetch.state, str(FetchState(fetch.state).label)

    def doors(self) -> list[URLPattern]:
        """Ask for one."""
        return [self.form_door("request/", self.request_page, "request")]

    def links(self, request: HttpRequest) -> list[tuple[str, str, str]]:
        """Fetch, for who may and where there is a source."""
        if not sees(request, Permission.DATASET_UPLOAD) or not sources_of(house(request)):
            return []
        return [(self.address("request"), gettext("Fetch from a source"), "cloud_download")]

    @scoped_read(Fetch)
    def context(self, request: HttpRequest, row: Fetch) -> dict[str, Any]:
        """Its state; what was selected is not shown: it may name people."""
        del request
        return {
            "state_label": FetchState(row.state).label,
            "refresh": row.state == FetchState.WAITING,
            "error_sentence": sentence(row.error_code) if row.error_code else "",
            "dataset_address": (
                reverse("admin:governance_dataset_change", args=[row.dataset_id])
                if row.dataset_id
                else ""
            ),
        }

    @binds_action(request_fetch)
    def request_page(self, request: HttpRequest) -> HttpResponse:
        """Show the form; ask a source for data."""
        check(request, Permission.DATASET_UPLOAD, self.kind)
        tenant, who = house(request), person(request)
        form = FetchForm(
            request.POST or None,
            sources=[(s.name, f"{s.name} · {_KINDS[s.kind]}") for s in sources_of(tenant)],
            datasets=[
                (str(dataset.pk), dataset.name)
                for dataset in Dataset.objects.visible_to(who).filter(state=DatasetState.SEALED)
            ],
            purposes=[(p.slug, p.title) for p in Purpose.objects.visible_to(who)],
        )
        error: DomainError | None = None
        if request.method == "POST" and form.is_valid():
            try:
                fetch = self._ask(request, form)
            except DomainError as refused:
                error = refused
            else:
                return redirect(self.address("change", fetch.pk))
        return self.form_page(
            request,
            gettext("Fetch from a source"),
            form,
            error,
            submit=gettext("Fetch and profile"),
            icon="cloud_download",
        )

    def _ask(self, request: HttpRequest, form: FetchForm) -> Fetch:
        said = form.cleaned_data
        who, tenant = person(request), house(request)
        if said["dataset"]:
            dataset = Dataset.objects.visible_to(who).get(pk=said["dataset"])
            return ask(who, tenant, said["source"], said["select"], dataset=dataset)
        declared = Declared(
            name=said["name"],
            purposes=tuple(said["purposes"]),
            regimes=tuple(said["regimes"]),
            languages=tuple(said["languages"]),
            subject_column=said["subject_column"],
            sensitive=tuple(said["sensitive"]),
            declarations=form.declared(),
        )
        return ask(who, tenant, said["source"], said["select"], declared=declared)
