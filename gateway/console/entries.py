"""The audit log: entries as they were hashed, their place in the signed tree, and the bundle."""

import json
import tempfile
from datetime import datetime, time, timedelta
from typing import IO, Any, cast

from django.contrib import admin
from django.db.models import QuerySet
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.urls import URLPattern
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from audit.errors import DomainError
from audit.events import Event, Outcome
from audit.keys import log_verifier
from audit.merkle import leaf_hash
from audit.models import AuditEntry, Leaf
from audit.sequencer import inclusion_proof, latest_checkpoint
from gateway.bindings import binds_action, scoped_read
from gateway.catalog import missing
from gateway.console import words
from gateway.console.access import house, person, sees
from gateway.console.sections import Section
from gateway.console.sentences import sentence, told
from gateway.templatetags.console import moment
from governance.actions.evidence import grant_bundle
from governance.models import User
from governance.permissions import Permission


class EventFilter(admin.SimpleListFilter):
    """One event."""

    title = _("event")
    parameter_name = "event"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002 - Django's
        """Every event that there is."""
        return [(event.value, event.value) for event in Event]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:  # noqa: ARG002 - as above
        """The entries of the event."""
        return queryset.filter(event=self.value()) if self.value() else queryset


class OutcomeFilter(admin.SimpleListFilter):
    """Done, denied or failed."""

    title = _("outcome")
    parameter_name = "outcome"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002 - Django's
        """The three."""
        return [(name.value, words.word(words.OUTCOMES, name.value)) for name in Outcome]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:  # noqa: ARG002 - as above
        """The entries that ended so."""
        return queryset.filter(outcome=self.value()) if self.value() else queryset


