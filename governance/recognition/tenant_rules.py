"""A tenant's own terms and patterns: what stewards add to the built-in rules without code.

A rule book holds terms that pass although a recognizer takes them for somebody (`allow`), terms
that are always found (`deny`), and patterns such as those of employee or hospital record numbers.
Patterns run on RE2, which is linear in the text whatever the pattern is; what RE2 cannot read, or
cannot hold in a megabyte, is refused. A match never begins or ends inside a run of ASCII letters
and digits, and never crosses from one cell into the next.

No error of this module quotes a term or a pattern: terms are often names.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import re2

from audit.errors import Kind
from governance.errors import GovernanceError
from governance.recognition.checksums import luhn, mod11_2
from governance.recognition.folding import fold, shadow
from governance.recognition.places import Places
from governance.recognition.rules import WINDOW_AFTER, WINDOW_BEFORE, Finder, Gate, compact
from governance.recognition.spans import Span

MOST_TERMS: Final = 5_000  # allowed and denied, each
MOST_PATTERNS: Final = 100
LONGEST_TERM: Final = 200
LONGEST_PATTERN: Final = 400
MOST_WORDS: Final = 20
UNLESS_SAID: Final = "0.60"
SUPPORT: Final = 0.35  # what a context word or the header adds: as for the built-in patterns
FAILED: Final = 0.6  # a number whose check fails, where the words around it speak for it
PROVEN: Final = 0.95
_ENTITY: Final = re.compile(r"[A-Z][A-Z0-9_]{2,30}")
_SCORE: Final = re.compile(r"0\.[0-9]{2}|1\.00")
_DECIMAL: Final = re.compile(r"[0-9]\.$")  # what follows is the fraction of a number
_FRACTION: Final = re.compile(r"\.[0-9]")

CHECKS: Final[Mapping[str, Callable[[str], bool]]] = {"luhn": luhn, "mod11_2": mod11_2}


class RulesError(GovernanceError):
    """A rule book does not read as one, or one of its rules cannot be used."""

    code = "rules.invalid"
    kind = Kind.INVALID


@dataclass(frozen=True, slots=True)
class Term:
    """A text that is always found as `entity`, or that passes as it (`entity` "" for any)."""

    text: str
    entity: str = ""


@dataclass(frozen=True, slots=True)
class OwnPattern:
    """A pattern in RE2's syntax for numbers or codes that only this tenant gives out.

    `score` is a decimal string, "0.00" to "1.00": what a match is worth alone. A context word
    nearby, or a header word in the column's name, adds `SUPPORT`. A check that holds proves the
    match, one that fails drops it unless such a word speaks for it.
    """

    entity: str
    pattern: str
    score: str = UNLESS_SAID
    context: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    check: str = ""


@dataclass(frozen=True, slots=True)
class RuleBook:
    """All rules of one edition, as a steward wrote them."""

    allow: tuple[Term, ...] = ()
    deny: tuple[Term, ...] = ()
    patterns: tuple[OwnPattern, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The JSON form, which `from_dict` reads and `audit.canonical` accepts."""
        return {
            "allow": [{"text": term.text, "entity": term.entity} for term in self.allow],
            "deny": [{"text": term.text, "entity": term.entity} for term in self.deny],
            "patterns": [
                {
                    "entity": own.entity,
                    "pattern": own.pattern,
                    "score": own.score,
                    "context": list(own.context),
                    "headers": list(own.headers),
                    "check": own.check,
                }
                for own in self.patterns
            ],
        }

    @classmethod
    def from_dict(cls, stored: Any) -> "RuleBook":
        """Read a rule book and check every rule of it.

        Raises:
            RulesError: `rules.invalid`, `rules.too_many`, `rules.entity_invalid`,
                `rules.term_invalid`, `rules.pattern_invalid`; the sentence names the rule by its
                place.
        """
        if not isinstance(stored, dict) or set(stored) - {"allow", "deny", "patterns"}:
            raise RulesError("rules are an object of allow, deny and patterns")
        book = cls(
            allow=tuple(_term(*each) for each in _listed(stored, "allow", MOST_TERMS)),
            deny=tuple(_term(*each) for each in _listed(stored, "deny", MOST_TERMS)),
            patterns=tuple(_own(*each) for each in _listed(stored, "patterns", MOST_PATTERNS)),
        )
        _finders(book)  # refuses what RE2 cannot hold
        return book


