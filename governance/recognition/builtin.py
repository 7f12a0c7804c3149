"""The structured finders of the sweep: our rules, Presidio's pattern recognizers, libphonenumber.

See `presidio` for what is changed in Presidio's recognizers, and why.
"""

import ipaddress
import logging
from collections.abc import Collection, Iterator, Sequence
from functools import cache
from typing import Any, Final

import phonenumbers
import regex
import tldextract
from presidio_analyzer import Pattern, PatternRecognizer, pattern_recognizer
from presidio_analyzer import predefined_recognizers as predefined
from presidio_analyzer.predefined_recognizers.generic import iban_recognizer

from governance.recognition import chinese, english
from governance.recognition.rules import (
    REPORT,
    TIMEOUT_SECONDS,
    Finder,
    Gate,
    ScanTimeoutError,
    in_context,
)
from governance.recognition.spans import Span

CONTEXT_BOOST: Final = 0.35  # Presidio's own context_similarity_factor
_REGIONS: Final = {"cn": (), "us": ("US",), "ca": ("US",), "eu": ("GB", "DE", "FR")}

pattern_recognizer.REGEX_TIMEOUT_SECONDS = int(TIMEOUT_SECONDS)
iban_recognizer.REGEX_TIMEOUT_SECONDS = int(TIMEOUT_SECONDS)
logging.getLogger("presidio-analyzer").addFilter(lambda _record: False)

_suffixes = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)


class _Email(predefined.EmailRecognizer):
    """E-mail addresses; one whose domain has no public suffix (an intranet's) keeps its score."""

    def __init__(self, **options: Any) -> None:
        atoms = r"[\w.!#$%&'*+\-/=?^`{|}~]"
        body = rf"(?<!{atoms}){atoms}++@(?=[\w.-]*[A-Za-z])[\w-]++(?:\.[\w-]++)++"
        super().__init__(patterns=[Pattern("e-mail", body, 0.6)], **options)

    def validate_result(self, pattern_text: str) -> bool | None:
        """True for a public suffix, False when nothing but a mask is left of the name."""
        local, _, domain = pattern_text.rpartition("@")
        if "**" in local or not any(c.isalnum() for c in local):
            return False
        if not domain.rpartition(".")[2].strip("-_").isalpha() and "xn--" not in domain:
            return None if _suffixes(domain).suffix else False
        return True if _suffixes(domain).suffix else None


class _Url(predefined.UrlRecognizer):
    """Addresses on the web: with a scheme, or a host under a public suffix that looks like one."""

    COMMON: Final = frozenset(
        [
            "com",
            "net",
            "org",
            "edu",
            "gov",
            "cn",
            "io",
            "info",
            "me",
            "biz",
            "co",
            "us",
            "uk",
            "hk",
            "tw",
            "eu",
            "de",
            "fr",
        ]
    )

    def __init__(self, **options: Any) -> None:
        rest = r"""(?:[:/?#][^\s<>"'()\x00]*+)?"""
        super().__init__(
            patterns=[
                Pattern("scheme", r"""(?:https?|ftp)://[^\s<>"'()\x00]++""", 0.6),
                Pattern(
                    "host",
                    r"(?<![A-Za-z0-9.@_-])(?:[A-Za-z0-9-]++\.)+[A-Za-z]{2,24}+(?![A-Za-z0-9@-])"
                    + rest,
                    0.5,
                ),
            ],
            **options,
        )

    def validate_result(self, pattern_text: str) -> bool | None:
        """None keeps the pattern's score; False drops what is no site (`end.In`, `v2.py`)."""
        found = _suffixes(pattern_text[:2048])
        if "://" in pattern_text:
            return None
        if not (found.domain and found.suffix):
            return False
        host, _, path = pattern_text.partition("/")
        common = found.suffix.rpartition(".")[2].lower() in self.COMMON and host == host.lower()
        return None if common or path or found.subdomain == "www" else False


