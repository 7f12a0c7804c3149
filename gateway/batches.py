"""Batches: many rows in one call, and one answer for all, as it is stored and as it is told.

A batch is one row of `Prediction`, one of usage and one entry, however many rows it answered: its
scores stand in that row as a list. A row's answer is named `{batch}_{row}`, with the row's place in
the body, from 0; that is what feedback says it is about.

Pure, and without torch: feedback and the watch read batches by it.
"""

import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from audit.canonical import canonical, decimal
from audit.merkle import leaf_hash, root_of
from gateway.errors import RequestError

MOST_ROWS: Final = 10_000
NAME: Final = r"^([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})(?:_(0|[1-9][0-9]{0,4}))?$"
_NAMED: Final = re.compile(NAME, re.ASCII)


@dataclass(frozen=True)
class Name:
    """What an answer is called by: a prediction, or one row of a batch."""

    prediction: uuid.UUID
    row: int | None = None

    @classmethod
    def read(cls, text: str) -> "Name | None":
        """The name that a text is; None for what names nothing here."""
        found = _NAMED.fullmatch(text)
        if found is None:
            return None
        return cls(uuid.UUID(found[1]), None if found[2] is None else int(found[2]))

    def __str__(self) -> str:
        return str(self.prediction) if self.row is None else f"{self.prediction}_{self.row}"


def rows_of(body: object) -> list[object]:
    """The rows of a parsed body, unread.

    Raises:
        RequestError: `request.body_invalid`, `request.rows_too_many`, with a pointer.
    """
    rows = body.get("rows") if isinstance(body, dict) else None
    if not isinstance(rows, list) or not rows:
        raise RequestError(
            "the rows are a list of at least one", code="request.body_invalid", pointer="/rows"
        )
    if len(rows) > MOST_ROWS:
        raise RequestError(
            f"a batch has at most {MOST_ROWS} rows", code="request.rows_too_many", pointer="/rows"
        )
    return rows


def stored(head: Mapping[str, Any], scores: Sequence[float], decided: Sequence[bool]) -> Any:
    """A batch's answer as its row holds it: no inputs, and no word said twice.

    Args:
        head: `batch`, `model`, `version`, `guarantee`, and `labels`: the positive one, and the
            other (None: any but that).
        scores: of each row.
        decided: whether each row got the positive label.
    """
    return {
        **head,
        "scores": list(scores),
        "decided": "".join("1" if positive else "0" for positive in decided),
    }


def is_batch(answer: Mapping[str, Any]) -> bool:
    """Whether a stored answer is a batch's."""
    return "decided" in answer


def label_of(answer: Mapping[str, Any], row: int) -> str | None:
    """The label that a row of a batch got."""
    positive, other = answer["labels"]
    label: str | None = positive if answer["decided"][row] == "1" else other
    return label


def told(answer: Mapping[str, Any]) -> dict[str, Any]:
    """A stored batch as its caller gets it: every row by its name."""
    batch = answer["batch"]
    return {
        **{name: answer[name] for name in ("batch", "model", "version", "guarantee")},
        "rows": [
            {"prediction": f"{batch}_{row}", "score": score, "label": label_of(answer, row)}
            for row, score in enumerate(answer["scores"])
        ],
    }


def outputs_root(scores: Sequence[float]) -> str:
    """Merkle root (RFC 6962 §2.1) over the scores: leaf i is the canonical `[i, "0.123456"]`.

    Whoever has the answer computes it again, and finds it in the receipt.
    """
    return root_of(
        [leaf_hash(canonical([row, decimal(score)])) for row, score in enumerate(scores)]
    ).hex()


def inputs_root(commitments: Iterator[bytes]) -> str:
    """Merkle root over the rows' keyed hashes, in the order of the rows.

    A single row is shown to have been in a batch by its hash and a path, without the others.
    """
    return root_of([leaf_hash(one) for one in commitments]).hex()
