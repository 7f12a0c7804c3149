"""Invented people: the same for the same, another for another, and never anybody's."""

import ipaddress
import re

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.anonymization.canonical import IDENTIFIERS, canonicalize
from governance.anonymization.operators import OperatorKeys, Surrogate
from governance.anonymization.release import rescan, transform_chunk
from governance.anonymization.surrogates import invented, invented_name
from governance.recognition.checksums import id15, luhn, mod11_2, uscc
from governance.recognition.entities import CATALOG
from governance.recognition.plan import ColumnPlan, Evidence, Kind, PlannedColumn
from governance.suites import SuiteId, suite

AES = suite(SuiteId.AES_256_GCM)
KEYS = OperatorKeys("tenant-a", AES, bytes(range(32)), bytes(range(64)))
OTHER = OperatorKeys("tenant-b", AES, b"\1" * 32, b"\1" * 64)
INVENT = Surrogate(KEYS)

# Key 00..1f, Faker 40. When Faker's tables change, so do these: surrogates in old and new files of
# a tenant would then differ, so an upgrade that changes them is a decision and no accident.
PINNED = [
    ("PERSON", "王小明"),
    ("PERSON", "Ada Lovelace"),
    ("CN_ADDRESS", "北京市朝阳区示例路88号"),
    ("STREET_ADDRESS", "12 Example St, Springfield, IL 62704"),
    ("EMAIL_ADDRESS", "mai@example.com"),
    ("CN_MOBILE", "13800138000"),
    ("CN_ID", "11010518991231004X"),
    ("CN_BANK_CARD", "6200000000000005"),
]
KNOWN = [
    "平阳亮",
    "Kristy Maddox",
    "湖北省重庆市彭街0号",
    "0 Merritt Street, Port Heath, MS",
    "norman.small.9a5s5kunzf@surrogate.invalid",
    "12932896376",
    "00799730547787040X",
    "0660565861451934",
]
VALUES = {
    "CN_ADDRESS": "北京市朝阳区示例路88号",
    "STREET_ADDRESS": "12 Example St, Springfield, IL 62704",
    "EMAIL_ADDRESS": "mai@example.com",
    "PHONE_NUMBER": "415-555-0100",
    "IP_ADDRESS": "203.0.113.77",
    "MAC_ADDRESS": "00:00:5e:00:53:01",
}
SAME = [
    ("PERSON", "王小明", "PERSON", "王 小明"),
    ("PERSON", "Ada Lovelace", "PERSON", "ADA  lovelace"),
    ("CN_ID", "110105000101002", "CN_ID", "110105190001010028"),
    ("CN_ID15", "110105000101002", "CN_ID", "110105 19000101 0028"),
    ("CN_MOBILE", "13800138000", "PHONE_NUMBER", "+86 138-0013-8000"),
    ("CREDIT_CARD", "4000 0000 0000 0002", "CN_BANK_CARD", "4000000000000002"),
    ("EMAIL_ADDRESS", "Mai@Example.com", "EMAIL_ADDRESS", "mai@example.com"),
]


def test_known_answers() -> None:
    assert [INVENT.apply(value, entity) for entity, value in PINNED] == KNOWN


@pytest.mark.parametrize(("one", "value", "other", "form"), SAME)
def test_one_person_is_one_surrogate(one: str, value: str, other: str, form: str) -> None:
    assert INVENT.apply(value, one) == INVENT.apply(form, other)
    assert INVENT.apply(value, one) == Surrogate(KEYS).apply(value, one)
    assert INVENT.apply(value, one) != Surrogate(OTHER).apply(value, one)


@pytest.mark.parametrize("entity", [entity.name for entity in CATALOG])
def test_every_entity_has_an_answer_that_is_nobodys(entity: str) -> None:
    """Of 300 values: none is the value itself, holds a check digit, or has a form in use."""
    for number in range(300):
        value = f"{VALUES.get(entity, entity)}{number}"
        out = INVENT.apply(value, entity)
        if out == f"<{entity}>":
            assert entity not in IDENTIFIERS | set(VALUES) | {"PERSON", "SUBJECT_ID", "URL"}
            continue
        assert canonicalize(out, entity) != canonicalize(value, entity)
        assert invented(out) or (entity == "PERSON" and invented_name(out))
        assert not any(check(out) for check in (luhn, mod11_2, uscc, id15))


def test_nothing_stays_nothing() -> None:
    assert INVENT.apply(" \u200b", "PERSON") == ""


@given(st.text(min_size=1, max_size=40), st.sampled_from([e.name for e in CATALOG]))
def test_any_text_has_a_surrogate_of_a_closed_form(value: str, entity: str) -> None:
    out = INVENT.apply(value, entity)
    assert out in {"", f"<{entity}>"} or invented(out) or invented_name(out)


def test_wide_kinds_do_not_collide() -> None:
    for entity in ("EMAIL_ADDRESS", "CN_ID", "CN_BANK_CARD", "SUBJECT_ID", "UUID", "IP_ADDRESS"):
        outs = {INVENT.apply(f"value {number}", entity) for number in range(5000)}
        assert len(outs) == 5000, entity
    names = {INVENT.apply(f"王{chr(0x4E00 + number)}", "PERSON") for number in range(2000)}
    assert len(names) > 1990


