"""The sources that the operator has named."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, urlsplit

from django.conf import settings
from django.core.signals import setting_changed

from audit.errors import Kind
from governance.errors import GovernanceError
from governance.models import Tenant

SCHEMES: Final[Mapping[str, str]] = {
    "folder": "folder",
    "s3": "bucket",
    "postgresql": "query",
    "postgres": "query",
    "mysql": "query",
}
LONGEST_SELECTION: Final = 20_000  # characters: a query, a path or a prefix


class SourceError(GovernanceError):
    """A source cannot be read. What the other system said stays out: it may quote its rows."""

    code = "source.unreadable"
    kind = Kind.INVALID


@dataclass(frozen=True)
class Source:
    """A place that data may be fetched from.

    Attributes:
        name: what stewards call it.
        kind: "folder", "bucket" or "query": what a selection is, a path, a prefix or a query.
        tenants: slugs of the tenants that may read it; empty for the house alone.
    """

    name: str
    kind: str
    url: SplitResult
    tenants: frozenset[str]

    def __repr__(self) -> str:
        """Without the address, which holds a password."""
        return f"Source({self.name!r})"

    @property
    def options(self) -> dict[str, str]:
        """What stands behind the question mark of the address."""
        return dict(parse_qsl(self.url.query))


def source_named(name: str, tenant: Tenant) -> Source:
    """The source of this name, if this tenant may read it.

    Raises:
        SourceError: `source.unknown`: there is none, or it is not this tenant's. Nobody learns
            which.
    """
    for source in sources_of(tenant):
        if source.name == name:
            return source
    raise SourceError("no such source is set up here", code="source.unknown")


def sources_of(tenant: Tenant) -> list[Source]:
    """The sources that a tenant may read, by name."""
    from governance.rbac import house_id  # noqa: PLC0415 - rbac reads models while apps load

    in_house = tenant.id == house_id()
    return [
        source
        for source in _configured()
        if (tenant.slug in source.tenants if source.tenants else in_house)
    ]


def checked(name: str, spec: Any) -> Source:
    """A source as the environment describes it: an address, or an object with `url`, `tenants`.

    Raises:
        ValueError: it does not describe one; the message holds no part of the address.
    """
    address = spec.get("url") if isinstance(spec, Mapping) else spec
    tenants = spec.get("tenants", []) if isinstance(spec, Mapping) else []
    if not name.isascii() or not name.replace("-", "").replace("_", "").isalnum():
        raise ValueError("a source's name is made of letters, digits, - and _")
    if not isinstance(address, str) or not isinstance(tenants, list):
        msg = f"source {name} needs a url, and tenants as a list"
        raise ValueError(msg)  # noqa: TRY004 - one kind of error for whatever is set up wrongly
    try:
        url = urlsplit(address)
        port = url.port
    except ValueError:
        raise ValueError(f"the url of source {name} is none") from None
    del port
    if url.scheme not in SCHEMES:
        raise ValueError(f"the url of source {name} begins with {', '.join(SCHEMES)}")
    return Source(name, SCHEMES[url.scheme], url, frozenset(map(str, tenants)))


@cache
def _configured() -> tuple[Source, ...]:
    return tuple(checked(name, spec) for name, spec in sorted(settings.SOURCES.items()))


def _forget(*, setting: str, **_: Any) -> None:
    if setting == "SOURCES":
        _configured.cache_clear()


setting_changed.connect(_forget)
