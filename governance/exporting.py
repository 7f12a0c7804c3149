"""Anonymized rows out of the house: read, looked at once more, written, and only then named.

The file grows under a temporary name beside its own. When the last re-scan finds anything, or the
process dies, no file of the asked name exists.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from governance.actions.datasets import begin_export, finish_export
from governance.anonymization.release import rescan
from governance.errors import InvalidError
from governance.models import DatasetVersion
from governance.models.datasets import entity_totals
from governance.rbac import UserActor
from governance.recognition.plan import ColumnPlan
from governance.tables.reading import format_of
from governance.tables.writing import chunk_writer, read_version
from governance.vault import open_object


def export(actor: UserActor, version: DatasetVersion, out: Path) -> int:
    """Write a version to a new file, CSV, JSONL or Parquet by its suffix; returns the rows.

    Raises:
        RefusedError: `release.leaks`; no file is left.
        InvalidError: `file.exists`, `file.unwritable`.
        TableError: a suffix that is none of ours.
    """
    form = format_of(out.name)
    begin_export(actor, version, format=form.value)
    plan = ColumnPlan.from_dict(version.plan.as_json())
    names = [column["name"] for column in version.columns]
    rows = 0
    with _named_when_done(out) as file:
        writer = chunk_writer(file, form, names)
        try:
            with open_object(version.stored) as stored:
                for frame in read_version(stored):
                    leaks = sum(entity_totals(rescan(frame, plan)).values())
                    if leaks:  # refuses, before a byte of this frame is written
                        finish_export(actor, version, rows=rows, format=form.value, leaks=leaks)
                    writer.write({name: frame[name].to_list() for name in names})
                    rows += frame.height
        except BaseException:
            writer.abandon()
            raise
        writer.close()
        finish_export(actor, version, rows=rows, format=form.value, leaks=0)
    return rows


@contextmanager
def _named_when_done(out: Path) -> Iterator[BinaryIO]:
    if out.exists():
        raise InvalidError("something is there already", code="file.exists")
    part = out.with_name(f".{out.name}.{secrets.token_hex(6)}")
    try:
        with part.open("xb") as file:
            part.chmod(0o600)
            yield file
            file.flush()
            os.fsync(file.fileno())  # a power cut leaves the whole file, or none of the name
        part.replace(out)
    except OSError:
        part.unlink(missing_ok=True)
        raise InvalidError("the file cannot be written", code="file.unwritable") from None
    except BaseException:
        part.unlink(missing_ok=True)
        raise
