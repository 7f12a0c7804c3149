"""Operators on every kind of value, with the vectors of the design page."""

import re
from typing import Any

import pytest
from faker import Faker
from hypothesis import given
from hypothesis import strategies as st

from governance.anonymization.canonical import canonical_entity, canonicalize
from governance.anonymization.operators import (
    GRANULARITIES,
    OPERATORS,
    DateShift,
    Generalize,
    Keep,
    LegalStatus,
    Mask,
    OperatorKeys,
    Pseudonym,
    Redact,
    Replace,
    Surrogate,
    Token,
    check_config,
    operator_from,
)
from governance.errors import OperatorError, SealError
from governance.suites import SuiteId, suite

ID = "11010518991231004X"  # born 1899: no living holder
AES = suite(SuiteId.AES_256_GCM)
KEYS = OperatorKeys("tenant-a", AES, bytes(range(32)), bytes(range(64)))
SM_KEYS = OperatorKeys("tenant-a", suite(SuiteId.SM4_GCM), bytes(range(32)), bytes(range(32)))
OTHER_TENANT = OperatorKeys("tenant-b", AES, bytes(range(32)), bytes(range(64)))
TOKEN = "8015e404ec7864d6ab80d2d58f0bd0794d0d92e0517c83da1707332ef1eb7138926b"


def test_pseudonym_vector() -> None:
    assert Pseudonym(KEYS).apply(ID, "CN_ID") == "CYHFKWX5PWURRQAK4ISA6IA5"


def test_token_vector() -> None:
    assert Token(KEYS).apply(ID, "CN_ID") == TOKEN
    assert Token(KEYS).reveal(TOKEN, "CN_ID") == ID


CANONICAL = [
    ("CN_ID", "11010518991231004x", ID),
    ("CN_ID", " 110105 18991231 004X ", ID),
    ("CN_ID", "１１０１０５１８９９１２３１００４Ｘ", ID),
    ("CN_ID", "110105-18991231-004X", ID),
    ("CN_ID", "110105\u200b18991231\u00ad004X", ID),
    ("CN_ID", "110105000101002", "110105190001010028"),
    ("CN_ID15", "110105000101002", "110105190001010028"),
    ("CN_ID15", "110105991331002", "110105991331002"),  # the 31st of month 13: left as it is
    ("CN_MOBILE", "138 0013 8000", "13800138000"),
    ("CN_MOBILE", "+86 138-0013-8000", "13800138000"),
    ("CN_MOBILE", "008613800138000", "13800138000"),
    ("CN_MOBILE", "8613800138000", "13800138000"),
    ("CN_MOBILE", "１３８００１３８０００", "13800138000"),
    ("PHONE_NUMBER", "+86 138 0013 8000", "13800138000"),
    ("PHONE_NUMBER", "+1 (415) 555-0100", "4155550100"),
    ("PHONE_NUMBER", "415.555.0100", "4155550100"),
    ("PHONE_NUMBER", "+44 20 7946 0000", "+442079460000"),
    ("US_SSN", "000-12-3456", "000123456"),
    ("CN_BANK_CARD", "6200 0000 0000 0005", "6200000000000005"),
    ("HKID", "z000000(1)", "Z0000001"),
    ("CN_PLATE", "京A·D00000", "京AD00000"),
    ("MAC_ADDRESS", "00:00:5e:00:53:01", "00005E005301"),
    ("EMAIL_ADDRESS", " Mai@Example.COM ", "mai@example.com"),
    ("PERSON", "Ada  LOVELACE", "ada lovelace"),
    ("PERSON", "王 小明", "王小明"),
    ("PERSON", "王\u3000小明", "王小明"),
    ("URL", "https://example.com/Path", "https://example.com/Path"),
    ("SUBJECT_ID", "aB-12", "aB-12"),
    ("PERSON", " \u200b ", ""),
]


@pytest.mark.parametrize(("entity", "given_form", "expected"), CANONICAL)
def test_canonical_forms(entity: str, given_form: str, expected: str) -> None:
    assert canonicalize(given_form, entity) == expected
    assert canonicalize(expected, entity) == expected


