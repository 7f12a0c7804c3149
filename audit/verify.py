"""Verify a report bundle: `python -m audit.verify BUNDLE [--vkey KEY] [--previous CHECKPOINT]`.

Needs no Django, no database and no network. `audit.reports.verification` lists the steps.

Exit codes: 0 verified · 1 broken · 2 usage, or not readable as a bundle · 5 consistent, but the
signer was not authenticated, because no --vkey said whose signature it should be.
"""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from audit.checkpoint import VerifierKey
from audit.errors import BundleError, ProofError
from audit.reports.verification import Result, Verdict, verify

_FINGERPRINT: Final = re.compile(r"[0-9a-f]{64}")
_CLOSING: Final = {
    Result.VERIFIED: "VERIFIED",
    Result.BROKEN: "BROKEN: do not rely on this bundle",
    Result.UNREADABLE: "UNREADABLE",
    Result.UNAUTHENTICATED: (
        "CONSISTENT, SIGNER NOT AUTHENTICATED: compare the log key's fingerprint above with the"
        " one you were handed, or give the key with --vkey"
    ),
}


def _read_keys(given: Sequence[str]) -> tuple[list[VerifierKey], list[str]]:
    """Keys and fingerprints from the command line, each the text itself or a file that holds it."""
    keys, fingerprints = [], []
    for text in given:
        value = text.strip()
        if "+" not in value and not _FINGERPRINT.fullmatch(value):
            try:
                value = Path(text).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError):
                raise BundleError("--vkey is no key, no fingerprint and no file") from None
        if _FINGERPRINT.fullmatch(value):
            fingerprints.append(value)
        else:
            try:
                keys.append(VerifierKey.parse(value))
            except ProofError as error:
                raise BundleError(f"--vkey: {error.detail}") from None
    return keys, fingerprints


def _read_previous(path: str | None) -> str | None:
    if path is None:
        return None
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise BundleError("--previous is no readable file") from None


def _as_dict(verdict: Verdict) -> dict[str, object]:
    """The object that --json prints."""
    manifest, key = verdict.manifest, verdict.log_key
    return {
        "status": verdict.result.name.lower(),
        "exit": int(verdict.result),
        "steps": [{"step": step, "found": found} for step, found in verdict.passed],
        "failed": verdict.failed,
        "error": verdict.error.as_dict() if verdict.error else None,
        "origin": manifest.origin if manifest else None,
        "size": manifest.size if manifest else None,
        "entries": manifest.entries if manifest else None,
        "fingerprint": key.fingerprint if key else None,
    }


def _show(verdict: Verdict) -> None:
    for number, (step, found) in enumerate(verdict.passed, start=1):
        print(f"{number}  ok      {step:<11} {found}")
    if verdict.failed is not None and verdict.error is not None:
        print(f"{len(verdict.passed) + 1}  FAILED  {verdict.failed:<11} {verdict.error.detail}")
    print(_CLOSING[verdict.result])


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m audit.verify",
        description="Verify a report bundle offline.",
        epilog="Exit codes: 0 verified, 1 broken, 2 unreadable, 5 signer not authenticated.",
    )
    parser.add_argument("bundle", type=Path, help="a ZIP file or a folder")
    parser.add_argument(
        "--vkey",
        action="append",
        default=[],
        metavar="KEY",
        help="the log's key as you were handed it: the vkey, its fingerprint, or a file of either",
    )
    parser.add_argument(
        "--previous", metavar="CHECKPOINT", help="a file with a checkpoint of the log that you kept"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    try:
        trusted, fingerprints = _read_keys(options.vkey)
        previous = _read_previous(options.previous)
        verdict = verify(
            options.bundle, trusted=trusted, fingerprints=fingerprints, previous=previous
        )
    except BundleError as error:
        verdict = Verdict(error=error, failed="usage")
    if options.json:
        print(json.dumps(_as_dict(verdict), ensure_ascii=False))
    else:
        _show(verdict)
    if verdict.error is not None:
        print(json.dumps(verdict.error.as_dict(), ensure_ascii=False), file=sys.stderr)
    return int(verdict.result)


if __name__ == "__main__":
    sys.exit(main())
