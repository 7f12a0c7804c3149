"""Wrapping, and the root key file: modes, owners, crashes, rotation, two processes at once."""

import base64
import json
import multiprocessing
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from governance import keyring
from governance.errors import KeyFileError, KeyVersionError, SealError, SuiteError
from governance.keyring import (
    LocalKeyFile,
    data_key_context,
    derive,
    subject_key_context,
    tenant_key_context,
    unwrap_key,
    wrap_key,
)
from governance.suites import SuiteId, joined, suite

AES = suite(SuiteId.AES_256_GCM)
KEK = bytes(range(32))
DATA_KEY = bytes(range(100, 132))
CONTEXT = data_key_context("tenant-a", "upload", "2b5c", 1)
FIRST: dict[str, Any] = {"version": 1, "suite": "aes-gcm", "key": base64.b64encode(KEK).decode()}
SECOND: dict[str, Any] = {
    "version": 2,
    "suite": "sm4-gcm",
    "key": base64.b64encode(bytes(16)).decode(),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "root.key"


def write(path: Path, document: Any) -> None:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    path.chmod(0o600)


def test_wrapping_is_the_suite_s_aead_under_the_declared_layout() -> None:
    """A golden wrapped key: suite 1, nonce of zeros; it must open for ever."""
    wrapped = keyring._wrap(AES, KEK, bytes(12), DATA_KEY, CONTEXT)
    assert wrapped.hex() == (
        "010000000000000000000000006ad9d3b9dd45e9d664c5c75a685de3eaa63620"
        "2450f81a54fce3cdfc457edfd5ca4402aaa3fe1861248986a4196e69f9"
    )
    assert unwrap_key(KEK, wrapped, CONTEXT) == DATA_KEY


@pytest.mark.parametrize("suite_id", SuiteId)
def test_a_wrapped_key_opens_under_its_own_key_and_context_alone(suite_id: SuiteId) -> None:
    chosen = suite(suite_id)
    kek = os.urandom(chosen.key_length)
    wrapped = wrap_key(chosen, kek, DATA_KEY, CONTEXT)
    assert wrapped[0] == suite_id
    assert unwrap_key(kek, wrapped, CONTEXT) == DATA_KEY
    assert wrap_key(chosen, kek, DATA_KEY, CONTEXT) != wrapped
    for bad_kek, bad_context in (
        (os.urandom(chosen.key_length), CONTEXT),
        (b"", CONTEXT),
        (kek, data_key_context("tenant-b", "upload", "2b5c", 1)),
        (kek, data_key_context("tenant-a", "version", "2b5c", 1)),
        (kek, data_key_context("tenant-a", "upload", "2b5d", 1)),
        (kek, data_key_context("tenant-a", "upload", "2b5c", 2)),
        (kek, subject_key_context("tenant-a", "upload", 1)),
        (kek, tenant_key_context("tenant-a", "kek", 1)),
        (kek, b""),
    ):
        with pytest.raises(SealError):
            unwrap_key(bad_kek, wrapped, bad_context)


def test_every_flipped_bit_and_truncation_of_a_wrapped_key_fails() -> None:
    wrapped = wrap_key(AES, KEK, DATA_KEY, CONTEXT)
    for bit in range(len(wrapped) * 8):
        changed = bytearray(wrapped)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(SealError):
            unwrap_key(KEK, bytes(changed), CONTEXT)
    for length in range(len(wrapped)):
        with pytest.raises(SealError):
            unwrap_key(KEK, wrapped[:length], CONTEXT)


def test_a_wrapping_key_of_another_length_is_refused() -> None:
    with pytest.raises(SuiteError):
        wrap_key(AES, KEK[:16], DATA_KEY, CONTEXT)


def test_contexts_are_injective() -> None:
    assert joined("ab", "c") != joined("a", "bc")
    assert joined("a", "") != joined("a")


def test_derived_keys_are_apart_by_use_and_domain() -> None:
    keys = {derive(AES, KEK, u, d, 32) for u in ("hash", "token") for d in ("a", "b", "")}
    assert len(keys) == 6
    assert derive(AES, KEK, "hash", "a", 32) == derive(AES, KEK, "hash", "a", 32)
    assert derive(suite(SuiteId.SM4_GCM), KEK, "hash", "a", 32) not in keys


def test_the_first_start_makes_a_private_key_file(path: Path) -> None:
    provider = LocalKeyFile(path, create=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == ["root.key"]
    assert provider.current_version() == 1
    version, wrapped = provider.wrap(DATA_KEY, CONTEXT)
    assert LocalKeyFile(path, create=True).unwrap(version, wrapped, CONTEXT) == DATA_KEY
    assert DATA_KEY not in wrapped


def test_a_missing_file_is_not_made_where_keys_are_wrapped_already(path: Path) -> None:
    with pytest.raises(KeyFileError) as caught:
        LocalKeyFile(path, create=False)
    assert caught.value.stable_code == "crypto.key_file_missing"
    assert not path.exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o606, 0o644, 0o610, 0o601, 0o700])
