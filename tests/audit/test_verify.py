"""The offline verifier: what it accepts, and everything that it must not."""

import json
import os
import random
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audit.checkpoint import SigningKey, TreeHead, sign_note, verify_checkpoint
from audit.merkle import leaf_hash
from audit.receipts import certify_receipt_key
from audit.reports import layout
from audit.reports.container import ZipTarget, seal_archive
from audit.reports.layout import BundleEntry
from audit.reports.verification import STEPS, Result, Verdict, verify
from audit.verify import main
from tests.factories.bundles import ORIGIN, Made, changed, make_bundles

SAMPLES = 24  # bytes changed in each file

# Only to have the test database made: the bundles are written once, from `made`.
pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def made(
    django_db_setup: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory
) -> Made:
    with django_db_blocker.unblock():
        return make_bundles(tmp_path_factory.mktemp("bundles"))


def check(path: Path, made: Made, **options: Any) -> Verdict:
    return verify(path, trusted=[made.vkey], **options)


@pytest.mark.parametrize("kind", ["folder", "archive", "lines", "part"])
def test_a_bundle_is_verified(made: Made, kind: str) -> None:
    path = getattr(made, kind)
    verdict = check(path, made)
    assert (verdict.result, verdict.error) == (Result.VERIFIED, None)
    assert tuple(step for step, _ in verdict.passed) == STEPS[:-1]  # none of a statement
    assert verify(path).result is Result.UNAUTHENTICATED
    assert verify(path, fingerprints=[made.vkey.fingerprint]).result is Result.VERIFIED


def test_another_key_than_the_one_handed_over_is_refused(made: Made) -> None:
    other = SigningKey.generate(ORIGIN).verifier
    for options in ({"trusted": [other]}, {"fingerprints": [other.fingerprint]}):
        verdict = verify(made.archive, **options)
        assert (verdict.result, verdict.failed) == (Result.BROKEN, "keys")
    rotated = verify(made.archive, trusted=[other, made.vkey])
    assert rotated.result is Result.VERIFIED


def files_of(folder: Path) -> list[str]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in paths)


def test_any_changed_byte_of_any_file_is_found(made: Made, tmp_path: Path) -> None:
    """Every file, offsets sampled with both ends, one bit each."""
    chance = random.Random(6962)
    folder = tmp_path / "copy"
    shutil.copytree(made.folder, folder)
    tried = 0
    for name in files_of(folder):
        path = folder / name
        data = path.read_bytes()
        offsets = {0, len(data) - 1, *chance.sample(range(len(data)), min(SAMPLES, len(data)))}
        for at in offsets:
            mutated = bytearray(data)
            mutated[at] ^= 1 << chance.randrange(8)
            path.write_bytes(mutated)
            assert check(folder, made).result is Result.BROKEN, (name, at)
            assert verify(folder).result is Result.BROKEN, (name, at)
            tried += 1
        for other in (data[:-1], data + b"\n", b""):
            path.write_bytes(other)
            assert check(folder, made).result is Result.BROKEN, name
        path.write_bytes(data)
    assert tried > 300
    assert check(folder, made).result is Result.VERIFIED


