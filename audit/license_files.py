"""License files and revocation lists: what a customer checks offline, signed by the receipt key.

    <origin>/license
    {"amended":…,"customer":"…","license":"…","terms":{…},"valid_until":…,…}

    — <origin>/receipts base64(key id ‖ signature)

    <origin>/keys
    <vkey of the receipt key>

    — <origin> base64(key id ‖ signature)

Two signed notes (C2SP signed-note), parted by an empty line: the license, and the certificate in
which the log's key vouches for the key that signed it. A revocation list has the same form, with
`<origin>/revocations` as its first line, so that neither passes for the other or for a receipt.

A file is checked in this order, labeled in the code:

    1. form: two notes
    2. signer: the log's key, as it was handed over, certifies the key that signed
    3. license: the signature holds, and the body has its one canonical form
    4. time: the file and the term have begun, and neither is over
    5. revocations, if a list is given: of the same signer, owner and customer, in its time, not
       older than the number that was seen before, and the license does not stand in it

A file says what was agreed when it was issued. Without a list nothing in it tells whether the
license was revoked since; its short life (`valid_until`) is what bounds that. All moments are
microseconds since the Unix epoch. All functions are pure.
"""

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self, TypeVar

from audit.canonical import LARGEST, canonical
from audit.checkpoint import SigningKey, VerifierKey, open_note, sign_note
from audit.errors import CanonicalError, DomainError, LicenseFileError, ProofError
from audit.merkle import HASH_SIZE
from audit.receipts import receipt_key_name, verify_certificate
from audit.reports.verification import Result

VERSION: Final = 1
STEPS: Final = ("form", "signer", "license", "time", "revocations")
SKEW: Final = 300_000_000  # that a checking machine's clock may be behind, microseconds

_LICENSE, _REVOCATIONS, _KEYS = "/license", "/revocations", "/keys"
_NOTES: Final = 4  # blocks between empty lines: text and signatures of two notes

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LicenseFile:
    """What a license file says.

    Attributes:
        license, owner, customer: ids, as values.
        model: the slug that calls name.
        terms: all terms at issue (`gateway.agreements.Agreement.told`), with `starts_at` and
            `expires_at`.
        amended: how often the terms had been changed by then.
        issued_at, valid_until: of the file, not of the license.
        size, root: of the log's newest checkpoint at issue.
    """

    license: uuid.UUID
    owner: uuid.UUID
    customer: uuid.UUID
    model: str
    terms: Mapping[str, Any]
    amended: int
    issued_at: int
    valid_until: int
    size: int
    root: bytes

    def body(self) -> dict[str, Any]:
        """The JSON object that is signed."""
        return {
            "v": VERSION,
            "license": str(self.license),
            "owner": str(self.owner),
            "customer": str(self.customer),
            "model": self.model,
            "terms": dict(self.terms),
            "amended": self.amended,
            "issued_at": self.issued_at,
            "valid_until": self.valid_until,
            "log": {"size": self.size, "root": self.root.hex()},
        }

    @classmethod
    def of(cls, body: Any) -> Self:
        """As `body` says."""
        made = cls(
            license=uuid.UUID(body["license"]),
            owner=uuid.UUID(body["owner"]),
            customer=uuid.UUID(body["customer"]),
            model=body["model"],
            terms=body["terms"],
            amended=_count(body["amended"]),
            issued_at=_count(body["issued_at"]),
            valid_until=_count(body["valid_until"]),
            size=_count(body["log"]["size"]),
            root=bytes.fromhex(body["log"]["root"]),
        )
        _count(made.terms["starts_at"])
        _count(made.terms["expires_at"])
        if len(made.root) != HASH_SIZE or not isinstance(made.model, str):
            raise ValueError
        return made


@dataclass(frozen=True, slots=True)
class RevocationList:
    """Which licenses of one owner to one customer do not hold (any more).

    Attributes:
        number: from 1, without gaps; a list with a lower number than one seen before is stale.
        next_update: when the list is too old to rely on.
    """

    owner: uuid.UUID
    customer: uuid.UUID
    number: int
    issued_at: int
    next_update: int
    revoked: tuple[uuid.UUID, ...]
    suspended: tuple[uuid.UUID, ...]

    def body(self) -> dict[str, Any]:
        """The JSON object that is signed."""
        return {
            "v": VERSION,
            "owner": str(self.owner),
            "customer": str(self.customer),
            "number": self.number,
            "issued_at": self.issued_at,
            "next_update": self.next_update,
            "revoked": sorted(map(str, self.revoked)),
            "suspended": sorted(map(str, self.suspended)),
        }

    @classmethod
    def of(cls, body: Any) -> Self:
        """As `body` says."""
        return cls(
            owner=uuid.UUID(body["owner"]),
            customer=uuid.UUID(body["customer"]),
            number=_count(body["number"]),
            issued_at=_count(body["issued_at"]),
            next_update=_count(body["next_update"]),
            revoked=tuple(map(uuid.UUID, body["revoked"])),
            suspended=tuple(map(uuid.UUID, body["suspended"])),
        )


@dataclass(slots=True)
class Checked:
    """How a check ended: the steps that held, in order, and what stopped it."""

    result: Result = Result.UNREADABLE
    passed: list[tuple[str, str]] = field(default_factory=list)
    failed: str | None = None
    error: DomainError | None = None
    file: LicenseFile | None = None
    revocations: RevocationList | None = None


