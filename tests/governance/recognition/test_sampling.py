"""The sample's estimate, and the watch that looks at every cell."""

import random

import pytest

from governance.recognition.folding import fold
from governance.recognition.plan import Kind
from governance.recognition.profile import Profiler
from governance.recognition.sampling import LONGEST, UNPROVEN, Sample, Watch
from governance.recognition.sweep import raw_spans
from governance.recognition.tenant_rules import RuleBook, compiled

ID = "11010518991231004X"
NOTE = f"客户补充材料：证件号{ID}已核对，请归档处理谢谢"


@pytest.mark.parametrize("place", [0, 5_000, 9_999])
def test_one_proven_identifier_beside_text_makes_a_column_prose(place: int) -> None:
    rng = random.Random(1)
    cells = [f"批次{rng.randrange(10**6)}" for _ in range(10_000)]
    assert _kind("remark", cells) is Kind.FREE
    cells[place] = NOTE
    assert _kind("remark", cells) is Kind.PROSE


def test_so_it_does_among_few_categories() -> None:
    cells = ["已批准", "已拒绝", "待补件"] * 1_000
    assert _kind("status", cells) is Kind.FREE
    assert _kind("status", [*cells, NOTE]) is Kind.PROSE


def test_an_identifier_that_is_the_whole_cell_does_not() -> None:
    """The sweep takes it out wherever it stands; nothing around it has to be read."""
    assert _kind("sku", [*(f"item {i}" for i in range(5_000)), ID]) is Kind.FREE


def _kind(name: str, cells: list[str]) -> Kind:
    profiler = Profiler([name], key=b"k")
    for start in range(0, len(cells), 2_000):
        profiler.add({name: cells[start : start + 2_000]})
    (column,) = profiler.plan().columns
    assert (column.evidence.beside > 0) == (column.kind is Kind.PROSE)
    return column.kind


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        (NOTE, True),
        (f"ref 77/{ID} in the file of the branch office", True),
        ("证件号１１０１０５１８９９１２３１００４Ｘ已核对，请归档处理谢谢", True),
        ("a number 110105\u200b18991231004X hidden in a longer remark", True),
        ("wrong digit 110105189912310041 in a remark that is longer", False),
        (ID, False),
        ("write to somebody@example.com about the matter", True),
        ("somebody@example.com", False),
        ("card 4000000000000002 was charged twice by mistake", True),
        ("order 4000000000000003 was sent twice by mistake", False),
        ("call 13800138000 before noon, or come by tomorrow", False),  # nothing proves it
        ("", False),
    ],
)
def test_what_the_watch_sees(text: str, seen: bool) -> None:  # noqa: FBT001 - a table's column
    watch = Watch()
    watch.look({text: 3})
    assert watch.beside == (3 if seen else 0)


def test_the_tenants_own_patterns_prove_and_no_term_passes_what_is_proven() -> None:
    own = {"entity": "LOYALTY_NO", "pattern": r"9\d{15}", "check": "luhn"}
    text = {"member 9000000000000001 asked for a new card today": 1}
    for book, seen in (
        ({"patterns": [own]}, 1),
        ({"patterns": [own], "allow": [{"text": "9000000000000001"}]}, 1),
        ({}, 0),
    ):
        watch = Watch(compiled(RuleBook.from_dict(book), "rules-1"))
        watch.look(text)
        assert watch.beside == seen


def test_what_is_left_out_of_the_watch_is_never_proven() -> None:
    text = (
        "张三 京A·D00000 13800138000 010-60000000 QQ 10000 微信 wxid_test00001 10.1.2.3"
        " ssn 219-09-9999 https://example.com 北京市朝阳区示例路88号"
        " 1 Main St, Springfield, IL 62704 born 1990-01-02"
        " passport 912345678 account 12345678901 itin 912-70-1234 license D1234567"
        " 123e4567-e89b-12d3-a456-426614174000"
    )
    spans = raw_spans([fold(text)], entities=UNPROVEN)[0]
    assert len({span.entity for span in spans}) >= 12
    assert not any(span.checked for span in spans)


def test_lists_are_looked_at_leaf_by_leaf() -> None:
    sample = Sample("orders[].phone", b"k")
    sample.add(['["13800138000","13900139000"]', '["13800138000",null,{}]', "[]", None])
    assert sample.values() == ["13800138000", "13900139000"]
    assert (sample.rows, sample.empty, sample.leaves) == (4, 1, 3)
    plain = Sample("orders", b"k")
    plain.add(['["13800138000"]'])
    assert plain.values() == ['["13800138000"]']
    assert plain.leaves is None


def test_a_long_cell_is_kept_short_and_watched_whole() -> None:
    sample = Sample("note", b"k")
    sample.add([f"{'字' * 1_000_000}，{ID}"])
    assert [len(value) for value in sample.values()] == [LONGEST]
    assert sample.beside == 1


def test_the_estimate_of_distinct_values_is_near() -> None:
    rng = random.Random(1)
    cells = [str(rng.randrange(20_000)) for _ in range(60_000)]
    sample = Sample("n", b"k")
    sample.add(cells)
    assert 0.7 < sample.distinct() / len(set(cells)) < 1.3
