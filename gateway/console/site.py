"""The console's site: unfold's, without the two views that do what an action has to do."""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from unfold.sites import UnfoldAdminSite

from gateway.bindings import reads_no_tenant_data


class ConsoleSite(UnfoldAdminSite):
    """Where models are shown and actions have their buttons."""

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
