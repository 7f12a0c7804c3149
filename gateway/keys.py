"""API keys: `pck_{live|test}_{id10}_{secret43}{crc6}`.

    1. the checksum: what fails it is refused without any input or output
    2. the process cache, by id; entries die `LIFE` after their database read began
    3. HMAC-SHA-256 under a pepper that the key provider holds, compared in constant time

Everything is base-62. 43 digits are 256 bits; the checksum is the CRC-32 of all that stands before
it, so that scanners for leaked secrets, and we, tell a key from what looks like one. The database
holds the id and the HMAC: neither reading it nor the pepper alone gives a key.
"""

import hmac
import re
import secrets
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from gateway.aging import LIFE, Aging
from gateway.errors import CredentialError
from gateway.models import ApiKey, KeyMode
from gateway.peppers import pepper
from governance.scoping import across_tenants

# Published for secret scanners, and run over our own logs: a match that passes `parse` is a key.
PATTERN: Final = r"pck_(?:live|test)_[0-9A-Za-z]{10}_[0-9A-Za-z]{49}"

CAPACITY: Final = 100_000  # keys that are known
NEGATIVE_CAPACITY: Final = 10_000  # ids that are not

_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ID, _SECRET, _CHECK = 10, 43, 6
_SHAPE: Final = re.compile(PATTERN)
_NOTHING: Final = bytes(32)  # no HMAC equals it


@dataclass(frozen=True)
class NewKey:
    """A key just made. `text` is shown once, and stays out of `repr`."""

    public_id: str
    mode: KeyMode
    text: str = field(repr=False)

    def digest(self, pepper_key: bytes) -> bytes:
        """What the database keeps of it."""
        return digest_of(self.text[:-_CHECK], pepper_key=pepper_key)


@dataclass(frozen=True)
class ParsedKey:
    """A key whose checksum holds; whether it exists is another question."""

    public_id: str
    mode: KeyMode
    body: str = field(repr=False)  # everything before the checksum: what the HMAC is taken of


@dataclass(frozen=True)
class KeyFacts:
    """What is known of a key: one row, as it was when it was read."""

    id: UUID
    public_id: str
    tenant_id: UUID
    license_id: UUID
    mode: KeyMode
    digest: bytes = field(repr=False)
    pepper_version: int
    expires_at: datetime
    revoked_at: datetime | None

    @property
    def charged(self) -> bool:
        """Calls with a test key are counted and never charged."""
        return self.mode is KeyMode.LIVE


def generate(mode: KeyMode) -> NewKey:
    """A new key from the system's secure random source."""
    public_id = "".join(secrets.choice(_DIGITS) for _ in range(_ID))
    secret = _base62(secrets.randbits(256), _SECRET)
    body = f"pck_{mode.value}_{public_id}_{secret}"
    return NewKey(public_id, mode, body + checksum(body))


def checksum(body: str) -> str:
    """Six base-62 digits of the CRC-32 (ISO-HDLC) of `body`."""
    return _base62(zlib.crc32(body.encode("ascii")), _CHECK)


def parse(text: str) -> ParsedKey:
    """Take a key apart, after its checksum held. Reads nothing but `text`.

    Raises:
        CredentialError: `key.malformed`.
    """
    if _SHAPE.fullmatch(text) is None or checksum(text[:-_CHECK]) != text[-_CHECK:]:
        raise CredentialError("this is not an API key", code="key.malformed")
    _, mode, public_id, _ = text.split("_")
    return ParsedKey(public_id, KeyMode(mode), text[:-_CHECK])


def digest_of(body: str, *, pepper_key: bytes) -> bytes:
    """What the database keeps of a key: HMAC-SHA-256 (32 bytes) of all before its checksum."""
    return hmac.digest(pepper_key, body.encode("ascii"), "sha256")


class KeyCache:
    """What was read of keys lately, in this process.

    Nothing but a database read writes an entry, and its age counts from when that read *began*: a
    revocation committed later cannot hide behind a slow read. No entry is served stale.
    """

    def __init__(
        self,
        *,
        life: float = LIFE,
        capacity: int = CAPACITY,
        negative_capacity: int = NEGATIVE_CAPACITY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._life, self._clock = life, clock
        self._known: Aging[str, KeyFacts] = Aging(capacity)
        self._unknown: Aging[str, None] = Aging(negative_capacity)

    def find(self, public_id: str, read: Callable[[str], KeyFacts | None]) -> KeyFacts | None:
        """The facts of a key, or None if there is no such key; `read` asks the database."""
        began = self._clock()
        alive = began - self._life
        known = self._known.get(public_id, alive)
        if known is not None:
            return known[0]
        if self._unknown.get(public_id, alive) is not None:
            return None
        facts = read(public_id)
        if facts is None:
            self._unknown.put(public_id, began, None)
        else:
            self._known.put(public_id, began, facts)
        return facts

    def drop(self, public_id: str) -> None:
        """Forget a key: its revocation was just committed here."""
        self._known.drop(public_id)
        self._unknown.drop(public_id)

    def clear(self) -> None:
        """Forget every key."""
        self._known.clear()
        self._unknown.clear()


CACHE: Final = KeyCache()


def authenticate(text: str, *, cache: KeyCache = CACHE) -> KeyFacts:
    """Whose key this is. That it was revoked or has expired is for `gateway.licensing` to judge.

    Raises:
        CredentialError: `key.malformed`, or `key.unknown` for a wrong id and a wrong secret alike.
    """
    parsed = parse(text)  # 1
    facts = cache.find(parsed.public_id, read_key)  # 2
    # 3: an unknown id is compared too, with what nothing equals, and takes the same time.
    pepper_key = _NOTHING if facts is None else pepper(facts.pepper_version)
    offered = digest_of(parsed.body, pepper_key=pepper_key)
    if not hmac.compare_digest(offered, _NOTHING if facts is None else facts.digest):
        raise CredentialError("there is no such API key", code="key.unknown")
    if facts is None or facts.mode is not parsed.mode:
        raise CredentialError("there is no such API key", code="key.unknown")
    return facts


def read_key(public_id: str) -> KeyFacts | None:
    """One key's row; asked for without a scope, since only the key says whose it is."""
    with across_tenants(reason="a key says whose it is"):
        row = (
            ApiKey.objects.filter(public_id=public_id)
            .values_list(
                "id", "public_id", "tenant_id", "license_id", "mode", "digest", "pepper_version",
                "expires_at", "revoked_at",
            )
            .first()
        )  # fmt: skip
    if row is None:
        return None
    key, name, tenant, license_, mode, digest, version, expires, revoked = row
    return KeyFacts(
        key, name, tenant, license_, KeyMode(mode), bytes(digest), version, expires, revoked
    )


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, place = divmod(number, 62)
        digits.append(_DIGITS[place])
    return "".join(reversed(digits))
