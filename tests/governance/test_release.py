"""A release: what goes in, what comes out, and what a second look at it finds."""

import json
import random

import polars as pl
import pytest
from faker import Faker

from governance.anonymization.operators import OperatorKeys
from governance.anonymization.release import rescan, transform_chunk
from governance.errors import OperatorError
from governance.recognition.plan import ColumnPlan, Evidence, Kind, PlanError, PlannedColumn
from governance.recognition.profile import Profiler
from governance.suites import DEFAULT_SUITE

KEYS = OperatorKeys("tenant-a", DEFAULT_SUITE, bytes(range(32)), bytes(range(64)))
ROWS = 160


def people() -> dict[str, list[str | None]]:
    zh, en = Faker("zh_CN"), Faker("en_US")
    zh.seed_instance(4)
    en.seed_instance(4)
    table: dict[str, list[str | None]] = {}
    for row in range(ROWS):
        fake = zh if row % 2 == 0 else en
        name, other = fake.name(), fake.name()
        phone = zh.phone_number() if row % 2 == 0 else en.numerify("(212) 555-####")
        number = fake.ssn()
        note = (
            f"客户{name}来电，手机{phone}，身份证{number}。{other}为担保人。"
            if row % 2 == 0
            else f"Spoke with {name} ({number}), call {phone}. {other} is the guarantor."
        )
        values = {
            "id": f"C{row:06d}",
            "name": name,
            "national_id": number,
            "mobile": phone,
            "email": en.email(),
            "address": fake.address(),
            "bank_card": en.credit_card_number("visa16"),
            "ip": en.ipv4(),
            "note": note,
            "color": random.Random(row).choice(["red", "green", "blue"]),
            "amount": str(1000 + 37 * row),
            "secret": "drop me",
            "label": str(row % 2),
        }
        for column, value in values.items():
            table.setdefault(column, []).append(value)
    table["amount"][7] = None
    return table


@pytest.fixture(scope="module")
def table() -> dict[str, list[str | None]]:
    return people()


@pytest.fixture(scope="module")
def plan(table: dict[str, list[str | None]]) -> ColumnPlan:
    profiler = Profiler(list(table))
    profiler.add(table)
    return profiler.plan(target="label", subject="id", drop=["secret"])


def test_a_clean_release(plan: ColumnPlan, table: dict[str, list[str | None]]) -> None:
    out, counts = transform_chunk(table, plan, KEYS)
    assert rescan(out, plan) == {}
    assert "secret" not in out
    assert {len(cells) for cells in out.values()} == {ROWS}
    assert out["color"] == table["color"]
    assert out["amount"] == table["amount"]
    assert out["label"] == table["label"]
    assert sum(counts["national_id"].values()) == ROWS
    assert counts["color"] == counts["amount"] == counts["label"] == {}
    assert counts["note"]["PERSON"] >= 0.95 * 2 * ROWS


def test_nothing_planted_survives(plan: ColumnPlan, table: dict[str, list[str | None]]) -> None:
    """The row's own values in its note included, with the operators' outputs beside them."""
    out, _ = transform_chunk(table, plan, KEYS)
    rows = [
        json.dumps([cells[i] for cells in out.values()], ensure_ascii=False) for i in range(ROWS)
    ]
    for column in ("id", "name", "national_id", "mobile", "email", "bank_card"):
        assert not [i for i in range(ROWS) if str(table[column][i]) in rows[i]], column


def test_equal_people_stay_equal_across_chunks(
    plan: ColumnPlan, table: dict[str, list[str | None]]
) -> None:
    first, _ = transform_chunk({k: v[:50] for k, v in table.items()}, plan, KEYS)
    whole, _ = transform_chunk(table, plan, KEYS)
    assert {k: v[:50] for k, v in whole.items()} == first


def test_a_frame_comes_back_as_a_frame(
    plan: ColumnPlan, table: dict[str, list[str | None]]
) -> None:
    frame = pl.DataFrame(table, schema=dict.fromkeys(table, pl.String))
    out, counts = transform_chunk(frame, plan, KEYS)
    expected, expected_counts = transform_chunk(table, plan, KEYS)
    assert isinstance(out, pl.DataFrame)
    assert out.to_dict(as_series=False) == expected
    assert counts == expected_counts
    assert rescan(out, plan) == {}


PLANTS = [
    ("CN_ID", "11010518991231004X"),
    ("CN_MOBILE", "13800138000"),
    ("US_SSN", "219-09-9999"),
    ("EMAIL_ADDRESS", "zhang@example.com"),
    ("CREDIT_CARD", "4000000000000002"),
    ("CN_BANK_CARD", "6217000000000000004"),
    ("PHONE_NUMBER", "(212) 555-0123"),
    ("IP_ADDRESS", "203.0.113.9"),
    ("CN_PLATE", "京A·D00000"),
]


@pytest.mark.parametrize(("entity", "value"), PLANTS)
@pytest.mark.parametrize("column", ["color", "amount", "label"])
def test_an_identifier_in_a_free_column_is_taken_out_and_counted(
    plan: ColumnPlan, table: dict[str, list[str | None]], column: str, entity: str, value: str
) -> None:
    chunk = {k: list(v[:20]) for k, v in table.items()}
    chunk[column][3] = value
    chunk[column][4] = f"see {value} 谢谢"
    out, counts = transform_chunk(chunk, plan, KEYS)
    assert out[column][3] == ""
    assert out[column][4] == f"see <{entity}> 谢谢"
    assert counts[column] == {entity: 2}
    assert rescan(out, plan) == {}


