"""Counts and intervals, beside published values and beside SciPy."""

import math

import pytest
from scipy import stats

from governance.measurement.labels import Label, LabeledRow, Shape
from governance.measurement.scoring import Count, Scorer, Scores, Share, leak_bound, summed
from governance.recognition.spans import Span


def row(text: str, *spans: Label, header: str = "", shape: Shape = Shape.PROSE) -> LabeledRow:
    return LabeledRow(text, "zh", shape, header, spans)


def span(start: int, end: int, entity: str) -> Span:
    return Span(start, end, entity, 0.9)


@pytest.mark.parametrize(
    ("reported", "expected"),
    [
        # labeled, found, hidden, reported, right
        ([span(2, 5, "PERSON")], (1, 1, 1, 1, 1)),
        ([span(2, 4, "PERSON")], (1, 1, 0, 1, 1)),  # most of it, so found, but not all hidden
        ([span(2, 3, "PERSON")], (1, 0, 0, 1, 1)),
        ([span(2, 5, "LOCATION")], (1, 0, 1, 0, 0)),  # hidden under another name
        ([span(2, 3, "PERSON"), span(3, 5, "LOCATION")], (1, 0, 1, 1, 1)),
        ([span(0, 2, "PERSON")], (1, 0, 0, 1, 0)),
        ([], (1, 0, 0, 0, 0)),
    ],
)
def test_what_counts(reported: list[Span], expected: tuple[int, ...]) -> None:
    scorer = Scorer()
    scorer.add(row("患者王小明来访", Label(2, 5, "PERSON")), reported)
    (count,) = [c for c in scorer.counts() if c.entity == "PERSON"]
    assert (count.labeled, count.found, count.hidden, count.reported, count.right) == expected


def test_separators_need_no_hiding() -> None:
    scorer = Scorer()
    text = "138-0013-8000"
    scorer.add(
        row(text, Label(0, 13, "CN_MOBILE")),
        [span(0, 3, "CN_MOBILE"), span(4, 8, "CN_MOBILE"), span(9, 13, "CN_MOBILE")],
    )
    assert scorer.counts()[0].hidden == 1


def test_kin_counts_for_either() -> None:
    scorer = Scorer()
    scorer.add(row("6200000000000005", Label(0, 16, "CN_BANK_CARD")), [span(0, 16, "CREDIT_CARD")])
    bank, credit = scorer.counts()
    assert (bank.found, bank.hidden, credit.reported, credit.right) == (1, 1, 1, 1)


def test_cells_without_a_telling_header_are_counted_apart() -> None:
    scorer = Scorer()
    for header in ("手机号", "col_7"):
        scorer.add(
            row("13800138000", Label(0, 11, "CN_MOBILE"), header=header, shape=Shape.STRUCTURED), []
        )
    scorer.add(row("13800138000", Label(0, 11, "CN_MOBILE")), [])
    assert [count.shape for count in scorer.counts()] == ["prose", "structured", "unheaded"]
    (whole,) = summed(scorer.counts())
    assert (whole.labeled, whole.language, whole.entity) == (3, "*", "*")


@pytest.mark.parametrize(("hits", "total"), [(0, 10), (10, 10), (81, 263), (997, 1000)])
def test_wilsons_interval(hits: int, total: int) -> None:
    ours = Share.of(hits, total)
    theirs = stats.binomtest(hits, total).proportion_ci(0.95, method="wilson")
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_nothing_counted_is_nothing_known() -> None:
    assert Share.of(0, 0) == Share(None, 0.0, 1.0)
    scores = Scores.of(Count("zh", "prose", "PERSON"))
    assert (scores.precision.value, scores.recall.value, scores.f2, scores.leak) == (
        None, None, None, 1.0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("misses", "total"), [(0, 1), (0, 20), (0, 3000), (1, 10), (37, 4000), (10, 10), (0, 0)]
)
def test_the_leak_is_clopper_and_pearsons_bound(misses: int, total: int) -> None:
    expected = 1.0 if misses == total else float(stats.beta.ppf(0.95, misses + 1, total - misses))
    assert leak_bound(misses, total) == pytest.approx(expected, abs=1e-9)
    if total and not misses:
        assert leak_bound(0, total) == pytest.approx(1 - 0.05 ** (1 / total))
        assert leak_bound(0, total) <= 3 / total + math.ulp(1)


def test_f2_prefers_recall() -> None:
    count = Count("zh", "prose", "PERSON", labeled=100, found=90, hidden=88, reported=180, right=90)
    scores = Scores.of(count)
    assert scores.f2 == pytest.approx(5 * 0.5 * 0.9 / (4 * 0.5 + 0.9))
    shown = scores.as_dict()
    assert (shown["precision"], shown["recall"], shown["every_character_hidden"]) == (
        0.5,
        0.9,
        0.88,
    )
    assert Count.from_dict(count.as_dict()) == count
