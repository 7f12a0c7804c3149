"""From cells to numbers without looking at the data: a frozen specification, made of declarations.

Every feature says where its parameters come from: `declared` by a steward as public, `paid` for out
of ε (`training.bounds`), or `hashed`, which needs none. Nothing is fitted. The same specification
encodes the training table and one request row, and its digest ties config, weights and card
together.
"""

import functools
import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol, Self

import numpy as np
import numpy.typing as npt

from audit.canonical import digest
from training.errors import FeatureError
from training.mechanisms import exact
from training.packaged import ENCODERS

MISSING: Final = frozenset({"", "?", "na", "n/a", "nan", "null", "none"})
KNOTS: Final = 8
BINS: Final = 32
LARGEST_WIDTH: Final = 100_000
# A vector of length 1 would be drowned by the noise of a clipping norm of 3 (`TrainingConfig`).
ENCODED_NORM: Final = 4.0
LARGEST_CELL: Final = 1_000  # characters: of a request's text value, and of a declared category

Cell = str | None
Cells = Sequence[Cell]


class Table(Protocol):
    """Columns by name: a dict of lists, or a polars frame."""

    def __getitem__(self, name: str, /) -> Any:
        """The column of this name."""
        ...


class Provenance(StrEnum):
    """Where a feature's parameters come from."""

    DECLARED = "declared"
    PAID = "paid"
    HASHED = "hashed"


class Scale(StrEnum):
    """How a numeric value between its bounds becomes a number in [-1, 1]."""

    LINEAR = "linear"
    LOG = "log"


