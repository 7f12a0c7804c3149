"""Which encoding a text table is in, and its decoded lines in bounded memory.

Detected in this order: a byte order mark; UTF-16 without one, by its NUL bytes; UTF-8, by strict
decoding; GB18030 (of which GBK and GB2312 are parts) or Big5, by how many of the decoded characters
are everyday ones. The last is the only guess, says so, and can be overridden. What is none of these
(Latin-1 and its kin cannot be told from each other) is refused until the caller states it.

A file is in one encoding from end to end. Rows of another that do not decode are refused; so are
rows of Chinese in UTF-8 in a file of GB18030 or Big5, though they decode to something. What cannot
be told is not: GB18030 amid Big5, or anything in an encoding such as Latin-1 where every byte is a
character.
"""

import codecs
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from governance.errors import TableError
from governance.tables import faults
from governance.tables.limits import Limits
from governance.tables.source import Source

BLOCK_BYTES: Final = 1024 * 1024

# Longest first: the UTF-32 mark begins with the UTF-16 one.
_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_UNITS: Final = {"utf-16-le": 2, "utf-16-be": 2, "utf-32-le": 4, "utf-32-be": 4}

# What a caller may state -> the codec that reads it. Each legacy codec is read by its superset.
ACCEPTED: Final = {
    "utf-8": "utf-8",
    "utf-8-sig": "utf-8",
    "utf-16": "utf-16-le",
    "utf-16-le": "utf-16-le",
    "utf-16-be": "utf-16-be",
    "utf-32-le": "utf-32-le",
    "utf-32-be": "utf-32-be",
    "gb18030": "gb18030",
    "gbk": "gb18030",
    "gb2312": "gb18030",
    "cp936": "gb18030",
    "big5": "big5hkscs",
    "big5hkscs": "big5hkscs",
    "cp950": "big5hkscs",
    "shift_jis": "cp932",
    "cp932": "cp932",
    "euc-jp": "euc_jp",
    "euc-kr": "cp949",
    "cp949": "cp949",
    "cp1252": "cp1252",
    "latin-1": "latin-1",
    "iso-8859-1": "latin-1",
    "iso-8859-15": "iso8859-15",
}

# Share of the two-byte characters that must fall into the part of the code that everyday text uses:
# GB 2312 level 1 and punctuation, or Big5 level 1 and punctuation. Text decoded as the wrong one of
# the two lands there for under half of its characters.
_EVERYDAY_SHARE: Final = 0.6
_PROVING: Final = 8
_UTF16_PLAIN_SHARE: Final = 0.9


class Certainty(StrEnum):
    """How sure an encoding is."""

    STATED = "stated"  # the caller said so
    MARKED = "marked"  # a byte order mark says so
    VALID = "valid"  # strict decoding of a self-checking encoding succeeds
    LIKELY = "likely"  # the best score of several that decode


@dataclass(frozen=True, slots=True)
class Encoding:
    """A codec, how sure it is, and how many bytes of byte order mark precede the text."""

    name: str
    certainty: Certainty
    mark: int = 0


def accepted(stated: str) -> str:
    """The codec that a person's name for an encoding means.

    Raises:
        TableError: `table.encoding_unsupported`.
    """
    codec = ACCEPTED.get(stated.strip().lower().replace("_", "-").replace("shift-jis", "shift_jis"))
    if codec is None:
        raise faults.encoding_unsupported(sorted(ACCEPTED))
    return codec


def resolve(source: Source, stated: str | None, limits: Limits) -> Encoding:
    """The encoding of the text in `source`: as stated, else detected.

    Raises:
        TableError: `table.encoding_unsupported`, `table.encoding_unknown`, `table.empty`.
    """
    if stated is None:
        return detect(source, limits)
    codec = accepted(stated)
    head = source.head(4)
    for mark, marked in _MARKS:
        if head.startswith(mark) and (marked == codec or stated.lower() == "utf-16"):
            return Encoding(marked, Certainty.STATED, len(mark))
    return Encoding(codec, Certainty.STATED)


def detect(source: Source, limits: Limits) -> Encoding:
    """Detect by the rules at the top of this module.

    A file that begins with plain ASCII is searched until the first other byte, however far: a GBK
    file whose first Chinese name is on its last line is still GBK.
    """
    head = source.head(limits.sample_bytes)
    if not head:
        raise faults.empty()
    for mark, name in _MARKS:
        if head.startswith(mark):
            return Encoding(name, Certainty.MARKED, len(mark))
    if (wide := _unmarked_utf16(head)) is not None:
        return Encoding(wide, Certainty.VALID)
    sample = _first_beyond_ascii(source, limits.sample_bytes)
    if _decodes(sample, "utf-8"):
        return Encoding("utf-8", Certainty.VALID)
    scores = {name: score(sample) for name, score in _SCORES.items()}
    best = max(scores, key=lambda name: scores[name])
    if scores[best] < _EVERYDAY_SHARE:
        # One undecodable byte is a damaged row, not another encoding.
        if _mostly_utf8(sample):
            return Encoding("utf-8", Certainty.LIKELY)
        scores = {name: score(sample, damaged=True) for name, score in _SCORES.items()}
        best = max(scores, key=lambda name: scores[name])
        if scores[best] < _EVERYDAY_SHARE:
            raise faults.encoding_unknown()
    return Encoding(best, Certainty.LIKELY)