def test_a_file_open_to_others_is_refused(path: Path, mode: int) -> None:
    provider = LocalKeyFile(path, create=True)
    path.chmod(mode)
    for use in (provider.current_version, lambda: LocalKeyFile(path, create=True)):
        with pytest.raises(KeyFileError) as caught:
            use()
        assert caught.value.stable_code == "crypto.key_file_unsafe"
    path.chmod(0o400)  # a read-only mount
    assert LocalKeyFile(path, create=False).current_version() == 1


def test_another_user_s_file_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    LocalKeyFile(path, create=True)
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    with pytest.raises(KeyFileError) as caught:
        LocalKeyFile(path, create=False)
    assert caught.value.stable_code == "crypto.key_file_unsafe"


def test_a_folder_in_its_place_is_refused(path: Path) -> None:
    path.mkdir(parents=True, mode=0o700)
    with pytest.raises(KeyFileError):
        LocalKeyFile(path, create=True)


MALFORMED: dict[str, Any] = {
    "empty": "",
    "cut off": '{"format": 1, "keys": [{"version": 1',
    "no object": "[]",
    "null": "null",
    "another format": {"format": 2, "keys": [FIRST]},
    "no keys": {"format": 1, "keys": []},
    "keys no list": {"format": 1, "keys": 5},
    "no key": {"format": 1, "keys": [{"version": 1, "suite": "aes-gcm"}]},
    "short key": {"format": 1, "keys": [FIRST | {"key": base64.b64encode(KEK[:31]).decode()}]},
    "key not base64": {"format": 1, "keys": [FIRST | {"key": "ключ"}]},
    "key a number": {"format": 1, "keys": [FIRST | {"key": 7}]},
    "unknown suite": {"format": 1, "keys": [FIRST | {"suite": "rot13"}]},
    "first version missing": {"format": 1, "keys": [SECOND]},
    "a version twice": {"format": 1, "keys": [FIRST, FIRST]},
    "version a list": {"format": 1, "keys": [FIRST | {"version": [1]}]},
    "versions of two types": {"format": 1, "keys": [FIRST, SECOND | {"version": "2"}]},
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_file_is_refused_without_showing_it(path: Path, name: str) -> None:
    write(path, MALFORMED[name])
    with pytest.raises(KeyFileError) as caught:
        LocalKeyFile(path, create=True)
    assert caught.value.stable_code == "crypto.key_file"
    assert caught.value.__cause__ is None
    assert FIRST["key"] not in str(caught.value)


def test_a_file_of_two_suites_serves_both(path: Path) -> None:
    write(path, {"format": 1, "keys": [FIRST, SECOND]})
    provider = LocalKeyFile(path, create=False)
    version, wrapped = provider.wrap(DATA_KEY, CONTEXT)
    assert (version, wrapped[0]) == (2, SuiteId.SM4_GCM)
    assert provider.unwrap(2, wrapped, CONTEXT) == DATA_KEY
    with pytest.raises(SealError):
        provider.unwrap(1, wrapped, CONTEXT)


def test_rotation_appends_and_old_versions_still_open(path: Path) -> None:
    provider = LocalKeyFile(path, create=True)
    wrapped = [provider.wrap(DATA_KEY, CONTEXT)]
    for expected in (2, 3):
        assert provider.rotate() == expected
        wrapped.append(provider.wrap(DATA_KEY, CONTEXT))
    assert [version for version, _ in wrapped] == [1, 2, 3]
    fresh = LocalKeyFile(path, create=False)
    for version, sealed in wrapped:
        assert fresh.unwrap(version, sealed, CONTEXT) == DATA_KEY
        with pytest.raises(SealError):
            fresh.unwrap(version % 3 + 1, sealed, CONTEXT)
    with pytest.raises(KeyVersionError) as caught:
        fresh.unwrap(4, wrapped[0][1], CONTEXT)
    assert caught.value.stable_code == "crypto.key_version"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_one_process_sees_what_another_rotated(path: Path) -> None:
    here, there = LocalKeyFile(path, create=True), LocalKeyFile(path, create=True)
    there.rotate()
    version, wrapped = there.wrap(DATA_KEY, CONTEXT)
    assert here.unwrap(version, wrapped, CONTEXT) == DATA_KEY
    assert here.current_version() == 2


class Crash(Exception):  # noqa: N818  # not an error: the end of a process
    pass


def crash(*_args: object, **_kwargs: object) -> None:
    raise Crash


STEPS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "before the draft is on disk": lambda patch: patch.setattr(os, "fsync", crash),
    "before the draft gets its name": lambda patch: patch.setattr(Path, "replace", crash),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_crash_in_rotation_leaves_the_old_file(
    path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    provider = LocalKeyFile(path, create=True)
    version, wrapped = provider.wrap(DATA_KEY, CONTEXT)
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        STEPS[step](patch)
        patch.setattr(
            Path, "unlink", lambda *_args, **_kwargs: None
        )  # a killed process tidies up nothing
        with pytest.raises(Crash):
            provider.rotate()
    drafts = [entry for entry in path.parent.iterdir() if entry != path]
    assert [stat.S_IMODE(draft.stat().st_mode) for draft in drafts] == [0o600]
    assert path.read_bytes() == before
    survivor = LocalKeyFile(path, create=False)
    assert survivor.unwrap(version, wrapped, CONTEXT) == DATA_KEY
    assert survivor.rotate() == 2
    assert [entry.name for entry in path.parent.iterdir()] == ["root.key"]  # the draft is gone


@pytest.mark.parametrize("step", STEPS)
def test_a_crash_at_first_start_leaves_no_file(
    path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    with monkeypatch.context() as patch:
        STEPS[step](patch)
        with pytest.raises(Crash):
            LocalKeyFile(path, create=True)
    assert not path.exists()
    assert LocalKeyFile(path, create=True).current_version() == 1


def _start(path: Path, answers: Any) -> None:
    provider = LocalKeyFile(path, create=True)
    version, wrapped = provider.wrap(DATA_KEY, CONTEXT)
    provider.rotate()
    answers.put((version, wrapped))


def test_processes_that_start_together_agree_on_one_file(path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    processes = [context.Process(target=_start, args=(path, answers)) for _ in range(3)]
    for process in processes:
        process.start()
    wrapped = [answers.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
        assert process.exitcode == 0
    provider = LocalKeyFile(path, create=False)
    assert provider.current_version() == 4  # one made, three rotated: none was lost
    for version, sealed in wrapped:
        assert provider.unwrap(version, sealed, CONTEXT) == DATA_KEY
