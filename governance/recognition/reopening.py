"""A plan that an appended batch has opened again: what stood, and what the batch adds to it.

The new plan treats all rows, those of the earlier batches too, so no column becomes less hidden
than it was: what the batch does not speak against stays as two people approved it.
"""

from dataclasses import replace

from governance.recognition.entities import REPLACE
from governance.recognition.plan import (
    ClassSeen,
    ColumnPlan,
    DecidedBy,
    Evidence,
    Finding,
    Kind,
    PlannedColumn,
)


def reopened(standing: ColumnPlan, found: ColumnPlan) -> ColumnPlan:
    """The plan to propose for all batches, when the one in force does not cover the newest.

    Args:
        standing: the plan in force.
        found: the profile of the newest batch; it has the same columns.

    Returns:
        `found`'s detector and rules; each column as it stood, unless the batch holds more than
        that provides for. A person's decision stands in any case, marked as open again. Evidence
        is that of both.
    """
    marked = {column.name: column for column in found.carry_over(standing).columns}
    open_again = {reason.column for reason in standing.covers(found)}
    columns = []
    for old in standing.columns:
        new = marked[old.name]
        if new.decided_by is not DecidedBy.PERSON:
            new = _wider(old, new) if old.name in open_again else _as_it_stood(old, new)
        columns.append(replace(new, evidence=_both(old.evidence, new.evidence)))
    return replace(found, columns=tuple(columns))


def _as_it_stood(old: PlannedColumn, new: PlannedColumn) -> PlannedColumn:
    return replace(
        new,
        kind=old.kind,
        entity=old.entity,
        operator=old.operator,
        sensitive=tuple(dict.fromkeys((*old.sensitive, *new.sensitive))),
    )


def _wider(old: PlannedColumn, new: PlannedColumn) -> PlannedColumn:
    """What hides both: the earlier rows must not be treated by the newest ones' habits.

    Where one batch holds text and the other whole identifiers, every cell is replaced whole: spans
    would be looked for in cells without words around them, or an operator made for one entity
    would be given a sentence.
    """
    sensitive = tuple(dict.fromkeys((*old.sensitive, *new.sensitive)))
    kinds = {old.kind, new.kind}
    if kinds == {Kind.PROSE, Kind.TYPED}:
        entity = new.entity or old.entity
        return replace(
            new, kind=Kind.TYPED, entity=entity, operator=dict(REPLACE), sensitive=sensitive
        )
    if new.kind is Kind.FREE:
        return replace(_as_it_stood(old, new), sensitive=sensitive)
    return replace(new, sensitive=sensitive)


def _both(old: Evidence, new: Evidence) -> Evidence:
    """The evidence of two batches. What cannot be added up is told of the newest."""
    scanned = old.scanned + new.scanned
    leaves = None if old.leaves is None and new.leaves is None else 0
    return replace(
        new,
        rows=old.rows + new.rows,
        empty=old.empty + new.empty,
        distinct=max(old.distinct, new.distinct),
        scanned=scanned,
        numeric=old.numeric and new.numeric,
        findings=_findings(old, new, scanned),
        classes=_classes(old, new),
        beside=old.beside + new.beside,
        leaves=None if leaves is None else (old.leaves or 0) + (new.leaves or 0),
    )


def _findings(old: Evidence, new: Evidence, scanned: int) -> tuple[Finding, ...]:
    found: dict[str, Finding] = {}
    for finding in (*new.findings, *old.findings):
        other = found.get(finding.entity)
        cells = finding.cells + (other.cells if other else 0)
        found[finding.entity] = Finding(
            finding.entity,
            cells,
            f"{cells / max(1, scanned):.3f}",
            max(finding.maximum, other.maximum if other else ""),
            finding.proven + (other.proven if other else 0),
        )
    return tuple(sorted(found.values(), key=lambda finding: -finding.cells))


def _classes(old: Evidence, new: Evidence) -> tuple[ClassSeen, ...]:
    cells: dict[str, int] = {}
    for seen in (*new.classes, *old.classes):
        cells[seen.name] = cells.get(seen.name, 0) + seen.cells
    return tuple(ClassSeen(name, count) for name, count in cells.items())
