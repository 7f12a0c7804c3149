"""License files and revocation lists: what the offline check accepts, and everything else."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from audit.checkpoint import SigningKey, sign_note
from audit.license import main
from audit.license_files import (
    SKEW,
    STEPS,
    Checked,
    LicenseFile,
    RevocationList,
    check_license,
    sign_file,
)
from audit.receipts import certify_receipt_key, receipt_key_name
from audit.reports.verification import Result
from gateway.settings.env import BASE_DIR

ORIGIN = "example.com/log"
LOG = SigningKey.generate(ORIGIN)
KEY = SigningKey.generate(receipt_key_name(ORIGIN))
CERTIFICATE = certify_receipt_key(LOG, KEY.verifier)

DAY = 86_400_000_000
NOW = 1_790_000_000_000_000
FILE = LicenseFile(
    license=uuid.UUID(int=1),
    owner=uuid.UUID(int=2),
    customer=uuid.UUID(int=3),
    model="income",
    terms={
        "quota": 5,
        "features": ["predict"],
        "starts_at": NOW - DAY,
        "expires_at": NOW + 9 * DAY,
    },
    amended=2,
    issued_at=NOW - DAY,
    valid_until=NOW + DAY,
    size=73,
    root=b"\x01" * 32,
)
LIST = RevocationList(
    owner=FILE.owner,
    customer=FILE.customer,
    number=4,
    issued_at=NOW - DAY,
    next_update=NOW + DAY,
    revoked=(uuid.UUID(int=8), uuid.UUID(int=9)),
    suspended=(uuid.UUID(int=7),),
)


def signed(said: LicenseFile | RevocationList, key: SigningKey = KEY) -> str:
    return sign_file(key, said, CERTIFICATE)


TEXT, LISTED = signed(FILE), signed(LIST)


def check(text: str = TEXT, **options: Any) -> Checked:
    return check_license(text, **{"trusted": [LOG.verifier], "now": NOW, **options})


def told(checked: Checked) -> tuple[Result, str | None, str]:
    code = "" if checked.error is None else checked.error.stable_code
    return checked.result, checked.failed, code


def test_a_file_is_verified_and_read() -> None:
    checked = check(revocations=LISTED, at_least=4)
    assert told(checked) == (Result.VERIFIED, None, "")
    assert tuple(step for step, _ in checked.passed) == STEPS
    assert (checked.file, checked.revocations) == (FILE, LIST)
    assert TEXT.split("\n")[0] == "example.com/log/license"
    assert LISTED.split("\n")[0] == "example.com/log/revocations"


def test_without_a_key_the_signer_is_not_authenticated() -> None:
    assert check(trusted=[]).result is Result.UNAUTHENTICATED
    assert check(trusted=[], revocations=LISTED).result is Result.UNAUTHENTICATED
    other = SigningKey.generate(KEY.name)
    foreign = sign_file(other, LIST, certify_receipt_key(LOG, other.verifier))
    assert check(trusted=[], revocations=foreign).result is Result.BROKEN
    assert check(revocations=foreign).result is Result.VERIFIED  # both are the log's own


@pytest.mark.parametrize(
    "certificate",
    [
        sign_note(f"{ORIGIN}/receipts\n{KEY.verifier}\n", LOG),
        sign_note(f"elsewhere.example/log/keys\n{KEY.verifier}\n", LOG),
        sign_note(f"{ORIGIN}/keys\n{LOG.verifier}\n", LOG),
        sign_note(f"{ORIGIN}/keys\n", LOG),
    ],
)
def test_even_an_unauthenticated_certificate_must_be_one(certificate: str) -> None:
    checked = check(sign_file(KEY, FILE, certificate), trusted=[])
    assert told(checked) == (Result.BROKEN, "signer", "audit.proof_invalid")


OTHER_LOG = SigningKey.generate("elsewhere.example/log")
OTHER_KEY = SigningKey.generate(receipt_key_name(OTHER_LOG.name))
STRANGER = SigningKey.generate(KEY.name)  # has the name, and no certificate
BODY = TEXT.split("\n")[1]


def forged(body: str, kind: str = "/license") -> str:
    """A body of any form, under the true key's signature."""
    return sign_note(f"{ORIGIN}{kind}\n{body}\n", KEY) + "\n" + CERTIFICATE


