"""API keys: `pck_{live|test}_{id10}_{secret43}{crc6}`.

    1. the checksum: what fails it is refused without any input or output
    2. the process cache, by id; entries die `LIFE` after their database read began
    3. HMAC-SHA-256 under a pepper that the key provider holds, compared in constant time with the
       secret's and with that of the secret before it
    4. what was only remembered and does not match is read once more, at most once a `PAUSE`

Everything is base-62. 43 digits are 256 bits; the checksum is the CRC-32 of all that stands before
it, so that scanners for leaked secrets, and we, tell a key from what looks like one. The database
holds the id and the HMAC: neither reading it nor the pepper alone gives a key.
"""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from hmac import compare_digest
from typing import Any, Final, NamedTuple
from uuid import UUID
from zlib import crc32

from django.db import connection
from django.utils import timezone

from gateway.aging import LIFE, Aging
from gateway.errors import CredentialError
from gateway.key_format import (
    CHECK,
    DIGITS,
    ID,
    SECRET,
    base62,
    shaped,
    told,
)
from gateway.key_format import PATTERN as PATTERN  # noqa: PLC0414  # said by other modules
from gateway.key_format import checksum as checksum  # noqa: PLC0414  # as above
from gateway.models import ApiKey, KeyMode
from gateway.peppers import pepper
from gateway.scopes import Network, parsed_networks
from governance.scoping import across_tenants

CAPACITY: Final = 100_000  # keys that are known
NEGATIVE_CAPACITY: Final = 10_000  # ids that are not
PAUSE: Final = 1.0  # seconds between two reads of a key whose remembered secret is not the one sent

_MODES: Final = {mode.value: mode for mode in KeyMode}
_NOTHING: Final = bytes(32)  # no HMAC equals it


@dataclass(frozen=True)
class NewKey:
    """A key just made. `text` is shown once, and stays out of `repr`."""

    public_id: str
    mode: KeyMode
    text: str = field(repr=False)

    def digest(self, pepper_key: bytes) -> bytes:
        """What the database keeps of it."""
        return digest_of(self.text[:-CHECK].encode(), pepper_key=pepper_key)


class ParsedKey(NamedTuple):
    """A key whose checksum holds; whether it exists is another question."""

    public_id: str
    mode: KeyMode
    body: bytes  # everything before the checksum: what the HMAC is taken of

    def __repr__(self) -> str:
        """Without the secret."""
        return f"ParsedKey(public_id={self.public_id!r}, mode={self.mode!r})"


@dataclass(frozen=True)
class KeyFacts:
    """What is known of a key: one row, as it was when it was read.

    Attributes:
        scopes: what it may be used for; None for all that its license allows.
        networks: where it may be used from; none for anywhere.
        previous_digest: of the secret before the last rotation, good until `previous_not_after`.
    """

    id: UUID
    public_id: str
    tenant_id: UUID
    license_id: UUID
    mode: KeyMode
    digest: bytes = field(repr=False)
    pepper_version: int
    expires_at: datetime
    revoked_at: datetime | None
    scopes: frozenset[str] | None = None
    networks: tuple[Network, ...] = ()
    previous_digest: bytes = field(default=_NOTHING, repr=False)
    previous_pepper_version: int = 0
    previous_not_after: datetime | None = None

    @property
    def charged(self) -> bool:
        """Calls with a test key are counted and never charged."""
        return self.mode is KeyMode.LIVE


Reader = Callable[[str], KeyFacts | None]


def generate(mode: KeyMode, public_id: str | None = None) -> NewKey:
    """A new key, or a new secret of the one that is named, by the system's random source."""
    public_id = public_id or "".join(secrets.choice(DIGITS) for _ in range(ID))
    secret = base62(secrets.randbits(256), SECRET)
    body = f"pck_{mode.value}_{public_id}_{secret}"
    return NewKey(public_id, mode, body + checksum(body))


def parse(text: str) -> ParsedKey:
    """Take a key apart, after its checksum held. Reads nothing but `text`.

    Raises:
        CredentialError: `key.malformed`.
    """
    if shaped(text) is not None:
        body = text[:-CHECK].encode()
        if told(crc32(body)) == text[-CHECK:]:
            return ParsedKey(text[9:19], _MODES[text[4:8]], body)
    raise CredentialError("this is not an API key", code="key.malformed")


def digest_of(body: bytes, *, pepper_key: bytes) -> bytes:
    """What the database keeps of a key: HMAC-SHA-256 (32 bytes) of all before its checksum.

    RFC 2104, section 4: the two blocks that the key alone makes are hashed once a pepper.
    """
    inner, outer = _keyed(pepper_key)
    within = inner.copy()
    within.update(body)
    whole = outer.copy()
    whole.update(within.digest())
    return whole.digest()  # type: ignore[no-any-return]  # bytes


