"""Bundles for tests, made once from a real log in a transaction that is rolled back."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from django.test import override_settings

from audit.canonical import canonical
from audit.checkpoint import SigningKey, VerifierKey
from audit.keys import ensure_keys, receipt_key
from audit.models import AuditEntry
from audit.receipts import sign_manifest
from audit.reports import layout
from audit.reports.bundle import write_bundle
from audit.sequencer import sequence_once
from audit.signer import read_key
from tests.factories.entries import make_entries, make_entry

GENERATED_AT = 1_790_000_000_000_000
ORIGIN = "portcullis.example/log"


@dataclass(frozen=True)
class Made:
    """One log's bundles and keys.

    Attributes:
        folder: the bundle of all entries, with a file a proof and a consistency proof.
        archive: the same as a ZIP.
        lines: the bundle with proofs.jsonl.
        part: the bundle of one tenant's entries.
        checkpoints: the log's checkpoints, oldest first.
    """

    folder: Path
    archive: Path
    lines: Path
    part: Path
    checkpoints: list[str]
    vkey: VerifierKey
    log_key: SigningKey
    receipt_key: SigningKey


@contextmanager
def made_log(home: Path, origin: str = ORIGIN) -> Iterator[VerifierKey]:
    """Settings of a log of its own, in a transaction that is rolled back."""
    block = transaction.atomic()
    block._from_testcase = True  # type: ignore[attr-defined]  # lets durable blocks nest, as in TestCase
    keys = {"LOG_KEY_FILE": home / "log.key", "RECEIPT_KEY_FILE": home / "receipt.key"}
    with override_settings(LOG_ORIGIN=origin, **keys), block:
        yield ensure_keys()
        transaction.set_rollback(True)


def make_bundles(home: Path) -> Made:
    """Every bundle of `Made` under `home`."""
    with made_log(home) as vkey, pytest.MonkeyPatch.context() as patch:
        make_entries(4)
        checkpoints = [sequence_once().checkpoint or ""]
        make_entries(3, start=4)
        checkpoints.append(sequence_once().checkpoint or "")
        make_entry(7, subject='=HYPERLINK("evil")', actor="＝2+3", reason="-1")
        make_entry(8, subject="数据集,\n二")
        checkpoints.append(sequence_once().checkpoint or "")
        everything = AuditEntry.objects.all()
        options: dict[str, Any] = {
            "scope": {"tenant": None, "period": "全部"},
            "previous": checkpoints[1],
            "generated_at": GENERATED_AT,
        }
        folder, archive = home / "folder", home / "archive.zip"
        lines, part = home / "lines.zip", home / "part.zip"
        write_bundle(everything, folder, **options)
        write_bundle(lambda: everything, archive, **options)
        write_bundle(everything.filter(tenant="tenant:1"), part, scope={"tenant": "tenant:1"})
        patch.setattr(layout, "PROOF_FILES", 3)
        write_bundle(everything, lines, **options)
        return Made(
            folder,
            archive,
            lines,
            part,
            checkpoints,
            vkey,
            read_key(home / "log.key"),
            receipt_key(),
        )


def changed(made: Made, to: Path, change: Callable[[Path], None], **manifest: Any) -> Path:
    """A copy of the folder that an insider with the receipt key has changed and signed again.

    Digests and sizes in the manifest follow the changed files; `manifest` overrides its fields,
    and a file set to None in `manifest["files"]` is left out of it.
    """
    shutil.copytree(made.folder, to)
    change(to)
    shown = json.loads((to / layout.MANIFEST).read_bytes())
    shown["files"] = {
        path.relative_to(to).as_posix(): {
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "size": path.stat().st_size,
        }
        for path in to.rglob("*")
        if path.is_file() and path.name not in layout.UNLISTED
    }
    for name in manifest.pop("omit", []):
        del shown["files"][name]
    text = canonical({**shown, **manifest})
    (to / layout.MANIFEST).write_bytes(text)
    note = sign_manifest(made.receipt_key, hashlib.sha256(text).hexdigest())
    (to / layout.MANIFEST_NOTE).write_text(note)
    return to