# entity: (recognizer, gate, takes a context word to count); the sweep runs these as patterns.
BUILT_IN: Final[tuple[tuple[type[PatternRecognizer], Gate, bool], ...]] = (
    (predefined.CreditCardRecognizer, Gate.NUMBER, False),
    (_Email, Gate.AT, False),
    (_Url, Gate.SITE, False),
    (predefined.IbanRecognizer, Gate.LETTERED, False),
    (predefined.IpRecognizer, Gate.NETWORK, False),
    (predefined.MacAddressRecognizer, Gate.NETWORK, False),
    (predefined.CryptoRecognizer, Gate.LETTERED, False),
    (predefined.UuidRecognizer, Gate.LETTERED, False),
    (predefined.UsSsnRecognizer, Gate.NUMBER, False),
    (predefined.UsItinRecognizer, Gate.NUMBER, False),
    (predefined.UsMbiRecognizer, Gate.CODE, False),
    (predefined.UsBankRecognizer, Gate.NUMBER, True),
    (predefined.UsPassportRecognizer, Gate.CODE, True),
    (predefined.UsLicenseRecognizer, Gate.CODE, True),
    (predefined.UsNpiRecognizer, Gate.NUMBER, True),
    (predefined.AbaRoutingRecognizer, Gate.NUMBER, True),
    (predefined.MedicalLicenseRecognizer, Gate.CODE, True),
    (predefined.NhsRecognizer, Gate.NUMBER, True),
    (predefined.UkNinoRecognizer, Gate.CODE, False),
)


class BuiltIn:
    """One of Presidio's pattern recognizers as a finder: its patterns, flags and validators."""

    def __init__(self, recognizer: PatternRecognizer, gate: Gate, *, contextual: bool) -> None:
        self.entity: str = recognizer.supported_entities[0]
        self.gate = gate
        self._recognizer = recognizer
        self._contextual = contextual
        self.patterns = [
            (regex.compile(p.regex, recognizer.global_regex_flags | regex.ASCII), float(p.score))
            for p in recognizer.patterns
        ]

    def find(self, text: str, shadow: str, spoken: Collection[str]) -> Iterator[Span]:
        """Spans in the shadow of `text`, judged with the words around them in `text` itself.

        Raises:
            ScanTimeoutError: a pattern ran past its time.
        """
        try:
            for pattern, score in self.patterns:
                for match in pattern.finditer(shadow, timeout=TIMEOUT_SECONDS):
                    yield from self._judge(match, score, text, spoken)
        except TimeoutError:
            raise ScanTimeoutError(f"a pattern of {self.entity} ran past its time") from None

    def _judge(
        self, match: regex.Match[str], score: float, text: str, spoken: Collection[str]
    ) -> Iterator[Span]:
        start = match.start()
        for end in self._ends(match):
            if start == end or not _whole(match.string, start, end):
                continue
            value = match.string[start:end]
            valid = self._recognizer.validate_result(value)
            if valid is False or self._recognizer.invalidate_result(value):
                continue
            if self.entity == "IP_ADDRESS" and _is_network(value):
                continue
            near = self.entity in spoken or in_context(self.entity, text, start, end)
            worth = 1.0 if valid else score
            if near:
                worth = min(1.0, max(REPORT, worth + CONTEXT_BOOST))
            elif self._contextual:
                worth = min(worth, 0.3)
            proven = bool(valid) and (near or not self._contextual)
            yield Span(start, end, self.entity, worth, proven)
            return

    def _ends(self, match: regex.Match[str]) -> list[int]:
        """Where the match may end, best first.

        Presidio's IBAN pattern takes up to two groups too many, so each prefix is tried; the
        punctuation after a URL belongs to the sentence.
        """
        if self.entity == "IBAN_CODE":
            return sorted({match.end(i) for i in range(len(match.groups()) + 1)}, reverse=True)
        if self.entity == "URL":
            return [match.start() + len(match[0].rstrip(".,;:!?'\""))]
        return [match.end()]


def _whole(text: str, start: int, end: int) -> bool:
    """Not a piece of a longer run of letters and digits, nor of a decimal number."""
    if start and text[start - 1].isalnum() and text[start].isalnum():
        return False
    if end < len(text) and text[end].isalnum() and text[end - 1].isalnum():
        return False
    decimal = regex.compile(r"\.[0-9]")
    return not (
        text[start:end].isdigit()
        and (decimal.match(text, end) or regex.search(r"[0-9]\.$", text[max(0, start - 2) : start]))
    )


