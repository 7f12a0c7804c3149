"""Tenant scope: a query on tenant data outside an open scope raises.

After the pattern of django-scopes: middleware, tasks and commands open the scope of one tenant; a
default manager narrows every query to it; `_base_manager` stays plain for Django's own needs. The
escape, `across_tenants`, asks for its reason and is easy to search for.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import ClassVar, Generic, Protocol, TypeVar
from uuid import UUID

from django.db import models

from governance.errors import UnscopedError

_open: ContextVar[frozenset[UUID] | None] = ContextVar("tenant_scope", default=None)
_everything: ContextVar[bool] = ContextVar("tenant_scope_everything", default=False)

M = TypeVar("M", bound=models.Model)


class ForTenant(Protocol):
    """Who acts for a tenant: all that a scope needs to know of an actor."""

    @property
    def tenant_id(self) -> UUID | None:
        """The tenant acted for."""
        ...


@contextmanager
def tenant_scope(*tenants: UUID) -> Iterator[None]:
    """Open the scope of the given tenants, and of no other."""
    token, wide = _open.set(frozenset(tenants)), _everything.set(False)
    try:
        yield
    finally:
        _open.reset(token)
        _everything.reset(wide)


@contextmanager
def across_tenants(*, reason: str) -> Iterator[None]:
    """Open the scope of every tenant: for sweepers and invariants."""
    if not reason:
        raise UnscopedError("a scope across tenants needs its reason")
    token = _everything.set(True)
    try:
        yield
    finally:
        _everything.reset(token)


def reaches(tenant: UUID) -> bool:
    """Whether the open scope takes in rows of `tenant`; without a scope, nothing narrows it."""
    tenants = _open.get()
    return _everything.get() or tenants is None or tenant in tenants


class ScopedQuerySet(models.QuerySet[M]):
    """Rows of tenants, as an actor may see them."""

    def visible_to(self, actor: ForTenant) -> "ScopedQuerySet[M]":
        """The rows of the actor's own tenant; nothing for an actor without one."""
        tenants = frozenset() if actor.tenant_id is None else frozenset({actor.tenant_id})
        return self.filter(_seen_by(self.model, tenants))


class ScopedManager(models.Manager[M], Generic[M]):
    """The default manager of what a tenant owns."""

    def get_queryset(self) -> ScopedQuerySet[M]:
        """All rows of the open scope.

        Raises:
            UnscopedError: no scope is open.
        """
        rows: ScopedQuerySet[M] = ScopedQuerySet(self.model, using=self._db)
        if _everything.get():
            return rows
        tenants = _open.get()
        if tenants is None:
            raise UnscopedError(f"{self.model.__name__} was queried outside a tenant's scope")
        return rows.filter(_seen_by(self.model, tenants))

    def visible_to(self, actor: ForTenant) -> ScopedQuerySet[M]:
        """The rows of the actor's own tenant."""
        return self.get_queryset().visible_to(actor)


def _seen_by(model: type[models.Model], tenants: frozenset[UUID]) -> models.Q:
    fields: tuple[str, ...] = getattr(model, "seen_by", ("tenant_id",))
    condition = models.Q()
    for field in fields:
        condition |= models.Q(**{f"{field}__in": tenants})
    return condition


class TenantOwned(models.Model):
    """A row that belongs to one tenant for ever."""

    # The fields that name a tenant who sees the row: a license is seen by owner and customer.
    seen_by: ClassVar[tuple[str, ...]] = ("tenant_id",)

    tenant = models.ForeignKey("governance.Tenant", on_delete=models.PROTECT, related_name="+")

    objects = ScopedManager()

    class Meta:
        abstract = True

    @property
    def tenant_reference(self) -> str:
        """The tenant as the log holds it: a value, never a key into our tables."""
        return str(self.tenant_id)
