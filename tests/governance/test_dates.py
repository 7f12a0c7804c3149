"""Dates moved by days: every form that is kept, and everything that is not certain."""

import hashlib
import hmac
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.anonymization.dates import read_date, shifted
from governance.anonymization.operators import DateShift, OperatorKeys, operator_from
from governance.suites import SuiteId, suite

KEYS = OperatorKeys("tenant-a", suite(SuiteId.AES_256_GCM), bytes(range(32)), bytes(range(64)))
SHIFT = DateShift(KEYS)

FORMS = [
    ("1990-05-06", "1990-06-05"),
    ("1990-5-6", "1990-6-5"),
    ("1990/5/6", "1990/6/5"),
    ("1990/05/06", "1990/06/05"),
    ("1990.12.31", "1991.01.30"),
    ("1990年5月6日", "1990年6月5日"),
    ("1990年05月06日", "1990年06月05日"),
    ("1990年5月6号 8:30", "1990年6月5号 8:30"),
    ("1990 年 5 月 6 日", "1990 年 6 月 5 日"),
    ("19900506", "19900605"),
    ("1990-05-06T07:08:09Z", "1990-06-05T07:08:09Z"),
    ("1990-05-06 07:08:09.123+08:00", "1990-06-05 07:08:09.123+08:00"),
    ("31/05/1990", "30/06/1990"),
    ("05/31/1990", "06/30/1990"),
    ("31.05.1990 23:59", "30.06.1990 23:59"),
    ("May 6, 1990", "Jun 5, 1990"),
    ("December 6, 1990", "January 5, 1991"),
    ("6 May 1990", "5 Jun 1990"),
    ("3rd SEP 1990", "3rd OCT 1990"),
    ("sept. 3, 1990", "oct. 3, 1990"),
    ("2020-01-30", "2020-02-29"),
    # what is not certain
    ("5/6/1990", None),
    ("5/5/1990", None),
    ("1990-05", None),
    ("1990年5月", None),
    ("1990-02-30", None),
    ("1990-05/06", None),
    ("1990年5-6", None),
    ("1990-05-06日", None),
    ("90-05-06", None),
    ("1500-05-06", None),
    ("1990-05-06 and later", None),
    ("yesterday", None),
    ("", None),
]


@pytest.mark.parametrize(("text", "expected"), FORMS)
def test_a_date_is_moved_in_its_own_form(text: str, expected: str | None) -> None:
    assert shifted(text, 30) == expected


@given(
    st.dates(date(1802, 1, 1), date(2198, 1, 1)),
    st.integers(-364, 364),
    st.sampled_from(["%Y-%m-%d", "%Y/%m/%d", "%Y年%m月%d日", "%Y%m%d", "%Y-%m-%dT08:09:10Z"]),
)
def test_shifts_add_and_lead_back(day: date, days: int, form: str) -> None:
    text = day.strftime(form)
    moved = shifted(text, days)
    assert moved == (day + timedelta(days=days)).strftime(form)
    assert shifted(moved, -days) == text


@given(st.text(max_size=40))
def test_whatever_stands_there_nothing_is_raised(text: str) -> None:
    read = read_date(text)
    assert read is None or shifted(text, 0) is not None


def expected_offset(subject: str) -> int:
    """The definition, without the code under test."""
    drawn = hmac.digest(bytes(range(32)), b"date_shift\x1f" + subject.encode(), hashlib.sha256)
    place = int.from_bytes(drawn[:16], "big") % 728
    offsets: list[int] = [*range(-364, 0), *range(1, 365)]
    return offsets[place]


def test_offset_vector() -> None:
    """Key 00..1f."""
    assert SHIFT.offset("S-1") == expected_offset("S1") == -157
    assert SHIFT.apply_rows(["1990-05-06"], ["S-1"], "DATE_OF_BIRTH") == ["1989-11-30"]


def test_offsets_are_never_zero_within_a_year_and_of_the_subject() -> None:
    offsets = [SHIFT.offset(f"S{number}") for number in range(5000)]
    assert None not in offsets
    known = {days for days in offsets if days is not None}
    assert 0 not in known
    assert min(known) == -364
    assert max(known) == 364
    assert len(known) > 720  # nearly all of the 728
    assert SHIFT.offset("１１０105 18991231-004x") == SHIFT.offset("11010518991231004X")
    assert SHIFT.offset("110105000101002") == SHIFT.offset("110105190001010028")


def test_intervals_of_a_subject_are_kept_across_columns() -> None:
    subjects = ["a", "b", "a", "b", None, ""]
    admitted = ["2020-01-01", "2020-01-01", "2020/3/1", "2020-03-01", "2020-01-01", "2020-01-01"]
    left = ["2020-01-11", "2020-02-01", "2020年3月4日", "5/6/2020", "2020-01-01", "  "]
    first = SHIFT.apply_rows(admitted, subjects, "DATE")
    second = SHIFT.apply_rows(left, subjects, "DATE")
    days = [
        (read_date(later).day - read_date(earlier).day).days  # type: ignore[union-attr]
        for earlier, later in [(first[0], second[0]), (first[1], second[1]), (first[2], second[2])]
        if earlier and later
    ]
    assert days == [10, 31, 3]
    assert second[3] == "<DATE>"  # May or June
    assert first[4:] == ["<DATE>", "<DATE>"]  # whose, nobody knows
    assert second[4:] == ["<DATE>", ""]
    assert first[0] != first[1]


def test_without_rows_nothing_is_shifted() -> None:
    assert SHIFT.needs_subject
    assert SHIFT.apply("1990-05-06", "DATE_OF_BIRTH") == "<DATE_OF_BIRTH>"
    assert SHIFT.apply(" ", "DATE_OF_BIRTH") == ""
    assert operator_from({"operator": "date_shift"}, KEYS, "DATE_OF_BIRTH") == SHIFT


def test_other_operators_do_the_same_by_rows() -> None:
    pseudonym = operator_from({"operator": "pseudonym"}, KEYS, "PERSON")
    assert not pseudonym.needs_subject
    assert pseudonym.apply_rows(["Ada", None, ""], ["x", "y", "z"], "PERSON") == [
        pseudonym.apply("Ada", "PERSON"),
        None,
        "",
    ]


@pytest.mark.parametrize(
    "text", ["1" * 50_000, "1990年" + " " * 50_000, "1990-05-06 " + "1:" * 9999]
)
def test_hostile_text_takes_no_time(text: str) -> None:
    assert shifted(text, 1) is None
