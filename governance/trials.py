"""Rules tried before they count: what they would find and let pass, as counts and masks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from governance.actions.rules import begin_trial
from governance.errors import InvalidError
from governance.models import Dataset, Part, Tenant
from governance.rbac import UserActor
from governance.recognition.folding import fold
from governance.recognition.places import Places
from governance.recognition.reading import shape
from governance.recognition.rules import REPORT
from governance.recognition.spans import resolve
from governance.recognition.tenant_rules import (
    RuleBook,
    TenantRules,
    compiled,
    own_spans,
    term_places,
)
from governance.tables.nesting import is_list, leaves
from governance.tables.reading import open_table
from governance.vault import open_object

ROWS: Final = 20_000  # from the top of the file: enough to see, and done while a person waits
LONGEST: Final = 100_000  # characters of a pasted text
SAMPLES: Final = 3
AROUND: Final = 8  # characters shown, masked, on each side of what was found
_CHUNK: Final = 2_000


@dataclass
class Tried:
    """What rules did in one column.

    Attributes:
        column: its name; "" for a pasted text.
        found: cells by entity.
        doubts: cells whose match scores too low to count, by entity.
        allowed: cells in which an allowed term stands.
        samples: masks of what was found, between ⟦ and ⟧.
    """

    column: str
    found: dict[str, int] = field(default_factory=dict)
    doubts: dict[str, int] = field(default_factory=dict)
    allowed: int = 0
    samples: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Trial:
    """What came of a trial."""

    rows: int
    columns: tuple[Tried, ...]  # those in which anything was found or would pass

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "rows": self.rows,
            "columns": [
                {
                    "column": tried.column,
                    "found": tried.found,
                    "doubts": tried.doubts,
                    "allowed": tried.allowed,
                    "samples": tried.samples,
                }
                for tried in self.columns
            ],
        }


def try_rules(
    actor: UserActor, subject: Dataset | Tenant, book: RuleBook, *, text: str = "", part: int = 1
) -> Trial:
    """Run rules over the first rows of a dataset's newest batch, or over a pasted text.

    Args:
        actor: the steward.
        subject: a dataset, or the tenant where `text` is pasted.
        book: the rules; they need not have been added.
        text: an example.
        part: which file of the batch, from 1.

    Raises:
        RefusedError: the actor may not.
        InvalidError: `rules.empty`; `rules.text_too_long`.
        ConflictError: `dataset.source_gone`.
        TableError: the file cannot be read.
    """
    if len(text) > LONGEST:
        raise InvalidError(f"an example has up to {LONGEST} characters", code="rules.text_too_long")
    file = begin_trial(actor, subject, book=book, part=part)
    rules = compiled(book, "")
    passing = term_places(book.allow)
    if file is None:
        lines = text.splitlines()
        tried = Tried("")
        _look(tried, lines, rules, passing)
        return Trial(len(lines), (tried,) if _told(tried) else ())
    rows = 0
    columns: dict[str, Tried] = {}
    for chunk in _chunks(file):
        rows += len(next(iter(chunk.values()), ()))
        for name, cells in chunk.items():
            tried = columns.setdefault(name, Tried(name))
            values = [cell for cell in cells if cell]
            if is_list(name):
                values = [leaf for cell in values for leaf in leaves(cell) if leaf]
            _look(tried, values, rules, passing)
    return Trial(rows, tuple(tried for tried in columns.values() if _told(tried)))


def _chunks(file: Part) -> Iterator[Mapping[str, Sequence[str | None]]]:
    with open_object(file.stored) as opened:
        table = open_table(
            opened, format=file.declared_format or None, encoding=file.encoding_override or None
        )
        left = ROWS
        for chunk in table.chunks(_CHUNK):
            yield {name: cells[:left] for name, cells in chunk.columns.items()}
            left -= chunk.rows
            if left <= 0:
                return


def _look(tried: Tried, values: Sequence[str], rules: TenantRules, passing: Places | None) -> None:
    spoken = rules.spoken(tried.column)
    for value in values:
        text = fold(value).text
        spans = own_spans(rules, text, spoken)
        kept = resolve([span for span in spans if span.score >= REPORT], text)
        for entity in {span.entity for span in kept}:
            tried.found[entity] = tried.found.get(entity, 0) + 1
        for entity in {span.entity for span in spans} - {span.entity for span in kept}:
            tried.doubts[entity] = tried.doubts.get(entity, 0) + 1
        tried.allowed += passing is not None and next(passing.find(text), None) is not None
        if kept and len(tried.samples) < SAMPLES:
            mask = _mask(text, kept[0].start, kept[0].end)
            if mask not in tried.samples:
                tried.samples.append(mask)


def _mask(text: str, start: int, end: int) -> str:
    before, after = text[max(0, start - AROUND) : start], text[end : end + AROUND]
    return f"{shape(before)}⟦{shape(text[start:end])}⟧{shape(after)}"


def _told(tried: Tried) -> bool:
    return bool(tried.found or tried.doubts or tried.allowed)
