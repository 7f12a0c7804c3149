"""The structured finders of the sweep: our rules, Presidio's pattern recognizers, `phones`.

See `presidio` for what is changed in Presidio's recognizers, and why.
"""

import ipaddress
import logging
from collections.abc import Collection, Iterator
from functools import cache
from typing import Any, Final

import regex
import tldextract
from presidio_analyzer import Pattern, PatternRecognizer, pattern_recognizer
from presidio_analyzer import predefined_recognizers as predefined
from presidio_analyzer.predefined_recognizers.generic import iban_recognizer

from governance.recognition import chinese, english
from governance.recognition.checksums import luhn
from governance.recognition.gates import conditions
from governance.recognition.phones import Phones
from governance.recognition.rules import (
    REPORT,
    TIMEOUT_SECONDS,
    Finder,
    Gate,
    Need,
    ScanTimeoutError,
    compact,
    in_context,
)
from governance.recognition.spans import Span
from governance.recognition.surroundings import whole

CONTEXT_BOOST: Final = 0.35  # Presidio's own context_similarity_factor
_DOUBT: Final = 0.3  # what a match that takes a context word to count is worth without one

pattern_recognizer.REGEX_TIMEOUT_SECONDS = int(TIMEOUT_SECONDS)
iban_recognizer.REGEX_TIMEOUT_SECONDS = int(TIMEOUT_SECONDS)
logging.getLogger("presidio-analyzer").addFilter(lambda _record: False)

_QUAD_NETWORK: Final = regex.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){2}\.0/24")

suffixes = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)


class _Card(predefined.CreditCardRecognizer):
    """Card numbers of the issuers that Presidio knows; its check digit, computed faster."""

    def validate_result(self, pattern_text: str) -> bool:
        """Luhn over the digits."""
        return luhn(compact(pattern_text))


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
            return None if suffixes(domain).suffix else False
        return True if suffixes(domain).suffix else None


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
        found = suffixes(pattern_text[:2048])
        if "://" in pattern_text:
            return None
        if not (found.domain and found.suffix):
            return False
        host, _, path = pattern_text.partition("/")
        common = found.suffix.rpartition(".")[2].lower() in self.COMMON and host == host.lower()
        return None if common or path or found.subdomain == "www" else False


# entity: (recognizer, gate, takes a context word to count); the sweep runs these as patterns.
BUILT_IN: Final[tuple[tuple[type[PatternRecognizer], Gate, bool], ...]] = (
    (_Card, Gate.NUMBER, False),
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
        proves = type(recognizer).validate_result is not PatternRecognizer.validate_result
        self.needs = tuple(
            Need(
                conditions(pattern, shadowed=True, whole=True),
                alone=_DOUBT if contextual else 1.0 if proves else score,
            )
            for pattern, score in self.patterns
        )

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
            if start == end or not whole(match.string, start, end):
                continue
            value = match.string[start:end]
            if self.entity == "IP_ADDRESS" and _QUAD_NETWORK.fullmatch(value):
                continue  # what the operator leaves
            valid = self._recognizer.validate_result(value)
            if valid is False or self._recognizer.invalidate_result(value):
                continue
            if self.entity == "IP_ADDRESS" and is_network(value):
                continue
            near = self.entity in spoken or in_context(self.entity, text, start, end)
            worth = 1.0 if valid else score
            if near:
                worth = min(1.0, max(REPORT, worth + CONTEXT_BOOST))
            elif self._contextual:
                worth = min(worth, _DOUBT)
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


def is_network(value: str) -> bool:
    """A generalized address (`10.1.2.0/24`, `2001:db8::/48`) names a network, not a machine."""
    if "/" not in value:
        return value.strip(":") == ""
    network = ipaddress.ip_interface(value)
    wide = network.network.prefixlen <= (24 if network.version == 4 else 48)  # noqa: PLR2004
    return wide and network.ip == network.network.network_address


@cache
def finders(regimes: tuple[str, ...] = ("cn", "us")) -> tuple[Finder, ...]:
    """All structured finders, ours and Presidio's.

    The regimes decide which countries' documents and telephone numbers are looked for, beside the
    Chinese and American ones that always are.
    """
    from governance.recognition import documents  # noqa: PLC0415 - it is built from this module

    built_in = [
        BuiltIn(recognizer(), gate, contextual=contextual)
        for recognizer, gate, contextual in BUILT_IN
    ]
    abroad = documents.finders(regimes)
    return (*chinese.RULES, *english.RULES, *built_in, *abroad, Phones(regimes))