class ActorFilter(admin.SimpleListFilter):
    """Who acted."""

    title = _("actor")
    parameter_name = "actor"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Whoever acted for the tenant so far."""
        rows = model_admin.get_queryset(request).order_by()
        found = rows.values_list("actor", flat=True).distinct()[:200]
        names = actor_names(found)
        return sorted(names.items(), key=lambda pair: pair[1])

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:  # noqa: ARG002 - as above
        """Their entries."""
        return queryset.filter(actor=self.value()) if self.value() else queryset


class PeriodFilter(admin.SimpleListFilter):
    """How long ago."""

    title = _("time")
    parameter_name = "days"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:  # noqa: ARG002 - Django's
        """Some periods."""
        return [("1", _("today")), ("7", _("7 days")), ("31", _("31 days")), ("366", _("a year"))]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:  # noqa: ARG002 - as above
        """The entries since then."""
        value = self.value()
        if value is None or not value.isascii() or not value.isdigit() or len(value) > 4:  # noqa: PLR2004 - years
            return queryset
        day = timezone.localdate() - timedelta(days=int(value) - 1)
        start = timezone.make_aware(datetime.combine(day, time()))
        return queryset.filter(at__gte=int(start.timestamp() * 1_000_000))


def actor_names(references: Any) -> dict[str, str]:
    """Who stands behind the log's ids: names for users, the id for everybody else.

    The log holds no names; the console knows them.
    """
    listed = list(references)
    keys = [ref.removeprefix("user:") for ref in listed if ref.startswith("user:")]
    users = {f"user:{user.pk}": user.get_username() for user in User.objects.filter(pk__in=keys)}
    return {ref: users.get(ref, ref) for ref in listed}


@admin.register(AuditEntry)
class Entries(Section):
    """What happened, in the order of the log."""

    requires = Permission.AUDIT_VIEW
    template = "console/entry.html"
    title = _("Audit entries")
    list_display = ("shown_at", "shown_event", "shown_outcome", "shown_actor", "shown_subject")
    list_filter = (EventFilter, OutcomeFilter, ActorFilter, PeriodFilter)
    search_fields = ("subject", "request_id")
    ordering = ("-at", "-id")
    change_list_template = "console/entries.html"

    def get_queryset(self, request: HttpRequest) -> "QuerySet[AuditEntry]":
        """The entries of the tenant: evidence names it by value."""
        tenant = person(request).tenant_reference
        return AuditEntry.objects.filter(tenant=tenant).order_by(*self.ordering)

    @display(description=_("time"), ordering="at")
    def shown_at(self, entry: AuditEntry) -> datetime:
        """When."""
        return moment(entry.at)

    @display(description=_("event"), ordering="event")
    def shown_event(self, entry: AuditEntry) -> str:
        """What."""
        return entry.event

    @display(description=_("outcome"), label=words.VARIANTS, ordering="outcome")
    def shown_outcome(self, entry: AuditEntry) -> tuple[str, str]:
        """How it ended."""
        return entry.outcome, words.word(words.OUTCOMES, entry.outcome)

    @display(description=_("actor"), ordering="actor")
    def shown_actor(self, entry: AuditEntry) -> str:
        """Who."""
        return actor_names([entry.actor])[entry.actor]

    @display(description=_("subject"))
    def shown_subject(self, entry: AuditEntry) -> str:
        """What it was about."""
        return entry.subject or "–"

    def doors(self) -> list[URLPattern]:
        """The bundle."""
        return [self.button("bundle/", self.bundle, "bundle")]

    def list_context(self, request: HttpRequest) -> dict[str, Any]:
        """The newest checkpoint, and whether a bundle may be taken."""
        return {
            "checkpoint": latest_checkpoint(),
            "bundle_address": self.address("bundle")
            if sees(request, Permission.AUDIT_EXPORT)
            else "",
        }

    def one(self, request: HttpRequest, object_id: str) -> AuditEntry:
        """The entry that an address names.

        Raises:
            Http404: there is none, or it is another tenant's; recorded.
        """
        try:
            found = self.get_queryset(request).filter(pk=object_id).first()
        except (ValueError, TypeError):
            found = None
        if found is None:
            error = missing(person(request), "entry", Permission.AUDIT_VIEW)
            raise Http404(error.detail)
        return found

    @scoped_read(AuditEntry)
    def context(self, request: HttpRequest, row: AuditEntry) -> dict[str, Any]:  # noqa: ARG002 - Section's
        """The canonical body, and the proof that it stands in the log."""
        body = json.loads(bytes(row.body))
        reason = body.get("reason")
        return {
            "heading": row.event,
            "body": body,
            "canonical": bytes(row.body).decode(),
            "facts": sorted(body["facts"].items()),
            "actor_name": actor_names([row.actor])[row.actor],
            "reason": sentence(reason) if reason else "",
            "leaf": leaf_hash(bytes(row.body)).hex(),
            "index": Leaf.objects.filter(entry_id=row.pk).values_list("index", flat=True).first(),
            "proof": _proof(row),
        }

    @binds_action(grant_bundle)
    def bundle(self, request: HttpRequest) -> HttpResponse:
        """Export the tenant's entries with a proof for each."""
        try:
            grant = grant_bundle(person(request), house(request))
        except DomainError as error:
            return self._refused(request, error)
        # No personal data is in a bundle, so a temporary file may hold it.
        file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - the response closes it
        grant.write(cast("Any", file))
        file.seek(0)
        return cast(
            "HttpResponse",
            FileResponse(
                file,
                as_attachment=True,
                filename="portcullis-bundle.zip",
                content_type="application/zip",
            ),
        )

    def _refused(self, request: HttpRequest, error: DomainError) -> HttpResponse:
        context = {"sentence": told(error), "code": error.stable_code}
        return self.render(request, "console/refused.html", str(self.title), context, error)


def _proof(entry: AuditEntry) -> dict[str, Any]:
    """Whether the entry's bytes lead to the newest signed root; checked here and now."""
    try:
        proof = inclusion_proof(entry.pk)
        key = log_verifier()
        head = proof.verify(leaf_hash(bytes(entry.body)), key.name, [key])
    except DomainError as error:
        return {"holds": False, "waits": error.stable_code == "audit.not_sequenced",
                "why": sentence(error.stable_code)}  # fmt: skip
    return {"holds": True, "size": head.size, "root": head.root.hex(), "hashes": len(proof.hashes),
            "text": str(proof)}  # fmt: skip
