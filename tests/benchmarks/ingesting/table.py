"""The seeded table: half Chinese, half American people in 12 columns, and where each one stands.

    typed   an order number, an amount, a date and a status; seven columns of one entity a cell; a
            free reference column in which every hundredth cell holds an identifier that strayed
    prose   the same, with notes of two sentences in the place of the status and of the IP address

Half of the notes are Chinese, a tenth repeat an earlier note word for word. Names, addresses and
numbers are made of parts, so that hardly a value comes twice: what is fast because it repeats, is
not made to.
"""

import csv
import io
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from string import Formatter
from typing import Final, NamedTuple

from governance.measurement.drawing import Draw
from governance.measurement.fakes import FAKES

SEED: Final = 20_260_101
ROWS: Final = 20_000
_REPEATED: Final = 0.1
_SIGNATURE: Final = 128  # bytes, of what fills the large file
_PIECE: Final = 100  # rows: a file of about some size is that to a percent
_STRAYS: Final = 100  # one reference in so many
_MAKE: Final = {fake.entity: fake.make for fake in FAKES}

COLUMNS: Final = (
    "order_no", "name", "national_id", "mobile", "email", "address", "bank_card", "ip",
    "amount", "created_at", "status", "reference",
)  # fmt: skip
PROSE: Final = ("note", "remark")
_PROSE_PLACES: Final = {"ip": "note", "status": "remark"}
_ENTITIES: Final = {
    "zh": {"name": "PERSON", "national_id": "CN_ID", "mobile": "CN_MOBILE",
           "email": "EMAIL_ADDRESS", "address": "CN_ADDRESS", "bank_card": "CN_BANK_CARD",
           "ip": "IP_ADDRESS"},
    "en": {"name": "PERSON", "national_id": "US_SSN", "mobile": "PHONE_NUMBER",
           "email": "EMAIL_ADDRESS", "address": "STREET_ADDRESS", "bank_card": "CREDIT_CARD",
           "ip": "IP_ADDRESS"},
}  # fmt: skip
_STRAY: Final = ("CN_ID", "CN_MOBILE", "EMAIL_ADDRESS", "CREDIT_CARD", "IBAN_CODE", "CN_USCC")

# {p} the row's person, {o} somebody else, the others by column.
_FIRST: Final = {
    "zh": (
        "{p}来电咨询贷款进度，请回拨{mobile}。", "已与{o}核实，{p}的身份证号为{national_id}。",
        "{p}委托配偶{o}代办，材料发送至{email}。", "已上门核实{p}的住址：{address}。",
        "还款账户{bank_card}已绑定，{p}确认无误。", "紧急联系人{o}，与申请人{p}为同事关系。",
        "今天和{p}谈过，他说{o}愿意做担保人。", "{o}到网点投诉，称未曾为{p}担保。",
    ),
    "en": (
        "{p} called about the loan, call back at {mobile}.",
        "Spoke with {o}, who confirmed that the SSN of {p} is {national_id}.",
        "{p} wants the papers sent to {email} and copied to {o}.",
        "Visited {p} at {address} and saw the property.",
        "Card {bank_card} is linked for repayment, {p} agreed.",
        "Emergency contact is {o}, a colleague of {p}.",
        "Met {p} today, who said that {o} is willing to co-sign.",
        "{o} complained at the branch about never having co-signed for {p}.",
    ),
}  # fmt: skip
_SECOND: Final = {
    "zh": ("资料齐全，等待复核。", "收入证明缺少公章，已通知补交。", "客户要求延长还款期限。",
           "抵押物评估已完成，进入审批流程。", "电话未接通，明日再联系{o}。",
           "材料已交{o}归档，批次{order_no}。"),
    "en": ("All documents received, waiting for review.", "Customer asked for a longer term.",
           "Appraisal is done, no objection.", "No answer by phone, will try {o} again tomorrow.",
           "Forwarded to {o} with reference {order_no}."),
}  # fmt: skip