@pytest.mark.parametrize("number", range(40))
def test_nobody_can_be_called(number: int) -> None:
    for value, regions in ((f"138{number:08d}", ("CN", "US")), (f"415-555-{number:04d}", ("US",))):
        out = INVENT.apply(value, "PHONE_NUMBER")
        for region in regions:
            assert not phonenumbers.is_valid_number(phonenumbers.parse(out, region))


def test_reserved_ranges() -> None:
    address = ipaddress.ip_address(INVENT.apply("8.8.8.8", "IP_ADDRESS"))
    assert address in ipaddress.ip_network("2001:db8::/32")
    assert INVENT.apply("de:ad:be:ef:00:01", "MAC_ADDRESS").startswith("00:00:5E:00:53:")
    assert INVENT.apply("a@b.cn", "EMAIL_ADDRESS").endswith("@surrogate.invalid")
    assert re.fullmatch(r"\d{3}-00-\d{4}", INVENT.apply("219-09-9990", "US_SSN"))


REAL = [
    "11010518991231004X", "6200000000000005", "13800138000", "415-555-0100", "219-09-9990",
    "mai@example.com", "mai@corp.invalid", "8.8.8.8", "2001:db9::1", "de:ad:be:ef:00:01",
    "北京市朝阳区示例路88号", "北京市朝阳区示例路10号", "12 Example St, Springfield, IL 62704",
    "123e4567-e89b-12d3-a456-426614174000", "https://example.com", "E00000000",
]  # fmt: skip


@pytest.mark.parametrize("value", REAL)
def test_a_value_of_somebodys_is_not_taken_for_invented(value: str) -> None:
    assert not invented(value)


COLUMNS = {
    "name": ("PERSON", ["王小明", "John Carter", "欧阳静", "Mary Jones"]),
    "national_id": ("CN_ID", ["11010518991231004X", "310115188808080024"] * 2),
    "mobile": ("CN_MOBILE", ["13800138000", "13900139000", "13700137000", "13600136000"]),
    "phone": ("PHONE_NUMBER", ["212-555-0199", "(212) 555-0198", "+1 415 555 0100", "4155550101"]),
    "email": ("EMAIL_ADDRESS", ["a@b.com", "c.d@e.org", "王@例子.com", "x@y.cn"]),
    "address": ("CN_ADDRESS", ["北京市朝阳区示例路88号", "12 Example St, Troy, IL 62704"] * 2),
    "bank_card": ("CN_BANK_CARD", ["6200000000000005", "6217000000000000004"] * 2),
    "ssn": ("US_SSN", ["219-09-9990", "219-09-9991"] * 2),
    "ip": ("IP_ADDRESS", ["203.0.113.77", "2001:db8:1:2::3"] * 2),
    "mac": ("MAC_ADDRESS", ["00:00:5E:00:53:01", "de:ad:be:ef:00:01"] * 2),
    "passport": ("CN_PASSPORT", ["E00000000", "G00000000"] * 2),
    "uuid": ("UUID", ["123e4567-e89b-12d3-a456-426614174000"] * 4),
    "website": ("URL", ["https://example.com/a"] * 4),
    "imei": ("IMEI", ["001000000000009"] * 4),
    "wechat": ("CN_WECHAT", ["wxid_test00001"] * 4),
    "plate": ("CN_PLATE", ["京A·D00000"] * 4),
}  # fmt: skip


def planned() -> ColumnPlan:
    """Every kind of surrogate in a column of its own, and in prose."""
    columns = [
        PlannedColumn(name, Kind.TYPED, entity, {"operator": "surrogate"}, Evidence())
        for name, (entity, _) in COLUMNS.items()
    ]
    note = PlannedColumn("note", Kind.PROSE, None, {"operator": "surrogate"}, Evidence())
    return ColumnPlan((*columns, note), detector="test", regimes=("cn", "us", "eu"))


NOTES = [
    "联系人：王小明，手机13800138000，身份证11010518991231004X，住北京市朝阳区示例路88号。",
    "John Carter (SSN 219-09-9990), a@b.com, call 212-555-0199, 12 Example St, Troy, IL.",
    "银行卡6200000000000005，邮箱c.d@e.org，IP 203.0.113.77，护照E00000000。",
    "MAC de:ad:be:ef:00:01, passport E00000000, see https://example.com/a.",
]  # fmt: skip


def test_surrogates_pass_the_last_look_and_a_missed_value_does_not() -> None:
    plan = planned()
    rows: dict[str, list[str | None]] = {name: list(cells) for name, (_, cells) in COLUMNS.items()}
    rows["note"] = list(NOTES)
    treated, _ = transform_chunk(rows, plan, KEYS)
    out = {name: list(cells) for name, cells in treated.items()}
    assert rescan(out, plan) == {}
    assert not any("王小明" in (cell or "") for cell in out["note"])
    assert (out["name"][0] or "?") in (
        out["note"][0] or ""
    )  # the same person in prose and in a column
    out["email"][1] = "still@example.com"
    out["note"][2] = "身份证11010518991231004X"
    assert rescan(out, plan) == {"email": {"EMAIL_ADDRESS": 1}, "note": {"CN_ID": 1}}


def test_a_shifted_date_is_no_leak_in_its_own_column() -> None:
    born = PlannedColumn("dob", Kind.TYPED, "DATE_OF_BIRTH", {"operator": "date_shift"}, Evidence())
    plan = ColumnPlan((born,), detector="test")
    assert rescan({"dob": ["1990-05-06"]}, plan) == {}
    assert rescan({"dob": ["11010518991231004X"]}, plan) == {"dob": {"CN_ID": 1}}
