"""Dates, numbers and units in one form: exact, and nothing guessed."""

import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.errors import InvalidError
from governance.quality.normalization import normalize, normalizer, unreadable

DAY_FIRST = {"date": "iso", "day_first": True}
MONTH_FIRST = {"date": "iso", "day_first": False}


@pytest.mark.parametrize(
    ("config", "text", "expected"),
    [
        (DAY_FIRST, "05.03.2024", "2024-03-05"),
        (MONTH_FIRST, "05/03/2024", "2024-05-03"),
        ({"date": "iso"}, "05/03/2024", None),  # nobody said which
        ({"date": "iso"}, "25/03/2024", "2024-03-25"),  # only one reading
        ({"date": "iso"}, "03/25/2024", "2024-03-25"),
        ({"date": "iso"}, "05-05-2024", "2024-05-05"),
        (DAY_FIRST, "2024年3月5日", "2024-03-05"),
        (DAY_FIRST, "２０２４年０３月０５日", "2024-03-05"),
        (DAY_FIRST, "二〇二四年三月五日", "2024-03-05"),
        (DAY_FIRST, "二零二四年十二月三十一日", "2024-12-31"),
        (DAY_FIRST, "2024/3/5", "2024-03-05"),
        (DAY_FIRST, "20240305", "2024-03-05"),
        (DAY_FIRST, "2024-03-05T10:20:30.5+08:00", "2024-03-05"),
        (DAY_FIRST, "March 5, 2024", "2024-03-05"),
        (DAY_FIRST, "5th Sept 2024", "2024-09-05"),
        (DAY_FIRST, "45356", "2024-03-05"),  # Excel: DATE(2024,3,5)
        (DAY_FIRST, "61", "1900-03-01"),
        (DAY_FIRST, "60", None),  # a day that Excel has and the calendar has not
        (DAY_FIRST, "2024-02-30", None),
        (DAY_FIRST, "2024年3月", None),
        (DAY_FIRST, "soon", None),
        ({"number": "plain"}, "１，２３４.50", "1234.5"),
        ({"number": "plain"}, "1 234 567", "1234567"),
        ({"number": "plain"}, "12.5%", "0.125"),
        ({"number": "plain"}, "3‰", "0.003"),
        ({"number": "plain"}, "(300)", "-300"),
        ({"number": "plain"}, "−4", "-4"),
        ({"number": "plain"}, "3.2万", "32000"),
        ({"number": "plain"}, "1.5万亿", "1500000000000"),
        ({"number": "plain"}, "6.02e23", "602000000000000000000000"),
        ({"number": "plain"}, "0.1", "0.1"),
        ({"number": "plain"}, "-0", "0"),
        ({"number": "plain"}, "1,5", None),
        ({"number": "plain"}, "1e999", None),
        ({"number": "plain"}, "12 apples", None),
        ({"number": "plain", "decimal_comma": True}, "1.234,5", "1234.5"),
        ({"number": "plain", "decimal_comma": True}, "1.5", None),
        ({"unit": "kg"}, "500 g", "0.5"),
        ({"unit": "kg"}, "2斤", "1"),
        ({"unit": "kg"}, "1 lb", "0.45359237"),
        ({"unit": "kg"}, "12 st 3 lb", "77.56429527"),
        ({"unit": "kg"}, "70", None),  # of what?
        ({"unit": "kg", "from": "斤"}, "140", "70"),
        ({"unit": "kg"}, "3 cm", None),
        ({"unit": "kg"}, "5 oz 1 lb", None),  # the larger comes first
        ({"unit": "cm"}, "5'11\"", "180.34"),
        ({"unit": "cm"}, "5′11″", "180.34"),
        ({"unit": "m"}, "1 m 80 cm", "1.8"),
        ({"unit": "m"}, "3尺", "1"),
        ({"unit": "°C"}, "98.6 °F", "37"),
        ({"unit": "℃"}, "310.15K", "37"),
        ({"unit": "°F"}, "37 摄氏度", "98.6"),
        ({"unit": "°C"}, "-300 °C", None),  # below absolute zero
        ({"unit": "元"}, "3.5万元", "35000"),
        ({"unit": "万元"}, "￥1,234.56", "0.123456"),
        ({"unit": "元"}, "100 USD", None),
    ],
)
def test_one_form(config: dict[str, Any], text: str, expected: str | None) -> None:
    assert normalize([text], config) == [expected]


@pytest.mark.parametrize(
    ("config", "code", "pointer"),
    [
        ({}, "quality.normalization_invalid", ""),
        ({"date": "iso", "unit": "kg"}, "quality.normalization_invalid", ""),
        ({"date": "us"}, "quality.normalization_invalid", "/date"),
        ({"number": "odd"}, "quality.normalization_invalid", "/number"),
        ({"date": "iso", "decimal_comma": True}, "quality.normalization_invalid", "/decimal_comma"),
        ({"date": "iso", "day_first": "yes"}, "quality.normalization_invalid", "/day_first"),
        ({"unit": "cubit"}, "quality.unit_unknown", "/unit"),
        ({"unit": 5}, "quality.unit_unknown", "/unit"),
        ({"unit": "kg", "from": "cm"}, "quality.normalization_invalid", "/from"),
    ],
)
def test_a_configuration_that_means_nothing(
    config: dict[str, Any], code: str, pointer: str
) -> None:
    with pytest.raises(InvalidError) as caught:
        normalizer(config)
    assert (caught.value.stable_code, caught.value.pointer) == (code, pointer)


def test_missing_stays_missing_and_unreadable_is_counted() -> None:
    values = ["1", "", None, "x", " "]
    done = normalize(values, {"number": "plain"})
    assert done == ["1", None, None, None, None]
    assert unreadable(values, done) == 1


@given(st.decimals(-(10**20), 10**20, places=6))
def test_a_number_keeps_every_digit(number: Decimal) -> None:
    (done,) = normalize([f"{number:,f}"], {"number": "plain"})
    assert done is not None
    assert Decimal(done) == number


@given(st.text(max_size=100))
def test_any_text_is_read_or_refused(text: str) -> None:
    for config in (DAY_FIRST, {"number": "plain"}, {"unit": "kg", "from": "g"}, {"unit": "c"}):
        (done,) = normalize([text], config)
        assert done is None or re.fullmatch(r"-?[0-9]+(?:\.[0-9]+)?|[0-9]{4}-\d\d-\d\d", done)
