"""Records that were tampered with: against themselves, and against what the log committed to."""

import copy
import threading
from typing import Any

import numpy as np
import pytest

from audit.canonical import digest
from audit.explanation_records import PERMUTATION, Grade, blob, seed_of, unblob, verify_record
from audit.explanations import Background, explain_row, reproduce

FEATURES = ("a", "b", "c")
BACKGROUND = Background(FEATURES, ((0.0, 1.0, 2.0), (4.0, 1.0, 0.0)), "public: textbook")
ROW = [1.0, 3.0, 2.0]


def predict(cells: np.ndarray) -> np.ndarray:
    return np.asarray(cells.astype(float) @ np.array([2.0, -1.0, 0.5]))


def made() -> dict[str, Any]:
    return explain_row(
        predict, ROW, BACKGROUND, record_id="7", model_digest="a" * 64, input_commitment="c" * 64
    )


def _rederived(record: dict[str, Any]) -> None:
    record["record_id"] = "8"  # another prediction's, with the seed that would be its
    record["seed"] = seed_of("8", record["model_digest"]).hex()


def _moved(record: dict[str, Any]) -> None:
    first, *rest = unblob(record["attributions"])
    record["attributions"] = blob([*rest, first])  # still additive


# Each leaves the arithmetic intact. What nobody can tell by the record alone, the log tells.
FORGERIES: dict[str, Any] = {
    "another prediction": _rederived,
    "attributions swapped": _moved,
    "features renamed": lambda record: record.update(features=["c", "b", "a"]),
    "another background": lambda record: record.update(background_digest="b" * 64),
    "another input": lambda record: record.update(input_commitment="d" * 64),
    "another version": lambda record: record["versions"].update(shap="0.0"),
    "another device": lambda record: record.update(device="cuda"),
    "another dtype": lambda record: record.update(dtype="float16"),
    "a member more": lambda record: record.update(note="approved"),
    "larger errors": lambda record: record.update(standard_errors=blob([9.0] * 3)),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_what_the_log_committed_to_is_the_record(name: str) -> None:
    record = made()
    committed = digest(record)
    assert verify_record(record, committed=committed).grade is Grade.CONSISTENT
    forged = copy.deepcopy(record)
    FORGERIES[name](forged)
    verdict = verify_record(forged, committed=committed)
    assert (verdict.grade, verdict.failed) == (Grade.BROKEN, ("committed",))
    assert reproduce(forged, predict, ROW, BACKGROUND, committed=committed).grade is Grade.BROKEN


@pytest.mark.parametrize("value", [1.5, 2**60, object(), "\ud800"])
def test_a_record_that_nobody_could_commit_to(value: object) -> None:
    record = made()
    committed = digest(record)
    record["note"] = value
    assert verify_record(record, committed=committed).failed == ("committed",)


@pytest.mark.parametrize(
    ("change", "failed"),
    [
        ({"method": "shap.explainers.KernelExplainer"}, "method"),
        ({"method": PERMUTATION}, "parameters"),  # without its number of permutations
        ({"features": ["a", "a", "c"]}, "features"),
        ({"features": ["a", 1, "c"]}, "features"),
        ({"background_origin": "rows of last year"}, "background"),
        ({"parameters": {"background_rows": 0, "link": "identity"}}, "parameters"),
        ({"parameters": {"background_rows": 2, "link": "logit"}}, "parameters"),
    ],
)
def test_a_record_says_nothing_that_we_never_write(change: dict[str, Any], failed: str) -> None:
    verdict = verify_record({**made(), **change})
    assert verdict.grade is Grade.BROKEN
    assert failed in verdict.failed


def test_a_slow_explanation_does_not_hold_up_another_model() -> None:
    """Exact explanations draw no random numbers, so that they need no turn."""
    started, go_on = threading.Event(), threading.Event()

    def slow(cells: np.ndarray) -> np.ndarray:
        if len(cells) > len(BACKGROUND.rows):
            started.set()
            assert go_on.wait(30)
        return predict(cells)

    first: list[dict[str, Any]] = []
    thread = threading.Thread(
        target=lambda: first.append(
            explain_row(
                slow, ROW, BACKGROUND, record_id="7", model_digest="a" * 64, input_commitment=""
            )
        )
    )
    thread.start()
    assert started.wait(30)
    second: list[dict[str, Any]] = []
    other = threading.Thread(target=lambda: second.append(made()))
    other.start()
    other.join(10)
    go_on.set()
    thread.join(30)
    assert second
    assert unblob(first[0]["attributions"]) == unblob(second[0]["attributions"])
