"""The column plan: what each column is, why, and what will be done to it.

A plan is plain data with a JSON round trip and a digest, so that the steward's approval binds to
exactly what was shown. Measures are decimal strings, because a recorded fact holds no float, and
samples are shapes: no plan holds a raw value.

A plan is bound to the detector and to the tenant's own rules that it was made with, and to what the
profile saw. `ColumnPlan.covers` says why it does not hold for another profile; `carry_over` takes
what people decided into the plan of a new one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, Final

from audit.canonical import digest
from audit.errors import Kind as ErrorKind
from governance.errors import GovernanceError
from governance.recognition.entities import ENTITIES, PSEUDONYM, default_operator, sensitivity

VERSION: Final = 2
_READ: Final = (1, 2)  # a plan of version 1 reads as one that nobody has amended
# Operators after which nothing of a cell is left, whatever the cell was.
_HIDING: Final = frozenset({"redact", "replace", "pseudonym", "token", "surrogate"})
_COMMON: Final = 0.1  # share of the cells that a new entity must have to be worth a new approval


class PlanError(GovernanceError):
    """A stored plan does not read as one, or speaks of a column that is not there."""

    code = "recognition.plan_invalid"
    kind = ErrorKind.INVALID


class Kind(StrEnum):
    """What a column is, as far as persons are concerned."""

    TYPED = "typed"  # each cell is one entity: the operator takes the whole cell
    PROSE = "prose"  # entities stand inside text: the operator takes each span
    FREE = "free"  # nothing of a person: passes, swept all the same


class Declared(StrEnum):
    """What the ingest declared a column to be; a declaration outweighs what was found."""

    TARGET = "target"
    SUBJECT = "subject"
    FEATURE = "feature"
    DROP = "drop"


class DecidedBy(StrEnum):
    """Who said what a column is."""

    PROFILE = "profile"
    PERSON = "person"


class Cause(StrEnum):
    """Why a plan does not hold for what a profile found, or a person's decision is open again."""

    DETECTOR = "detector"  # another detector looked
    RULES = "rules"  # the tenant's own rules are another edition
    COLUMN_NEW = "column_new"
    COLUMN_GONE = "column_gone"
    ESCALATED = "escalated"  # free of persons in the plan, and now it is not
    TEXT = "text"  # identifiers in the plan, and now there is text around them
    IDENTIFIERS = "identifiers"  # text in the plan, and now whole cells are one identifier
    ENTITY = "entity"  # another entity, which the plan's operator does not hide
    MORE_SENSITIVE = "more_sensitive"  # an entity of the law's sensitive class
    SENSITIVE_CLASS = "sensitive_class"  # a special category that was not seen before


@dataclass(frozen=True, slots=True)
class Reason:
    """One cause, the column that it is about ("" for the plan) and what was found there."""

    cause: Cause
    column: str = ""
    found: str = ""  # an entity, a special category, a detector or an edition

    def as_dict(self) -> dict[str, str]:
        """The JSON form."""
        return {"cause": self.cause.value, "column": self.column, "found": self.found}


@dataclass(frozen=True, slots=True)
class ClassSeen:
    """Cells that speak of a special category of personal data."""

    name: str  # one of `lexicons.SENSITIVE_CLASSES`
    cells: int


@dataclass(frozen=True, slots=True)
class Finding:
    """How often and how surely one entity was seen in the scanned values.

    Both measures are kept: prevalence decides what a column is, the maximum shows that a single row
    holds an identifier.
    """

    entity: str
    cells: int
    prevalence: str  # share of the scanned values, "0.000" to "1.000"
    maximum: str  # highest score, "0.00" to "1.00"
    proven: int  # cells whose check digit held


@dataclass(frozen=True, slots=True)
class Evidence:
    """Why a column is what the plan says: counts, shapes and the header, never a value."""

    rows: int = 0
    empty: int = 0
    distinct: int = 0  # exact below the sample's size, an estimate above
    scanned: int = 0
    numeric: bool = False
    language: str = ""  # "zh", "en", "zh+en", or "" where there are no letters
    header: tuple[str, ...] = ()  # entities that the header speaks of
    findings: tuple[Finding, ...] = ()
    samples: tuple[str, ...] = ()  # shapes, see `profile.shape`
    classes: tuple[ClassSeen, ...] = ()  # special categories, in the scanned values
    beside: int = 0  # cells of the whole file with a proven identifier inside other text
    leaves: int | None = None  # values inside the lists of a list column; None: no lists