@pytest.mark.parametrize("operator", [Pseudonym(KEYS), Token(KEYS), Pseudonym(SM_KEYS)])
def test_joins_survive_formatting_and_15_digit_ids(operator: Pseudonym | Token) -> None:
    forms = ["110105190001010028", "110105 19000101 0028", "110105000101002"]
    assert len({operator.apply(form, "CN_ID") for form in forms}) == 1
    assert operator.apply(forms[2], "CN_ID15") == operator.apply(forms[0], "CN_ID")
    assert canonical_entity("CN_ID15") == "CN_ID"


@pytest.mark.parametrize("make", [Pseudonym, Token])
def test_entities_and_tenants_do_not_join(make: Any) -> None:
    assert make(KEYS).apply(ID, "CN_ID") != make(KEYS).apply(ID, "CN_RESIDENCE")
    other = OperatorKeys("tenant-b", AES, b"\1" * 32, b"\1" * 64)
    assert make(KEYS).apply(ID, "CN_ID") != make(other).apply(ID, "CN_ID")
    assert make(KEYS).apply(ID, "CN_ID") != make(SM_KEYS).apply(ID, "CN_ID")


@pytest.mark.parametrize("keys", [KEYS, SM_KEYS])
@given(value=st.text(min_size=1))
def test_a_token_reveals_its_canonical_value(keys: OperatorKeys, value: str) -> None:
    token = Token(keys)
    canonical = canonicalize(value, "PERSON")
    if canonical:
        sealed = token.apply(value, "PERSON")
        assert token.reveal(sealed, "PERSON") == canonical
        assert len(sealed) == 32 + 2 * len(canonical.encode())
    else:
        assert token.apply(value, "PERSON") == ""


@pytest.mark.parametrize(
    ("keys", "token", "entity"),
    [
        (OTHER_TENANT, TOKEN, "CN_ID"),
        (KEYS, TOKEN, "CN_RESIDENCE"),
        (KEYS, TOKEN[:-2] + "6c", "CN_ID"),
        (KEYS, TOKEN[:-2], "CN_ID"),
        (KEYS, TOKEN[:20], "CN_ID"),
        (KEYS, "", "CN_ID"),
        (KEYS, "not hexadecimal", "CN_ID"),
        (SM_KEYS, TOKEN, "CN_ID"),
    ],
)
def test_a_token_that_is_not_ours_is_one_opaque_failure(
    keys: OperatorKeys, token: str, entity: str
) -> None:
    with pytest.raises(SealError) as caught:
        Token(keys).reveal(token, entity)
    assert caught.value.stable_code == "crypto.open_failed"
    assert caught.value.__cause__ is None


MASKS = [
    (Mask(), "CN_MOBILE", "+86 138 0013 8000", "138****"),
    (Mask(), "CN_ID", ID, "****"),
    (Mask(), "PERSON", "王小明", "****"),
    (Mask(), "CN_PLATE", "京A·D00000", "京A****"),
    (Mask(keep_first=1), "PERSON", "王小明", "王****"),
    (Mask(keep_first=6), "CN_ID", ID, "110105****"),
    (Mask(keep_first=1, show_length=True), "PERSON", "王小明", "王**"),
    (Mask(keep_first=0), "CN_MOBILE", "13800138000", "****"),
    (Mask(keep_last=4), "EMAIL_ADDRESS", "mai@example.com", "****.com"),
    (Mask(keep_first=2, keep_last=2, character="#"), "PERSON", "abcdefgh", "ab####gh"),
    (Mask(keep_first=3, keep_last=4), "CN_MOBILE", "13800138000", "****"),  # too much would stay
    (Mask(keep_first=3, keep_last=4, show_length=True), "CN_MOBILE", "13800138000", "*" * 11),
    (Mask(keep_first=3), "PERSON", "abcd", "****"),
    (Mask(), "PERSON", "  ", ""),
]


@pytest.mark.parametrize(("mask", "entity", "value", "expected"), MASKS)
def test_masks(mask: Mask, entity: str, value: str, expected: str) -> None:
    assert mask.apply(value, entity) == expected


