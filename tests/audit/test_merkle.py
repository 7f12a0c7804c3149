"""RFC 6962 trees: published vectors, a naive model at every small size, tile borders."""

import hashlib
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.errors import ProofError
from audit.merkle import (
    EMPTY_ROOT,
    TILE_WIDTH,
    LeafHashes,
    TileHashes,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_of,
    tile_root,
    tree_root,
    verify_consistency,
    verify_inclusion,
)

# The reference tree of google/certificate-transparency (merkletree_test): its eight inputs, the
# root at each size, and its proofs.
INPUTS = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAF_1 = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
LEAF_4 = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
LEAF_6 = "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f"
NODE_1_1 = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
NODE_1_2 = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"
NODE_1_3 = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
NODE_2_0 = ROOTS[4]
NODE_2_1 = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
PUBLISHED_INCLUSION = [
    (0, 1, []),
    (0, 8, [LEAF_1, NODE_1_1, NODE_2_1]),
    (5, 8, [LEAF_4, NODE_1_3, NODE_2_0]),
    (2, 3, [ROOTS[2]]),
    (1, 5, [ROOTS[1], NODE_1_1, LEAF_4]),
]
PUBLISHED_CONSISTENCY = [
    (1, 1, []),
    (1, 8, [LEAF_1, NODE_1_1, NODE_2_1]),
    (6, 8, [NODE_1_2, NODE_1_3, NODE_2_0]),
    (2, 5, [NODE_1_1, LEAF_4]),
    (6, 7, [NODE_1_2, LEAF_6, NODE_2_0]),
]
CT = LeafHashes([leaf_hash(data) for data in INPUTS])


class MemoryTiles:
    """Tiles cut from leaf hashes, with a count of what was read."""

    def __init__(self, leaves: list[bytes]) -> None:
        self.levels = [leaves]
        while len(self.levels[-1]) >= TILE_WIDTH:
            below = self.levels[-1]
            full = range(0, len(below) - TILE_WIDTH + 1, TILE_WIDTH)
            self.levels.append([tile_root(b"".join(below[at : at + TILE_WIDTH])) for at in full])
        self.reads = 0

    def tile(self, level: int, index: int, width: int) -> bytes:
        self.reads += 1
        return b"".join(self.levels[level][index * TILE_WIDTH :][:width])


