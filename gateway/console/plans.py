"""A column plan as people read it, and the form by which a steward amends it."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.http import QueryDict

from gateway.console import words
from governance.anonymization.operators import GRANULARITIES, check_config
from governance.errors import InvalidError
from governance.recognition.entities import CATALOG, sensitivity
from governance.recognition.plan import ColumnPlan, DecidedBy, Evidence, Kind, PlannedColumn

Choices = list[tuple[str, str]]
_PRESET: Final = re.compile(r"(?P<operator>[a-z_]+)(?::(?P<to>[a-z0-9_]+))?")


@dataclass(frozen=True)
class Row:
    """One column of the plan, as the table shows it.

    Attributes:
        place: the column's number, by which form fields are named: a name may be anything.
        column: the planned column.
        kind, operator, declared: in words.
        preset: the operator as the form's choice.
        sensitive: whether the entity is of PIPL's sensitive class.
        person: whether a person decided what the column is.
        reopened: why that decision should be looked at again, in words.
        classes: special categories that the column tells, each with the cells that were seen.
        language: of the values, in words.
        share: share of the scanned values that the best finding holds of, "0.000" to "1.000".
        score: the highest score of it.
        proven: values whose check digit held.
        others: further findings.
    """

    place: int
    column: PlannedColumn
    kind: str
    operator: str
    declared: str
    preset: str
    sensitive: bool
    person: bool
    reopened: tuple[str, ...]
    classes: tuple[tuple[str, int], ...]
    language: str
    share: str
    score: str
    proven: int
    others: tuple[Any, ...]

    @property
    def evidence(self) -> Evidence:
        """Why the plan says so."""
        return self.column.evidence

    @property
    def distinct(self) -> str:
        """How many different values; above the sample's size it is an estimate, and says so."""
        found = self.column.evidence
        about = "≈ " if found.distinct > found.scanned else ""
        return f"{about}{min(found.distinct, found.rows):,}"

    @property
    def samples(self) -> tuple[str, ...]:
        """Masked shapes of values."""
        return self.column.evidence.samples[:3]


def rows_of(plan: ColumnPlan) -> list[Row]:
    """The plan's table."""
    return [_row(place, column) for place, column in enumerate(plan.columns)]


def _row(place: int, column: PlannedColumn) -> Row:
    findings = sorted(
        column.evidence.findings,
        key=lambda finding: (finding.entity == column.entity, finding.cells),
        reverse=True,
    )
    best = findings[0] if findings else None
    return Row(
        place=place,
        column=column,
        kind=words.word(words.KINDS, column.kind.value),
        operator=words.operator_in_words(dict(column.operator)),
        declared="" if column.declared is None else words.word(words.DECLARED, column.declared),
        preset=_preset(column.operator),
        sensitive=column.entity is not None and sensitivity(column.entity) == "S",
        person=column.decided_by is DecidedBy.PERSON,
        reopened=tuple(words.reason_in_words(reason) for reason in column.reopened),
        classes=tuple(
            (words.special_category(name), _cells(column.evidence, name))
            for name in column.sensitive
        ),
        language=" · ".join(
            words.word(words.LANGUAGES, name) for name in column.evidence.language.split("+")
        ),
        share="" if best is None else best.prevalence,
        score="" if best is None else best.maximum,
        proven=0 if best is None else best.proven,
        others=tuple(findings[1:]),
    )


def _cells(evidence: Evidence, name: str) -> int:
    return next((seen.cells for seen in evidence.classes if seen.name == name), 0)


@dataclass(frozen=True)
class Notice:
    """What whoever decides must not overlook.

    Attributes:
        undeclared: special categories that the ingest did not declare: (name, laws, columns).
        reopened: columns in which a person's decision should be looked at again.
        decided: columns that people decided.
        rules: the edition of the tenant's own rules that the profile used; "" for none.
        rules_changed: whether another edition counts by now.
    """

    undeclared: tuple[tuple[str, str, str], ...]
    reopened: tuple[str, ...]
    decided: int
    rules: str
    rules_changed: bool