@given(st.text(min_size=1, max_size=30), st.integers(0, 40), st.integers(0, 40))
def test_a_mask_never_keeps_more_than_half(value: str, first: int, last: int) -> None:
    masked = Mask(keep_first=first, keep_last=last, character="\x01").apply(value, "PERSON")
    assert len(masked.replace("\x01", "")) * 2 <= len(canonicalize(value, "PERSON"))


@pytest.mark.parametrize("entity", ["CN_ID", "US_SSN", "CN_BANK_CARD", "CN_PASSPORT"])
def test_the_tail_of_an_identifier_is_never_kept(entity: str) -> None:
    with pytest.raises(OperatorError) as caught:
        Mask(keep_last=4).apply("000000000000", entity)
    assert caught.value.stable_code == "anonymize.mask_tail"
    config = {"operator": "mask", "keep_last": 4}
    for check in (
        lambda: operator_from(config, KEYS, entity),
        lambda: check_config(config, entity),
    ):
        with pytest.raises(OperatorError):
            check()


GENERALIZED = [
    ("age_5", "", "37", "35-39"),
    ("age_10", "", "37", "30-39"),
    ("age_10", "", "37岁", "30-39"),
    ("age_5", "", "37.5", "35-39"),
    ("age_5", "", "89", "85-89"),
    ("age_5", "", "90", "90+"),
    ("age_10", "", "107", "90+"),
    ("age_5", "", "0", "0-4"),
    ("age_5", "", "131", None),
    ("age_5", "", "-3", None),
    ("age_5", "", "thirty", None),
    ("month", "", "1990-05-06", "1990-05"),
    ("month", "", "1990/5/6", "1990-05"),
    ("month", "", "1990.05.06", "1990-05"),
    ("month", "", "1990年5月6日", "1990-05"),
    ("month", "", "1990年5月", "1990-05"),
    ("month", "", "１９９０年５月６日", "1990-05"),
    ("month", "", "19900506", "1990-05"),
    ("month", "", "1990-05-06T07:08:09Z", "1990-05"),
    ("month", "", "1990-05-06 07:08", "1990-05"),
    ("month", "", "05/31/1990", "1990-05"),
    ("month", "", "31.05.1990", "1990-05"),
    ("month", "", "05/05/1990", "1990-05"),
    ("month", "", "05/06/1990", "1990"),  # May or June: the year is all that is certain
    ("year", "", "05/06/1990", "1990"),
    ("month", "", "May 6, 1990", "1990-05"),
    ("month", "", "6 May 1990", "1990-05"),
    ("year", "", "Sept. 1990", "1990"),
    ("year", "", "6th of Moo 1990", None),
    ("year", "", "1990-02-30", None),
    ("year", "", "90-05-06", None),
    ("year", "", "0090-05-06", None),
    ("year", "", "yesterday", None),
    ("month", "CN_ID", ID, "1899-12"),
    ("year", "CN_ID", "11010518991331004X", None),
    ("region_6", "", "110105", "110105"),
    ("region_4", "", "110105", "1101"),
    ("region_2", "", "110105", "11"),
    ("region_2", "CN_ID", ID, "11"),
    ("region_2", "", "1101", None),
    ("region_2", "", "abcdef", None),
    ("network", "", "203.0.113.77", "203.0.113.0/24"),
    ("network", "", "2001:db8:1:2::3", "2001:db8:1::/48"),
    ("network", "", "::ffff:203.0.113.77", "203.0.113.0/24"),
    ("network", "", "::1", "::/48"),
    ("network", "", "203.0.113.777", None),
    ("city", "", "北京市朝阳区示例路88号3单元602室", "北京市"),
    ("city", "", "北京朝阳区示例路88号", "北京市"),
    ("city", "", "广东省深圳市南山区测试街1号", "广东省深圳市"),
    ("city", "", "广东省 深圳市 南山区", "广东省深圳市"),
    ("city", "", "中国广东省深圳市市民中心", "广东省深圳市"),
    ("city", "", "新疆维吾尔自治区乌鲁木齐市天山区某路1号", "新疆维吾尔自治区乌鲁木齐市"),
    ("city", "", "内蒙古自治区锡林郭勒盟某旗", "内蒙古自治区锡林郭勒盟"),
    ("city", "", "云南省大理白族自治州某县", "云南省大理白族自治州"),
    ("city", "", "辽宁省某县东城街1号", "辽宁省"),
    ("city", "", "香港特别行政区中环某道1号", "香港特别行政区"),
    ("city", "", "深圳市南山区测试街1号", "深圳市"),
    ("city", "", "呼和浩特市新城区", "呼和浩特市"),
    ("city", "", "某路88号", None),
    ("city", "", "臺灣新竹縣竹北市光明路8號", "臺灣新竹縣"),
    ("province", "", "广东省 深圳市 南山区", "广东省"),
    ("province", "", "深圳市南山区测试街1号", None),
    ("province", "", "12 Example St, Springfield, IL 62704", "IL"),
    ("city", "", "12 Example St, Springfield, IL 62704", "Springfield, IL"),
    ("city", "", "38394 Bell Plains\nNew Heather, FL 04402", "New Heather, FL"),
    ("city", "", "38394 Bell Plains\nNew Heather FL 04402-1234", "New Heather, FL"),
    ("city", "", "Oak House, Elm Street, St. Paul, MN, USA", "St. Paul, MN"),
    ("city", "", "Springfield, IL", "Springfield, IL"),
    ("city", "", "springfield, il 62704", "springfield, IL"),
    ("city", "", "12 Example St Springfield IL 62704", "IL"),
    ("city", "", "12 Example St Springfield, IL 62704", "IL"),
    ("city", "", "Springfield, Elm Street, IL", "IL"),
    ("city", "", "USS Example\nFPO AE 12345", "FPO, AE"),
    ("city", "", "Ada Lovelace, 5 Rue de la", None),
    ("city", "", "somewhere, XX 12345", None),
]


