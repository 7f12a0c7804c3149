"""Signed notes against the published key and note of Go's sumdb/note; checkpoints; bad input."""

import base64
import subprocess
from pathlib import Path

import pytest

from audit.checkpoint import (
    SigningKey,
    TreeHead,
    VerifierKey,
    add_signature,
    open_note,
    sign_note,
    unbase64,
    verify_checkpoint,
)
from audit.errors import ProofError

# golang.org/x/mod/sumdb/note, note_test.go and the package's documentation.
VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
SKEY = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
SIGNATURE = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6"
    "KE6RyyBwJnAM=\n"
)
NOTE = f"{TEXT}\n{SIGNATURE}"
PETER = VerifierKey.parse(VKEY)


def test_the_published_note_is_reproduced_and_opens() -> None:
    key = SigningKey.parse(SKEY)
    assert sign_note(TEXT, key) == NOTE
    assert (key.secret_text(), str(key.verifier)) == (SKEY, VKEY)
    assert open_note(NOTE, [PETER]) == (TEXT, [PETER])
    assert PETER.key_id.hex() == "c74f20a3"


def test_an_independent_implementation_accepts_our_signature(tmp_path: Path) -> None:
    """OpenSSL checks what we sign: the message is the text with its last newline."""
    key = SigningKey.generate("example.com/log")
    note = sign_note("one\n2\nthree\n", key)
    blob = base64.b64decode(note.rsplit(" ", 1)[1])
    # RFC 8410 §4: the fixed header of an Ed25519 SubjectPublicKeyInfo.
    (tmp_path / "key.der").write_bytes(
        bytes.fromhex("302a300506032b6570032100") + key.verifier.public
    )
    (tmp_path / "text").write_bytes(b"one\n2\nthree\n")
    (tmp_path / "signature").write_bytes(blob[4:])
    command = "openssl pkeyutl -verify -rawin -pubin -inkey key.der -keyform DER -in text"
    checked = subprocess.run(
        [*command.split(), "-sigfile", "signature"], cwd=tmp_path, capture_output=True, check=False
    )
    assert checked.returncode == 0, checked.stderr


def test_every_mangled_vkey_is_refused() -> None:
    """The table of Go's TestNewVerifier: no substring and no changed byte of it is a key."""
    for start in range(len(VKEY)):
        for end in range(start + 1, len(VKEY) + 1):
            if (start, end) != (0, len(VKEY)):
                with pytest.raises(ProofError):
                    VerifierKey.parse(VKEY[start:end])
    for at, character in enumerate(VKEY):
        with pytest.raises(ProofError):
            VerifierKey.parse(VKEY[:at] + chr(ord(character) + 1) + VKEY[at + 1 :])


@pytest.mark.parametrize(
    "key",
    [
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",  # length
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",  # algorithm
        "",
        "+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
    ],
)
def test_a_key_of_another_kind_is_refused(key: str) -> None:
    with pytest.raises(ProofError):
        VerifierKey.parse(key)
    with pytest.raises(ProofError):
        SigningKey.parse(f"PRIVATE+KEY+{key}")


def test_every_changed_byte_of_a_note_is_refused() -> None:
    data = NOTE.encode()
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 1
        try:
            text = changed.decode()
        except UnicodeDecodeError:
            continue
        with pytest.raises(ProofError):
            open_note(text, [PETER])


@pytest.mark.parametrize(
    "note",
    [
        "",
        TEXT,
        f"{TEXT}\n",
        SIGNATURE,
        f"{TEXT}{SIGNATURE}",
        f"{TEXT}\n{SIGNATURE[:-1]}",
        f"{TEXT}\n{SIGNATURE}\n",
        f"{TEXT}\n{SIGNATURE[2:]}",
        f"{TEXT}\n— PeterNeumann \n",
        f"{TEXT}\n— PeterNeumann x08gow==\n",
        f"{TEXT}\n— Peter+Neumann {SIGNATURE.split(' ')[2]}",
        f"{TEXT[:-1]}\r\n\n{SIGNATURE}",
        f"{TEXT}\x00\n\n{SIGNATURE}",
        f"{TEXT}\n" + SIGNATURE * 101,
        "x" * 1_000_001,
    ],
)
def test_a_malformed_note_is_refused(note: str) -> None:
    with pytest.raises(ProofError):
        open_note(note, [PETER])


