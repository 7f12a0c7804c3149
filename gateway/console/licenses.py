"""Licenses and API keys: issued, shown once, rotated, revoked."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, ClassVar

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from audit.errors import DomainError
from gateway.actions.keys import issue_key, revoke_key, rotate_key
from gateway.actions.license_files import issue_license_file, issue_revocations
from gateway.actions.licenses import (
    amend_license,
    issue_license,
    renew_license,
    resume_license,
    revoke_license,
    suspend_license,
)
from gateway.agreements import Agreement
from gateway.bindings import binds_action, scoped_read
from gateway.catalog import find_tenant
from gateway.console import words
from gateway.console.access import check, person, sees
from gateway.console.commerce import AmendmentForm, LicenseForm, RenewalForm, SuspensionForm
from gateway.console.key_forms import KeyForm, RotationForm
from gateway.console.limits import LimitDoors, limits_of
from gateway.console.sections import Section
from gateway.models import ApiKey, Feature, License, Limit
from gateway.moments import expiring
from governance.lookup import find
from governance.models import Purpose, Tenant
from governance.permissions import Permission
from governance.rbac import UserActor
from training.models import Model

STATES = {
    "active": _("active"),
    "suspended": _("suspended"),
    "revoked": _("revoked"),
    "expired": _("expired"),
}


def state_of(row: License | ApiKey) -> str:
    """Whether it opens anything now."""
    if row.revoked_at is not None:
        return "revoked"
    if isinstance(row, License) and row.suspended_at is not None:
        return "suspended"
    return "expired" if row.expires_at <= timezone.now() else "active"


@admin.register(License)
class Licenses(LimitDoors):
    """What customers may call; what we may call of others."""

    requires = Permission.LICENSE_VIEW
    template = "console/license.html"
    title = _("Licenses")
    related: ClassVar[tuple[str, ...]] = ("customer", "tenant", "model", "issued_by")
    list_display = (
        "shown_model",
        "customer",
        "shown_state",
        "shown_use",
        "shown_purposes",
        "expires_at",
    )
    list_filter = ("customer",)
    ordering = ("-created_at",)

    @display(description=_("model"), ordering="model__slug")
    def shown_model(self, license_: License) -> str:
        """The licensed model."""
        return str(license_.model)

    @display(description=_("state"), label=words.VARIANTS)
    def shown_state(self, license_: License) -> tuple[str, str]:
        """Whether it opens anything now."""
        state = state_of(license_)
        return state, str(STATES[state])

    @display(description=_("used of quota"), ordering="used")
    def shown_use(self, license_: License) -> str:
        """Units."""
        return f"{license_.used:,} / {license_.quota:,}"

    @display(description=_("purposes"))
    def shown_purposes(self, license_: License) -> str:
        """What calls may be for."""
        return " · ".join(license_.purposes)

    def doors(self) -> list[URLPattern]:
        """Issue, amend, renew, suspend, resume, revoke; a key under it; limits of its calls."""
        return [
            self.form_door("issue/", self.issue, "issue"),
            self.form_door("<str:object_id>/amend/", self.amend, "amend"),
            self.button("<str:object_id>/renew/", self.renew, "renew"),
            self.button("<str:object_id>/suspend/", self.suspend, "suspend"),
            self.button("<str:object_id>/resume/", self.resume, "resume"),
            self.button("<str:object_id>/revoke/", self.revoke, "revoke"),
            self.button("<str:object_id>/file/", self.file, "file"),
            self.button("<str:object_id>/revocations/", self.revocations, "revocations"),
            self.button("<str:object_id>/key/", self.key, "key"),
            self.button("<str:object_id>/limit/", self.limit, "limit"),
            self.button("<str:object_id>/lift/", self.lift, "lift"),
        ]

    def links(self, request: HttpRequest) -> list[tuple[str, str, str]]:
        """Issue, for who may."""
        if not sees(request, Permission.LICENSE_ISSUE):
            return []
        return [(self.address("issue"), gettext("Issue a license"), "handshake")]

    @scoped_read(License, Limit)
    def context(self, request: HttpRequest, row: License) -> dict[str, Any]:
        """Terms, use, limits and keys."""
        state = state_of(row)
        may = person(request).may
        return {
            "state": state,
            "state_label": STATES[state],
            "features": [str(Feature(name).label) for name in row.features],
            "keys": [(key, state_of(key), STATES[state_of(key)]) for key in row.keys.all()],
            "key_form": KeyForm(charged_only=_is_customer(request, row), features=row.features)
            if state == "active" and may(Permission.KEY_ISSUE, row).allowed
            else None,
            **limits_of(request, row),
            "amendments": row.amendments.select_related("amended_by").order_by("-number"),
            "may_amend": state != "revoked" and may(Permission.LICENSE_AMEND, row).allowed,
            "renewal_form": RenewalForm(license_=row)
            if state != "revoked" and not row.trial and may(Permission.LICENSE_RENEW, row).allowed
            else None,
            "suspension_form": SuspensionForm()
            if state not in {"revoked", "suspended"}
            and may(Permission.LICENSE_SUSPEND, row).allowed
            else None,
            "may_export": may(Permission.LICENSE_EXPORT, row).allowed,
            "may_resume": state == "suspended" and may(Permission.LICENSE_SUSPEND, row).allowed,
            "may_revoke": state != "revoked" and may(Permission.LICENSE_REVOKE, row).allowed,
            "may_revoke_key": may(Permission.KEY_REVOKE, row).allowed,
        }

    @binds_action(issue_license)
    def issue(self, request: HttpRequest) -> HttpResponse:
        """Show the form; issue a license for a model of one's own."""
        check(request, Permission.LICENSE_ISSUE, self.kind)
        offered = _offered(request)
        if request.method != "POST":
            return self._issue_page(request, LicenseForm(**offered))
        form = LicenseForm(request.POST, **offered)
        if not form.is_valid():
            return self._issue_page(request, form)
        said = dict(form.cleaned_data)
        try:
            model = find(person(request), Model, said.pop("model"))
            customer = find_tenant(person(request), said.pop("customer"))
            made = issue_license(person(request), model, customer=customer, **said)
        except DomainError as error:
            return self._issue_page(request, form, error)
        return redirect(self.address("change", made.pk))

    def _issue_page(
        self, request: HttpRequest, form: LicenseForm, error: DomainError | None = None
    ) -> HttpResponse:
        return self.form_page(
            request,
            gettext("Issue a license"),
            form,
            error,
            submit=gettext("Issue"),
            icon="handshake",
        )

    @binds_action(revoke_license)
    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """End a license now."""
        license_: License = self.one(request, object_id)
        return self.act(
            request,
            license_,
            lambda: revoke_license(person(request), license_),
            gettext("The license is revoked."),
        )

    @binds_action(suspend_license)
    def suspend(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Let a license rest."""
        license_: License = self.one(request, object_id)
        reason = request.POST.get("reason", "")
        return self.act(
            request,
            license_,
            lambda: suspend_license(person(request), license_, reason=reason),
            gettext("The license is suspended."),
        )

    @binds_action(resume_license)
    def resume(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Let it hold again."""
        license_: License = self.one(request, object_id)
        return self.act(
            request,
            license_,
            lambda: resume_license(person(request), license_),
            gettext("The license holds again."),
        )

    @binds_action(renew_license)
    def renew(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Extend its term."""
        license_: License = self.one(request, object_id)
        form = RenewalForm(request.POST, license_=license_)
        return self.act(
            request,
            license_,
            lambda: renew_license(person(request), license_, expires_at=form.end()),
            gettext("The license is renewed."),
        )

    @binds_action(amend_license)
    def amend(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the terms; change what was changed in them."""
        license_: License = self.one(request, object_id)
        check(request, Permission.LICENSE_AMEND, self.kind)
        known = Agreement.of(license_).fields()
        purposes = _offered(request)["purposes"]
        if request.method != "POST":
            return self._amend_page(request, AmendmentForm(initial=known, purposes=purposes))
        form = AmendmentForm(request.POST, initial=known, purposes=purposes)
        if not form.is_valid():
            return self._amend_page(request, form)
        changes = {name: value for name, value in form.cleaned_data.items() if value != known[name]}
        try:
            amend_license(person(request), license_, changes=changes)
        except DomainError as error:
            return self._amend_page(request, form, error)
        return redirect(self.address("change", license_.pk))

    @binds_action(issue_license_file)
    def file(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The terms as a signed file."""
        license_: License = self.one(request, object_id)
        return self._download(request, license_, issue_license_file, "license")

    @binds_action(issue_revocations)
    def revocations(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The customer's licenses that do not hold, as a signed list."""
        license_: License = self.one(request, object_id)
        return self._download(request, license_, issue_revocations, "revocations")

    def _download(
        self,
        request: HttpRequest,
        license_: License,
        issue: Callable[[UserActor, License], str],
        suffix: str,
    ) -> HttpResponse:
        try:
            text = issue(person(request), license_)
        except DomainError as error:
            return self.page(request, license_, error)
        response = HttpResponse(text, content_type="text/plain; charset=utf-8")
        response["Content-Disposition"] = f'attachment; filename="{license_.pk}.{suffix}"'
        return response

    def _amend_page(
        self, request: HttpRequest, form: AmendmentForm, error: DomainError | None = None
    ) -> HttpResponse:
        title, submit = gettext("Amend the license"), gettext("Amend")
        return self.form_page(request, title, form, error, submit=submit, icon="edit_note")

    @binds_action(issue_key)
    def key(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Issue a key. This answer is the only place where its secret ever stands."""
        license_: License = self.one(request, object_id)
        # The action judges each: of the form only how they are written is wanted.
        sent = request.POST
        addresses = sent.get("addresses", "").replace(",", " ").split()
        try:
            issued = issue_key(
                person(request),
                license_,
                name=sent.get("name", ""),
                mode=sent.get("mode", ""),
                scopes=sent.getlist("scopes") or None,
                addresses=addresses,
            )
        except DomainError as error:
            return self.page(request, license_, error)
        page = self.page(request, license_, secret=issued.secret, issued=issued.key)
        page["Cache-Control"] = "no-store"
        return page


class ExpiringFilter(admin.SimpleListFilter):
    """Keys that end soon."""

    title = _("expires within")
    parameter_name = "expires_within"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:  # noqa: ARG002 - Django's
        """A week, two, a month."""
        return [("7d", _("7 days")), ("14d", _("14 days")), ("30d", _("30 days"))]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:  # noqa: ARG002 - as above
        """The keys that still open something, and will not by then."""
        value = self.value()
        return queryset.filter(expiring(int(value[:-1]))) if value else queryset


@admin.register(ApiKey)
class Keys(Section):
    """Keys of the licenses that were given or received."""

    requires = Permission.LICENSE_VIEW
    template = "console/key.html"
    title = _("API keys")
    related: ClassVar[tuple[str, ...]] = ("license__model", "tenant", "issued_by")
    list_display = (
        "public_id", "name", "shown_state", "shown_mode", "shown_tenant", "shown_license",
        "last_used_at",
        "expires_at",
    )  # fmt: skip
    list_filter = ("mode", ExpiringFilter)
    search_fields = ("public_id", "name")
    ordering = ("-created_at",)

    @display(description=_("state"), label=words.VARIANTS)
    def shown_state(self, key: ApiKey) -> tuple[str, str]:
        """Whether it opens anything now."""
        state = state_of(key)
        return state, str(STATES[state])

    @display(description=_("customer"), ordering="tenant__name")
    def shown_tenant(self, key: ApiKey) -> str:
        """Who calls with it."""
        return str(key.tenant)

    @display(description=_("mode"), label=words.VARIANTS, ordering="mode")
    def shown_mode(self, key: ApiKey) -> tuple[str, str]:
        """Whether calls are charged."""
        return key.mode, key.get_mode_display()

    @display(description=_("license"))
    def shown_license(self, key: ApiKey) -> str:
        """What it opens."""
        return str(key.license)

    def doors(self) -> list[URLPattern]:
        """Rotate, revoke."""
        return [
            self.button("<str:object_id>/revoke/", self.revoke, "revoke"),
            self.button("<str:object_id>/rotate/", self.rotate, "rotate"),
        ]

    @scoped_read(ApiKey)
    def context(self, request: HttpRequest, row: ApiKey) -> dict[str, Any]:
        """What is known of a key, which is not its secret."""
        state = state_of(row)
        may = person(request).may
        return {
            "state": state,
            "state_label": STATES[state],
            "scopes": None
            if row.scopes is None
            else [words.word(words.SCOPES, scope) for scope in row.scopes],
            "overlaps": _overlaps(row),
            "rotations": row.rotations.select_related("rotated_by"),
            "rotation_form": RotationForm(choice=_overlaps(row))
            if state == "active" and may(Permission.KEY_ISSUE, row.license).allowed
            else None,
            "may_revoke": state == "active" and may(Permission.KEY_REVOKE, row.license).allowed,
        }

    @binds_action(rotate_key)
    def rotate(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Give the key a new secret. This answer is the only place where it ever stands."""
        key: ApiKey = self.one(request, object_id)
        form = RotationForm(request.POST, choice="keep" in request.POST)
        if not form.is_valid():
            page = self.page(request, key, rotation_form=form)
            page.status_code = HTTPStatus.UNPROCESSABLE_ENTITY
            return page
        try:
            rotated = rotate_key(
                person(request),
                key.license,
                key=key,
                overlap=form.overlap,
                keep=form.cleaned_data.get("keep"),
                idempotency_key=form.cleaned_data["request"],
            )
        except DomainError as error:
            return self.page(request, key, error)
        page = self.page(request, self.one(request, object_id), secret=rotated.secret)
        page["Cache-Control"] = "no-store"
        return page

    @binds_action(revoke_key)
    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Shut a key."""
        key: ApiKey = self.one(request, object_id)
        return self.act(
            request,
            key,
            lambda: revoke_key(person(request), key.license, key=key),
            gettext("The key is revoked."),
        )


def _overlaps(key: ApiKey) -> bool:
    """Whether the secret before the last rotation is still good."""
    return key.previous_not_after is not None and key.previous_not_after > timezone.now()


def _is_customer(request: HttpRequest, license_: License) -> bool:
    """Whether who asks received the license, and gave it not: their keys are all charged."""
    return person(request).tenant_id != license_.tenant_id


def _offered(request: HttpRequest) -> dict[str, list[tuple[str, str]]]:
    """The models, customers and purposes that a license can name."""
    actor = person(request)
    return {
        "models": [(row.slug, row.slug) for row in Model.objects.visible_to(actor)],
        "customers": [(row.slug, row.name) for row in Tenant.objects.filter(is_customer=True)],
        "purposes": [
            (row.slug, f"{row.title} · {row.slug}") for row in Purpose.objects.visible_to(actor)
        ],
    }
