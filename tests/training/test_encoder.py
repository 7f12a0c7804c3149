"""The packaged encoder: against an independent computation, the model card, and bad files."""

import dataclasses
import hashlib
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import load_file

from training.encoder import PAD, SentenceEncoder, Tokens, encoder
from training.errors import EncoderError, FeatureError
from training.features import ENCODED_NORM, Encoded, FeatureSpec, Numeric, Target
from training.packaged import ENCODERS, LARGEST_TEXT, LONGEST

PACKAGED = ENCODERS["minilm-l6"]
Array = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def loaded() -> SentenceEncoder:
    return encoder("minilm-l6")


def oracle(weights: dict[str, npt.NDArray[np.float32]], ids: list[int]) -> Array:
    """One sentence through BERT in float64 NumPy, head by head, by the file's own names."""

    def dense(name: str, given: Array) -> Array:
        made: Array = given @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]
        return made

    def normal(name: str, given: Array) -> Array:
        centered = given - given.mean(-1, keepdims=True)
        scaled = centered / np.sqrt((centered**2).mean(-1, keepdims=True) + 1e-12)
        made: Array = scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]
        return made

    def softmax(scores: Array) -> Array:
        odds = np.exp(scores - scores.max(-1, keepdims=True))
        shares: Array = odds / odds.sum(-1, keepdims=True)
        return shares

    at = "embeddings"
    states = weights[f"{at}.word_embeddings.weight"][ids].astype(np.float64)
    states = states + weights[f"{at}.position_embeddings.weight"][: len(ids)]
    states = states + weights[f"{at}.token_type_embeddings.weight"][0]
    states = normal(f"{at}.LayerNorm", states)
    erf = np.vectorize(math.erf)
    for number in range(6):
        at = f"encoder.layer.{number}"
        query, key, value = (
            dense(f"{at}.attention.self.{name}", states) for name in ("query", "key", "value")
        )
        heads = []
        for head in range(12):
            part = slice(32 * head, 32 * (head + 1))
            scores = query[:, part] @ key[:, part].T / math.sqrt(32)
            heads.append(softmax(scores) @ value[:, part])
        seen = dense(f"{at}.attention.output.dense", np.concatenate(heads, axis=1))
        states = normal(f"{at}.attention.output.LayerNorm", states + seen)
        wide = dense(f"{at}.intermediate.dense", states)
        wide = wide * 0.5 * (1 + erf(wide / math.sqrt(2)))
        states = normal(f"{at}.output.LayerNorm", states + dense(f"{at}.output.dense", wide))
    mean = states.mean(0)
    return np.asarray(mean / np.linalg.norm(mean))


def test_the_same_vectors_as_an_independent_float64_forward(loaded: SentenceEncoder) -> None:
    texts = ["That is a happy person", "A loan was repaid late, twice!"]
    weights = load_file(PACKAGED.folder / "model.safetensors")
    ids = loaded.tokens(texts).ids
    assert ids[0].tolist()[:7] == [101, 2008, 2003, 1037, 3407, 2711, 102]  # the file's vocabulary
    found = loaded.vectors(texts)  # in one batch, so the shorter one is filled up
    for row, vector in zip(ids, found, strict=True):
        wanted = oracle(weights, [int(i) for i in row if i != PAD])
        np.testing.assert_allclose(vector, wanted, atol=2e-6)


def test_what_is_alike_lies_near(loaded: SentenceEncoder) -> None:
    """Pinned to three digits: another tokenizer, pooling or GELU would show in them."""
    happy, dog, very, sunny = loaded.vectors(
        [
            "That is a happy person", "That is a happy dog", "That is a very happy person",
            "Today is a sunny day",
        ]
    )  # fmt: skip
    assert float(happy @ dog) == pytest.approx(0.695, abs=1e-3)
    assert float(happy @ very) == pytest.approx(0.943, abs=1e-3)
    assert float(happy @ sunny) == pytest.approx(0.257, abs=1e-3)


