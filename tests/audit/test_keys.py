"""Where keys are: made once for development, only read in production."""

import multiprocessing
from pathlib import Path

import pytest
from django.conf import settings

from audit.checkpoint import SigningKey, VerifierKey
from audit.errors import KeyMissingError
from audit.keys import ensure_keys, log_signer, log_verifier, receipt_certificate, receipt_key
from audit.receipts import receipt_key_name, verify_certificate
from audit.signer import write_private


def test_keys_are_made_once_and_certified(home: Path) -> None:
    vkey = ensure_keys()
    before = {path: path.read_text() for path in (home / "keys").iterdir() if path.is_file()}
    assert ensure_keys() == vkey == log_verifier() == log_signer().verifier
    assert {path: path.read_text() for path in before} == before
    assert vkey.name == settings.LOG_ORIGIN
    assert verify_certificate(receipt_certificate(), [vkey]) == receipt_key().verifier
    for path in before:
        assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("read", [log_signer, log_verifier, receipt_key, receipt_certificate])
def test_what_is_missing_is_said_not_made(home: Path, read: object) -> None:
    with pytest.raises(KeyMissingError):
        read()  # type: ignore[operator]  # a table of functions
    assert not (home / "keys" / "log.key").exists()


def test_a_certificate_follows_its_keys(home: Path) -> None:
    ensure_keys()
    name = receipt_key_name(settings.LOG_ORIGIN)
    write_private(settings.RECEIPT_KEY_FILE, SigningKey.generate(name).secret_text())
    vkey = ensure_keys()
    assert verify_certificate(receipt_certificate(), [vkey]) == receipt_key().verifier


def _ensure(results: "multiprocessing.Queue[str]") -> None:
    results.put(str(ensure_keys()))


def test_processes_that_start_together_agree(home: Path) -> None:
    context = multiprocessing.get_context("fork")
    results: multiprocessing.Queue[str] = context.Queue()
    workers = [context.Process(target=_ensure, args=(results,), daemon=True) for _ in range(4)]
    for worker in workers:
        worker.start()
    keys = {results.get(timeout=60) for _ in workers}
    for worker in workers:
        worker.join(timeout=60)
    assert {VerifierKey.parse(key) for key in keys} == {log_verifier()}
