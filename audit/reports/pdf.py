"""A PDF of lines of text: no library, no clock, no compression, the same bytes for the same text.

What is written is the plainest PDF 1.4 (ISO 32000-1 §7.3 to §7.8, §9.7): base-14 fonts for Latin
text, and for Chinese a composite font of the Adobe-GB1 collection, which a viewer supplies.
Courier is 600/1000 em a character, so that figures are set flush right without a font's metrics.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

WIDTH, HEIGHT = 842, 595  # points: A4, landscape
MARGIN: Final = 40
PLAIN, BOLD, FIXED, CHINESE = "F1", "F2", "F3", "F4"
_FIXED_EM: Final = 0.6

_WIN: Final = b"/Encoding /WinAnsiEncoding"
_GB1: Final = b"<< /Registry (Adobe) /Ordering (GB1) /Supplement 2 >>"
_SHAPE: Final = b"/Flags 4 /FontBBox [-25 -254 1000 880] /ItalicAngle 0 /Ascent 880 /Descent -120"
_LATIN: Final = b"<< /Type /Font /Subtype /Type1 /BaseFont /%b %b >>"
_COMPOSITE: Final = (
    b"<< /Type /Font /Subtype /Type0 /BaseFont /STSong-Light /Encoding /UniGB-UCS2-H "
    b"/DescendantFonts [7 0 R] >>"
)
_CID: Final = (
    b"<< /Type /Font /Subtype /CIDFontType0 /BaseFont /STSong-Light /DW 1000 "
    b"/CIDSystemInfo %b /FontDescriptor 8 0 R >>"
)
_DESCRIPTOR: Final = (
    b"<< /Type /FontDescriptor /FontName /STSong-Light %b /CapHeight 880 /StemV 93 >>"
)
_FONTS: Final = (
    _LATIN % (b"Helvetica", _WIN),
    _LATIN % (b"Helvetica-Bold", _WIN),
    _LATIN % (b"Courier", _WIN),
    _COMPOSITE,
    _CID % _GB1,
    _DESCRIPTOR % _SHAPE,
)
_TWO_BYTES: Final = 0xFFFF
_FIRST_FONT: Final = 3  # object number; 1 is the catalog, 2 the list of pages


@dataclass
class Page:
    """One page; `y` counts points from its upper edge."""

    _parts: list[str] = field(default_factory=list)

    def text(self, x: float, y: float, size: float, font: str, text: str) -> None:
        """Write a text whose first character stands at x."""
        shown = _hex_ucs2(text) if font == CHINESE else f"({_escaped(text)})"
        place = f"{x:.2f} {HEIGHT - y:.2f} Td"
        self._parts.append(f"BT /{font} {size:g} Tf {place} {shown} Tj ET\n")

    def flush_right(self, x: float, y: float, size: float, text: str) -> None:
        """Write a figure whose last character ends at x."""
        self.text(x - len(text) * size * _FIXED_EM, y, size, FIXED, text)

    def rule(self, y: float) -> None:
        """Draw a thin line over the width between the margins."""
        level = HEIGHT - y
        self._parts.append(f"0.5 w {MARGIN} {level:.2f} m {WIDTH - MARGIN} {level:.2f} l S\n")

    def content(self) -> bytes:
        """The page's content stream."""
        return "".join(self._parts).encode("latin-1")


def document(pages: Sequence[Page]) -> bytes:
    """The file."""
    first = _FIRST_FONT + len(_FONTS)
    kids = " ".join(f"{first + 2 * number} 0 R" for number in range(len(pages)))
    fonts = " ".join(f"/F{n + 1} {_FIRST_FONT + n} 0 R" for n in range(4))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode(),
        *_FONTS,
    ]
    for number, page in enumerate(pages):
        content = page.content()
        box = f"/MediaBox [0 0 {WIDTH} {HEIGHT}] /Resources << /Font << {fonts} >> >>"
        refers = f"/Parent 2 0 R /Contents {first + 2 * number + 1} 0 R"
        objects.append(f"<< /Type /Page {refers} {box} >>".encode())
        objects.append(f"<< /Length {len(content)} >>\nstream\n".encode() + content + b"endstream")
    data, places = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"), []
    for number, body in enumerate(objects, start=1):
        places.append(len(data))
        data += f"{number} 0 obj\n".encode() + body + b"\nendobj\n"
    start = len(data)
    data += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    data += b"".join(f"{place:010d} 00000 n \n".encode() for place in places)
    data += (
        f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n".encode()
    )
    return bytes(data)


def _escaped(text: str) -> str:
    """A literal string: Latin-1, anything else a question mark."""
    latin = text.encode("latin-1", "replace").decode("latin-1")
    kept = "".join(letter if letter.isprintable() else "?" for letter in latin)
    return kept.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")


def _hex_ucs2(text: str) -> str:
    """A hexadecimal string of two-byte characters, as UniGB-UCS2-H reads them."""
    plain = "".join(letter if ord(letter) <= _TWO_BYTES else "?" for letter in text)
    return f"<{plain.encode('utf-16-be').hex()}>"
