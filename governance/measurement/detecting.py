"""What the shipped detector hides of labeled rows, by the way that a table takes through ingest.

Structured rows under one header are a column: it is profiled, and its plan decides. Of a typed
column every cell is taken whole, in a prose column spans are, and a free column is swept. Prose
rows without a header are read as a notes column would be.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from governance.measurement.labels import LabeledRow, Shape
from governance.recognition.persons import find_prose
from governance.recognition.plan import Kind, PlannedColumn
from governance.recognition.profile import Profiler
from governance.recognition.spans import Span
from governance.recognition.sweep import sweep
from governance.recognition.tenant_rules import NO_RULES, TenantRules

BATCH: Final = 4096  # rows that are in memory at a time, and within which cells make a column
_FILLS: Final = 0.8  # share of a cell that one hit covers when the cell is that entity


def detect(
    rows: Sequence[LabeledRow],
    regimes: Sequence[str] = ("cn", "us"),
    rules: TenantRules = NO_RULES,
) -> list[list[Span]]:
    """The spans of each row, as the anonymizing of such a table would treat them.

    Raises:
        ScanTimeoutError: a pattern ran past its time.
    """
    columns: dict[tuple[Shape, str], list[int]] = defaultdict(list)
    for number, row in enumerate(rows):
        columns[row.shape, row.header].append(number)
    found: list[list[Span]] = [[] for _ in rows]
    for (shape, header), numbers in columns.items():
        texts = [rows[number].text for number in numbers]
        if shape is Shape.PROSE:
            spans = find_prose(texts, header=header or None, regimes=regimes, rules=rules)
        else:
            spans = _column(header, texts, regimes, rules)
        for number, of_row in zip(numbers, spans, strict=True):
            found[number] = of_row
    return found


def _column(
    header: str, cells: Sequence[str], regimes: Sequence[str], rules: TenantRules
) -> list[list[Span]]:
    profiler = Profiler([header], rules=rules)
    profiler.add({header: cells})
    (planned,) = profiler.plan(regimes=regimes).columns
    if planned.kind is Kind.PROSE:
        return find_prose(cells, header=header, regimes=regimes, rules=rules)
    spans: list[list[Span]] = [[] for _ in cells]
    for hit in sweep(cells, header=header, regimes=regimes, rules=rules):
        spans[hit.row].append(Span(*hit[1:]))
    if planned.kind is Kind.FREE:
        return spans
    return [[_whole(cell, found, planned)] for cell, found in zip(cells, spans, strict=True)]


def _whole(cell: str, found: Sequence[Span], planned: PlannedColumn) -> Span:
    """The cell as the entity that fills it, or as its column's."""
    filling = [s for s in found if s.end - s.start >= _FILLS * len(cell.strip())]
    best = max(filling, key=lambda s: (s.checked, s.score), default=None)
    return Span(0, len(cell), best.entity if best else planned.entity or "", 1.0)
