"""What is done to the values of one column: typed cells, spans in prose, and what free cells hold.

A column under a list has several values in a cell, its leaves; each is a value of the cell's row.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from governance.anonymization.operators import (
    Operator,
    OperatorKeys,
    Replace,
    check_config,
    operator_from,
)
from governance.errors import OperatorError
from governance.quality.normalization import normalize
from governance.recognition.folding import fold
from governance.recognition.persons import Memo, find_prose, read_names
from governance.recognition.plan import ColumnPlan, Declared, Kind, PlanError, PlannedColumn
from governance.recognition.spans import Span
from governance.recognition.sweep import spoken_of, sweep, sweep_texts
from governance.recognition.tenant_rules import NO_RULES, TenantRules
from governance.tables.nesting import is_list, leaves, with_leaves

Cells = Sequence[str | None]

WHOLE: Final = 0.8  # share of a cell that a hit covers when the cell is that entity
_REPLACE: Final = Replace()


@dataclass(frozen=True, slots=True)
class Values:
    """The values of a column: its cells, or the leaves of its cells.

    Attributes:
        values: the values, in order.
        rows: the row of each.
        cells: the cells that they are leaves of; None where a value is a cell.
    """

    values: Cells
    rows: Sequence[int]
    cells: Cells | None = None

    @classmethod
    def of(cls, name: str, cells: Cells) -> "Values":
        """The values of the column called `name`."""
        if not is_list(name):
            return cls(cells, range(len(cells)))
        placed = [(row, leaf) for row, cell in enumerate(cells) if cell for leaf in leaves(cell)]
        return cls([leaf for _, leaf in placed], [row for row, _ in placed], cells)

    def rebuilt(self, values: Cells) -> list[str | None]:
        """Cells of the same shape that hold other values."""
        if self.cells is None:
            return list(values)
        by_row: dict[int, list[str | None]] = {}
        for row, value in zip(self.rows, values, strict=True):
            by_row.setdefault(row, []).append(value)
        return [
            with_leaves(cell, by_row.get(row, [])) if cell else cell
            for row, cell in enumerate(self.cells)
        ]


@dataclass(frozen=True, slots=True)
class Treatment:
    """What the treatment of any column of a chunk needs to know.

    Attributes:
        plan: the plan.
        keys: the tenant's operator keys.
        names: for each row the names that its typed columns hold.
        subjects: for each row the data subject's id as it came; empty where none is declared.
        rules: the tenant's own terms and patterns.
        memo: what the language models found before.
    """

    plan: ColumnPlan
    keys: OperatorKeys
    names: Sequence[Sequence[str]]
    subjects: Cells
    rules: TenantRules = NO_RULES
    memo: Memo = field(default_factory=dict)

    def read_ahead(self, columns: Mapping[str, Cells]) -> None:
        """Let the language models read all prose of the chunk at once: larger batches cost less."""
        texts: dict[str, None] = {}
        for planned in self.plan.columns:
            if planned.kind is Kind.PROSE and planned.declared is not Declared.DROP:
                values = Values.of(planned.name, columns[planned.name]).values
                texts |= dict.fromkeys(fold(value).text for value in values if value)
        if texts:
            read_names(list(texts), self.plan.regimes, self.memo)

    def treated(
        self, planned: PlannedColumn, cells: Cells
    ) -> tuple[list[str | None], Counter[str]]:
        """The column to go out, and how many values or spans of which entity were treated."""
        column = Values.of(planned.name, cells)
        values = column.values
        if planned.normalize:
            values = normalize(values, planned.normalize)
        match planned.kind:
            case Kind.TYPED:
                out, found = self._typed(values, column.rows, planned)
            case Kind.PROSE:
                out, found = self._prose(values, column.rows, planned)
            case Kind.FREE:
                out, found = self._free(values, planned)
        return column.rebuilt(out), found

    def _typed(
        self, values: Cells, rows: Sequence[int], planned: PlannedColumn
    ) -> tuple[list[str | None], Counter[str]]:
        """Each value through the column's operator, as the entity that the value is.

        A column of identity numbers may hold those of two countries. Each kind has a canonical form
        of its own, so that a number here and the same in another column keep one pseudonym.
        """
        if planned.entity is None:
            raise PlanError("a typed column needs an entity")
        distinct = [value for value in dict.fromkeys(values) if value]
        kinds = dict(zip(distinct, self._kinds(distinct, planned), strict=True))
        found = Counter(kinds[value] for value in values if value and value.strip())
        operators = {
            entity: operator_from(planned.operator, self.keys, entity)
            for entity in dict.fromkeys((planned.entity, *kinds.values()))
        }
        if operators[planned.entity].needs_subject:
            return self._by_subject(values, rows, kinds, operators), found
        applied: dict[str, str] = {}
        for entity, operator in operators.items():
            alike = [value for value in distinct if kinds[value] == entity]
            applied |= dict(zip(alike, operator.apply_many(alike, entity), strict=True))
        return [applied[value] if value else value for value in values], found

    def _by_subject(
        self,
        values: Cells,
        rows: Sequence[int],
        kinds: Mapping[str, str],
        operators: Mapping[str, Operator],
    ) -> list[str | None]:
        out = list(values)
        for entity, operator in operators.items():
            places = [i for i, value in enumerate(values) if value and kinds[value] == entity]
            applied = operator.apply_rows(
                [values[i] for i in places], [self._subject(rows[i]) for i in places], entity
            )
            for place, value in zip(places, applied, strict=True):
                out[place] = value
        return out

    def _subject(self, row: int) -> str | None:
        return self.subjects[row] if self.subjects else None

    def _kinds(self, values: Sequence[str], planned: PlannedColumn) -> list[str]:
        """The entity of each value: what fills it, or what the column is."""
        entity = planned.entity or ""
        takes: dict[str, bool] = {}
        kinds = []
        for value, spans in zip(
            values,
            sweep_texts(
                values,
                spoken=spoken_of(planned.name, self.rules, self.plan.regimes),
                regimes=self.plan.regimes,
                rules=self.rules,
                assumed=entity,
            ),
            strict=True,
        ):
            best: tuple[bool, float, str] = (False, 0.0, entity)
            for span in spans:
                if span.entity not in takes:
                    takes[span.entity] = _takes(planned, span.entity)
                fills = (span.end - span.start) >= WHOLE * len(value.strip())
                if fills and takes[span.entity]:
                    best = max(best, (span.checked, span.score, span.entity))
            kinds.append(best[2])
        return kinds

    def _prose(
        self, values: Cells, rows: Sequence[int], planned: PlannedColumn
    ) -> tuple[list[str | None], Counter[str]]:
        full = [(place, value) for place, value in enumerate(values) if value]
        spans = find_prose(
            [value for _, value in full],
            known=[self.names[rows[place]] for place, _ in full],
            header=planned.name,
            regimes=self.plan.regimes,
            rules=self.rules,
            memo=self.memo,
        )
        operators: dict[str, Operator] = {}
        for entity in {span.entity for row in spans for span in row}:
            operators[entity] = operator_from(planned.operator, self.keys, entity)
        out: list[str | None] = list(values)
        found: Counter[str] = Counter()
        for (place, value), spans_of_it in zip(full, spans, strict=True):
            subject = self._subject(rows[place])
            out[place] = replace_spans(value, spans_of_it, operators, subject)
            found.update(span.entity for span in spans_of_it)
        return out, found

    def _free(self, values: Cells, planned: PlannedColumn) -> tuple[list[str | None], Counter[str]]:
        by_place: dict[int, list[Span]] = {}
        for hit in sweep(values, header=planned.name, regimes=self.plan.regimes, rules=self.rules):
            by_place.setdefault(hit.row, []).append(Span(*hit[1:]))
        out: list[str | None] = list(values)
        found: Counter[str] = Counter()
        for place, spans in by_place.items():
            value = values[place] or ""
            replaced = replace_spans(
                value, spans, dict.fromkeys((s.entity for s in spans), _REPLACE)
            )
            whole = (
                len(spans) == 1 and value.strip() == value[spans[0].start : spans[0].end].strip()
            )
            out[place] = "" if whole else replaced
            found.update(span.entity for span in spans)
        return out, found


def replace_spans(
    text: str,
    spans: Sequence[Span],
    operators: Mapping[str, Operator],
    subject: str | None = None,
) -> str:
    """`text` with each span put through its entity's operator, as the instance that it names."""
    pieces: list[str] = []
    place = 0
    for span in sorted(spans, key=lambda s: s.start):
        operator = operators[span.entity]
        value = span.instance or text[span.start : span.end]
        if operator.needs_subject:
            (applied,) = operator.apply_rows([value], [subject], span.entity)
        else:
            applied = operator.apply(value, span.entity)
        pieces += [text[place : span.start], applied or ""]
        place = span.end
    return "".join([*pieces, text[place:]])


def row_names(columns: Mapping[str, Cells], plan: ColumnPlan) -> list[tuple[str, ...]]:
    """For each row the names that its typed columns hold: its note is likely to speak of them."""
    rows = len(next(iter(columns.values()), ()))
    names: list[dict[str, None]] = [{} for _ in range(rows)]
    for row, name in _names(columns, plan):
        names[row][name] = None
    return [tuple(each) for each in names]


def _names(columns: Mapping[str, Cells], plan: ColumnPlan) -> Iterator[tuple[int, str]]:
    for planned in plan.columns:
        if planned.kind is Kind.TYPED and planned.entity == "PERSON":
            column = Values.of(planned.name, columns[planned.name])
            yield from (
                (row, value) for row, value in zip(column.rows, column.values, strict=True) if value
            )


def _takes(planned: PlannedColumn, entity: str) -> bool:
    """Whether the column's operator may be used on this entity as well."""
    try:
        check_config(planned.operator, entity)
    except OperatorError:
        return False
    return True
