"""Which columns of a version a model may learn from, by the column plan that sealed it.

Nothing is read from the rows. A column that the plan calls an identifier, a pseudonym, a token,
prose or the subject is never a feature and never a target, whatever a declaration says: a model
that learns it learns who somebody is. Prose out of which every entity was taken may be read by a
frozen encoder where the steward declared that; it is never a target.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from governance.models import DatasetVersion
from governance.recognition.plan import ColumnPlan, Declared, Kind, PlannedColumn

# A typed column that was made coarser is a quasi-identifier: it may be learned from where the
# steward declared it, never by default. Every other operator leaves what stands for one person.
_COARSENED: Final = "generalize"
# What tells persons apart, or at worst joins two of them; never makes two out of one.
_FAITHFUL: Final = frozenset({"keep", "pseudonym", "surrogate", "token"})
# What is left in prose by these stands for nobody; a pseudonym in it would.
_TAKEN_OUT: Final = frozenset({"replace", "redact"})


@dataclass(frozen=True)
class Columns:
    """The version's columns, in its order.

    Attributes:
        usable: may be features, groups or the target.
        barred: name → the rule that bars it, for the card.
        prose: those of the usable ones that may be features alone.
    """

    usable: tuple[str, ...]
    barred: Mapping[str, str]
    prose: frozenset[str] = frozenset()


def columns_of(version: DatasetVersion) -> Columns:
    """What the version's plan allows.

    Raises:
        PlanError: the stored plan does not read as one.
    """
    plan = ColumnPlan.from_dict(version.plan.as_json())
    said = version.dataset.declarations.get("columns", {})
    declared = said if isinstance(said, Mapping) else {}
    usable: list[str] = []
    barred: dict[str, str] = {}
    for column in plan.columns:
        if column.declared is Declared.DROP:
            continue
        rule = _barred_by(column, version.dataset.subject_column, declared)
        if rule is None:
            usable.append(column.name)
        else:
            barred[column.name] = rule
    prose = {column.name for column in plan.columns if column.kind is Kind.PROSE}
    return Columns(tuple(usable), barred, frozenset(prose.intersection(usable)))


def subject_of(version: DatasetVersion) -> PlannedColumn | None:
    """The column of a version that says whose each row is; None where none can be told by it.

    Raises:
        PlanError: the stored plan does not read as one.
    """
    plan = ColumnPlan.from_dict(version.plan.as_json())
    for column in plan.columns:
        named = column.name == version.dataset.subject_column
        if column.declared is Declared.SUBJECT or (named and column.declared is None):
            faithful = str(column.operator.get("operator", "")) in _FAITHFUL
            return column if faithful else None
    return None


def _barred_by(
    column: PlannedColumn, subject_column: str, declared: Mapping[str, Any]
) -> str | None:
    if column.declared is Declared.SUBJECT or (subject_column and column.name == subject_column):
        return "subject"
    operator = str(column.operator.get("operator", ""))
    match column.kind:
        case Kind.FREE:
            return None
        case Kind.PROSE:
            said = declared.get(column.name)
            encoded = isinstance(said, Mapping) and said.get("kind") == "encoded"
            return None if encoded and operator in _TAKEN_OUT else "prose"
        case Kind.TYPED:
            if operator == _COARSENED and column.name in declared:
                return None
            return f"identifier.{operator or 'unknown'}"


def within(declarations: Mapping[str, Any], columns: Columns) -> dict[str, Any]:
    """A declaration without what it says of barred columns."""
    declared = declarations.get("columns", {})
    groups = declarations.get("groups", ())
    kept = dict(declarations)
    if isinstance(declared, Mapping):
        kept["columns"] = {
            name: said for name, said in declared.items() if name not in columns.barred
        }
    if isinstance(groups, list | tuple):
        kept["groups"] = [name for name in groups if name not in columns.barred]
    return kept
