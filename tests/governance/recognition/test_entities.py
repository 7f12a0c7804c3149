"""The catalog: headers, context words and defaults that the operators accept."""

import pytest

from governance.anonymization.operators import check_config
from governance.recognition.entities import (
    CATALOG,
    context_pattern,
    default_operator,
    header_entities,
    sensitivity,
)


@pytest.mark.parametrize("entity", [e.name for e in CATALOG])
def test_every_default_operator_is_one_that_exists(entity: str) -> None:
    check_config(default_operator(entity), entity)


def test_names_are_unique_and_context_compiles() -> None:
    assert len({e.name for e in CATALOG}) == len(CATALOG)
    for entity in CATALOG:
        assert (context_pattern(entity.name) is None) == (not entity.context)


@pytest.mark.parametrize(
    ("header", "entity"),
    [
        ("name", "PERSON"),
        ("customer_name", "PERSON"),
        ("CustomerName", "PERSON"),
        ("客户姓名", "PERSON"),
        ("身份证号码", "CN_ID"),
        ("national_id", "CN_ID"),
        ("national_id", "US_SSN"),
        ("mobile", "CN_MOBILE"),
        ("Phone Number", "PHONE_NUMBER"),
        ("邮箱", "EMAIL_ADDRESS"),
        ("bank_card", "CN_BANK_CARD"),
        ("home_address", "STREET_ADDRESS"),
        ("date_of_birth", "DATE_OF_BIRTH"),
        ("车牌", "CN_PLATE"),
    ],
)
def test_a_header_speaks_of_its_entity(header: str, entity: str) -> None:
    assert entity in header_entities(header)


@pytest.mark.parametrize(
    "header",
    [
        "product_name",
        "file name",
        "native_country",
        "age",
        "fnlwgt",
        "capital_gain",
        "hours_per_week",
        "occupation",
        "microphone",
        "zip",
        "emailed_us",
        "",
        None,
    ],
)
def test_a_header_of_a_feature_speaks_of_nobody(header: str | None) -> None:
    assert header_entities(header) == ()


def test_an_entity_nobody_described_is_sensitive_and_redacted() -> None:
    assert sensitivity("EMPLOYEE_NUMBER") == "S"
    assert default_operator("EMPLOYEE_NUMBER") == {"operator": "redact"}