@lru_cache(maxsize=64)
def _keyed(pepper_key: bytes) -> tuple[Any, Any]:
    block = pepper_key.ljust(64, b"\0")  # of SHA-256; a pepper has 32 bytes
    inner, outer = bytes(byte ^ 0x36 for byte in block), bytes(byte ^ 0x5C for byte in block)
    return sha256(inner), sha256(outer)


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
        self._reread: Aging[str, None] = Aging(negative_capacity)

    def find(self, public_id: str, read: Reader) -> KeyFacts | None:
        """The facts of a key, or None if there is no such key; `read` asks the database."""
        return self.found(public_id, read)[0]

    def found(self, public_id: str, read: Reader) -> tuple[KeyFacts | None, bool]:
        """As `find`; and whether the facts were remembered, and not read now."""
        began = self._clock()
        alive = began - self._life
        known = self._known.get(public_id, alive)
        if known is not None:
            return known[0], True
        if self._unknown.get(public_id, alive) is not None:
            return None, True
        return self._read(public_id, read, began), False

    def reread(self, public_id: str, read: Reader) -> KeyFacts | None:
        """The facts as they are now; None if there are none, or if they were just read again.

        A secret that was rotated a moment ago, elsewhere, is not known here yet. Whoever sends
        wrong ones costs one read a key and `PAUSE`, whether there is such a key or not.
        """
        began = self._clock()
        if self._reread.get(public_id, began - PAUSE) is not None:
            return None
        self._reread.put(public_id, began, None)
        return self._read(public_id, read, began)

    def _read(self, public_id: str, read: Reader, began: float) -> KeyFacts | None:
        facts = read(public_id)
        if facts is None:
            self._unknown.put(public_id, began, None)
        else:
            self._known.put(public_id, began, facts)
        return facts

    def drop(self, public_id: str) -> None:
        """Forget a key: what became of it was just committed here."""
        self._known.drop(public_id)
        self._unknown.drop(public_id)

    def clear(self) -> None:
        """Forget every key."""
        self._known.clear()
        self._unknown.clear()
        self._reread.clear()


CACHE: Final = KeyCache()


def authenticate(text: str, *, cache: KeyCache = CACHE) -> KeyFacts:
    """Whose key this is. That it was revoked or has expired is for `gateway.licensing` to judge.

    Raises:
        CredentialError: `key.malformed`, or `key.unknown` for a wrong id and a wrong secret alike.
    """
    parsed = parse(text)  # 1
    facts, remembered = cache.found(parsed.public_id, read_key)  # 2
    matches = _matches(parsed, facts)  # 3
    if not matches and remembered:
        facts = cache.reread(parsed.public_id, read_key)  # 4
        matches = _matches(parsed, facts)
    if facts is None or not matches:
        raise CredentialError("there is no such API key", code="key.unknown")
    return facts


# Compared with where there is no key: nothing equals it.
_NOBODY: Final = KeyFacts(
    id=UUID(int=0),
    public_id="",
    tenant_id=UUID(int=0),
    license_id=UUID(int=0),
    mode=KeyMode.LIVE,
    digest=_NOTHING,
    pepper_version=0,
    expires_at=datetime.min.replace(tzinfo=UTC),
    revoked_at=None,
)


def _matches(parsed: ParsedKey, facts: KeyFacts | None) -> bool:
    """Whether the secret is the key's, or the one before it in its time.

    An unknown id is compared too, with what nothing equals, and so is the previous secret of a key
    that has none: each takes the same time.
    """
    known = _NOBODY if facts is None else facts
    offered = digest_of(
        parsed.body, pepper_key=_NOTHING if facts is None else pepper(facts.pepper_version)
    )
    matches = compare_digest(offered, known.digest)
    if known.previous_pepper_version != known.pepper_version and known.previous_pepper_version:
        offered = digest_of(parsed.body, pepper_key=pepper(known.previous_pepper_version))
    if compare_digest(offered, known.previous_digest):
        until = known.previous_not_after
        matches = matches or (until is not None and timezone.now() < until)
    return matches and known.mode is parsed.mode and facts is not None


def read_key(public_id: str) -> KeyFacts | None:
    """One key's row; asked for without a scope, since only the key says whose it is.

    Whether there is such a key is asked by hand, at a fifth of what the ORM takes: that is all
    that a scanner's guesses cost.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM gateway_apikey WHERE public_id = %s", [public_id])
        if cursor.fetchone() is None:
            return None
    with across_tenants(reason="a key says whose it is"):
        row = (
            ApiKey.objects.filter(public_id=public_id)
            .values_list(
                "id", "public_id", "tenant_id", "license_id", "mode", "digest", "pepper_version",
                "expires_at", "revoked_at", "scopes", "addresses", "previous_digest",
                "previous_pepper_version", "previous_not_after",
            )
            .first()
        )  # fmt: skip
    if row is None:
        return None
    (
        key, name, tenant, license_, mode, digest, version, expires, revoked, scopes, addresses,
        previous, previous_version, until,
    ) = row  # fmt: skip
    return KeyFacts(
        key,
        name,
        tenant,
        license_,
        KeyMode(mode),
        bytes(digest),
        version,
        expires,
        revoked,
        scopes=None if scopes is None else frozenset(scopes),
        networks=parsed_networks(addresses),
        previous_digest=_NOTHING if previous is None else bytes(previous),
        previous_pepper_version=previous_version or 0,
        previous_not_after=until,
    )
