"""A rule: one pattern of one entity, its check in code, and what the words around it are worth."""

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

import regex

from governance.errors import GovernanceError
from governance.recognition.entities import context_pattern
from governance.recognition.gates import Condition, conditions
from governance.recognition.spans import Span

REPORT: Final = 0.5  # a span scoring less is a doubt: the plan may count it, nobody acts on it
WINDOW_BEFORE: Final = 24  # characters in which a context word counts, COMPLIANCE: measured on
WINDOW_AFTER: Final = 10  # Chinese text, whose lemmas spaCy leaves empty
NARROW_AFTER: Final = 4
_DIGIT: Final = re.compile("[0-9]")
TIMEOUT_SECONDS: Final = 5.0  # every pattern is linear; this stops a pattern added by a tenant


class ScanTimeoutError(GovernanceError):
    """A pattern ran past its time on some text: the scan fails, it does not skip the pattern."""

    code = "recognition.timeout"


class Gate(StrEnum):
    """A cheap necessary condition (RE2 syntax, run over whole columns) for a group of rules."""

    NUMBER = r"(?:[0-9][-. ()/+x]{0,3}){6}[0-9]"
    CODE = r"[A-Za-z] ?[0-9]|[0-9] ?[A-Za-z]|[0-9]{8}"
    FIVE_DIGITS = r"[0-9]{5}"
    AT = "@"
    NETWORK = (
        r"[0-9]\.[0-9]|[0-9A-Fa-f]{2}[:-][0-9A-Fa-f]{2}[:-]|:[0-9A-Fa-f]{0,4}:|[0-9A-Fa-f]{4}\."
    )
    SITE = r"[A-Za-z0-9]\.[A-Za-z]|://"
    LETTERED = r"[0-9A-Za-z]{26}|[A-Z]{2}[0-9]{2}|[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-"
    STREET = r"[0-9].* [A-Z]|[A-Z]{2},? [0-9]{5}"
    HAN = r"[\p{Han}]"
    LABEL = r"(?i)qq|wechat|weixin|微信|企鹅号|扣扣"
    WORD = r"[0-9A-Za-z]{5}"
    DATE = r"[0-9][-/.年 ][0-9A-Za-z]|[a-z]\.? [0-9]{1,2},? [0-9]{4}|[0-9]{8}"
    DECIMALS = r"\.[0-9]{4}"
    MACHINE = "<"
    ANY = ""  # a tenant's own terms and patterns may look like anything


@dataclass(frozen=True, slots=True)
class Need:
    """What a text must hold for a finder to find anything there that matters.

    Attributes:
        conditions: all of them hold in it; none means any text.
        alone: the most that a span is worth without a context word or a header that speaks of it.
        by_context: whether a context word in the text helps, and not the header alone.
    """

    conditions: tuple[Condition, ...]
    alone: float = 1.0
    by_context: bool = True


class Finder(Protocol):
    """Whatever finds spans of entities in a folded text (cells joined by the separator)."""

    @property
    def gate(self) -> Gate:
        """The condition that a cell must meet to be worth the search."""

    @property
    def entity(self) -> str:
        """The entity that it finds."""

    def find(self, text: str, shadow: str, spoken: Collection[str]) -> Iterator[Span]:
        """Spans in `text`; `shadow` is its ASCII shadow, `spoken` what the header speaks of."""


def needs(finder: Finder) -> tuple[Need, ...]:
    """The finder's needs, any of which suffices: its own `needs`, or else its gate."""
    own: tuple[Need, ...] | None = getattr(finder, "needs", None)
    if own is not None:
        return own
    gate = finder.gate.value
    return (Need((Condition(gate),) if gate else ()),)


@dataclass(frozen=True, slots=True)
class Rule:
    """A pattern over the folded text, bounded so that it sits beside Han characters.

    `score` is what a match is worth alone, `near` what it is worth beside a context word or under a
    header that speaks of the entity. `check` validates the matched characters: a pass proves the
    span, a failure drops it, or leaves it at `failed` when context speaks for it (a bank card
    number that somebody mistyped is still somebody's).
    """

    name: str
    entity: str
    pattern: regex.Pattern[str]
    gate: Gate
    score: float
    near: float
    check: Callable[[str], bool] | None = None
    failed: float = 0.0
    narrow: bool = False  # the context word must belong to this match and not to a number beside it
    header_only: bool = False  # so shapeless that only the column's own header makes it an entity

    @property
    def needs(self) -> tuple[Need, ...]:
        """What the pattern says of the texts that it matches."""
        alone = 0.0 if self.header_only else self.score
        return (Need(conditions(self.pattern), alone, by_context=not self.header_only),)

    def find(self, text: str, shadow: str, spoken: Collection[str]) -> Iterator[Span]:  # noqa: ARG002 - the Finder protocol; only built-ins need the shadow
        """Spans of the entity in `text`.

        Raises:
            ScanTimeoutError: the pattern ran past `TIMEOUT_SECONDS`.
        """
        if self.header_only and self.entity not in spoken:
            return
        try:
            for match in self.pattern.finditer(text, timeout=TIMEOUT_SECONDS):
                span = self._judge(match, text, spoken)
                if span is not None:
                    yield span
        except TimeoutError:
            raise ScanTimeoutError(f"the pattern {self.name} ran past its time") from None

    def _judge(self, match: regex.Match[str], text: str, spoken: Collection[str]) -> Span | None:
        start, end = match.span()
        supported = self.entity in spoken or in_context(
            self.entity, text, start, end, narrow=self.narrow
        )
        score = self.near if supported else self.score
        proven = False
        if self.check is not None:
            proven = self.check(match[0])
            if not proven:
                score = self.failed if supported else 0.0
        if score <= 0:
            return None
        return Span(start, end, self.entity, score, proven)


def in_context(entity: str, text: str, start: int, end: int, *, narrow: bool = False) -> bool:
    """Whether a context word of `entity` stands near `text[start:end]`, within the same cell.

    `narrow` looks back no further than the last digit and ahead only at the next few characters, so
    that of two dates the one that is called a birth date is taken.
    """
    words = context_pattern(entity)
    if words is None:
        return False
    before = text[max(0, start - WINDOW_BEFORE) : start].rpartition("\0")[2]
    after = text[end : end + WINDOW_AFTER].partition("\0")[0]
    if narrow:
        before, after = _DIGIT.split(before)[-1], after[:NARROW_AFTER]
    return words.search(before) is not None or words.search(after) is not None


def bounded(body: str, *, masked: bool = False) -> regex.Pattern[str]:
    r"""Compile `body` so that it neither begins nor ends inside a run of ASCII letters and digits.

    `\b` would fail beside a Han character. A digit run that is the fraction of a decimal number
    (`0.13800138000`) is no identifier. With `masked`, an asterisk is part of the run as well:
    what a mask left over is not found again.
    """
    run = "0-9A-Za-z*" if masked else "0-9A-Za-z"
    return regex.compile(
        rf"(?<![{run}])(?<![0-9]\.)(?:{body})(?![{run}])(?!\.[0-9])", regex.ASCII | regex.VERSION0
    )


_SEPARATORS: Final = re.compile(r"[-\s()]+")


def compact(text: str) -> str:
    """`text` without the spaces, hyphens and brackets that people put into numbers."""
    return _SEPARATORS.sub("", text)
