"""A key for each data subject: the log's private facts rest under it, and vanish with it.

key_ref = tenant id ‖ ":" ‖ subject reference       (a keyed hash or a row's id, never a name)
sealed  = as a wrapped key (`keyring`), under a key derived from the subject's 32 random bytes
"""

import os
from typing import Final
from uuid import UUID

from django.db import IntegrityError, transaction

from governance.errors import ErasedError, SealError, SuiteError
from governance.keyring import derive, subject_key_context, unwrap_key, wrap_key
from governance.models import SubjectKey, Tenant
from governance.scoping import tenant_scope
from governance.suites import Suite, suite
from governance.tenant_keys import KeyPurpose, current_key, key_of_version

_LENGTH: Final = 32  # of the random bytes that a subject's sealing keys are derived from


def subject_key_ref(tenant_id: UUID, subject_ref: str) -> str:
    """How the log names the key of one data subject of one tenant."""
    return f"{tenant_id}:{subject_ref}"


class StoredSubjectKeys:
    """Subjects' keys in rows; satisfies `audit.redaction.SubjectKeys`.

    No subject's key is kept in memory: once its row is deleted, nothing opens what it sealed.
    """

    def seal(self, key_ref: str, plaintext: bytes, aad: bytes) -> bytes:
        """Encrypt under the subject's key, which is made at first use in the same transaction.

        Raises:
            SealError: `key_ref` names no tenant.
        """
        tenant = _tenant(key_ref)
        subject_ref = _subject(key_ref)
        with tenant_scope(tenant.id):
            row = SubjectKey.objects.filter(subject_ref=subject_ref).first()
            row = row or _create(tenant, subject_ref)
        chosen = current_key(tenant, KeyPurpose.KEK).suite
        return wrap_key(chosen, _sealing_key(row, chosen), plaintext, aad)

    def open(self, key_ref: str, sealed: bytes, aad: bytes) -> bytes:
        """Decrypt.

        Raises:
            ErasedError: the subject's key is gone.
            SealError: the bytes or `aad` are not what was sealed.
        """
        with tenant_scope(_tenant(key_ref).id):
            row = SubjectKey.objects.filter(subject_ref=_subject(key_ref)).first()
        if row is None:
            raise ErasedError("the key of this data subject was deleted")
        try:
            chosen = suite(sealed[0])
        except (IndexError, SuiteError):
            raise SealError from None
        return unwrap_key(_sealing_key(row, chosen), sealed, aad)


def _create(tenant: Tenant, subject_ref: str) -> SubjectKey:
    kek = current_key(tenant, KeyPurpose.KEK)
    context = subject_key_context(str(tenant.id), subject_ref, kek.version)
    wrapped = wrap_key(kek.suite, kek.key, os.urandom(_LENGTH), context)
    named = {"tenant": tenant, "subject_ref": subject_ref}
    try:
        with transaction.atomic():
            made: SubjectKey = SubjectKey.objects.create(
                **named, wrapped=wrapped, kek_version=kek.version
            )
    except IntegrityError:  # another process was faster
        made = SubjectKey.objects.get(**named)
    return made


def _sealing_key(row: SubjectKey, chosen: Suite) -> bytes:
    kek = key_of_version(row.tenant_id, KeyPurpose.KEK, row.kek_version)
    context = subject_key_context(str(row.tenant_id), row.subject_ref, row.kek_version)
    secret = unwrap_key(kek.key, bytes(row.wrapped), context)
    return derive(chosen, secret, "subject", chosen.slug, chosen.key_length)


def _tenant(key_ref: str) -> Tenant:
    try:
        return Tenant.objects.get(pk=UUID(key_ref.partition(":")[0]))
    except (ValueError, Tenant.DoesNotExist):
        raise SealError from None


def _subject(key_ref: str) -> str:
    return key_ref.partition(":")[2]
