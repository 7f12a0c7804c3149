"""Why a model gave this score to this row: SHAP over a callable, recorded so that it can be re-run.

The callable takes (n, features) raw cells and returns (n,) scores, so a category column is one
feature and nothing here knows what a model is. The background is declared when a model is
registered, before any query (arXiv 1911.02508), and is synthetic or public: explaining against real
rows would be a release about them.

Up to ten features are explained exactly (every coalition); more, by antithetic permutations. shap's
permutation explainer draws from NumPy's global generator, so each row gets a fresh explainer, under
a lock, with a seed that follows from record id and model digest, and the generator's state is put
back. The exact explainer draws nothing, and waits for nobody.

Imports shap (a second): only what explains imports this module.
"""

import os
import platform
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from audit.canonical import digest
from audit.explanation_records import (
    EXACT,
    FORMAT,
    ORIGINS,
    PERMUTATION,
    REPRODUCTION_TOLERANCE,
    RESIDUAL_TOLERANCE,
    ExplanationError,
    Grade,
    Verdict,
    blob,
    number,
    seed_of,
    shown,
    unblob,
    verify_record,
)

# shap compiles its loops at first use: 7 s a process, for no gain at our sizes (23 ms a row either
# way).
os.environ.setdefault("NUMBA_DISABLE_JIT", "1")

import shap  # after the line above, which it reads when imported

__all__ = ["Background", "explain_row", "reproduce", "shown", "verify_record"]

Cell = str | float | int | None
Predict = Callable[[npt.NDArray[np.object_]], npt.NDArray[np.float64]]

EXACT_UP_TO: Final = 10
PERMUTATIONS: Final = 10
_GLOBAL_GENERATOR: Final = threading.Lock()


@dataclass(frozen=True)
class Background:
    """Rows against which a row is explained.

    Attributes:
        features: column names, in the callable's order.
        rows: cells in that order.
        origin: why these rows are nobody's ("synthetic: …", "public: …").
    """

    features: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    origin: str

    def __post_init__(self) -> None:
        if not self.features or not self.rows:
            raise ExplanationError("a background needs features and rows")
        if any(len(row) != len(self.features) for row in self.rows):
            raise ExplanationError("a background row has another number of cells")
        if not self.origin.startswith(ORIGINS):
            raise ExplanationError(
                "a background must be declared synthetic or public",
                code="explanation.background_private",
            )

    @classmethod
    def from_rows(
        cls, rows: Sequence[Mapping[str, Cell]], features: Sequence[str], origin: str
    ) -> "Background":
        """Build one from rows by column name.

        Raises:
            ExplanationError: no rows, a column is missing, or the origin is not public.
        """
        try:
            cells = tuple(tuple(row[name] for name in features) for row in rows)
        except KeyError:
            raise ExplanationError("a background row lacks a feature") from None
        return cls(tuple(features), cells, origin)

    def digest(self) -> str:
        """SHA-256 of features, rows and origin."""
        return digest(
            {
                "features": self.features,
                "rows": [
                    [number(cell) if isinstance(cell, float) else cell for cell in row]
                    for row in self.rows
                ],
                "origin": self.origin,
            }
        )


