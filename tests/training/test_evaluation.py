"""Figures from noisy counts: near the truth, covered by intervals, no dearer than training."""

from typing import Any

import numpy as np
import pytest
from fairlearn.metrics import (
    demographic_parity_difference,
    demographic_parity_ratio,
    equalized_odds_difference,
)
from sklearn.metrics import roc_auc_score

from training.accounting import epsilon, evaluation_mechanism, rdp_of
from training.errors import RunRefusedError
from training.evaluation import (
    BINS,
    LARGEST_GAP,
    SMALLEST_GROUP,
    EvaluationError,
    NoisyCounts,
    check_classes,
    count,
    differ,
    held_out,
    measure,
)
from training.mechanisms import WHOLE, Mechanism, Purpose
from training.randomness import seeded_source

GENERATOR = np.random.default_rng(0)
ROWS = 6_000
LABELS = (GENERATOR.random(ROWS) < 0.25).astype(np.float32)
SCORES = 1 / (1 + np.exp(-(GENERATOR.normal(0, 1.5, ROWS) + 3 * LABELS - 2.5)))
GROUP = np.where(GENERATOR.random(ROWS) < 0.6, "a", "b").astype(object)
GROUP[:40] = "rare"
VALUES = {"g": ("a", "b", "rare")}
QUIET = Mechanism(1e-3, purpose=Purpose.EVALUATION)
LOUD = Mechanism(4.2, purpose=Purpose.EVALUATION)


def counted(mechanism: Mechanism, seed: int = 0, **changed: Any) -> NoisyCounts:
    fields: dict[str, Any] = {
        "probabilities": SCORES,
        "labels": LABELS,
        "groups": {"g": GROUP},
        "group_values": VALUES,
        "mechanism": mechanism,
        "source": seeded_source(seed, allow_seeded=True),
    }
    return count(**{**fields, **changed})


def test_without_noise_the_counts_are_exact() -> None:
    counts = counted(QUIET)
    assert counts.scores.sum() == ROWS
    assert counts.scores[1].sum() == LABELS.sum()
    assert counts.groups["g"]["a"].sum() == (GROUP == "a").sum()
    metrics = measure(counts)
    assert metrics.accuracy.value == pytest.approx(((SCORES >= 0.5) == LABELS).mean())
    assert metrics.base_rate.value == pytest.approx(LABELS.mean())
    assert metrics.auroc is not None
    assert metrics.auroc.value == pytest.approx(roc_auc_score(LABELS, SCORES), abs=0.004)
    rate = metrics.groups["g"]["b"].selection_rate
    assert rate is not None
    assert rate.value == pytest.approx((SCORES[GROUP == "b"] >= 0.5).mean())


def test_with_noise_the_intervals_cover() -> None:
    truth = (roc_auc_score(LABELS, SCORES), ((SCORES >= 0.5) == LABELS).mean())
    misses, widths = 0, []
    for seed in range(40):
        metrics = measure(counted(LOUD, seed))
        for value, figure in zip(truth, (metrics.auroc, metrics.accuracy), strict=True):
            assert figure is not None
            misses += not figure.low <= value <= figure.high
            widths.append(figure.high - figure.low)
    assert misses <= 6  # of 80
    assert max(widths) < 0.05
    assert min(widths) > 0.01


def test_the_release_costs_what_its_mechanism_says() -> None:
    """Blocks share the budget: sum of 1/sigma_b^2 over what one record touches is 1/sigma^2."""
    two = {"g": VALUES["g"], "h": ("x",)}
    counts = counted(LOUD, groups={"g": GROUP, "h": ["x"] * ROWS}, group_values=two)
    touched = 1 / counts.scores_sigma**2 + 2 / counts.groups_sigma**2
    assert touched == pytest.approx(1 / LOUD.noise_multiplier**2)
    alone = counted(LOUD, groups={}, group_values={})
    assert alone.scores_sigma == LOUD.noise_multiplier


def test_one_record_is_in_one_cell_of_each_block() -> None:
    without = counted(QUIET, probabilities=SCORES[1:], labels=LABELS[1:], groups={"g": GROUP[1:]})
    with_it = counted(QUIET)
    assert np.abs(with_it.scores - without.scores).sum() == 1
    assert sum(np.abs(with_it.groups["g"][v] - without.groups["g"][v]).sum() for v in "ab") <= 1


def test_noise_has_the_stated_size() -> None:
    many = np.stack([counted(LOUD, seed).scores - counted(QUIET).scores for seed in range(60)])
    assert many.std() == pytest.approx(counted(LOUD).scores_sigma, rel=0.1)


def test_small_groups_are_not_described() -> None:
    rare = measure(counted(QUIET)).groups["g"]["rare"]
    assert rare.size < SMALLEST_GROUP
    assert (rare.selection_rate, rare.true_positive_rate, rare.false_positive_rate) == (None,) * 3


