"""Writing a report bundle: entries with their proofs, signed as a whole.

What an auditor receives stands alone: `python -m audit.verify` needs no database, no Django and no
network. `audit.reports.layout` says what is in it.
"""

import base64
import hashlib
import itertools
import secrets
import shutil
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, BinaryIO, Final

from django.conf import settings
from django.db.models import QuerySet

from audit.canonical import canonical
from audit.checkpoint import TreeHead, VerifierKey, verify_checkpoint
from audit.errors import BundleError
from audit.keys import log_verifier, receipt_certificate, receipt_key
from audit.merkle import TileHashes, consistency_proof, inclusion_proof
from audit.models import AuditEntry, Leaf
from audit.proofs import TlogProof
from audit.receipts import sign_manifest, verify_certificate
from audit.reports import layout
from audit.reports.container import FolderTarget, Target, ZipTarget, seal_archive
from audit.reports.layout import BundleEntry, Manifest
from audit.reports.page import Summary, render
from audit.sequencer import hash_reader, latest_checkpoint

Entries = QuerySet[AuditEntry] | Callable[[], QuerySet[AuditEntry]]

_CHUNK: Final = 1000  # entries read at a time


@dataclass(frozen=True, slots=True)
class BundleResult:
    """What was written.

    Attributes:
        entries: entries in the bundle.
        pending: entries of the scope that the checkpoint's tree does not hold yet.
        size: leaves in that tree.
        manifest_sha256: digest of manifest.json in hexadecimal, which names every other file's.
    """

    entries: int
    pending: int
    size: int
    manifest_sha256: str


def write_bundle(
    entries: Entries,
    out: Path | BinaryIO,
    *,
    scope: Mapping[str, Any],
    previous: str | None = None,
    generated_at: int | None = None,
    extra: Mapping[str, bytes] = MappingProxyType({}),
) -> BundleResult:
    """Write the bundle of `entries` under the log's newest checkpoint.

    Args:
        entries: what to include, or a callable that gives it; any order, the log's order is used.
        out: a path ending in `.zip`, any other path for a new folder, or an open binary file, which
            gets a ZIP. A path appears complete or not at all.
        scope: what was asked for (tenant, period …), for the manifest; canonical JSON values.
        previous: an earlier checkpoint of this log, from which consistency is proven.
        generated_at: microseconds since the Unix epoch; now by default.
        extra: further files by the names that `layout` allows.

    Raises:
        BundleError: the log has no checkpoint yet, or something is at `out` already.
        ProofError: `previous` is no checkpoint of this log.
        KeyMissingError: the receipt key, its certificate or the log's public key is missing.
    """
    checkpoint = latest_checkpoint()
    if checkpoint is None:
        raise BundleError("the log has no checkpoint yet", code="audit.log_empty")
    wanted = entries() if callable(entries) else entries
    job = _Job(
        wanted=wanted,
        checkpoint=checkpoint.note,
        log_key=log_verifier(),
        scope=scope,
        previous=previous,
        generated_at=time.time_ns() // 1000 if generated_at is None else generated_at,
        extra=extra,
    )
    with _target(out) as target:
        return job.write(target)


def entries_in_order(wanted: QuerySet[AuditEntry], end: int) -> Iterator[BundleEntry]:
    """Those of `wanted` that stand in the log before `end`, in its order."""
    return _in_order(_leaves(wanted, end))


def _leaves(wanted: QuerySet[AuditEntry], end: int) -> QuerySet[Leaf]:
    return Leaf.objects.filter(entry_id__in=wanted.values("pk"), index__lt=end).order_by("index")


def _in_order(rows: QuerySet[Leaf]) -> Iterator[BundleEntry]:
    leaves = rows.values_list("index", "entry_id").iterator(chunk_size=_CHUNK)
    while chunk := list(itertools.islice(leaves, _CHUNK)):
        bodies = dict(
            AuditEntry.objects.filter(pk__in=[entry_id for _, entry_id in chunk])
            .order_by()
            .values_list("pk", "body")
        )
        for index, entry_id in chunk:
            yield BundleEntry(index, bytes(bodies[entry_id]))