def notice_of(plan: ColumnPlan, current_rules: str) -> Notice:
    """What stands out in a plan, given the edition of rules that counts now."""
    return Notice(
        undeclared=tuple(
            (words.special_category(name), words.laws_of(name), ", ".join(columns))
            for name, columns in plan.undeclared_sensitive.items()
        ),
        reopened=tuple(column.name for column in plan.columns if column.reopened),
        decided=sum(column.decided_by is DecidedBy.PERSON for column in plan.columns),
        rules=plan.rules,
        rules_changed=plan.rules != current_rules,
    )


def choices(plan: ColumnPlan | None = None) -> dict[str, Choices]:
    """What the amend form offers: kinds, entities, operators.

    Entities that only the tenant's own rules know are offered where the plan speaks of them.
    """
    known = [entity.name for entity in CATALOG]
    operators = [
        (name, str(said)) for name, said in words.OPERATORS.items() if name != "generalize"
    ]
    operators += [
        (f"generalize:{to}", words.operator_in_words({"operator": "generalize", "to": to}))
        for to in GRANULARITIES
    ]
    return {
        "kinds": [(name, str(said)) for name, said in words.KINDS.items()],
        "entities": [("", "–"), *((name, name) for name in (*known, *_own(plan, known)))],
        "operators": operators,
    }


def _own(plan: ColumnPlan | None, known: Collection[str]) -> list[str]:
    columns = () if plan is None else plan.columns
    seen = {finding.entity for column in columns for finding in column.evidence.findings}
    seen |= {column.entity for column in columns if column.entity is not None}
    return sorted(seen - set(known))


def amended(plan: ColumnPlan, form: QueryDict) -> tuple[ColumnPlan, int]:
    """The plan as the form has it, and how many columns differ.

    Fields are `kind-N`, `entity-N` and `operator-N` of column number N; what is not sent stays.

    Raises:
        InvalidError: `recognition.plan_invalid`: a choice that the form does not offer.
        PlanError: a typed column is left without an entity.
        OperatorError: the operator must not be used on this entity.
    """
    offered = {name: {value for value, _ in listed} for name, listed in choices(plan).items()}
    result, changed = plan, 0
    for row in rows_of(plan):
        sent = {
            name: form.get(f"{name}-{row.place}", before)
            for name, before in (
                ("kind", row.column.kind.value),
                ("entity", row.column.entity or ""),
                ("operator", row.preset),
            )
        }
        before = (row.column.kind.value, row.column.entity or "", row.preset)
        if (sent["kind"], sent["entity"], sent["operator"]) == before:
            continue
        if (
            sent["kind"] not in offered["kinds"]
            or (sent["entity"] not in offered["entities"] and sent["entity"] != row.column.entity)
            or (sent["operator"] not in offered["operators"] and sent["operator"] != row.preset)
        ):
            raise InvalidError("the form offers no such choice", code="recognition.plan_invalid")
        result = _override(result, row, sent)
        changed += 1
    return result, changed


def _override(plan: ColumnPlan, row: Row, sent: Mapping[str, str]) -> ColumnPlan:
    kind = Kind(sent["kind"])
    entity = sent["entity"] or None
    operator: dict[str, str | int] | None
    if sent["operator"] != row.preset:
        operator = _operator(sent["operator"])
    elif kind is Kind.FREE:
        operator = {"operator": "keep"}
    elif entity != row.column.entity:
        operator = None  # the entity's own
    else:
        operator = dict(row.column.operator)
    if kind is Kind.FREE:
        entity = None
    result = plan.override(row.column.name, kind=kind, entity=entity, operator=operator)
    made = result.column(row.column.name)
    if made.entity is not None:
        check_config(made.operator, made.entity)
    return result


def _operator(preset: str) -> dict[str, str | int]:
    match = _PRESET.fullmatch(preset)
    if match is None:
        raise InvalidError("the form offers no such choice", code="recognition.plan_invalid")
    to = match["to"]
    return {"operator": match["operator"], **({"to": to} if to else {})}


def _preset(operator: Mapping[str, str | int]) -> str:
    to = operator.get("to")
    return f"{operator.get('operator', '')}:{to}" if to else str(operator.get("operator", ""))
