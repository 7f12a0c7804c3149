"""The console's site: unfold's, without the two views that do what an action has to do."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST
from unfold.sites import UnfoldAdminSite

from gateway.bindings import reads_no_tenant_data
from gateway.tenancy import SESSION_KEY


class ConsoleSite(UnfoldAdminSite):
    """Where models are shown and actions have their buttons.

    A role opens the console, and each section of it; Django's superuser flag opens nothing.
    """

    index_template = "console/dashboard.html"

    def has_permission(self, request: HttpRequest) -> bool:
        """Whoever is active and holds a role for some tenant."""
        from gateway.console.access import roles  # noqa: PLC0415 - models come before it

        active = request.user.is_active and bool(getattr(request.user, "is_staff", False))
        return active and bool(roles(request))

    def get_urls(self) -> list[URLPattern]:
        """Django's, and the choice of a tenant."""
        choose = require_POST(self.choose_tenant)
        return [path("tenant/", self.admin_view(choose), name="tenant"), *super().get_urls()]

    def index(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The dashboard."""
        from gateway.console.dashboard import dashboard  # noqa: PLC0415 - as above

        context = {**dashboard(request), "title": _("Overview"), **(extra_context or {})}
        return super().index(request, context)  # type: ignore[no-any-return]  # unfold is untyped

    def app_index(
        self,
        request: HttpRequest,  # noqa: ARG002 - Django's signature
        app_label: str,  # noqa: ARG002 - as above
        extra_context: dict[str, Any] | None = None,  # noqa: ARG002 - as above
    ) -> HttpResponse:
        """The dashboard: packages are how we are built, not how people work."""
        return redirect("admin:index")

    @reads_no_tenant_data(reason="keeps the caller's choice among their own tenants, in a session")
    def choose_tenant(self, request: HttpRequest) -> HttpResponse:
        """Act for another tenant in which the caller holds a role."""
        from governance.rbac import tenants_of  # noqa: PLC0415 - models come before it

        wanted = request.POST.get("tenant", "")
        chosen = next(
            (tenant for tenant in tenants_of(request.user) if tenant.slug == wanted),  # type: ignore[arg-type]  # signed in
            None,
        )
        if chosen is None:
            raise Http404(_("There is no such thing here."))
        request.session[SESSION_KEY] = chosen.slug
        messages.success(request, _("You act for %(tenant)s now.") % {"tenant": chosen.name})
        return redirect("admin:index")

    @reads_no_tenant_data(reason="searches nothing")
    def search(
        self,
        request: HttpRequest,  # noqa: ARG002 - Django's signature
        extra_context: dict[str, Any] | None = None,  # noqa: ARG002 - as above
    ) -> HttpResponse:
        """Find nothing: unfold would keep what it found in the shared cache, whoever asks next."""
        return HttpResponse()

    @reads_no_tenant_data(reason="refuses")
    def password_change(
        self,
        request: HttpRequest,  # noqa: ARG002 - Django's signature
        extra_context: dict[str, Any] | None = None,  # noqa: ARG002 - as above
    ) -> HttpResponse:
        """Refuse: Django's form would write a credential without an entry in the log."""
        raise PermissionDenied(_("A password is set by the platform admin."))

    @reads_no_tenant_data(reason="refuses")
    def password_change_done(
        self,
        request: HttpRequest,  # noqa: ARG002 - Django's signature
        extra_context: dict[str, Any] | None = None,  # noqa: ARG002 - as above
    ) -> HttpResponse:
        """Refuse, as above."""
        raise PermissionDenied(_("A password is set by the platform admin."))
