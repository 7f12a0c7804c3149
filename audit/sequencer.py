"""From pending leaves to a signed tree: the only writer of leaves, tiles and checkpoints.

One round, labeled in the code:

    1. a transaction opens and takes the one lock (PostgreSQL: advisory; SQLite: BEGIN IMMEDIATE)
    2. a database that is behind what was signed is refused: it was rolled back or restored
    3. pending leaves get dense indexes, in the order of their time-ordered ids
    4. full tiles are written, and the pending rows go; the transaction commits
    5. under the lock again, the tree as it now stands is signed and its checkpoint stored

A process killed before 4 leaves nothing behind; after 4, the next round signs; between the signer's
memory and the stored checkpoint, the next round signs the same tree again, to the same bytes.
Because pending rows are a queue and not a cursor over ids, a transaction that commits late is
never skipped.
"""

import functools
import logging
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from django.conf import settings
from django.db import OperationalError, close_old_connections, connection, transaction
from django.db.models import Max

from audit.checkpoint import TreeHead
from audit.errors import EquivocationError, ProofError
from audit.keys import log_signer
from audit.merkle import (
    TILE_HEIGHT,
    TILE_WIDTH,
    TileHashes,
    consistency_proof,
    tile_root,
    tree_root,
)
from audit.merkle import inclusion_proof as inclusion_path
from audit.models import Checkpoint, Leaf, PendingLeaf, Tile
from audit.proofs import TlogProof
from audit.signer import Signer

BATCH: Final = 4096  # leaves in one transaction
INTERVAL: Final = 1.0  # seconds between the rounds of `follow`
_LOCK: Final = 0x706F7274  # any constant; "port" in ASCII

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SequenceResult:
    """What one call did.

    Attributes:
        size: leaves in the log now.
        appended: leaves that this call appended.
        checkpoint: the signed note of the log's newest tree, None while the log is empty.
    """

    size: int
    appended: int
    checkpoint: str | None


class DatabaseTiles:
    """A `TileReader` over the database: full tiles from their rows, the right edge from below."""

    def tile(self, level: int, index: int, width: int) -> bytes:
        """The first `width` hashes of tile (level, index); fewer bytes where rows are missing."""
        if width == TILE_WIDTH:
            stored = Tile.objects.filter(level=level, index=index).values_list("hashes", flat=True)
            return b"".join(map(bytes, stored))
        return _from_below(level, index, width)


def tree_size() -> int:
    """Leaves in the log."""
    last: int | None = Leaf.objects.aggregate(last=Max("index"))["last"]
    return 0 if last is None else last + 1


def hash_reader(size: int | None = None) -> TileHashes:
    """A reader for proofs over the first `size` leaves, of the whole log by default."""
    return TileHashes(DatabaseTiles(), tree_size() if size is None else size)


def latest_checkpoint() -> Checkpoint | None:
    """The newest stored checkpoint."""
    return Checkpoint.objects.order_by("-size").first()


def inclusion_proof(entry_id: uuid.UUID) -> TlogProof:
    """The proof that an entry stands in the tree of the newest checkpoint.

    Raises:
        ProofError: the entry is not in that tree (yet).
    """
    newest = latest_checkpoint()
    index = Leaf.objects.filter(entry_id=entry_id).values_list("index", flat=True).first()
    if newest is None or index is None or index >= newest.size:
        raise ProofError("the entry is not in a signed tree yet", code="audit.not_sequenced")
    path = inclusion_path(hash_reader(newest.size), index, newest.size)
    return TlogProof(index, tuple(path), newest.note)


def consistency(old: int, new: int) -> list[bytes]:
    """The proof that the tree of `new` leaves starts with the tree of `old` leaves.

    Raises:
        ProofError: the log is smaller than `new`, or `new` than `old`.
    """
    if new > tree_size():
        raise ProofError("the log is smaller than that")
    return consistency_proof(hash_reader(new), old, new)


