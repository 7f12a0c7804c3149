"""The first job of a batch: parsed once, profiled, and cut into sealed row groups."""

from types import TracebackType
from typing import Any, Final, Self

from governance import batches, column_plans
from governance.actions import profiles
from governance.actions.profiles import PartRead, Profiled
from governance.errors import ConflictError, InvalidError
from governance.ingest.staging import FIRST_ROWS, Stager
from governance.ingest.working import beat
from governance.leases import Lease
from governance.models import Batch, Dataset, Part
from governance.rbac import ingest_worker
from governance.recognition.plan import ColumnPlan
from governance.recognition.profile import Profiler
from governance.recognition.regimes import REGIMES
from governance.recognition.reopening import reopened
from governance.recognition_rules import rules_of
from governance.stages import QUARANTINE
from governance.tables.reading import open_table
from governance.tables.source import SeekableBytes
from governance.tables.table import Format, TableReader
from governance.vault import keyed_hash, open_object

ROWS: Final = FIRST_ROWS  # a chunk: no row group is finer
_IN_A_LINE: Final = frozenset({Format.CSV, Format.JSONL})  # rows come as the bytes do


def profile(dataset: Dataset, lease: Lease) -> None:
    """Read a batch from end to end, cut it into row groups, and say what is in it."""
    batch = _batch(dataset, lease)
    with _Reading(dataset, batch, lease) as reading:
        for part in batch.parts.select_related("stored").order_by("number"):
            reading.take(part)
        profiles.finish_profile(
            ingest_worker(dataset.tenant_id),
            dataset,
            lease=lease,
            batch=batch,
            found=reading.found(),
        )


def _batch(dataset: Dataset, lease: Lease) -> Batch:
    """The batch that the job is about; a job from before there were batches is about the newest."""
    batch = dataset.batches.filter(pk=lease.argument).first() if lease.argument else None
    batch = batch or batches.newest(dataset)
    if batch is None or not batch.parts.exists():
        raise ConflictError("this dataset's file is gone", code="dataset.source_gone")
    return batch


class _Reading:
    """One pass over a batch's files: a profile and row groups come out of it."""

    def __init__(self, dataset: Dataset, batch: Batch, lease: Lease) -> None:
        self._dataset = dataset
        self._lease = lease
        self._standing = _in_force(dataset)
        self._names = [] if self._standing is None else _names(self._standing)
        self._profiler: Profiler | None = None
        self._stager: Stager | None = None
        self._parts: list[PartRead] = []
        sizes = batch.parts.values_list("stored__size", flat=True)
        self._bytes, self._behind = sum(sizes), 0

    def take(self, part: Part) -> None:
        """Read one file to its end.

        Raises:
            TableError: it cannot be read; the detail names the row.
            InvalidError: `dataset.columns_differ`.
        """
        if part.stored.kind != QUARANTINE:
            raise ConflictError("this dataset's file is gone", code="dataset.source_gone")
        with open_object(part.stored) as opened:
            file = _Watched(opened)
            table = open_table(
                file,
                format=part.declared_format or None,
                encoding=part.encoding_override or None,
            )
            profiler, stager = self._begin(table, part)
            before = stager.rows
            for chunk in table.chunks(ROWS):
                stager.add(chunk.columns)
                profiler.add(chunk.columns)
                beat(self._lease, "profile", stager.rows, self._expected(table, file, stager.rows))
        self._behind += part.stored.size
        encoding = "" if table.encoding is None else table.encoding.name
        self._parts.append(PartRead(table.format.value, encoding, stager.rows - before))

    def found(self) -> Profiled:
        """What the files hold: the row groups, and a plan unless the one in force covers them."""
        profiler, stager = self._profiler, self._stager
        if profiler is None or stager is None:
            raise ConflictError("this dataset's file is gone", code="dataset.source_gone")
        stager.finish()
        beat(self._lease, "profile", stager.rows, stager.rows)
        plan = self._plan(profiler)
        counts = {
            column.name: {finding.entity: finding.cells for finding in column.evidence.findings}
            for column in plan.columns
            if column.evidence.findings
        }
        return Profiled(
            parts=self._parts,
            groups=stager.groups,
            columns=len(self._names),
            plan=self._to_propose(plan),
            detector=plan.detector,
            entity_counts=counts,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._stager is not None:
            self._stager.__exit__(kind, error, trace)

    def _begin(self, table: TableReader, part: Part) -> tuple[Profiler, Stager]:
        """The profile and the groups, begun with the first file's columns."""
        self._names = self._names or table.columns
        if set(table.columns) != set(self._names):
            # By its number: a file's name is not kept, and a column's name may be a person's.
            raise InvalidError(
                f"file {part.number} has other columns than the files before it",
                code="dataset.columns_differ",
            )
        if self._profiler is None or self._stager is None:
            key = keyed_hash(self._dataset.tenant, "profile", str(self._dataset.id).encode())
            rules = rules_of(self._dataset.tenant)
            self._profiler = Profiler(self._names, key=key, rules=rules)
            self._stager = Stager(self._dataset.tenant, self._names)
        return self._profiler, self._stager

    def _plan(self, profiler: Profiler) -> ColumnPlan:
        declared = self._dataset.declarations
        return profiler.plan(
            target=declared.get("target", {}).get("column"),
            subject=self._dataset.subject_column or None,
            features=list(declared.get("columns", {})),
            regimes=tuple(REGIMES[law] for law in self._dataset.regimes) or ("cn", "us"),
            languages=self._dataset.languages,
            sensitive=declared.get("sensitive", ()),
        )

    def _to_propose(self, found: ColumnPlan) -> dict[str, Any] | None:
        """The plan that somebody has to approve, or None where two people have already."""
        if self._standing is None:
            before = self._dataset.plans.order_by("-number").first()
            if before is not None:  # read anew: what people decided stands
                found = found.carry_over(ColumnPlan.from_dict(before.as_json()))
            return found.as_dict()
        newest = ColumnPlan.from_dict(column_plans.newest(self._dataset).as_json())
        if newest == self._standing and not self._standing.covers(found):
            return None
        return reopened(self._standing, found).as_dict()

    def _expected(self, table: TableReader, file: "_Watched", rows: int) -> int:
        """How many rows there will be, judged by the bytes behind; 0 where nobody can tell."""
        behind = self._behind + file.position
        if table.format not in _IN_A_LINE or not behind:
            return 0
        return max(rows, round(rows * self._bytes / behind))


def _in_force(dataset: Dataset) -> ColumnPlan | None:
    """The plan of the last sealed version."""
    version = dataset.versions.order_by("-number").first()
    return None if version is None else ColumnPlan.from_dict(version.plan.as_json())


def _names(plan: ColumnPlan) -> list[str]:
    return [column.name for column in plan.columns]


class _Watched:
    """A file that knows where it is being read."""

    def __init__(self, file: SeekableBytes) -> None:
        self._file = file
        self.position = 0

    def read(self, size: int = -1, /) -> bytes | None:
        piece = self._file.read(size)
        self.position += len(piece or b"")
        return piece

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self.position = self._file.seek(offset, whence)
        return self.position
