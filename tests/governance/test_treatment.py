"""What columns become: lists by their leaves, instances, subjects, and a tenant's own rules."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from governance.anonymization.operators import DateShift, OperatorKeys, Pseudonym
from governance.anonymization.release import rescan, transform_chunk
from governance.recognition.plan import ColumnPlan, Declared, Evidence, Kind, PlannedColumn
from governance.recognition.tenant_rules import OwnPattern, RuleBook, Term, compiled
from governance.suites import DEFAULT_SUITE

KEYS = OperatorKeys("tenant-a", DEFAULT_SUITE, bytes(range(32)), bytes(range(64)))
PSEUDONYM = {"operator": "pseudonym"}
REPLACE = {"operator": "replace"}
KEEP = {"operator": "keep"}


def column(
    name: str,
    kind: Kind,
    entity: str | None = None,
    operator: Mapping[str, str | int] = KEEP,
    declared: Declared | None = None,
) -> PlannedColumn:
    return PlannedColumn(name, kind, entity, operator, Evidence(), declared)


def treat(
    table: Mapping[str, Sequence[str | None]], *columns: PlannedColumn
) -> dict[str, list[str | None]]:
    out, _ = transform_chunk(table, ColumnPlan(columns, "detector-0"), KEYS)
    return {name: list(cells) for name, cells in out.items()}


def pseudonym(name: str) -> str:
    return Pseudonym(KEYS).apply(name, "PERSON")


def test_the_leaves_of_a_list_are_treated_and_its_shape_stays() -> None:
    cells = ['["13800138000",{},["199-0000-0000",null]]', "[]", None, "13800138000"]
    table: dict[str, Sequence[str | None]] = {
        "phones[]": cells,
        "codes[]": ['["ok","see 13800138000 now"]', '[["13800138000"],7]', "null", '["x"]'],
    }
    plan = ColumnPlan(
        (
            column("phones[]", Kind.TYPED, "CN_MOBILE", PSEUDONYM),
            column("codes[]", Kind.FREE),
        ),
        "detector-0",
    )
    out, counts = transform_chunk(table, plan, KEYS)
    mine = Pseudonym(KEYS).apply("13800138000", "CN_MOBILE")
    other = Pseudonym(KEYS).apply("19900000000", "CN_MOBILE")
    assert out["phones[]"] == [f'["{mine}",{{}},["{other}",null]]', "[]", None, mine]
    assert out["codes[]"] == ['["ok","see <CN_MOBILE> now"]', '[[""],7]', "null", '["x"]']
    assert counts == {"phones[]": {"CN_MOBILE": 3}, "codes[]": {"CN_MOBILE": 2}}
    assert rescan(out, plan) == {}
    assert rescan(table, plan) == {"phones[]": {"CN_MOBILE": 3}, "codes[]": {"CN_MOBILE": 2}}


def test_an_escaped_identifier_in_a_list_is_found() -> None:
    plan = ColumnPlan((column("tags[]", Kind.FREE),), "detector-0")
    cell = '["\\u0031\\u00338\\u002d0013-8000"]'
    assert json.loads(cell) == ["138-0013-8000"]
    assert rescan({"tags[]": [cell]}, plan) == {"tags[]": {"CN_MOBILE": 1}}


@pytest.mark.parametrize(
    ("name", "note", "parts"),
    [
        ("Maria Lopez-Ortiz", "Mr Kane saw Maria again; Ms. Lopez-Ortiz agreed.", ["Maria"]),
        ("欧阳静怡", "客户欧阳静怡来电，静怡表示同意。", ["欧阳静怡", "静怡"]),
        ("张伟", "今天张先生来电咨询贷款", ["张"]),
    ],
)
def test_a_part_of_the_rows_name_is_the_same_person(name: str, note: str, parts: list[str]) -> None:
    out = treat(
        {"name": [name], "note": [note]},
        column("name", Kind.TYPED, "PERSON", PSEUDONYM),
        column("note", Kind.PROSE, None, PSEUDONYM),
    )
    assert out["name"] == [pseudonym(name)]
    treated = out["note"][0] or ""
    assert treated.count(pseudonym(name)) >= len(parts)
    for part in parts:
        assert part not in treated


def test_two_people_of_one_surname_are_not_made_one() -> None:
    out = treat(
        {"name": ["Anna Kane"], "spouse": ["Paul Kane"], "note": ["Mr Kane called about it."]},
        column("name", Kind.TYPED, "PERSON", PSEUDONYM),
        column("spouse", Kind.TYPED, "PERSON", PSEUDONYM),
        column("note", Kind.PROSE, None, PSEUDONYM),
    )
    note = out["note"][0] or ""
    assert "Kane" not in note
    assert pseudonym("Anna Kane") not in note
    assert pseudonym("Paul Kane") not in note


def test_dates_of_a_subject_move_together_in_cells_lists_and_notes() -> None:
    shift = {"operator": "date_shift"}
    table: dict[str, Sequence[str | None]] = {
        "patient": ["P1", "P2"],
        "admitted": ["2024-03-01", "2024-03-01"],
        "visits[]": ['["2024-03-11"]', "[]"],
    }
    out = treat(
        table,
        column("patient", Kind.TYPED, "SUBJECT_ID", PSEUDONYM, Declared.SUBJECT),
        column("admitted", Kind.TYPED, "DATE_OF_BIRTH", shift),
        column("visits[]", Kind.TYPED, "DATE_OF_BIRTH", shift),
    )
    operator = DateShift(KEYS)
    expected = operator.apply_rows(
        ["2024-03-01", "2024-03-01", "2024-03-11"], ["P1", "P2", "P1"], "DATE_OF_BIRTH"
    )
    assert out["admitted"] == expected[:2]
    assert out["visits[]"] == [f'["{expected[2]}"]', "[]"]


def test_values_are_brought_to_one_form_before_their_operator() -> None:
    planned = replace(column("day", Kind.FREE), normalize={"date": "iso"})
    assert treat({"day": ["5 March 2024", "2024/3/5", None]}, planned)["day"] == [
        "2024-03-05",
        "2024-03-05",
        None,
    ]


def test_a_tenants_rules_are_found_and_what_they_allow_passes() -> None:
    book = RuleBook(
        allow=(Term("4008001234", ""), Term("4000000000000002", "")),
        patterns=(OwnPattern("EMPLOYEE_NO", "EMP-[0-9]{6}", "0.80"),),
    )
    rules = compiled(book, "rules-1")
    plan = ColumnPlan((column("code", Kind.FREE), column("note", Kind.PROSE)), "detector-0")
    table: dict[str, Sequence[str | None]] = {
        "code": ["EMP-000001", "call 4008001234", "4000000000000002"],
        "note": ["EMP-000002 was late", "see EMP-12", None],
    }
    out, counts = transform_chunk(table, plan, KEYS, rules=rules)
    assert out["code"][:2] == ["", "call 4008001234"]
    assert out["code"][2] == ""  # what a check digit proves, no rule lets pass
    assert counts["code"]["EMPLOYEE_NO"] == 1
    assert counts["note"]["EMPLOYEE_NO"] == 1
    assert rescan(table, plan, rules=rules)["code"]["EMPLOYEE_NO"] == 1
    assert "EMPLOYEE_NO" not in rescan(table, plan).get("code", {})


def test_a_memo_gives_what_reading_again_would_give() -> None:
    notes = ["Spoke with John Smith today.", "客户王小明来电咨询贷款", "nothing"]
    plan = ColumnPlan((column("note", Kind.PROSE, None, REPLACE),), "detector-0")
    memo: dict[str, list[object]] = {}
    first, _ = transform_chunk({"note": notes}, plan, KEYS, memo=memo)  # type: ignore[arg-type]
    assert memo.keys() == set(notes)
    again, _ = transform_chunk({"note": notes}, plan, KEYS, memo=memo)  # type: ignore[arg-type]
    fresh, _ = transform_chunk({"note": notes}, plan, KEYS)
    assert first == again == fresh