@dataclass(frozen=True, slots=True)
class PlannedColumn:
    """One column's part of the plan.

    Attributes:
        name: the column; `orders[].sku` is a list column, whose operators take the leaves.
        kind: what the column is.
        entity: what each cell is, in a typed column.
        operator: what is done to it.
        evidence: why.
        declared: what the ingest said of it.
        decided_by: whose decision kind, entity and operator are.
        normalize: how values are brought to one form before the operator, or None: see `quality`.
        sensitive: special categories that the column is told to hold.
        reopened: causes for which a person's decision should be looked at again.
    """

    name: str
    kind: Kind
    entity: str | None
    operator: Mapping[str, str | int]
    evidence: Evidence
    declared: Declared | None = None
    decided_by: DecidedBy = DecidedBy.PROFILE
    normalize: Mapping[str, str | int] | None = None
    sensitive: tuple[str, ...] = ()
    reopened: tuple[Reason, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The JSON form, which `audit.canonical` accepts."""
        return {
            **asdict(self),
            "operator": dict(self.operator),
            "normalize": None if self.normalize is None else dict(self.normalize),
        }


@dataclass(frozen=True, slots=True)
class ColumnPlan:
    """What will be done to every column, and by which detector it was found."""

    columns: tuple[PlannedColumn, ...]
    detector: str
    regimes: tuple[str, ...] = ("cn", "us")
    languages: tuple[str, ...] = ("zh", "en")
    rules: str = ""  # edition of the tenant's own rules, see `tenant_rules`; "" for none
    declared_sensitive: tuple[str, ...] = ()  # special categories that the ingest named
    version: int = VERSION

    @property
    def undeclared_sensitive(self) -> dict[str, tuple[str, ...]]:
        """Special categories that nobody declared, each with the columns that speak of it."""
        seen: dict[str, list[str]] = {}
        for column in self.columns:
            for name in column.sensitive:
                if name not in self.declared_sensitive and column.declared is not Declared.DROP:
                    seen.setdefault(name, []).append(column.name)
        return {name: tuple(columns) for name, columns in sorted(seen.items())}

    def column(self, name: str) -> PlannedColumn:
        """The plan of the column called `name`.

        Raises:
            PlanError: there is none.
        """
        for planned in self.columns:
            if planned.name == name:
                return planned
        raise PlanError("the plan has no such column", code="recognition.unknown_column")

    def override(
        self,
        name: str,
        *,
        kind: Kind | None = None,
        entity: str | None = None,
        operator: Mapping[str, str | int] | None = None,
        declared: Declared | None = None,
    ) -> "ColumnPlan":
        """The plan with one column decided by a person; its evidence stays.

        Where only the entity changes, its default operator comes with it. Whoever decides has seen
        why the column was open again, so the marks go.

        Raises:
            PlanError: there is no such column, or a typed column is left without an entity.
        """
        old = self.column(name)
        kind = kind or old.kind
        chosen = entity or (old.entity if kind is not Kind.FREE else None)
        if kind is Kind.TYPED and chosen is None:
            raise PlanError("a typed column needs an entity")
        if operator is None:
            operator = proposed_operator(entity) if entity else old.operator
        new = replace(
            old,
            kind=kind,
            entity=chosen,
            operator=dict(operator),
            declared=declared or old.declared,
            decided_by=DecidedBy.PERSON,
            reopened=(),
        )
        return replace(self, columns=tuple(new if c.name == name else c for c in self.columns))

    def covers(self, found: "ColumnPlan") -> list[Reason]:
        """Why this plan does not hold for what a profile found; empty where it does.

        It holds where the same columns were looked at by the same detector and rules, and nothing
        was found that the plan's operators would let through or that whoever approved it did not
        know of.
        """
        reasons = []
        if found.detector != self.detector:
            reasons.append(Reason(Cause.DETECTOR, found=found.detector))
        if found.rules != self.rules:
            reasons.append(Reason(Cause.RULES, found=found.rules))
        planned = {column.name: column for column in self.columns}
        there = {column.name for column in found.columns}
        reasons += [Reason(Cause.COLUMN_GONE, name) for name in planned if name not in there]
        for column in found.columns:
            mine = planned.get(column.name)
            if mine is None:
                reasons.append(Reason(Cause.COLUMN_NEW, column.name))
            elif mine.decided_by is DecidedBy.PERSON:
                reasons += _since(mine, column)
            else:
                reasons += _uncovered(mine, column)
        return reasons

    def carry_over(self, old: "ColumnPlan") -> "ColumnPlan":
        """This plan with what people decided in `old`, where the column is still there.

        Evidence stays that of this plan's profile. Where the profile found more than the decision
        provides for, the decision sticks all the same, and says why it should be looked at.
        """
        decided = {c.name: c for c in old.columns if c.decided_by is DecidedBy.PERSON}
        return replace(
            self,
            columns=tuple(
                _decided(decided[column.name], column) if column.name in decided else column
                for column in self.columns
            ),
        )

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "version": self.version,
            "detector": self.detector,
            "regimes": list(self.regimes),
            "languages": list(self.languages),
            "rules": self.rules,
            "declared_sensitive": list(self.declared_sensitive),
            "columns": [column.as_dict() for column in self.columns],
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "ColumnPlan":
        """Read what `as_dict` wrote, now or before there were decisions and rules.

        Raises:
            PlanError: a field is missing or unknown, or the version is another.
        """
        try:
            if stored["version"] not in _READ:
                raise PlanError("the plan is of another version")
            return cls(
                columns=tuple(_column(column) for column in stored["columns"]),
                detector=str(stored["detector"]),
                regimes=tuple(stored["regimes"]),
                languages=tuple(stored["languages"]),
                rules=str(stored.get("rules", "")),
                declared_sensitive=_texts(stored.get("declared_sensitive", ())),
            )
        except (KeyError, TypeError, ValueError):
            raise PlanError("the stored plan does not read as a plan") from None


def plan_digest(plan: ColumnPlan) -> str:
    """SHA-256 of the plan's canonical JSON: what an approval binds to."""
    return digest(plan.as_dict())


def proposed_operator(entity: str) -> dict[str, str | int]:
    """The operator that a plan starts from; an entity of the tenant's own is pseudonymized."""
    return default_operator(entity) if entity in ENTITIES else dict(PSEUDONYM)


def _uncovered(planned: PlannedColumn, found: PlannedColumn) -> list[Reason]:
    """Why one column's part of a plan does not hold for what was found in it."""
    if planned.declared is Declared.DROP:
        return []
    reasons = [
        Reason(Cause.SENSITIVE_CLASS, planned.name, name)
        for name in found.sensitive
        if name not in planned.sensitive
    ]
    match planned.kind, found.kind:
        case Kind.FREE, Kind.FREE:
            reasons += _declared_free(planned, found)
        case Kind.FREE, _:
            reasons.append(Reason(Cause.ESCALATED, planned.name, found.entity or ""))
        case Kind.PROSE, Kind.TYPED:
            reasons.append(Reason(Cause.IDENTIFIERS, planned.name, found.entity or ""))
        case Kind.TYPED, Kind.PROSE if planned.operator.get("operator") not in _HIDING:
            reasons.append(Reason(Cause.TEXT, planned.name))
        case Kind.TYPED, Kind.TYPED if found.entity != planned.entity:
            if planned.operator.get("operator") not in _HIDING:
                reasons.append(Reason(Cause.ENTITY, planned.name, found.entity or ""))
            elif _worse(found.entity, planned):
                reasons.append(Reason(Cause.MORE_SENSITIVE, planned.name, found.entity or ""))
        case _:
            pass
    return reasons


def _declared_free(planned: PlannedColumn, found: PlannedColumn) -> list[Reason]:
    """A target and a feature stay free whatever is in them: then the findings tell."""
    known = {finding.entity for finding in planned.evidence.findings}
    return [
        Reason(Cause.ESCALATED, planned.name, finding.entity)
        for finding in found.evidence.findings
        if finding.entity not in known and float(finding.prevalence) >= _COMMON
    ]


def _worse(entity: str | None, planned: PlannedColumn) -> bool:
    """Whether the entity is sensitive, and nobody who approved the plan could know of it."""
    known = {planned.entity, *(finding.entity for finding in planned.evidence.findings)}
    known_sensitive = planned.entity is not None and sensitivity(planned.entity) == "S"
    return (
        entity is not None
        and entity not in known
        and sensitivity(entity) == "S"
        and not known_sensitive
    )


def _decided(old: PlannedColumn, new: PlannedColumn) -> PlannedColumn:
    """A person's decision on the evidence of a new profile."""
    return replace(
        new,
        kind=old.kind,
        entity=old.entity,
        operator=old.operator,
        declared=new.declared or old.declared,
        decided_by=DecidedBy.PERSON,
        normalize=old.normalize,
        reopened=tuple(dict.fromkeys((*old.reopened, *_since(old, new)))),
    )


def _since(old: PlannedColumn, new: PlannedColumn) -> list[Reason]:
    """What a new profile found beyond what the person who decided has seen.

    Whoever called a column of numbers free, although the profile had taken it for telephone
    numbers, knew what was found: the same finding does not open the decision again.
    """
    seen = {finding.entity for finding in old.evidence.findings}
    return [
        reason
        for reason in _uncovered(old, new)
        if reason.cause is Cause.SENSITIVE_CLASS
        or (reason.found and reason.found not in seen)
        or (not reason.found and new.evidence.beside > old.evidence.beside == 0)
    ]


def _column(stored: Mapping[str, Any]) -> PlannedColumn:
    evidence = dict(stored["evidence"])
    evidence["findings"] = tuple(Finding(**finding) for finding in evidence["findings"])
    evidence["classes"] = tuple(ClassSeen(**seen) for seen in evidence.get("classes", ()))
    for name in ("header", "samples"):
        evidence[name] = _texts(evidence[name])
    return PlannedColumn(
        name=stored["name"],
        kind=Kind(stored["kind"]),
        entity=stored["entity"],
        operator=dict(stored["operator"]),
        evidence=Evidence(**evidence),
        declared=Declared(stored["declared"]) if stored["declared"] else None,
        decided_by=DecidedBy(stored.get("decided_by", DecidedBy.PROFILE)),
        normalize=None if (form := stored.get("normalize")) is None else dict(form),
        sensitive=_texts(stored.get("sensitive", ())),
        reopened=tuple(
            Reason(Cause(reason["cause"]), reason["column"], reason["found"])
            for reason in stored.get("reopened", ())
        ),
    )


def _texts(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(str(value) for value in values)
