"""The manifest of a dataset version: which sealed row groups it is made of, in order.

It is canonical JSON, sealed like the rows themselves. It names each group by the id of its object
and the SHA-256 of its plaintext, so the digest of the manifest is a digest of all rows; versions
share the groups that they have in common.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from audit.canonical import canonical, digest
from governance.errors import SealError

FORMAT: Final = 1
LARGEST: Final = 1 << 28  # bytes; a group takes some 150


@dataclass(frozen=True, slots=True)
class Entry:
    """One sealed group: its object, its rows, and the SHA-256 of its Parquet bytes."""

    stored: UUID
    rows: int
    digest: str

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {"object": str(self.stored), "rows": self.rows, "digest": self.digest}


@dataclass(frozen=True, slots=True)
class Manifest:
    """A version's groups.

    Attributes:
        plan: the digest of the column plan that every group was treated by.
        columns: the columns' names, in order.
        entries: the groups, in the order of their rows.
    """

    plan: str
    columns: tuple[str, ...]
    entries: tuple[Entry, ...]

    @property
    def rows(self) -> int:
        """Rows of all groups."""
        return sum(entry.rows for entry in self.entries)

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON: the version's digest."""
        return digest(self._as_dict())

    def to_bytes(self) -> bytes:
        """The canonical JSON."""
        return canonical(self._as_dict())

    @classmethod
    def from_bytes(cls, stored: bytes) -> "Manifest":
        """Read what `to_bytes` wrote.

        Raises:
            SealError: it is no manifest of this format.
        """
        try:
            found = json.loads(stored)
            if found["format"] != FORMAT:
                raise SealError
            return cls(found["plan"], tuple(found["columns"]), _entries(found["groups"]))
        except (KeyError, TypeError, ValueError):
            raise SealError from None

    def _as_dict(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "plan": self.plan,
            "columns": list(self.columns),
            "groups": [entry.as_dict() for entry in self.entries],
        }


def _entries(groups: Sequence[Mapping[str, Any]]) -> tuple[Entry, ...]:
    return tuple(
        Entry(UUID(group["object"]), int(group["rows"]), str(group["digest"])) for group in groups
    )
