"""API keys: issued once, shown once, revoked at once."""

from dataclasses import dataclass, field
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from audit.events import Event
from audit.recording import Record, action
from gateway import keys, peppers
from gateway.models import ApiKey, KeyMode, License
from gateway.moments import microseconds
from gateway.seats import check_seat
from governance.errors import ConflictError, InvalidError, NotFoundError, RefusedError
from governance.permissions import Permission
from governance.rbac import UserActor

_LONGEST_NAME = 80


@dataclass(frozen=True)
class Issued:
    """A key's row, and the key itself, which nothing can show again."""

    key: ApiKey
    secret: str = field(repr=False)


@action(Event.KEY_ISSUED, requires=Permission.KEY_ISSUE)
def issue_key(
    record: Record,
    actor: UserActor,
    license_: License,
    *,
    name: str,
    mode: str = KeyMode.LIVE,
    expires_at: datetime | None = None,
) -> Issued:
    """Make a key for the license's customer.

    `name` is what people call it, and stays out of the log. The mode is "live", or "test": counted
    and never charged, so that only the license's owner gives one away. A key ends with its license,
    or before it if told so.

    Raises:
        InvalidError: `key.name_invalid`, `key.mode_unknown`, `key.term_invalid`.
        RefusedError: `key.mode_refused`: a test key is asked for by the customer.
        ConflictError: `license.revoked`, `license.expired`: there is nothing to open;
            `license.seats_taken`.
    """
    now = timezone.now()
    expires_at = expires_at or license_.expires_at
    if not 0 < len(name.strip()) <= _LONGEST_NAME:
        raise InvalidError(
            f"a key's name has 1 to {_LONGEST_NAME} characters",
            code="key.name_invalid",
            pointer="/name",
        )
    if mode not in KeyMode.values:
        raise InvalidError("the modes are live and test", code="key.mode_unknown", pointer="/mode")
    # As it is now, and held: of two keys for the last seat one finds it taken.
    license_ = License.objects.select_for_update(of=("self",)).get(pk=license_.pk)
    if mode == KeyMode.TEST and actor.tenant_id != license_.tenant_id:
        raise RefusedError(
            "only who gave the license issues a key whose calls are not charged",
            code="key.mode_refused",
            pointer="/mode",
        )
    if license_.revoked_at is not None:
        raise ConflictError("the license was revoked", code="license.revoked")
    if license_.expires_at <= now:
        raise ConflictError("the license has expired", code="license.expired")
    if not now < expires_at <= license_.expires_at:
        raise InvalidError(
            "a key ends in the future, and not after its license",
            code="key.term_invalid",
            pointer="/expires_at",
        )
    check_seat(license_)
    made = keys.generate(KeyMode(mode))
    version = peppers.newest_or_first()
    key = ApiKey.objects.create(
        tenant_id=license_.customer_id,
        public_id=made.public_id,
        license=license_,
        name=name.strip(),
        mode=made.mode,
        digest=made.digest(peppers.pepper(version)),
        pepper_version=version,
        expires_at=expires_at,
        issued_by_id=actor.user_id,
    )
    record.facts(key=key.reference, expires=microseconds(expires_at), mode=made.mode.value)
    return Issued(key, made.text)


@action(Event.KEY_REVOKED, requires=Permission.KEY_REVOKE)
def revoke_key(record: Record, actor: UserActor, license_: License, *, key: ApiKey) -> ApiKey:
    """Shut a key. This process refuses it at once, every other within `gateway.aging.LIFE`.

    The license's owner may do this, and its customer.

    Raises:
        NotFoundError: the key is not of this license.
        ConflictError: `key.revoked`: it was revoked before.
    """
    del actor
    if key.license_id != license_.pk:
        raise NotFoundError("there is no such key under this license")
    now = timezone.now()
    if not ApiKey.objects.filter(pk=key.pk, revoked_at__isnull=True).update(revoked_at=now):
        raise ConflictError("this key was revoked already", code="key.revoked")
    key.revoked_at = now
    transaction.on_commit(lambda: keys.CACHE.drop(key.public_id))
    record.facts(key=key.reference)
    return key
