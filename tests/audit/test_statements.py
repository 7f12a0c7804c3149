"""Statements without a database: months, amounts, strict reading, and what the verifier refuses."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from audit.canonical import canonical
from audit.errors import BundleError, ProofError
from audit.reports.layout import BundleEntry
from audit.reports.statement_page import render
from audit.reports.statements import Line, Month, Statement, Tally

ORIGIN = "portcullis.example/log"
LICENSE = str(UUID(int=7))
IN_MONTH = int(datetime(2026, 11, 5, tzinfo=UTC).timestamp()) * 10**6


def call(index: int, *, at: int = IN_MONTH, **facts: object) -> BundleEntry:
    body = {
        "id": str(UUID(int=index + 1)),
        "event": "prediction.served",
        "outcome": "done",
        "at": at,
        "facts": {
            "license": f"license:{LICENSE}", "sku": "predict", "units": 2, "charged": True, **facts,
        },
    }  # fmt: skip
    return BundleEntry(index, canonical(body))


ENTRIES = (call(3), call(5, charged=False), call(9))


def tally(*entries: BundleEntry) -> Tally:
    made = Tally()
    for entry in entries or ENTRIES:
        made.add(entry)
    return made


def statement(**changed: object) -> Statement:
    lines = tally().lines({LICENSE: "income"}, {(LICENSE, "predict"): ("1.005", "CNY")})
    made = Statement(ORIGIN, "2026-11", str(UUID(int=9)), 20, 0, complete=True, lines=lines)
    return replace(made, **changed)  # type: ignore[arg-type]  # the tests' own names


def with_line(**changed: object) -> Statement:
    return statement(lines=(replace(statement().lines[0], **changed),))  # type: ignore[arg-type]  # as above


@pytest.mark.parametrize(
    ("text", "starts", "ends"),
    [
        ("2026-11", (2026, 11), (2026, 12)),
        ("2026-12", (2026, 12), (2027, 1)),
        ("2028-02", (2028, 2), (2028, 3)),
    ],
)
def test_a_month_ends_where_the_next_begins(
    text: str, starts: tuple[int, int], ends: tuple[int, int]
) -> None:
    month = Month.parse(text)
    assert (month.starts, month.ends) == (
        datetime(*starts, 1, tzinfo=UTC),
        datetime(*ends, 1, tzinfo=UTC),
    )
    assert str(month) == text


@pytest.mark.parametrize("text", ["", "2026", "2026-13", "2026-00", "1999-12", "2026-11-01", " "])
def test_what_is_no_month(text: str) -> None:
    with pytest.raises(BundleError):
        Month.parse(text)


def test_entries_add_up_to_a_line() -> None:
    [line] = statement().lines
    digest = hashlib.sha256(b"".join(entry.leaf for entry in ENTRIES)).hexdigest()
    assert line == Line(
        LICENSE, "income", "predict", 3, 6, 4, 3, 9, digest, "1.005", "CNY", "4.020"
    )


@pytest.mark.parametrize(
    ("price", "charged", "amount"),
    [("0", 5, "0"), ("2", 3, "6"), ("0.1", 3, "0.3"), ("0.005", 1, "0.005"),
     ("999999999999.999999999999", 2**53 - 1, "9007199254740990999999990992.800745259009")],
)  # fmt: skip
def test_an_amount_is_exact(price: str, charged: int, amount: str) -> None:
    counted = tally(call(1, units=charged))
    [line] = counted.lines({LICENSE: "m"}, {(LICENSE, "predict"): (price, "EUR")})
    assert line.amount == amount


@pytest.mark.parametrize("price", ["-1", "1e5", "", ".5", "1,5", "NaN"])
def test_a_price_is_a_plain_decimal(price: str) -> None:
    with pytest.raises(BundleError):
        tally().lines({LICENSE: "m"}, {(LICENSE, "predict"): (price, "EUR")})


@pytest.mark.parametrize(
    "facts",
    [{"units": None}, {"units": True}, {"charged": 1}, {"sku": None}, {"license": 5}],
)
def test_an_entry_must_say_what_it_cost(facts: dict[str, Any]) -> None:
    with pytest.raises(ProofError):
        tally(call(1, **facts))


def test_what_is_written_is_read_and_nothing_else() -> None:
    text = statement().text()
    assert Statement.parse(text) == statement()
    shown = json.loads(text)
    for changed in (
        text + b" ",
        b"{}",
        b"[]",
        b"\xff",
        canonical({**shown, "until": "20"}),
        canonical({**shown, "complete": 1}),
        canonical({**shown, "lines": [{**shown["lines"][0], "price": 1}]}),
        canonical({**shown, "lines": [{**shown["lines"][0], "more": 1}]}),
        canonical({**shown, "format": "portcullis-statement/2"}),
        canonical({**shown, "customer": "acme"}),
    ):
        with pytest.raises(BundleError):
            Statement.parse(changed)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: with_line(charged=5),
        lambda: with_line(calls=4),
        lambda: with_line(units=7),
        lambda: with_line(amount="9.00"),
        lambda: with_line(first_index=2),
        lambda: with_line(last_index=10),
        lambda: with_line(leaves="0" * 64),
        lambda: with_line(license=str(UUID(int=8))),
        lambda: statement(lines=()),
        lambda: statement(lines=statement().lines * 2),
        lambda: statement(month="2026-10"),
        lambda: statement(origin="another.example/log"),
        lambda: statement(until=9),
        lambda: statement(until=21),
    ],
)
def test_a_statement_that_the_log_does_not_bear_out(wrong: Callable[[], Statement]) -> None:
    statement().check(tally(), ORIGIN, 20)
    with pytest.raises(ProofError):
        wrong().check(tally(), ORIGIN, 20)


def test_a_call_of_the_next_month_is_refused() -> None:
    late = Month.parse("2026-11").span[1]
    with pytest.raises(ProofError, match="another month"):
        statement().check(tally(*ENTRIES, call(10, at=late)), ORIGIN, 20)


def test_the_table_holds_no_formula() -> None:
    table = with_line(model="=cmd").table().decode("utf-8-sig")
    assert ",'=cmd," in table


def test_a_page_is_the_same_bytes_and_its_places_are_right() -> None:
    lines = statement().lines * 30
    page = render(statement(lines=lines), "origin\n20\nroot\n")
    assert page == render(statement(lines=lines), "origin\n20\nroot\n")
    assert page.count(b"/Type /Page ") == 3
    start = int(page.rsplit(b"startxref\n", 1)[1].split(b"\n")[0])
    table = page[start:].split(b"\n")
    assert table[0] == b"xref"
    for number, row in enumerate(table[3 : 2 + int(table[1].split()[1])], start=1):
        place = int(row.split()[0])
        assert page[place:].startswith(f"{number} 0 obj\n".encode())


def test_a_page_takes_no_markup_from_a_name() -> None:
    page = render(with_line(model="a) Tj ET (b\\\n"), "o\n1\nr\n")
    assert b"(a\\) Tj ET \\(b\\\\?" in page
