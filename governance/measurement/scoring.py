"""How much of what is labeled was found, how much of what was found is right, how sure that is.

For each language, shape and entity:

    recall     labeled spans of which at least half is reported as that entity or a kin of it
    precision  reported spans of which at least half is labeled so
    F2         recall weighs four times as much (van Rijsbergen, β = 2): a name that stays is worse
               than a word that goes
    hidden     labeled spans whose every letter and digit lies in a reported span of any entity:
               what anonymizing needs

Cells are counted apart where their header says nothing of what stands in them ("unheaded"): eight
digits under no word are what they are for nobody, and a figure over both would hide either.

Intervals are Wilson's (1927) at 95 %. `leak` is the one-sided 95 % upper bound of the share that is
not wholly hidden, by Clopper and Pearson (1934): with no miss in n it is 1 - 0.05^(1/n), about 3/n.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Self

from governance.measurement.labels import LabeledRow, Shape
from governance.recognition.entities import header_entities
from governance.recognition.spans import Span

UNHEADED: Final = "unheaded"  # structured, under a header that names no entity
ALL: Final = "*"  # in place of an entity: all of them together
_Z: Final = 1.959963984540054  # the normal distribution's 97.5 % quantile
_RISK: Final = 0.05
_HALF: Final = 0.5
_STEPS: Final = 60  # of bisection: far below what a double can tell
# Names that the catalog has for one and the same number or place.
_KIN: Final[tuple[frozenset[str], ...]] = tuple(
    frozenset(group.split())
    for group in (
        "CN_BANK_CARD CREDIT_CARD",
        "CN_MOBILE CN_LANDLINE PHONE_NUMBER",
        "CN_ADDRESS STREET_ADDRESS LOCATION",
        "CN_ID CN_ID15 CN_RESIDENCE CN_FOREIGN_PR",
        "US_SSN US_ITIN",
        "US_MBI US_HEALTH_INSURANCE_MEMBER_ID",
        "CN_PASSPORT US_PASSPORT CN_HM_TRAVEL HOME_RETURN TW_COMPATRIOT",
    )
)


@dataclass(slots=True)
class Count:
    """Whole numbers for one language, shape and entity."""

    language: str
    shape: str
    entity: str
    labeled: int = 0
    found: int = 0
    hidden: int = 0
    reported: int = 0
    right: int = 0

    def as_dict(self) -> dict[str, str | int]:
        """The JSON form, as it is stored."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Read what `as_dict` wrote."""
        return cls(**{field.name: stored[field.name] for field in fields(cls)})

    def add(self, other: "Count") -> None:
        """Take another's numbers in."""
        self.labeled += other.labeled
        self.found += other.found
        self.hidden += other.hidden
        self.reported += other.reported
        self.right += other.right


@dataclass(frozen=True, slots=True)
class Share:
    """A proportion and its 95 % interval; `value` is None where nothing was counted."""

    value: float | None
    low: float
    high: float

    @classmethod
    def of(cls, hits: int, total: int) -> Self:
        """Wilson's score interval of `hits` in `total`."""
        if not total:
            return cls(None, 0.0, 1.0)
        share, square = hits / total, _Z * _Z
        middle = share + square / (2 * total)
        reach = _Z * math.sqrt(share * (1 - share) / total + square / (4 * total * total))
        width = 1 + square / total
        return cls(share, max(0.0, (middle - reach) / width), min(1.0, (middle + reach) / width))


