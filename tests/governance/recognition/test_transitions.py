"""The recognizer in numpy gives the entities of spaCy's own, text by text."""

import random
from collections.abc import Callable

import pytest
from faker import Faker

from governance.recognition import presidio, transitions
from tests.governance.recognition.test_persons import ENGLISH, notes


@pytest.fixture(scope="module")
def reader() -> transitions.Reader:
    pipeline = presidio.load_english()
    assert transitions.readable(pipeline)
    return transitions.Reader(pipeline)


def expected(texts: list[str]) -> list[list[transitions.Entity]]:
    return [
        [(entity.start_char, entity.end_char, entity.label_) for entity in document.ents]
        for document in presidio.load_english().pipe(texts, batch_size=256)
    ]


def various(count: int) -> list[str]:
    """Notes, paragraphs, single words, whitespace, symbols, and texts that end in a name."""
    fake = Faker("en_US")
    fake.seed_instance(21)
    rng = random.Random(21)
    makers: list[Callable[[], object]] = [
        lambda: rng.choice(ENGLISH).format(
            n=fake.name(), m=fake.name(), p=fake.phone_number(), a=fake.address(), e=fake.email(),
            s=fake.ssn(),
        ),
        fake.paragraph,
        fake.name,
        fake.word,
        lambda: f"{fake.sentence()}\n\n{fake.city()}   {fake.company()} paid {fake.pricetag()}",
        lambda: f"On {fake.date()} we met {fake.first_name()}",
        lambda: "   \n\t ",
        lambda: "".join(rng.choice("aB1 .,-'\n$%@()") for _ in range(rng.randrange(1, 60))),
    ]  # fmt: skip
    return [str(rng.choice(makers)()) for _ in range(count)]


def test_the_same_entities_on_a_thousand_texts(reader: transitions.Reader) -> None:
    """Measured: no difference in 20,000."""
    texts = various(1_000)
    assert reader.entities(texts) == expected(texts)


def test_no_text_changes_another(reader: transitions.Reader) -> None:
    texts = [text for text, _, _ in notes("en", 40)]
    assert reader.entities(texts) == [reader.entities([text])[0] for text in texts]


def test_nothing_gives_nothing(reader: transitions.Reader) -> None:
    assert reader.entities([]) == []
    assert reader.entities(["", " ", ""]) == [[], [], []]


def test_a_full_store_of_words_starts_over(
    reader: transitions.Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = various(60)
    before = reader.entities(texts)
    monkeypatch.setattr(transitions, "WORDS", 3)
    monkeypatch.setattr(transitions, "TOKENS", 50)
    assert reader.entities(texts) == before
    assert reader.entities(texts) == before


def test_a_text_of_any_length_is_read_to_its_end(
    reader: transitions.Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Longer than what spaCy reads, a million characters unless told, and than a batch."""
    monkeypatch.setattr(reader._pipeline, "max_length", 25_000)
    text = "The weather was fine that day. " * 2_000 + "John Smith signed."
    assert len(text) > reader._pipeline.max_length
    assert len(text.split()) > transitions.TOKENS
    *_, last = reader.entities([text])[0]
    assert text[last[0] : last[1]] == "John Smith"


def test_words_are_not_kept_for_ever(reader: transitions.Reader) -> None:
    pipeline = reader._pipeline
    reader.entities(["warm up"])
    before = len(pipeline.vocab.strings)
    reader.entities([f"Qx{n}zzy met Wq{n}bly." for n in range(300)])
    assert len(pipeline.vocab.strings) < before + 50


def test_a_model_of_another_kind_is_left_to_spacy() -> None:
    import spacy

    assert not transitions.readable(spacy.blank("en"))
    other = spacy.blank("en")
    other.add_pipe("ner")
    assert not transitions.readable(other)
