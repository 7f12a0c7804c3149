"""The signer's memory: no smaller tree, no other tree, not even after a restore or a crash."""

import json
import multiprocessing
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from audit.checkpoint import SigningKey, TreeHead, VerifierKey, verify_checkpoint
from audit.errors import EquivocationError, KeyMissingError
from audit.merkle import LeafHashes, consistency_proof, leaf_hash, root_of
from audit.signer import Prove, Signer, create_log_key, read_key, write_private

ORIGIN = "portcullis.example/log"
LEAVES = [leaf_hash(b"%d" % number) for number in range(40)]


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "log.key"
    create_log_key(path, ORIGIN)
    return path


def tree(size: int, leaves: Sequence[bytes] = LEAVES) -> tuple[TreeHead, Prove]:
    head = TreeHead(ORIGIN, size, root_of(leaves[:size]))
    return head, partial(consistency_proof, LeafHashes(leaves[:size]))


def test_a_growing_tree_is_signed_and_remembered(key_file: Path) -> None:
    for size in (1, 5, 5, 8, 40):
        signer = Signer(key_file)  # a new process each time
        note = signer.sign(*tree(size))
        assert verify_checkpoint(note, ORIGIN, [signer.verifier]) == signer.last() == tree(size)[0]


def test_signing_the_same_tree_again_gives_the_same_note(key_file: Path) -> None:
    signer = Signer(key_file)
    assert signer.sign(*tree(7)) == signer.sign(*tree(7))


def test_in_a_rotation_both_keys_sign(key_file: Path) -> None:
    new = SigningKey.generate(ORIGIN)
    signer = Signer(key_file, new)
    note = signer.sign(*tree(4))
    for keys in ([signer.verifier], [new.verifier]):
        assert verify_checkpoint(note, ORIGIN, keys) == tree(4)[0]


FORKED = [leaf_hash(b"forked"), *LEAVES[1:]]


@pytest.mark.parametrize(
    ("head", "prove"),
    [
        tree(9),  # smaller
        tree(10, FORKED),  # as large, and different
        tree(12, FORKED),  # larger, over another past
        (tree(12)[0], tree(12, FORKED)[1]),  # a proof of another tree
        (tree(12)[0], lambda _old, _new: []),  # no proof
        (TreeHead("other.example/log", 12, tree(12)[0].root), tree(12)[1]),
    ],
)
def test_a_tree_that_contradicts_the_last_one_is_refused(
    key_file: Path, head: TreeHead, prove: Prove
) -> None:
    signer = Signer(key_file)
    signer.sign(*tree(10))
    with pytest.raises(EquivocationError):
        Signer(key_file).sign(head, prove)
    assert signer.last() == tree(10)[0]
    signer.sign(*tree(11))  # the true log goes on


@pytest.mark.parametrize("state", [None, "", "{}", '{"origin": 1', "[]"])
def test_a_key_without_its_memory_signs_nothing(key_file: Path, state: str | None) -> None:
    signer = Signer(key_file)
    signer.sign(*tree(3))
    signer.state_file.unlink()
    if state is not None:
        signer.state_file.write_text(state)
    with pytest.raises(EquivocationError):
        signer.sign(*tree(5))


def test_state_is_on_disk_before_the_signature_leaves(
    key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    signer = Signer(key_file)

    def sign_note(text: str, *_keys: object) -> str:
        seen.append(json.loads(signer.state_file.read_text())["size"])
        return text

    monkeypatch.setattr("audit.signer.sign_note", sign_note)
    signer.sign(*tree(6))
    assert seen == [6]


def test_a_torn_state_write_leaves_the_old_state(
    key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signer = Signer(key_file)
    signer.sign(*tree(3))

    def torn(_self: Path, _target: Path) -> Path:
        raise OSError("power went out")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", torn)
        with pytest.raises(OSError, match="power"):
            signer.sign(*tree(5))
    assert signer.last() == tree(3)[0]
    assert sorted(path.name for path in key_file.parent.iterdir()) == [
        "log.key",
        "log.key.lock",
        "log.key.state",
        "log.key.vkey",
    ]


def _race(key_file: Path, sizes: list[int], results: "multiprocessing.Queue[str]") -> None:
    signer = Signer(key_file)
    for size in sizes:
        try:
            results.put(signer.sign(*tree(size)))
        except EquivocationError:
            results.put("refused")


def test_two_processes_never_sign_backwards(key_file: Path) -> None:
    context = multiprocessing.get_context("fork")
    results: multiprocessing.Queue[str] = context.Queue()
    sizes = list(range(1, 41))
    workers = [
        context.Process(target=_race, args=(key_file, sizes, results), daemon=True)
        for _ in range(2)
    ]
    for worker in workers:
        worker.start()
    answers = [results.get(timeout=60) for _ in range(80)]
    for worker in workers:
        worker.join(timeout=60)
    verifier = Signer(key_file).verifier
    signed = {verify_checkpoint(note, ORIGIN, [verifier]) for note in answers if note != "refused"}
    assert signed <= {tree(size)[0] for size in sizes}
    assert Signer(key_file).last().size == 40


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_a_key_that_others_may_read_is_refused(key_file: Path, mode: int) -> None:
    key_file.chmod(mode)
    with pytest.raises(KeyMissingError) as caught:
        Signer(key_file)
    assert caught.value.stable_code == "audit.key_exposed"


@pytest.mark.parametrize("content", ["", "nonsense", "PRIVATE+KEY+a+00000000+AAAA"])
def test_a_file_without_a_key_is_refused(key_file: Path, content: str) -> None:
    key_file.write_text(content)
    with pytest.raises(KeyMissingError):
        read_key(key_file)


def test_a_missing_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyMissingError):
        Signer(tmp_path / "none")


def test_a_log_key_is_never_written_over(key_file: Path) -> None:
    before = key_file.read_text()
    with pytest.raises(KeyMissingError):
        create_log_key(key_file, ORIGIN)
    assert key_file.read_text() == before


def test_files_are_private_and_the_public_key_lies_beside(key_file: Path) -> None:
    for path in key_file.parent.iterdir():
        assert path.stat().st_mode & 0o077 == 0
    vkey = VerifierKey.parse((key_file.parent / "log.key.vkey").read_text())
    assert vkey == Signer(key_file).verifier
    write_private(key_file.parent / "other", "text")
    assert (key_file.parent / "other").stat().st_mode & 0o777 == 0o600
