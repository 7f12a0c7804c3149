"""Merkle trees as in RFC 6962 §2.1: hashing, roots, inclusion and consistency proofs, and tiles.

Everything is pure. Proofs are computed over a `HashReader`, which knows the root of any complete
subtree; `TileHashes` answers from 256-wide tiles (C2SP tlog-tiles), so that a proof over millions
of leaves reads a few tiles and not the leaves.

A node is named (level, index): the root of the complete subtree over the leaves from
`index * 2**level` up to, not including, `(index + 1) * 2**level`. A hash is 32 bytes.
"""

import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, Protocol

from audit.errors import ProofError

HASH_SIZE: Final = 32
TILE_HEIGHT: Final = 8
TILE_WIDTH: Final = 2**TILE_HEIGHT
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()

_CACHED_TILES: Final = 64  # about 1 MiB of nodes


def leaf_hash(data: bytes) -> bytes:
    """MTH of one leaf: SHA-256 of 0x00 and the data (RFC 6962 §2.1)."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256 of 0x01 and two child hashes (RFC 6962 §2.1)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class HashReader(Protocol):
    """Whoever knows the roots of complete subtrees."""

    def node(self, level: int, index: int) -> bytes:
        """The hash of node (level, index)."""
        ...


class TileReader(Protocol):
    """Whoever stores tiles: the database, or a list in memory."""

    def tile(self, level: int, index: int, width: int) -> bytes:
        """The first `width` hashes of tile (level, index), joined: `32 * width` bytes."""
        ...


class TileHashes:
    """A `HashReader` over the tiles of a tree of `size` leaves; keeps the last tiles it read."""

    def __init__(self, tiles: TileReader, size: int) -> None:
        self.size = size
        self._tiles = tiles
        self._pyramids: OrderedDict[tuple[int, int], list[list[bytes]]] = OrderedDict()

    def node(self, level: int, index: int) -> bytes:
        """The hash of node (level, index).

        Raises:
            ProofError: the node is not complete at this size, or a tile is cut short.
        """
        if level < 0 or index < 0 or (index + 1) << level > self.size:
            raise ProofError("the tree is too small for that node")
        tile_level, height = divmod(level, TILE_HEIGHT)
        tile_index, offset = divmod(index << height, TILE_WIDTH)
        return self._pyramid(tile_level, tile_index)[height][offset >> height]

    def _pyramid(self, level: int, index: int) -> list[list[bytes]]:
        """The tile's hashes and every complete node above them, by height."""
        cached = self._pyramids.get((level, index))
        if cached is not None:
            self._pyramids.move_to_end((level, index))
            return cached
        width = min(TILE_WIDTH, (self.size >> TILE_HEIGHT * level) - index * TILE_WIDTH)
        data = self._tiles.tile(level, index, width)
        if len(data) != HASH_SIZE * width:
            raise ProofError("a tile is missing or has another width")
        pyramid = [[data[at : at + HASH_SIZE] for at in range(0, len(data), HASH_SIZE)]]
        while len(pyramid) < TILE_HEIGHT:
            below = pyramid[-1]
            pairs = zip(
                below[0::2], below[1::2], strict=False
            )  # an odd last node has no parent yet
            pyramid.append([node_hash(left, right) for left, right in pairs])
        self._pyramids[level, index] = pyramid
        if len(self._pyramids) > _CACHED_TILES:
            self._pyramids.popitem(last=False)
        return pyramid


