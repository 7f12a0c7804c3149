"""Wrapped keys and the sealed objects that they open. No key stands here in the clear."""

import uuid

from django.db import models
from django.utils.translation import gettext_lazy as _

from governance.scoping import TenantOwned


class TenantKey(TenantOwned):
    """A key of one tenant, wrapped by the root key.

    `purpose` is "kek" (wraps data keys), "hash" (pseudonyms and look-ups) or "token" (AES-SIV).
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    purpose = models.CharField(_("purpose"), max_length=20)
    version = models.PositiveIntegerField(_("version"))
    suite = models.CharField(_("cipher suite"), max_length=20)
    wrapped = models.BinaryField()
    root_version = models.PositiveIntegerField(_("root version"))
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    retired_at = models.DateTimeField(_("retired"), null=True, blank=True)

    class Meta:
        verbose_name = _("tenant key")
        verbose_name_plural = _("tenant keys")
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "purpose", "version"], name="tenant_key_version_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.tenant_id} · {self.purpose} · {self.version}"


class StoredObject(TenantOwned):
    """One sealed object and its wrapped data key."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(_("kind"), max_length=30)  # quarantine, version, artifact, checkpoint
    suite = models.CharField(_("cipher suite"), max_length=20)
    wrapped_key = models.BinaryField()
    kek_version = models.PositiveIntegerField(_("key version"))
    name = models.CharField(_("storage name"), max_length=200, unique=True)
    size = models.BigIntegerField(_("bytes"))
    sealed_size = models.BigIntegerField(_("sealed bytes"))
    digest = models.CharField(_("digest of the sealed bytes"), max_length=64)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        verbose_name = _("stored object")
        verbose_name_plural = _("stored objects")

    def __str__(self) -> str:
        return f"{self.kind} · {self.id}"

    @property
    def reference(self) -> str:
        """The id that the log holds."""
        return f"object:{self.id}"


class SubjectKey(TenantOwned):
    """The key under which one subject's private facts are sealed. Deleting it redacts them all."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    subject_ref = models.CharField(max_length=100)
    wrapped = models.BinaryField()
    kek_version = models.PositiveIntegerField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = _("subject key")
        verbose_name_plural = _("subject keys")
        constraints = [
            models.UniqueConstraint(fields=["tenant", "subject_ref"], name="subject_key_once")
        ]

    def __str__(self) -> str:
        return str(self.id)
