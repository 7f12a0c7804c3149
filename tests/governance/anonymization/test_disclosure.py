"""k, l and t against their definitions, and the search against all that could be tried."""

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from governance.anonymization import disclosure
from governance.anonymization.disclosure import Measures, Table, Thresholds, count, search
from governance.anonymization.hierarchies import Ladder
from governance.errors import InvalidError, RefusedError

Row = tuple[str, ...]


def table_of(
    rows: Sequence[Row], quasi: int, sensitive: int = 1, *, frames: int = 1
) -> tuple[Table, list[str], list[str]]:
    names = [f"q{i}" for i in range(quasi)]
    hidden = [f"s{i}" for i in range(sensitive)]
    frame = pl.DataFrame(rows, schema=dict.fromkeys([*names, *hidden], pl.String), orient="row")
    size = max(1, math.ceil(frame.height / frames))
    return Table(count(frame.iter_slices(size), names, hidden), {}), names, hidden


# The definitions, row by row: slow, and nothing of the code under test.


def by_definition(rows: Sequence[Row], quasi: int, order: Sequence[Sequence[str]]) -> Measures:
    classes: dict[Row, list[Row]] = {}
    for row in rows:
        classes.setdefault(row[:quasi], []).append(row[quasi:])
    if not rows:
        return Measures(0, 0, 0, None, None, None)
    different = min(len({r[s] for r in c}) for c in classes.values() for s in range(len(order)))
    entropy = min(
        math.exp(-sum(n / len(c) * math.log(n / len(c)) for n in Counter(r[s] for r in c).values()))
        for c in classes.values()
        for s in range(len(order))
    )
    t = max(
        distance([r[s] for r in c], [r[quasi + s] for r in rows], order[s])
        for c in classes.values()
        for s in range(len(order))
    )
    return Measures(len(rows), len(classes), min(map(len, classes.values())), different, entropy, t)


def distance(some: Sequence[str], every: Sequence[str], order: Sequence[str]) -> float:
    gaps = [some.count(v) / len(some) - every.count(v) / len(every) for v in order]
    if len(order) > 1 and all(v.lstrip("-").isdecimal() for v in order):
        return sum(abs(sum(gaps[: i + 1])) for i in range(len(order))) / (len(order) - 1)
    return sum(map(abs, gaps)) / 2


def enforced(
    rows: Sequence[Row], quasi: int, order: Sequence[Sequence[str]], wanted: Thresholds
) -> list[Row]:
    """Leave out classes that miss, until none does."""
    left = list(rows)
    while left:
        bad = {
            key
            for key in {row[:quasi] for row in left}
            if _misses([r for r in left if r[:quasi] == key], left, quasi, order, wanted)
        }
        if not bad:
            return left
        left = [row for row in left if row[:quasi] not in bad]
    return left


def _misses(
    some: Sequence[Row],
    every: Sequence[Row],
    quasi: int,
    order: Sequence[Sequence[str]],
    wanted: Thresholds,
) -> bool:
    return len(some) < wanted.k or any(
        len({r[quasi + s] for r in some}) < wanted.l
        or distance([r[quasi + s] for r in some], [r[quasi + s] for r in every], order[s])
        > float(wanted.t) + 1e-9
        for s in range(len(order))
    )


def generalized(rows: Sequence[Row], ladders: Sequence[Ladder], levels: Sequence[int]) -> list[Row]:
    return [
        tuple(
            ladders[i].rungs[levels[i]].of[cell] if i < len(ladders) else cell
            for i, cell in enumerate(row)
        )
        for row in rows
    ]


def exhaustive(
    rows: Sequence[Row], table: Table, order: Sequence[Sequence[str]], wanted: Thresholds
) -> tuple[Fraction, int] | None:
    """Cost and rows left out of the best of all generalizations."""
    found = []
    for levels in itertools.product(*(range(height + 1) for height in table.top)):
        left = enforced(generalized(rows, table.ladders, levels), len(table.top), order, wanted)
        if left and len(rows) - len(left) <= Fraction(len(rows), 10):
            cost = sum(
                (Fraction(n, built.height) for n, built in zip(levels, table.ladders, strict=True)),
                Fraction(0),
            )
            found.append((cost, len(rows) - len(left)))
    return min(found, default=None)


def orders(rows: Sequence[Row], quasi: int, sensitive: int) -> list[list[str]]:
    out = []
    for s in range(sensitive):
        values = sorted({row[quasi + s] for row in rows})
        if all(v.lstrip("-").isdecimal() for v in values):
            values.sort(key=int)
        out.append(values)
    return out


def close(one: Measures, other: Measures) -> bool:
    return (
        (one.rows, one.classes, one.k, one.l) == (other.rows, other.classes, other.k, other.l)
        and (one.t is None or other.t is None or abs(one.t - other.t) < 1e-9)
        and (
            one.entropy_l is None
            or other.entropy_l is None
            or abs(one.entropy_l - other.entropy_l) < 1e-9
        )
    )


def test_the_check_vector() -> None:
    """COMPLIANCE §4: [A, B, A], [A, A]."""
    table, *_ = table_of([("1", "A"), ("1", "B"), ("1", "A"), ("2", "A"), ("2", "A")], 1)
    measured = table.measure((0,))
    assert (measured.k, measured.l, measured.classes, measured.rows) == (2, 1, 2, 5)
    assert measured.t == pytest.approx(0.2)
    assert measured.entropy_l == pytest.approx(1.0)


