"""The peppers of API keys: random secrets, wrapped by the root key, unwrapped once a process.

A new key is hashed under the newest pepper and remembers its version, so that peppers can be
rotated while keys live. Whoever reads the database cannot test a guess without the root key.
"""

import secrets
from typing import Final

from django.db import transaction
from django.db.models import Max

from gateway.models import Pepper
from governance.errors import KeyVersionError
from governance.keyring import KeyProvider
from governance.suites import joined
from governance.vault import key_provider, register_root_wrapped

LENGTH: Final = 32  # bytes

_opened: dict[int, bytes] = {}


def pepper(version: int) -> bytes:
    """The pepper of this version, from the database and the key provider at first use.

    Raises:
        KeyVersionError: there is no such pepper.
        SealError: it does not open.
    """
    known = _opened.get(version)
    if known is not None:
        return known
    row = Pepper.objects.filter(version=version).first()
    if row is None:
        raise KeyVersionError("there is no such pepper")
    opened = key_provider().unwrap(row.root_version, bytes(row.wrapped), _context(version))
    # A pepper made in a transaction that is then rolled back must not go on being used.
    transaction.on_commit(lambda: _keep(version, opened))
    return opened


def newest() -> int:
    """The newest version; 0 while no key was ever issued."""
    highest: int | None = Pepper.objects.aggregate(highest=Max("version"))["highest"]
    return highest or 0


def newest_or_first() -> int:
    """The newest version, or the first pepper, made now: inside the action that issues a key."""
    version = newest()
    if version:
        return version
    root_version, wrapped = key_provider().wrap(secrets.token_bytes(LENGTH), _context(1))
    Pepper.objects.create(version=1, wrapped=wrapped, root_version=root_version)
    return 1


def rewrap(provider: KeyProvider) -> int:
    """Wrap under the provider's current root key what is still wrapped by an earlier one."""
    current = provider.current_version()
    done = 0
    for row in Pepper.objects.filter(root_version__lt=current):
        opened = provider.unwrap(row.root_version, bytes(row.wrapped), _context(row.version))
        version, wrapped = provider.wrap(opened, _context(row.version))
        done += Pepper.objects.filter(pk=row.pk, root_version=row.root_version).update(
            root_version=version, wrapped=wrapped
        )
    return done


def forget() -> None:
    """Drop what was unwrapped: after a restore, or when a test has emptied the database."""
    _opened.clear()


def _keep(version: int, opened: bytes) -> None:
    _opened[version] = opened


def _context(version: int) -> bytes:
    return joined("portcullis api key pepper", str(version))


register_root_wrapped(rewrap)