class _Job:
    """One bundle being written."""

    def __init__(
        self,
        *,
        wanted: QuerySet[AuditEntry],
        checkpoint: str,
        log_key: VerifierKey,
        scope: Mapping[str, Any],
        previous: str | None,
        generated_at: int,
        extra: Mapping[str, bytes],
    ) -> None:
        self.extra = extra
        self.log_key = log_key
        self.checkpoint = checkpoint
        self.head = verify_checkpoint(checkpoint, settings.LOG_ORIGIN, [log_key])
        self.previous = previous
        self.scope = scope
        self.generated_at = generated_at
        self.files: dict[str, tuple[str, int]] = {}
        self.leaves = _leaves(wanted, self.head.size)
        self.pending = wanted.count() - self.leaves.count()
        self.reader: TileHashes = hash_reader(self.head.size)

    def write(self, target: Target) -> BundleResult:
        """Write every file, the manifest and its signature last."""
        signing = receipt_key()
        certificate = receipt_certificate()
        verify_certificate(certificate, [self.log_key])
        summary = self._count()
        self._write(target, layout.ENTRIES, (entry.line() for entry in self._entries()))
        rows = (entry.row() for entry in self._entries())
        self._write(target, layout.TABLE, itertools.chain([layout.table_head()], rows))
        self._write_proofs(target, summary.entries)
        previous = None
        if self.previous is not None:
            previous = verify_checkpoint(self.previous, self.head.origin, [self.log_key])
            self._write(target, layout.CONSISTENCY, [self._consistency(previous)])
        self._write(target, layout.CHECKPOINT, [self.checkpoint.encode()])
        self._write(target, layout.LOG_KEY, [f"{self.log_key}\n".encode()])
        self._write(target, layout.CERTIFICATE, [certificate.encode()])
        for name, content in self.extra.items():
            self._write(target, name, [content])
        page = render(summary, self.head, self.log_key, self.scope, self.generated_at, previous)
        self._write(target, layout.REPORT, [page.encode()])
        manifest = Manifest(
            origin=self.head.origin,
            size=self.head.size,
            root=self.head.root,
            entries=summary.entries,
            pending=self.pending,
            scope=self.scope,
            generated_at=self.generated_at,
            log_key=str(self.log_key),
            receipt_key=str(signing.verifier),
            files=dict(self.files),
        ).text()
        digest = hashlib.sha256(manifest).hexdigest()
        self._write(target, layout.MANIFEST, [manifest])
        self._write(target, layout.MANIFEST_NOTE, [sign_manifest(signing, digest).encode()])
        return BundleResult(summary.entries, self.pending, self.head.size, digest)

    def _entries(self) -> Iterator[BundleEntry]:
        """The entries in the log's order; the database is read again at each call."""
        return _in_order(self.leaves)

    def _count(self) -> Summary:
        outcomes: Counter[tuple[str, str]] = Counter()
        actors: Counter[str] = Counter()
        days: Counter[str] = Counter()
        indexes: list[int] = []
        for entry in self._entries():
            fields = entry.fields()
            outcomes[str(fields.get("event")), str(fields.get("outcome"))] += 1
            actors[str(fields.get("actor"))] += 1
            days[layout.iso_time(fields["at"])[:10]] += 1
            indexes = [*indexes[:1], entry.index]
        return Summary(
            entries=outcomes.total(),
            pending=self.pending,
            outcomes=outcomes,
            actors=actors,
            days=days,
            first=indexes[0] if indexes else None,
            last=indexes[-1] if indexes else None,
            checkpoint=self.checkpoint,
        )

    def _write_proofs(self, target: Target, count: int) -> None:
        """One proof an entry: as files, or as lines of one file where there are many."""
        size = self.head.size
        paths = (
            (entry.index, inclusion_proof(self.reader, entry.index, size))
            for entry in self._entries()
        )
        if count > layout.PROOF_FILES:
            lines = (layout.proof_line(index, path) for index, path in paths)
            self._write(target, layout.PROOFS, lines)
            return
        for index, path in paths:
            proof = TlogProof(index, tuple(path), self.checkpoint)
            self._write(target, layout.proof_name(index), [str(proof).encode()])

    def _consistency(self, previous: TreeHead) -> bytes:
        proof = consistency_proof(self.reader, previous.size, self.head.size)
        return canonical(
            {
                "previous": self.previous,
                "proof": [base64.b64encode(node).decode() for node in proof],
            }
        )

    def _write(self, target: Target, name: str, parts: Iterable[bytes]) -> None:
        digest, size, limit = hashlib.sha256(), 0, layout.size_limit(name)
        with target.create(name) as file:
            for part in parts:
                size += len(part)
                if size > limit:
                    raise BundleError(f"{name} grows too large: ask for a narrower scope")
                digest.update(part)
                file.write(part)
        if name not in layout.UNLISTED:
            self.files[name] = (digest.hexdigest(), size)


@contextmanager
def _target(out: Path | BinaryIO) -> Iterator[Target]:
    """A target that becomes `out` only when everything is written."""
    if not isinstance(out, Path):
        with tempfile.TemporaryFile() as file:
            yield from _zip(file)
            file.seek(0)
            shutil.copyfileobj(file, out)
        return
    if out.exists():
        raise BundleError("something is at that path already", code="audit.bundle_exists")
    fresh = out.with_name(f".{out.name}.{secrets.token_hex(8)}.new")
    try:
        if out.suffix == ".zip":
            with fresh.open("x+b") as file:
                yield from _zip(file)
        else:
            fresh.mkdir()
            yield FolderTarget(fresh)
        fresh.rename(out)
    except BaseException:
        if fresh.is_dir():
            shutil.rmtree(fresh, ignore_errors=True)
        else:
            fresh.unlink(missing_ok=True)
        raise


def _zip(file: IO[bytes]) -> Iterator[Target]:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        yield ZipTarget(archive)
    seal_archive(file)


def read_previous(bundle_or_note: Path) -> str:
    """The checkpoint in a file that holds one, or in an earlier bundle's folder.

    Raises:
        BundleError: there is none.
    """
    path = bundle_or_note / layout.CHECKPOINT if bundle_or_note.is_dir() else bundle_or_note
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return archive.read(layout.CHECKPOINT).decode()
        return path.read_text(encoding="utf-8")
    except (OSError, KeyError, UnicodeDecodeError, zipfile.BadZipFile):
        raise BundleError("there is no checkpoint to read there") from None
