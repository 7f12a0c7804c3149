"""The sequencer: dense and complete, killed anywhere, raced, and not fooled by a restore."""

import itertools
import json
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import OperationalError, connection

from audit import sequencer
from audit.checkpoint import TreeHead, VerifierKey, verify_checkpoint
from audit.errors import EquivocationError, KeyMissingError, ProofError
from audit.keys import ensure_keys, log_signer
from audit.merkle import TILE_WIDTH, leaf_hash, root_of, tree_root, verify_consistency
from audit.models import AuditEntry, Checkpoint, Leaf, PendingLeaf, Tile
from audit.sequencer import (
    SequenceResult,
    consistency,
    follow,
    hash_reader,
    inclusion_proof,
    latest_checkpoint,
    sequence_once,
    tree_size,
)
from audit.signer import Signer
from tests.append_only import create_triggers, drop_triggers
from tests.factories.entries import make_entries, make_entry

ORIGIN_SETTING = "portcullis.example/log"


@pytest.fixture
def vkey(home: Path, settings: object) -> VerifierKey:
    settings.LOG_ORIGIN = ORIGIN_SETTING  # type: ignore[attr-defined]  # pytest-django's proxy
    return ensure_keys()


def log_is_whole(vkey: VerifierKey) -> TreeHead:
    """Every entry is in the log once, densely, in tiles, under a tree that the signer knows."""
    leaves = list(Leaf.objects.order_by("index"))
    assert [leaf.index for leaf in leaves] == list(range(len(leaves)))
    bodies = dict(AuditEntry.objects.values_list("pk", "body"))
    assert {leaf.entry_id for leaf in leaves} == set(bodies)
    hashes = [bytes(leaf.leaf_hash) for leaf in leaves]
    assert hashes == [leaf_hash(bytes(bodies[leaf.entry_id])) for leaf in leaves]
    assert not PendingLeaf.objects.exists()
    assert Tile.objects.filter(level=0).count() == len(leaves) // TILE_WIDTH
    newest = latest_checkpoint()
    assert newest is not None
    head = verify_checkpoint(newest.note, vkey.name, [vkey])
    assert head == TreeHead(vkey.name, len(leaves), root_of(hashes)) == log_signer().last()
    assert bytes(newest.root) == head.root == tree_root(hash_reader(), len(leaves))
    return head


@pytest.mark.django_db
def test_entries_are_appended_in_order_and_proven(vkey: VerifierKey) -> None:
    first = make_entries(3)
    assert sequence_once().appended == 3
    entries = [*first, *make_entries(TILE_WIDTH * 2 + 5, start=3)]
    result = sequence_once(batch=100)
    assert (result.size, result.appended) == (len(entries), len(entries) - 3)
    head = log_is_whole(vkey)
    assert list(Leaf.objects.order_by("index").values_list("entry_id", flat=True)) == [
        entry.pk for entry in entries
    ]
    for entry in (entries[0], entries[2], entries[255], entries[256], entries[-1]):
        leaf = leaf_hash(bytes(entry.body))
        assert inclusion_proof(entry.pk).verify(leaf, vkey.name, [vkey]) == head
    earlier = Checkpoint.objects.get(size=3)
    proof = consistency(3, head.size)
    verify_consistency(3, head.size, proof, bytes(earlier.root), head.root)


@pytest.mark.django_db
def test_an_empty_log_has_no_checkpoint(vkey: VerifierKey) -> None:
    assert sequence_once() == SequenceResult(0, 0, None)
    assert tree_size() == 0
    assert log_signer().last().size == 0


@pytest.mark.django_db
def test_a_round_without_entries_signs_nothing_new(vkey: VerifierKey) -> None:
    make_entry()
    note = sequence_once().checkpoint
    assert sequence_once() == SequenceResult(1, 0, note)
    assert Checkpoint.objects.count() == 1


