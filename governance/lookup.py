"""Find one thing of the actor's own, by id or by name; another's looks like nothing at all.

A miss is recorded as a refusal, so that somebody who tries ids leaves a trace.
"""

import re
import uuid
from typing import Any, Final, TypeVar

from django.db import models

from audit.events import Event
from audit.recording import append_refusal
from governance.errors import NotFoundError, RefusedError
from governance.models import Tenant
from governance.rbac import Actor

M = TypeVar("M", bound=models.Model)
# What every natural key is made of: a database may choke on anything else.
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,200}")


def find(actor: Actor, model: type[M], value: str, **within: Any) -> M:
    """The one row of `model` that the actor's tenant sees and `value` names.

    Args:
        actor: who asks; the scope of their tenant is open.
        model: a tenant-owned model. Its `natural_key_field` attribute, where it has one, names the
            field that people use instead of the id.
        value: a UUID, or the natural key.
        within: further conditions, such as `dataset=…`.

    Raises:
        NotFoundError: there is none, or it is another tenant's: one and the same answer.
    """
    scoped: Any = model._default_manager  # noqa: SLF001  # generic
    rows = scoped.visible_to(actor).filter(**within)
    found: M | None = _by_id(rows, value) or _by_name(rows, model, value)
    if found is None:
        kind = model.__name__.lower()
        append_refusal(
            Event.LOOKUP_REFUSED, actor, None, NotFoundError.code, f"{kind}:find", kind=kind
        )
        raise NotFoundError(f"there is no such {kind} here")
    return found


def _by_id(rows: "models.QuerySet[M]", value: str) -> M | None:
    try:
        key = uuid.UUID(value)
    except ValueError:
        return None
    return rows.filter(pk=key).first()


def _by_name(rows: "models.QuerySet[M]", model: type[M], value: str) -> M | None:
    field = getattr(model, "natural_key_field", None)
    if field is None or not _NAME.fullmatch(value):
        return None
    return rows.filter(**{field: value}).first()


def own_tenant(actor: Actor) -> Tenant:
    """The tenant that a person acts for.

    Raises:
        RefusedError: `permission.no_role`: who holds no role acts for nobody.
    """
    if actor.tenant_id is None:
        raise RefusedError("you hold no role for any organization", code="permission.no_role")
    return Tenant.objects.get(pk=actor.tenant_id)