@pytest.mark.parametrize(("entity", "value"), PLANTS)
@pytest.mark.parametrize("column", ["name", "bank_card", "note", "color"])
def test_the_second_look_finds_what_a_release_let_through(
    plan: ColumnPlan, table: dict[str, list[str | None]], column: str, entity: str, value: str
) -> None:
    out, _ = transform_chunk({k: v[:20] for k, v in table.items()}, plan, KEYS)
    leaked = {k: list(v) for k, v in out.items()}
    leaked[column][5] = f"{leaked[column][5]} {value}"
    assert rescan(leaked, plan) == {column: {entity: 1}}


def test_a_kept_identifier_is_no_leak_in_its_own_column_only(
    plan: ColumnPlan, table: dict[str, list[str | None]]
) -> None:
    kept = plan.override("email", operator={"operator": "keep"})
    out, _ = transform_chunk(table, kept, KEYS)
    assert out["email"] == table["email"]
    assert rescan(out, kept) == {}
    assert set(rescan(out, plan)) == {"email"}


@pytest.mark.parametrize(
    ("column", "operator"),
    [
        ("mobile", {"operator": "mask"}),
        ("name", {"operator": "replace"}),
        ("name", {"operator": "mask", "keep_first": 1}),
        ("email", {"operator": "token"}),
        ("national_id", {"operator": "redact"}),
        ("note", {"operator": "pseudonym"}),
        ("note", {"operator": "token"}),
        ("note", {"operator": "redact"}),
        ("ip", {"operator": "generalize", "to": "network"}),
        ("address", {"operator": "generalize", "to": "city"}),
    ],
)
def test_no_operator_output_is_taken_for_a_leak(
    plan: ColumnPlan,
    table: dict[str, list[str | None]],
    column: str,
    operator: dict[str, str | int],
) -> None:
    chosen = plan.override(column, operator=operator)
    out, _ = transform_chunk(table, chosen, KEYS)
    assert rescan(out, chosen) == {}


def test_thousands_of_pseudonyms_and_tokens_are_no_leaks() -> None:
    """One false alarm would stop a release: every identifier's output under every header."""
    profiler = Profiler(["bank_card"])
    cells = [f"40000000{i:08d}" for i in range(5_000)]
    profiler.add({"bank_card": cells})
    for operator in ("pseudonym", "token"):
        plan = profiler.plan().override(
            "bank_card", kind=Kind.TYPED, entity="CN_BANK_CARD", operator={"operator": operator}
        )
        out, _ = transform_chunk({"bank_card": cells}, plan, KEYS)
        assert rescan(out, plan) == {}


def test_a_pseudonym_that_could_be_an_account_number_is_no_leak() -> None:
    """One in some hundred thousand is; in a column of anything else it is one."""
    planned = ColumnPlan(
        tuple(
            PlannedColumn(name, Kind.TYPED, "IBAN_CODE", {"operator": operator}, Evidence())
            for name, operator in (("account", "pseudonym"), ("masked", "replace"))
        ),
        detector="x",
    )
    likely, longer = _pseudonym_with_check_digits(), "GB82WEST12345698765432"
    cases: list[tuple[dict[str, list[str | None]], dict[str, dict[str, int]]]] = [
        ({"account": [likely], "masked": ["<IBAN_CODE>"]}, {}),
        ({"account": [None], "masked": [likely]}, {"masked": {"IBAN_CODE": 1}}),
        ({"account": [longer], "masked": [None]}, {"account": {"IBAN_CODE": 1}}),
    ]
    for rows, found in cases:
        assert rescan(rows, planned) == found


def _pseudonym_with_check_digits() -> str:
    """24 characters of Base32 that are a Romanian account number (ISO 13616, ISO 7064 mod 97)."""
    for tail in range(10_000):
        account = "ABCD" + str(tail).translate(str.maketrans("0189", "2345")).rjust(16, "Q")
        number = "".join(str(int(letter, 36)) for letter in account + "RO00")
        check = 98 - int(number) % 97
        if set(f"{check:02}") <= set("234567"):
            return f"RO{check:02}{account}"
    raise AssertionError("there is one")


def test_a_chunk_of_other_columns_and_a_wrong_operator_are_refused(
    plan: ColumnPlan, table: dict[str, list[str | None]]
) -> None:
    with pytest.raises(PlanError):
        transform_chunk({"name": ["x"]}, plan, KEYS)
    with pytest.raises(OperatorError):
        transform_chunk(table, plan.override("name", operator={"operator": "scramble"}), KEYS)


def test_asking_the_models_again_reports_people(plan: ColumnPlan) -> None:
    chunk = {"note": ["客户王小明来电咨询贷款", "nothing here"]}
    assert rescan(chunk, plan) == {}
    assert rescan(chunk, plan, models=True) == {"note": {"PERSON": 1}}


def test_a_column_of_two_kinds_counts_each_and_keeps_joins(
    plan: ColumnPlan, table: dict[str, list[str | None]]
) -> None:
    released, counts = transform_chunk(table, plan, KEYS)
    assert counts["national_id"] == {"CN_ID": ROWS // 2, "US_SSN": ROWS // 2}
    ids: list[str | None] = table["national_id"][::2]
    chinese = Profiler(["resident_id"])
    chinese.add({"resident_id": ids})
    alone = chinese.plan()
    assert alone.column("resident_id").entity == "CN_ID"
    again, _ = transform_chunk({"resident_id": ids}, alone, KEYS)
    assert released["national_id"][::2] == again["resident_id"]
