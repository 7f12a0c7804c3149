"""One row group by a plan: opened, treated in chunks, looked at again, sealed."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Self

from governance import column_plans
from governance.actions import anonymization
from governance.actions.anonymization import Compared, Treated
from governance.anonymization.release import rescan, transform_chunk
from governance.errors import ConflictError
from governance.ingest import staging
from governance.ingest.working import ROWS, add, beat
from governance.leases import Lease
from governance.models import ColumnPlanVersion, Dataset, RowGroup, StoredObject
from governance.quality.assessing import sketch_key
from governance.quality.sketches import TableSketch
from governance.rbac import ingest_worker
from governance.recognition.differential import differential
from governance.recognition.persons import Memo
from governance.recognition.plan import ColumnPlan
from governance.recognition_rules import rules_of_version
from governance.stages import SEALED
from governance.tables.writing import ParquetChunkWriter
from governance.vault import ObjectWriter, discard, operator_keys

Columns = Mapping[str, Sequence[str | None]]


def treat(dataset: Dataset, lease: Lease) -> None:
    """Treat the row group that the job names, by the newest plan.

    A residual hit quarantines the group: its output is dropped, and what was found is counted to
    its end, so that a steward learns of all of it at once.
    """
    group = RowGroup.objects.select_related("staged").get(pk=lease.argument, batch__dataset=dataset)
    plan = column_plans.newest(dataset)
    with _Output(dataset, plan, compares=group.number == 1) as output:
        done = 0
        for chunk in staging.chunks(group.staged, ROWS):
            done += output.take(chunk)
            beat(lease, "anonymize", done, group.rows)
        if done != group.rows:
            raise ConflictError(
                "a row group holds other rows than were cut", code="dataset.rows_differ"
            )
        made = output.made(group)
    try:
        anonymization.finish_group(
            ingest_worker(dataset.tenant_id), dataset, lease=lease, made=made
        )
    except BaseException:
        if made.stored is not None:
            discard(made.stored)
        raise


class _Output:
    """What comes out of a group, chunk by chunk; sealed as it comes, dropped at the first leak."""

    def __init__(
        self, dataset: Dataset, version: ColumnPlanVersion, *, compares: bool = False
    ) -> None:
        self._compares = compares  # once a batch: looking both ways is slow
        self._compared: Compared | None = None
        self._version = version
        self._plan = ColumnPlan.from_dict(version.as_json())
        self._keys = operator_keys(dataset.tenant)
        self._rules = rules_of_version(dataset.tenant, self._plan.rules)
        self._memo: Memo = {}  # of this group alone: it holds what is in the clear
        self._counts: dict[str, dict[str, int]] = {}
        self._leaks: dict[str, dict[str, int]] = {}
        self._rows = 0
        self._writer = ObjectWriter(dataset.tenant, SEALED)
        self._digesting = _Digesting(self._writer)
        names = [column.name for column in self._plan.columns if column.declared != "drop"]
        self._parquet = ParquetChunkWriter(self._digesting, names)
        self._sketch = TableSketch(names, key=sketch_key(dataset))

    def take(self, chunk: Columns) -> int:
        """Treat the next rows and look at them again; returns how many."""
        treated, found = transform_chunk(
            chunk, self._plan, self._keys, rules=self._rules, memo=self._memo
        )
        if self._compares:
            self._compares = False
            seen = differential(chunk, self._plan, rules=self._rules)
            self._compared = Compared(seen.cells, seen.missed, seen.left_out)
        leaks = rescan(treated, self._plan, rules=self._rules)
        add(self._counts, found)
        add(self._leaks, leaks)
        if not self._leaks:
            self._parquet.write(treated)
            self._sketch.add(treated)
        rows = len(next(iter(chunk.values()), ()))
        self._rows += rows
        return rows

    def made(self, group: RowGroup) -> Treated:
        """The sealed group, or what was found in it."""
        return Treated(
            group=group,
            plan=self._version,
            stored=self._seal(),
            rows=self._rows,
            digest="" if self._leaks else self._digesting.hexdigest(),
            entity_counts=self._counts,
            leaks=self._leaks,
            sketch={} if self._leaks else self._sketch.as_dict(),
            compared=self._compared,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._parquet.abandon()
        with self._writer:
            pass

    def _seal(self) -> StoredObject | None:
        if self._leaks:
            return None
        self._parquet.close()
        return self._writer.finish()


class _Digesting:
    """Passes bytes on and takes their SHA-256: the digest of a group's rows."""

    def __init__(self, sink: ObjectWriter) -> None:
        self._sink = sink
        self._hash = hashlib.sha256()

    def write(self, data: bytes, /) -> int:
        self._hash.update(data)
        self._sink.write(data)
        return len(data)

    def hexdigest(self) -> str:
        return self._hash.hexdigest()