@dataclass(frozen=True)
class TenantRules:
    """One edition, ready to run: handed to the sweep, to prose and to the re-scan.

    Attributes:
        version: names the edition in column plans; "" where there are no rules.
        finders: what its terms and patterns find.
        headers: header words by entity, beside those of the catalog.
        allowed: folded texts that pass, each with the entity that it passes as ("" for any).
    """

    version: str = ""
    finders: tuple[Finder, ...] = ()
    headers: tuple[tuple[str, tuple[str, ...]], ...] = ()
    allowed: frozenset[tuple[str, str]] = field(default_factory=frozenset, repr=False)

    def allows(self, entity: str, text: str) -> bool:
        """Whether a steward said that `text`, found as `entity`, is nobody."""
        if not self.allowed:
            return False
        known = _key(text)
        return (entity, known) in self.allowed or ("", known) in self.allowed

    def spoken(self, header: str | None) -> tuple[str, ...]:
        """Entities that a column's header speaks of by the tenant's own words."""
        if not header:
            return ()
        split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|_", " ", header)
        return tuple(
            dict.fromkeys(
                entity
                for entity, words in self.headers
                if (found := _any_word(words)) is not None and found.search(split)
            )
        )


NO_RULES: Final = TenantRules()


def compiled(book: RuleBook, version: str) -> TenantRules:
    """The book's rules under the name of their edition."""
    return TenantRules(
        version=version,
        finders=_finders(book),
        headers=tuple((own.entity, own.headers) for own in book.patterns if own.headers),
        allowed=frozenset((term.entity, _key(term.text)) for term in book.allow),
    )


def own_spans(rules: TenantRules, text: str, spoken: Collection[str] = ()) -> list[Span]:
    """What the tenant's rules find in one folded text, overlaps and doubts included."""
    if not rules.finders:
        return []
    ghost = shadow(text)
    return [span for finder in rules.finders for span in finder.find(text, ghost, spoken)]


def term_places(terms: Collection[Term]) -> Places | None:
    """Where terms stand, in any case; None for no terms."""
    return Places.of_terms([fold(term.text).text.strip() for term in terms]) if terms else None


@dataclass(frozen=True, slots=True)
class _Terms:
    """All denied terms of one entity, in any case."""

    entity: str
    places: Places
    gate: Gate = Gate.ANY

    def find(self, text: str, shadow: str, spoken: Collection[str]) -> Iterator[Span]:  # noqa: ARG002 - the Finder protocol
        """Every place where a term stands."""
        for start, end in self.places.find(text):
            yield Span(start, end, self.entity, 1.0)


@dataclass(frozen=True, slots=True)
class _Pattern:
    """One pattern of the tenant's."""

    entity: str
    places: Places
    score: float
    context: re.Pattern[str] | None
    check: Callable[[str], bool] | None
    gate: Gate = Gate.ANY

    def find(self, text: str, shadow: str, spoken: Collection[str]) -> Iterator[Span]:  # noqa: ARG002 - as above
        """Matches, each with what it is worth."""
        for start, end in self.places.find(text):
            if _DECIMAL.search(text[max(0, start - 2) : start]) or _FRACTION.match(text, end):
                continue
            supported = self.entity in spoken or self._near(text, start, end)
            score = min(1.0, self.score + SUPPORT) if supported else self.score
            proven = False
            if self.check is not None:
                proven = self.check(compact(text[start:end]))
                score = max(score, PROVEN) if proven else FAILED if supported else 0.0
            if score > 0:
                yield Span(start, end, self.entity, score, proven)

    def _near(self, text: str, start: int, end: int) -> bool:
        if self.context is None:
            return False
        before = text[max(0, start - WINDOW_BEFORE) : start].rpartition("\0")[2]
        after = text[end : end + WINDOW_AFTER].partition("\0")[0]
        return self.context.search(before) is not None or self.context.search(after) is not None


