"""Reading a sealed version back: the treated rows, in order, a frame at a time.

Everything that reads anonymized rows reads them here, so that how a version is stored is known in
one place. A version's object is a manifest of sealed row groups; that of a version from before row
groups is the rows themselves.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from governance.errors import ObjectMissingError, SealError
from governance.manifests import LARGEST, Entry, Manifest
from governance.models import DatasetVersion, StoredObject
from governance.stages import MANIFEST
from governance.vault import open_object

if TYPE_CHECKING:
    import polars as pl


def frames(version: DatasetVersion) -> "Iterator[pl.DataFrame]":
    """The treated rows of a version, in the order in which they came.

    Args:
        version: a sealed one, of a tenant that the open scope reaches.

    Yields:
        Frames of up to some ten thousand rows, all of the version's columns; none where the
        version has no rows.

    Raises:
        ObjectMissingError: sealed bytes are not in storage.
        SealError: they are not what was sealed, or the scope is another tenant's.
        TableError: `table.not_parquet`.
    """
    from governance.tables.writing import read_version  # noqa: PLC0415 - pyarrow is slow

    for entry in entries(version):
        with open_object(_stored(version, entry)) as file:
            rows = 0
            for frame in read_version(file):
                rows += frame.height
                yield frame
        if rows != entry.rows:
            raise SealError


def entries(version: DatasetVersion) -> tuple[Entry, ...]:
    """The sealed groups of a version; one from before row groups is a single group.

    Raises:
        ObjectMissingError: the manifest is not in storage.
        SealError: it is not what was sealed, or not this version's.
    """
    if version.stored.kind != MANIFEST:
        return (Entry(version.stored_id, version.rows, version.digest),)
    if version.stored.size > LARGEST:
        raise SealError
    with open_object(version.stored) as file:
        manifest = Manifest.from_bytes(file.read())
    if manifest.digest != version.digest or manifest.rows != version.rows:
        raise SealError
    return manifest.entries


def _stored(version: DatasetVersion, entry: Entry) -> StoredObject:
    stored = StoredObject.objects.filter(pk=entry.stored, tenant_id=version.tenant_id).first()
    if stored is None:
        raise ObjectMissingError("a row group of this version is gone")
    return stored
