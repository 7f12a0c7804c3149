"""The sketch of a table: what it counts, that it merges, and that no value is in it."""

import itertools
import json
import random
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from governance.errors import InvalidError
from governance.quality.columns import ColumnSketch, detail_for
from governance.quality.kinds import KINDS, CellKind
from governance.quality.sketches import ROWS_DRAWN, TableSketch

KEY = b"k" * 32
CELL = st.none() | st.sampled_from(
    ["", " ", "a", "b", "北京", "1", "2.5", "-3", "2024-03-05", "true", "N/A", "nan", "x" * 70]
)
ROWS = st.lists(st.tuples(CELL, CELL), max_size=30)


def sketch_of(rows: Sequence[tuple[str | None, str | None]]) -> TableSketch:
    sketch = TableSketch(["one", "other"], key=KEY)
    sketch.add({"one": [row[0] for row in rows], "other": [row[1] for row in rows]})
    return sketch


def column(cells: Sequence[str | None], columns: int = 1) -> ColumnSketch:
    names = [str(i) for i in range(columns)]
    sketch = TableSketch(names, key=KEY)
    sketch.add(dict.fromkeys(names, cells))
    return sketch.column("0")


@settings(max_examples=25, deadline=None)
@given(ROWS, ROWS, ROWS)
def test_a_merge_is_the_sketch_of_all(a: list, b: list, c: list) -> None:  # type: ignore[type-arg]
    whole = sketch_of(a + b + c).as_dict()
    parts = [sketch_of(part).as_dict() for part in (a, b, c)]
    for order in itertools.permutations(parts):
        merged = TableSketch(["one", "other"], key=KEY)
        for part in order:
            merged.merge(TableSketch.from_dict(part, key=KEY))
        assert merged.as_dict() == whole


def test_what_is_counted() -> None:
    found = column(["1", "2.5", "x", "true", "2024年3月5日", "", "  ", None, "?", "NA", " 1 "])
    assert (found.rows, found.missing, found.stand_ins, found.present) == (11, 3, 2, 6)
    by_kind = dict(zip(KINDS, found.kinds.tolist(), strict=True))
    assert by_kind == {
        CellKind.INTEGER: 2,
        CellKind.REAL: 1,
        CellKind.DATE: 1,
        CellKind.BOOLEAN: 1,
        CellKind.TEXT: 1,
    }
    assert found.numeric() == 3
    assert found.distinct() == 7  # "1" and " 1 " are one
    assert found.numbers.total == 3
    assert found.lengths.sum() == 8


def test_chunks_of_any_size_give_one_sketch() -> None:
    generator = random.Random(5)
    rows = [(str(generator.randrange(50)), str(generator.random())) for _ in range(900)]
    whole = sketch_of(rows).as_dict()
    pieces = TableSketch(["one", "other"], key=KEY)
    while rows:
        size = generator.randrange(1, 90)
        pieces.add({"one": [r[0] for r in rows[:size]], "other": [r[1] for r in rows[:size]]})
        rows = rows[size:]
    assert pieces.rows == 900
    assert pieces.as_dict() == whole


@pytest.mark.parametrize("share", [0.0, 0.005, 0.1])
def test_duplicates(share: float) -> None:
    distinct = 20_000
    repeats = round(distinct * share / (1 - share))
    rows = [(str(i), "x") for i in range(distinct)] + [(str(i), "x") for i in range(repeats)]
    off = 4 * (max(share, 1 / ROWS_DRAWN) / ROWS_DRAWN) ** 0.5
    assert abs(sketch_of(rows).duplicates() - share) <= off


def test_few_duplicates_are_exact() -> None:
    assert sketch_of([("a", "b")] * 3 + [("a", "c")]).duplicates() == 0.5
    assert sketch_of([]).duplicates() == 0.0


def test_a_cell_in_another_column_is_another_row() -> None:
    assert sketch_of([("a", "b"), ("b", "a")]).duplicates() == 0.0
    assert sketch_of([("", "a"), (None, "a")]).duplicates() == 0.5  # missing is missing


def test_distinct_is_near() -> None:
    detail = detail_for(1)
    found = column([f"value {i}" for i in range(30_000)])
    assert abs(found.distinct() / 30_000 - 1) < 4 / (detail.drawn - 2) ** 0.5


def test_frequencies_are_low_by_at_most_slack() -> None:
    generator = np.random.default_rng(3)
    cells = [str(v) for v in generator.zipf(1.3, 40_000)]
    merged = TableSketch(["0"], key=KEY)
    for start in range(0, len(cells), 5_000):
        part = TableSketch(["0"], key=KEY)
        part.add({"0": cells[start : start + 5_000]})
        merged.merge(part)
    found = merged.column("0")
    assert not found.counts_all
    assert found.slack <= len(cells) / (found.detail.hitters + 1)
    often = Counter(cells)
    values = sorted(often)
    for value, hashed in zip(values, merged.hashes("0", values), strict=True):
        exact = often[value]
        assert exact - found.slack <= found.hitters.get(hashed, 0) <= exact


def test_no_value_is_in_it() -> None:
    cells: list[str | None] = ["王小明", "13800138000", "622700001234567", "secret@example.org"]
    told = json.dumps(sketch_of([(cell, cell) for cell in cells]).as_dict(), ensure_ascii=False)
    assert not [cell for cell in cells if cell and cell in told]


def test_another_key_gives_other_hashes() -> None:
    one = sketch_of([("a", "b")])
    other = TableSketch(["one", "other"], key=b"q" * 32)
    other.add({"one": ["a"], "other": ["b"]})
    assert one.hashes("one", ["a"]) != other.hashes("one", ["a"])
    assert one.hashes("one", ["a"]) != one.hashes("other", ["a"])
    with pytest.raises(InvalidError, match="different tables"):
        one.merge(other)
    with pytest.raises(InvalidError, match="another key"):
        TableSketch.from_dict(one.as_dict(), key=b"q" * 32)


def test_a_chunk_lacks_a_column() -> None:
    with pytest.raises(InvalidError) as caught:
        TableSketch(["a", "b"], key=KEY).add({"a": []})
    assert caught.value.stable_code == "quality.column_missing"


@pytest.mark.parametrize(
    ("columns", "rows", "most"),
    [(1, 5_000, 80_000), (65, 500, 65 * 4_000), (600, 200, 600 * 1_200)],
)
def test_its_size_is_bounded(columns: int, rows: int, most: int) -> None:
    cells = [f"{v:.6f}" for v in np.random.default_rng(1).normal(0, 1e3, rows)]
    sketch = TableSketch([str(i) for i in range(columns)], key=KEY)
    sketch.add({str(i): cells for i in range(columns)})
    assert len(json.dumps(sketch.as_dict(), separators=(",", ":"))) < most + 70_000


def test_a_long_cell() -> None:
    found = column(["汉" * 3_000_000, "a"])
    assert found.distinct() == 2
    assert int(np.flatnonzero(found.lengths).max()) == 21  # 2^21 characters and more
