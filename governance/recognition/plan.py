"""The column plan: what each column is, why, and what will be done to it.

A plan is plain data with a JSON round trip and a digest, so that the steward's approval binds to
exactly what was shown. Measures are decimal strings, because a recorded fact holds no float, and
samples are shapes: no plan holds a raw value.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, Final

from audit.canonical import digest
from audit.errors import Kind as ErrorKind
from governance.errors import GovernanceError
from governance.recognition.entities import default_operator

VERSION: Final = 1


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


@dataclass(frozen=True, slots=True)
class PlannedColumn:
    """One column's part of the plan."""

    name: str
    kind: Kind
    entity: str | None
    operator: Mapping[str, str | int]
    evidence: Evidence
    declared: Declared | None = None

    def as_dict(self) -> dict[str, Any]:
        """The JSON form, which `audit.canonical` accepts."""
        return {**asdict(self), "operator": dict(self.operator)}


@dataclass(frozen=True, slots=True)
class ColumnPlan:
    """What will be done to every column, and by which detector it was found."""

    columns: tuple[PlannedColumn, ...]
    detector: str
    regimes: tuple[str, ...] = ("cn", "us")
    languages: tuple[str, ...] = ("zh", "en")
    version: int = VERSION

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

        Where only the entity changes, its default operator comes with it.

        Raises:
            PlanError: there is no such column, or a typed column is left without an entity.
        """
        old = self.column(name)
        kind = kind or old.kind
        chosen = entity or (old.entity if kind is not Kind.FREE else None)
        if kind is Kind.TYPED and chosen is None:
            raise PlanError("a typed column needs an entity")
        if operator is None:
            operator = default_operator(entity) if entity else old.operator
        new = replace(
            old,
            kind=kind,
            entity=chosen,
            operator=dict(operator),
            declared=declared or old.declared,
        )
        return replace(self, columns=tuple(new if c.name == name else c for c in self.columns))

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "version": self.version,
            "detector": self.detector,
            "regimes": list(self.regimes),
            "languages": list(self.languages),
            "columns": [column.as_dict() for column in self.columns],
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "ColumnPlan":
        """Read what `as_dict` wrote.

        Raises:
            PlanError: a field is missing or unknown, or the version is another.
        """
        try:
            if stored["version"] != VERSION:
                raise PlanError("the plan is of another version")
            return cls(
                columns=tuple(_column(column) for column in stored["columns"]),
                detector=str(stored["detector"]),
                regimes=tuple(stored["regimes"]),
                languages=tuple(stored["languages"]),
            )
        except (KeyError, TypeError, ValueError):
            raise PlanError("the stored plan does not read as a plan") from None


def plan_digest(plan: ColumnPlan) -> str:
    """SHA-256 of the plan's canonical JSON: what an approval binds to."""
    return digest(plan.as_dict())


def _column(stored: Mapping[str, Any]) -> PlannedColumn:
    evidence = dict(stored["evidence"])
    evidence["findings"] = tuple(Finding(**finding) for finding in evidence["findings"])
    for name in ("header", "samples"):
        evidence[name] = _texts(evidence[name])
    return PlannedColumn(
        name=stored["name"],
        kind=Kind(stored["kind"]),
        entity=stored["entity"],
        operator=dict(stored["operator"]),
        evidence=Evidence(**evidence),
        declared=Declared(stored["declared"]) if stored["declared"] else None,
    )


def _texts(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(str(value) for value in values)
