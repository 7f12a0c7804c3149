"""What every view of the API is made of: who calls, in whose scope, and may they."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, ClassVar, cast

from django.core.exceptions import ValidationError
from django.db.models import Field, Model, QuerySet
from django.http.response import HttpResponseBase
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.pagination import CursorPagination
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

from audit.errors import RefusedError
from audit.events import Event
from audit.recording import append_refusal
from gateway.api.parsing import StrictJson
from gateway.authentication import (
    ApiKeyAuthentication,
    Caller,
    KeyActor,
    Known,
    StaffSession,
)
from gateway.errors import RequestError
from governance.lookup import find
from governance.permissions import Permission
from governance.rbac import UserActor
from governance.scoping import tenant_scope


class Pages(CursorPagination):
    """`?cursor=…&page_size=…`; a cursor stays right while rows are added."""

    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = 500

    place: "Field[Any, Any]"  # the first field of the order

    @classmethod
    def ordered(cls, ordering: str, model: type[Model]) -> "Pages":
        """Pages of a model's rows in this order."""
        pages = cls()
        pages.ordering = (ordering, "pk")
        pages.place = model._meta.get_field(ordering.removeprefix("-"))  # noqa: SLF001  # Django's own name for it
        return pages

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """As OpenAPI 3.1 says it: DRF's own `nullable` means nothing there."""
        link = {"type": ["string", "null"], "format": "uri"}
        return {
            "type": "object",
            "required": ["next", "previous", "results"],
            "properties": {"next": link, "previous": link, "results": schema},
        }

    def decode_cursor(self, request: Request) -> Any:
        """Where the page begins. A cursor holds a value of `place`, or it is none of ours.

        Raises:
            RequestError: `request.cursor_invalid`.
        """
        foreign = RequestError("this cursor was not given here", code="request.cursor_invalid")
        try:
            cursor = super().decode_cursor(request)
            position = "" if cursor is None else str(cursor.position or "")
            if position:
                # The database would be the first to read it, and its errors are ours.
                self.place.to_python(position)
        except (NotFound, ValidationError, ValueError):
            raise foreign from None
        if "\0" in position:
            raise foreign
        return cursor


class Door(APIView):
    """A view whose caller is known, and whose scope is the caller's tenant and no other."""

    authentication_classes = (ApiKeyAuthentication, StaffSession)
    permission_classes = (Known,)
    parser_classes: Sequence[type[BaseParser]] = (StrictJson,)

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Answer; the scope that `initial` opens is closed here."""
        with ExitStack() as self._scope:
            return super().dispatch(request, *args, **kwargs)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Authenticate, and open the scope of the caller's tenant."""
        super().initial(request, *args, **kwargs)
        tenant = self.actor.tenant_id
        self._scope.enter_context(tenant_scope(*([] if tenant is None else [tenant])))

    @property
    def actor(self) -> Caller:
        """Who calls."""
        return cast("Caller", self.request.user)

    @property
    def person(self) -> UserActor:
        """Who calls, where only a person may.

        Raises:
            RefusedError: `permission.not_for_keys`; recorded.
        """
        if not isinstance(self.actor, UserActor):
            raise self._refused("permission.not_for_keys", "person")
        return self.actor

    def allow(self, permission: Permission, kind: str, subject: object = None) -> None:
        """Ask for a read; a refusal is recorded.

        Raises:
            RefusedError: with the decision's reason.
        """
        decision = self.actor.may(permission, subject)
        if not decision.allowed:
            raise self._refused(decision.reason, kind, permission, subject)

    def _refused(
        self,
        reason: str,
        kind: str,
        permission: Permission | None = None,
        subject: object = None,
    ) -> RefusedError:
        asked = f"{kind}:use" if permission is None else permission.value
        append_refusal(Event.LOOKUP_REFUSED, self.actor, subject, reason, asked, kind=kind)
        return RefusedError("you may not do this", code=reason)


class Resource(Door, ViewSet):
    """Lists and shows the rows of one model that the caller's tenant sees."""

    model: ClassVar[type[Model]]
    requires: ClassVar[Permission]
    serializer_class: ClassVar[type[serializers.BaseSerializer[Any]]]
    pagination_class = Pages  # read by the schema; `paged` pages
    ordering: ClassVar[str] = "-created_at"
    related: ClassVar[tuple[str, ...]] = ()
    # The field that holds a row's license: an API key sees the rows of its own alone.
    license_field: ClassVar[str | None] = None

    @property
    def kind(self) -> str:
        """What the log calls a row."""
        return self.model.__name__.lower()

    def rows(self) -> "QuerySet[Any]":
        """What the caller sees, before paging."""
        scoped: Any = self.model._default_manager  # noqa: SLF001  # generic
        rows: QuerySet[Any] = scoped.visible_to(self.actor).select_related(*self.related)
        return rows.filter(**self._within())

    def one(self, value: str) -> Any:
        """The row that an address names.

        Raises:
            NotFoundError: there is none, or it is another tenant's; recorded.
        """
        return find(self.actor, self.model, value, **self._within())

    def _within(self) -> dict[str, Any]:
        if self.license_field is None or not isinstance(self.actor, KeyActor):
            return {}
        return {self.license_field: self.actor.facts.license_id}

    def list(self, request: Request) -> Response:
        """A page of rows."""
        self.allow(self.requires, self.kind)
        return paged(self, request, self.rows(), self.serializer_class, ordering=self.ordering)

    def retrieve(self, request: Request, pk: str) -> Response:  # noqa: ARG002  # DRF's signature
        """One row."""
        self.allow(self.requires, self.kind)
        return Response(self.serializer_class(self.one(pk)).data)


def paged(
    view: APIView,
    request: Request,
    rows: "QuerySet[Any]",
    serializer: type[serializers.BaseSerializer[Any]] | Callable[..., Any],
    *,
    ordering: str,
) -> Response:
    """One page: `{"next", "previous", "results"}`."""
    pages = Pages.ordered(ordering, rows.model)
    page = pages.paginate_queryset(rows, request, view)
    return pages.get_paginated_response(serializer(page, many=True).data)


class Body(serializers.Serializer[Any]):
    """A body whose unknown fields are refused: nothing is assigned that no form has."""

    def to_internal_value(self, data: Any) -> Any:
        """The validated fields."""
        if isinstance(data, dict) and not data.keys() <= self.fields.keys():
            # Not by name: the name is the caller's text.
            raise serializers.ValidationError(
                {"": [serializers.ErrorDetail("unknown", code="unknown")]}
            )
        return super().to_internal_value(data)


def checked(body: type[Body], request: Request) -> dict[str, Any]:
    """A request's body, validated.

    Raises:
        ValidationError: told field by field, by pointer and code.
    """
    form = body(data=request.data)
    form.is_valid(raise_exception=True)
    return cast("dict[str, Any]", form.validated_data)
