"""The rows of a version held against a contract, chunk by chunk: what the sketch cannot answer.

Every chunk goes through a pandera schema made of the contract; what fails is counted and let go.
Memory does not grow with the version: uniqueness is settled in several passes over the keyed
hashes, each of which keeps one part of them.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from governance.quality.contract import ColumnTerms, Contract, whole
from governance.quality.hashing import Hashes, subkey, text_hashes
from governance.quality.judging import Check, Failures, row_checks
from governance.quality.kinds import STAND_INS
from governance.quality.sketches import TableSketch

if TYPE_CHECKING:
    from pandera.polars import DataFrameSchema

HELD: Final = 4_000_000  # hashes held at a time: 32 MB

Frames = Callable[[], Iterable[pl.DataFrame]]


def sketched(frames: Iterable[pl.DataFrame], names: list[str], key: bytes) -> TableSketch:
    """The sketch of frames that were sealed without one."""
    sketch = TableSketch(names, key=key)
    for frame in frames:
        sketch.add({name: frame[name] for name in names})
    return sketch


def count_failures(frames: Frames, contract: Contract, *, key: bytes, rows: int) -> Failures:
    """Count the cells that fail each cell-by-cell check.

    Args:
        frames: reads the version from the start, each time it is called.
        contract: the terms.
        key: the dataset's.
        rows: how many rows there are.
    """
    terms = {name: said for name, said in contract.columns.items() if list(row_checks(said))}
    found: Failures = {
        (name, check): 0 for name, said in terms.items() for check in row_checks(said)
    }
    if not terms:
        return found
    schema = _schema(terms)
    for frame in frames():
        there = {name: said for name, said in terms.items() if name in frame.columns}
        read = pl.DataFrame(
            [_values(frame[name], said).alias(name) for name, said in there.items()]
        )
        for name, check, count in _failures(schema, read):
            found[name, check] += count
    for name, said in terms.items():
        if said.unique:
            found[name, Check.UNIQUE] = _repeated(frames, name, said, key, rows)
    return found


def _values(cells: pl.Series, terms: ColumnTerms) -> pl.Series:
    """Cells as their check reads them: stripped, missing ones null, numbers as numbers."""
    text = cells.cast(pl.String).str.strip_chars()
    lower = text.str.to_lowercase()
    listed = [value.lower() for value in terms.categories or ()]
    stands = lower.is_in([word for word in STAND_INS if word not in listed])
    read = text.set((text == "") | stands, None)
    if not terms.numeric:
        return read
    numbers = read.cast(pl.Float64, strict=False)  # what is no number is counted as type drift
    return numbers.set(~numbers.is_finite(), None)


def _schema(terms: dict[str, ColumnTerms]) -> "DataFrameSchema":
    import pandera.polars as pa  # noqa: PLC0415 - two seconds that only a check pays

    def checks(said: ColumnTerms) -> Iterator[Any]:
        if said.min is not None:
            yield pa.Check.ge(said.min, error=Check.MIN.value)
        if said.max is not None:
            yield pa.Check.le(said.max, error=Check.MAX.value)
        if said.categories is not None:
            yield pa.Check.isin(said.categories, error=Check.CATEGORIES.value)
        if said.pattern is not None:
            yield pa.Check.str_matches(whole(said.pattern), error=Check.PATTERN.value)

    return pa.DataFrameSchema(
        {
            name: pa.Column(
                pl.Float64 if said.numeric else pl.String,
                list(checks(said)),
                nullable=True,
                required=False,
            )
            for name, said in terms.items()
        }
    )


def _failures(schema: "DataFrameSchema", frame: pl.DataFrame) -> Iterator[tuple[str, Check, int]]:
    from pandera.errors import SchemaErrors  # noqa: PLC0415 - as above

    try:
        schema.validate(frame, lazy=True)
    except SchemaErrors as error:
        cases = error.failure_cases.group_by("column", "check").len()
    else:
        return
    for column, check, count in cases.iter_rows():
        yield column, Check(check), count


def _repeated(frames: Frames, name: str, terms: ColumnTerms, key: bytes, rows: int) -> int:
    """Cells that repeat an earlier one; a pass for every `HELD` rows."""
    passes = max(1, -(-rows // HELD))
    secret = subkey(key, "unique")
    repeated = 0
    for part in range(passes):
        kept: list[Hashes] = []
        for frame in frames():
            if name not in frame.columns:
                return 0
            values = _values(frame[name], terms).cast(pl.String).drop_nulls()
            hashes = text_hashes(values, secret)
            kept.append(hashes[hashes % np.uint64(passes) == part])
        together = np.concatenate(kept) if kept else np.empty(0, np.uint64)
        repeated += len(together) - len(np.unique(together))
    return repeated