@dataclass(frozen=True)
class Numeric:
    """A number clamped to [low, high], scaled to [-1, 1], and spread over evenly spaced knots.

    The knots are hat functions, so a linear model can already bend: piecewise-linear encoding
    (Gorishniy et al., arXiv 2203.05556), but with knots from the public bounds, not from quantiles
    of the data. Under DP-SGD, where steps are few, it is worth more than a wider network.
    """

    name: str
    low: float
    high: float
    scale: Scale = Scale.LINEAR
    provenance: Provenance = Provenance.DECLARED

    width = KNOTS + 2

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise FeatureError(
                "bounds must be finite and low below high", pointer=f"/columns/{self.name}"
            )

    def encode(self, cells: Cells) -> npt.NDArray[np.float32]:
        """(n, KNOTS + 2): scaled value, hats, missing flag; all else 0 where there is no number."""
        parsed = np.array(_memoized(number, cells), dtype=np.float64)
        missing = ~np.isfinite(parsed)
        clamped = np.clip(np.where(missing, self.low, parsed), self.low, self.high)
        low, high = self._curve(np.array([self.low, self.high]))
        share = (self._curve(clamped) - low) / (high - low)
        hats = 1 - np.abs(share[:, None] * (KNOTS - 1) - np.arange(KNOTS))
        known = np.concatenate([2 * share[:, None] - 1, np.maximum(hats, 0)], axis=1)
        known[missing] = 0.0
        return np.concatenate([known, missing[:, None]], axis=1).astype(np.float32)

    def value_at(self, share: float) -> str:
        """The value at `share` in [0, 1] of the scaled range: how backgrounds walk the bounds."""
        low, high = self._curve(np.array([self.low, self.high]))
        point = low + share * (high - low)
        value = math.copysign(math.expm1(abs(point)), point) if self.scale is Scale.LOG else point
        return exact(float(f"{min(max(value, self.low), self.high):.6g}"))

    def _curve(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        if self.scale is Scale.LINEAR:
            return values
        curved: npt.NDArray[np.float64] = np.sign(values) * np.log1p(np.abs(values))
        return curved

    def as_dict(self) -> dict[str, object]:
        """Canonical-JSON form."""
        return {
            "name": self.name,
            "kind": "numeric",
            "low": exact(self.low),
            "high": exact(self.high),
            "scale": self.scale.value,
            "provenance": self.provenance.value,
        }


@dataclass(frozen=True)
class Binned(Numeric):
    """A number as one of `BINS` even stretches between its bounds: what a table of scores is over.

    The stretches are public, so no budget buys them.
    """

    width = BINS + 1

    def encode(self, cells: Cells) -> npt.NDArray[np.float32]:
        """(n, BINS + 1) indicators; the last is of what is no number."""
        parsed = np.array(_memoized(number, cells), dtype=np.float64)
        missing = ~np.isfinite(parsed)
        clamped = np.clip(np.where(missing, self.low, parsed), self.low, self.high)
        low, high = self._curve(np.array([self.low, self.high]))
        share = (self._curve(clamped) - low) / (high - low)
        places = np.minimum((share * BINS).astype(np.intp), BINS - 1)
        return _indicators(np.where(missing, BINS, places), self.width)

    def as_dict(self) -> dict[str, object]:
        """Canonical-JSON form."""
        return {**super().as_dict(), "kind": "binned"}


@dataclass(frozen=True)
class Pixel(Numeric):
    """One number of an image, from 0 to 1 between its bounds; 0 where there is none."""

    width = 1

    def encode(self, cells: Cells) -> npt.NDArray[np.float32]:
        """(n, 1)."""
        parsed = np.array(_memoized(number, cells), dtype=np.float64)
        known = np.clip(np.where(np.isfinite(parsed), parsed, self.low), self.low, self.high)
        return ((known - self.low) / (self.high - self.low))[:, None].astype(np.float32)

    def as_dict(self) -> dict[str, object]:
        """Canonical-JSON form."""
        return {**super().as_dict(), "kind": "pixel"}


@dataclass(frozen=True)
class Category:
    """One of a public list of values, or the unknown bucket: width len(values) + 1."""

    name: str
    values: tuple[str, ...]
    provenance: Provenance = Provenance.DECLARED

    def __post_init__(self) -> None:
        if not self.values or len(set(self.values)) != len(self.values):
            raise FeatureError(
                "a category needs a list of distinct values", pointer=f"/columns/{self.name}"
            )

    @property
    def width(self) -> int:
        """One indicator a value, and one for everything else."""
        return len(self.values) + 1

    def encode(self, cells: Cells) -> npt.NDArray[np.float32]:
        """(n, width) indicators. An unlisted or missing cell is in the last, unknown bucket."""
        place = {value: index for index, value in enumerate(self.values)}
        unknown = len(self.values)
        chosen = [place.get(cell.strip(), unknown) if cell else unknown for cell in cells]
        return _indicators(chosen, self.width)

    def as_dict(self) -> dict[str, object]:
        """Canonical-JSON form."""
        return {
            "name": self.name,
            "kind": "category",
            "values": list(self.values),
            "provenance": self.provenance.value,
        }


@dataclass(frozen=True)
class Hashed:
    """Text without a declared list: SHA-256 of column and value picks a bucket."""

    name: str
    buckets: int = 32

    provenance = Provenance.HASHED

    def __post_init__(self) -> None:
        if not 1 < self.buckets <= LARGEST_WIDTH:
            raise FeatureError(
                f"buckets must be 2 to {LARGEST_WIDTH}", pointer=f"/columns/{self.name}/buckets"
            )

    @property
    def width(self) -> int:
        """One indicator a bucket; a missing cell is in none."""
        return self.buckets

    def encode(self, cells: Cells) -> npt.NDArray[np.float32]:
        """(n, buckets) indicators."""
        return _indicators(_memoized(self._bucket, cells), self.width)

    def _bucket(self, cell: Cell) -> int:
        if is_missing(cell):
            return -1
        text = f"{self.name}\x1f{str(cell).strip()}".encode()
        return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") % self.buckets

    def as_dict(self) -> dict[str, object]:
        """Canonical-JSON form."""
        return {
            "name": self.name,
            "kind": "hashed",
            "buckets": self.buckets,
            "provenance": self.provenance.value,
        }


@dataclass(frozen=True)
class Encoded:
    """Text read by a frozen encoder: its vector, of length `ENCODED_NORM`, and a missing flag.

    The encoder never saw the data, so its vectors cost nothing, and what trains on them is a head
    with few weights: under DP-SGD, noise is added to each weight, and a small sample is enough.
    """

    name: str
    encoder: str = "minilm-l6"

    provenance = Provenance.DECLARED

    def __post_init__(self) -> None:
        if self.encoder not in ENCODERS:
            raise FeatureError("there is no such encoder", pointer=f"/columns/{self.name}/encoder")

    @property
    def width(self) -> int:
        """The encoder's width, and the missing flag."""
        return ENCODERS[self.encoder].width + 1

    def encode(self, cells: Cells) -> npt.NDArray[np.float32]:
        """(n, width): vectors, zero where there is no text, and a missing flag.

        Raises:
            EncoderError: `encoder.missing`, `encoder.differs`.
        """
        from training.encoder import encoder  # noqa: PLC0415  # loads torch: seconds

        vectors = encoder(self.encoder).vectors(self.texts(cells))
        missing = np.array([is_missing(cell) for cell in cells], dtype=np.float32)
        return np.concatenate([ENCODED_NORM * vectors, missing[:, None]], axis=1)

    @staticmethod
    def texts(cells: Cells) -> list[str]:
        """What the encoder reads of cells: nothing where a cell says that there is no value."""
        return ["" if cell is None or is_missing(cell) else cell.strip() for cell in cells]

    def as_dict(self) -> dict[str, object]:
        """Canonical-JSON form; the digests tie the specification to the encoder's very files."""
        packaged = ENCODERS[self.encoder]
        return {
            "name": self.name,
            "kind": "encoded",
            "encoder": self.encoder,
            "weights": packaged.weights,
            "tokenizer": packaged.tokenizer,
            "provenance": self.provenance.value,
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Read `as_dict` back.

        Raises:
            KeyError, ValueError: a field is missing, or the encoder was another one then.
        """
        feature = cls(name=str(stored["name"]), encoder=str(stored["encoder"]))
        if feature.as_dict() != dict(stored):
            raise ValueError
        return feature


Feature = Numeric | Category | Hashed | Encoded


@dataclass(frozen=True)
class Target:
    """What is predicted: a column with two public labels, or one against all others (None)."""

    column: str
    positive: str
    negative: str | None = None

    def __post_init__(self) -> None:
        if not self.positive or self.negative in {"", self.positive}:
            raise FeatureError(
                "a target needs two different labels; name the positive one",
                code="feature.target_labels",
                pointer="/target",
            )

    def encode(self, cells: Cells) -> npt.NDArray[np.float32]:
        """(n,) 1 for the positive label, 0 for the negative one, NaN for everything else.

        A row with another label contributes nothing, which is a rule about that row alone.
        """
        return np.array(_memoized(self._label, cells), dtype=np.float32)

    def _label(self, cell: Cell) -> float:
        text = "" if cell is None else cell.strip()
        if text == self.positive:
            return 1.0
        negative = not is_missing(cell) if self.negative is None else text == self.negative
        return 0.0 if negative else math.nan

    def as_dict(self) -> dict[str, object]:
        """Canonical-JSON form."""
        return {"column": self.column, "positive": self.positive, "negative": self.negative}


@dataclass(frozen=True)
class FeatureSpec:
    """All features in the order of the encoded tensor's columns, and the target."""

    features: tuple[Feature, ...]
    target: Target

    def __post_init__(self) -> None:
        names = [feature.name for feature in self.features]
        if not names:
            raise FeatureError("there is no feature to train on", pointer="/columns")
        if len(set(names)) != len(names):
            raise FeatureError("two features have the same name", pointer="/columns")
        if self.target.column in names:
            raise FeatureError(
                "the target cannot be a feature", code="feature.target_leak", pointer="/target"
            )
        if self.width > LARGEST_WIDTH:
            raise FeatureError(f"the encoded row is wider than {LARGEST_WIDTH}", pointer="/columns")

    @property
    def names(self) -> tuple[str, ...]:
        """Column names, in order."""
        return tuple(feature.name for feature in self.features)

    @property
    def blocks(self) -> tuple[Feature, ...]:
        """What the encoded tensor's columns are made of, in order."""
        return self.features

    @property
    def width(self) -> int:
        """Columns D of the encoded tensor."""
        return sum(feature.width for feature in self.blocks)

    def encode(self, table: Table, *, chunk: int = 65_536) -> npt.NDArray[np.float32]:
        """The whole table as one (n, D) float32 array, written a column and a chunk at a time.

        Raises:
            FeatureError: `feature.column_missing`, `feature.ragged`.
        """
        columns = {name: column_of(table, name) for name in self.names}
        rows = len(columns[self.names[0]])
        if any(len(column) != rows for column in columns.values()):
            raise FeatureError("columns differ in length", code="feature.ragged")
        encoded = np.empty((rows, self.width), dtype=np.float32)
        for start in range(0, rows, chunk):
            left = 0
            known: dict[Feature, npt.NDArray[np.float32]] = {}
            for feature in self.blocks:
                if feature not in known:
                    known[feature] = feature.encode(columns[feature.name][start : start + chunk])
                encoded[start : start + chunk, left : left + feature.width] = known[feature]
                left += feature.width
        return encoded

    def encode_target(self, table: Table) -> npt.NDArray[np.float32]:
        """(n,) labels; NaN where the label is neither of the two declared."""
        return self.target.encode(column_of(table, self.target.column))

    def as_dict(self) -> dict[str, object]:
        """Canonical-JSON form."""
        return {
            "features": [feature.as_dict() for feature in self.features],
            "target": self.target.as_dict(),
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Read `as_dict` back.

        Raises:
            FeatureError: a field is missing, malformed or out of range.
        """
        try:
            return cls(
                features=tuple(_feature(item) for item in stored["features"]),
                target=Target(
                    column=str(stored["target"]["column"]),
                    positive=str(stored["target"]["positive"]),
                    negative=None
                    if (other := stored["target"]["negative"]) is None
                    else str(other),
                ),
            )
        except (KeyError, TypeError, ValueError):
            raise FeatureError("a stored feature specification cannot be read") from None

    def digest(self) -> str:
        """SHA-256 of the canonical JSON."""
        return digest(self.as_dict())


_NUMERIC: Final = {"numeric": Numeric, "binned": Binned, "pixel": Pixel}


def _feature(stored: Mapping[str, Any]) -> Feature:
    match stored["kind"]:
        case "numeric" | "binned" | "pixel":
            return _NUMERIC[stored["kind"]](
                name=str(stored["name"]),
                low=float(stored["low"]),
                high=float(stored["high"]),
                scale=Scale(stored["scale"]),
                provenance=Provenance(stored["provenance"]),
            )
        case "category":
            return Category(
                name=str(stored["name"]),
                values=tuple(str(value) for value in stored["values"]),
                provenance=Provenance(stored["provenance"]),
            )
        case "hashed":
            return Hashed(name=str(stored["name"]), buckets=int(stored["buckets"]))
        case "encoded":
            return Encoded.from_dict(stored)
        case _:
            raise ValueError


def only_text(features: Sequence[Feature]) -> Encoded:
    """The one feature, a text that an encoder reads: what adapters are trained on.

    Raises:
        FeatureError: `feature.one_text`.
    """
    match [*features]:
        case [Encoded() as text]:
            return text
    raise FeatureError(
        "a lora model reads one encoded text and nothing else: ignore the other columns",
        code="feature.one_text",
        pointer="/model",
    )


def is_missing(cell: Cell) -> bool:
    """Whether a cell says that there is no value. A rule about the text alone."""
    return cell is None or cell.strip().lower() in MISSING


def number(cell: Cell) -> float:
    """The finite number that a cell holds, or NaN."""
    if is_missing(cell):
        return math.nan
    try:
        value = float(str(cell))
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def column_of(table: Table, name: str) -> list[Cell]:
    """A column as a list of text cells.

    Raises:
        FeatureError: `feature.column_missing`.
    """
    try:
        column = table[name]
    except Exception:  # noqa: BLE001 - polars raises its own type, whose text lists other columns
        raise FeatureError(
            "a declared column is not in the table",
            code="feature.column_missing",
            pointer=f"/columns/{name}",
        ) from None
    listed = column.to_list() if hasattr(column, "to_list") else list(column)
    return [cell if cell is None or isinstance(cell, str) else str(cell) for cell in listed]


def _memoized(read: Callable[[Cell], Any], cells: Cells) -> list[Any]:
    """`read` of each cell, asked once for each distinct cell; nothing is kept afterwards."""
    remembered = functools.lru_cache(maxsize=None)(read)
    return [remembered(cell) for cell in cells]


def _indicators(chosen: Iterable[int], width: int) -> npt.NDArray[np.float32]:
    """(n, width) with a one at each chosen place; -1 chooses none."""
    places = np.fromiter(chosen, dtype=np.intp)
    encoded = np.zeros((len(places), width), dtype=np.float32)
    hit = np.flatnonzero(places >= 0)
    encoded[hit, places[hit]] = 1.0
    return encoded
