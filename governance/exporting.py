"""Anonymized rows out of the house: measured, looked at once more, written, and only then named.

The file grows under a temporary name beside its own. When the last re-scan finds anything, when a
person would have to decide and has not, or when the process dies, no file of the asked name exists.
"""

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from governance.actions.releases import Written, begin_export, finish_export, propose_release
from governance.anonymization.release import rescan
from governance.errors import InvalidError
from governance.models import DatasetVersion, Proposal
from governance.models.datasets import entity_totals
from governance.models.releases import DataRelease
from governance.rbac import UserActor
from governance.recognition.plan import ColumnPlan
from governance.recognition_rules import rules_of_version
from governance.releasing import Asked, Assessed, assess, lack_of
from governance.tables.reading import format_of
from governance.tables.table import Format
from governance.tables.writing import chunk_writer
from governance.versions import frames


def export(
    actor: UserActor, version: DatasetVersion, out: Path, asked: Asked | None = None
) -> DataRelease:
    """Write a version to a new file, CSV, JSONL or Parquet by its suffix.

    Args:
        actor: who hands it out.
        version: a sealed one.
        out: a new file.
        asked: for whom, and by which columns; None for the whole version within the house.

    Raises:
        RefusedError: `release.leaks`, or why a person must decide first; no file is left.
        InvalidError: `file.exists`, `file.unwritable`; what `releasing.assess` refuses.
        TableError: a suffix that is none of ours.
    """
    form = format_of(out.name)
    begin_export(actor, version, format=form.value)
    assessed = None if asked is None else assess(version, asked)
    columns = [column["name"] for column in version.columns]
    if assessed is not None:
        columns = list(assessed.generalization.columns)
        if lack_of(version, assessed):  # refuses, before a byte is written
            finish_export(actor, version, written=Written(0, form.value, "", 0, assessed))
    plan = ColumnPlan.from_dict(version.plan.as_json())
    rules = rules_of_version(version.tenant, plan.rules)
    rows = 0
    with named_when_done(out) as file:
        # Only JSON Lines and Parquet name paths; a dot in a CSV's header is a dot.
        nested = version.dataset.format in {Format.JSONL.value, Format.PARQUET.value}
        writer = chunk_writer(file, form, columns, nested=nested)
        try:
            for frame in frames(version):
                going = frame if assessed is None else assessed.generalization.apply(frame)
                leaks = sum(entity_totals(rescan(going, plan, rules=rules)).values())
                if leaks:  # refuses, before a byte of this frame is written
                    finish_export(
                        actor, version, written=Written(rows, form.value, "", leaks, assessed)
                    )
                writer.write({name: going[name].to_list() for name in columns})
                rows += going.height
        except BaseException:
            writer.abandon()
            raise
        writer.close()
        return finish_export(
            actor, version, written=Written(rows, form.value, file.digest(), 0, assessed)
        )


def propose(actor: UserActor, version: DatasetVersion, asked: Asked) -> tuple[Proposal, Assessed]:
    """Measure a release and ask the officer to allow it.

    Raises:
        ConflictError: `release.nothing_to_approve`.
        InvalidError, RefusedError: what `releasing.assess` refuses.
    """
    begin_export(actor, version, format="none")
    assessed = assess(version, asked)
    return propose_release(actor, version, assessed=assessed), assessed


class HashedFile:
    """A file that knows the SHA-256 of what was written to it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()

    def write(self, data: bytes, /) -> int:
        """Write all of it."""
        self._hash.update(data)
        return self._file.write(data)

    def digest(self) -> str:
        """Of everything so far, in hexadecimal."""
        return self._hash.hexdigest()


@contextmanager
def named_when_done(out: Path) -> Iterator[HashedFile]:
    """A new file that gets its name when the block ends well, and is gone when it does not.

    Raises:
        InvalidError: `file.exists`, `file.unwritable`.
    """
    if out.exists():
        raise InvalidError("something is there already", code="file.exists")
    part = out.with_name(f".{out.name}.{secrets.token_hex(6)}")
    try:
        with part.open("xb") as file:
            part.chmod(0o600)
            yield HashedFile(file)
            file.flush()
            os.fsync(file.fileno())  # a power cut leaves the whole file, or none of the name
        part.replace(out)
    except OSError:
        part.unlink(missing_ok=True)
        raise InvalidError("the file cannot be written", code="file.unwritable") from None
    except BaseException:
        part.unlink(missing_ok=True)
        raise