@pytest.mark.parametrize(("thresholds", "verdict"), [((0.5, 0.5), True), ((0.5, 0.99), False)])
def test_four_fifths(thresholds: tuple[float, float], *, verdict: bool) -> None:
    limit = np.where(GROUP == "a", thresholds[0], thresholds[1])
    scores = np.where(limit < SCORES, 0.9, 0.1)
    metrics = measure(counted(QUIET, probabilities=scores))
    assert metrics.four_fifths["g"] is verdict
    ratio = metrics.impact_ratio["g"]
    assert ratio is not None
    assert (ratio.value >= 0.8) is verdict


def test_a_verdict_needs_a_clear_interval() -> None:
    loud = counted(Mechanism(200.0, purpose=Purpose.EVALUATION))
    assert measure(loud).four_fifths["g"] is None


def test_differences_between_groups_are_those_of_fairlearn() -> None:
    metrics = measure(counted(QUIET, group_values={"g": ("a", "b")}))
    chosen = GROUP != "rare"
    told = {
        "y_true": LABELS[chosen],
        "y_pred": (SCORES[chosen] >= 0.5).astype(int),
        "sensitive_features": GROUP[chosen],
    }
    gap, ratio = metrics.odds_difference["g"], metrics.impact_ratio["g"]
    assert gap is not None
    assert ratio is not None
    assert gap.value == pytest.approx(equalized_odds_difference(**told))
    assert ratio.value == pytest.approx(demographic_parity_ratio(**told))
    assert metrics.equalized_odds["g"] is (True if gap.high < LARGEST_GAP else None)


@pytest.mark.parametrize(("spared", "verdict"), [(0.0, True), (0.9, False)])
def test_equalized_odds(spared: float, *, verdict: bool) -> None:
    """Some of one group's true positives are missed."""
    missed = (GROUP == "b") & (np.random.default_rng(1).random(ROWS) < spared)
    scores = np.where((LABELS == 1) & ~missed, 0.9, 0.1)
    assert measure(counted(QUIET, probabilities=scores)).equalized_odds["g"] is verdict


def test_other_forms_are_blocks_of_the_same_release() -> None:
    others = {"half": SCORES / 2, "same": SCORES}
    counts = counted(LOUD, others=others)
    parts = [counts, *counts.others.values()]
    spent = sum(1 / part.scores_sigma**2 + 1 / part.groups_sigma**2 for part in parts)
    assert spent == pytest.approx(1 / LOUD.noise_multiplier**2)
    assert counts.mechanism == LOUD
    quiet = counted(QUIET, others=others)
    assert (quiet.scores == quiet.others["same"].scores).all()
    assert (quiet.scores == counted(QUIET).scores).all()
    assert measure(quiet.others["half"]).selection_rate.value == 0


def test_what_two_models_differ_by_is_covered() -> None:
    """Against exact differences, over 40 releases; the rows are the same."""
    other = 1 / (1 + np.exp(-(GENERATOR.normal(0, 3, ROWS) + 2 * LABELS - 1.5 + (GROUP == "b"))))

    def of(scores: Any) -> tuple[float, float, float]:
        chosen = scores >= 0.5
        fair = {"sensitive_features": GROUP[40:]}
        return (
            float((chosen == LABELS).mean()),
            float(demographic_parity_difference(LABELS[40:], chosen[40:], **fair)),
            float(equalized_odds_difference(LABELS[40:], chosen[40:], **fair)),
        )

    wanted = [one - two for one, two in zip(of(SCORES), of(other), strict=True)]
    covered = np.zeros(3)
    for seed in range(40):
        counts = counted(LOUD, seed, others={"other": other})
        found = differ(counts, counts.others["other"])
        for place, figure in enumerate(
            (found.accuracy, found.selection_gap["g"], found.odds_difference["g"])
        ):
            assert figure is not None
            assert -1 <= figure.low <= figure.value <= figure.high <= 1
            covered[place] += figure.low <= wanted[place] <= figure.high
    assert (covered >= 36).all(), covered
    quiet = counted(QUIET, others={"other": other})
    exact = differ(quiet, quiet.others["other"])
    assert exact.accuracy.value == pytest.approx(wanted[0])
    assert exact.selection_gap["g"] is not None
    assert exact.selection_gap["g"].value == pytest.approx(wanted[1])
    assert exact.odds_difference["g"] is not None
    assert exact.odds_difference["g"].value == pytest.approx(wanted[2])
    assert exact.auroc is not None
    assert exact.auroc.value == pytest.approx(
        roc_auc_score(LABELS, SCORES) - roc_auc_score(LABELS, other), abs=0.006
    )


def test_a_model_does_not_differ_from_itself() -> None:
    counts = counted(LOUD, others={"same": SCORES})
    found = differ(counts, counts.others["same"])
    for figure in (found.auroc, found.accuracy, found.selection_rate, found.odds_difference["g"]):
        assert figure is not None
        assert figure.low <= 0 <= figure.high
    alone = counted(QUIET, group_values={"g": ("a",)}, others={"same": SCORES})
    assert differ(alone, alone.others["same"]).selection_gap["g"] is None


