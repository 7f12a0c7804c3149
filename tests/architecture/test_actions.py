"""What changes state is an action, and nothing else writes: on our tree and on planted breaches."""

import importlib
import inspect
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from audit.recording import registry
from gateway.settings.env import BASE_DIR
from tests.architecture.rules import (
    PACKAGES,
    orm_writes,
    undecorated_actions,
    uses,
    writing_functions,
)

LISTED = tomllib.loads((Path(__file__).parent / "bookkeeping.toml").read_text())
BOOKKEEPING = {entry["module"] for entry in LISTED["bookkeeping"]}
INSIDE_ACTIONS = {entry["module"] for entry in LISTED["inside_actions"]}


def _sources() -> Iterator[tuple[str, str]]:
    """Every module of ours but the migrations, as (path, text)."""
    for package in PACKAGES:
        for path in sorted((BASE_DIR / package).rglob("*.py")):
            if "migrations" not in path.parts:
                yield path.relative_to(BASE_DIR).as_posix(), path.read_text()


def _is_actions(path: str) -> bool:
    return path.split("/")[1] == "actions"


def _dotted(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def test_every_public_function_under_actions_is_an_action() -> None:
    found = [
        f"{path}:{finding.line} {finding.what}"
        for path, source in _sources()
        if _is_actions(path) and not path.endswith("__init__.py")
        for finding in undecorated_actions(source)
    ]
    assert found == []


def test_every_action_is_registered() -> None:
    """What the decorator was seen on is also what runs."""
    missing = []
    for path, _source in _sources():
        if not _is_actions(path) or path.endswith("__init__.py"):
            continue
        module = importlib.import_module(_dotted(path))
        public = [
            name
            for name, member in vars(module).items()
            if inspect.isfunction(member)
            and member.__module__ == module.__name__
            and not name.startswith("_")
        ]
        assert public, f"{path} has no action"
        missing += [
            f"{module.__name__}.{name}"
            for name in public
            if f"{module.__name__}.{name}" not in registry()
        ]
    assert missing == []


def test_only_actions_write_rows() -> None:
    found = [
        f"{path}:{finding.line} {finding.what}"
        for path, source in _sources()
        if path not in BOOKKEEPING | INSIDE_ACTIONS
        for finding in orm_writes(source, actions=_is_actions(path))
    ]
    assert found == []


def test_what_actions_share_is_called_from_actions_alone() -> None:
    sources = dict(_sources())
    found = []
    for shared in INSIDE_ACTIONS:
        names = writing_functions(sources[shared])
        found += [
            f"{path}:{finding.line} {finding.what}"
            for path, source in sources.items()
            if path not in INSIDE_ACTIONS | {"audit/recording.py"} and not _is_actions(path)
            for finding in uses(source, _dotted(shared), names)
        ]
    assert found == []


@pytest.mark.parametrize("path", sorted(BOOKKEEPING | INSIDE_ACTIONS))
def test_no_entry_of_the_list_is_idle(path: str) -> None:
    assert orm_writes((BASE_DIR / path).read_text())


def test_the_list_gives_its_reasons() -> None:
    for entries in LISTED.values():
        for entry in entries:
            assert len(entry["reason"]) > 15, entry
    assert not BOOKKEEPING & INSIDE_ACTIONS


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("def seal_dataset(record, actor): ...", "seal_dataset is not an @action"),
        ("async def seal(record): ...", "seal is not an @action"),
        ("@other(Event.X)\ndef seal(record): ...", "seal is not an @action"),
        ("@action\ndef seal(record): ...", "seal is not an @action"),
    ],
)
def test_rule_bites_on_an_unrecorded_action(source: str, what: str) -> None:
    assert [finding.what for finding in undecorated_actions(source)] == [what]


@pytest.mark.parametrize(
    "source",
    [
        "@action(Event.X, requires=P)\ndef seal(record): ...",
        "@recording.action(Event.X, requires=P)\ndef seal(record): ...",
        "def _shared(): ...",
        "class Declared: ...",
    ],
)
def test_rule_lets_an_action_be(source: str) -> None:
    assert undecorated_actions(source) == []


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("dataset.save()", ".save()"),
        ("dataset.save(update_fields=['state'])", ".save()"),
        ("Dataset.objects.create(name='x')", ".create()"),
        ("def view(request):\n    Dataset.objects.filter(pk=1).update(state='x')", ".update()"),
        ("dataset.delete()", ".delete()"),
        ("Dataset.objects.bulk_create(rows)", ".bulk_create()"),
        ("Dataset.objects.bulk_update(rows, ['x'])", ".bulk_update()"),
        ("Dataset.objects.get_or_create(name='x')", ".get_or_create()"),
        ("Dataset.objects.update_or_create(name='x')", ".update_or_create()"),
        ("await dataset.asave()", ".asave()"),
        ("cursor.execute('INSERT INTO t VALUES (1)')", ".execute() of a writing statement"),
        ("cursor.execute('''\n  update t set x = 1''')", ".execute() of a writing statement"),
        ("cursor.execute(f'DELETE FROM {table}')", ".execute() of a writing statement"),
        (
            "SQL = 'REPLACE INTO t'\ncursor.executemany(SQL, rows)",
            ".executemany() of a writing statement",
        ),
        (
            "cursor.execute('WITH a AS (SELECT 1) INSERT INTO t SELECT 1')",
            ".execute() of a writing statement",
        ),
        ("cursor.execute(build())", ".execute() of SQL that is not written here"),
    ],
)
def test_rule_bites_on_a_write(source: str, what: str) -> None:
    wrapped = source if "await" not in source else f"async def view():\n    {source}"
    assert [finding.what for finding in orm_writes(wrapped)] == [what]


@pytest.mark.parametrize(
    "source",
    [
        "digest.update(data)",
        "facts.update(other)",
        "cursor.execute('SELECT 1')",
        "storage.save(name, content)",
        "torch.save(weights, file)",
        "cache.delete(key)",
        "class Model:\n    def save(self, **options):\n        super().save(**options)",
    ],
)
def test_rule_lets_a_read_be(source: str) -> None:
    assert orm_writes(source) == []


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("@action(Event.X, requires=P)\ndef seal(record):\n    row.save()", 0),
        ("def _shared():\n    row.save()", 0),
        ("def seal(record):\n    row.save()", 1),
        ("row.save()", 1),
        ("class Sealer:\n    def seal(self):\n        row.save()", 1),
    ],
)
def test_rule_knows_where_an_actions_module_may_write(source: str, count: int) -> None:
    assert len(orm_writes(source, actions=True)) == count


def test_writing_functions_are_found_through_private_ones() -> None:
    source = (
        "def propose():\n    _insert()\n"
        "def _insert():\n    _row()\n"
        "def _row():\n    row.save()\n"
        "def digest():\n    return 1\n"
        "def register():\n    return propose\n"
    )
    assert writing_functions(source) == {"propose"}


@pytest.mark.parametrize(
    "source",
    [
        "from governance.approvals import propose",
        "from governance import approvals\napprovals.propose()",
        "from governance import approvals as a\na.propose()",
        "import governance.approvals\ngovernance.approvals.propose()",
        "def view():\n    from governance.approvals import propose",
    ],
)
def test_rule_bites_on_a_shared_write_outside_an_action(source: str) -> None:
    assert uses(source, "governance.approvals", frozenset({"propose"}))


@pytest.mark.parametrize(
    "source", ["from governance.approvals import digest", "other.propose()", "propose()"]
)
def test_rule_lets_other_uses_be(source: str) -> None:
    assert not uses(source, "governance.approvals", frozenset({"propose"}))
