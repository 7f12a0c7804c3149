"""Explanations that can be checked years later, and records that were tampered with."""

import base64
import copy
import hashlib
import json
import struct
import threading
from typing import Any

import numpy as np
import pytest

from audit.canonical import canonical
from audit.explanation_records import (
    EXACT,
    PERMUTATION,
    ExplanationError,
    Grade,
    blob,
    seed_of,
    shown,
    unblob,
    verify_record,
)
from audit.explanations import Background, Cell, explain_row, reproduce

MODEL = "a" * 64
COLORS = ("red", "green", "blue")


def weights(width: int) -> np.ndarray:
    return np.linspace(-1, 1, width)


def predict(cells: np.ndarray) -> np.ndarray:
    """Numbers, one category in the last column, and an interaction."""
    numbers = cells[:, :-1].astype(float)
    color = np.array([{None: 0.0, "red": 0.5, "green": -1.0, "blue": 2.0}[c] for c in cells[:, -1]])
    linear = numbers @ weights(numbers.shape[1]) + color * (1 + numbers[:, 0])
    return np.asarray(1 / (1 + np.exp(-linear)))


def background(width: int, rows: int = 8, shift: float = 0.0) -> Background:
    return Background(
        features=tuple(f"x{place}" for place in range(width)),
        rows=tuple(
            (
                *(((row * 7 + place * 3) % 5) / 5 + shift for place in range(width - 1)),
                COLORS[row % 3],
            )
            for row in range(rows)
        ),
        origin="synthetic: a formula",
    )


def row(width: int) -> list[Cell]:
    return [*(float(place % 3) for place in range(width - 1)), "blue"]


def explained(width: int, **changed: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "record_id": "7",
        "model_digest": MODEL,
        "input_commitment": "c" * 64,
    }
    return explain_row(predict, row(width), background(width), **{**fields, **changed})


@pytest.fixture(scope="module")
def record() -> dict[str, Any]:
    """One permutation record of twelve features."""
    return explained(12)


@pytest.mark.parametrize(("width", "method"), [(2, EXACT), (10, EXACT), (11, PERMUTATION)])
def test_additive_consistent_and_reproduced(width: int, method: str) -> None:
    made = explained(width)
    assert made["method"] == method
    assert abs(float(made["residual"])) < 1e-9
    assert float(made["output"]) == pytest.approx(float(predict(np.array([row(width)], object))[0]))
    assert verify_record(made).grade is Grade.CONSISTENT
    verdict = reproduce(made, predict, row(width), background(width))
    assert (verdict.grade, verdict.largest_difference) == (Grade.REPRODUCED, 0.0)
    assert json.loads(canonical(made)) == made


def test_exact_shapley_values_of_a_linear_model() -> None:
    def linear(cells: np.ndarray) -> np.ndarray:
        return np.asarray(cells.astype(float) @ np.array([2.0, -1.0, 0.5]))

    rows = ((0.0, 1.0, 2.0), (4.0, 1.0, 0.0))
    made = explain_row(
        linear,
        [1.0, 3.0, 2.0],
        Background(("a", "b", "c"), rows, "public: textbook"),
        record_id="1",
        model_digest=MODEL,
        input_commitment="",
    )
    # φ_i = w_i (x_i - mean of the background): Lundberg and Lee, corollary 1.
    np.testing.assert_allclose(unblob(made["attributions"]), [-2.0, -2.0, 0.5], atol=1e-12)
    assert unblob(made["standard_errors"]) == (0.0, 0.0, 0.0)


def test_permutations_approach_the_exact_values() -> None:
    """A dummy eleventh feature makes the method sampled; the first ten keep their exact values."""
    exact = unblob(explained(10)["attributions"])

    def with_dummy(cells: np.ndarray) -> np.ndarray:
        return predict(cells[:, 1:])

    dummy = Background(
        ("d", *background(10).features), tuple((0, *r) for r in background(10).rows), "synthetic"
    )
    made = explain_row(
        with_dummy,
        [1, *row(10)],
        dummy,
        record_id="7",
        model_digest=MODEL,
        input_commitment="",
        permutations=60,
    )
    errors = np.array(unblob(made["standard_errors"]))
    off = np.abs(np.array(unblob(made["attributions"])[1:]) - exact)
    assert unblob(made["attributions"])[0] == 0
    assert (off <= 6 * errors[1:] + 1e-9).all()
    assert errors[1:].max() > 0