def test_the_ordered_distance_of_li() -> None:
    """Li et al., section 4: incomes 3k-11k; {3,4,5} is 0.375 away, {6,8,11} 0.167."""
    every = [f"{n}000" for n in range(3, 12)]
    rows = [("low", v) for v in ("3000", "4000", "5000")]
    rows += [("mid", v) for v in ("6000", "8000", "11000")]
    rows += [("rest", v) for v in every if v not in {r[1] for r in rows}]
    table, *_ = table_of(rows, 1)
    figures = table._figures(table._classes((0,)), pl.Series([True] * len(rows)).to_numpy())
    distances = sorted(round(float(d), 3) for d in figures.sensitive[0][2])
    assert distances[-1] == 0.375
    assert 0.167 in distances


CELLS = st.sampled_from(["", "1", "2", "7", "12", "30", "41", "99"])
WORDS = st.sampled_from(["a", "b", "c", "d"])
TABLES = st.lists(
    st.tuples(CELLS, WORDS, st.sampled_from(["x", "y", "z"]), st.sampled_from(["1", "2", "10"])),
    min_size=1,
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(rows=TABLES, frames=st.integers(1, 5))
def test_measures_are_the_definitions(rows: list[Row], frames: int) -> None:
    table, *_ = table_of(rows, 2, 2, frames=frames)
    order = orders(rows, 2, 2)
    for levels in itertools.product(*(range(height + 1) for height in table.top)):
        expected = by_definition(generalized(rows, table.ladders, levels), 2, order)
        assert close(table.measure(levels), expected)


@settings(max_examples=60, deadline=None)
@given(
    rows=TABLES,
    k=st.integers(1, 6),
    l=st.integers(1, 2),
    t=st.sampled_from(["0.2", "0.3", "0.5", "1"]),
)
def test_the_search_finds_what_trying_everything_finds(
    rows: list[Row],
    k: int,
    l: int,  # noqa: E741 - the paper's name
    t: str,
) -> None:
    table, *_ = table_of(rows, 2, 2)
    wanted = Thresholds(k, l, Decimal(t))
    order = orders(rows, 2, 2)
    best = exhaustive(rows, table, order, wanted)
    found = search(table, wanted)
    if best is None:
        assert found is None
        return
    assert found is not None
    assert (table.cost(found.levels), found.suppressed) == best
    left = enforced(generalized(rows, table.ladders, found.levels), 2, order, wanted)
    assert close(found.measures, by_definition(left, 2, order))
    assert found.measures.misses(wanted) == ()


@pytest.mark.parametrize(
    ("rows", "wanted", "codes"),
    [
        ([("1", "a")] * 4, Thresholds(5, 1), ("release.k_missed",)),
        ([("1", "a")] * 20, Thresholds(5, 2), ("release.l_missed",)),
        (
            [("1", "a")] * 5 + [("2", "b")] * 5,
            Thresholds(11, 2),
            ("release.k_missed", "release.l_missed", "release.t_missed"),
        ),
    ],
)
def test_what_cannot_be_met_is_none_and_says_what_it_misses(
    rows: list[Row], wanted: Thresholds, codes: tuple[str, ...]
) -> None:
    table, *_ = table_of(rows, 1)
    assert search(table, wanted) is None
    assert table.measure((0,)).misses(wanted) == codes


def test_without_a_sensitive_column_only_k_counts() -> None:
    table, *_ = table_of([("1",), ("1",), ("2",)] * 4, 1, 0)
    found = search(table, Thresholds(4))
    assert found is not None
    assert found.levels == (0,)
    assert found.measures == Measures(12, 2, 4, None, None, None)


def test_nothing_to_release() -> None:
    table, *_ = table_of([], 1)
    assert search(table, Thresholds(5)) is None
    assert Table(count([], ["q"], []), {}).rows == 0


def test_a_tenth_may_be_left_out_and_no_more() -> None:
    wanted = Thresholds(5, 1, Decimal(1))
    for odd, levels in ((5, (0,)), (6, None)):
        rows = [("a", "x")] * (50 - odd) + [(f"z{n}", "x") for n in range(odd)]
        found = search(table_of(rows, 1)[0], wanted)
        assert found is not None
        assert (found.levels == (0,)) is (levels == (0,))
        assert found.suppressed == (odd if levels else 0)


def test_a_lattice_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disclosure, "MOST_NODES", 3)
    table, *_ = table_of([(str(n % 50), "abc"[n % 3], "x") for n in range(200)], 2)
    with pytest.raises(InvalidError) as caught:
        search(table, Thresholds(1, 1))
    assert caught.value.stable_code == "release.too_many_columns"


def test_too_many_combinations_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disclosure, "MOST_COMBINATIONS", 50)
    with pytest.raises(RefusedError) as caught:
        table_of([(str(n), "x") for n in range(60)], 1)
    assert caught.value.stable_code == "release.too_many_combinations"


def test_numbers_of_many_values_are_ranked_in_bins() -> None:
    """Against the exact distance: off by less than 1/256."""
    rows = [("ab"[n % 2 == 0 or n > 1500], str(n)) for n in range(2000)]
    table, *_ = table_of(rows, 1)
    exact = by_definition(rows, 1, [[str(n) for n in range(2000)]]).t
    measured = table.measure((0,)).t
    assert exact is not None
    assert measured is not None
    assert abs(exact - measured) < 1 / 256


def test_the_pass_adds_up_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(str(n % 7), "xyz"[n % 3]) for n in range(300)]
    whole = table_of(rows, 1)[0].measure((0,))
    monkeypatch.setattr(disclosure, "_PENDING", 10)
    assert table_of(rows, 1, frames=30)[0].measure((0,)) == whole