def explain_row(
    predict: Predict,
    row: Sequence[Cell],
    background: Background,
    *,
    record_id: str,
    model_digest: str,
    input_commitment: str,
    permutations: int = PERMUTATIONS,
    versions: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Explain one row and return its record, ready for canonical JSON.

    Args:
        predict: (n, features) object array of cells to (n,) scores; deterministic.
        row: cells in the background's feature order.
        background: synthetic or public rows.
        record_id: identity of the prediction.
        model_digest: identity of the model behind `predict`.
        input_commitment: a keyed or salted commitment to the row; the row itself is not recorded.
        permutations: antithetic pairs of passes where the method is not exact.
        versions: further versions to record, such as the model runtime's.

    Raises:
        ExplanationError: the row has another number of cells, or a score is not finite.
    """
    method = EXACT if len(background.features) <= EXACT_UP_TO else PERMUTATION
    seed = seed_of(record_id, model_digest)
    computed = _attribute(predict, row, background, method, seed, permutations)
    parameters: dict[str, object] = {"background_rows": len(background.rows), "link": "identity"}
    if method == PERMUTATION:
        parameters["permutations"] = permutations
    return {
        "format": FORMAT,
        "record_id": record_id,
        "model_digest": model_digest,
        "background_digest": background.digest(),
        "background_origin": background.origin,
        "input_commitment": input_commitment,
        "features": list(background.features),
        "method": method,
        "parameters": parameters,
        "seed": seed.hex(),
        "versions": {
            "numpy": np.__version__,
            "python": platform.python_version(),
            "shap": shap.__version__,
            **(versions or {}),
        },
        "device": "cpu",
        "dtype": "float64",
        "output": number(computed.output),
        "base_value": number(computed.base),
        "attributions": blob(computed.attributions),
        "standard_errors": blob(computed.errors),
        "residual": number(computed.output - computed.base - float(np.sum(computed.attributions))),
        "tolerance": {
            "residual": number(RESIDUAL_TOLERANCE),
            "reproduction": number(REPRODUCTION_TOLERANCE),
        },
    }


def reproduce(
    record: Mapping[str, Any],
    predict: Predict,
    row: Sequence[Cell],
    background: Background,
    *,
    committed: str | None = None,
) -> Verdict:
    """Check a record and run it again: *reproduced* if every attribution is within tolerance.

    `committed` is the digest in the log's entry (`verify_record`). A broken record is not run. A
    background with another digest is a failed check, not a re-run against something else.
    """
    verdict = verify_record(record, committed=committed)
    if verdict.grade is Grade.BROKEN:
        return verdict
    if (
        record["background_digest"] != background.digest()
        or record["background_origin"] != background.origin
        or tuple(record["features"]) != background.features
    ):
        return Verdict(Grade.BROKEN, ("background",))
    computed = _attribute(
        predict,
        row,
        background,
        record["method"],
        bytes.fromhex(record["seed"]),
        int(record["parameters"].get("permutations", PERMUTATIONS)),
    )
    recorded = np.array(unblob(record["attributions"]))
    largest = max(
        float(np.abs(recorded - computed.attributions).max()),
        abs(float(record["output"]) - computed.output),
        abs(float(record["base_value"]) - computed.base),
    )
    if largest <= REPRODUCTION_TOLERANCE:
        return Verdict(Grade.REPRODUCED, (), largest)
    return Verdict(Grade.CONSISTENT, ("reproduction",), largest)


@dataclass(frozen=True)
class _Attributed:
    output: float
    base: float
    attributions: list[float]
    errors: list[float]


def _attribute(
    predict: Predict,
    row: Sequence[Cell],
    background: Background,
    method: str,
    seed: bytes,
    permutations: int,
) -> _Attributed:
    """Attributions, and their standard errors: 0 where exact.

    The standard error takes the forward and backward pass of a permutation for independent. They
    are antithetic, so it errs on the large side.
    """
    width = len(background.features)
    if len(row) != width:
        raise ExplanationError("the row has another number of cells than the background")
    if permutations < 1:
        raise ExplanationError("at least one permutation is needed")
    codes = _Codes([*background.rows, tuple(row)])
    references, subject = codes.table[:-1], codes.table[-1:]

    def score(table: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.asarray(predict(codes.cells(table)), dtype=np.float64)

    alone = score(subject)
    against = score(references)
    if not (np.isfinite(alone).all() and np.isfinite(against).all()):
        raise ExplanationError("a score is not finite", code="explanation.not_finite")
    masker = shap.maskers.Independent(references, max_samples=len(references))
    if method == EXACT:
        explained = shap.explainers.ExactExplainer(score, masker)(
            subject, max_evals=2**width, silent=True
        )
        errors = np.zeros(width)
    else:
        with _GLOBAL_GENERATOR:
            state = np.random.get_state()  # noqa: NPY002 - shap draws from the global generator
            try:
                explained = shap.explainers.PermutationExplainer(
                    score, masker, seed=np.frombuffer(seed, dtype="<u4")
                )(
                    subject,
                    max_evals=permutations * (2 * width + 1),
                    error_bounds=True,
                    silent=True,
                )
            finally:
                np.random.set_state(state)  # noqa: NPY002 - as above
        errors = np.asarray(explained.error_std[0]) / np.sqrt(2 * permutations)
    return _Attributed(
        output=float(alone[0]),
        base=float(against.mean()),
        attributions=[float(value) for value in np.asarray(explained.values[0])],
        errors=[float(value) for value in errors],
    )


class _Codes:
    """Cells as numbers, for shap masks float tables only: a column's distinct cells, numbered.

    shap treats a background cell that equals the row's as unchanged, and equal codes are equal
    cells.
    """

    def __init__(self, rows: Sequence[tuple[Cell, ...]]) -> None:
        self._books: list[npt.NDArray[np.object_]] = []
        self.table = np.empty((len(rows), len(rows[0])))
        for place, column in enumerate(zip(*rows, strict=True)):
            numbered: dict[tuple[type, Cell], int] = {}
            for index, cell in enumerate(column):
                self.table[index, place] = numbered.setdefault((type(cell), cell), len(numbered))
            book = np.empty(len(numbered), dtype=object)
            book[:] = [cell for _, cell in numbered]
            self._books.append(book)

    def cells(self, table: npt.NDArray[np.float64]) -> npt.NDArray[np.object_]:
        """(n, features) codes back to (n, features) cells."""
        decoded = np.empty(table.shape, dtype=object)
        for place, book in enumerate(self._books):
            decoded[:, place] = book[table[:, place].astype(np.intp)]
        return decoded
