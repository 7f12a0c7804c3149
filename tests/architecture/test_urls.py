"""Every address is bound to an action or to a scoped read."""

import tomllib
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.urls import URLPattern, URLResolver, get_resolver, include, path
from django.urls.resolvers import RegexPattern
from django.views import View
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

from gateway.bindings import (
    binds_action,
    reads_no_tenant_data,
    scoped_read,
    unbound_verbs,
)
from governance.actions.tenants import create_tenant
from governance.models import Tenant

LISTED = tomllib.loads((Path(__file__).parent / "bookkeeping.toml").read_text())
ADMIN = [entry["address"] for entry in LISTED["admin"]]


def _addresses(
    resolver: URLResolver, route: str = "", space: str = ""
) -> Iterator[tuple[str, str, Callable[..., Any]]]:
    """Each pattern as (route, name with its namespace, callback)."""
    for pattern in resolver.url_patterns:
        here = route + str(pattern.pattern)
        if isinstance(pattern, URLPattern):
            name = f"{space}{pattern.name}" if pattern.name else here
            yield here, name, pattern.callback
        else:
            inner = f"{space}{pattern.namespace}:" if pattern.namespace else space
            yield from _addresses(pattern, here, inner)


def _unbound(resolver: URLResolver) -> list[str]:
    return [
        f"{verb} {route} ({name})"
        for route, name, callback in _addresses(resolver)
        if not any(fnmatchcase(name, allowed) for allowed in ADMIN)
        for verb in unbound_verbs(callback)
    ]


def test_every_address_is_bound() -> None:
    assert _unbound(get_resolver()) == []


class _Everybody(AnonymousUser):
    """Has every right that Django knows."""

    is_active = is_staff = is_superuser = True  # type: ignore[assignment]  # as no real user is

    def has_perm(self, *_: Any, **__: Any) -> bool:
        return True


def test_admin_changes_nothing(rf: RequestFactory) -> None:
    """Buttons call actions; Django's own forms would write without an entry."""
    request = rf.get("/")
    request.user = _Everybody()
    open_pages = [
        model.__name__
        for model, page in admin.site._registry.items()
        if page.has_add_permission(request)
        or page.has_change_permission(request)
        or page.has_delete_permission(request)
        or "delete_selected" in page.get_actions(request)
    ]
    assert open_pages == []


def _page(_request: HttpRequest) -> HttpResponse:
    return HttpResponse()


class _Viewed(View):
    def get(self, _request: HttpRequest) -> HttpResponse:
        return HttpResponse()

    def post(self, _request: HttpRequest) -> HttpResponse:
        return HttpResponse()


class _Api(APIView):
    def get(self, _request: HttpRequest) -> HttpResponse:
        return HttpResponse()

    @binds_action(create_tenant)
    def post(self, _request: HttpRequest) -> HttpResponse:
        return HttpResponse()


class _Set(ViewSet):
    @scoped_read(Tenant)
    def list(self, _request: HttpRequest) -> HttpResponse:
        return HttpResponse()

    def create(self, _request: HttpRequest) -> HttpResponse:
        return HttpResponse()


def _planted() -> dict[str, tuple[Callable[..., Any], list[str]]]:
    """Callbacks, and the verbs of each that the rule must name."""

    @scoped_read(Tenant)
    class Read(_Viewed): ...

    @binds_action(create_tenant)
    class Acting(_Viewed): ...

    @scoped_read(Tenant)
    class Api(_Api): ...

    class Inherited(Acting): ...

    @scoped_read(Tenant)
    class Overridden(_Set):
        @binds_action(create_tenant)
        def create(self, request: HttpRequest) -> HttpResponse:
            return super().create(request)

    routes: dict[str, Any] = {"get": "list", "post": "create"}
    return {
        "bare function": (_page, ["*"]),
        "bound function": (binds_action(create_tenant)(lambda _request: HttpResponse()), []),
        "public function": (reads_no_tenant_data(reason="a probe")(lambda _request: None), []),
        "bare class": (_Viewed.as_view(), ["get", "post"]),
        "a read cannot cover a write": (Read.as_view(), ["post"]),
        "an action covers both": (Acting.as_view(), []),
        "a subclass keeps its marks": (Inherited.as_view(), []),
        "bare API view": (_Api.as_view(), ["get"]),
        "API view": (Api.as_view(), []),
        "viewset": (_Set.as_view(routes), ["post"]),
        "viewset's method": (Overridden.as_view(routes), []),
    }


@pytest.mark.parametrize("case", list(_planted()))
def test_rule_on_planted_views(case: str) -> None:
    view, verbs = _planted()[case]
    assert list(unbound_verbs(view)) == verbs


def test_rule_bites_on_a_planted_address() -> None:
    planted = ModuleType("planted")
    planted.urlpatterns = [  # type: ignore[attr-defined]  # a module made up here
        path("outer", _page),
        path("under/", include(([path("inner", _page)], "space"))),
        path("marked", reads_no_tenant_data(reason="a probe")(lambda _request: HttpResponse())),
    ]
    found = _unbound(URLResolver(RegexPattern(r"^/"), planted))
    assert found == ["* outer (outer)", "* under/inner (under/inner)"]


@pytest.mark.parametrize(
    "mark",
    [
        binds_action,
        lambda: binds_action(_page),
        scoped_read,
        lambda: reads_no_tenant_data(reason=" "),
    ],
)
def test_a_mark_that_says_nothing_is_refused(mark: Callable[[], Any]) -> None:
    with pytest.raises(TypeError):
        mark()