def test_vectors_are_their_own(loaded: SentenceEncoder) -> None:
    texts = ["short", "", "a good deal longer than the first of them", "  ", "short", "[PAD] [SEP]"]
    found = loaded.vectors(texts)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, loaded.vectors(texts))
    np.testing.assert_array_equal(found[0], found[4])
    assert not found[[1, 3]].any()
    np.testing.assert_allclose(np.linalg.norm(found[[0, 2, 5]], axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(found[0], loaded.vectors(["short"])[0], atol=1e-6)
    assert loaded.vectors([]).shape == (0, 384)
    assert loaded.vectors([""]).shape == (1, 384)
    # A special word in somebody's text is text.
    assert (loaded.tokens(["[PAD]"]).ids[0] != PAD).all()
    assert len(loaded.tokens(["[PAD]"]).ids[0]) > 3


@pytest.mark.parametrize(
    ("text", "length", "truncated"),
    [
        ("word", 3, 0),
        ("word " * (LONGEST - 2), LONGEST, 0),
        ("word " * (LONGEST - 1), LONGEST, 1),
        (" " * LARGEST_TEXT + "word", 2, 1),
    ],
)
def test_what_is_too_long_is_cut_and_counted(
    loaded: SentenceEncoder, text: str, length: int, truncated: int
) -> None:
    found = loaded.tokens([text, ""])
    assert isinstance(found, Tokens)
    assert found.ids.shape == (2, length)
    assert found.truncated == truncated
    assert not found.ids[1].any()


def test_one_encoder_a_process_which_learns_nothing(loaded: SentenceEncoder) -> None:
    assert encoder("minilm-l6") is loaded
    assert not loaded.network.training
    assert not any(p.requires_grad or p.is_inference() for p in loaded.network.parameters())
    assert not list(loaded.network.buffers())


@pytest.mark.parametrize(
    ("files", "code", "said"),
    [
        ({}, "encoder.missing", "model.safetensors: `make install`"),
        ({"model.safetensors": b"good"}, "encoder.missing", "tokenizer.json: `make install`"),
        ({"model.safetensors": b"bad"}, "encoder.differs", "model.safetensors is another"),
        (
            {"model.safetensors": b"good", "tokenizer.json": b"bad"},
            "encoder.differs", "tokenizer.json is another",
        ),
    ],
)  # fmt: skip
def test_other_files_are_refused(
    tmp_path: Path, files: dict[str, bytes], code: str, said: str
) -> None:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    good = hashlib.sha256(b"good").hexdigest()
    with pytest.raises(EncoderError) as caught:
        SentenceEncoder(dataclasses.replace(PACKAGED, folder=tmp_path, weights=good))
    assert caught.value.stable_code == code
    assert said in caught.value.detail


def test_a_feature_is_the_vector_and_whether_it_is_missing(loaded: SentenceEncoder) -> None:
    encoded = Encoded("note").encode([" a word ", "n/a", None, "a word"])
    assert encoded.shape == (4, Encoded("note").width) == (4, 385)
    np.testing.assert_array_equal(encoded[:, -1], [0, 1, 1, 0])
    np.testing.assert_array_equal(encoded[0, :-1], ENCODED_NORM * loaded.vectors(["a word"])[0])
    np.testing.assert_array_equal(encoded[0], encoded[3])
    assert not encoded[1:3, :-1].any()


def test_text_and_numbers_are_one_row(loaded: SentenceEncoder) -> None:
    """Fusion is a specification with both: the same row, side by side."""
    spec = FeatureSpec((Numeric("age", 0, 100), Encoded("note")), Target("y", "1"))
    table = {"age": ["40", "50"], "note": ["late again", ""]}
    encoded = spec.encode(table)
    assert encoded.shape == (2, spec.width)
    np.testing.assert_array_equal(encoded[:, -385:], Encoded("note").encode(table["note"]))
    assert loaded is encoder("minilm-l6")


def test_a_specification_is_tied_to_the_files() -> None:
    spec = FeatureSpec((Encoded("note"),), Target("y", "1"))
    stored = spec.as_dict()
    assert FeatureSpec.from_dict(stored) == spec
    told = spec.features[0].as_dict()
    assert stored["features"] == [told]
    assert (told["encoder"], told["weights"]) == ("minilm-l6", PACKAGED.weights)
    assert told["provenance"] == "declared"
    for change in ({"weights": "0" * 64}, {"tokenizer": ""}, {"encoder": "other"}):
        with pytest.raises(FeatureError):
            FeatureSpec.from_dict({**stored, "features": [{**told, **change}]})
    with pytest.raises(FeatureError) as caught:
        Encoded("note", "other")
    assert caught.value.pointer == "/columns/note/encoder"