class Planted(NamedTuple):
    """Characters [start, end) of a cell are `entity`, in a cell of its own or in prose."""

    row: int
    column: str
    start: int
    end: int
    entity: str
    prose: bool


@dataclass(frozen=True)
class Table:
    """The rows by column, and everybody in them."""

    columns: dict[str, list[str]]
    planted: list[Planted]
    places: list[int] | None = None  # of a sample: each row's number in the whole

    @property
    def rows(self) -> int:
        """How many."""
        return len(self.columns["order_no"])

    def sample(self, count: int) -> "Table":
        """`count` rows evenly spaced, renumbered from 0."""
        step = self.rows / count
        places = [int(number * step) for number in range(count)]
        number = {place: i for i, place in enumerate(places)}
        return Table(
            {name: [cells[i] for i in places] for name, cells in self.columns.items()},
            [hit._replace(row=number[hit.row]) for hit in self.planted if hit.row in number],
            places,
        )

    def csv(self) -> bytes:
        """UTF-8, RFC 4180."""
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(self.columns)
        writer.writerows(zip(*self.columns.values(), strict=True))
        return text.getvalue().encode()

    def shares(self) -> str:
        """What the table is, in figures."""
        cells = len(self.columns) * self.rows
        distinct = sum(len(set(values)) for values in self.columns.values())
        told = (
            f"{self.rows:,} rows x {len(self.columns)} columns, {len(self.csv()) / 1e6:.1f} MB,"
            f" {100 * distinct / cells:.0f} % of the cells distinct within their column,"
            f" {len(self.planted):,} planted values"
        )
        notes = [note for name in PROSE for note in self.columns.get(name, ())]
        if notes:
            chinese = sum(any("\u4e00" <= c <= "\u9fff" for c in note) for note in notes)
            told += (
                f"; {len(notes):,} notes, {100 * chinese / len(notes):.0f} % Chinese,"
                f" {100 * (1 - len(set(notes)) / len(notes)):.0f} % repeated"
            )
        return told


def make(*, prose: bool, rows: int = ROWS, seed: int = SEED) -> Table:
    """The table of one variant; the same seed makes the same rows."""
    names = [_PROSE_PLACES.get(name, name) if prose else name for name in COLUMNS]
    columns: dict[str, list[str]] = {name: [] for name in names}
    planted: list[Planted] = []
    people = _People(Draw(seed))
    notes = {name: _Notes(people) for name in PROSE}
    for row in range(rows):
        language = people.draw.one(["zh", "en"])
        cells = people.row(row, language)
        for name, entity in _ENTITIES[language].items():
            if name in columns:
                planted.append(Planted(row, name, 0, len(cells[name]), entity, prose=False))
        if row % _STRAYS == 0:
            entity = people.draw.one(_STRAY)
            cells["reference"] = _MAKE[entity](people.draw)
            planted.append(
                Planted(row, "reference", 0, len(cells["reference"]), entity, prose=False)
            )
        if prose:
            for name, writer in notes.items():
                cells[name], spans = writer.write(language, cells)
                planted.extend(Planted(row, name, *span, prose=True) for span in spans)
        for name in names:
            columns[name].append(cells[name])
    return Table(columns, planted)


