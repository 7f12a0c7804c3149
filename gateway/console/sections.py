"""What every section of the console is: a list, a page for each row, and buttons.

A section reads through `visible_to` and changes nothing by itself: Django's add, change and delete
views are not routed at all. A button is a form that posts to a view of ours, and that view calls
one action. A GET on a button's address is refused with 405.
"""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, ClassVar, TypeVar, cast

from django.contrib import messages
from django.db.models import Model, QuerySet
from django.forms import Form
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from unfold.admin import ModelAdmin

from audit.errors import DomainError
from gateway.api.errors import STATUS
from gateway.console.access import check, person, sees
from gateway.console.sentences import told
from governance.errors import NotFoundError
from governance.lookup import find
from governance.permissions import Permission

M = TypeVar("M", bound=Model)
View = Callable[..., HttpResponse]


class Section(ModelAdmin):
    """One model of the console.

    Subclasses say which permission opens it, which template shows a row, and their buttons.
    """

    requires: ClassVar[Permission]
    template: ClassVar[str]  # of a row's page
    title: ClassVar[Any]  # of the list
    related: ClassVar[tuple[str, ...]] = ()

    actions = None
    list_per_page = 50
    list_filter_sheet = True
    change_list_template = "console/list.html"

    # What may be seen

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Whether the role opens this section; superuser flags open nothing."""
        return sees(request, self.requires)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002 - rows are scoped
        """As the section."""
        return sees(request, self.requires)

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002 - Django's signature
        """Never by Django's form."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002 - as above
        """Never by Django's form."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002 - as above
        """Never by Django's form."""
        return False

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Any]":
        """The rows of the tenant that is acted for."""
        scoped: Any = self.model._default_manager  # noqa: SLF001 - generic
        rows: QuerySet[Any] = scoped.visible_to(person(request)).select_related(*self.related)
        ordering = self.get_ordering(request)
        return rows.order_by(*ordering) if ordering else rows

    # Addresses

    def get_urls(self) -> list[URLPattern]:
        """List, the section's own doors, and a row's page."""
        return [
            self.door("", self.changelist_view, "changelist"),
            *self.doors(),
            self.door("<str:object_id>/", self.change_view, "change"),
        ]

    def doors(self) -> list[URLPattern]:
        """The section's forms and buttons."""
        return []

    def door(self, route: str, view: View, name: str) -> URLPattern:
        """An address of this section, behind the console's login."""
        whole = f"{self.opts.app_label}_{self.opts.model_name}_{name}"
        pattern: URLPattern = path(route, self.admin_site.admin_view(view), name=whole)
        return pattern

    def button(self, route: str, view: View, name: str) -> URLPattern:
        """An address that only takes a POST."""
        return self.door(route, require_POST(view), name)

    def form_door(self, route: str, view: View, name: str) -> URLPattern:
        """An address that shows a form and takes it."""
        return self.door(route, require_http_methods(["GET", "HEAD", "POST"])(view), name)

    def address(self, name: str, *args: Any) -> str:
        """The address of a door."""
        whole = f"admin:{self.opts.app_label}_{self.opts.model_name}_{name}"
        return reverse(whole, args=args)

    # Pages

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The list."""
        check(request, self.requires, self.kind)
        context = {
            "title": self.title,
            "links": self.links(request),
            **self.list_context(request),
            **(extra_context or {}),
        }
        view = require_safe(super().changelist_view)
        return cast("HttpResponse", view(request, context))

    def links(self, request: HttpRequest) -> list[tuple[str, str, str]]:  # noqa: ARG002 - for subclasses
        """What stands above the list: (address, label, icon)."""
        return []

    def list_context(self, request: HttpRequest) -> dict[str, Any]:  # noqa: ARG002 - for subclasses
        """What the list shows beside its rows."""
        return {}

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",  # noqa: ARG002 - Django's signature
        extra_context: dict[str, Any] | None = None,  # noqa: ARG002 - as above
    ) -> HttpResponse:
        """A row's page: to read; its buttons post elsewhere."""

        def shown(request: HttpRequest) -> HttpResponse:
            check(request, self.requires, self.kind)
            return self.page(request, self.one(request, object_id))

        return require_safe(shown)(request)

    def one(self, request: HttpRequest, object_id: str) -> Any:
        """The row that an address names.

        Raises:
            Http404: there is none, or it is another tenant's; recorded.
        """
        try:
            found = find(person(request), self.model, object_id)
        except NotFoundError as error:
            raise Http404(error.detail) from None
        return self.get_queryset(request).get(pk=found.pk)

    def page(
        self, request: HttpRequest, row: Any, error: DomainError | None = None, **more: Any
    ) -> HttpResponse:
        """A row's page, with the error of a button where there was one."""
        context = {"row": row, **self.context(request, row), **more}
        return self.render(request, self.template, str(row), context, error)

    def context(self, request: HttpRequest, row: Any) -> dict[str, Any]:  # noqa: ARG002 - for subclasses
        """What a row's template shows."""
        return {}

    def render(
        self,
        request: HttpRequest,
        template: str,
        title: str,
        context: Mapping[str, Any],
        error: DomainError | None = None,
    ) -> HttpResponse:
        """A page of this section."""
        if error is not None:
            messages.error(request, told(error))
        return TemplateResponse(
            request,
            template,
            {
                **self.admin_site.each_context(request),
                "title": self.title,
                "heading": title,
                "section_address": self.address("changelist"),
                "failed": error is not None,
                **context,
            },
            status=HTTPStatus.OK if error is None else STATUS[error.kind],
        )

    def form_page(
        self,
        request: HttpRequest,
        title: str,
        form: Form,
        error: DomainError | None = None,
        *,
        submit: str,
        icon: str = "",
        **more: Any,
    ) -> HttpResponse:
        """A form by itself: empty, or as it was sent, with what is wrong in it."""
        context = {"form": form, "submit": submit, "icon": icon, **more}
        page = self.render(request, "console/form.html", title, context, error)
        if error is None and form.errors:
            page.status_code = HTTPStatus.UNPROCESSABLE_ENTITY
        return page

    # Buttons

    def act(
        self, request: HttpRequest, row: Any, do: Callable[[], Any], done: Any, to: str = ""
    ) -> HttpResponse:
        """Call an action once: go back to the page with its success, or show it with the error."""
        try:
            do()
        except DomainError as error:
            return self.page(request, self.get_queryset(request).get(pk=row.pk), error)
        messages.success(request, done)
        return redirect(to or self.address("change", row.pk))

    @property
    def kind(self) -> str:
        """What the log calls a row."""
        return str(self.opts.model_name)