def sign_file(key: SigningKey, said: LicenseFile | RevocationList, certificate: str) -> str:
    """The file: the signed note, and the certificate of the key that signed it.

    Raises:
        CanonicalError: a term has no canonical form.
    """
    kind = _LICENSE if isinstance(said, LicenseFile) else _REVOCATIONS
    origin = key.name.removesuffix(receipt_key_name(""))
    note = sign_note(f"{origin}{kind}\n{canonical(said.body()).decode()}\n", key)
    return f"{note}\n{certificate}"


def check_license(
    text: str,
    *,
    trusted: Sequence[VerifierKey],
    now: int,
    revocations: str | None = None,
    at_least: int = 0,
) -> Checked:
    """Check a license file, without any database or network. Never raises for what is in it.

    Args:
        text: the file.
        trusted: the log's keys, as they were handed over; none leaves the signer unauthenticated.
        now: the moment for which it is checked.
        revocations: the text of a revocation list.
        at_least: the highest number of a list that was seen before.
    """
    checked = Checked()
    step = STEPS[0]
    try:
        note, certificate = _take_apart(text)  # 1
        checked.passed.append((step, "a license and the certificate of its key"))
        step, checked.result = STEPS[1], Result.BROKEN
        key = _signer(certificate, trusted)  # 2
        checked.passed.append((step, key.name))
        step = STEPS[2]
        file = checked.file = _opened(note, key, _LICENSE, LicenseFile.of)  # 3
        checked.passed.append((step, f"{file.license}, amended {file.amended} times"))
        step = STEPS[3]
        _check_time(file, now)  # 4
        checked.passed.append((step, "the file and the term hold"))
        step = STEPS[4]
        found = "no list was given"
        if revocations is not None:  # 5
            listed = checked.revocations = _list(revocations, trusted, key)
            _check_list(file, listed, now, at_least)
            found = f"not in list {listed.number}"
        checked.passed.append((step, found))
    except (ProofError, LicenseFileError) as error:
        checked.failed, checked.error = step, error
        return checked
    checked.result = Result.VERIFIED if trusted else Result.UNAUTHENTICATED
    return checked


def _take_apart(text: str) -> tuple[str, str]:
    blocks = text.split("\n\n")
    if len(blocks) != _NOTES:
        raise LicenseFileError("the file is not made of two notes")
    return f"{blocks[0]}\n\n{blocks[1]}\n", f"{blocks[2]}\n\n{blocks[3]}"


def _signer(certificate: str, trusted: Sequence[VerifierKey]) -> VerifierKey:
    if trusted:
        return verify_certificate(certificate, trusted)
    # Nobody said whose key it should be: what it signed may be consistent, and no more.
    lines = certificate.split("\n")
    key = VerifierKey.parse(lines[1] if len(lines) > 1 else "")
    if key.name != receipt_key_name(_origin(key)) or lines[0] != _origin(key) + _KEYS:
        raise ProofError("the note is no certificate of a receipt key")
    return key


def _opened(note: str, key: VerifierKey, kind: str, read: Callable[[Any], T]) -> T:
    """Verify a note's signature, then read its body.

    Raises:
        ProofError: the signature does not hold, or it is a note of another kind.
        LicenseFileError: the body is malformed, though signed.
    """
    text, _ = open_note(note, [key])
    lines = text.split("\n")
    if len(lines) != 3 or lines[2] or lines[0] != _origin(key) + kind:  # noqa: PLR2004 - two lines and the end
        raise ProofError("the note is of another kind")
    try:
        said: Any = read(json.loads(lines[1]))
        same = canonical(said.body()) == lines[1].encode()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, CanonicalError):
        raise LicenseFileError("the note's body is malformed") from None
    if not same:
        raise LicenseFileError("the note's body is malformed")
    opened: T = said
    return opened


def _list(text: str, trusted: Sequence[VerifierKey], signed_by: VerifierKey) -> RevocationList:
    note, certificate = _take_apart(text)
    key = _signer(certificate, trusted)
    # Without a key that was handed over, nothing but the signer itself ties list and file together.
    if not trusted and key != signed_by:
        raise ProofError("the list and the license were signed by different keys")
    return _opened(note, key, _REVOCATIONS, RevocationList.of)


def _check_time(file: LicenseFile, now: int) -> None:
    if now + SKEW < file.issued_at or now < file.terms["starts_at"]:
        raise LicenseFileError("the license is not valid yet", code="license_file.not_yet_valid")
    if now >= file.terms["expires_at"]:
        raise LicenseFileError("the license has expired", code="license_file.license_expired")
    if now >= file.valid_until:
        raise LicenseFileError(
            "the file has expired: download a fresh one", code="license_file.expired"
        )


def _check_list(file: LicenseFile, listed: RevocationList, now: int, at_least: int) -> None:
    if (listed.owner, listed.customer) != (file.owner, file.customer):
        raise LicenseFileError(
            "the list is of another owner or customer", code="license_file.list_other"
        )
    if now + SKEW < listed.issued_at:
        raise LicenseFileError("the list is of later", code="license_file.list_not_yet_valid")
    if now >= listed.next_update or listed.number < at_least:
        raise LicenseFileError(
            "the list is too old: download a fresh one", code="license_file.list_old"
        )
    if file.license in listed.revoked:
        raise LicenseFileError("the license was revoked", code="license_file.revoked")
    if file.license in listed.suspended:
        raise LicenseFileError("the license is suspended", code="license_file.suspended")


def _origin(key: VerifierKey) -> str:
    return key.name.removesuffix(receipt_key_name(""))


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= LARGEST:
        raise ValueError
    return value
