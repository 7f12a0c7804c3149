"""A monthly statement: what a customer's calls cost, a line for each license and kind of call.

    statement.json      canonical JSON: month, customer, lines
    statement.csv       the same for spreadsheets, derived from it byte for byte
    statement.pdf       the same for people

They lie in a bundle (`audit.reports.layout`) whose entries are the calls of the month, so that each
line follows from the log: `Tally` adds the entries up, for the writer and for the verifier alike.
Pure; no Django.
"""

import hashlib
import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from typing import Any, Final, Self

from audit.canonical import canonical
from audit.errors import BundleError, CanonicalError, ProofError
from audit.reports.layout import BOM, BundleEntry, csv_row

FORMAT: Final = "portcullis-statement/1"
COLUMNS: Final = (
    "month", "customer", "license", "model", "sku", "calls", "units", "charged", "price",
    "currency", "amount", "first_index", "last_index", "leaves",
)  # fmt: skip

_SERVED: Final = ("prediction.served", "done")
_MONTH: Final = re.compile(r"(20[0-9]{2})-(0[1-9]|1[0-2])")
_PRICE: Final = re.compile(r"[0-9]{1,12}(\.[0-9]{1,12})?")
_DIGITS: Final = 80  # no sum of amounts has as many
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

Place = tuple[str, str]  # the license's id, and the kind of call


@dataclass(frozen=True, slots=True, order=True)
class Month:
    """A calendar month in UTC."""

    year: int
    number: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `2026-11`.

        Raises:
            BundleError: `statement.month_invalid`: anything else.
        """
        found = _MONTH.fullmatch(text)
        if found is None:
            raise BundleError(
                "a month is written 2026-11", code="statement.month_invalid", pointer="/month"
            )
        return cls(int(found[1]), int(found[2]))

    @property
    def starts(self) -> datetime:
        """Its first moment."""
        return datetime(self.year, self.number, 1, tzinfo=UTC)

    @property
    def ends(self) -> datetime:
        """The first moment after it."""
        year, number = divmod(self.year * 12 + self.number, 12)
        return datetime(year, number + 1, 1, tzinfo=UTC)

    @property
    def span(self) -> tuple[int, int]:
        """Microseconds since the Unix epoch, from the first of it to before the last."""
        start, end = (int((m - _EPOCH).total_seconds()) * 10**6 for m in (self.starts, self.ends))
        return start, end

    def __str__(self) -> str:
        return f"{self.year:04d}-{self.number:02d}"


@dataclass(frozen=True, slots=True)
class Line:
    """One license and kind of call.

    Attributes:
        license: its id.
        model: the licensed model's slug.
        sku: what was called.
        calls: answered calls, with test keys as well.
        units: what they cost.
        charged: of these, what was charged.
        first_index, last_index: the lowest and the highest place of its entries in the log.
        leaves: SHA-256 over its entries' leaf hashes in the log's order, in hexadecimal.
        price: of a charged unit, a decimal; None where the contract names none.
        currency: of the price.
        amount: price times charged, exactly.
    """

    license: str
    model: str
    sku: str
    calls: int
    units: int
    charged: int
    first_index: int
    last_index: int
    leaves: str
    price: str | None = None
    currency: str | None = None
    amount: str | None = None


@dataclass(slots=True)
class _Sum:
    first: int
    last: int
    calls: int = 0
    units: int = 0
    charged: int = 0
    leaves: Any = field(default_factory=hashlib.sha256)


class Tally:
    """Adds up entries of answered calls, given in the log's order."""

    def __init__(self) -> None:
        self.sums: dict[Place, _Sum] = {}
        self.first_at: int | None = None
        self.last_at: int | None = None

    def add(self, entry: BundleEntry) -> None:
        """Add a call.

        Raises:
            ProofError: the entry is none of an answered call that says what was charged.
        """
        fields = entry.fields()
        facts = fields.get("facts")
        facts = facts if isinstance(facts, dict) else {}
        license_, sku = facts.get("license"), facts.get("sku")
        units, charged = facts.get("units"), facts.get("charged")
        if (
            (fields.get("event"), fields.get("outcome")) != _SERVED
            or not isinstance(license_, str)
            or not isinstance(sku, str)
            or type(units) is not int
            or not isinstance(charged, bool)
        ):
            raise ProofError(f"the entry at {entry.index} says of no call what it cost")
        at = fields["at"]
        self.first_at = at if self.first_at is None else min(self.first_at, at)
        self.last_at = at if self.last_at is None else max(self.last_at, at)
        place = (license_.removeprefix("license:"), sku)
        total = self.sums.setdefault(place, _Sum(entry.index, entry.index))
        total.last = entry.index
        total.calls += 1
        total.units += units
        total.charged += units if charged else 0
        total.leaves.update(entry.leaf)

    def lines(
        self, models: Mapping[str, str], prices: Mapping[Place, tuple[str, str]]
    ) -> tuple[Line, ...]:
        """The lines; `models` by license, `prices` (decimal, currency) by license and kind."""
        return tuple(
            _priced(
                Line(
                    license_, models[license_], sku, total.calls, total.units, total.charged,
                    total.first, total.last, total.leaves.hexdigest(),
                ),
                prices.get((license_, sku)),
            )
            for (license_, sku), total in sorted(self.sums.items())
        )  # fmt: skip


