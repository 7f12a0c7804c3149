"""How a quasi-identifier becomes coarser: for each column a ladder from its values up to `*`.

Each rung keeps together what the rung below kept together, which the lattice search rests on.

| a column of                | rungs                                                            |
|----------------------------|------------------------------------------------------------------|
| ages (by name)             | bands of 5, 10 and 30 years, 90 and over pooled                  |
| numbers                    | bands of widths 1, 5, 10, 50, … that suit the range              |
| dates                      | month, year, decade                                              |
| region codes (GB/T 2260)   | six, four, two digits                                            |
| categories with declared   | as declared: `"hierarchy": [{"west": ["FR", "DE"]}, …]`          |
| groups                     |                                                                  |
| other categories           | values of less than 1 %, then 5 %, then 20 % of the rows pooled  |

An empty cell stays empty until `*`, which says nothing about anybody.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import partial
from itertools import pairwise
from typing import Any, Final

from governance.anonymization.generalization import age_band, month_of, region, year_of
from governance.recognition.checksums import PROVINCES

TOP: Final = "*"
RARE: Final = "(rare)"
_SHARES: Final = (0.01, 0.05, 0.2)
_AGES: Final = re.compile(r"(?:^|_|\b)age(?:$|_|\b)|年龄|年齡|岁数", re.IGNORECASE)
_STEPS: Final = (1, 5)  # times a power of ten: each width divides the next
_FINEST: Final = 25  # bands that the finest rung has at most, over the range


@dataclass(frozen=True)
class Rung:
    """One level of a ladder: its name for the record, and what it makes of each value."""

    name: str
    of: Mapping[str, str]


@dataclass(frozen=True)
class Ladder:
    """A column's levels: the first is the values themselves, the last is `*`."""

    column: str
    rungs: tuple[Rung, ...]

    @property
    def height(self) -> int:
        """The number of the top level."""
        return len(self.rungs) - 1


def ladder(column: str, counts: Mapping[str, int], declared: Mapping[str, Any]) -> Ladder:
    """The ladder of a column.

    Args:
        column: its name, which tells an age.
        counts: how many rows hold each value; the empty string for an empty cell.
        declared: the column's declaration by the steward, or nothing.
    """
    values = [value for value in counts if value]
    rungs = [Rung("value", {value: value for value in counts})]
    for name, coarser in _rungs(column, values, counts, declared):
        of = {value: (coarser(value) if value else "") for value in counts}
        if len(set(of.values())) < len(set(rungs[-1].of.values())):
            rungs.append(Rung(name, of))
    if len(set(rungs[-1].of.values())) > 1 or len(rungs) == 1:
        rungs.append(Rung(TOP, dict.fromkeys(counts, TOP)))
    return Ladder(column, tuple(rungs))


def _rungs(
    column: str, values: Sequence[str], counts: Mapping[str, int], declared: Mapping[str, Any]
) -> Iterator[tuple[str, Callable[[str], str]]]:
    if isinstance(declared.get("hierarchy"), list):
        yield from _declared(declared["hierarchy"])
    elif not values:
        return
    elif all(_is_region(value) for value in values):
        yield from ((f"region_{n}", partial(_sure, partial(region, digits=n))) for n in (6, 4, 2))
    elif all(year_of(value, "") and not value.isdecimal() for value in values):
        yield "month", partial(_sure, partial(month_of, entity=""))
        yield "year", partial(_sure, partial(year_of, entity=""))
        yield "decade", lambda value: f"{_sure(partial(year_of, entity=''), value)[:3]}0s"
    elif numbers := _numbers(values):
        if _AGES.search(column) and all(age_band(value, 5) for value in values):
            yield from (
                (f"age_{n}", partial(_sure, partial(age_band, width=n))) for n in (5, 10, 30)
            )
        else:
            yield from _bands(numbers, declared)
    else:
        yield from _rare(counts)


def _sure(coarser: Callable[[str], str | None], value: str) -> str:
    """The coarser form; `*` where there is none, which no value that came here has."""
    return coarser(value) or TOP


def _is_region(value: str) -> bool:
    return len(value) == 6 and value.isdecimal() and value[:2] in PROVINCES  # noqa: PLR2004 - GB/T 2260


def _numbers(values: Sequence[str]) -> dict[str, Decimal]:
    """The values as numbers; nothing where one of them is none."""
    try:
        numbers = {value: Decimal(value) for value in values}
    except InvalidOperation:
        return {}
    return numbers if all(number.is_finite() for number in numbers.values()) else {}


def _bands(
    numbers: Mapping[str, Decimal], declared: Mapping[str, Any]
) -> Iterator[tuple[str, Callable[[str], str]]]:
    low, high = min(numbers.values()), max(numbers.values())
    with suppress(KeyError, InvalidOperation):  # where nobody said what range is public
        low, high = Decimal(str(declared["low"])), Decimal(str(declared["high"]))
    whole = all(number == number.to_integral_value() for number in numbers.values())
    for width in _widths(high - low, whole=whole):
        yield f"band_{width:f}", partial(_band, numbers=numbers, width=width, whole=whole)


def _widths(spread: Decimal, *, whole: bool) -> list[Decimal]:
    """Widths of 1 or 5 times a power of ten that cut `spread` into 25 bands or fewer."""
    if not spread > 0:
        return []
    power = math.floor(spread.log10()) - 3
    ladder_ = [Decimal(step).scaleb(power + up) for up in range(5) for step in _STEPS]
    return [
        width
        for width in ladder_
        if spread / _FINEST <= width < spread and not (whole and width <= 1)
    ]


def _band(value: str, *, numbers: Mapping[str, Decimal], width: Decimal, whole: bool) -> str:
    low = (numbers[value] / width).to_integral_value(rounding="ROUND_FLOOR") * width
    if whole and width == width.to_integral_value():
        return f"{low:.0f}-{low + width - 1:.0f}"
    return f"[{low:f}, {low + width:f})"


def _declared(rungs: Sequence[Any]) -> Iterator[tuple[str, Callable[[str], str]]]:
    """The steward's groups, rung by rung; a value that no group names stays as it was below."""
    below: Callable[[str], str] = str
    for number, groups in enumerate(rungs, start=1):
        if not isinstance(groups, Mapping):
            return
        group_of = {
            str(value): str(name)
            for name, listed in groups.items()
            if isinstance(listed, list)
            for value in listed
        }
        below = partial(_grouped, group_of=group_of, below=below)
        yield f"group_{number}", below


def _grouped(value: str, *, group_of: Mapping[str, str], below: Callable[[str], str]) -> str:
    stood = below(value)
    return group_of.get(stood, stood)


def _rare(counts: Mapping[str, int]) -> Iterator[tuple[str, Callable[[str], str]]]:
    rows = sum(counts.values())
    for share in _SHARES:
        yield f"rare_{share:g}", partial(_pooled, counts=counts, least=share * rows)


def _pooled(value: str, *, counts: Mapping[str, int], least: float) -> str:
    return RARE if counts[value] < least else value


def is_nested(built: Ladder) -> bool:
    """Whether each rung keeps together what the one below kept together."""
    for lower, upper in pairwise(built.rungs):
        above: dict[str, str] = {}
        for value, stood in lower.of.items():
            if above.setdefault(stood, upper.of[value]) != upper.of[value]:
                return False
    return True