def naive_root(leaves: list[bytes]) -> bytes:
    """RFC 6962 §2.1, word for word, over leaf hashes."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\1" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


def naive_path(index: int, leaves: list[bytes]) -> list[bytes]:
    """RFC 6962 §2.1.1, word for word."""
    if len(leaves) == 1:
        return []
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if index < k:
        return [*naive_path(index, leaves[:k]), naive_root(leaves[k:])]
    return [*naive_path(index - k, leaves[k:]), naive_root(leaves[:k])]


def naive_subproof(old: int, leaves: list[bytes], *, whole: bool) -> list[bytes]:
    """RFC 6962 §2.1.2, word for word."""
    if old == len(leaves):
        return [] if whole else [naive_root(leaves)]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if old <= k:
        return [*naive_subproof(old, leaves[:k], whole=whole), naive_root(leaves[k:])]
    return [*naive_subproof(old - k, leaves[k:], whole=False), naive_root(leaves[:k])]


def numbered(size: int) -> list[bytes]:
    return [leaf_hash(b"%d" % number) for number in range(size)]


@pytest.mark.parametrize("size", range(9))
def test_published_roots(size: int) -> None:
    assert tree_root(CT, size).hex() == ROOTS[size]


@pytest.mark.parametrize(("index", "size", "proof"), PUBLISHED_INCLUSION)
def test_published_inclusion_proofs(index: int, size: int, proof: list[str]) -> None:
    assert [node.hex() for node in inclusion_proof(CT, index, size)] == proof
    verify_inclusion(
        leaf_hash(INPUTS[index]), index, size, list(map(bytes.fromhex, proof)), tree_root(CT, size)
    )


@pytest.mark.parametrize(("old", "new", "proof"), PUBLISHED_CONSISTENCY)
def test_published_consistency_proofs(old: int, new: int, proof: list[str]) -> None:
    assert [node.hex() for node in consistency_proof(CT, old, new)] == proof
    verify_consistency(
        old, new, list(map(bytes.fromhex, proof)), tree_root(CT, old), tree_root(CT, new)
    )


@pytest.mark.parametrize("size", range(131))
def test_every_small_tree_is_the_naive_one(size: int) -> None:
    leaves = numbered(size)
    reader = TileHashes(MemoryTiles(leaves), size)
    root = naive_root(leaves)
    assert tree_root(reader, size) == root == root_of(leaves)
    for index in range(size):
        proof = inclusion_proof(reader, index, size)
        assert proof == naive_path(index, leaves)
        verify_inclusion(leaves[index], index, size, proof, root)
    for old in range(1, size + 1):
        proof = consistency_proof(reader, old, size)
        assert proof == naive_subproof(old, leaves, whole=True)
        verify_consistency(old, size, proof, naive_root(leaves[:old]), root)


BORDERS = [255, 256, 257, 511, 512, 513, 65_535, 65_536, 65_537]


@pytest.fixture(scope="module")
def many() -> list[bytes]:
    return numbered(BORDERS[-1])


@pytest.mark.parametrize("size", BORDERS)
def test_tile_borders(size: int, many: list[bytes]) -> None:
    leaves = many[:size]
    tiles = MemoryTiles(leaves)
    root = root_of(leaves)
    assert tree_root(TileHashes(tiles, size), size) == root
    for index in sorted({0, 1, 254, min(255, size - 1), 256 % size, size // 2, size - 1}):
        tiles.reads = 0
        reader = TileHashes(tiles, size)
        proof = inclusion_proof(reader, index, size)
        verify_inclusion(leaves[index], index, size, proof, root)
        assert tiles.reads <= 4, "a proof reads a few tiles"
    for old in sorted({1, 2, 255, 256 % size or 1, size // 2, size - 1, size}):
        proof = consistency_proof(TileHashes(tiles, size), old, size)
        verify_consistency(old, size, proof, root_of(leaves[:old]), root)


def test_the_empty_tree() -> None:
    assert root_of([]) == EMPTY_ROOT == hashlib.sha256(b"").digest()
    verify_consistency(0, 0, [], EMPTY_ROOT, EMPTY_ROOT)
    verify_consistency(0, 8, [], EMPTY_ROOT, tree_root(CT, 8))
    assert consistency_proof(CT, 0, 8) == []


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_no_changed_proof_is_accepted(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 70))
    index = data.draw(st.integers(0, size - 1))
    old = data.draw(st.integers(1, size))
    leaves = numbered(size)
    reader, root = LeafHashes(leaves), root_of(leaves)
    inclusion, consistency = (
        inclusion_proof(reader, index, size),
        consistency_proof(reader, old, size),
    )
    byte = data.draw(st.integers(0, 31))
    change = data.draw(st.sampled_from(["flip", "drop", "add", "swap"]))

    def changed(proof: list[bytes]) -> list[bytes] | None:
        if change == "add":
            return [*proof, leaf_hash(b"extra")]
        if not proof:
            return None
        at = data.draw(st.integers(0, len(proof) - 1))
        if change == "flip":
            flipped = bytearray(proof[at])
            flipped[byte] ^= 1
            return [*proof[:at], bytes(flipped), *proof[at + 1 :]]
        if change == "drop":
            return proof[:at] + proof[at + 1 :]
        return proof[::-1] if proof[::-1] != proof else None

    if (bad := changed(inclusion)) is not None:
        with pytest.raises(ProofError):
            verify_inclusion(leaves[index], index, size, bad, root)
    if (bad := changed(consistency)) is not None:
        with pytest.raises(ProofError):
            verify_consistency(old, size, bad, root_of(leaves[:old]), root)


@pytest.mark.parametrize(("index", "size"), [(8, 8), (-1, 8), (0, 0), (3, 2)])
def test_a_leaf_outside_the_tree_has_no_proof(index: int, size: int) -> None:
    with pytest.raises(ProofError):
        inclusion_proof(CT, index, size)
    with pytest.raises(ProofError):
        verify_inclusion(leaf_hash(b""), index, size, [], tree_root(CT, 1))


@pytest.mark.parametrize(("old", "new"), [(9, 8), (-1, 8)])
def test_a_tree_does_not_shrink(old: int, new: int) -> None:
    with pytest.raises(ProofError):
        consistency_proof(CT, old, new)
    with pytest.raises(ProofError):
        verify_consistency(old, new, [], EMPTY_ROOT, tree_root(CT, 8))


def test_equal_sizes_need_equal_roots() -> None:
    with pytest.raises(ProofError):
        verify_consistency(4, 4, [], tree_root(CT, 3), tree_root(CT, 4))


def test_another_leaf_or_place_is_refused() -> None:
    leaves = numbered(13)
    reader, root = LeafHashes(leaves), root_of(leaves)
    for index, other in product(range(13), repeat=2):
        proof = inclusion_proof(reader, index, 13)
        if index != other:
            with pytest.raises(ProofError):
                verify_inclusion(leaves[other], index, 13, proof, root)
            with pytest.raises(ProofError):
                verify_inclusion(leaves[index], other, 13, proof, root)


class ShortTiles(MemoryTiles):
    def tile(self, level: int, index: int, width: int) -> bytes:
        return super().tile(level, index, width)[:-1]


def test_a_missing_tile_is_an_error_not_a_wrong_root() -> None:
    with pytest.raises(ProofError):
        tree_root(TileHashes(ShortTiles(numbered(300)), 300), 300)
    with pytest.raises(ProofError):
        TileHashes(MemoryTiles(numbered(5)), 5).node(1, 2)
    with pytest.raises(ProofError):
        LeafHashes(numbered(5)).node(1, 2)
    with pytest.raises(ProofError):
        tile_root(bytes(31 * TILE_WIDTH))


def test_leaves_and_nodes_are_told_apart() -> None:
    """RFC 6962 §2.1: the prefixes keep a node from passing as a leaf."""
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    assert leaf_hash(left + right) != node_hash(left, right)
