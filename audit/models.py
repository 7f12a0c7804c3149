"""The evidence at rest: entries, the queue to the log, the log itself, and sealed private facts.

Every table here is append-only by database trigger (`audit.triggers`), on SQLite and PostgreSQL,
with one exception: a pending leaf is deleted once, when the same leaf stands in the log.

Times are integer microseconds since the Unix epoch, UTC. A tenant, actor or subject is kept as a
value and never as a foreign key, so that evidence outlives whatever it speaks of.
"""

from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

from audit.events import Outcome


class AuditEntry(models.Model):
    """One recorded operation: `body` is the evidence, every other column is derived from it.

    `body` holds the canonical JSON bytes (`audit.canonical`) that the log's leaf hash is taken of.
    The derived columns serve queries alone: a verifier reads the body.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    body = models.BinaryField()
    event = models.CharField(max_length=100, editable=False)
    outcome = models.CharField(
        max_length=10, choices=[(member.value, member.value) for member in Outcome], editable=False
    )
    tenant = models.CharField(max_length=100, null=True, editable=False)
    actor = models.CharField(max_length=150, editable=False)
    subject = models.CharField(max_length=150, null=True, editable=False)
    request_id = models.CharField(max_length=100, null=True, editable=False)
    at = models.BigIntegerField(editable=False)

    class Meta:
        verbose_name_plural = _("audit entries")
        ordering = ["at", "id"]
        indexes = [
            models.Index(fields=["tenant", "at"], name="audit_entry_tenant_at"),
            models.Index(fields=["event", "at"], name="audit_entry_event_at"),
            models.Index(fields=["subject"], name="audit_entry_subject"),
            models.Index(fields=["request_id"], name="audit_entry_request"),
        ]

    def __str__(self) -> str:
        return f"{self.event} {self.outcome} {self.id}"


class PendingLeaf(models.Model):
    """A leaf that waits for the sequencer; written in the transaction of its entry."""

    entry_id = models.UUIDField(primary_key=True, editable=False)
    leaf_hash = models.BinaryField()

    class Meta:
        verbose_name_plural = "pending leaves"

    def __str__(self) -> str:
        return f"pending {self.entry_id}"


class Leaf(models.Model):
    """One leaf of the log: position `index` (dense, from 0) holds the hash of one entry's body."""

    index = models.BigIntegerField(primary_key=True)
    entry_id = models.UUIDField(unique=True, editable=False)
    leaf_hash = models.BinaryField()

    class Meta:
        verbose_name_plural = "leaves"

    def __str__(self) -> str:
        return f"leaf {self.index}"


class Tile(models.Model):
    """A full tile of the tree: 256 hashes, 32 bytes each (C2SP tlog-tiles), and their Merkle root.

    Tile (level, index) holds the nodes of tree level `8 * level` from `256 * index` on. Partial
    tiles are never stored: the right edge is read from the leaves and the roots of full tiles.
    """

    level = models.SmallIntegerField()
    index = models.BigIntegerField()
    hashes = models.BinaryField()
    root = models.BinaryField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["level", "index"], name="audit_tile_level_index"),
        ]

    def __str__(self) -> str:
        return f"tile {self.level}/{self.index}"


class Checkpoint(models.Model):
    """A signed tree head: the C2SP checkpoint note at one tree size."""

    size = models.BigIntegerField(primary_key=True)
    root = models.BinaryField()
    note = models.TextField()
    signed_at = models.BigIntegerField()

    class Meta:
        ordering = ["size"]
        get_latest_by: ClassVar[str] = "size"

    def __str__(self) -> str:
        return f"checkpoint {self.size}"


class PrivateFact(models.Model):
    """A personal value of one entry, sealed under a subject's key with the salt of its commitment.

    The entry's body holds only the commitment (`audit.redaction`); deleting the key named by
    `key_ref` makes this row unreadable and leaves every proof valid.
    """

    entry_id = models.UUIDField(editable=False)
    field = models.CharField(max_length=100, editable=False)
    key_ref = models.CharField(max_length=200, editable=False)
    sealed = models.BinaryField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["entry_id", "field"], name="audit_private_entry_field"),
        ]

    def __str__(self) -> str:
        return f"private {self.entry_id}.{self.field}"
