"""The verification of a bundle, step by step.

Needs no Django, no database and no network: the standard library, `cryptography`, and pure modules
of this package. The steps, each labeled in the code; the first that fails ends the run:

    1. container   a closed list of names, each once; nothing in the archive but what was written
    2. keys        the log's key is the one handed over; it vouches for the receipt key
    3. manifest    signed by the receipt key, and canonical
    4. files       every listed file has its digest and size; no other file is there
    5. checkpoint  signed by the log's key, of its origin; size and root as in the manifest
    6. entries     canonical, in the log's order, as many as the manifest says
    7. proofs      every entry's leaf leads to the root
    8. table       entries.csv is what entries.jsonl gives, byte for byte
    9. history     the tree extends the earlier checkpoints that are at hand
   10. statement   where there is one: its lines are what the entries add up to, and its table is
                   what the lines give
"""

import hashlib
import hmac
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import IO, Final, Self

from audit.canonical import canonical
from audit.checkpoint import TreeHead, VerifierKey, unbase64, verify_checkpoint
from audit.errors import AuditError, BundleError, CanonicalError, ProofError
from audit.merkle import root_of, verify_consistency, verify_inclusion
from audit.proofs import TlogProof
from audit.receipts import verify_certificate, verify_manifest
from audit.reports import layout
from audit.reports.container import Source, digest_of, open_bundle, read_small
from audit.reports.layout import BundleEntry, Manifest
from audit.reports.statements import Statement, Tally

STEPS: Final = (
    "container",
    "keys",
    "manifest",
    "files",
    "checkpoint",
    "entries",
    "proofs",
    "table",
    "history",
    "statement",
)


class Result(IntEnum):
    """How a verification ended; the value is the exit code."""

    VERIFIED = 0
    BROKEN = 1
    UNREADABLE = 2
    UNAUTHENTICATED = 5


@dataclass(slots=True)
class Verdict:
    """How a verification ended.

    Attributes:
        result: verified, broken, unreadable, or consistent but unauthenticated.
        passed: what each step that held has found, in order.
        failed: the step that did not hold, None where all did.
        error: why.
        manifest: what the bundle is of, once step 3 held.
        log_key: the log's key, once step 2 held.
    """

    result: Result = Result.UNREADABLE
    passed: list[tuple[str, str]] = field(default_factory=list)
    failed: str | None = None
    error: AuditError | None = None
    manifest: Manifest | None = None
    log_key: VerifierKey | None = None


def verify(
    bundle: Path,
    *,
    trusted: Sequence[VerifierKey] = (),
    fingerprints: Sequence[str] = (),
    previous: str | None = None,
) -> Verdict:
    """Verify the bundle at `bundle`, a ZIP or a folder.

    Args:
        bundle: where it is.
        trusted: the log's keys that the caller was handed; several in a rotation.
        fingerprints: fingerprints of such keys, in place of the keys themselves.
        previous: a checkpoint of the same log that the caller kept.
    """
    verdict = Verdict()
    try:
        with open_bundle(bundle) as source:  # 1
            names = source.names()
            verdict.passed.append(("container", f"{len(names)} files"))
            _Verification(source, names, verdict).run(trusted, fingerprints, previous)
    except AuditError as error:
        verdict.failed = STEPS[len(verdict.passed)]
        verdict.error = error
        unreadable = isinstance(error, BundleError) and verdict.failed == "container"
        verdict.result = Result.UNREADABLE if unreadable else Result.BROKEN
    except OSError as error:
        verdict.failed = STEPS[len(verdict.passed)]
        verdict.error = BundleError(f"the bundle cannot be read: {type(error).__name__}")
        verdict.result = Result.UNREADABLE
    else:
        authenticated = trusted or fingerprints
        verdict.result = Result.VERIFIED if authenticated else Result.UNAUTHENTICATED
    return verdict


