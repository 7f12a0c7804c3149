"""Every door's address."""

from django.contrib import admin
from django.urls import include, path

from gateway import health

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/", include("gateway.api.urls")),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
]
