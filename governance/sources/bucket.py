"""Objects under a prefix of an S3 bucket (or of a server that speaks its protocol).

    s3://bucket/prefix?endpoint=https://minio.internal:9000&region=eu-central-1

With a user and a password in the address these are the access key and its secret; without, boto3
asks its own chain (environment, instance role).
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from governance.sources.config import Source, SourceError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PIECE: Final = 1 << 20
MOST_FILES: Final = 10_000
_SECONDS: Final = 60


def files(source: Source, selection: str) -> list[Iterator[bytes]]:
    """The objects whose key begins with the source's prefix and `selection`, in order of key.

    Markers are left out: keys that end in a slash, or whose last part begins with `_` or a dot.
    Each object is read as the listing saw it: one replaced meanwhile is an error.

    Raises:
        SourceError: `source.nothing_there`, `source.too_many_files`, `source.unreadable`; while
            read, the last one again.
    """
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - boto3 is slow

    client = _client(source)
    prefix = source.url.path.lstrip("/") + selection.lstrip("/")
    found: list[tuple[str, str]] = []
    try:
        pages = client.get_paginator("list_objects_v2").paginate(
            Bucket=source.url.hostname or "", Prefix=prefix
        )
        for page in pages:
            found += [
                (item["Key"], item["ETag"])
                for item in page.get("Contents", [])
                if not item["Key"].rpartition("/")[2].startswith(("_", "."))
                and not item["Key"].endswith("/")
            ]
            if len(found) > MOST_FILES:
                raise SourceError(
                    f"more than {MOST_FILES} files are there", code="source.too_many_files"
                )
    except (BotoCoreError, ClientError):
        raise SourceError("this prefix cannot be listed") from None
    if not found:
        raise SourceError("nothing is there", code="source.nothing_there")
    return [_pieces(client, source.url.hostname or "", key, etag) for key, etag in sorted(found)]


def _pieces(client: "S3Client", bucket: str, key: str, etag: str) -> Iterator[bytes]:
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - as above

    try:
        body = client.get_object(Bucket=bucket, Key=key, IfMatch=etag)["Body"]
        with body:
            yield from body.iter_chunks(PIECE)  # raises when the object ends early
    except (BotoCoreError, ClientError, OSError):
        raise SourceError("an object of this source cannot be read") from None


def _client(source: Source) -> "S3Client":
    import boto3  # noqa: PLC0415 - as above
    from botocore.config import Config  # noqa: PLC0415 - as above

    options = source.options
    given: dict[str, Any] = {}
    if source.url.username:
        given = {
            "aws_access_key_id": unquote(source.url.username),
            "aws_secret_access_key": unquote(source.url.password or ""),
        }
    return boto3.session.Session().client(
        "s3",
        endpoint_url=options.get("endpoint"),
        region_name=options.get("region"),
        config=Config(
            connect_timeout=_SECONDS,
            read_timeout=_SECONDS,
            retries={"max_attempts": 3, "mode": "standard"},
            s3={"addressing_style": "path" if "endpoint" in options else "auto"},
        ),
        **given,
    )