def _finders(book: RuleBook) -> tuple[Finder, ...]:
    """Compiled terms, one finder an entity, and patterns.

    Raises:
        RulesError: `rules.pattern_invalid`, by the pattern's place.
    """
    by_entity: dict[str, list[str]] = {}
    for term in book.deny:
        by_entity.setdefault(term.entity, []).append(fold(term.text).text.strip())
    finders: list[Finder] = [
        _Terms(entity, Places.of_terms(terms)) for entity, terms in by_entity.items()
    ]
    for place, own in enumerate(book.patterns, 1):
        try:
            places = Places([(True, own.pattern, True)])
        except re2.error:
            raise RulesError(
                f"pattern {place} cannot be read, or is too large", code="rules.pattern_invalid"
            ) from None
        if places.empty():
            raise RulesError(
                f"pattern {place} matches nothing at all", code="rules.pattern_invalid"
            )
        finders.append(
            _Pattern(
                own.entity,
                places,
                float(own.score),
                _any_word(own.context),
                CHECKS.get(own.check),
            )
        )
    return tuple(finders)


def _any_word(words: Sequence[str]) -> re.Pattern[str] | None:
    """One pattern of all words: ASCII ones whole and in any case, others anywhere."""
    if not words:
        return None
    parts = [
        rf"(?<![a-z]){re.escape(word)}(?![a-z])" if word.isascii() else re.escape(word)
        for word in sorted(words, key=len, reverse=True)
    ]
    return re.compile("|".join(parts), re.IGNORECASE)


def _key(text: str) -> str:
    return fold(text).text.strip().casefold()


def _listed(stored: Mapping[str, Any], name: str, most: int) -> Iterator[tuple[str, int, Any]]:
    listed = stored.get(name, [])
    if not isinstance(listed, list):
        raise RulesError(f"{name} is a list")
    if len(listed) > most:
        raise RulesError(f"{name} holds more than {most} rules", code="rules.too_many")
    return ((name, place, rule) for place, rule in enumerate(listed, 1))


def _fields(name: str, place: int, rule: Any, known: Collection[str]) -> dict[str, Any]:
    if not isinstance(rule, dict) or set(rule) - set(known):
        raise RulesError(f"{name} {place} is not an object of {', '.join(known)}")
    return rule


def _term(name: str, place: int, rule: Any) -> Term:
    rule = _fields(name, place, rule, ("text", "entity"))
    text, entity = rule.get("text"), rule.get("entity", "")
    if not isinstance(text, str) or not 1 < len(fold(text).text.strip()) <= LONGEST_TERM:
        raise RulesError(
            f"{name} {place}: a term has 2 to {LONGEST_TERM} characters", code="rules.term_invalid"
        )
    return Term(text.strip(), _entity(name, place, entity, optional=name == "allow"))


def _own(name: str, place: int, rule: Any) -> OwnPattern:
    known = ("entity", "pattern", "score", "context", "headers", "check")
    rule = _fields(name, place, rule, known)
    pattern, score = rule.get("pattern"), rule.get("score", UNLESS_SAID)
    check = rule.get("check", "")
    if not isinstance(pattern, str) or not 0 < len(pattern) <= LONGEST_PATTERN:
        raise RulesError(
            f"pattern {place} has 1 to {LONGEST_PATTERN} characters", code="rules.pattern_invalid"
        )
    if not isinstance(score, str) or not _SCORE.fullmatch(score):
        raise RulesError(f"pattern {place}: a score is a text from 0.00 to 1.00")
    if not isinstance(check, str) or check not in {"", *CHECKS}:
        raise RulesError(f"pattern {place}: a check is {', '.join(CHECKS)} or nothing")
    return OwnPattern(
        entity=_entity(name, place, rule.get("entity"), optional=False),
        pattern=pattern,
        score=score,
        context=_words(place, rule.get("context", [])),
        headers=_words(place, rule.get("headers", [])),
        check=check,
    )


def _entity(name: str, place: int, entity: Any, *, optional: bool) -> str:
    if optional and entity == "":
        return ""
    if not isinstance(entity, str) or not _ENTITY.fullmatch(entity):
        raise RulesError(
            f"{name} {place}: an entity is named by 3 to 31 capital letters, digits and _",
            code="rules.entity_invalid",
        )
    return entity


def _words(place: int, listed: Any) -> tuple[str, ...]:
    if (
        not isinstance(listed, list)
        or len(listed) > MOST_WORDS
        or not all(isinstance(word, str) and 0 < len(word.strip()) <= 40 for word in listed)  # noqa: PLR2004 - a word
    ):
        raise RulesError(f"pattern {place}: words are up to {MOST_WORDS} short texts")
    return tuple(fold(word).text.strip().lower() for word in listed)
