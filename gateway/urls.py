"""Every door's address."""

from django.contrib import admin
from django.urls import include, path
from django.views.i18n import set_language

from gateway import health
from gateway.bindings import reads_no_tenant_data

urlpatterns = [
    path("admin/", admin.site.urls),
    path("i18n/set", reads_no_tenant_data(reason="a cookie")(set_language), name="set_language"),
    path("api/", include("gateway.api.urls")),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
]

# Under /api/ and /v1/ these answer problem+json, elsewhere Django's pages.
handler400 = "gateway.api.errors.bad_request"
handler403 = "gateway.api.errors.permission_denied"
handler404 = "gateway.api.errors.not_found"
handler500 = "gateway.api.errors.server_error"
