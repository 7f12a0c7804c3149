"""Carry a column plan out over chunks, and look again at everything that is about to go out.

`transform_chunk` applies each column's operator; `rescan` runs the sweep over its output. A version
is sealed only when the re-scan finds nothing.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

import polars as pl

from governance.anonymization.operators import (
    Operator,
    OperatorKeys,
    Replace,
    check_config,
    operator_from,
)
from governance.errors import OperatorError
from governance.recognition.persons import find_prose
from governance.recognition.plan import ColumnPlan, Declared, Kind, PlanError, PlannedColumn
from governance.recognition.spans import Span
from governance.recognition.sweep import sweep

Cells = Sequence[str | None]
Counts = dict[str, dict[str, int]]
Chunk = TypeVar("Chunk", pl.DataFrame, Mapping[str, Cells])

_REPLACE: Final = Replace()
WHOLE: Final = 0.8  # share of a cell that a hit covers when the cell is that entity


def transform_chunk(chunk: Chunk, plan: ColumnPlan, keys: OperatorKeys) -> tuple[Chunk, Counts]:
    """Anonymize one chunk of rows by the plan.

    Typed columns go through their operator cell by cell. In prose, every span found by patterns,
    language models and the row's own typed names goes through it, right to left. A free column is
    swept all the same: a span found in it is replaced by `<ENTITY>`, a cell that is nothing but the
    span becomes empty (a number column stays readable). Dropped columns do not come out.

    Args:
        chunk: columns of strings, as a mapping or a polars frame; the same type comes back.
        plan: the plan; it speaks of exactly the chunk's columns.
        keys: the tenant's operator keys.

    Returns:
        The chunk to go out, and per column how many cells or spans of which entity were treated.

    Raises:
        PlanError: the chunk's columns are not the plan's.
        OperatorError: a column's operator is configured wrongly.
        ScanTimeoutError: a pattern ran past its time.
    """
    columns = _columns(chunk)
    if set(columns) != {column.name for column in plan.columns}:
        raise PlanError("the chunk's columns are not the plan's", code="recognition.unknown_column")
    out: dict[str, list[str | None]] = {}
    counts: Counts = {}
    names = _row_names(columns, plan)
    for planned in plan.columns:
        if planned.declared is Declared.DROP:
            continue
        cells = columns[planned.name]
        match planned.kind:
            case Kind.TYPED:
                out[planned.name], found = _typed(cells, planned, plan, keys)
            case Kind.PROSE:
                out[planned.name], found = _prose(cells, planned, plan, keys, names)
            case Kind.FREE:
                out[planned.name], found = _free(cells, planned, plan)
        counts[planned.name] = dict(sorted(found.items()))
    return _like(chunk, out), counts


def rescan(chunk: Chunk, plan: ColumnPlan, *, models: bool = False) -> Counts:
    """Look for identifiers in transformed rows; anything found is a leak, and the counts say where.

    Every column is swept with its header as context, as the input was. An entity that the plan
    keeps on purpose (operator `keep` on a typed column) is no leak in its own column. By default
    the language models are not asked again about prose: they would repeat their own answer, at the
    cost of the whole first pass. So a clean re-scan proves the absence of patterned identifiers;
    what share of names survives is measured by the recognition tests, not by this function.

    Args:
        chunk: transformed rows.
        plan: the plan that they were transformed by.
        models: ask the language models about prose columns again and report PERSON as well.

    Returns:
        Per column the leaks by entity; columns without any are left out. Empty means clean.
    """
    leaks: Counts = {}
    columns = _columns(chunk)
    for name, cells in columns.items():
        planned = plan.column(name)
        found: Counter[str] = Counter(
            hit.entity for hit in sweep(cells, header=name, regimes=plan.regimes)
        )
        if models and planned.kind is Kind.PROSE:
            spans = find_prose([c or "" for c in cells], header=name, regimes=plan.regimes)
            found["PERSON"] = sum(s.entity == "PERSON" for row in spans for s in row)
        if planned.kind is Kind.TYPED and planned.operator.get("operator") == "keep":
            found.pop(planned.entity or "", None)
        if +found:
            leaks[name] = dict(sorted((+found).items()))
    return leaks


def _typed(
    cells: Cells, planned: PlannedColumn, plan: ColumnPlan, keys: OperatorKeys
) -> tuple[list[str | None], Counter[str]]:
    """Each cell through the column's operator, as the entity that the cell is.

    A column of identity numbers may hold those of two countries. Each kind has a canonical form of
    its own, so that a number here and the same number in another column keep one pseudonym.
    """
    if planned.entity is None:
        raise PlanError("a typed column needs an entity")
    distinct = [cell for cell in dict.fromkeys(cells) if cell]
    kinds = _kinds(distinct, planned, plan)
    applied: dict[str, str] = {}
    for entity in dict.fromkeys(kinds):
        values = [cell for cell, kind in zip(distinct, kinds, strict=True) if kind == entity]
        operator = operator_from(planned.operator, keys, entity)
        applied |= dict(zip(values, operator.apply_many(values, entity), strict=True))
    kind_of = dict(zip(distinct, kinds, strict=True))
    found = Counter(kind_of[cell] for cell in cells if cell and cell.strip())
    return [applied[cell] if cell else cell for cell in cells], found


def _kinds(cells: Sequence[str], planned: PlannedColumn, plan: ColumnPlan) -> list[str]:
    """The entity of each cell: what fills it, or what the column is."""
    entity = planned.entity or ""
    kinds = [entity] * len(cells)
    if len({finding.entity for finding in planned.evidence.findings} - {entity}) == 0:
        return kinds
    best: dict[int, tuple[bool, float, str]] = {}
    for hit in sweep(cells, header=planned.name, regimes=plan.regimes):
        fills = (hit.end - hit.start) >= WHOLE * len(cells[hit.row].strip())
        if fills and _takes(planned, hit.entity):
            best[hit.row] = max(
                best.get(hit.row, (False, 0.0, entity)), (hit.checked, hit.score, hit.entity)
            )
    for row, (_, _, found) in best.items():
        kinds[row] = found
    return kinds


def _takes(planned: PlannedColumn, entity: str) -> bool:
    """Whether the column's operator may be used on this entity as well."""
    try:
        check_config(planned.operator, entity)
    except OperatorError:
        return False
    return True


