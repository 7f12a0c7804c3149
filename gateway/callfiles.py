"""Files of rows: sealed as they arrive, read as rows, answered under names that follow.

A file is answered in parts of `PART` rows, each of which is a batch: charged, recorded and
receipted as one, under the request id `{file}-{part}`. Whoever takes up a file that a dead worker
left finds by these names what was answered, so that no row is charged twice.
"""

import csv
import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Final
from uuid import UUID

from django.conf import settings

from gateway.batches import label_of
from gateway.errors import CallFileError
from gateway.models import CallFile, Prediction
from governance.models import StoredObject, Tenant
from governance.scoping import tenant_scope
from governance.vault import ObjectWriter, discard

ANSWER: Final = "answer_file"  # kind of job
QUEUE: Final = "serve"
KIND: Final = "call_file"  # of the sealed object
PART: Final = 1_000  # rows
MOST_ROWS: Final = 1_000_000
OPEN_AT_ONCE: Final = 20  # files of one license that wait or are answered
FORMS: Final = {"text/csv": "csv", "application/vnd.apache.parquet": "parquet"}
_PIECE: Final = 1 << 18  # bytes


@dataclass(frozen=True)
class Sealed:
    """A file that was sealed on its way in, and is in no row yet."""

    stored: StoredObject
    form: str
    sha256: bytes  # of what came; it enters the log under the customer's key alone


@contextmanager
def sealed(tenant: Tenant, stream: IO[bytes], form: str) -> Iterator[Sealed]:
    """Seal a body piece by piece; what no action took in by the end is removed.

    Raises:
        CallFileError: `callfile.too_large`, `callfile.empty`.
    """
    seen, size = hashlib.sha256(), 0
    with ObjectWriter(tenant, KIND) as writer:
        while piece := stream.read(_PIECE):
            size += len(piece)
            if size > settings.CALL_FILE_MAX_BYTES:
                raise CallFileError(
                    f"the file is larger than {settings.CALL_FILE_MAX_BYTES} bytes",
                    code="callfile.too_large",
                )
            seen.update(piece)
            writer.write(piece)
        if not size:
            raise CallFileError("there is no file", code="callfile.empty")
        made = Sealed(writer.finish(), form, seen.digest())
        yield made
        if made.stored._state.adding:  # noqa: SLF001  # Django's own word for "not saved"
            discard(made.stored)


def name_of(file: UUID, part: int) -> str:
    """The request id of a part."""
    return f"{file.hex}-{part}"


def answers(file: CallFile) -> Iterator[str]:
    """The answers to a file as CSV, a part at a time: `prediction,score,label`, in its order.

    No scope needs to be open: a download goes on when the view has ended.
    """
    yield "prediction,score,label\r\n"
    for part in range(-(-file.rows // PART)):
        with tenant_scope(file.tenant_id):
            row = Prediction.objects.only("answer").get(request_id=name_of(file.id, part))
        told = io.StringIO()
        writer = csv.writer(told)
        for place, score in enumerate(row.answer["scores"]):
            writer.writerow([f"{row.id}_{place}", f"{score:.6f}", label_of(row.answer, place)])
        yield told.getvalue()