def test_one_group_cannot_be_compared() -> None:
    metrics = measure(counted(QUIET, group_values={"g": ("a", "rare")}))
    assert metrics.impact_ratio["g"] is None
    assert metrics.four_fifths["g"] is None


def test_unlabeled_and_unscored_rows_count_nowhere() -> None:
    labels, scores = LABELS.copy(), SCORES.copy()
    labels[:10], scores[10:20] = np.nan, np.nan
    counts = counted(QUIET, labels=labels, probabilities=scores)
    assert counts.scores.sum() == ROWS - 20
    assert counts.scores.shape == (2, BINS)


def test_nothing_held_out_is_not_a_crash() -> None:
    empty = counted(
        LOUD, probabilities=np.zeros(0), labels=np.zeros(0, np.float32), groups={"g": []}
    )
    metrics = measure(empty)
    assert metrics.auroc is None
    assert 0 <= metrics.accuracy.low <= metrics.accuracy.value <= metrics.accuracy.high <= 1


@pytest.mark.parametrize(
    "changed", [{"labels": LABELS[1:]}, {"groups": {}}, {"groups": {"g": GROUP[1:]}}]
)
def test_ragged(changed: dict[str, Any]) -> None:
    with pytest.raises(EvaluationError):
        counted(QUIET, **changed)


def test_the_release_hides_under_training() -> None:
    training = rdp_of(Mechanism(4.1, WHOLE // 13, 150))
    mechanism = evaluation_mechanism(training)
    assert all(a <= b for a, b in zip(rdp_of(mechanism), training, strict=True))
    assert epsilon(rdp_of(mechanism), 1e-5) <= epsilon(training, 1e-5)


def test_split_is_keyed_stable_and_of_the_asked_size() -> None:
    names = [str(place) for place in range(20_000)]
    first = held_out(names, 0.2, b"k" * 32)
    assert first.mean() == pytest.approx(0.2, abs=0.02)
    assert (first[:100] == held_out(names[:100], 0.2, b"k" * 32)).all()
    assert (first != held_out(names, 0.2, b"l" * 32)).any()
    for share in (0.0, 1.0):
        with pytest.raises(EvaluationError):
            held_out(names, share, b"k")


def with_positives(count: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Labels of which so many are positive."""
    labels = np.zeros(ROWS, np.float32)
    labels[np.linspace(0, ROWS - 1, count).astype(int)] = 1
    return labels


@pytest.mark.parametrize("other_class", [False, True])
@pytest.mark.parametrize(
    ("mechanism", "few", "enough"),
    [
        # Three standard deviations of a sum of BINS counts, each with noise of 4.2 / sqrt(0.7).
        (LOUD, 0, 300),
        (QUIET, 4, 60),
    ],
)
def test_one_class_has_no_figures_of_both(
    mechanism: Mechanism, few: int, enough: int, *, other_class: bool
) -> None:
    for seed in range(20):
        labels = with_positives(few)
        counts = counted(mechanism, seed, labels=1 - labels if other_class else labels)
        metrics = measure(counts)
        assert metrics.auroc is None
        assert metrics.impact_ratio == metrics.odds_difference == {"g": None}
        assert metrics.four_fifths == metrics.equalized_odds == {"g": None}
        assert metrics.accuracy.high > 0
        assert metrics.groups["g"]["a"].selection_rate is not None
    labels = with_positives(enough)
    metrics = measure(counted(mechanism, labels=1 - labels if other_class else labels))
    assert metrics.auroc is not None
    assert metrics.impact_ratio["g"] is not None


def test_a_group_without_one_label_says_nothing_of_it() -> None:
    labels = np.where(GROUP == "b", 0, LABELS).astype(np.float32)
    metrics = measure(counted(LOUD, labels=labels))
    row = metrics.groups["g"]["b"]
    assert row.true_positive_rate is None
    assert row.false_positive_rate is not None
    assert metrics.odds_difference["g"] is None  # of two groups, one is left
    assert metrics.impact_ratio["g"] is not None  # which asks for no labels


def test_nobody_selected_has_no_ratio() -> None:
    metrics = measure(counted(LOUD, probabilities=np.full(ROWS, 0.1)))
    assert metrics.auroc is not None
    assert metrics.impact_ratio["g"] is None


@pytest.mark.parametrize(
    ("labels", "refused"), [((0, 0), True), ((1, 1), True), ((), True), ((0, 1), False)]
)
def test_one_class_is_refused_where_rows_may_be_looked_at(
    labels: tuple[int, ...], *, refused: bool
) -> None:
    asked = np.array(labels, np.float32)
    if not refused:
        return check_classes(asked)
    with pytest.raises(RunRefusedError) as caught:
        check_classes(asked)
    assert caught.value.stable_code == "run.one_class"
    return None
