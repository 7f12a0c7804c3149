"""Identity documents of other countries: `countries.csv`, a row an entity.

A row is searched for only where its regime is declared, so that a German post code never competes
with a Chinese one. Its `recognizer` is the class of Presidio that reads it; a row without one is
read by rules of our own in `documents`. Its `weight` says what a match proves:

- `shape`: nothing without a word beside it, whatever its check digit says;
- `bare`: nothing without a word while it is digits alone, of which one random number in ten passes
  a check digit; with its separators it stands by itself;
- `proof`: what the validator says.
"""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, cast

Weight = Literal["shape", "bare", "proof"]


@dataclass(frozen=True, slots=True)
class Document:
    """A document of a country; `gate` names the cheap condition that a cell must meet."""

    entity: str
    sensitivity: Literal["S", "G"]
    regimes: tuple[str, ...]
    recognizer: str
    gate: str
    weight: Weight
    headers: tuple[str, ...]
    context: tuple[str, ...]


def _read(row: dict[str, str]) -> Document:
    headers = tuple(filter(None, row["headers"].split("|")))
    return Document(
        row["entity"],
        cast("Literal['S', 'G']", row["sensitivity"]),
        tuple(row["regimes"].split()),
        row["recognizer"],
        row["gate"],
        cast("Weight", row["weight"]),
        headers,
        (*headers, *filter(None, row["context"].split("|"))),
    )


with Path(__file__).with_name("countries.csv").open(encoding="utf-8", newline="") as _file:
    DOCUMENTS: Final = tuple(map(_read, csv.DictReader(_file)))