# What is given, the step that it stops at, and the code.
BAD: dict[str, tuple[Callable[[], Checked], str, str]] = {
    "empty": (lambda: check(""), "form", "license_file.malformed"),
    "no certificate": (
        lambda: check(TEXT.split("\n\nexample.com/log/keys")[0]),
        "form",
        "license_file.malformed",
    ),
    "another log's file": (
        lambda: check(
            sign_file(OTHER_KEY, FILE, certify_receipt_key(OTHER_LOG, OTHER_KEY.verifier))
        ),
        "signer",
        "audit.proof_invalid",
    ),
    "another log's key was handed over": (
        lambda: check(trusted=[OTHER_LOG.verifier]),
        "signer",
        "audit.proof_invalid",
    ),
    "a certificate by the certified key itself": (
        lambda: check(sign_file(KEY, FILE, sign_note(f"{ORIGIN}/keys\n{KEY.verifier}\n", KEY))),
        "signer",
        "audit.proof_invalid",
    ),
    "a key without a certificate": (
        lambda: check(signed(FILE, STRANGER)),
        "license",
        "audit.proof_invalid",
    ),
    "more quota": (
        lambda: check(TEXT.replace('"quota":5', '"quota":6')),
        "license",
        "audit.proof_invalid",
    ),
    "a longer life": (
        lambda: check(TEXT.replace(str(NOW + DAY), str(NOW + 2 * DAY))),
        "license",
        "audit.proof_invalid",
    ),
    "a list in place of a license": (lambda: check(LISTED), "license", "audit.proof_invalid"),
    "a receipt in place of a license": (
        lambda: check(forged(BODY, "/receipts")),
        "license",
        "audit.proof_invalid",
    ),
    "signed, not canonical": (
        lambda: check(forged(BODY.replace('":', '": ', 1))),
        "license",
        "license_file.malformed",
    ),
    "signed, another version": (
        lambda: check(forged(BODY.replace('"v":1', '"v":2'))),
        "license",
        "license_file.malformed",
    ),
    "signed, a member more": (
        lambda: check(forged(BODY[:-1] + ',"w":1}')),
        "license",
        "license_file.malformed",
    ),
    "signed, no term": (
        lambda: check(forged(BODY.replace('"starts_at"', '"stars_at"'))),
        "license",
        "license_file.malformed",
    ),
    "signed, no JSON": (lambda: check(forged("[" * 9999)), "license", "license_file.malformed"),
    "the file is of later": (
        lambda: check(now=FILE.issued_at - SKEW - 1),
        "time",
        "license_file.not_yet_valid",
    ),
    "the term has not begun": (
        lambda: check(signed(replace(FILE, terms={**FILE.terms, "starts_at": NOW + 1}))),
        "time",
        "license_file.not_yet_valid",
    ),
    "the file is over": (lambda: check(now=NOW + DAY), "time", "license_file.expired"),
    "the term is over": (
        lambda: check(signed(replace(FILE, terms={**FILE.terms, "expires_at": NOW}))),
        "time",
        "license_file.license_expired",
    ),
    "revoked": (
        lambda: check(revocations=signed(replace(LIST, revoked=(FILE.license,)))),
        "revocations",
        "license_file.revoked",
    ),
    "suspended": (
        lambda: check(revocations=signed(replace(LIST, suspended=(FILE.license,)))),
        "revocations",
        "license_file.suspended",
    ),
    "the list is too old": (
        lambda: check(revocations=signed(replace(LIST, next_update=NOW))),
        "revocations",
        "license_file.list_old",
    ),
    "a newer list was seen": (
        lambda: check(revocations=LISTED, at_least=5),
        "revocations",
        "license_file.list_old",
    ),
    "the list is of later": (
        lambda: check(revocations=signed(replace(LIST, issued_at=NOW + SKEW + 1))),
        "revocations",
        "license_file.list_not_yet_valid",
    ),
    "another customer's list": (
        lambda: check(revocations=signed(replace(LIST, customer=uuid.UUID(int=99)))),
        "revocations",
        "license_file.list_other",
    ),
    "another owner's list": (
        lambda: check(revocations=signed(replace(LIST, owner=uuid.UUID(int=99)))),
        "revocations",
        "license_file.list_other",
    ),
    "a tampered list": (
        lambda: check(
            revocations=signed(replace(LIST, revoked=(FILE.license,))).replace(
                str(FILE.license), str(uuid.UUID(int=5))
            )
        ),
        "revocations",
        "audit.proof_invalid",
    ),
    "a license in place of a list": (
        lambda: check(revocations=TEXT),
        "revocations",
        "audit.proof_invalid",
    ),
    "another log's list": (
        lambda: check(
            revocations=sign_file(
                OTHER_KEY, LIST, certify_receipt_key(OTHER_LOG, OTHER_KEY.verifier)
            )
        ),
        "revocations",
        "audit.proof_invalid",
    ),
    "no list": (lambda: check(revocations=""), "revocations", "license_file.malformed"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_refused(name: str) -> None:
    made, step, code = BAD[name]
    checked = made()
    result = Result.UNREADABLE if step == "form" else Result.BROKEN
    assert told(checked) == (result, step, code)
    assert [passed for passed, _ in checked.passed] == list(STEPS[: STEPS.index(step)])


@pytest.mark.parametrize("text", [TEXT, LISTED], ids=["license", "list"])
def test_every_changed_byte_is_refused(text: str) -> None:
    data = text.encode()
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 1
        tampered = changed.decode(errors="replace")
        checked = check(tampered) if text is TEXT else check(revocations=tampered)
        assert checked.result in {Result.BROKEN, Result.UNREADABLE}, at


def test_the_edges_of_its_time() -> None:
    """From `issued_at` (less what a clock may lag) to just before `valid_until`."""
    started = replace(FILE, terms={**FILE.terms, "starts_at": 0})
    assert check(signed(started), now=FILE.issued_at - SKEW).result is Result.VERIFIED
    assert check(now=FILE.valid_until - 1).result is Result.VERIFIED
    assert check(revocations=LISTED, now=LIST.next_update - 1).result is Result.VERIFIED


# The command


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "a.license").write_text(TEXT)
    (tmp_path / "a.revocations").write_text(LISTED)
    (tmp_path / "log.vkey").write_text(f"{LOG.verifier}\n")
    return tmp_path


AT = ("--at", "2026-09-21T14:13:20+00:00")


def test_the_moment_of_the_tests_is_that_of_the_files() -> None:
    from audit.license import _moment

    assert _moment(AT[1]) == _moment("2026-09-21T14:13:20") == NOW


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("a.license", "--vkey", str(LOG.verifier), *AT), 0),
        (("a.license", "--vkey", "log.vkey", "--revocations", "a.revocations", *AT), 0),
        (("a.license", *AT), 5),
        (("a.license", "--vkey", str(OTHER_LOG.verifier), *AT), 1),
        (("a.license", "--vkey", "log.vkey", "--at", "2050-01-01"), 1),
        (
            ("a.license", "--vkey", "log.vkey", "--revocations", "a.revocations", "--at-least", "9",
             *AT), 1,
        ),
        (("a.license", "--vkey", "log.vkey", "--at", "yesterday"), 2),
        (("log.vkey", "--vkey", "log.vkey", *AT), 2),
        (("nothing", "--vkey", "log.vkey", *AT), 2),
        (("a.license", "--vkey", "x+y+z", *AT), 2),
    ],
)  # fmt: skip
def test_exit_codes(
    files: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    status: int,
) -> None:
    monkeypatch.chdir(files)
    assert main([*arguments, "--json"]) == status
    shown = capsys.readouterr()
    assert json.loads(shown.out)["exit"] == status
    assert bool(shown.err) == (status in {1, 2})
    assert main(list(arguments)) == status
    assert capsys.readouterr().out.strip()


def test_it_runs_without_django(files: Path) -> None:
    program = (
        "import sys; from audit.license import main; code = main(sys.argv[1:]);"
        "assert 'django' not in sys.modules; sys.exit(code)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, str(files / "a.license"), "--vkey", str(LOG.verifier), *AT],
        cwd=BASE_DIR,
        env={name: os.environ[name] for name in ("PATH",)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines()[-1] == "VERIFIED"
