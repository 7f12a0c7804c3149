"""The rows of one SQL query, from PostgreSQL or MySQL, as Parquet.

The query runs in a read-only transaction, streamed by a cursor on the server: memory does not grow
with the result. One statement that only reads is taken; what else its user could reach (functions,
files of the server) the operator bounds by the rights of the user that the source names.
"""

import datetime as dt
import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any, Final
from urllib.parse import unquote

from governance.sources.config import Source, SourceError

ROWS: Final = 4096  # fetched at a time
_CONNECT_SECONDS: Final = 15
_LONGEST_SECONDS: Final = 3600  # a query that runs longer is stopped by its server


def files(source: Source, selection: str) -> list[Iterator[bytes]]:
    """One Parquet file: the result of `selection`, a query. It runs when the bytes are asked for.

    Raises:
        SourceError: while read: `source.unreachable`; `source.query_refused` with the server's
            own code (SQLSTATE or error number), not its words.
    """
    rows = _postgresql if source.url.scheme.startswith("postgres") else _mysql
    return [_parquet(rows(source, selection))]


def _parquet(rows: Iterator[tuple[list[str], list[tuple[Any, ...]]]]) -> Iterator[bytes]:
    from governance.tables.writing import ParquetChunkWriter  # noqa: PLC0415 - pyarrow is slow

    written = _Pieces()
    writer: ParquetChunkWriter | None = None
    for names, records in rows:
        if writer is None:
            if len(set(names)) < len(names):
                raise SourceError(
                    "two columns of the result have one name", code="source.columns_ambiguous"
                )
            writer = ParquetChunkWriter(written, names)
        turned = zip(*records, strict=True) if records else ([] for _ in names)
        writer.write(
            {
                name: [_text(value) for value in values]
                for name, values in zip(names, turned, strict=True)
            }
        )
        yield written.take()
    if writer is None:
        raise SourceError("the query answers with no columns", code="source.query_refused")
    writer.close()
    yield written.take()


class _Pieces:
    """What a writer wrote since it was last taken."""

    def __init__(self) -> None:
        self._held: list[bytes] = []

    def write(self, data: bytes, /) -> int:
        self._held.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        taken = b"".join(self._held)
        self._held.clear()
        return taken


def _text(value: Any) -> str | None:
    """A value as it would stand in a file of text; None where there is none."""
    match value:
        case None | str():
            return value
        case bool():
            return "true" if value else "false"
        case bytes() | bytearray() | memoryview():
            return bytes(value).hex()
        case dt.datetime() | dt.date() | dt.time():
            return value.isoformat()
        case dict() | list() | tuple():
            return json.dumps(value, ensure_ascii=False, default=str)
        case _:
            return str(value)


def _postgresql(source: Source, query: str) -> Iterator[tuple[list[str], list[tuple[Any, ...]]]]:
    import psycopg  # noqa: PLC0415 - who uploads files needs no driver
    from psycopg import sql  # noqa: PLC0415 - as above

    address = source.url._replace(scheme="postgresql").geturl()
    try:
        connection = psycopg.connect(address, connect_timeout=_CONNECT_SECONDS)
    except (psycopg.Error, ValueError):
        raise SourceError("this source does not answer", code="source.unreachable") from None
    with closing(connection):
        try:
            connection.read_only = True
            with connection.cursor() as setting:
                setting.execute(
                    sql.SQL("SET statement_timeout = {}").format(_LONGEST_SECONDS * 1000)
                )
            # The extended protocol takes one statement; the cursor below takes only a reading one.
            prepared = connection.pgconn.prepare(b"", query.encode())
            if prepared.status != psycopg.pq.ExecStatus.COMMAND_OK:
                state = prepared.error_field(psycopg.pq.DiagnosticField.SQLSTATE) or b""
                raise _refused(state.decode("ascii", "replace"))
            with connection.cursor(name="portcullis") as cursor:
                cursor.itersize = ROWS
                cursor.execute(query.encode())
                names = [column.name for column in cursor.description or ()]
                yield names, []
                while records := cursor.fetchmany(ROWS):
                    yield names, records
        except psycopg.Error as error:
            raise _refused(error.sqlstate or "") from None


def _mysql(source: Source, query: str) -> Iterator[tuple[list[str], list[tuple[Any, ...]]]]:
    import pymysql  # noqa: PLC0415 - as above
    from pymysql.cursors import SSCursor  # noqa: PLC0415 - as above

    url = source.url
    try:
        connection = pymysql.connect(
            host=url.hostname or "127.0.0.1",
            port=url.port or 3306,
            user=unquote(url.username or ""),
            password=unquote(url.password or ""),
            database=unquote(url.path.lstrip("/")) or None,
            charset="utf8mb4",
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=_LONGEST_SECONDS,
            cursorclass=SSCursor,
            ssl={"check_hostname": True} if source.options.get("tls") == "require" else None,
        )
    except (pymysql.Error, OSError):
        raise SourceError("this source does not answer", code="source.unreachable") from None
    with closing(connection):
        try:
            with connection.cursor() as cursor:
                cursor.execute("START TRANSACTION READ ONLY")
                # pymysql leaves multiple statements off: the server takes one.
                cursor.execute(query)
                names = [column[0] for column in cursor.description or ()]
                yield names, []
                while records := cursor.fetchmany(ROWS):
                    yield names, list(records)
        except (pymysql.Error, OSError) as error:
            raise _refused(_number(error.args)) from None


def _number(arguments: Sequence[Any]) -> str:
    return str(arguments[0]) if arguments and isinstance(arguments[0], int) else ""


def _refused(code: str) -> SourceError:
    return SourceError(
        f"the source refused the query ({code})" if code else "the source refused the query",
        code="source.query_refused",
    )
