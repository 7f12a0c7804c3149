"""Where the settings say the keys are: the log's, and the receipts' with its certificate.

The log's key signs checkpoints, and once the receipt key: the certificate is a note of two lines,
`<origin>/keys` and the receipt key's vkey. So whoever was handed the log's vkey can check receipts
and bundles, and the log's own key stays out of the web workers, which need these files only:

    <RECEIPT_KEY_FILE>          private, signs receipts and bundle manifests
    <RECEIPT_KEY_FILE>.cert     the certificate, public
    <LOG_KEY_FILE>.vkey         the log's public key

The sequencer alone also needs `<LOG_KEY_FILE>` and `<LOG_KEY_FILE>.state`.
"""

import fcntl
import os
from pathlib import Path

from django.conf import settings

from audit.checkpoint import SigningKey, VerifierKey
from audit.errors import KeyMissingError, ProofError
from audit.receipts import certify_receipt_key, receipt_key_name, verify_certificate
from audit.signer import Signer, create_log_key, read_key, write_private


def log_signer() -> Signer:
    """The signer of checkpoints; for the sequencer's process alone.

    Raises:
        KeyMissingError: the key is missing or exposed.
    """
    return Signer(settings.LOG_KEY_FILE)


def log_verifier() -> VerifierKey:
    """The log's public key.

    Raises:
        KeyMissingError: its file is missing or malformed.
    """
    try:
        return VerifierKey.parse(_beside(settings.LOG_KEY_FILE, ".vkey").read_text())
    except (OSError, UnicodeDecodeError, ProofError):
        raise KeyMissingError("the log's public key is not where it should be") from None


def receipt_key() -> SigningKey:
    """The key that signs receipts and bundle manifests.

    Raises:
        KeyMissingError: the key is missing or exposed.
    """
    return read_key(settings.RECEIPT_KEY_FILE)


def receipt_certificate() -> str:
    """The note in which the log's key vouches for the receipt key.

    Raises:
        KeyMissingError: its file is missing.
    """
    try:
        return _beside(settings.RECEIPT_KEY_FILE, ".cert").read_text()
    except (OSError, UnicodeDecodeError):
        raise KeyMissingError("the receipt key's certificate is not where it should be") from None


def ensure_keys() -> VerifierKey:
    """Make what is missing; for development, tests and the demo. Production only reads.

    Several processes may call it at once: the first makes the keys, the others find them.

    Returns:
        The log's public key, to be handed to auditors.
    """
    origin, log_file = settings.LOG_ORIGIN, Path(settings.LOG_KEY_FILE)
    receipt_file = Path(settings.RECEIPT_KEY_FILE)
    for folder in {log_file.parent, receipt_file.parent}:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = os.open(_beside(log_file, ".making"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not log_file.exists():
            create_log_key(log_file, origin)
        if not receipt_file.exists():
            name = receipt_key_name(origin)
            write_private(receipt_file, SigningKey.generate(name).secret_text() + "\n")
        if not _certified(log_file, receipt_file):
            certificate = certify_receipt_key(read_key(log_file), read_key(receipt_file).verifier)
            write_private(_beside(receipt_file, ".cert"), certificate)
    finally:
        os.close(lock)
    return log_verifier()


def _certified(log_file: Path, receipt_file: Path) -> bool:
    """Whether the certificate on disk is of these two keys."""
    try:
        certificate = _beside(receipt_file, ".cert").read_text()
        certified = verify_certificate(certificate, [read_key(log_file).verifier])
    except (OSError, ProofError):
        return False
    return certified == read_key(receipt_file).verifier


def _beside(file: Path, suffix: str) -> Path:
    return Path(file).with_name(Path(file).name + suffix)