@pytest.mark.django_db
def test_tiles_grow_upwards(vkey: VerifierKey, django_assert_max_num_queries: object) -> None:
    """Past 65,536 leaves a second level stands, and a proof still reads a few rows."""
    count = TILE_WIDTH**2 + 3
    hashes = [leaf_hash(b"%d" % number) for number in range(count)]
    PendingLeaf.objects.bulk_create(
        [PendingLeaf(entry_id=uuid.UUID(int=n + 1), leaf_hash=h) for n, h in enumerate(hashes)],
        batch_size=5000,
    )
    result = sequence_once(batch=20_000)
    assert (result.size, Tile.objects.filter(level=1).count()) == (count, 1)
    assert bytes(Checkpoint.objects.get().root) == root_of(hashes)
    with django_assert_max_num_queries(6):  # type: ignore[operator]  # pytest-django's fixture
        proof = inclusion_proof(uuid.UUID(int=40_000))
    proof.verify(hashes[39_999], vkey.name, [vkey])


@pytest.mark.django_db
def test_what_is_not_in_a_signed_tree_has_no_proof(vkey: VerifierKey) -> None:
    entry = make_entry()
    with pytest.raises(ProofError) as caught:
        inclusion_proof(entry.pk)
    assert caught.value.stable_code == "audit.not_sequenced"
    with pytest.raises(ProofError):
        consistency(0, 1)


@pytest.mark.django_db
def test_without_a_key_nothing_is_appended(home: Path) -> None:
    make_entry()
    with pytest.raises(KeyMissingError):
        sequence_once()
    assert tree_size() == 0


def die(*_arguments: object, **_options: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def sign_then_die(self: Signer, head: TreeHead, prove: object) -> str:
    Signer._true_sign(self, head, prove)  # type: ignore[attr-defined]  # set by the test
    die()
    return ""


def in_a_child(work: Callable[[], object]) -> int:
    """Run `work` in a forked process; return its wait status."""
    connection.close()  # neither process may use the other's connection
    if pid := os.fork():
        return os.waitpid(pid, 0)[1]
    try:
        work()
        os._exit(0)
    except BaseException:  # noqa: BLE001 - the child must not run the parent's tests
        os._exit(3)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("where", "appended"),
    [
        ("audit.sequencer._write_tiles", 0),  # before the leaves are committed
        ("audit.sequencer._sign", 8),  # between commit and sign
        ("audit.signer._remember", 8),  # before the signer remembers
        ("audit.signer.sign_note", 8),  # after it remembers, before the signature
        ("sign", 8),  # signed, but the checkpoint is not stored
    ],
)
def test_killed_anywhere_it_resumes(
    where: str, appended: int, vkey: VerifierKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_entries(3)
    sequence_once()
    make_entries(5, start=3)

    def killed() -> None:
        if where == "sign":
            monkeypatch.setattr(Signer, "_true_sign", Signer.sign, raising=False)
            monkeypatch.setattr(Signer, "sign", sign_then_die)
        else:
            monkeypatch.setattr(where, die)
        sequence_once()

    status = in_a_child(killed)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert tree_size() == max(appended, 3)
    newest = latest_checkpoint()
    assert newest is not None
    assert newest.size == 3
    make_entry(8)  # the world goes on before the next round
    assert sequence_once().size == 9
    log_is_whole(vkey)


@pytest.mark.django_db(transaction=True)
def test_two_sequencers_and_late_commits(vkey: VerifierKey) -> None:
    """Two loops drain what two writers append; nothing is lost, doubled or reordered."""
    connection.close()
    children = []
    for number in range(4):
        if pid := os.fork():
            children.append(pid)
            continue
        try:
            if number < 2:
                for step in range(30):
                    make_entry(number * 1000 + step)
            else:
                until = time.monotonic() + 60
                while tree_size() < 60 and time.monotonic() < until:
                    sequence_once(batch=7)
            os._exit(0)
        except BaseException:  # noqa: BLE001 - the child must not run the parent's tests
            os._exit(3)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0, 0, 0]
    sequence_once()
    assert log_is_whole(vkey).size == 60
    heads = [verify_checkpoint(c.note, vkey.name, [vkey]) for c in Checkpoint.objects.all()]
    for old, new in itertools.pairwise(heads):
        proof = consistency(old.size, new.size)
        verify_consistency(old.size, new.size, proof, old.root, new.root)