def sequence_once(batch: int = BATCH, *, signer: Signer | None = None) -> SequenceResult:
    """Append what is pending now, `batch` leaves a transaction, then sign the tree.

    Raises:
        KeyMissingError: the log's key is missing or exposed; nothing was appended.
        EquivocationError: the database contradicts what was signed before.
    """
    signer = signer or log_signer()
    waiting = PendingLeaf.objects.count()  # what arrives meanwhile is the next call's
    appended = 0
    while appended < waiting and (count := _append(batch, signer)):
        appended += count
    newest = _sign(signer)
    return SequenceResult(
        size=newest.size if newest else 0,
        appended=appended,
        checkpoint=newest.note if newest else None,
    )


def follow(
    stop: threading.Event,
    interval: float = INTERVAL,
    *,
    told: Callable[[SequenceResult], None] | None = None,
) -> None:
    """Sequence every `interval` seconds until `stop` is set; `told` hears of rounds with leaves.

    A database that is away for a while is waited for. Everything else ends the loop.

    Raises:
        EquivocationError: the database contradicts what was signed before.
    """
    signer = log_signer()
    while not stop.is_set():
        try:
            result = sequence_once(signer=signer)
        except OperationalError as error:
            _log.warning("sequencer: the database did not answer: %s", type(error).__name__)
            close_old_connections()
        else:
            if result.appended and told is not None:
                told(result)
        stop.wait(interval)


def _append(batch: int, signer: Signer) -> int:
    with transaction.atomic(durable=True):  # 1
        _take_lock()
        size = tree_size()
        signed = signer.last().size
        if size < signed:  # 2
            raise EquivocationError(f"the log has {size} leaves, and {signed} were signed before")
        pending = PendingLeaf.objects.order_by("entry_id")[:batch]
        leaves = [  # 3
            Leaf(index=index, entry_id=leaf.entry_id, leaf_hash=bytes(leaf.leaf_hash))
            for index, leaf in enumerate(pending, start=size)
        ]
        Leaf.objects.bulk_create(leaves)
        _write_tiles(size, size + len(leaves))  # 4
        standing = Leaf.objects.filter(index__gte=size).values("entry_id")
        PendingLeaf.objects.filter(entry_id__in=standing).delete()
        return len(leaves)


def _sign(signer: Signer) -> Checkpoint | None:
    with transaction.atomic(durable=True):  # 5
        _take_lock()
        size = tree_size()
        newest = latest_checkpoint()
        if size == 0 or (newest is not None and newest.size == size):
            return newest
        reader = hash_reader(size)
        head = TreeHead(settings.LOG_ORIGIN, size, tree_root(reader, size))
        note = signer.sign(head, functools.partial(consistency_proof, reader))
        return Checkpoint.objects.create(
            size=size, root=head.root, note=note, signed_at=time.time_ns() // 1000
        )


def _take_lock() -> None:
    """One sequencer at a time, until the transaction ends."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
    # On SQLite the transaction itself is the lock: the settings open it with BEGIN IMMEDIATE.


def _write_tiles(old: int, new: int) -> None:
    """Write every tile that became full when the tree grew from `old` to `new` leaves."""
    level = 0
    while new >> TILE_HEIGHT * (level + 1):
        first, end = old >> TILE_HEIGHT * (level + 1), new >> TILE_HEIGHT * (level + 1)
        fresh = []
        for index in range(first, end):
            hashes = _from_below(level, index, TILE_WIDTH)
            fresh.append(Tile(level=level, index=index, hashes=hashes, root=tile_root(hashes)))
        Tile.objects.bulk_create(fresh)
        level += 1


def _from_below(level: int, index: int, width: int) -> bytes:
    """A tile's hashes from the leaves, or from the roots of the full tiles one level down."""
    first = index * TILE_WIDTH
    if level == 0:
        leaves = Leaf.objects.filter(index__gte=first, index__lt=first + width)
        return b"".join(map(bytes, leaves.order_by("index").values_list("leaf_hash", flat=True)))
    tiles = Tile.objects.filter(level=level - 1, index__gte=first, index__lt=first + width)
    return b"".join(map(bytes, tiles.order_by("index").values_list("root", flat=True)))