@pytest.mark.parametrize(("to", "entity", "value", "expected"), GENERALIZED)
def test_generalizations(to: str, entity: str, value: str, expected: str | None) -> None:
    entity = entity or "THING"
    assert Generalize(to).apply(value, entity) == (expected or f"<{entity}>")


@pytest.mark.parametrize("to", GRANULARITIES)
@given(value=st.text(max_size=60))
def test_what_is_not_understood_does_not_go_out(to: str, value: str) -> None:
    """Any text whatever: an empty value, the entity's name, or something of a closed form."""
    out = Generalize(to).apply(value, "THING")
    assert out in {"", "<THING>"} or re.fullmatch(
        r"\d{1,2}-\d{1,2}|90\+|\d{4}(-\d\d)?|\d{2}|\d{6}|[0-9a-f.:]+/(24|48)|[A-Z]{2}"
        r"|.{1,80}, [A-Z]{2}|[一-鿿]{2,30}",
        out,
    )


@pytest.mark.parametrize(
    ("locale", "form"), [("en_US", r"[^0-9]*[A-Z]{2}"), ("zh_CN", r"[一-鿿]+")]
)
def test_generated_addresses_lose_street_number_and_postcode(locale: str, form: str) -> None:
    fake = Faker(locale)
    fake.seed_instance(7)
    outs = Generalize("city").apply_many([fake.address() for _ in range(500)], "STREET_ADDRESS")
    assert sum(out.startswith("<") for out in outs) <= 5
    assert all(out.startswith("<") or re.fullmatch(form, out) for out in outs)


def test_redact_replace_keep() -> None:
    assert Redact().apply("value", "PERSON") == ""
    assert Replace().apply("value", "PERSON") == "<PERSON>"
    assert Replace().apply(" ", "PERSON") == ""
    assert Keep().apply(" As It Is ", "PERSON") == " As It Is "


@pytest.mark.parametrize("name", OPERATORS)
def test_many_values_are_as_one_by_one(name: str) -> None:
    config = {"operator": name} | ({"to": "city"} if name == "generalize" else {})
    operator = operator_from(config, KEYS, "PERSON")
    values = ["王小明", "Ada", "王小明", "", "王 小明"]
    assert operator.apply_many(values, "PERSON") == [operator.apply(v, "PERSON") for v in values]


