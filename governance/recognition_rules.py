"""A tenant's own rules at rest: sealed editions, of which the newest counts.

The body is sealed under the tenant's key with the edition's identity, and its digest is keyed:
terms are often names, and short enough to be guessed. A retired key version still opens what it
sealed.
"""

import json
import uuid
from typing import Final

from audit.canonical import canonical
from governance.errors import ConflictError
from governance.keyring import unwrap_key, wrap_key
from governance.models import RecognitionRules, Tenant
from governance.recognition.tenant_rules import NO_RULES, RuleBook, TenantRules, compiled
from governance.suites import joined
from governance.tenant_keys import KeyPurpose, current_key, key_of_version, keyed_hash

_KEPT: Final = 64  # compiled editions in one process
_compiled: dict[uuid.UUID, TenantRules] = {}


def newest_rules(tenant: Tenant) -> RecognitionRules | None:
    """The edition that counts now; None where the tenant has no rules."""
    return RecognitionRules.objects.filter(tenant=tenant).order_by("-number").first()


def rules_of(tenant: Tenant) -> TenantRules:
    """The newest edition, ready to run; `NO_RULES` where there is none.

    Raises:
        SealError: whatever is wrong with the sealed body.
    """
    edition = newest_rules(tenant)
    return NO_RULES if edition is None else _ready(edition)


def rules_of_version(tenant: Tenant, version: str) -> TenantRules:
    """The edition that a plan names; `NO_RULES` for "".

    Raises:
        ConflictError: `rules.unknown`: there is no such edition.
        SealError: whatever is wrong with the sealed body.
    """
    if not version:
        return NO_RULES
    number = version.split("-")[1] if version.count("-") == 2 else ""  # noqa: PLR2004 - rules-N-digest
    edition = (
        RecognitionRules.objects.filter(tenant=tenant, number=int(number)).first()
        if number.isdecimal()
        else None
    )
    if edition is None or version_of(edition) != version:
        raise ConflictError("the tenant has no such edition of rules", code="rules.unknown")
    return _ready(edition)


def current_version(tenant: Tenant) -> str:
    """How plans name the newest edition; "" where there are no rules."""
    edition = newest_rules(tenant)
    return "" if edition is None else version_of(edition)


def version_of(edition: RecognitionRules) -> str:
    """How plans name an edition: its number, and enough of its digest to notice another body."""
    return f"rules-{edition.number}-{edition.digest[:12]}"


def book_of(edition: RecognitionRules) -> RuleBook:
    """The rules as the steward wrote them.

    Raises:
        SealError: whatever is wrong with the sealed body.
    """
    key = key_of_version(edition.tenant_id, KeyPurpose.KEK, edition.kek_version)
    body = unwrap_key(key.key, bytes(edition.sealed), _context(edition))
    return RuleBook.from_dict(json.loads(body))


def edition_of(tenant: Tenant, book: RuleBook, *, number: int, by: uuid.UUID) -> RecognitionRules:
    """A sealed edition, not saved yet."""
    key = current_key(tenant, KeyPurpose.KEK)
    body = canonical(book.as_dict())
    edition = RecognitionRules(
        tenant=tenant,
        number=number,
        kek_version=key.version,
        digest=keyed_hash(tenant, "recognition rules", body).hex(),
        finds=len(book.deny) + len(book.patterns),
        allows=len(book.allow),
        created_by_id=by,
    )
    edition.sealed = wrap_key(key.suite, key.key, body, _context(edition))
    return edition


def _context(edition: RecognitionRules) -> bytes:
    parts = (str(edition.tenant_id), str(edition.id), str(edition.kek_version))
    return joined("portcullis recognition rules", *parts)


def _ready(edition: RecognitionRules) -> TenantRules:
    known = _compiled.get(edition.id)
    if known is None:
        known = compiled(book_of(edition), version_of(edition))
        if len(_compiled) >= _KEPT:
            _compiled.clear()
        _compiled[edition.id] = known
    return known