@dataclass(frozen=True, slots=True)
class Scores:
    """The measures of one count."""

    count: Count
    precision: Share
    recall: Share
    hidden: Share
    f2: float | None
    leak: float

    @classmethod
    def of(cls, count: Count) -> Self:
        """The measures; what nothing stands behind is None."""
        precision = Share.of(count.right, count.reported)
        recall = Share.of(count.found, count.labeled)
        f2 = None
        if precision.value is not None and recall.value is not None:
            below = 4 * precision.value + recall.value
            f2 = 5 * precision.value * recall.value / below if below else 0.0
        misses = count.labeled - count.hidden
        return cls(
            count,
            precision,
            recall,
            Share.of(count.hidden, count.labeled),
            f2,
            leak_bound(misses, count.labeled),
        )

    def as_dict(self) -> dict[str, Any]:
        """As the API and `--json` show it: shares with four digits, None for unknown."""
        shown: dict[str, Any] = self.count.as_dict()
        for name in ("precision", "recall", "hidden"):
            share: Share = getattr(self, name)
            known = share.value is not None
            shown[name if name != "hidden" else "every_character_hidden"] = _rounded(share.value)
            shown[f"{name}_interval"] = (
                [_rounded(share.low), _rounded(share.high)] if known else None
            )
        return {**shown, "f2": _rounded(self.f2), "leak_at_most": _rounded(self.leak)}


class Scorer:
    """Counts, row by row. Nothing of a text is kept."""

    def __init__(self, regimes: Collection[str] = ()) -> None:
        self._regimes = regimes
        self.rows = 0
        self._counts: dict[tuple[str, ...], Count] = {}

    def add(self, row: LabeledRow, spans: Sequence[Span]) -> None:
        """Count what was labeled in one row, and what was reported of it."""
        self.rows += 1
        shape = row.shape.value
        if row.shape is Shape.STRUCTURED and not header_entities(row.header, self._regimes):
            shape = UNHEADED
        letters = {place for place, c in enumerate(row.text) if c.isalnum()}
        everything = _places(spans) & letters
        for label in row.spans:
            mine = letters.intersection(range(label.start, label.end))
            count = self._count(row.language, shape, label.entity)
            count.labeled += 1
            count.hidden += mine <= everything
            kin = _places(s for s in spans if kin_of(s.entity, label.entity))
            count.found += len(mine & kin) >= _HALF * max(1, len(mine))
        for span in spans:
            mine = letters.intersection(range(span.start, span.end))
            count = self._count(row.language, shape, span.entity)
            count.reported += 1
            kin = _places(s for s in row.spans if kin_of(s.entity, span.entity))
            count.right += bool(mine) and len(mine & kin) >= _HALF * len(mine)

    def counts(self) -> list[Count]:
        """All counts, by shape, language and entity."""
        return sorted(self._counts.values(), key=lambda c: (c.shape, c.language, c.entity))

    def _count(self, language: str, shape: str, entity: str) -> Count:
        key = (language, shape, entity)
        if key not in self._counts:
            self._counts[key] = Count(language, shape, entity)
        return self._counts[key]


def summed(counts: Iterable[Count], *by: str) -> list[Count]:
    """The counts added up by some of `language`, `shape` and `entity`; the others become `*`."""
    sums: dict[tuple[str, str, str], Count] = {}
    for count in counts:
        language, shape, entity = (
            getattr(count, name) if name in by else ALL for name in ("language", "shape", "entity")
        )
        whole = sums.setdefault((language, shape, entity), Count(language, shape, entity))
        whole.add(count)
    return [sums[key] for key in sorted(sums)]


def kin_of(one: str, other: str) -> bool:
    """Whether two entities are names for the same number or place."""
    return one == other or any(one in group and other in group for group in _KIN)


def leak_bound(misses: int, total: int) -> float:
    """The largest share of misses under which `misses` or fewer in `total` has a chance of 5 %."""
    if misses >= total:
        return 1.0
    low, high = misses / total, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if _at_most(misses, total, middle) > _RISK else (low, middle)
    return high


def _at_most(most: int, total: int, share: float) -> float:
    """The binomial distribution function, summed in logarithms."""
    whole, hit, rest = math.lgamma(total + 1), math.log(share), math.log1p(-share)
    return sum(
        math.exp(
            whole
            - math.lgamma(misses + 1)
            - math.lgamma(total - misses + 1)
            + misses * hit
            + (total - misses) * rest
        )
        for misses in range(most + 1)
    )


def _places(spans: Iterable[Any]) -> set[int]:
    return {place for span in spans for place in range(span.start, span.end)}


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 4)