@pytest.mark.parametrize("kind", ["archive", "lines"])
def test_any_changed_byte_of_an_archive_is_found(made: Made, kind: str, tmp_path: Path) -> None:
    """Of the ZIP itself too: headers, unused bits after a stream, directory, end."""
    chance = random.Random(1951)
    data = getattr(made, kind).read_bytes()
    path = tmp_path / "changed.zip"
    ends = (*range(64), *range(len(data) - 128, len(data)))
    for at in {*ends, *chance.sample(range(len(data)), 400)}:
        mutated = bytearray(data)
        mutated[at] ^= 1 << chance.randrange(8)
        path.write_bytes(mutated)
        verdict = check(path, made)
        assert verdict.result is Result.BROKEN, (at, verdict.error)
    for cut in (1, 30, len(data) // 2):
        path.write_bytes(data[:-cut])
        assert check(path, made).result is Result.BROKEN
        path.write_bytes(data[cut:])
        assert check(path, made).result in {Result.BROKEN, Result.UNREADABLE}
    path.write_bytes(data + b"\n")
    assert check(path, made).result is Result.BROKEN


@pytest.mark.parametrize("kind", ["archive", "lines"])
def test_an_archive_that_lost_its_directory_is_broken_not_foreign(
    made: Made, kind: str, tmp_path: Path
) -> None:
    """Its size in the end record is one bit from 0 for some bundles: no name is left to read."""
    data = bytearray(getattr(made, kind).read_bytes())
    at = data.rindex(b"PK\x05\x06") + 12
    data[at : at + 4] = bytes(4)
    path = tmp_path / "changed.zip"
    path.write_bytes(data)
    verdict = check(path, made)
    assert verdict.result is Result.BROKEN, verdict.error


def contents(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def lines_of(folder: Path) -> list[bytes]:
    return (folder / layout.ENTRIES).read_bytes().splitlines(keepends=True)


def write_entries(folder: Path, lines: list[bytes]) -> None:
    """Write entries.jsonl, and the table that belongs to it."""
    (folder / layout.ENTRIES).write_bytes(b"".join(lines))
    rows = b"".join(BundleEntry.parse(line).row() for line in lines)
    (folder / layout.TABLE).write_bytes(layout.table_head() + rows)


def removed(folder: Path) -> None:
    write_entries(folder, lines_of(folder)[:-1])


def removed_with_proof(folder: Path) -> None:
    removed(folder)
    (folder / layout.proof_name(8)).unlink()


def doubled(folder: Path) -> None:
    lines = lines_of(folder)
    write_entries(folder, [*lines, lines[-1]])


def reordered(folder: Path) -> None:
    lines = lines_of(folder)
    write_entries(folder, [lines[1], lines[0], *lines[2:]])


def body_changed(folder: Path) -> None:
    lines = lines_of(folder)
    lines[2] = lines[2].replace(b'"rows":2', b'"rows":3')
    write_entries(folder, lines)


def moved(folder: Path) -> None:
    """An entry under another's place, with that place's proof."""
    lines = lines_of(folder)
    lines[2] = lines[1].replace(b'"index":1', b'"index":2')
    write_entries(folder, lines)


def spaced(folder: Path) -> None:
    lines = lines_of(folder)
    (folder / layout.ENTRIES).write_bytes(
        b"".join([lines[0].replace(b'":', b'": ', 1), *lines[1:]])
    )


def table_cell(folder: Path) -> None:
    path = folder / layout.TABLE
    path.write_bytes(path.read_bytes().replace(b"denied", b"done", 1))


def table_row(folder: Path) -> None:
    path = folder / layout.TABLE
    path.write_bytes(path.read_bytes() + b"9,more\r\n")


def table_without_bom(folder: Path) -> None:
    path = folder / layout.TABLE
    path.write_bytes(path.read_bytes().removeprefix(layout.BOM))


def proof_missing(folder: Path) -> None:
    (folder / layout.proof_name(3)).unlink()


def proof_extra(folder: Path) -> None:
    shutil.copy(folder / layout.proof_name(3), folder / layout.proof_name(99))


def proofs_swapped(folder: Path) -> None:
    one, two = folder / layout.proof_name(3), folder / layout.proof_name(4)
    (folder / "x").write_bytes(one.read_bytes())
    two.rename(one)
    (folder / "x").rename(two)


def proofs_twice(folder: Path) -> None:
    (folder / layout.PROOFS).write_bytes(b"")


def no_table(folder: Path) -> None:
    (folder / layout.TABLE).unlink()


def other_consistency(folder: Path) -> None:
    path = folder / layout.CONSISTENCY
    shown = json.loads(path.read_bytes())
    shown["proof"] = shown["proof"][::-1]
    path.write_bytes(json.dumps(shown, separators=(",", ":"), sort_keys=True).encode())


def nothing(folder: Path) -> None:
    """Only the manifest changes."""


@pytest.mark.parametrize(
    ("change", "manifest", "step"),
    [
        (removed, {}, "entries"),
        (removed, {"entries": 8}, "proofs"),
        (doubled, {"entries": 10}, "entries"),
        (reordered, {}, "entries"),
        (spaced, {}, "entries"),
        (body_changed, {}, "proofs"),
        (moved, {}, "proofs"),
        (proof_missing, {}, "proofs"),
        (proof_extra, {}, "proofs"),
        (proofs_swapped, {}, "proofs"),
        (proofs_twice, {}, "proofs"),
        (table_cell, {}, "table"),
        (table_row, {}, "table"),
        (table_without_bom, {}, "table"),
        (other_consistency, {}, "history"),
        (no_table, {}, "files"),
        (nothing, {"omit": ["entries.csv"]}, "files"),
        (nothing, {"omit": ["report.html"]}, "files"),
        (nothing, {"omit": ["consistency.json"]}, "files"),
        (nothing, {"size": 10}, "checkpoint"),
        (nothing, {"root": "00" * 32}, "checkpoint"),
        (nothing, {"origin": "portcullis.example/other"}, "checkpoint"),
        (nothing, {"entries": 8}, "entries"),
        (nothing, {"log_key": "x"}, "manifest"),
        (nothing, {"format": "portcullis-bundle/2"}, "manifest"),
        (nothing, {"more": 1}, "manifest"),
    ],
)
def test_a_bundle_changed_and_signed_again_is_found(
    made: Made,
    tmp_path: Path,
    change: Callable[[Path], None],
    manifest: dict[str, Any],
    step: str,
) -> None:
    """An insider who holds the receipt key, but not the log's, changes one thing."""
    folder = changed(made, tmp_path / "insider", change, **dict(manifest))
    verdict = check(folder, made)
    assert (verdict.result, verdict.failed) == (Result.BROKEN, step)


@pytest.mark.parametrize("change", [removed, removed_with_proof, doubled, reordered, body_changed])
def test_without_the_receipt_key_any_change_is_found(
    made: Made, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    folder = tmp_path / "outsider"
    shutil.copytree(made.folder, folder)
    change(folder)
    verdict = check(folder, made)
    assert (verdict.result, verdict.failed) == (Result.BROKEN, "files")


def test_a_checkpoint_of_another_origin_is_refused(made: Made, tmp_path: Path) -> None:
    """Signed by the right key, even: the name in the text counts."""
    text = (made.folder / layout.CHECKPOINT).read_text().split("\n\n", maxsplit=1)[0]
    head = TreeHead.parse(f"{text}\n")

    def change(folder: Path) -> None:
        other = TreeHead("portcullis.example/other", head.size, head.root)
        (folder / layout.CHECKPOINT).write_text(sign_note(str(other), made.log_key))

    for manifest in ({}, {"origin": "portcullis.example/other"}):
        folder = changed(made, tmp_path / f"other{len(manifest)}", change, **manifest)
        verdict = check(folder, made)
        assert (verdict.result, verdict.failed) == (Result.BROKEN, "checkpoint")


def test_a_forger_with_keys_of_their_own_passes_only_unauthenticated(
    made: Made, tmp_path: Path
) -> None:
    """Everything consistent under other keys: exit 5 says so, and --vkey convicts it."""
    forger = SigningKey.generate(ORIGIN)

    def change(folder: Path) -> None:
        (folder / layout.LOG_KEY).write_text(f"{forger.verifier}\n")
        certificate = certify_receipt_key(forger, made.receipt_key.verifier)
        (folder / layout.CERTIFICATE).write_text(certificate)
        note = (folder / layout.CHECKPOINT).read_text()
        forged = sign_note(str(verify_checkpoint(note, ORIGIN, [made.vkey])), forger)
        (folder / layout.CHECKPOINT).write_text(forged)
        (folder / layout.CONSISTENCY).unlink()
        for path in (folder / "proofs").iterdir():
            path.write_text(path.read_text().replace(note, forged))

    folder = changed(made, tmp_path / "forged", change, log_key=str(forger.verifier))
    assert verify(folder).result is Result.UNAUTHENTICATED
    assert (check(folder, made).result, check(folder, made).failed) == (Result.BROKEN, "keys")


def fork(made: Made, size: int) -> str:
    return sign_note(str(TreeHead(ORIGIN, size, leaf_hash(b"fork"))), made.log_key)


def test_an_earlier_checkpoint_is_extended_or_convicts(made: Made) -> None:
    old, middle, newest = made.checkpoints
    for path in (made.folder, made.archive, made.lines):
        for kept in (old, middle, newest):
            assert check(path, made, previous=kept).result is Result.VERIFIED
        for size in (3, 4, 7, 9):
            verdict = check(path, made, previous=fork(made, size))
            assert (verdict.result, verdict.failed) == (Result.BROKEN, "history")
            assert verdict.error is not None
            assert "contradicts" in verdict.error.detail
    for kept in (old, fork(made, 12), sign_note("x\n", made.log_key), "", newest + "x"):
        verdict = check(made.part, made, previous=kept)  # a part: it cannot prove `old`
        assert (verdict.result, verdict.failed) == (Result.BROKEN, "history")
    assert check(made.part, made, previous=newest).result is Result.VERIFIED


def rezipped(made: Made, to: Path, change: Callable[[zipfile.ZipFile], None]) -> Path:
    shutil.copy(made.archive, to)
    with zipfile.ZipFile(to, "a") as archive:
        change(archive)
    return to


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "/etc/evil",
        "proofs/../evil",
        "evil.txt",
        "proofs/01.tlog-proof",
        "proofs/",
        "a\\b",
    ],
)
def test_a_foreign_name_is_refused(made: Made, tmp_path: Path, name: str) -> None:
    path = rezipped(made, tmp_path / "x.zip", lambda archive: archive.writestr(name, b"x"))
    verdict = check(path, made)
    assert (verdict.result, verdict.failed) == (Result.BROKEN, "container")
    assert verdict.error is not None
    assert name not in verdict.error.detail


def test_an_unlisted_file_is_refused(made: Made, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(made.folder, folder)
    (folder / layout.PROOFS).write_text("")
    assert check(folder, made).failed == "files"
    (folder / layout.PROOFS).unlink()
    (folder / "notes.txt").write_text("")
    verdict = check(folder, made)
    assert (verdict.result, verdict.failed) == (Result.BROKEN, "container")


def test_a_doubled_name_is_refused(made: Made, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = rezipped(
            made, tmp_path / "x.zip", lambda archive: archive.writestr(layout.ENTRIES, b"")
        )
    assert check(path, made).result is Result.BROKEN


def test_a_repacked_archive_is_refused_and_its_folder_is_not(made: Made, tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in contents(made.archive).items():
            archive.writestr(name, data)
    verdict = check(path, made)
    assert verdict.error is not None
    assert "verify its folder" in verdict.error.detail
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "folder")
    assert check(tmp_path / "folder", made).result is Result.VERIFIED


def bomb(made: Made, path: Path, name: str, size: int) -> Path:
    """The bundle with one member of `size` zero bytes, laid out and sealed as ours are."""
    with path.open("x+b") as whole:
        with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
            target = ZipTarget(archive)
            for member, data in contents(made.archive).items():
                with target.create(member) as file:
                    if member != name:
                        file.write(data)
                        continue
                    for _ in range(size >> 20):
                        file.write(bytes(1 << 20))
        seal_archive(whole)
    return path


@pytest.mark.parametrize("name", ["entries.jsonl", "manifest.json", "log.vkey", "manifest.note"])
def test_a_zip_bomb_is_not_unpacked(made: Made, tmp_path: Path, name: str) -> None:
    path = bomb(made, tmp_path / "x.zip", name, 64 << 20)
    assert path.stat().st_size < 1 << 20
    command = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (400 << 20, 400 << 20));"
        "from audit.verify import main; sys.exit(main(sys.argv[1:]))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", command, str(path)], capture_output=True, check=False, timeout=60
    )
    assert ran.returncode == Result.BROKEN, ran.stderr


