"""Models by setting: language models of the user's own, and when addresses are read by a model.

`PORTCULLIS_NLP_MODELS` maps a language to a spaCy pipeline with a named entity recognizer:
`{"en": "en_core_web_lg", "de": "/models/de"}`. English replaces the model that is shipped; any
other language is read beside it where a text is in that language. A name is an installed package
or a folder; nothing is ever downloaded.

`PORTCULLIS_ADDRESS_MODEL` is `auto`, `on` or `off`. The model reads about 110 texts a second on one
core. Of the characters of American addresses the patterns cover 0.96 and the model adds 0.01; of
British, Australian, German and Spanish ones they cover 0.24, 0.18, 0 and 0, with the model 0.94,
0.96, 1.00 and 0.80. So `auto` switches it on where a regime of such addresses is declared.
"""

import hashlib
import importlib.util
import re
import threading
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from django.conf import settings

from audit.errors import Kind
from governance.errors import GovernanceError
from governance.recognition.languages import LATIN, detect
from governance.recognition.spans import Span

# What models call people and places.
ENTITIES: Final = {
    **dict.fromkeys(("PERSON", "PER", "persName", "PRS"), "PERSON"),
    **dict.fromkeys(("GPE", "LOC", "FAC", "LOCATION", "placeName", "geogName"), "LOCATION"),
}
_UNUSED: Final = ("tagger", "parser", "attribute_ruler", "lemmatizer", "senter", "morphologizer")
_BATCH: Final = 256
_ADDRESSED: Final = frozenset({"eu", "uk", "au", "can", "za", "in", "sg", "ph", "ng"})
_NUMBERED: Final = re.compile(r"(?=.*[0-9])(?=.*[^\W\d_]{3})", re.DOTALL)  # what an address holds
_lock = threading.Lock()  # a pipeline's vocabulary grows while it reads: one thread at a time


class ModelError(GovernanceError):
    """A model that the settings name is not installed, or is no named entity recognizer."""

    code = "recognition.model_missing"
    kind = Kind.INVALID


def configured() -> Mapping[str, str]:
    """Language to the package or folder that the settings name."""
    named: Mapping[str, str] = getattr(settings, "NLP_MODELS", {})
    return named


def missing(named: Mapping[str, str] | None = None) -> list[str]:
    """Languages whose model is neither a folder nor an installed package; loads nothing."""
    return [
        language
        for language, name in (configured() if named is None else named).items()
        if language not in LATIN or not (_is_folder(name) or _is_package(name))
    ]


def check() -> None:
    """Refuse to begin with a model that is not there.

    Raises:
        ModelError: one of the settings' models is missing, or its language is not one we tell.
    """
    absent = missing()
    if absent:
        raise ModelError(f"the model for {absent[0]!r} is not installed")


@cache
def load_model(language: str) -> Any:
    """The user's spaCy pipeline for a language, its tagger and parser left out.

    Raises:
        ModelError: none is set, it does not load, or it names no entities.
    """
    import spacy  # noqa: PLC0415 - only workers load it

    name = configured().get(language)
    if name is None or not (_is_folder(name) or _is_package(name)):
        raise ModelError(f"the model for {language!r} is not installed")
    try:
        pipeline = spacy.load(name, exclude=list(_UNUSED))
    except (AttributeError, ImportError, OSError, ValueError):
        raise ModelError(f"the model for {language!r} does not load") from None
    if not {"ner", "transformer_ner", "gliner_spacy"} & set(pipeline.pipe_names):
        raise ModelError(f"the model for {language!r} names no entities")
    return pipeline


def entities(texts: Sequence[str]) -> list[list[Span]]:
    """PERSON and LOCATION spans by the models of other languages than English.

    Each text is read by the model of the language it is in, if there is one.
    """
    found: list[list[Span]] = [[] for _ in texts]
    others = configured().keys() - {"en"}
    if not others:
        return found
    by_language: dict[str, list[int]] = {}
    for number, text in enumerate(texts):
        language = detect(text)
        if language in others:
            by_language.setdefault(language, []).append(number)
    for language, numbers in by_language.items():
        with _lock:
            documents = list(
                load_model(language).pipe([texts[i] for i in numbers], batch_size=_BATCH)
            )
        for number, document in zip(numbers, documents, strict=True):
            found[number] = [
                Span(entity.start_char, entity.end_char, ENTITIES[entity.label_], 0.85)
                for entity in document.ents
                if entity.label_ in ENTITIES
            ]
    return found


def reads_addresses(regimes: Collection[str]) -> bool:
    """Whether the address model is switched on for a dataset of these regimes."""
    chosen = getattr(settings, "ADDRESS_MODEL", "auto")
    return chosen == "on" or (chosen == "auto" and not _ADDRESSED.isdisjoint(regimes))


def beside(texts: Sequence[str], regimes: Collection[str]) -> list[list[Span]]:
    """What the settings' models find beside the ones that are shipped: one list a text.

    Raises:
        ModelError: a model that the settings ask for is missing.
    """
    found = entities(texts)
    if reads_addresses(regimes):
        from governance.recognition import addresses  # noqa: PLC0415 - only where it is switched on

        numbers = [i for i, text in enumerate(texts) if _NUMBERED.match(text)]
        spans = addresses.model().spans([texts[i] for i in numbers])
        for number, read in zip(numbers, spans, strict=True):
            found[number].extend(read)
    return found


def version() -> str:
    """What the settings choose, for the detector's version: the models' names and metadata.

    Raises:
        ModelError: one is missing.
    """
    check()
    digests = [f"addresses={getattr(settings, 'ADDRESS_MODEL', 'auto')}"]
    for language, name in sorted(configured().items()):
        meta = _meta(name)
        digests.append(f"{language}={name}:{hashlib.sha256(meta).hexdigest()[:16]}")
    return ",".join(digests)


def _is_folder(name: str) -> bool:
    return (Path(name) / "meta.json").is_file()


def _is_package(name: str) -> bool:
    return name.isidentifier() and importlib.util.find_spec(name) is not None


def _meta(name: str) -> bytes:
    if _is_folder(name):
        return (Path(name) / "meta.json").read_bytes()
    spec = importlib.util.find_spec(name)
    folder = Path(spec.origin).parent if spec and spec.origin else Path()
    return b"".join(path.read_bytes() for path in sorted(folder.glob("**/meta.json")))
