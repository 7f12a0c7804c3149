"""Organizations, and the purposes that they process personal data for."""

import uuid
from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

from governance.scoping import TenantOwned


class Suite(models.TextChoices):
    """The cipher suite of everything a tenant seals: international, or the Chinese national one."""

    INTERNATIONAL = "aes-gcm", "AES-256-GCM / HMAC-SHA-256"
    CHINESE = "sm4-gcm", "SM4-GCM / HMAC-SM3"


class LegalBasis(models.TextChoices):
    """GDPR Art. 6(1) and PIPL Art. 13; PIPL knows no legitimate interests."""

    CONSENT = "consent", _("consent")
    CONTRACT = "contract", _("contract")
    LEGAL_OBLIGATION = "legal_obligation", _("legal obligation")
    VITAL_INTERESTS = "vital_interests", _("vital interests")
    PUBLIC_TASK = "public_task", _("public task")
    LEGITIMATE_INTERESTS = "legitimate_interests", _("legitimate interests")


class Tenant(models.Model):
    """An organization: a provider of data and models, a customer of them, or both."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    slug = models.SlugField(_("slug"), max_length=60, unique=True)
    name = models.CharField(_("name"), max_length=120)
    is_provider = models.BooleanField(_("provider"), default=False)
    is_customer = models.BooleanField(_("customer"), default=False)
    suite = models.CharField(
        _("cipher suite"), max_length=20, choices=Suite.choices, default=Suite.INTERNATIONAL
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        verbose_name = _("tenant")
        verbose_name_plural = _("tenants")
        ordering = ["slug"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(is_provider=True) | models.Q(is_customer=True),
                name="tenant_is_something",
            )
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def reference(self) -> str:
        """The id that the log holds."""
        return f"tenant:{self.id}"

    @property
    def tenant_id(self) -> uuid.UUID:
        """A tenant belongs to itself."""
        return self.id

    @property
    def tenant_reference(self) -> str:
        """The tenant as the log holds it."""
        return str(self.id)


class Purpose(TenantOwned):
    """Why a tenant processes personal data. What is not declared here is refused."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    slug = models.SlugField(_("slug"), max_length=60)
    title = models.CharField(_("title"), max_length=200)
    legal_basis = models.CharField(_("legal basis"), max_length=40, choices=LegalBasis.choices)
    created_at = models.DateTimeField(_("declared"), auto_now_add=True)

    natural_key_field: ClassVar[str] = "slug"

    class Meta:
        verbose_name = _("purpose")
        verbose_name_plural = _("purposes")
        ordering = ["slug"]
        constraints = [
            models.UniqueConstraint(fields=["tenant", "slug"], name="purpose_once_a_tenant")
        ]

    def __str__(self) -> str:
        return self.slug

    @property
    def reference(self) -> str:
        """The id that the log holds."""
        return f"purpose:{self.id}"
