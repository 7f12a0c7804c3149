"""What every operator is: a name, a legal status, and what it makes of one value."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import ClassVar

from governance.suites import Suite


class LegalStatus(StrEnum):
    """What an operator's output is, in law, while nothing else is known about the record."""

    IDENTIFYING = "identifying"
    PSEUDONYMOUS = "pseudonymous"
    REVERSIBLE = "pseudonymous_reversible"
    SUPPORTS_ANONYMITY = "supports_anonymity"
    ANONYMOUS_IF_RECORD_IS = "anonymous_if_record_is"


@dataclass(frozen=True, slots=True)
class OperatorKeys:
    """One tenant's keys for the operators that keep equality, of one version."""

    tenant: str
    suite: Suite
    hash_key: bytes = field(repr=False)
    token_key: bytes = field(repr=False)
    version: int = 1


@dataclass(frozen=True, slots=True)
class Operator(ABC):
    """What is done to every value of a column, or to every finding in a text."""

    name: ClassVar[str]
    status: ClassVar[LegalStatus]
    needs_subject: ClassVar[bool] = False  # works on rows: `apply_rows` with the row's subject
    keeps_form: ClassVar[bool] = False  # what comes out of a column still looks like its entity

    @abstractmethod
    def apply(self, value: str, entity: str) -> str:
        """What goes out in place of `value`, which was found to be an `entity`."""

    def apply_many(self, values: Sequence[str], entity: str) -> list[str]:
        """`apply` to each of many values; what repeats is computed once."""
        done: dict[str, str] = {}
        out = []
        for value in values:
            if (applied := done.get(value)) is None:
                applied = done[value] = self.apply(value, entity)
            out.append(applied)
        return out

    def apply_rows(
        self, values: Sequence[str | None], subjects: Sequence[str | None], entity: str
    ) -> list[str | None]:
        """`apply` to each of many cells, knowing whose row each is; an empty cell stays as it is.

        Args:
            values: the cells of one column.
            subjects: for each of them the data subject's raw id; None or empty where unknown.
            entity: what the cells are.
        """
        del subjects  # most operators look at the value alone
        return [self.apply(value, entity) if value else value for value in values]

    def check_entity(self, entity: str) -> None:
        """Refuse, before a value is seen, what this operator must not do to `entity`.

        Raises:
            OperatorError: it must not.
        """
        del entity  # most operators suit every entity

    def record(self) -> dict[str, str | int]:
        """The configuration as a plan and a version's lineage hold it. Keys are not part of it."""
        shown: dict[str, str | int] = {"operator": self.name}
        shown |= {f.name: getattr(self, f.name) for f in fields(self) if f.init and f.repr}
        return shown


def key_record(keys: OperatorKeys) -> dict[str, str | int]:
    """What a lineage says of the keys: suite and version."""
    return {"suite": keys.suite.slug, "key_version": keys.version}
