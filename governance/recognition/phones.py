"""Telephone numbers through libphonenumber, where nothing else settles what a number is."""

from collections.abc import Collection, Iterator, Sequence
from typing import Final

import phonenumbers
import regex

from governance.recognition import chinese, english
from governance.recognition.gates import Condition
from governance.recognition.rules import TIMEOUT_SECONDS, Gate, Need, in_context
from governance.recognition.spans import Span
from governance.recognition.surroundings import alone, whole

_REGIONS: Final = {
    "cn": (),
    "us": ("US",),
    "ca": ("US",),
    "eu": ("GB", "DE", "FR"),
    "can": ("CA",),
    **{
        code.lower(): (code,)
        for code in ("JP", "KR", "IN", "SG", "TH", "PH", "AU", "TR", "ZA", "NG")
    },
    "uk": ("GB",),
}
_DIGITS: Final = ((1 << 10) - 1) << ord("0")
_EXTENSION: Final = 12  # characters after a run in which an extension may stand
_RUN: Final = r"[0-9](?:[-. ()/x+]{0,2}[0-9]){6}"
_DIALED: Final = regex.compile(r"[+(]?[0-9](?:[-. ()/x+]{0,2}+[0-9]){6,}+")
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
# What libphonenumber lets stand between digits, and nothing of a longer word before them.
_BETWEEN: Final = r"[-x ().\[\]/~]{0,4}"
_START: Final = r"(?:\A|[^0-9A-Za-z])"
# North America's own numbers have ten digits; fewer are a number only behind a plus sign or the
# prefix for calls abroad, 011.
_NORTH_AMERICAN: Final = (
    rf"{_START}[0-9](?:{_BETWEEN}[0-9]){{9}}|\+(?:{_BETWEEN}[0-9]){{7}}"
    rf"|{_START}0{_BETWEEN}1{_BETWEEN}1(?:{_BETWEEN}[0-9]){{4}}"
)
_AMERICAN: Final = regex.compile(
    rf"(?:[0-9]{_BETWEEN}){{9}}+[0-9]|\+|0{_BETWEEN}1{_BETWEEN}1", regex.ASCII
)
_DIGIT: Final = regex.compile("[0-9]")
_MARKED: Final = Condition(r"[0-9][-. ()/x+~\[\]]{1,4}[0-9]|[+(][0-9]")
_COMPANY: Final = Condition(r"[^0-9\t-\r ]")  # something else in the cell


class Phones:
    """Telephone numbers in the regions of the dataset's regimes.

    The slowest finder by far, one pass a region, so its needs and the regions keep it small. A bare
    run of digits that is a whole cell is left to the header and to the column plan: an account
    balance is as often a valid number somewhere as a telephone number is.
    """

    entity: Final = "PHONE_NUMBER"
    gate: Final = Gate.NUMBER

    def __init__(self, regimes: Sequence[str]) -> None:
        regions = dict.fromkeys(r for regime in regimes for r in _REGIONS.get(regime, ()))
        self._regions: tuple[str | None, ...] = tuple(regions) or (None,)
        self._in_full = set(self._regions) <= {"US", None}
        least = Condition(_NORTH_AMERICAN if self._in_full else _RUN, 7, (_DIGITS,))
        self.needs = (
            Need((least, _MARKED)),
            Need((least, _COMPANY)),
            Need((least,), alone=0.4),
        )

    def excluded(self, text: str) -> bool:
        """Whether a text is nothing but a number that is no telephone number for `find`."""
        bare = text.strip()
        return _DIALED.fullmatch(bare) is not None and (
            _SETTLED.fullmatch(bare) is not None
            or (self._in_full and _NO_PHONE.fullmatch(bare) is not None)
        )

    def find(self, text: str, shadow: str, spoken: Collection[str]) -> Iterator[Span]:
        """Spans in the shadow of `text`."""
        spoken_of = self.entity in spoken
        for run in _DIALED.finditer(shadow, timeout=TIMEOUT_SECONDS):
            # Room for an extension, within the cell.
            piece = shadow[run.start() : run.end() + _EXTENSION].partition("\0")[0]
            if self._is_none(run, piece):
                continue
            for start, end in self._numbers(piece):
                place = (run.start() + start, run.start() + end)
                if not whole(shadow, *place) or _NO_PHONE.fullmatch(shadow, *place):
                    continue
                if spoken_of or in_context(self.entity, text, *place):
                    score = 0.75
                elif not shadow[place[0] : place[1]].isdigit():
                    score = 0.6
                else:
                    score = 0.4 if alone(shadow, *place) else 0.5
                yield Span(*place, self.entity, score)

    def _is_none(self, run: regex.Match[str], piece: str) -> bool:
        """Whether the run is no telephone number for certain, so that none is looked for."""
        dialed = run[0]
        if _SETTLED.fullmatch(dialed):
            return True
        if dialed.isdigit() and run.start() and run.string[run.start() - 1].isalnum():
            return True  # where its number would begin it is a piece of something longer
        if not self._in_full:
            return False
        if not _AMERICAN.search(piece):
            return True
        # The pieces of a decimal are pieces of it; those of a quad and of a date are too short.
        return _NO_PHONE.fullmatch(dialed) is not None and not _DIGIT.search(piece, len(dialed))

    def _numbers(self, piece: str) -> set[tuple[int, int]]:
        return {
            (match.start, match.end)
            for region in self._regions
            for match in phonenumbers.PhoneNumberMatcher(
                piece, region, leniency=phonenumbers.Leniency.VALID
            )
        }
