"""`/api/schema` and `/api/docs`: what this API is, for machines and for people."""

from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from gateway import openapi as openapi  # noqa: PLC0414  # what importing it registers is wanted
from gateway.bindings import reads_no_tenant_data


@reads_no_tenant_data(reason="the OpenAPI document: addresses and shapes, no data")
class Schema(SpectacularAPIView):
    """The OpenAPI 3.1 document."""

    authentication_classes = ()
    permission_classes = ()


@reads_no_tenant_data(reason="the documentation page, served from our own static files")
class Docs(SpectacularSwaggerView):
    """The document as a page."""

    authentication_classes = ()
    permission_classes = ()