class _Verification:
    """Steps 2 to 10 over one open bundle."""

    def __init__(self, source: Source, names: list[str], verdict: Verdict) -> None:
        self.source = source
        self.names = set(names)
        self.verdict = verdict
        self.tally = Tally()

    def run(
        self, trusted: Sequence[VerifierKey], fingerprints: Sequence[str], previous: str | None
    ) -> None:
        keys, receipt_key = self._keys(trusted, fingerprints)  # 2
        manifest = self._manifest(receipt_key)  # 3
        self._files(manifest)  # 4
        head, note = self._checkpoint(keys, manifest)  # 5
        leaves = self._entries(manifest, head, note)  # 6, 7, 8
        self._history(keys, head, leaves, previous)  # 9
        if layout.STATEMENTS & self.names:
            self._statement(head)  # 10

    def _held(self, step: str, found: str) -> None:
        self.verdict.passed.append((step, found))

    def _text(self, name: str) -> str:
        if name not in self.names:
            raise ProofError(f"{name} is missing")
        try:
            return read_small(self.source, name).decode()
        except UnicodeDecodeError:
            raise ProofError(f"{name} is not text") from None

    def _keys(
        self, trusted: Sequence[VerifierKey], fingerprints: Sequence[str]
    ) -> tuple[list[VerifierKey], VerifierKey]:
        own = VerifierKey.parse(self._text(layout.LOG_KEY))
        pinned = any(hmac.compare_digest(own.fingerprint, pin) for pin in fingerprints)
        if (trusted or fingerprints) and not pinned and own not in trusted:
            raise ProofError("the bundle names another log key than the one you gave")
        keys = [*trusted, own] if pinned or not trusted else list(trusted)
        receipt_key = verify_certificate(self._text(layout.CERTIFICATE), keys)
        self.verdict.log_key = own
        self._held("keys", f"log key {own.fingerprint}")
        return keys, receipt_key

    def _manifest(self, receipt_key: VerifierKey) -> Manifest:
        text = read_small(self.source, layout.MANIFEST)
        digest = verify_manifest(self._text(layout.MANIFEST_NOTE), [receipt_key])
        if not hmac.compare_digest(hashlib.sha256(text).hexdigest(), digest):
            raise ProofError("manifest.json is not the one that was signed")
        manifest = Manifest.parse(text)
        own = self.verdict.log_key
        if (manifest.receipt_key, manifest.log_key) != (str(receipt_key), str(own)):
            raise ProofError("manifest.json names other keys")
        self.verdict.manifest = manifest
        made = layout.iso_time(manifest.generated_at)
        self._held("manifest", f"made {made}, scope {canonical(manifest.scope).decode()}")
        return manifest

    def _files(self, manifest: Manifest) -> None:
        listed = set(manifest.files)
        if omitted := layout.REQUIRED - listed:
            raise ProofError(f"manifest.json omits {min(omitted)}")
        if listed & layout.UNLISTED or not all(map(layout.allowed_name, listed)):
            raise ProofError("manifest.json lists a file that does not belong in a bundle")
        if extra := self.names - listed - layout.UNLISTED:
            raise ProofError(f"{min(extra)} is not in the manifest")
        if missing := listed - self.names:
            raise ProofError(f"{min(missing)} is missing")
        for name, (digest, size) in sorted(manifest.files.items()):
            if not 0 <= size <= layout.size_limit(name):
                raise ProofError(f"{name} is too large")
            if not hmac.compare_digest(digest_of(self.source, name, size), digest):
                raise ProofError(f"{name} was changed")
        total = sum(size for _, size in manifest.files.values())
        self._held("files", f"{len(listed)} digests over {total:,} bytes")

    def _checkpoint(self, keys: Sequence[VerifierKey], manifest: Manifest) -> tuple[TreeHead, str]:
        note = self._text(layout.CHECKPOINT)
        own = self.verdict.log_key
        head = verify_checkpoint(note, own.name if own else "", keys)
        if (manifest.origin, manifest.size, manifest.root) != (head.origin, head.size, head.root):
            raise ProofError("manifest.json is of another tree than the checkpoint")
        self._held("checkpoint", f"{head.origin}, {head.size:,} leaves, root {head.root.hex()}")
        return head, note

    def _entries(self, manifest: Manifest, head: TreeHead, note: str) -> list[bytes]:
        """Steps 6 to 8 in one pass; returns the leaves where the bundle has them all from 0."""
        leaves: list[bytes] = []
        count, last, has_statement = 0, -1, layout.STATEMENT in self.names
        with (
            self.source.open(layout.ENTRIES) as lines,
            self.source.open(layout.TABLE) as table,
            _Proofs(self.source, self.names, note) as proofs,
        ):
            table_holds = _next_is(table, layout.table_head())
            proof_error: ProofError | None = None
            for line in _lines(lines):
                entry = BundleEntry.parse(line)  # 6
                if not last < entry.index < head.size:
                    raise ProofError("the entries are not in the log's order")
                if entry.index == len(leaves) == count:
                    leaves.append(entry.leaf)
                count, last = count + 1, entry.index
                if has_statement:
                    self.tally.add(entry)
                try:
                    path = proofs.next(entry.index)
                    verify_inclusion(entry.leaf, entry.index, head.size, path, head.root)  # 7
                except ProofError as error:
                    proof_error = proof_error or error
                table_holds = table_holds and _next_is(table, entry.row())  # 8
            if count != manifest.entries:
                raise ProofError("entries.jsonl has another number of lines than the manifest says")
            span = f", the log's first {count:,}" if count and len(leaves) == count else ""
            self._held("entries", f"{count:,}{span}; {manifest.pending:,} not in the tree yet")
            if proof_error is not None or proofs.left(count):
                raise proof_error or ProofError("there are more proofs than entries")
            self._held("proofs", f"{count:,} lead to the root")
            if not table_holds or table.read(1):
                raise ProofError("entries.csv is not what entries.jsonl gives")
        self._held("table", f"{count:,} rows")
        return leaves

    def _history(
        self,
        keys: Sequence[VerifierKey],
        head: TreeHead,
        leaves: Sequence[bytes],
        previous: str | None,
    ) -> None:
        known = [head]
        if layout.CONSISTENCY in self.names:
            note, proof = _read_consistency(self._text(layout.CONSISTENCY))
            earlier = verify_checkpoint(note, head.origin, keys)
            verify_consistency(earlier.size, head.size, proof, earlier.root, head.root)
            known.append(earlier)
        if previous is not None:
            kept = verify_checkpoint(previous, head.origin, keys)
            sizes = {tree.size for tree in known}
            if kept.size not in sizes and kept.size <= len(leaves):
                known.append(TreeHead(head.origin, kept.size, root_of(leaves[: kept.size])))
            elif kept.size not in sizes:
                raise ProofError("the bundle holds no proof from the checkpoint you gave")
            if kept not in known:
                raise ProofError("the log contradicts the checkpoint you gave")
        earlier_sizes = ", ".join(f"{tree.size:,}" for tree in known[1:])
        found = f"extends the tree of {earlier_sizes}" if earlier_sizes else "no earlier tree given"
        self._held("history", found)

    def _statement(self, head: TreeHead) -> None:
        if missing := layout.STATEMENTS - self.names:
            raise ProofError(f"{min(missing)} is missing")
        statement = Statement.parse(read_small(self.source, layout.STATEMENT))
        statement.check(self.tally, head.origin, head.size)
        if read_small(self.source, layout.STATEMENT_TABLE) != statement.table():
            raise ProofError("statement.csv is not what statement.json gives")
        charged = sum(line.charged for line in statement.lines)
        final = "" if statement.complete else ", not final"
        found = f"{statement.month}, {len(statement.lines)} lines, {charged:,} units charged{final}"
        self._held("statement", found)