def _first_beyond_ascii(source: Source, size: int) -> bytes:
    """`size` bytes from the first that is not ASCII (in all of these encodings a lead byte)."""
    source.seek(0)
    while block := source.read(BLOCK_BYTES):
        if not block.isascii():
            start = next(index for index, byte in enumerate(block) if byte > 0x7F)  # noqa: PLR2004 - the last ASCII code
            return (block[start:] + source.read(size))[:size]
    return b""


def _decodes(sample: bytes, codec: str) -> bool:
    """Whether the sample decodes strictly; the last character may be cut."""
    try:
        codecs.getincrementaldecoder(codec)().decode(sample, final=False)
    except UnicodeDecodeError:
        return False
    return True


def _mostly_utf8(sample: bytes) -> bool:
    """Whether more characters beyond ASCII decode as UTF-8 than do not."""
    text = sample.decode("utf-8", "replace")
    wrong = text.count("\ufffd")
    beyond_ascii = sum(character > "\x7f" for character in text) - wrong
    return beyond_ascii > wrong


def _unmarked_utf16(head: bytes) -> str | None:
    """UTF-16 without a mark: ASCII punctuation puts NULs on one side, and line breaks appear."""
    if b"\0" not in head:
        return None
    even = head[: len(head) & ~1]
    for codec, high in (("utf-16-le", 1), ("utf-16-be", 0)):
        if even[1 - high :: 2].count(0) > even[high::2].count(0) or not _decodes(even, codec):
            continue
        text = even.decode(codec, "ignore")
        plain = sum(_plain(character) for character in text)
        if "\n" in text and "\0" not in text and plain >= _UTF16_PLAIN_SHARE * len(text):
            return codec
    return None


def _plain(character: str) -> bool:
    """ASCII, Latin letters, CJK and its punctuation, full-width forms."""
    return (
        character < "\u024f"
        or "\u3000" <= character <= "\u9fff"
        or "\uf900" <= character <= "\uffee"
    )


def _gb_score(sample: bytes, *, damaged: bool = False) -> float:
    """Share of GB 2312 level 1 (lead B0-D7) and punctuation (A1-A3) among the wide characters."""
    # GB 2312 characters are two bytes, and their trail bytes start at A1.
    return _everyday_share(
        sample,
        "gb18030",
        lambda code: (
            len(code) == 2  # noqa: PLR2004 - as said above
            and code[1] >= 0xA1  # noqa: PLR2004 - as said above
            and (0xB0 <= code[0] <= 0xD7 or 0xA1 <= code[0] <= 0xA3)  # noqa: PLR2004 - as said above
        ),
        damaged=damaged,
    )


def _big5_score(sample: bytes, *, damaged: bool = False) -> float:
    """Share of Big5 level 1 (lead A4-C6) and punctuation (A1-A2) among the wide characters."""
    return _everyday_share(
        sample,
        "big5hkscs",
        lambda code: len(code) == 2 and 0xA1 <= code[0] <= 0xC6,  # noqa: PLR2004 - as said above
        damaged=damaged,
    )


def _everyday_share(
    sample: bytes, codec: str, is_everyday: Callable[[bytes], bool], *, damaged: bool
) -> float:
    """The share of everyday characters among those beyond ASCII.

    A sample that does not decode scores 0, unless it may be damaged: then each place where it does
    not is a character that is not everyday, and a few characters prove nothing.
    """
    errors = "replace" if damaged else "strict"
    try:
        text = codecs.getincrementaldecoder(codec)(errors).decode(sample, final=False)
    except UnicodeDecodeError:
        return 0.0
    wide = [character.encode(codec, "ignore") for character in text if character > "\x7f"]
    if not wide or (damaged and len(wide) < _PROVING):
        return 0.0
    return sum(map(is_everyday, wide)) / len(wide)


_SCORES: Final = {"gb18030": _gb_score, "big5hkscs": _big5_score}

# Two Chinese characters in UTF-8, punctuation and full-width forms included, amid bytes beyond
# ASCII. In GB18030 and Big5 too these may be characters, but then they are rare ones.
_UTF8_RUN: Final = re.compile(rb"[\xe3-\xe9\xef][\x80-\xbf]{2}[\xe3-\xe9\xef][\x80-\xbf]{2}")
_BEYOND_ASCII: Final = re.compile(rb"[\x80-\xff]+")
_ASCII: Final = bytes(range(0x80))