@pytest.mark.parametrize(
    ("config", "status"),
    [
        ({"operator": "redact"}, LegalStatus.ANONYMOUS_IF_RECORD_IS),
        ({"operator": "replace"}, LegalStatus.ANONYMOUS_IF_RECORD_IS),
        ({"operator": "mask", "keep_first": 1}, LegalStatus.PSEUDONYMOUS),
        ({"operator": "pseudonym"}, LegalStatus.PSEUDONYMOUS),
        ({"operator": "token"}, LegalStatus.REVERSIBLE),
        ({"operator": "generalize", "to": "city"}, LegalStatus.SUPPORTS_ANONYMITY),
        ({"operator": "date_shift"}, LegalStatus.PSEUDONYMOUS),
        ({"operator": "surrogate"}, LegalStatus.PSEUDONYMOUS),
        ({"operator": "keep"}, LegalStatus.IDENTIFYING),
    ],
)
def test_each_operator_states_its_legal_status(
    config: dict[str, object], status: LegalStatus
) -> None:
    assert check_config(config, "PERSON") == status
    built = operator_from(config, KEYS, "PERSON")
    assert built.status == status
    assert operator_from(_plan_part(built.record()), KEYS, "PERSON") == built


def _plan_part(record: dict[str, Any]) -> dict[str, object]:
    return {k: v for k, v in record.items() if k not in {"suite", "key_version"}}


def test_records_name_the_key_and_never_hold_it() -> None:
    for operator in (Pseudonym(KEYS), Token(SM_KEYS), DateShift(KEYS), Surrogate(SM_KEYS)):
        record = operator.record()
        assert record == {
            "operator": operator.name,
            "suite": operator.keys.suite.slug,
            "key_version": 1,
        }
        for shown in (repr(operator), repr(operator.keys)):
            assert repr(bytes(range(32)))[2:20] not in shown


BAD_CONFIGS: list[tuple[Any, str]] = [
    ({}, "/operator"),
    ({"operator": "encrypt"}, "/operator"),
    ({"operator": ["mask"]}, "/operator"),
    ({"operator": "keep", "keep_first": 3}, "/keep_first"),
    ({"operator": "mask", "keep_first": "3"}, "/keep_first"),
    ({"operator": "mask", "keep_first": True}, "/keep_first"),
    ({"operator": "mask", "keep_first": -1}, "/keep_first"),
    ({"operator": "mask", "keep_last": -1}, "/keep_last"),
    ({"operator": "mask", "keep_last": 1.5}, "/keep_last"),
    ({"operator": "mask", "character": ""}, "/character"),
    ({"operator": "mask", "character": "**"}, "/character"),
    ({"operator": "mask", "character": "x"}, "/character"),
    ({"operator": "mask", "show_length": 1}, "/show_length"),
    ({"operator": "mask", "length/hidden": 1}, "/length~1hidden"),
    ({"operator": "generalize"}, "/to"),
    ({"operator": "generalize", "to": "continent"}, "/to"),
    ({"operator": "generalize", "to": 5}, "/to"),
    ({"operator": "pseudonym", "keys": "mine"}, "/keys"),
    ({"operator": "token", "_siv": "mine"}, "/_siv"),
    ({"operator": "date_shift", "days": 3}, "/days"),
    ({"operator": "surrogate", "locale": "zh_CN"}, "/locale"),
]


@pytest.mark.parametrize(("config", "pointer"), BAD_CONFIGS)
def test_a_bad_configuration_is_refused_with_its_place(config: Any, pointer: str) -> None:
    for check in (
        lambda: check_config(config, "PERSON"),
        lambda: operator_from(config, KEYS, "PERSON"),
    ):
        with pytest.raises(OperatorError) as caught:
            check()
        assert caught.value.pointer == pointer
        assert caught.value.stable_code == "anonymize.operator_invalid"
        assert caught.value.kind == "invalid"