class LeafHashes:
    """A `HashReader` over leaf hashes in memory: trees of a few thousand leaves, and tests."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        self._levels = [list(leaves)]
        while len(self._levels[-1]) > 1:
            below = self._levels[-1]
            pairs = zip(below[0::2], below[1::2], strict=False)
            self._levels.append([node_hash(left, right) for left, right in pairs])

    def node(self, level: int, index: int) -> bytes:
        """The hash of node (level, index).

        Raises:
            ProofError: the node is not complete.
        """
        if not (0 <= level < len(self._levels) and 0 <= index < len(self._levels[level])):
            raise ProofError("the tree is too small for that node")
        return self._levels[level][index]


def tile_root(hashes: bytes) -> bytes:
    """The root over the 256 hashes of one full tile: the node that the tile above holds."""
    level = [hashes[at : at + HASH_SIZE] for at in range(0, len(hashes), HASH_SIZE)]
    if len(level) != TILE_WIDTH or len(level[-1]) != HASH_SIZE:
        raise ProofError("a tile is missing or has another width")
    while len(level) > 1:
        level = [node_hash(*pair) for pair in zip(level[0::2], level[1::2], strict=True)]
    return level[0]


def tree_root(reader: HashReader, size: int) -> bytes:
    """MTH of the first `size` leaves (RFC 6962 §2.1).

    Raises:
        ProofError: the reader lacks a node.
    """
    return _range(reader, 0, size) if size else EMPTY_ROOT


def root_of(leaves: Sequence[bytes]) -> bytes:
    """MTH over leaf hashes that are all in memory."""
    return tree_root(LeafHashes(leaves), len(leaves))


def inclusion_proof(reader: HashReader, index: int, size: int) -> list[bytes]:
    """PATH(index, D[size]) of RFC 6962 §2.1.1: sibling hashes from the leaf up to below the root.

    Raises:
        ProofError: there is no such leaf in a tree of `size`, or the reader lacks a node.
    """
    if not 0 <= index < size:
        raise ProofError("no such leaf in a tree of that size")
    path = []
    low, high = 0, size
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            path.append(_range(reader, middle, high))
            high = middle
        else:
            path.append(_range(reader, low, middle))
            low = middle
    return path[::-1]


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> None:
    """Check that `leaf` (a leaf hash) stands at `index` of the tree (RFC 9162 §2.1.3.2).

    Raises:
        ProofError: it does not, or the proof is too long or too short.
    """
    if not 0 <= index < size:
        raise ProofError("no such leaf in a tree of that size")
    at, last = index, size - 1
    computed = leaf
    for sibling in proof:
        if last == 0:
            raise ProofError("the inclusion proof is too long")
        if at & 1 or at == last:
            computed = node_hash(sibling, computed)
            while not at & 1 and at:
                at >>= 1
                last >>= 1
        else:
            computed = node_hash(computed, sibling)
        at >>= 1
        last >>= 1
    if last or not _same(computed, root):
        raise ProofError("the inclusion proof does not lead to the root")


def consistency_proof(reader: HashReader, old: int, new: int) -> list[bytes]:
    """PROOF(old, D[new]) of RFC 6962 §2.1.2; empty where `old` is 0 or equals `new`.

    Raises:
        ProofError: `old` is larger than `new`, or the reader lacks a node.
    """
    if not 0 <= old <= new:
        raise ProofError("the old tree is larger than the new one")
    if old in {0, new}:
        return []
    path = []
    low, high, whole = 0, new, True  # `whole`: the old tree is all of [low, high) so far
    while old < high:
        middle = low + _split(high - low)
        if old <= middle:
            path.append(_range(reader, middle, high))
            high = middle
        else:
            path.append(_range(reader, low, middle))
            low, whole = middle, False
    if not whole:
        path.append(_range(reader, low, high))
    return path[::-1]


def verify_consistency(
    old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes
) -> None:
    """Check that the tree of `new` leaves starts with the tree of `old` (RFC 9162 §2.1.4.2).

    Raises:
        ProofError: it does not, or the proof is too long or too short.
    """
    if not 0 <= old <= new:
        raise ProofError("the old tree is larger than the new one")
    if old in {0, new}:
        expected = EMPTY_ROOT if old == 0 else new_root
        if proof or not _same(old_root, expected):
            raise ProofError("the trees are not consistent")
        return
    from_old, from_new = _both_roots(old, new, proof, old_root)
    if not _same(from_old, old_root) or not _same(from_new, new_root):
        raise ProofError("the trees are not consistent")


def _both_roots(old: int, new: int, proof: Sequence[bytes], old_root: bytes) -> tuple[bytes, bytes]:
    """The roots of the old and the new tree as the proof makes them, for 0 < old < new."""
    # Where the old tree is complete, its root is not in the proof: the verifier knows it.
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    if not path:
        raise ProofError("the consistency proof is too short")
    at, last = old - 1, new - 1
    while at & 1:
        at >>= 1
        last >>= 1
    from_old = from_new = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise ProofError("the consistency proof is too long")
        if at & 1 or at == last:
            from_old = node_hash(sibling, from_old)
            from_new = node_hash(sibling, from_new)
            while not at & 1 and at:
                at >>= 1
                last >>= 1
        else:
            from_new = node_hash(from_new, sibling)
        at >>= 1
        last >>= 1
    if last:
        raise ProofError("the consistency proof is too short")
    return from_old, from_new


def _range(reader: HashReader, low: int, high: int) -> bytes:
    """MTH of the leaves [low, high), where `low` is a multiple of the left subtree's width."""
    size = high - low
    if size & (size - 1) == 0:
        return reader.node(size.bit_length() - 1, low // size)
    middle = low + _split(size)
    return node_hash(_range(reader, low, middle), _range(reader, middle, high))


def _split(size: int) -> int:
    """The largest power of two smaller than `size` (RFC 6962's k), for sizes from 2."""
    return 1 << (size - 1).bit_length() - 1


def _same(left: bytes, right: bytes) -> bool:
    return hmac.compare_digest(left, right)