def test_links_and_special_files_are_refused(made: Made, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(made.folder, folder)
    secret = tmp_path / "secret"
    (folder / layout.REPORT).rename(secret)
    (folder / layout.REPORT).symlink_to(secret)
    assert check(folder, made).result is Result.UNREADABLE
    (folder / layout.REPORT).unlink()
    os.mkfifo(folder / layout.REPORT)
    assert check(folder, made).result is Result.UNREADABLE


def test_too_many_files_are_refused(made: Made, tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(layout.MANIFEST, b"")
        for number in range(layout.MAX_FILES + 1):
            archive.writestr(layout.proof_name(number), b"")
    assert check(path, made).result is Result.UNREADABLE
    data = bytearray(made.archive.read_bytes())
    data[-64 - 10 : -64 - 6] = b"\xff" * 4  # a directory of 4 GiB, says the end record
    path.write_bytes(data)
    verdict = check(path, made)
    assert verdict.error is not None
    assert "directory is too large" in verdict.error.detail


@pytest.mark.parametrize("content", [b"", b"text", b"PK", b"%PDF-1.7"])
def test_what_is_no_bundle_is_unreadable(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    assert verify(path).result is Result.UNREADABLE
    assert verify(tmp_path / "missing").result is Result.UNREADABLE
    (tmp_path / "empty").mkdir()
    assert verify(tmp_path / "empty").result is Result.UNREADABLE
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("photo.jpg", b"")
    assert verify(tmp_path / "other.zip").result is Result.UNREADABLE


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The command as an auditor starts it: no settings, nothing of Django's."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("DJANGO", "PYTHON"))}
    return subprocess.run(
        [sys.executable, "-m", "audit.verify", *map(str, arguments)],
        capture_output=True,
        check=False,
        text=True,
        env=environment,
        timeout=60,
    )


def test_the_command_line(made: Made, tmp_path: Path) -> None:
    key_file, pin = tmp_path / "log.vkey", tmp_path / "fingerprint"
    key_file.write_text(f"{made.vkey}\n")
    pin.write_text(f"{made.vkey.fingerprint}\n")
    kept = tmp_path / "kept"
    kept.write_text(made.checkpoints[0])
    for key in (str(made.vkey), key_file, pin, made.vkey.fingerprint):
        ran = run(made.archive, "--vkey", key, "--previous", kept)
        assert (ran.returncode, ran.stderr) == (0, "")
        assert ran.stdout.endswith("VERIFIED\n")
    for arguments, code, word in [
        ((made.archive,), 5, "SIGNER NOT AUTHENTICATED"),
        ((made.archive, "--vkey", SigningKey.generate(ORIGIN).verifier), 1, "BROKEN"),
        ((tmp_path / "none",), 2, "UNREADABLE"),
        ((made.archive, "--vkey", "nonsense"), 2, "UNREADABLE"),
        ((made.archive, "--vkey", "a+b+c"), 2, "UNREADABLE"),
        ((made.archive, "--previous", tmp_path / "none"), 2, "UNREADABLE"),
    ]:
        ran = run(*map(str, arguments))
        assert (ran.returncode, word in ran.stdout) == (code, True), ran.stdout
        assert (code == 5) == (not ran.stderr)
    assert run().returncode == 2


def test_json_has_documented_keys(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(made.archive), "--vkey", str(made.vkey), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert {key: shown[key] for key in ("status", "exit", "failed", "error")} == {
        "status": "verified",
        "exit": 0,
        "failed": None,
        "error": None,
    }
    assert (shown["origin"], shown["size"], shown["entries"]) == (ORIGIN, 9, 9)
    assert shown["fingerprint"] == made.vkey.fingerprint
    assert [step["step"] for step in shown["steps"]] == list(STEPS[:-1])
    assert main(["/none", "--json"]) == 2
    out, error = capsys.readouterr()
    assert json.loads(out)["failed"] == "container"
    assert set(json.loads(error)) == {"code", "detail"}


def test_it_needs_nothing_but_cryptography() -> None:
    command = (
        "import sys; before = set(sys.modules); import audit.verify;"
        "print(sorted({name.split('.')[0] for name in set(sys.modules) - before}"
        " - set(sys.stdlib_module_names)))"
    )
    ran = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path += {sys.path!r}; {command}"],
        capture_output=True,
        check=True,
        text=True,
    )
    loaded = {name.lstrip("_") for name in json.loads(ran.stdout.replace("'", '"'))}
    assert loaded <= {"audit", "cryptography", "cffi", "cffi_backend", "openssl"}
