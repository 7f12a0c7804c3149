"""Carry a column plan out over chunks, and look again at everything that is about to go out.

`transform_chunk` applies each column's operator; `rescan` runs the sweep over its output. A version
is sealed only when the re-scan finds nothing.
"""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Final, TypeVar

import polars as pl

from governance.anonymization.operators import OPERATORS, OperatorKeys, Pseudonym, Surrogate
from governance.anonymization.surrogates import invented, invented_name
from governance.anonymization.treatment import Cells, Treatment, Values, row_names
from governance.recognition.persons import Memo, find_prose
from governance.recognition.plan import ColumnPlan, Declared, Kind, PlanError
from governance.recognition.spans import Hit
from governance.recognition.sweep import sweep
from governance.recognition.tenant_rules import NO_RULES, TenantRules

_PSEUDONYM: Final = re.compile("[A-Z2-7]{24}")  # what `Pseudonym` makes of a value

Counts = dict[str, dict[str, int]]
Chunk = TypeVar("Chunk", pl.DataFrame, Mapping[str, Cells])


def transform_chunk(
    chunk: Chunk,
    plan: ColumnPlan,
    keys: OperatorKeys,
    *,
    rules: TenantRules = NO_RULES,
    memo: Memo | None = None,
) -> tuple[Chunk, Counts]:
    """Anonymize one chunk of rows by the plan.

    Typed columns go through their operator cell by cell. In prose, every span found by patterns,
    language models and the row's own typed names goes through it, right to left. A free column is
    swept all the same: a span found in it is replaced by `<ENTITY>`, a cell that is nothing but the
    span becomes empty (a number column stays readable). Dropped columns do not come out. Of a
    column under a list the leaves are treated, and its cells keep their shape.

    Args:
        chunk: columns of strings, as a mapping or a polars frame; the same type comes back.
        plan: the plan; it speaks of exactly the chunk's columns.
        keys: the tenant's operator keys.
        rules: the tenant's own terms and patterns.
        memo: one of the caller's, for all chunks of a job, so that a note which comes again is not
            read again.

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
    subject = next((c.name for c in plan.columns if c.declared is Declared.SUBJECT), None)
    treatment = Treatment(
        plan=plan,
        keys=keys,
        names=row_names(columns, plan),
        subjects=columns[subject] if subject else (),
        rules=rules,
        memo={} if memo is None else memo,
    )
    treatment.read_ahead(columns)
    for planned in plan.columns:
        if planned.declared is Declared.DROP:
            continue
        out[planned.name], found = treatment.treated(planned, columns[planned.name])
        counts[planned.name] = dict(sorted(found.items()))
    return _like(chunk, out), counts


def rescan(
    chunk: Chunk, plan: ColumnPlan, *, models: bool = False, rules: TenantRules = NO_RULES
) -> Counts:
    """Look for identifiers in transformed rows; anything found is a leak, and the counts say where.

    Every column is swept with its header as context, as the input was. An entity that the plan
    keeps on purpose (a typed column whose operator keeps the form: `keep`, `date_shift`) is no leak
    in its own column, and an invented value is none in a column of surrogates. By default
    the language models are not asked again about prose: they would repeat their own answer, at the
    cost of the whole first pass. So a clean re-scan proves the absence of patterned identifiers;
    what share of names survives is measured by the recognition tests, not by this function.

    Args:
        chunk: transformed rows.
        plan: the plan that they were transformed by.
        models: ask the language models about prose columns again and report PERSON as well.
        rules: the tenant's own terms and patterns.

    Returns:
        Per column the leaks by entity; columns without any are left out. Empty means clean.
    """
    leaks: Counts = {}
    columns = _columns(chunk)
    for name, cells in columns.items():
        planned = plan.column(name)
        values = Values.of(name, cells).values
        hits = sweep(values, header=name, regimes=plan.regimes, rules=rules)
        if planned.operator.get("operator") == Surrogate.name:
            hits = [hit for hit in hits if not _stands_for_nobody(values[hit.row], hit)]
        if planned.operator.get("operator") == Pseudonym.name:
            hits = [hit for hit in hits if not _is_pseudonym(values[hit.row], hit)]
        found: Counter[str] = Counter(hit.entity for hit in hits)
        if models and planned.kind is Kind.PROSE:
            spans = find_prose(
                [v or "" for v in values], header=name, regimes=plan.regimes, rules=rules
            )
            found["PERSON"] = sum(s.entity == "PERSON" for row in spans for s in row)
        if planned.kind is Kind.TYPED and OPERATORS[str(planned.operator["operator"])].keeps_form:
            found.pop(planned.entity or "", None)
        if +found:
            leaks[name] = dict(sorted((+found).items()))
    return leaks


def _stands_for_nobody(cell: str | None, hit: Hit) -> bool:
    """Whether a hit in a column of surrogates is one of them."""
    text = (cell or "")[hit.start : hit.end]
    return invented(text) or (hit.entity == "PERSON" and invented_name(text))


def _is_pseudonym(cell: str | None, hit: Hit) -> bool:
    """Whether a hit in a column of pseudonyms is one of them, from end to end.

    By chance one in some hundred thousand has the form and the check digits of an account number,
    24 characters that begin with a country: a table of a million rows would never be sealed.
    """
    return _PSEUDONYM.fullmatch((cell or "")[hit.start : hit.end]) is not None


def _columns(chunk: pl.DataFrame | Mapping[str, Cells]) -> dict[str, Cells]:
    if isinstance(chunk, pl.DataFrame):
        return {name: chunk[name].cast(pl.String).to_list() for name in chunk.columns}
    return dict(chunk)


def _like(chunk: Chunk, out: dict[str, list[str | None]]) -> Chunk:
    if isinstance(chunk, pl.DataFrame):
        return pl.DataFrame(out, schema=dict.fromkeys(out, pl.String))
    return out
