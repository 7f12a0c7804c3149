"""Sources on real servers: PostgreSQL, MariaDB, and an S3 server."""

import io
import json
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import boto3
import psycopg
import pymysql
import pytest

from gateway.processes import free_port, wait_for_port
from governance.sources import bucket, query
from governance.sources.config import Source, SourceError, checked
from governance.tables.reading import open_table
from tests.services.conftest import REQUIRED

ROWS = 10_000  # more than one fetch
NAME = "王小明 O'Neil"
Answer = TypeVar("Answer")


def read(source: Source, selection: str) -> dict[str, list[str | None]]:
    """The rows of a query's one file, by column."""
    [pieces] = query.files(source, selection)
    table = open_table(io.BytesIO(b"".join(pieces)))
    columns: dict[str, list[str | None]] = {name: [] for name in table.columns}
    for chunk in table.chunks():
        for name, cells in chunk.columns.items():
            columns[name] += cells
    return columns


def code_of(run: Callable[[], object]) -> tuple[str, str]:
    """The stable code and the sentence of a refusal."""
    with pytest.raises(SourceError) as refused:
        run()
    return refused.value.stable_code, refused.value.detail


@pytest.fixture(scope="module")
def people(database_url: str) -> Source:
    """A table of people on PostgreSQL."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE people AS SELECT i AS id, %s || i AS name, i %% 2 = 0 AS member,"
            " i * 1.50 AS amount, DATE '1899-01-01' + i AS born, NULL::text AS nothing,"
            " '' AS empty, jsonb_build_object('a', i) AS extra FROM generate_series(1, %s) AS i",
            [NAME, ROWS],
        )
    return checked("warehouse", database_url)


def test_a_query_on_postgresql_comes_whole(people: Source) -> None:
    columns = read(people, "SELECT * FROM people ORDER BY id")
    assert {name: len(cells) for name, cells in columns.items()} == dict.fromkeys(
        ("id", "name", "member", "amount", "born", "nothing", "empty", "extra"), ROWS
    )
    assert [cells[1] for cells in columns.values()] == [
        "2", f"{NAME}2", "true", "3.00", "1899-01-03", None, "", '{"a": 2}'
    ]  # fmt: skip


def test_a_query_without_rows_keeps_its_columns(people: Source) -> None:
    [pieces] = query.files(people, "SELECT id, name FROM people WHERE id < 0")
    assert b"".join(pieces).startswith(b"PAR1")


@pytest.mark.parametrize(
    "selection",
    [
        "DELETE FROM people",
        "SELECT 1; DELETE FROM people",
        "SELECT 1; COMMIT; BEGIN READ WRITE; DELETE FROM people",
        "WITH gone AS (DELETE FROM people RETURNING *) SELECT * FROM gone",
        "CREATE TABLE stolen AS SELECT * FROM people",
        "SELECT name::int FROM people",  # the server's own words would quote a name
        "SELECT * FROM nowhere",
        "",
        "this is no query",
    ],
)
def test_a_query_that_is_none_or_writes_is_refused_and_changes_nothing(
    people: Source, selection: str
) -> None:
    code, detail = code_of(lambda: read(people, selection))
    assert code == "source.query_refused"
    assert "王小明" not in detail
    assert read(people, "SELECT count(*) AS n FROM people") == {"n": [str(ROWS)]}


def test_two_columns_of_one_name_are_refused(people: Source) -> None:
    code, _ = code_of(lambda: read(people, "SELECT name, name FROM people"))
    assert code == "source.columns_ambiguous"


@pytest.mark.parametrize("scheme", ["postgresql", "mysql"])
def test_a_server_that_is_away_is_told_without_its_password(scheme: str) -> None:
    source = checked("away", f"{scheme}://reader:hunter2@127.0.0.1:{free_port()}/x")
    code, detail = code_of(lambda: read(source, "SELECT 1 AS one"))
    assert (code, "hunter2" in detail) == ("source.unreachable", False)


@pytest.fixture(scope="module")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Source]:
    """A server of our own, with a table of people, and a user who may only read it."""
    if shutil.which("mariadbd") is None:
        _lacking("MariaDB is not installed")
    home = tmp_path_factory.mktemp("mariadb")
    port = free_port()
    subprocess.run(
        ["mariadb-install-db", "--no-defaults", f"--datadir={home / 'data'}", "--user=root",
         "--auth-root-authentication-method=normal", "--skip-test-db"],
        check=True, capture_output=True,
    )  # fmt: skip
    command = ["mariadbd", "--no-defaults", f"--datadir={home / 'data'}", "--user=root",
               f"--socket={home / 'socket'}", f"--port={port}", "--bind-address=127.0.0.1",
               f"--pid-file={home / 'pid'}"]  # fmt: skip
    with _running(command):
        wait_for_port("127.0.0.1", port, seconds=60)
        administrator = pymysql.connect(
            unix_socket=str(home / "socket"), user="root", autocommit=True
        )
        with administrator, administrator.cursor() as cursor:
            for statement in (
                "CREATE DATABASE shop CHARACTER SET utf8mb4",
                "CREATE TABLE shop.people (id INT, name VARCHAR(80), amount DECIMAL(9,2))",
                "ALTER TABLE shop.people ADD (born DATE, nothing TEXT, empty VARCHAR(9))",
                "CREATE USER reader@'127.0.0.1' IDENTIFIED BY 'p@ss word'",
                "GRANT SELECT, DELETE ON shop.* TO reader@'127.0.0.1'",
            ):
                cursor.execute(statement)
            cursor.executemany(
                "INSERT INTO shop.people VALUES (%s, %s, %s, '1899-01-03', NULL, '')",
                [(i, f"{NAME}{i}", i * 1.5) for i in range(ROWS)],
            )
        yield checked("shop", f"mysql://reader:p%40ss%20word@127.0.0.1:{port}/shop")


def test_a_query_on_mysql_comes_whole(mariadb: Source) -> None:
    columns = read(mariadb, "SELECT * FROM people ORDER BY id")
    assert {len(cells) for cells in columns.values()} == {ROWS}
    assert {name: cells[2] for name, cells in columns.items()} == {
        "id": "2", "name": f"{NAME}2", "amount": "3.00", "born": "1899-01-03", "nothing": None,
        "empty": "",
    }  # fmt: skip


@pytest.mark.parametrize(
    "selection",
    ["DELETE FROM people", "SELECT 1; DELETE FROM people", "SELECT * FROM nowhere", ""],
)
def test_on_mysql_too_only_reading_queries_run(mariadb: Source, selection: str) -> None:
    assert code_of(lambda: read(mariadb, selection))[0] == "source.query_refused"
    assert read(mariadb, "SELECT count(*) AS n FROM people") == {"n": [str(ROWS)]}


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Source]:
    """An S3 server of our own, with objects under two prefixes."""
    home = tmp_path_factory.mktemp("s3")
    key, secret = "portcullis", secrets.token_urlsafe(20)
    reader = {
        "name": "reader",
        "credentials": [{"accessKey": key, "secretKey": secret}],
        "actions": ["Admin", "Read", "Write", "List"],
    }
    (home / "s3.json").write_text(json.dumps({"identities": [reader]}))
    port = free_port()
    ports = {name: free_port() for name in ("master", "volume", "filer")}
    command = ["weed", "server", f"-dir={home}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3",
               f"-s3.port={port}", f"-s3.config={home / 's3.json'}", "-volume.max=20",
               "-master.volumeSizeLimitMB=64",
               *(f"-{name}.port={at}" for name, at in ports.items()),
               *(f"-{name}.port.grpc={free_port()}" for name in ports),
               f"-s3.port.grpc={free_port()}"]  # fmt: skip
    address = f"s3://{key}:{secret}@lake/exports/?endpoint=http://127.0.0.1:{port}&region=eu"
    with _running(command):
        client = boto3.client(
            "s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="eu",
            aws_access_key_id=key, aws_secret_access_key=secret,
        )  # fmt: skip
        _answering(lambda: client.create_bucket(Bucket="lake"))
        for name in (
            "exports/day/b.csv",
            "exports/day/a.csv",
            "exports/_SUCCESS",
            "exports/day/.x",
        ):
            client.put_object(Bucket="lake", Key=name, Body=name.encode() * 3)
        client.put_object(Bucket="lake", Key="private/c.csv", Body=b"secret")
        yield checked("lake", address)


@pytest.mark.parametrize(
    ("selection", "read"),
    [
        ("", ["exports/day/a.csv", "exports/day/b.csv"]),
        ("day/b", ["exports/day/b.csv"]),
        ("/day/", ["exports/day/a.csv", "exports/day/b.csv"]),
    ],
)
def test_the_objects_under_a_prefix_come_in_order(
    lake: Source, selection: str, read: list[str]
) -> None:
    got = [b"".join(pieces) for pieces in bucket.files(lake, selection)]
    assert got == [name.encode() * 3 for name in read]


@pytest.mark.parametrize("selection", ["../private/", "private/", "nothing"])
def test_a_prefix_stays_inside_the_sources(lake: Source, selection: str) -> None:
    assert code_of(lambda: bucket.files(lake, selection))[0] == "source.nothing_there"


def test_a_wrong_secret_is_an_error_that_holds_none(lake: Source) -> None:
    wrong = checked("lake", lake.url.geturl().replace(lake.url.password or "", "hunter2"))
    code, detail = code_of(lambda: bucket.files(wrong, ""))
    assert (code, "hunter2" in detail) == ("source.unreadable", False)


def test_an_object_replaced_after_the_listing_is_an_error(lake: Source) -> None:
    [pieces] = bucket.files(lake, "day/b")
    options = lake.options
    client = boto3.client(
        "s3", endpoint_url=options["endpoint"], region_name="eu",
        aws_access_key_id=lake.url.username, aws_secret_access_key=lake.url.password,
    )  # fmt: skip
    client.put_object(Bucket="lake", Key="exports/day/b.csv", Body=b"other")
    try:
        assert code_of(lambda: next(pieces))[0] == "source.unreadable"
    finally:
        name = "exports/day/b.csv"
        client.put_object(Bucket="lake", Key=name, Body=name.encode() * 3)


def _lacking(reason: str) -> None:
    if REQUIRED:
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def _running(command: list[str]) -> Iterator[None]:
    program = Path(".venv/bin") / command[0]
    if program.exists():
        command = [str(program), *command[1:]]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answering(ask: Callable[[], Answer]) -> Answer:
    """What a server that has just been started answers, once it does."""
    until = time.monotonic() + 60
    while True:
        try:
            return ask()
        except Exception:
            if time.monotonic() > until:
                raise
            time.sleep(0.3)
