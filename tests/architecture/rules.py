"""The house rules that read source code, as pure functions over syntax trees."""

import ast
import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from typing_extensions import TypeIs

PACKAGES: Final = ("audit", "governance", "training", "gateway")

# A write when given keywords alone: `dict.update(other)` and `digest.update(data)` take a value.
_KEYWORD_WRITES: Final = frozenset({"save", "create", "update", "delete"})
_WRITES: Final = frozenset(
    {"bulk_create", "bulk_update", "get_or_create", "update_or_create", "_raw_delete"}
)
_DECORATORS: Final = frozenset({"action", "actions_together"})
_ASYNC: Final = frozenset(f"a{name}" for name in _KEYWORD_WRITES | _WRITES)
_SQL_WRITE: Final = re.compile(
    r"^\s*(?:WITH\b.*\b)?(INSERT|UPDATE|DELETE|REPLACE|MERGE|TRUNCATE|COPY)\b",
    re.IGNORECASE | re.DOTALL,
)


@functools.cache
def _tree(source: str) -> ast.Module:
    """The tree of a module: several rules read the same one, and none changes it."""
    return ast.parse(source)


@dataclass(frozen=True)
class Finding:
    """A place where a rule is broken."""

    line: int
    what: str


def undecorated_actions(source: str) -> list[Finding]:
    """Public functions of an `actions` module that are not under `@action`."""
    return [
        Finding(node.lineno, f"{node.name} is not an @action")
        for node in _tree(source).body
        if _is_function(node) and not node.name.startswith("_") and not _is_action(node)
    ]


def orm_writes(source: str, *, actions: bool = False) -> list[Finding]:
    """Calls that write rows.

    Args:
        source: one module.
        actions: whether it is an `actions` module, whose actions and private functions may write.
    """
    tree = _tree(source)
    constants = dict(_constants(tree))
    allowed: set[int] = set()
    if actions:
        for node in tree.body:
            if _is_function(node) and (node.name.startswith("_") or _is_action(node)):
                allowed |= {id(inner) for inner in ast.walk(node)}
    return [
        Finding(node.lineno, what)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and id(node) not in allowed
        for what in _write(node, constants)
    ]


def _write(call: ast.Call, constants: dict[str, str]) -> Iterator[str]:
    if isinstance(call.func, ast.Name) and call.func.id == "insert_rows":  # of audit.rows
        yield "insert_rows()"
    if not isinstance(call.func, ast.Attribute):
        return
    name = call.func.attr
    if name in {"execute", "executemany"}:
        if not call.args:
            return  # not a cursor's
        text = _text(call.args[0], constants)
        if text is None:
            yield f".{name}() of SQL that is not written here"
        elif _SQL_WRITE.match(text):
            yield f".{name}() of a writing statement"
    elif name in _WRITES or (name in _ASYNC and not call.args):
        yield f".{name}()"
    elif name in _KEYWORD_WRITES and not call.args and not _on_super(call.func):
        # `update()` without any keyword writes nothing, and no queryset has it.
        if name == "update" and not call.keywords:
            return
        yield f".{name}()"


def _on_super(function: ast.Attribute) -> bool:
    """`super().save()` is a model's own method: whoever calls that method is looked at."""
    value = function.value
    return (
        isinstance(value, ast.Call)
        and isinstance(value.func, ast.Name)
        and value.func.id == "super"
    )


def _text(node: ast.expr, constants: dict[str, str]) -> str | None:
    """The literal beginning of an SQL argument, or None where it cannot be read."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=[ast.Constant(value=str(text)), *_]):
            return text
        case ast.Name(id=name):
            return constants.get(name)
        case ast.BinOp(left=left):
            return _text(left, constants)
        case ast.Call(func=ast.Attribute(value=value, attr="format")):
            return _text(value, constants)
        case _:
            return None


def _constants(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in tree.body:
        match node:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ):
                text = _text(value, {})
                if text is not None:
                    yield name, text


def _is_function(node: ast.AST) -> TypeIs[ast.FunctionDef | ast.AsyncFunctionDef]:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


def _is_action(node: ast.AST) -> bool:
    """Whether a decorator is `action(...)` or `actions_together(...)`, of whatever module."""
    decorators = getattr(node, "decorator_list", [])
    return any(
        isinstance(decorator, ast.Call)
        and (
            (isinstance(decorator.func, ast.Name) and decorator.func.id in _DECORATORS)
            or (isinstance(decorator.func, ast.Attribute) and decorator.func.attr in _DECORATORS)
        )
        for decorator in decorators
    )


def writing_functions(source: str) -> frozenset[str]:
    """Public top-level functions that write rows, themselves or through others of their module."""
    tree = _tree(source)
    constants = dict(_constants(tree))
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    writing = {
        name
        for name, function in functions.items()
        for node in ast.walk(function)
        if isinstance(node, ast.Call) and any(_write(node, constants))
    }
    grown = True
    while grown:
        more = {
            name
            for name, function in functions.items()
            if name not in writing
            and any(
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in writing
                for node in ast.walk(function)
            )
        }
        writing |= more
        grown = bool(more)
    return frozenset(name for name in writing if not name.startswith("_"))


def uses(source: str, module: str, names: frozenset[str]) -> list[Finding]:
    """Where a module takes one of `names` from `module`, by import or by attribute."""
    if module.rpartition(".")[2] not in source:
        return []  # neither import names it
    tree = _tree(source)
    package, _, last = module.rpartition(".")
    found, aliases = [], set()
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=origin, names=taken) if origin == module:
                found += [
                    Finding(node.lineno, f"imports {module}.{alias.name}")
                    for alias in taken
                    if alias.name in names
                ]
            case ast.ImportFrom(module=origin, names=taken) if origin == package:
                aliases |= {alias.asname or alias.name for alias in taken if alias.name == last}
            case ast.Import(names=taken):
                aliases |= {alias.asname or alias.name for alias in taken if alias.name == module}
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Attribute)
            and node.attr in names
            and ast.unparse(node.value) in aliases
        ):
            found.append(Finding(node.lineno, f"uses {module}.{node.attr}"))
    return found
