"""The demo's table: every row of UCI Adult given to a person who does not exist.

Half of the people are Chinese, half American. All names, streets, phone prefixes, jobs and user
names are Faker's, drawn into pools once (a Faker call takes 30 µs or more) and combined by a seeded
generator, so that two runs make the same bytes. No number here can be a living person's:

- A Chinese resident identity number has a right checksum (GB 11643) and a birth date of 1850-1899.
- An American social security number has an area of 900-999 and a group below 50. SSA never issued
  an area of 9xx, and IRS gives taxpayer numbers in 9xx groups from 50 up only. Presidio's
  UsSsnRecognizer takes both for well-formed.
- An American telephone number is in 555-0100 to 555-0199, which is kept for fiction.
- Bank cards have a right Luhn digit and prefixes of test cards: 620000 and 400000.
- E-mail is at example.com, example.net and example.org (RFC 2606).

China keeps no range of mobile numbers for fiction: those are random digits behind a real prefix, as
Faker makes them, and stand beside an invented name.
"""

import csv
import io
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import phonenumbers
from faker import Faker

from gateway.demo import notes
from gateway.demo.adult import ADULT_DECLARATIONS, COLUMNS, TARGET, adult, held_out, split

__all__ = [
    "ADULT_DECLARATIONS",
    "FIELDS",
    "SUBJECT",
    "TARGET",
    "Person",
    "Planted",
    "csv_pieces",
    "held_out",
    "people",
    "planted",
    "rows",
    "split",
    "write_csv",
]

SEED: Final = 20_260_101
SUBJECT: Final = "person_id"

PERSONAL: Final = ("name", "national_id", "mobile", "email", "address", "bank_card")
FIELDS: Final = (SUBJECT, *PERSONAL, *COLUMNS[:-1], "note", TARGET)

ENTITIES: Final[Mapping[str, Mapping[str, str]]] = {
    "zh": {
        "name": "PERSON",
        "national_id": "CN_ID",
        "mobile": "CN_MOBILE",
        "email": "EMAIL_ADDRESS",
        "address": "CN_ADDRESS",
        "bank_card": "CN_BANK_CARD",
    },
    "en": {
        "name": "PERSON",
        "national_id": "US_SSN",
        "mobile": "PHONE_NUMBER",
        "email": "EMAIL_ADDRESS",
        "address": "LOCATION",
        "bank_card": "CREDIT_CARD",
    },
}

_POOL: Final = 3000
_PARTS: Final = 600  # of a part that is combined with others
_MANAGERS: Final = 40
_CSV_ROWS: Final = 1000
_MAIL_HOSTS: Final = ("example.com", "example.net", "example.org")
_MOD11_2: Final = "10X98765432"  # GB 11643-1999


@dataclass(frozen=True, slots=True)
class Person:
    """One row: its number (from 1), language, cells by column, and where entities are planted."""

    row: int
    language: str
    cells: dict[str, str]
    note_spans: tuple[notes.Span, ...]


class ByteWriter(Protocol):
    """What a table is written to."""

    def write(self, data: bytes, /) -> object:
        """Take the bytes, all of them."""
        ...


class Planted(NamedTuple):
    """Ground truth for recall: characters [start, end) of a cell are this entity.

    `entity` is the most specific name the catalog has for it; a recognizer that gives the same
    characters another name has found them as well.
    """

    row: int
    column: str
    start: int
    end: int
    entity: str


def people(
    folder: Path | None = None, *, seed: int = SEED, count: int | None = None
) -> Iterator[Person]:
    """The people, in UCI's order: 32,561, or the first `count`.

    Args:
        folder: where `adult.data` is; None for the installed package.
        seed: of everything that is invented.
        count: how many; None for all.

    Raises:
        DemoTableError: the UCI table is not installed.
    """
    table = adult(folder)
    rng = random.Random(seed)  # noqa: S311 - reproducible fiction, not a secret
    makers = {"zh": _Chinese(seed, rng), "en": _American(seed, rng)}
    for number, row in enumerate(table, start=1):
        if count is not None and number > count:
            return
        language = rng.choice(("zh", "en"))
        maker = makers[language]
        personal = maker.personal(row["sex"])
        values = {
            **personal,
            "person": personal["name"],
            "other": rng.choice(maker.names[rng.choice(("Male", "Female"))]),
            "manager": rng.choice(maker.managers),
            "job": rng.choice(maker.jobs),
        }
        named = ENTITIES[language]
        entities = {**named, "person": "PERSON", "other": "PERSON", "manager": "PERSON"}
        note, spans = notes.write(rng, maker.phrases, values, entities)
        cells = {SUBJECT: f"U-{number:06d}", **personal, **row, "note": note}
        yield Person(number, language, {field: cells[field] for field in FIELDS}, spans)