def _first_in_utf8(text: str, codec: str) -> int | None:
    """Where the first line begins that holds everyday Chinese in UTF-8 amid text of `codec`.

    Both readings must speak for it: valid UTF-8 of everyday characters, and for the most part rare
    characters in the codec. One word of two characters may still pass for the codec's own (about
    one in thirty); a word of an odd number of characters never does, as it does not decode.
    """
    data = text.encode(codec)
    place = 0
    while (hit := _UTF8_RUN.search(data, place)) is not None:
        start = hit.start()
        while start > place and data[start - 1] > 0x7F:  # noqa: PLR2004 - the last ASCII code
            start -= 1
        run = _BEYOND_ASCII.match(data, start)
        place = hit.end() if run is None else run.end()
        if run is not None and _reads_as_utf8(run.group(), codec):
            before = data[:start].decode(codec)
            return max(before.rfind("\n"), before.rfind("\r")) + 1
    return None


def _reads_as_utf8(run: bytes, codec: str) -> bool:
    """Whether bytes beyond ASCII are everyday Chinese in UTF-8 and are not in the codec."""
    if _SCORES[codec](run) >= 0.5:  # noqa: PLR2004 - most of it
        return False
    try:
        text = run.decode()
    except UnicodeDecodeError:
        return False
    if not all("\u3000" <= character <= "\u9fff" or character > "\uff00" for character in text):
        return False
    return any(
        score(text.encode(name, "replace")) >= _EVERYDAY_SHARE for name, score in _SCORES.items()
    )


class Lines:
    """The decoded lines of a text table, each with its own line ending, block by block.

    A fault is raised only after every whole line before it was handed out, so that whoever counts
    the rows knows which one it is in.

    Attributes:
        characters: how many characters of text have been handed out, to bound a chunk.
    """

    def __init__(self, source: Source, encoding: Encoding, limits: Limits) -> None:
        self._source = source
        self._encoding = encoding
        self._limits = limits
        self._suspect = False  # whether the last block may hold UTF-8 amid another encoding
        self.characters = 0

    def __iter__(self) -> Iterator[str]:
        """Yield lines that end in LF, CR LF or CR as they are in the file.

        Raises:
            BrokenTextError: the text cannot be read on.
        """
        pending: list[str] = []
        held = 0
        suspect = False
        for text, fault in self._blocks():
            suspect |= self._suspect
            cut = _after_last_break(text)
            if cut:
                whole = "".join([*pending, text[:cut]])
                pending, held = [], 0
                if suspect and (mixed := _first_in_utf8(whole, self._encoding.name)) is not None:
                    yield from io.StringIO(whole[:mixed], newline="")
                    raise BrokenTextError("mixed")
                suspect = False
                self.characters += len(whole)
                # newline="" splits at all three line endings and keeps them.
                yield from io.StringIO(whole, newline="")
            if fault is not None:
                raise BrokenTextError(fault)
            pending.append(text[cut:])
            held += len(text) - cut
            if held > self._limits.line_characters:
                raise BrokenTextError("long")
        if held:
            rest = "".join(pending)
            if suspect and _first_in_utf8(rest, self._encoding.name) is not None:
                raise BrokenTextError("mixed")
            yield rest

    def _blocks(self) -> Iterator[tuple[str, str | None]]:
        """Decoded blocks, each with what stopped the text behind it."""
        self._source.seek(self._encoding.mark)
        decoder = codecs.getincrementaldecoder(self._encoding.name)()
        guessed = self._encoding.name in _SCORES
        before = b""
        while True:
            block = self._source.read(BLOCK_BYTES)
            if guessed:
                # ASCII only takes time here: what it stands between is looked at again.
                beyond = before + block.translate(None, _ASCII)
                self._suspect = _UTF8_RUN.search(beyond) is not None
                before = beyond[-5:]
            fault = None
            try:
                text = decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                # The part before the offending byte is whole characters by construction.
                text = bytes(error.object[: error.start]).decode(self._encoding.name, "ignore")
                fault = "undecodable"
            if (nul := text.find("\0")) >= 0:
                text, fault = text[:nul], "nul"
            yield text, fault
            if fault is not None or not block:
                return


class BrokenTextError(Exception):
    """The text cannot be read on; carries which fault, never the text."""

    def __init__(self, fault: str) -> None:
        super().__init__(fault)
        self.fault = fault

    def at(self, row: int, encoding: Encoding, limits: Limits) -> TableError:
        """The fault of the table, now that the row is known."""
        match self.fault:
            case "nul":
                return faults.nul_byte(row)
            case "mixed":
                return faults.mixed_encodings(row, encoding.name)
            case "long":
                return faults.line_too_long(row, limits.line_characters)
            case _:
                return faults.undecodable(row, encoding.name)


def _after_last_break(text: str) -> int:
    """Where the last whole line ends; a CR at the very end may be half of a CR LF."""
    newline = text.rfind("\n")
    if newline < 0:
        newline = text.rfind("\r", 0, max(0, len(text) - 1))
    return newline + 1
