"""A batch on its way: let in, checked, scored. Imports torch, with `gateway.serving`.

What bounds it: at most `AT_ONCE` batches of a process hold their rows in memory, the body has a
limit (`BATCH_MAX_BYTES`) and so have its rows (`batches.MOST_ROWS`), rows are scored in chunks, and
between two chunks a batch that has taken `BATCH_SECONDS` is given up. Nothing is charged before all
rows are scored.
"""

import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from django.conf import settings

from audit.canonical import canonical
from gateway import batches, serving
from gateway.actions.batches import AnsweredBatch
from gateway.errors import BusyError, Fault, RowsError
from gateway.inputs import COUNTER
from gateway.licensing import Call
from governance import vault
from governance.models import Tenant
from training.errors import PredictionInputError
from training.models import ModelVersion
from training.serving import LoadedModel

AT_ONCE: Final = 2  # batches of a process
TOLD: Final = 100  # faults that are named, of as many as there are
CHUNK: Final = 500  # rows of one matrix product; calls of one row go between two of them
_PATIENCE: Final = 5.0  # seconds to wait for a place

Row = dict[str, str | None]


@dataclass(frozen=True)
class Scored:
    """A batch that was scored, and is not charged yet; its rows are here and nowhere else."""

    batch: AnsweredBatch
    model: LoadedModel
    rows: Sequence[Row]


_places: Final = threading.BoundedSemaphore(AT_ONCE)


@contextmanager
def place() -> Iterator[None]:
    """A place among the batches of this process.

    Raises:
        BusyError: `batch.busy`: none became free.
    """
    if not _places.acquire(timeout=_PATIENCE):
        raise BusyError("other batches are being answered: send it again")
    try:
        yield
    finally:
        _places.release()


def scored(
    rows: Sequence[object],
    *,
    customer: Tenant,
    call: Call,
    version: ModelVersion,
    request_id: str,
    request_digest: str,
) -> Scored:
    """Check and score the rows of an admitted batch.

    Raises:
        RowsError: `request.rows_invalid`: rows do not fit the model's schema.
        BusyError: `batch.too_slow`.
    """
    until = time.monotonic() + settings.BATCH_SECONDS
    model = serving.loaded(version)
    read = _checked(model, rows, until)
    told: list[tuple[float, str | None]] = []
    for start in range(0, len(read), CHUNK):
        _in_time(until)
        told += serving.scores(model, read[start : start + CHUNK])
    target = model.spec.target
    scores = [score for score, _ in told]
    commitments = (
        vault.keyed_hash(customer, "prediction input", canonical([version.artifact_digest, row]))
        for row in read
    )
    made = AnsweredBatch(
        id=uuid.uuid4(),
        call=call,
        version=version,
        scores=scores,
        decided=[label == target.positive for _, label in told],
        labels=(target.positive, target.negative),
        inputs=batches.inputs_root(commitments),
        outputs=batches.outputs_root(scores),
        request_id=request_id,
        request_digest=request_digest,
    )
    _in_time(until)
    return Scored(made, model, read)


def check_parts(parts: Iterable[Sequence[object]], version: ModelVersion) -> int:
    """Check the rows of a file; how many there are.

    Raises:
        RowsError: of the first `TOLD` that are wrong; they are counted from the file's beginning.
    """
    model = serving.loaded(version)
    rows, wrong = 0, 0
    faults: list[Fault] = []
    for part in parts:
        _, found, more = _read(model, part, start=rows)
        faults += found[: TOLD - len(faults)]
        wrong += more
        rows += len(part)
    if wrong:
        raise _rows_error(wrong, rows, faults)
    return rows


def count_inputs(scored: Scored) -> None:
    """Count the inputs of a batch that was charged, for the watch over its version."""
    if scored.batch.call.key.charged:
        for row in scored.rows:
            COUNTER.note(scored.batch.version, scored.model.input_bins, row)


def _checked(model: LoadedModel, rows: Sequence[object], until: float) -> list[Row]:
    """All rows as cells.

    Raises:
        RowsError: of the first `TOLD` that are wrong; the detail says how many there are.
    """
    checked: list[Row] = []
    faults: list[Fault] = []
    wrong = 0
    for start in range(0, len(rows), CHUNK):
        _in_time(until)
        read, found, more = _read(model, rows[start : start + CHUNK], start=start)
        checked += read
        faults += found[: TOLD - len(faults)]
        wrong += more
    if wrong:
        raise _rows_error(wrong, len(rows), faults)
    return checked


def _read(
    model: LoadedModel, rows: Sequence[object], *, start: int
) -> tuple[list[Row], list[Fault], int]:
    """Rows as cells, the first `TOLD` faults, and how many rows are wrong."""
    read: list[Row] = []
    faults: list[Fault] = []
    wrong = 0
    for at, row in enumerate(rows, start):
        try:
            read.append(model.check_row(row))
        except PredictionInputError as error:
            wrong += 1
            if len(faults) < TOLD:
                pointer = f"/rows/{at}{error.pointer or ''}"
                faults.append(Fault(pointer, error.stable_code, error.detail))
    return read, faults, wrong


def _rows_error(wrong: int, rows: int, faults: Sequence[Fault]) -> RowsError:
    return RowsError(f"{wrong} of {rows} rows do not fit the model's schema", faults)


def _in_time(until: float) -> None:
    if time.monotonic() > until:
        raise BusyError(
            "the batch takes too long: send fewer rows at a time", code="batch.too_slow"
        )
