"""What is in a bundle, for the writer and the verifier alike. Pure; no Django.

    manifest.json       canonical JSON: scope, tree, keys, SHA-256 and size of every other file
    manifest.note       a note by the receipt key over the manifest's SHA-256
    entries.jsonl       one entry a line, canonical JSON: index, id, body; in the log's order
    entries.csv         the same for spreadsheets, derived from entries.jsonl byte for byte
    checkpoint          the signed tree head that every proof leads to
    proofs/N.tlog-proof one proof an entry; in a large bundle proofs.jsonl holds them all
    consistency.json    from an earlier checkpoint to this one, where one was given
    log.vkey            the log's public key (trust the one you were handed, not this one)
    receipts.cert       a note in which the log's key vouches for the receipt key
    report.html         the summary that people read
    statement.*         of a monthly statement: JSON, CSV and PDF (`audit.reports.statements`)

A leaf is the hash of an entry's body in canonical form, so a line proves itself.
"""

import base64
import csv
import io
import json
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self

from audit.canonical import canonical
from audit.errors import BundleError, CanonicalError
from audit.merkle import leaf_hash

FORMAT: Final = "portcullis-bundle/1"

MANIFEST: Final = "manifest.json"
MANIFEST_NOTE: Final = "manifest.note"
ENTRIES: Final = "entries.jsonl"
TABLE: Final = "entries.csv"
CHECKPOINT: Final = "checkpoint"
PROOFS: Final = "proofs.jsonl"
CONSISTENCY: Final = "consistency.json"
LOG_KEY: Final = "log.vkey"
CERTIFICATE: Final = "receipts.cert"
REPORT: Final = "report.html"
STATEMENT: Final = "statement.json"
STATEMENT_TABLE: Final = "statement.csv"
STATEMENT_PAGE: Final = "statement.pdf"

UNLISTED: Final = frozenset({MANIFEST, MANIFEST_NOTE})  # the manifest cannot list itself
REQUIRED: Final = frozenset({ENTRIES, TABLE, CHECKPOINT, LOG_KEY, CERTIFICATE, REPORT})
STATEMENTS: Final = frozenset({STATEMENT, STATEMENT_TABLE, STATEMENT_PAGE})  # all, or none
_OPTIONAL: Final = frozenset({PROOFS, CONSISTENCY}) | STATEMENTS
_PROOF_NAME: Final = re.compile(r"proofs/(0|[1-9][0-9]{0,18})\.tlog-proof")

# One file an entry up to here, one line an entry above. Measured at 10,000 entries: files take
# 4.4 s and 9.3 MB, lines 2.2 s and 1.7 MB; and no one opens that many by hand.
PROOF_FILES: Final = 1000

MAX_FILES: Final = PROOF_FILES + 64
MAX_MANIFEST: Final = 1 << 20
MAX_SMALL: Final = 16 << 20  # any file but the entries, the table and the proofs
MAX_LARGE: Final = (1 << 31) - 1  # what a plain ZIP member holds
MAX_LINE: Final = 1 << 20
_LARGE: Final = frozenset({ENTRIES, TABLE, PROOFS})

BOM: Final = "\ufeff".encode()  # tells spreadsheets that the text is UTF-8
COLUMNS: Final = (
    "index",
    "id",
    "time",
    "event",
    "outcome",
    "tenant",
    "actor",
    "subject",
    "permission",
    "reason",
    "request",
    "facts",
    "private",
)
# A cell that starts so is a formula to a spreadsheet (OWASP "CSV Injection"), full width included.
_FORMULA: Final = tuple("=+-@\t\r\n＝＋－＠")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class BundleEntry:
    """One line of entries.jsonl.

    Attributes:
        index: the entry's place in the log.
        body: its canonical JSON bytes, which the leaf is the hash of.
    """

    index: int
    body: bytes

    @property
    def leaf(self) -> bytes:
        """The leaf hash (RFC 6962), 32 bytes."""
        return leaf_hash(self.body)

    def fields(self) -> dict[str, Any]:
        """The body as an object.

        Raises:
            BundleError: the body is not the canonical form of an entry.
        """
        try:
            fields = json.loads(self.body)
            uuid.UUID(fields["id"])
            if type(fields["at"]) is not int or canonical(fields) != self.body:
                raise BundleError(f"entry {self.index} is not in canonical form")
        except (ValueError, KeyError, TypeError, AttributeError, CanonicalError, RecursionError):
            raise BundleError(f"entry {self.index} is not in canonical form") from None
        return dict(fields)

    def line(self) -> bytes:
        """The line of entries.jsonl, with its newline."""
        fields = self.fields()
        return canonical({"body": fields, "id": fields["id"], "index": self.index}) + b"\n"

    @classmethod
    def parse(cls, line: bytes) -> Self:
        """Read a line: exactly the bytes that `line()` writes, nothing else.

        Raises:
            BundleError: anything else.
        """
        try:
            record = json.loads(line)
            entry = cls(record["index"], canonical(record["body"]))
        except (ValueError, KeyError, TypeError, CanonicalError, RecursionError):
            raise BundleError("a line of entries.jsonl is malformed") from None
        if type(entry.index) is not int or entry.line() != line:
            raise BundleError("a line of entries.jsonl is malformed")
        return entry

    def row(self) -> bytes:
        """The row of entries.csv (RFC 4180)."""
        fields = self.fields()
        cells = [self.index, fields["id"], iso_time(fields["at"])]
        cells += [_cell(fields.get(name)) for name in COLUMNS[3:]]
        return csv_row(cells)


