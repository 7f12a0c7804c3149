"""Bytes in, the same model out; anything changed is refused."""

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from audit.canonical import canonical
from training.artifacts import digest_of, from_bytes, to_bytes
from training.backgrounds import synthetic_background
from training.config import Plan, TrainingConfig
from training.errors import ArtifactError, PredictionInputError
from training.features import Category, FeatureSpec, Hashed, Numeric, Target
from training.mechanisms import WHOLE
from training.networks import build
from training.serving import PLACES, LoadedModel, ModelCache

SPEC = FeatureSpec(
    (Numeric("age", 0, 100), Category("work", ("a", "b")), Hashed("note", 8)), Target("y", "1")
)
CONFIG = TrainingConfig(epsilon=1, delta=1e-5, features=SPEC.digest(), hidden=(6,))
PLAN = Plan(1_000, WHOLE // 10, 20, 1.5, 1.0)
STATE = build(CONFIG, SPEC.width).state_dict()


def stored(state: dict[str, torch.Tensor] | None = None, **fields: Any) -> bytes:
    return to_bytes(
        state or STATE,
        **{"config": CONFIG, "plan": PLAN, "spec": SPEC, "executed": 20, **fields},
    )


GOOD = stored()


def with_header(change: Callable[[dict[str, Any]], None], state: Any = None) -> bytes:
    """A well-formed container with another header."""
    length = int.from_bytes(GOOD[:8], "little")
    header = json.loads(json.loads(GOOD[8 : 8 + length])["__metadata__"]["portcullis"])
    change(header)
    return safetensors.torch.save(
        dict(state or STATE), metadata={"portcullis": canonical(header).decode()}
    )


def test_round_trip() -> None:
    loaded = from_bytes(GOOD, expected=digest_of(GOOD))
    assert (loaded.config, loaded.plan, loaded.spec, loaded.executed) == (CONFIG, PLAN, SPEC, 20)
    assert all(
        torch.equal(STATE[name], value) for name, value in loaded.network.state_dict().items()
    )
    assert not loaded.network.training
    assert not any(p.requires_grad for p in loaded.network.parameters())
    assert stored() == GOOD


@pytest.mark.parametrize("place", [0, 9, 40, len(GOOD) // 2, len(GOOD) - 1])
def test_one_changed_byte(place: int) -> None:
    changed = bytearray(GOOD)
    changed[place] ^= 1
    with pytest.raises(ArtifactError) as caught:
        from_bytes(bytes(changed), expected=digest_of(GOOD))
    assert caught.value.stable_code == "artifact.digest"


def widen(header: dict[str, Any]) -> None:
    header["config"]["hidden"] = [7]


def other_features(header: dict[str, Any]) -> None:
    header["features"]["features"][0]["high"] = "50"


def more_steps(header: dict[str, Any]) -> None:
    header["executed"] = 21


def other_model(header: dict[str, Any]) -> None:
    header["config"]["model"] = "os.system"


def less_noise(header: dict[str, Any]) -> None:
    header["plan"]["noise_multiplier"] = "0"


def other_format(header: dict[str, Any]) -> None:
    header["format"] = "portcullis/model/9"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (widen, "artifact.shape"),
        (other_features, "artifact.features_differ"),
        (more_steps, "artifact.invalid"),
        (other_model, "artifact.invalid"),
        (less_noise, "artifact.invalid"),
        (other_format, "artifact.invalid"),
    ],
)
def test_a_header_that_does_not_fit(change: Callable[[dict[str, Any]], None], code: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        from_bytes(with_header(change))
    assert caught.value.stable_code == code


def keep(_: dict[str, Any]) -> None:
    pass


@pytest.mark.parametrize(
    ("state", "code"),
    [
        ({**STATE, "backdoor": torch.zeros(1)}, "artifact.names"),
        ({name: value for name, value in STATE.items() if name != "2.bias"}, "artifact.names"),
        ({**STATE, "0.weight": STATE["0.weight"].double()}, "artifact.shape"),
        ({**STATE, "0.weight": STATE["0.weight"].T.contiguous()}, "artifact.shape"),
        ({**STATE, "2.bias": torch.tensor([float("nan")])}, "artifact.not_finite"),
    ],
)
def test_weights_that_do_not_fit(state: dict[str, torch.Tensor], code: str) -> None:
    for attempt in (lambda: from_bytes(with_header(keep, state)), lambda: stored(state)):
        with pytest.raises(ArtifactError) as caught:
            attempt()
        assert caught.value.stable_code == code


@pytest.mark.parametrize(
    "junk", [b"", b"\x00" * 7, b"\x80\x04\x95pickle", GOOD[:100], GOOD[:-1], b"\xff" * 64]
)
def test_junk(junk: bytes) -> None:
    with pytest.raises(ArtifactError) as caught:
        from_bytes(junk)
    assert caught.value.stable_code == "artifact.invalid"


def test_a_loaded_model_answers() -> None:
    model = LoadedModel(GOOD, expected=digest_of(GOOD))
    rows = synthetic_background(SPEC, 12, seed=4)
    together = model.predict_proba(rows)
    assert together.shape == (12,)
    assert ((together > 0) & (together < 1)).all()
    assert (model.predict_proba(rows) == together).all()
    alone = np.concatenate([model.predict_proba([row]) for row in rows])
    assert (alone == together).all()
    cells = np.array([[row[name] for name in SPEC.names] for row in rows], dtype=object)
    np.testing.assert_allclose(model.predict_columns(cells), together, atol=1e-6)
    with pytest.raises(PredictionInputError):
        model.check_row({"age": 1})
    assert model.check_row({"age": 1, "work": "a", "note": None}) == {
        "age": "1",
        "work": "a",
        "note": None,
    }


def of_hidden(*hidden: int) -> bytes:
    config = replace(CONFIG, hidden=hidden)
    return stored(build(config, SPEC.width).state_dict(), config=config)


def asking(count: int) -> list[dict[str, str | None]]:
    draw = np.random.default_rng(7)
    return [
        {"age": f"{draw.uniform(0, 100):.6f}", "work": "ab"[at % 2], "note": f"w{at % 13}"}
        for at in range(count)
    ]


@pytest.mark.parametrize("hidden", [(6,), (64, 64), (256, 128)])
def test_a_score_does_not_depend_on_who_else_asks(hidden: tuple[int, ...]) -> None:
    """In float32 one in a hundred or so would differ; in float64 none does."""
    model, rows = LoadedModel(of_hidden(*hidden)), asking(256)
    assert model.precise
    alone = [model.predict_proba([row]).item() for row in rows]
    for size in (2, 7, 64):
        pieces = [rows[at : at + size] for at in range(0, len(rows), size)]
        assert np.concatenate([model.predict_proba(one) for one in pieces]).tolist() == alone
    cells = np.array([[row[name] for name in SPEC.names] for row in rows], dtype=object)
    assert np.round(model.predict_columns(cells), PLACES).tolist() == alone


def test_a_large_network_is_asked_row_by_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.serving.SMALL", 10)
    model = LoadedModel(of_hidden(256, 128))
    assert not model.precise
    rows = asking(64)
    alone = np.concatenate([model.predict_proba([row]) for row in rows])
    assert alone.tolist() == model.predict_proba(rows).tolist()


def test_cache_loads_once_for_threads_that_come_together() -> None:
    reads: list[int] = []
    together = threading.Barrier(8)
    cache = ModelCache()

    def read() -> bytes:
        reads.append(1)
        time.sleep(0.05)
        return GOOD

    def get(_number: int) -> LoadedModel:
        together.wait(10)
        return cache.get(digest_of(GOOD), read)

    with ThreadPoolExecutor(8) as pool:
        assert len({id(model) for model in pool.map(get, range(8))}) == 1
    assert len(reads) == 1
    assert not cache._loading


def test_a_load_that_fails_is_tried_again_by_the_next() -> None:
    cache = ModelCache()
    with pytest.raises(ArtifactError):
        cache.get(digest_of(GOOD), lambda: GOOD[:-1] + b"\x00")
    assert cache.get(digest_of(GOOD), lambda: GOOD).digest == digest_of(GOOD)


def test_cache_keeps_the_recent_within_its_bytes() -> None:
    others = [stored(executed=steps) for steps in range(1, 4)]
    cache = ModelCache(capacity=2 * len(GOOD) + 50)
    reads: list[str] = []

    def get(data: bytes) -> LoadedModel:
        def read() -> bytes:
            reads.append(digest_of(data))
            return data

        return cache.get(digest_of(data), read)

    first = get(others[0])
    get(others[1])
    assert get(others[0]) is first
    get(others[2])  # drops others[1], the least recently used
    assert get(others[0]) is first
    get(others[1])
    assert reads == [digest_of(others[i]) for i in (0, 1, 2, 1)]
    assert cache.size <= 2 * len(GOOD) + 50
    cache.drop(digest_of(others[1]))
    get(others[1])
    assert len(reads) == 5


def test_cache_refuses_other_bytes() -> None:
    with pytest.raises(ArtifactError) as caught:
        ModelCache().get("0" * 64, lambda: GOOD)
    assert caught.value.stable_code == "artifact.digest"


def test_background_is_made_of_declarations() -> None:
    rows = synthetic_background(SPEC, 10, seed=1)
    assert rows == synthetic_background(SPEC, 10, seed=1)
    assert rows != synthetic_background(SPEC, 10, seed=2)
    assert sorted(float(row["age"] or "nan") for row in rows) == [5 + 10 * i for i in range(10)]
    assert sorted(str(row["work"]) for row in rows) == ["a"] * 5 + ["b"] * 5
    assert all(row["note"] is None for row in rows)