def _priced(line: Line, price: tuple[str, str] | None) -> Line:
    if price is None:
        return line
    each, currency = price
    return Line(**{
        **asdict(line), "price": each, "currency": currency, "amount": _amount(each, line.charged),
    })  # fmt: skip


def _amount(price: str, charged: int) -> str:
    """Price times units. Exact: both are integers once the decimal point is set aside."""
    if _PRICE.fullmatch(price) is None:
        raise BundleError("a price is a decimal that is not negative")
    whole, _, part = price.partition(".")
    product = str(int(whole + part) * charged)
    if not part:
        return product
    digits = product.rjust(len(part) + 1, "0")
    return f"{digits[: -len(part)]}.{digits[-len(part) :]}"


@dataclass(frozen=True, slots=True)
class Statement:
    """What statement.json says.

    Attributes:
        origin: of the log.
        month: as `2026-11`, in UTC.
        customer: the id of the tenant that called.
        until: the place in the log up to which calls are counted.
        pending: calls of the month that were known, and stood at no place before `until`.
        complete: the month was over, and nothing was pending.
        lines: by license and kind.
    """

    origin: str
    month: str
    customer: str
    until: int
    pending: int
    complete: bool
    lines: tuple[Line, ...]

    def text(self) -> bytes:
        """The bytes of statement.json."""
        return canonical(
            {**asdict(self), "format": FORMAT, "lines": [asdict(line) for line in self.lines]}
        )

    def table(self) -> bytes:
        """The bytes of statement.csv."""
        rows = [[self.month, self.customer, *_cells(line)] for line in self.lines]
        return BOM + b"".join(csv_row(row) for row in ([*COLUMNS], *rows))

    def amounts(self) -> dict[str, str]:
        """Currency -> what its lines amount to."""
        sums: dict[str, Decimal] = {}
        with localcontext(prec=_DIGITS):
            for line in self.lines:
                if line.currency is not None and line.amount is not None:
                    so_far = sums.get(line.currency, Decimal(0))
                    sums[line.currency] = so_far + Decimal(line.amount)
        return {currency: f"{amount:f}" for currency, amount in sorted(sums.items())}

    @classmethod
    def parse(cls, text: bytes) -> Self:
        """Read statement.json: exactly what `text()` writes.

        Raises:
            BundleError: anything else.
        """
        try:
            shown = json.loads(text)
            lines = tuple(Line(**line) for line in shown.pop("lines"))
            shown.pop("format")
            statement = cls(**shown, lines=lines)
            uuid.UUID(statement.customer)
            same = statement.text() == text and _typed(statement)
        except (ValueError, KeyError, TypeError, AttributeError, CanonicalError, RecursionError):
            raise BundleError("statement.json is malformed") from None
        if not same:
            raise BundleError("statement.json is malformed")
        return statement

    def check(self, tally: Tally, origin: str, size: int) -> None:
        """Hold the statement against the entries of its bundle.

        Raises:
            ProofError: a line is not what they add up to, or a call is of another month or place.
        """
        if (self.origin, self.until <= size) != (origin, True):
            raise ProofError("statement.json is of another tree than the checkpoint")
        start, end = Month.parse(self.month).span
        if tally.first_at is not None and tally.last_at is not None:
            if not start <= tally.first_at <= tally.last_at < end:
                raise ProofError("an entry is of another month than the statement")
            if max(total.last for total in tally.sums.values()) >= self.until:
                raise ProofError("an entry stands past the place that the statement ends at")
        models = {line.license: line.model for line in self.lines}
        prices = {
            (line.license, line.sku): (line.price, line.currency)
            for line in self.lines
            if line.price is not None and line.currency is not None
        }
        if {license_ for license_, _ in tally.sums} != models.keys():
            raise ProofError("statement.json has other licenses than the entries")
        if tally.lines(models, prices) != self.lines:
            raise ProofError("a line of statement.json is not what the entries add up to")


def _typed(statement: Statement) -> bool:
    """Whether every field is of the type that it is declared with; a dataclass does not look."""
    texts = [statement.origin, statement.month, statement.customer]
    numbers = [statement.until, statement.pending]
    optional: list[Any] = []
    for line in statement.lines:
        texts += [line.license, line.model, line.sku, line.leaves]
        numbers += [line.calls, line.units, line.charged, line.first_index, line.last_index]
        optional += [line.price, line.currency, line.amount]
    return (
        all(isinstance(text, str) for text in texts)
        and all(type(number) is int for number in numbers)
        and all(value is None or isinstance(value, str) for value in optional)
        and isinstance(statement.complete, bool)
    )


def _cells(line: Line) -> list[Any]:
    shown = asdict(line)
    return ["" if shown[name] is None else shown[name] for name in COLUMNS[2:]]