def test_unknown_signatures_are_ignored_and_known_ones_must_hold() -> None:
    old, new = SigningKey.generate("example.com/log"), SigningKey.generate("example.com/log")
    note = sign_note("text\n", old, new)  # a rotation: both sign
    for keys, signed_by in [
        ([old.verifier], [old.verifier]),
        ([new.verifier], [new.verifier]),
        ([new.verifier, old.verifier, PETER], [old.verifier, new.verifier]),
    ]:
        assert open_note(note, keys) == ("text\n", signed_by)
    with pytest.raises(ProofError):
        open_note(note, [PETER])
    forged = sign_note("other\n", old).replace("other", "text")
    with pytest.raises(ProofError):
        open_note(add_signature(forged, new), [old.verifier, new.verifier])
    # What the unknown line says does not matter (C2SP signed-note: MUST ignore).
    assert open_note(add_signature(forged, new), [new.verifier])[1] == [new.verifier]
    longer = f"{TEXT}\n— witness.example {base64.b64encode(bytes(2424)).decode()}\n{SIGNATURE}"
    assert open_note(longer, [PETER]) == (TEXT, [PETER])  # a post-quantum signature's length


@pytest.mark.parametrize("text", ["no newline", "tab\t\n", "bell\x07\n"])
def test_what_cannot_be_a_note_is_not_signed(text: str) -> None:
    with pytest.raises(ProofError):
        sign_note(text, SigningKey.parse(SKEY))


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\n", "a\u2003b"])
def test_a_key_name_has_no_space_and_no_plus(name: str) -> None:
    with pytest.raises(ProofError):
        SigningKey.generate(name)


def test_a_signing_key_does_not_show_itself() -> None:
    key = SigningKey.parse(SKEY)
    assert key.seed.hex() not in repr(key)
    assert SKEY.rsplit("+", 1)[1] not in f"{key} {key!r}"


def test_fingerprints_are_of_the_whole_vkey() -> None:
    assert len(PETER.fingerprint) == 64
    assert PETER.fingerprint != VerifierKey("Peter", PETER.public).fingerprint


HEAD = TreeHead("example.com/log", 7, bytes(range(32)))


def test_a_checkpoint_says_origin_size_and_root() -> None:
    key = SigningKey.generate("example.com/log")
    note = sign_note(str(HEAD), key)
    assert note.startswith("example.com/log\n7\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n\n— ")
    assert verify_checkpoint(note, "example.com/log", [key.verifier]) == HEAD
    with pytest.raises(ProofError, match="another log"):
        verify_checkpoint(note, "example.com/other", [key.verifier])


def test_the_published_checkpoint_text_parses() -> None:
    """The example of C2SP tlog-checkpoint."""
    text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    head = TreeHead.parse(text)
    assert (head.origin, head.size, str(head)) == ("example.com/behind-the-sofa", 20852163, text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n7\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
        "log\n07\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
        "log\n-7\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
        "log\n７\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
        "log\n7\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg==\n",
        "log\n7\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\n",
        "log\n7\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\nextension\n",
        "log\n7\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    ],
)
def test_a_malformed_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(ProofError):
        TreeHead.parse(text)


@pytest.mark.parametrize("text", ["AB==", "AA=", "A A=", "AA==\n", "AA-_", "ÄA==", "="])
def test_base64_has_one_spelling(text: str) -> None:
    with pytest.raises(ProofError):
        unbase64(text)