def test_same_record_alone_in_company_and_in_threads(record: dict[str, Any]) -> None:
    explained(12, record_id="8")
    assert explained(12) == record
    others: list[dict[str, Any]] = []
    threads = [threading.Thread(target=lambda: others.append(explained(12))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert others == [record] * 4


def test_the_seed_follows_from_record_and_model(record: dict[str, Any]) -> None:
    assert record["seed"] == hashlib.sha256(f"7\x00{MODEL}".encode()).hexdigest()
    other = explained(12, record_id="8")
    assert other["seed"] != record["seed"]
    assert other["attributions"] != record["attributions"]


def test_the_global_generator_is_put_back() -> None:
    np.random.seed(3)  # noqa: NPY002 - the global generator is what is tested
    expected = np.random.random(4)  # noqa: NPY002 - as above
    np.random.seed(3)  # noqa: NPY002 - as above
    explained(12)
    assert (np.random.random(4) == expected).all()  # noqa: NPY002 - as above


def reblob(made: dict[str, Any], change: Any, key: str = "attributions") -> None:
    values = list(unblob(made[key]))
    change(values)
    made[key] = blob(values)


def flip(values: list[float]) -> None:
    values[0] = -values[0] + 0.1


def swap(values: list[float]) -> None:
    values[0], values[1] = values[1], values[0]


def forge_bytes(made: dict[str, Any]) -> None:
    packed = base64.b64decode(made["attributions"]["float64le"])
    made["attributions"]["float64le"] = base64.b64encode(
        struct.pack("<d", 9.0) + packed[8:]
    ).decode()


@pytest.mark.parametrize(
    ("tamper", "failed"),
    [
        (forge_bytes, "blob"),
        (lambda r: r["attributions"].update(float64le="***"), "blob"),
        (lambda r: reblob(r, flip), "residual"),
        (lambda r: reblob(r, list.pop), "lengths"),
        (lambda r: reblob(r, lambda v: v.__setitem__(0, float("nan"))), "finite"),
        (
            lambda r: reblob(r, lambda v: v.__setitem__(0, -1.0), "standard_errors"),
            "standard_errors",
        ),
        (lambda r: r.update(seed="0" * 64), "seed"),
        (lambda r: r.update(record_id="9"), "seed"),
        (lambda r: r.update(model_digest="b" * 64), "seed"),
        (lambda r: r.update(output="0.99"), "residual"),
        (lambda r: r["tolerance"].update(residual="0.5"), "tolerance"),
        (lambda r: r.update(format="x"), "format"),
        (lambda r: r.pop("seed"), "malformed"),
        (lambda r: r.update(output="much"), "malformed"),
        (lambda r: r.update(attributions=None), "blob"),
    ],
)
def test_tampering_breaks_the_record(record: dict[str, Any], tamper: Any, failed: str) -> None:
    changed = copy.deepcopy(record)
    tamper(changed)
    verdict = verify_record(changed)
    assert verdict.grade is Grade.BROKEN
    assert failed in verdict.failed
    assert reproduce(changed, predict, row(12), background(12)).grade is Grade.BROKEN


def test_consistent_is_not_reproduced(record: dict[str, Any]) -> None:
    """Two attributions exchanged still add up: only running it again shows it."""
    changed = copy.deepcopy(record)
    reblob(changed, swap)
    assert verify_record(changed).grade is Grade.CONSISTENT
    verdict = reproduce(changed, predict, row(12), background(12))
    assert (verdict.grade, verdict.failed) == (Grade.CONSISTENT, ("reproduction",))
    assert verdict.largest_difference is not None
    assert verdict.largest_difference > 1e-3


def test_another_background_or_row_does_not_reproduce(record: dict[str, Any]) -> None:
    elsewhere = reproduce(record, predict, row(12), background(12, shift=0.1))
    assert (elsewhere.grade, elsewhere.failed) == (Grade.BROKEN, ("background",))
    other_row = [*row(12)[:-1], "red"]
    assert reproduce(record, predict, other_row, background(12)).grade is Grade.CONSISTENT


def test_what_is_shown_is_rounded_and_short(record: dict[str, Any]) -> None:
    told = shown(record, top=3, places=2)
    assert len(told["attributions"]) == 3
    assert told["other_features"]["count"] == 9
    sizes = [abs(float(item["attribution"])) for item in told["attributions"]]
    assert sizes == sorted(sizes, reverse=True)
    everything = [*told["attributions"], told["other_features"]]
    total = sum(float(item["attribution"]) for item in everything)
    assert total == pytest.approx(float(told["output"]) - float(told["base_value"]), abs=0.04)


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda: Background((), (), "synthetic"), "explanation.invalid"),
        (lambda: Background(("a",), ((1, 2),), "synthetic"), "explanation.invalid"),
        (lambda: Background(("a",), ((1,),), "real customers"), "explanation.background_private"),
        (lambda: Background.from_rows([{"b": 1}], ["a"], "public"), "explanation.invalid"),
        (lambda: explained(12, permutations=0), "explanation.invalid"),
    ],
)
def test_refused(call: Any, code: str) -> None:
    with pytest.raises(ExplanationError) as caught:
        call()
    assert caught.value.stable_code == code


def test_a_row_of_another_width_or_a_score_that_is_no_number() -> None:
    with pytest.raises(ExplanationError):
        explain_row(
            predict, row(5), background(6), record_id="1", model_digest=MODEL, input_commitment=""
        )
    with pytest.raises(ExplanationError) as caught:
        explain_row(
            lambda cells: np.full(len(cells), np.nan),
            row(5),
            background(5),
            record_id="1",
            model_digest=MODEL,
            input_commitment="",
        )
    assert caught.value.stable_code == "explanation.not_finite"


def test_numbers_and_texts_that_look_alike_are_different_cells() -> None:
    def typed(cells: np.ndarray) -> np.ndarray:
        return np.array([1.0 if isinstance(cell, str) else 0.0 for cell in cells[:, 0]])

    made = explain_row(
        typed,
        ["1"],
        Background(("a",), ((1,), (1.0,)), "synthetic"),
        record_id="1",
        model_digest=MODEL,
        input_commitment="",
    )
    assert unblob(made["attributions"]) == (1.0,)


def test_seed_separates_its_parts() -> None:
    assert seed_of("ab", "c") != seed_of("a", "bc")