def restore_backup_of(size: int) -> None:
    """What a database restore does: everything after `size` leaves is gone, the signer is not."""
    drop_triggers(connection)
    gone = list(Leaf.objects.filter(index__gte=size).values_list("entry_id", flat=True))
    AuditEntry.objects.filter(pk__in=gone).delete()
    Leaf.objects.filter(index__gte=size).delete()
    Checkpoint.objects.filter(size__gt=size).delete()
    create_triggers(connection)


@pytest.mark.django_db
def test_a_restored_database_is_not_signed(vkey: VerifierKey) -> None:
    make_entries(5)
    sequence_once()
    make_entries(5, start=5)
    published = sequence_once().checkpoint
    restore_backup_of(5)
    make_entries(2, start=50)
    with pytest.raises(EquivocationError, match="5 leaves, and 10 were signed"):
        sequence_once()
    assert tree_size() == 5, "not even appended: the lost leaves may still be put back"
    assert Checkpoint.objects.count() == 1
    assert published is not None


@pytest.mark.django_db
def test_a_rewritten_log_is_not_signed(vkey: VerifierKey) -> None:
    """The database's owner drops the triggers and rewrites history; the signer notices."""
    make_entries(5)
    sequence_once()
    drop_triggers(connection)
    Leaf.objects.filter(index=2).update(leaf_hash=leaf_hash(b"forged"))
    create_triggers(connection)
    make_entry(9)
    with pytest.raises(EquivocationError):
        sequence_once()
    assert Checkpoint.objects.count() == 1


@pytest.mark.django_db
def test_the_command_prints_one_object(vkey: VerifierKey) -> None:
    make_entries(2)
    out = StringIO()
    call_command("sequence", "--json", stdout=out)
    shown = json.loads(out.getvalue())
    assert (set(shown), shown["size"], shown["appended"]) == (
        {"size", "appended", "checkpoint"},
        2,
        2,
    )
    assert verify_checkpoint(shown["checkpoint"], vkey.name, [vkey]).size == 2
    out = StringIO()
    call_command("sequence", stdout=out)
    assert out.getvalue() == "0 appended, 2 in the log\n"


@pytest.mark.django_db
def test_the_command_says_what_is_wrong_as_json(home: Path) -> None:
    out, error = StringIO(), StringIO()
    with pytest.raises(SystemExit) as caught:
        call_command("sequence", stdout=out, stderr=error)
    assert caught.value.code == 4
    assert json.loads(error.getvalue())["code"] == "audit.key_missing"
    assert out.getvalue() == ""


@pytest.mark.django_db
def test_following_survives_a_database_that_is_away(
    vkey: VerifierKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_entries(2)
    stop = threading.Event()
    told: list[SequenceResult] = []
    calls = 0

    def flaky(*, signer: Signer) -> SequenceResult:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise OperationalError("the database is away")
        result = true_once(signer=signer)
        if calls == 3:
            stop.set()
        return result

    true_once = sequencer.sequence_once
    monkeypatch.setattr(sequencer, "sequence_once", flaky)
    monkeypatch.setattr(sequencer, "close_old_connections", lambda: None)  # the test's own
    follow(stop, 0.01, told=told.append)
    assert (calls, [result.appended for result in told]) == (3, [2])


@pytest.mark.django_db(transaction=True)
def test_the_command_follows_until_it_is_stopped(vkey: VerifierKey) -> None:
    make_entries(2)

    def follows() -> None:
        threading.Timer(0.5, os.kill, [os.getpid(), signal.SIGTERM]).start()
        call_command("sequence", "--follow", "--interval", "0.05", stdout=StringIO())

    assert in_a_child(follows) == 0
    log_is_whole(vkey)