def rows(
    folder: Path | None = None, *, seed: int = SEED, count: int | None = None
) -> Iterator[dict[str, str]]:
    """The cells of `people`, one dictionary a row."""
    for person in people(folder, seed=seed, count=count):
        yield person.cells


def planted(table: Iterable[Person]) -> Iterator[Planted]:
    """Where the people of `table` are, cell by cell: whole cells, and spans of notes."""
    for person in table:
        for column, entity in ENTITIES[person.language].items():
            yield Planted(person.row, column, 0, len(person.cells[column]), entity)
        for span in person.note_spans:
            yield Planted(person.row, "note", *span)


def csv_pieces(
    folder: Path | None = None, *, seed: int = SEED, count: int | None = None
) -> Iterator[bytes]:
    """The table as UTF-8 CSV (RFC 4180) in pieces of a thousand rows, the header in the first."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, FIELDS)
    writer.writeheader()
    for number, row in enumerate(rows(folder, seed=seed, count=count), start=1):
        writer.writerow(row)
        if number % _CSV_ROWS == 0:
            yield text.getvalue().encode()
            text.seek(0)
            text.truncate()
    if text.tell():
        yield text.getvalue().encode()


def write_csv(
    file: ByteWriter, folder: Path | None = None, *, seed: int = SEED, count: int | None = None
) -> int:
    """Write the table to anything with `write(bytes)`; return how many bytes were written."""
    written = 0
    for piece in csv_pieces(folder, seed=seed, count=count):
        file.write(piece)
        written += len(piece)
    return written


class _Maker(ABC):
    """Pools of Faker's parts in one language."""

    phrases: notes.Phrases

    def __init__(self, locale: str, seed: int, rng: random.Random) -> None:
        self.fake = Faker(locale)
        self.fake.seed_instance(seed)
        self.rng = rng
        self.names = self.named()
        # The few people whose names stand in many notes.
        self.managers = rng.sample(self.names["Male"] + self.names["Female"], _MANAGERS)
        self.jobs = self.pool(self.fake.job, 300)
        self._accounts = self.pool(self.fake.user_name, _PARTS)
        self._ids: set[str] = set()

    @abstractmethod
    def named(self) -> dict[str, list[str]]:
        """Pools of full names: Adult's "Male" and "Female"."""

    @abstractmethod
    def personal(self, sex: str) -> dict[str, str]:
        """The personal columns of one row."""

    def pool(self, make: Callable[[], str], size: int = _POOL) -> list[str]:
        """`size` draws from one of Faker's methods."""
        return [make() for _ in range(size)]

    def email(self) -> str:
        """An address at a host that is kept for examples."""
        account, number = self.rng.choice(self._accounts), self.rng.randrange(1000)
        return f"{account}{number}@{self.rng.choice(_MAIL_HOSTS)}"

    def once(self, make: Callable[[], str]) -> str:
        """A value of `make` that was not given before."""
        while (value := make()) in self._ids:
            pass
        self._ids.add(value)
        return value

    def card(self, prefix: str, length: int) -> str:
        """A card number of `length` digits with its Luhn digit (ISO/IEC 7812-1)."""
        free = length - len(prefix) - 1
        body = f"{prefix}{self.rng.randrange(10**free):0{free}d}"
        total = 0
        for place, digit in enumerate(reversed(body)):
            doubled = int(digit) * (1 if place % 2 else 2)
            total += doubled // 10 + doubled % 10
        return f"{body}{-total % 10}"