class _Proofs:
    """The proofs of a bundle in the entries' order, from either layout."""

    def __init__(self, source: Source, names: set[str], checkpoint: str) -> None:
        self._source = source
        self._names = names
        self._checkpoint = checkpoint
        self._files = sum(1 for name in names if name.startswith("proofs/"))
        self._lines: IO[bytes] | None = None

    def __enter__(self) -> Self:
        if layout.PROOFS in self._names:
            self._lines = self._source.open(layout.PROOFS)
        return self

    def __exit__(self, *_exception: object) -> None:
        if self._lines is not None:
            self._lines.close()

    def next(self, index: int) -> Sequence[bytes]:
        """The inclusion proof of the entry at `index`."""
        if self._lines is not None:
            line = self._lines.readline(layout.MAX_LINE)
            try:
                hashes = [unbase64(node) for node in json.loads(line)["hashes"]]
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                raise ProofError("a line of proofs.jsonl is malformed") from None
            if layout.proof_line(index, hashes) != line:
                raise ProofError("a line of proofs.jsonl is malformed")
            return hashes
        name = layout.proof_name(index)
        if name not in self._names:
            raise ProofError(f"the entry at {index} has no proof")
        try:
            proof = TlogProof.parse(read_small(self._source, name).decode())
        except UnicodeDecodeError:
            raise ProofError("a proof is malformed") from None
        if proof.index != index or proof.checkpoint != self._checkpoint:
            raise ProofError(f"the proof of the entry at {index} is of another place or tree")
        return proof.hashes

    def left(self, count: int) -> bool:
        """Whether there is a proof beyond those of `count` entries."""
        if self._lines is not None:
            return bool(self._files or self._lines.read(1))
        return self._files != count


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    while line := file.readline(layout.MAX_LINE + 1):
        if len(line) > layout.MAX_LINE:
            raise ProofError("a line of entries.jsonl is too long")
        yield line


def _next_is(file: IO[bytes], expected: bytes) -> bool:
    return file.read(len(expected)) == expected


def _read_consistency(text: str) -> tuple[str, list[bytes]]:
    try:
        shown = json.loads(text)
        note, proof = str(shown["previous"]), [unbase64(node) for node in shown["proof"]]
        same = canonical(shown).decode() == text
    except (ValueError, KeyError, TypeError, AttributeError, CanonicalError, RecursionError):
        raise ProofError("consistency.json is malformed") from None
    if not same or set(shown) != {"previous", "proof"}:
        raise ProofError("consistency.json is malformed")
    return note, proof
