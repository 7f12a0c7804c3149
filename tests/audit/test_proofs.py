"""C2SP tlog-proof files: what is written is read, verified, and nothing else is."""

from dataclasses import replace

import pytest

from audit.checkpoint import SigningKey, TreeHead, sign_note
from audit.errors import ProofError
from audit.merkle import LeafHashes, inclusion_proof, leaf_hash, root_of
from audit.proofs import TlogProof

ORIGIN = "example.com/log"
KEY = SigningKey.generate(ORIGIN)
LEAVES = [leaf_hash(b"%d" % number) for number in range(11)]
NOTE = sign_note(str(TreeHead(ORIGIN, 11, root_of(LEAVES))), KEY)
PROOF = TlogProof(6, tuple(inclusion_proof(LeafHashes(LEAVES), 6, 11)), NOTE)


def test_the_form_is_the_specified_one() -> None:
    lines = str(PROOF).split("\n")
    assert lines[:2] == ["c2sp.org/tlog-proof@v1", "index 6"]
    assert len(lines[2:6]) == len(PROOF.hashes) == 4
    assert "\n".join(lines[6:]) == "\n" + NOTE
    assert str(replace(PROOF, extra=b"vrf")).split("\n")[1] == "extra dnJm"


@pytest.mark.parametrize(
    "proof",
    [
        PROOF,
        replace(PROOF, extra=b"not signed"),
        TlogProof(0, (), sign_note(str(TreeHead(ORIGIN, 1, LEAVES[0])), KEY)),
    ],
)
def test_what_is_written_is_read_and_holds(proof: TlogProof) -> None:
    assert TlogProof.parse(str(proof)) == proof
    head = proof.verify(LEAVES[proof.index], ORIGIN, [KEY.verifier])
    assert head.origin == ORIGIN


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("index 6", "index 5"),
        ("index 6", "index 11"),
        ("index 6", "index 06"),
        ("index 6", "index ６"),
        ("index 6\n", ""),
        ("index 6", "extra AA==\nextra AA==\nindex 6"),
        ("index 6", "extra AB==\nindex 6"),
        ("c2sp.org/tlog-proof@v1", "c2sp.org/tlog-proof@v2"),
        ("\n\n", "\n"),
        ("index 6\n", "index 6\nAAAA\n"),
        ("index 6\n", "index 6\n" + "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n" * 64),
        ("\n11\n", "\n12\n"),
        ("example.com/log\n11", "example.com/other\n11"),
    ],
)
def test_a_changed_proof_is_refused(old: str, new: str) -> None:
    text = str(PROOF)
    assert old in text
    with pytest.raises(ProofError):
        TlogProof.parse(text.replace(old, new, 1)).verify(LEAVES[6], ORIGIN, [KEY.verifier])


def test_leaf_origin_and_key_matter() -> None:
    for leaf, origin, key in [
        (LEAVES[5], ORIGIN, KEY.verifier),
        (LEAVES[6], "example.com/other", KEY.verifier),
        (LEAVES[6], ORIGIN, SigningKey.generate(ORIGIN).verifier),
    ]:
        with pytest.raises(ProofError):
            PROOF.verify(leaf, origin, [key])


def test_a_huge_file_is_refused() -> None:
    with pytest.raises(ProofError):
        TlogProof.parse(str(PROOF) + "x" * 2_000_000)