class _Chinese(_Maker):
    phrases = notes.CHINESE

    def __init__(self, seed: int, rng: random.Random) -> None:
        super().__init__("zh_CN", seed, rng)
        fake = self.fake
        # Faker's numbers begin with codes of counties that exist.
        self._regions = sorted({fake.ssn()[:6] for _ in range(_PARTS)})
        self._prefixes = sorted({str(fake.phonenumber_prefix()) for _ in range(_POOL)})
        provinces = set(self.pool(fake.province, 500))
        self._provinces = sorted(p for p in provinces if p.endswith(("省", "市", "自治区")))
        self._cities = sorted({fake.city_name() for _ in range(_POOL)})
        self._districts = sorted({fake.district() for _ in range(_POOL)})
        self._streets = self.pool(fake.street_name, _PARTS)

    def named(self) -> dict[str, list[str]]:
        return {
            "Male": self.pool(self.fake.name_male),
            "Female": self.pool(self.fake.name_female),
        }

    def personal(self, sex: str) -> dict[str, str]:
        return {
            "name": self.rng.choice(self.names[sex]),
            "national_id": self.once(lambda: self._resident_id(sex)),
            "mobile": f"{self.rng.choice(self._prefixes)}{self.rng.randrange(10**8):08d}",
            "email": self.email(),
            "address": self._address(),
            "bank_card": self.card("620000", 19),
        }

    def _resident_id(self, sex: str) -> str:
        """Region, birth date before 1900, sequence number (odd for men), check character."""
        rng = self.rng
        year, month, day = rng.randint(1850, 1899), rng.randint(1, 12), rng.randint(1, 28)
        sequence = rng.randrange(500) * 2 + (sex == "Male")
        body = f"{rng.choice(self._regions)}{year}{month:02d}{day:02d}{sequence:03d}"
        total = sum(int(digit) * 2 ** (17 - place) for place, digit in enumerate(body))
        return body + _MOD11_2[total % 11]

    def _address(self) -> str:
        rng = self.rng
        place = rng.choice(self._provinces)
        if not place.endswith("市"):
            place += f"{rng.choice(self._cities)}市"
        street = f"{rng.choice(self._streets)}{rng.randint(1, 300)}号"
        flat = f"{rng.randint(1, 9)}单元{rng.randint(1, 30)}{rng.randint(1, 4):02d}室"
        return f"{place}{rng.choice(self._districts)}区{street}{flat}"


class _American(_Maker):
    phrases = notes.ENGLISH

    def __init__(self, seed: int, rng: random.Random) -> None:
        super().__init__("en_US", seed, rng)
        fake = self.fake
        self._areas = [
            area
            for area in range(200, 1000)
            if phonenumbers.is_valid_number(phonenumbers.parse(f"+1{area}5550100"))
        ]
        self._streets = self.pool(fake.street_name, _PARTS)
        self._flats = self.pool(fake.secondary_address, 500)
        self._cities = self.pool(fake.city, _PARTS)
        self._states = sorted({fake.state_abbr(include_territories=False) for _ in range(_POOL)})

    def named(self) -> dict[str, list[str]]:
        last = self.pool(self.fake.last_name, _PARTS)
        first = {
            "Male": self.pool(self.fake.first_name_male, _PARTS),
            "Female": self.pool(self.fake.first_name_female, _PARTS),
        }
        choice = self.rng.choice
        return {
            sex: [f"{choice(names)} {choice(last)}" for _ in range(_POOL)]
            for sex, names in first.items()
        }

    def personal(self, sex: str) -> dict[str, str]:
        rng = self.rng
        return {
            "name": rng.choice(self.names[sex]),
            "national_id": self.once(self._social_security),
            "mobile": f"{rng.choice(self._areas)}-555-01{rng.randrange(100):02d}",
            "email": self.email(),
            "address": self._address(),
            "bank_card": self.card("400000", 16),
        }

    def _social_security(self) -> str:
        rng = self.rng
        area, group, serial = rng.randint(900, 999), rng.randint(1, 49), rng.randint(1, 9999)
        return f"{area}-{group:02d}-{serial:04d}"

    def _address(self) -> str:
        rng = self.rng
        street = f"{rng.randint(1, 9999)} {rng.choice(self._streets)}"
        flat = f" {rng.choice(self._flats)}" if rng.random() < 1 / 3 else ""
        region = f"{rng.choice(self._states)} {rng.randint(501, 99950):05d}"
        return f"{street}{flat}, {rng.choice(self._cities)}, {region}"
