"""`python -m audit.license FILE --vkey KEY [--revocations LIST]`: check a license file offline.

Needs no Django, no database and no network. `audit.license_files` lists the steps.

Exit codes: 0 verified · 1 broken, out of its time, or revoked · 2 usage, or not readable as a
license file · 5 consistent, but the signer was not authenticated, because no --vkey said whose
signature it should be.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from audit.checkpoint import MAX_NOTE, VerifierKey
from audit.errors import LicenseFileError, ProofError
from audit.license_files import Checked, check_license
from audit.reports.verification import Result

_CLOSING: Final = {
    Result.VERIFIED: "VERIFIED",
    Result.BROKEN: "NOT VALID: do not rely on this license file",
    Result.UNREADABLE: "UNREADABLE",
    Result.UNAUTHENTICATED: (
        "CONSISTENT, SIGNER NOT AUTHENTICATED: give the log's key, as you were handed it, with"
        " --vkey"
    ),
}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        checked = check_license(
            _read(options.file),
            trusted=[_key(text) for text in options.vkey],
            now=_moment(options.at),
            revocations=None if options.revocations is None else _read(options.revocations),
            at_least=options.at_least,
        )
    except LicenseFileError as error:
        checked = Checked(error=error, failed="usage")
    if options.json:
        print(json.dumps(_as_dict(checked), ensure_ascii=False))
    else:
        _show(checked)
    if checked.error is not None:
        print(json.dumps(checked.error.as_dict(), ensure_ascii=False), file=sys.stderr)
    return int(checked.result)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m audit.license",
        description="Check a license file offline.",
        epilog="Exit codes: 0 verified, 1 not valid, 2 unreadable, 5 signer not authenticated.",
    )
    parser.add_argument("file", help="the license file")
    parser.add_argument(
        "--vkey",
        action="append",
        default=[],
        metavar="KEY",
        help="the log's key as you were handed it: the vkey, or a file that holds it",
    )
    parser.add_argument("--revocations", metavar="LIST", help="the newest revocation list you have")
    parser.add_argument(
        "--at-least",
        type=int,
        default=0,
        metavar="N",
        help="the number of the newest list you ever saw: an older one is refused",
    )
    parser.add_argument("--at", metavar="TIME", help="check for this moment (ISO 8601), not now")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _read(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            data = file.read(2 * MAX_NOTE + 1)
        text = data.decode()
    except (OSError, UnicodeDecodeError):
        raise LicenseFileError("a file cannot be read") from None
    if len(data) > 2 * MAX_NOTE:
        raise LicenseFileError("a file is too large")
    return text


def _key(text: str) -> VerifierKey:
    try:
        return VerifierKey.parse(text if "+" in text else _read(text))
    except ProofError as error:
        raise LicenseFileError(f"--vkey: {error.detail}") from None


def _moment(text: str | None) -> int:
    if text is None:
        return time.time_ns() // 1000
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise LicenseFileError("--at is no moment in ISO 8601") from None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(microseconds=1)


def _as_dict(checked: Checked) -> dict[str, object]:
    """The object that --json prints."""
    file, listed = checked.file, checked.revocations
    return {
        "status": checked.result.name.lower(),
        "exit": int(checked.result),
        "steps": [{"step": step, "found": found} for step, found in checked.passed],
        "failed": checked.failed,
        "error": checked.error.as_dict() if checked.error else None,
        "license": file.body() if file else None,
        "list": listed.number if listed else None,
    }


def _show(checked: Checked) -> None:
    for number, (step, found) in enumerate(checked.passed, start=1):
        print(f"{number}  ok      {step:<11} {found}")
    if checked.failed is not None and checked.error is not None:
        print(f"{len(checked.passed) + 1}  FAILED  {checked.failed:<11} {checked.error.detail}")
    print(_CLOSING[checked.result])


if __name__ == "__main__":
    sys.exit(main())
