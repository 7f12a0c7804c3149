"""Reading the catalog of entities: by name, by a column's header, by the words of a text."""

import re
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Final, Literal

from governance.recognition.catalog import (
    CATALOG,
    KEEP,
    MASK,
    PSEUDONYM,
    REDACT,
    REPLACE,
    TOKEN,
    Entity,
    Operator,
)

__all__ = [
    "CATALOG",
    "ENTITIES",
    "KEEP",
    "MASK",
    "PSEUDONYM",
    "REDACT",
    "REPLACE",
    "TOKEN",
    "Entity",
    "Operator",
    "context_pattern",
    "default_operator",
    "header_entities",
    "rank",
    "sensitivity",
    "speaks",
]

ENTITIES: Final[Mapping[str, Entity]] = MappingProxyType({e.name: e for e in CATALOG})
_RANK: Final = {entity.name: place for place, entity in enumerate(CATALOG)}

# A header such as product_name names a thing: these words beside "name" mean it is no person's.
_THINGS: Final = frozenset(
    [
        "product",
        "file",
        "company",
        "brand",
        "model",
        "column",
        "table",
        "event",
        "country",
        "city",
        "state",
        "street",
        "school",
        "course",
        "item",
        "store",
        "business",
        "organization",
        "department",
        "project",
        "host",
        "domain",
        "field",
        "class",
        "category",
        "job",
        "plan",
        "dataset",
        "branch",
        "bank",
        "district",
        "province",
        "county",
        "region",
        "species",
        "color",
    ]
)


def rank(name: str) -> int:
    """Place in the catalog, for ties; an entity of somebody's own recognizer comes last."""
    return _RANK.get(name, len(_RANK))


def sensitivity(name: str) -> Literal["S", "G"]:
    """PIPL class of an entity; one that the catalog does not know is treated as sensitive."""
    known = ENTITIES.get(name)
    return known.sensitivity if known else "S"


def default_operator(name: str) -> dict[str, str | int]:
    """The operator that a proposed plan starts from; unknown entities are redacted."""
    known = ENTITIES.get(name)
    return dict(known.operator if known else REDACT)


@cache
def context_pattern(name: str) -> re.Pattern[str] | None:
    """One pattern of all context words of an entity, or None when it has none."""
    known = ENTITIES.get(name)
    if known is None or not known.context:
        return None
    ascii_words = sorted((w for w in known.context if w.isascii()), key=len, reverse=True)
    parts = [re.escape(w) for w in known.context if not w.isascii()]
    if ascii_words:
        joined = "|".join(re.escape(w) for w in ascii_words)
        parts.append(f"(?<![a-z])(?:{joined})(?![a-z])")
    return re.compile("|".join(parts), re.IGNORECASE)


def header_entities(header: str | None, regimes: Collection[str] = ()) -> tuple[str, ...]:
    """Entities that a column's header speaks of, in catalog order.

    `customer_name`, `CustomerName` and `客户姓名` speak of PERSON; `product_name` does not. A
    document of another country is spoken of under its own regimes alone.
    """
    if not header:
        return ()
    spoken = _spoken(header)
    thing = not _THINGS.isdisjoint(spoken.split())
    return tuple(
        entity.name
        for entity in CATALOG
        if (not entity.only or not set(entity.only).isdisjoint(regimes))
        and _says(header, spoken, entity.headers)
        and not (entity.name == "PERSON" and thing)
    )


def speaks(header: str, words: Iterable[str]) -> bool:
    """Whether a header holds one of `words`: Latin ones whole, in any case; Chinese anywhere."""
    return _says(header, _spoken(header), words)


def _spoken(header: str) -> str:
    """`customerName`, `customer_name` and `Customer-Name` as ` customer name `."""
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", header)
    return " " + " ".join(re.findall(r"[a-z]+", split.lower())) + " "


def _says(header: str, spoken: str, words: Iterable[str]) -> bool:
    return any(
        f" {word} " in spoken if word.isascii() else word.casefold() in header.casefold()
        for word in words
    )
