"""Users, and the roles that they hold for a tenant."""

import uuid

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.utils.translation import gettext_lazy as _

from governance.permissions import Role
from governance.scoping import TenantOwned


class User(AbstractUser):
    """A person who signs in. Roles, not Django's groups or superuser flag, say what they may do."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)

    class Meta:
        verbose_name = _("user")
        verbose_name_plural = _("users")
        ordering = ["username"]

    @property
    def reference(self) -> str:
        """The id that the log holds; never the name."""
        return f"user:{self.id}"


class RoleBinding(TenantOwned):
    """A user holds a role for a tenant, from when it was granted until it is revoked."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="bindings")
    role = models.CharField(
        _("role"), max_length=20, choices=[(role.value, role.value) for role in Role]
    )
    granted_at = models.DateTimeField(_("granted"), auto_now_add=True)
    revoked_at = models.DateTimeField(_("revoked"), null=True, blank=True)

    class Meta:
        verbose_name = _("role")
        verbose_name_plural = _("roles")
        ordering = ["user", "role"]
        constraints = [
            models.UniqueConstraint(
                fields=["user", "tenant", "role"],
                condition=models.Q(revoked_at__isnull=True),
                name="role_held_once",
            ),
            models.CheckConstraint(
                condition=models.Q(role__in=[role.value for role in Role]), name="role_is_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} · {self.role}"

    @property
    def reference(self) -> str:
        """The id that the log holds."""
        return f"role:{self.id}"