def _is_network(value: str) -> bool:
    """A generalized address (`10.1.2.0/24`, `2001:db8::/48`) names a network, not a machine."""
    if "/" not in value:
        return value.strip(":") == ""
    network = ipaddress.ip_interface(value)
    wide = network.network.prefixlen <= (24 if network.version == 4 else 48)  # noqa: PLR2004
    return wide and network.ip == network.network.network_address


class Phones:
    """Telephone numbers through libphonenumber, in the regions of the dataset's regimes.

    The slowest finder by far, one pass a region, so its gate and the regions keep it small. A bare
    run of digits that is a whole cell is left to the header and to the column plan: an account
    balance is as often a valid number somewhere as a telephone number is.
    """

    entity: Final = "PHONE_NUMBER"
    gate: Final = Gate.NUMBER

    def __init__(self, regimes: Sequence[str]) -> None:
        regions = dict.fromkeys(r for regime in regimes for r in _REGIONS.get(regime, ()))
        self._regions: tuple[str | None, ...] = tuple(regions) or (None,)

    def find(self, text: str, shadow: str, spoken: Collection[str]) -> Iterator[Span]:
        """Spans in the shadow of `text`."""
        spoken_of = self.entity in spoken
        for run in _DIALED.finditer(shadow, timeout=TIMEOUT_SECONDS):
            if _SETTLED.fullmatch(run[0]):
                continue
            # Room for an extension, within the cell.
            piece = shadow[run.start() : run.end() + _EXTENSION].partition("\0")[0]
            for start, end in self._numbers(piece):
                place = (run.start() + start, run.start() + end)
                if not _whole(shadow, *place) or _NO_PHONE.fullmatch(shadow, *place):
                    continue
                if spoken_of or in_context(self.entity, text, *place):
                    score = 0.75
                elif not shadow[place[0] : place[1]].isdigit():
                    score = 0.6
                else:
                    score = 0.4 if _alone(shadow, *place) else 0.5
                yield Span(*place, self.entity, score)

    def _numbers(self, piece: str) -> set[tuple[int, int]]:
        return {
            (match.start, match.end)
            for region in self._regions
            for match in phonenumbers.PhoneNumberMatcher(
                piece, region, leniency=phonenumbers.Leniency.VALID
            )
        }


_DIALED: Final = regex.compile(r"[+(]?[0-9](?:[-. ()/x+]{0,2}+[0-9]){6,}+")
_EXTENSION: Final = 12
# Runs that a rule of ours reads already, or that are too long for E.164: libphonenumber could add
# nothing, and asking it took nearly half of the time that prose takes.
_SETTLED: Final = regex.compile(
    rf"\(?(?:{english.NANP}|{chinese.MOBILE}|[0-9]{{3}}-[0-9]{{2}}-[0-9]{{4}}|[0-9]{{16,}}+)",
    regex.ASCII,
)
_NO_PHONE: Final = regex.compile(
    r"[0-9]+[.,][0-9]+"  # a decimal number
    r"|[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?:/[0-9]{1,2})?"  # a dotted quad is an IP address or network
    r"|[0-9]{4}([-/.])[0-9]{1,2}\1[0-9]{1,2}|[0-9]{1,2}([-/.])[0-9]{1,2}\2[0-9]{4}"  # a date
)


def _alone(text: str, start: int, end: int) -> bool:
    """Whether `text[start:end]` is a whole cell of a joined chunk."""
    return not (
        text[:start].rpartition("\0")[2].strip() or text[end : end + 200].partition("\0")[0].strip()
    )


@cache
def finders(regimes: tuple[str, ...] = ("cn", "us")) -> tuple[Finder, ...]:
    """All structured finders, ours and Presidio's; only telephone regions depend on the regimes."""
    built_in = [
        BuiltIn(recognizer(), gate, contextual=contextual)
        for recognizer, gate, contextual in BUILT_IN
    ]
    return (*chinese.RULES, *english.RULES, *built_in, Phones(regimes))
