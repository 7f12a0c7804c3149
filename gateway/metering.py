"""What a call costs, written with the entry that proves it: called inside actions alone.

Quota is taken by one conditional UPDATE, so that no number of processes can admit one call too
many: the row's lock orders them (on SQLite the database's), and each sees what the one before it
left. A test key's call is counted and never charged.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final
from uuid import UUID

from django.db import connection

from audit.errors import DomainError
from gateway import quotas
from gateway.errors import QuotaError, TermsChangedError
from gateway.keys import read_key
from gateway.licensing import Call, Terms, admit
from gateway.models import License
from governance.scoping import across_tenants
from training.models import ModelState, ModelVersion

Taken = tuple[Call, UUID]  # a call, and the version that answered it


# One statement judges and takes: license, key and release as they are when it runs. What cannot be
# asked of a row in SQL (features, purposes, regions, the version) is represented by the number of
# amendments: a call commits under the terms that it was judged by, or not at all. EXISTS and no
# join: a join would move the quota's condition into a subquery, which PostgreSQL does not ask again
# after it has waited for another call's row lock.
_TAKE: Final = """
    UPDATE gateway_license SET used = used + %(units)s
    WHERE id = %(license)s AND customer_id = %(customer)s AND amended = %(amended)s
    AND revoked_at IS NULL AND suspended_at IS NULL
    AND starts_at <= %(at)s AND expires_at > %(at)s
    AND (%(units)s = 0 OR used <= quota - %(units)s)
    AND EXISTS (
        SELECT 1 FROM gateway_apikey AS k
        WHERE k.id = %(key)s AND k.license_id = gateway_license.id
        AND k.revoked_at IS NULL AND k.expires_at > %(at)s
    )
    AND EXISTS (
        SELECT 1 FROM training_modelversion AS v
        WHERE v.id = %(version)s AND v.state = %(released)s
    )
"""


def take(calls: Sequence[Taken], *, at: datetime) -> None:
    """Take the units of calls from their licenses, if these still allow them at `at`.

    Raises:
        CredentialError, LicenseError, QuotaError: the first denial that holds now, of one of them.
        TermsChangedError: none holds, but the terms are not those that it was judged by.
    """
    units: Counter[tuple[UUID, UUID, UUID, int]] = Counter()
    first: dict[tuple[UUID, UUID, UUID, int], Call] = {}
    for call, version in calls:
        # Always in this order: two transactions that lock the same licenses never wait in a circle.
        place = (call.terms.id, call.key.id, version, call.terms.amended)
        units[place] += call.units if call.key.charged else 0
        first.setdefault(place, call)
    with connection.cursor() as cursor:
        for place in sorted(units):
            license_, key, version, amended = place
            named = {
                "license": license_,
                "key": key,
                "version": version,
                "customer": first[place].key.tenant_id,
            }
            cursor.execute(
                _TAKE,
                {
                    **{name: _uuid(value) for name, value in named.items()},
                    "units": units[place],
                    "amended": amended,
                    "at": connection.ops.adapt_datetimefield_value(at),
                    "released": ModelState.RELEASED.value,
                },
            )
            if cursor.rowcount != 1:
                raise _why(first[place], version, at)
    # After the licenses, and in an order of their own: one order of locks for all.
    refused = quotas.take(
        [(one, call.units) for call, _ in calls if call.key.charged for one in call.limits], at=at
    )
    if refused is not None:
        blamed = next(taken for taken in calls if refused in taken[0].limits)
        raise _why(*blamed, at)


def _uuid(value: UUID) -> UUID | str:
    return value if connection.features.has_native_uuid_field else value.hex


def _why(call: Call, version: UUID, at: datetime) -> DomainError:
    """The denial, judged by the rows as they are now."""
    judged = call.terms
    key = read_key(call.key.public_id) or call.key
    with across_tenants(reason="a license is read again to say why it refused"):
        terms = Terms.of(License.objects.get(pk=call.terms.id))
        released = ModelVersion.objects.filter(pk=version, state=ModelState.RELEASED).exists()
    purposes = call.model_purposes if released else None
    limits = quotas.of_key(quotas.read(terms), key.id)
    call = replace(call, key=key, terms=terms, model_purposes=purposes, now=at, limits=limits)
    denial = admit(call)
    if denial is None and terms.amended != judged.amended:
        return TermsChangedError("the license's terms changed meanwhile: send it again")
    # None: another call gave its units back in between; what was refused stays refused.
    return QuotaError("a quota is used up", wait=1) if denial is None else denial.raised(call)
