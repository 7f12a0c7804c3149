"""Everything that the console says, it says in Chinese as well; every error code has a sentence.

Neither gettext's tools nor a network is needed: sources are read as syntax trees, templates through
Django's own reader, and the compiled catalogs as they are shipped.
"""

import ast
import gettext
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from django.utils.translation.template import templatize

from audit.events import Event, Outcome
from gateway.console import words
from gateway.console.sentences import SENTENCES
from gateway.settings.env import BASE_DIR
from governance.anonymization.operators import GRANULARITIES, OPERATORS
from governance.permissions import ProposalKind, Role
from governance.recognition.plan import Declared, Kind
from training.config import ModelKind

PACKAGES: Final = ("audit", "governance", "training", "gateway")
_CALLS: Final = {"_", "gettext", "gettext_lazy", "ngettext", "ngettext_lazy"}
_TEMPLATED: Final = re.compile(
    r"""\b(?:_|n?gettext)\(u?(?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
)


def _sources(package: str) -> Iterator[Path]:
    for path in sorted((BASE_DIR / package).rglob("*.py")):
        if not {"migrations", "locale"} & set(path.parts):
            yield path


def _said_in_python(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Call(func=ast.Name(id=name), args=[ast.Constant(value=str(text)), *_]) if (
                name in _CALLS
            ):
                yield text


def _said_in_template(path: Path) -> Iterator[str]:
    for match in _TEMPLATED.finditer(templatize(path.read_text(), origin=str(path))):
        yield ast.literal_eval(match["text"])


def _catalog(package: str) -> dict[str, str]:
    path = BASE_DIR / package / "locale" / "zh_Hans" / "LC_MESSAGES" / "django.mo"
    with path.open("rb") as file:
        found = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]  # no public view
    return {key[0] if isinstance(key, tuple) else key: text for key, text in found.items()}


@pytest.fixture(scope="module")
def catalog() -> dict[str, str]:
    merged: dict[str, str] = {}
    for package in PACKAGES:
        merged |= _catalog(package)
    return merged


def _said(package: str) -> set[str]:
    said = {text for path in _sources(package) for text in _said_in_python(path)}
    templates = BASE_DIR / package / "templates"
    for path in sorted(templates.rglob("*.html")) if templates.exists() else []:
        said |= set(_said_in_template(path))
    return said


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_lacks_a_translation(package: str, catalog: dict[str, str]) -> None:
    said = _said(package)
    assert said
    assert sorted(text for text in said if not catalog.get(text)) == []


def test_the_reader_of_templates_finds_what_they_say() -> None:
    page = BASE_DIR / "gateway" / "templates" / "console" / "budget.html"
    said = set(_said_in_template(page))
    assert "Propose another cap" in said
    assert any(text.startswith("%(counter)s run touched") for text in said)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_catalog_says_nothing_that_is_not_said(package: str) -> None:
    """What a catalog holds beyond the sources is unfold's, which translates nothing itself."""
    import unfold

    foreign = set()
    if package == "gateway":
        for path in Path(unfold.__file__).parent.rglob("*.html"):
            foreign |= set(_said_in_template(path))
        for path in Path(unfold.__file__).parent.glob("*.py"):
            foreign |= set(_said_in_python(path))
    assert set(_catalog(package)) - {""} - _said(package) - foreign == set()


def test_placeholders_survive_translation(catalog: dict[str, str]) -> None:
    holder = re.compile(r"%\(\w+\)s")
    for text, translated in catalog.items():
        if text:
            assert set(holder.findall(text)) == set(holder.findall(translated)), text


def test_every_enum_has_its_words() -> None:
    pairs = [
        (words.ROLES, Role), (words.PROPOSALS, ProposalKind), (words.KINDS, Kind),
        (words.DECLARED, Declared), (words.OUTCOMES, Outcome), (words.MODELS, ModelKind),
    ]  # fmt: skip
    for known, enum in pairs:
        assert set(known) == {member.value for member in enum}, enum
    assert set(words.OPERATORS) == set(OPERATORS)
    assert set(words.GRANULARITIES) == set(GRANULARITIES)


# Codes that no person meets in the console: of the API's keys and calls, of servers and commands,
# and faults of ours that are told as "internal".
_ELSEWHERE: Final = re.compile(
    r"(auth|predict|feedback|watch|request|idempotency|http|serving|explanation|process|demo|file|actor|bootstrap"
    r"|auditing|curves|ledger|keys|artifact|randomness|evaluation|scope|job|reveal|crypto|audit|version|error|engine|license_file)\b.*"
    r"|.*\.error"
    r"|key\.(unknown|malformed|unavailable).*|model\.not_found|license\.(other|refused|quota_ex|not_).*"
    r"|permission\.(granted|not_for_keys|not_this_part)|upload\.fields_late"
    r"|feature\.(background_empty|ragged)|tenant\..*"
    r"|run\.(language_unknown|not_private|sample_rate|share|steps|wait_over|cancelled).*"
    r"|budget\.(nothing_spent|spend_invalid)"
)


def _codes() -> Iterator[str]:
    """The literal codes of errors and decisions."""
    shape = re.compile(r"[a-z]+(?:_[a-z]+)*\.[a-z_]+")
    events = {event.value for event in Event}
    for package in PACKAGES:
        for path in _sources(package):
            if "console" in path.parts:
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                match node:
                    case (
                        ast.keyword(arg="code" | "reason", value=ast.Constant(value=str(code)))
                        | ast.Assign(
                            targets=[ast.Name(id="code")], value=ast.Constant(value=str(code))
                        )
                        | ast.Return(value=ast.Constant(value=str(code)))
                    ) if shape.fullmatch(code) and code not in events:
                        yield code


def test_every_code_that_a_person_meets_has_its_sentence() -> None:
    codes = set(_codes())
    assert len(codes) > 150
    lacking = {code for code in codes - set(SENTENCES) if not _ELSEWHERE.fullmatch(code)}
    assert sorted(lacking) == []