def _prose(
    cells: Cells,
    planned: PlannedColumn,
    plan: ColumnPlan,
    keys: OperatorKeys,
    names: Sequence[Sequence[str]],
) -> tuple[list[str | None], Counter[str]]:
    full = [(row, cell) for row, cell in enumerate(cells) if cell]
    spans = find_prose(
        [cell for _, cell in full],
        known=[names[row] for row, _ in full],
        header=planned.name,
        regimes=plan.regimes,
    )
    operators: dict[str, Operator] = {}
    for entity in {span.entity for row in spans for span in row}:
        operators[entity] = operator_from(planned.operator, keys, entity)
    out: list[str | None] = list(cells)
    found: Counter[str] = Counter()
    for (row, cell), row_spans in zip(full, spans, strict=True):
        out[row] = replace_spans(cell, row_spans, operators)
        found.update(span.entity for span in row_spans)
    return out, found


def _free(
    cells: Cells, planned: PlannedColumn, plan: ColumnPlan
) -> tuple[list[str | None], Counter[str]]:
    by_row: dict[int, list[Span]] = {}
    for hit in sweep(cells, header=planned.name, regimes=plan.regimes):
        by_row.setdefault(hit.row, []).append(Span(*hit[1:]))
    out: list[str | None] = list(cells)
    found: Counter[str] = Counter()
    for row, spans in by_row.items():
        cell = cells[row] or ""
        replaced = replace_spans(cell, spans, dict.fromkeys((s.entity for s in spans), _REPLACE))
        whole = len(spans) == 1 and cell.strip() == cell[spans[0].start : spans[0].end].strip()
        out[row] = "" if whole else replaced
        found.update(span.entity for span in spans)
    return out, found


def replace_spans(text: str, spans: Sequence[Span], operators: Mapping[str, Operator]) -> str:
    """`text` with each span put through its entity's operator, right to left so offsets hold."""
    for span in sorted(spans, key=lambda s: s.start, reverse=True):
        applied = operators[span.entity].apply(text[span.start : span.end], span.entity)
        text = text[: span.start] + applied + text[span.end :]
    return text


def _row_names(columns: Mapping[str, Cells], plan: ColumnPlan) -> list[tuple[str, ...]]:
    """For each row the names that its typed columns hold: its note is likely to speak of them."""
    rows = len(next(iter(columns.values()), ()))
    holders = [
        columns[column.name]
        for column in plan.columns
        if column.kind is Kind.TYPED and column.entity == "PERSON"
    ]
    return [
        tuple(name for name in (cells[row] for cells in holders) if name) for row in range(rows)
    ]


def _columns(chunk: pl.DataFrame | Mapping[str, Cells]) -> dict[str, Cells]:
    if isinstance(chunk, pl.DataFrame):
        return {name: chunk[name].cast(pl.String).to_list() for name in chunk.columns}
    return dict(chunk)


def _like(chunk: Chunk, out: dict[str, list[str | None]]) -> Chunk:
    if isinstance(chunk, pl.DataFrame):
        return pl.DataFrame(out, schema=dict.fromkeys(out, pl.String))
    return out