class _People:
    """Rows of people, whose names and streets are put together from parts."""

    def __init__(self, draw: Draw) -> None:
        self.draw = draw
        self._first = [name.split(" ", maxsplit=1)[0] for name in draw.english_names]
        self._last = [name.rsplit(" ", maxsplit=1)[1] for name in draw.english_names]
        chinese = [name for name in draw.chinese_names if len(name) in {2, 3}]
        self._surnames = [name[:1] for name in chinese]
        self._given = [name[1:] for name in chinese]

    def name(self, language: str) -> str:
        """One of some hundred thousand names."""
        one = self.draw.one
        if language == "zh":
            return one(self._surnames) + one(self._given)
        return f"{one(self._first)} {one(self._last)}"

    def row(self, row: int, language: str) -> dict[str, str]:
        """The cells of one row but the notes."""
        draw = self.draw
        cells = {
            column: _MAKE[entity](draw)
            for column, entity in _ENTITIES[language].items()
            if column not in {"name", "address"}
        }
        return {
            **cells,
            "order_no": f"SO-{row:07d}",
            "name": self.name(language),
            "address": self._address(language),
            "amount": f"{draw.between(10, 99_999)}.{draw.digits(2)}",
            "created_at": f"2025-{draw.between(1, 12):02d}-{draw.between(1, 28):02d}",
            "status": draw.one(["open", "closed", "pending", "已完成", "处理中"]),
            "reference": f"{draw.letters(3)}-{draw.digits(5)}",
        }

    def _address(self, language: str) -> str:
        draw = self.draw
        if language == "zh":
            whole = draw.one(draw.chinese_addresses)
            street = whole[: next(i for i, c in enumerate(whole) if c.isdigit())]
            flat = f"{draw.between(1, 9)}单元{draw.between(101, 2804)}室"
            return f"{street}{draw.between(1, 999)}号{flat}"
        return f"{draw.between(1, 9999)} {draw.one(draw.english_addresses).split(' ', 1)[1]}"


class _Notes:
    """A column of notes, some of which come again."""

    def __init__(self, people: _People) -> None:
        self._people = people
        self._written: dict[str, list[tuple[str, list[tuple[int, int, str]]]]] = {
            "zh": [],
            "en": [],
        }

    def write(self, language: str, cells: dict[str, str]) -> tuple[str, list[tuple[int, int, str]]]:
        """Two sentences, and who stands where in them."""
        draw, written = self._people.draw, self._written[language]
        if written and draw.chance(_REPEATED):
            return draw.one(written)
        joint = "" if language == "zh" else " "
        template = draw.one(_FIRST[language]) + joint + draw.one(_SECOND[language])
        values = {"p": cells["name"], "o": self._people.name(language)}
        named = {**_ENTITIES[language], "p": "PERSON", "o": "PERSON"}
        text = ""
        spans: list[tuple[int, int, str]] = []
        for before, field, _, _ in Formatter().parse(template):
            text += before
            if field is not None:
                value = values.get(field) or cells[field]
                if field in named:
                    spans.append((len(text), len(text) + len(value), named[field]))
                text += value
        written.append((text, spans))
        return text, spans


def big_csv(size: int, write: Callable[[bytes], object]) -> int:
    """Write about `size` bytes of the typed table and a column of signatures; returns the rows.

    Blocks of the same rows come again with new order numbers, e-mail addresses, amounts and
    signatures, and other people beside other numbers: what is kept for each value that was seen
    would show.
    """
    table = make(prose=False, rows=ROWS)
    names = [*table.columns, "signature"]
    written = rows = block = 0
    write((",".join(names) + "\n").encode())
    while written < size:
        for piece in _blocks(table, names, block):
            write(piece)
            written += len(piece)
            rows += piece.count(b"\n")
            if written >= size:
                break
        block += 1
    return rows


def _blocks(table: Table, names: list[str], block: int) -> Iterator[bytes]:
    columns = dict(table.columns)
    columns["order_no"] = [f"SO-{block:05d}-{row:05d}" for row in range(table.rows)]
    columns["email"] = [f"b{block}.{cell}" for cell in table.columns["email"]]
    columns["amount"] = [f"{block}{cell}" for cell in table.columns["amount"]]
    rng = random.Random(block)
    columns["signature"] = [rng.randbytes(_SIGNATURE).hex() for _ in range(table.rows)]
    shift = block * 997 % table.rows  # other people beside other numbers
    for name in ("name", "mobile", "bank_card"):
        columns[name] = columns[name][shift:] + columns[name][:shift]
    for start in range(0, table.rows, _PIECE):
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows(
            zip(*(columns[name][start : start + _PIECE] for name in names), strict=True)
        )
        yield text.getvalue().encode()
