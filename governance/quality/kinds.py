"""What a cell looks like: missing, a stand-in for missing, a number, a date, a truth, or text."""

from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

Places = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]


class CellKind(StrEnum):
    """The kinds that cells are counted by."""

    INTEGER = "integer"
    REAL = "real"
    DATE = "date"
    BOOLEAN = "boolean"
    TEXT = "text"


KINDS: Final = tuple(CellKind)
STANDS_IN: Final = len(KINDS)  # the place of no kind: a word for a missing value

# Words that stand for a missing value, in lower case.
STAND_INS: Final = (
    "?", "-", "--", "—", "/", "na", "n/a", "#n/a", "nan", "nil", "null", "none", "\\n",
    "无", "空", "缺失", "未知", "暂无",
)  # fmt: skip

_TRUTHS: Final = ("true", "false", "yes", "no", "是", "否", "真", "假")
_LONGEST_WORD: Final = 9  # bytes; of those above
_LONGEST_DATE: Final = 40
_INTEGER: Final = r"^[+-]?[0-9]+$"
_DATE: Final = (
    r"^[0-9]{4}(?:[-/.][0-9]{1,2}[-/.][0-9]{1,2}|年[0-9]{1,2}月[0-9]{1,2}日?)"
    r"(?:[T ][0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?(?:Z|[+-][0-9]{2}:?[0-9]{2})?)?$"
    r"|^[0-9]{1,2}[-/.][0-9]{1,2}[-/.][0-9]{4}$"
)


def read_kinds(texts: pl.Series) -> tuple[Places, Numbers]:
    """Tell the kind of each text, and its number where it is one.

    Args:
        texts: stripped, without nulls and empty texts.

    Returns:
        The kind of each as its place in `KINDS` (`STANDS_IN` for a stand-in), and the finite number
        that it is, or nan.
    """
    numbers = texts.cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy()
    numeric = np.isfinite(numbers)
    numbers = np.where(numeric, numbers, np.nan)
    places = np.full(len(texts), KINDS.index(CellKind.TEXT), np.int64)
    places[numeric] = KINDS.index(CellKind.REAL)
    sizes = texts.str.len_bytes().to_numpy()

    def mark(where: Places, chosen: pl.Series, place: int) -> None:
        places[where[chosen.to_numpy()]] = place

    whole = np.flatnonzero(numeric)
    mark(whole, texts.gather(whole).str.contains(_INTEGER), KINDS.index(CellKind.INTEGER))
    short = np.flatnonzero(~numeric & (sizes <= _LONGEST_DATE))
    mark(short, texts.gather(short).str.contains(_DATE), KINDS.index(CellKind.DATE))
    word = np.flatnonzero(~numeric & (sizes <= _LONGEST_WORD))
    lower = texts.gather(word).str.to_lowercase()
    mark(word, lower.is_in(_TRUTHS), KINDS.index(CellKind.BOOLEAN))
    mark(word, lower.is_in(STAND_INS), STANDS_IN)
    return places, numbers