def table_head() -> bytes:
    """The byte order mark and the header row of entries.csv."""
    return BOM + csv_row(COLUMNS)


def csv_row(cells: Sequence[Any]) -> bytes:
    """One CSV row whose cells no spreadsheet takes for a formula."""
    text = io.StringIO()
    safe = [
        f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell
        for cell in cells
    ]
    csv.writer(text, lineterminator="\r\n").writerow(safe)
    return text.getvalue().encode()


def iso_time(microseconds: int) -> str:
    """A time as ISO 8601 in UTC with microseconds; integer arithmetic, so nothing is rounded.

    Raises:
        BundleError: past the years that ISO 8601 writes with four digits.
    """
    try:
        moment = _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        raise BundleError("a time is out of range") from None
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def proof_name(index: int) -> str:
    """The file of one entry's proof."""
    return f"proofs/{index}.tlog-proof"


def proof_line(index: int, hashes: Sequence[bytes]) -> bytes:
    """One line of proofs.jsonl."""
    encoded = [base64.b64encode(node).decode() for node in hashes]
    return canonical({"hashes": encoded, "index": index}) + b"\n"


def allowed_name(name: str) -> bool:
    """Whether a bundle may hold a file of this name: a closed list, so no path leads outside."""
    if name in REQUIRED or name in _OPTIONAL or name in UNLISTED:
        return True
    return _PROOF_NAME.fullmatch(name) is not None


def size_limit(name: str) -> int:
    """The most bytes that a file of this name may have."""
    if name == MANIFEST:
        return MAX_MANIFEST
    return MAX_LARGE if name in _LARGE else MAX_SMALL


@dataclass(frozen=True, slots=True)
class Manifest:
    """What manifest.json says.

    Attributes:
        origin: the log's origin.
        size: leaves in the tree of the checkpoint.
        root: that tree's root, 32 bytes.
        entries: lines in entries.jsonl.
        pending: entries of the scope that were not in that tree yet, and so are left out.
        scope: what was asked for: tenant, period, events; values, no personal data.
        generated_at: microseconds since the Unix epoch.
        log_key: the vkey text of the log.
        receipt_key: the vkey text of the receipt key.
        files: name -> (SHA-256 in hexadecimal, bytes).
    """

    origin: str
    size: int
    root: bytes
    entries: int
    pending: int
    scope: Mapping[str, Any]
    generated_at: int
    log_key: str
    receipt_key: str
    files: Mapping[str, tuple[str, int]]

    def text(self) -> bytes:
        """The bytes of manifest.json."""
        return canonical(
            {
                "format": FORMAT,
                "origin": self.origin,
                "size": self.size,
                "root": self.root.hex(),
                "entries": self.entries,
                "pending": self.pending,
                "scope": dict(self.scope),
                "generated_at": self.generated_at,
                "log_key": self.log_key,
                "receipt_key": self.receipt_key,
                "files": {
                    name: {"sha256": digest, "size": size}
                    for name, (digest, size) in self.files.items()
                },
            }
        )

    @classmethod
    def parse(cls, text: bytes) -> Self:
        """Read manifest.json: exactly what `text()` writes.

        Raises:
            BundleError: anything else.
        """
        try:
            shown = json.loads(text)
            manifest = cls(
                origin=shown["origin"],
                size=int(shown["size"]),
                root=bytes.fromhex(shown["root"]),
                entries=int(shown["entries"]),
                pending=int(shown["pending"]),
                scope=dict(shown["scope"]),
                generated_at=int(shown["generated_at"]),
                log_key=shown["log_key"],
                receipt_key=shown["receipt_key"],
                files={
                    str(name): (str(file["sha256"]), int(file["size"]))
                    for name, file in shown["files"].items()
                },
            )
            same = manifest.text() == text
        except (ValueError, KeyError, TypeError, AttributeError, CanonicalError, RecursionError):
            raise BundleError("manifest.json is malformed") from None
        if not same:
            raise BundleError("manifest.json is malformed")
        return manifest


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else canonical(value).decode()
