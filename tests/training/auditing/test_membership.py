"""Attacks on arrays: against scikit-learn, against the ceiling, and LiRA where it should win."""

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score, roc_curve

from audit.canonical import canonical
from training.auditing.bounds import clopper_pearson, gaussian_epsilon
from training.auditing.membership import RATES, attack, ceiling, lira, threshold_attack
from training.errors import ConfigError


@pytest.mark.parametrize("digits", [1, 8])  # with ties, and without
@pytest.mark.parametrize(("members", "outsiders"), [(300, 5_000), (2_000, 700), (5, 3)])
def test_figures_are_those_of_scikit_learn(digits: int, members: int, outsiders: int) -> None:
    draw = np.random.default_rng(0)
    inside = draw.normal(1.0, 1.0, members).round(digits)
    outside = draw.normal(0.0, 1.0, outsiders).round(digits)
    found = attack(inside, outside)
    labels = np.repeat([1, 0], [members, outsiders])
    scores = np.concatenate([inside, outside])
    assert found.auc == pytest.approx(roc_auc_score(labels, scores))
    false, true, _ = roc_curve(labels, scores, drop_intermediate=False)
    for rate, at in zip(RATES, found.at, strict=True):
        assert at.found == pytest.approx(true[false <= rate].max())
        assert at.interval == clopper_pearson(round(at.found * members), members)
    assert canonical(found.as_dict())


def test_a_small_loss_is_suspicious() -> None:
    members, outsiders = np.full(50, 0.1), np.linspace(0.5, 3, 2_000)
    found = threshold_attack(members, outsiders)
    assert (found.auc, found.at[0].found, found.at[1].found) == (1.0, 1.0, 1.0)
    assert threshold_attack(outsiders, members).auc == 0.0


@pytest.mark.parametrize(
    ("rate", "epsilon", "delta", "share"),
    [
        (0.01, 1.0, 1e-5, math.e * 0.01 + 1e-5),
        (0.9, 1.0, 1e-5, 1 - math.exp(-1) * (0.1 - 1e-5)),
        (0.01, 0.0, 1e-5, 0.01 + 1e-5),
        (1.0, 2.0, 1e-5, 1.0),
        (0.5, 1_000.0, 1e-5, 1.0),
    ],
)
def test_the_ceiling_is_the_region_s_edge(
    rate: float, epsilon: float, delta: float, share: float
) -> None:
    assert ceiling(rate, epsilon, delta) == pytest.approx(share, abs=1e-12)


@pytest.mark.parametrize("mu", [0.3, 1.0, 3.0])
def test_the_best_attack_on_a_gaussian_stays_below_and_touches(mu: float) -> None:
    delta = 1e-5
    epsilon = gaussian_epsilon(mu, delta)
    rates = stats.norm.sf(np.linspace(-8, 8, 2_001))
    best = stats.norm.cdf(stats.norm.ppf(rates) + mu)
    room = np.array([ceiling(rate, epsilon, delta) for rate in rates]) - best
    assert room.min() > -1e-12
    assert room[rates < 0.5].min() < 1e-6


def overfitted(shadows: int, records: int = 4_000, seed: int = 0) -> tuple[Any, Any, Any, Any]:
    """Losses of models that differ in record by record, and less where they trained."""
    draw = np.random.default_rng(seed)
    hard = draw.normal(0.0, 2.0, records)  # log-odds of a model without the record
    included = draw.random((shadows + 1, records)) < 0.5
    odds = hard + draw.normal(0.0, 0.5, included.shape) + 1.0 * included
    losses = np.log1p(np.exp(-odds))
    return losses[0], included[0], losses[1:], included[1:]


def test_shadow_models_see_what_a_threshold_does_not() -> None:
    target, members, shadows, included = overfitted(16)
    plain = threshold_attack(target[members], target[~members])
    scores = lira(target, shadows, included)
    strong = attack(scores[members], scores[~members])
    assert plain.auc < 0.67
    assert strong.auc > 0.88
    assert strong.at[0].found > 5 * plain.at[0].found
    outside = scores[~members]
    assert (outside.mean(), outside.std()) == pytest.approx((0.0, 1.07), abs=0.06)


def test_only_models_without_the_record_are_asked() -> None:
    target, _, shadows, included = overfitted(8, records=200)
    kept = included.sum(0) < 8
    target, shadows, included = target[kept], shadows[:, kept], included[:, kept]
    changed = np.where(included, 77.0, shadows)
    np.testing.assert_array_equal(lira(target, shadows, included), lira(target, changed, included))


def test_losses_of_certainty_stay_finite() -> None:
    shadows = np.array([[0.0, 800.0, 0.3], [1e-300, 900.0, 0.4]])
    scores = lira(np.array([0.0, 1_000.0, 0.2]), shadows, np.zeros((2, 3), dtype=np.bool_))
    assert np.isfinite(scores).all()


LOSSES = np.ones(3)


@pytest.mark.parametrize(
    "refused",
    [
        lambda: attack(LOSSES[:0], LOSSES),
        lambda: attack(LOSSES, LOSSES[:0]),
        lambda: attack(LOSSES[None], LOSSES),
        lambda: threshold_attack(LOSSES, LOSSES * math.nan),
        lambda: lira(LOSSES, np.ones((2, 4)), np.zeros((2, 4), dtype=np.bool_)),
        lambda: lira(LOSSES, np.ones((2, 3)), np.zeros((3, 3), dtype=np.bool_)),
        lambda: lira(LOSSES, np.ones((2, 3)), np.eye(2, 3) + np.eye(2, 3)[::-1] > 0),
        lambda: lira(LOSSES, np.ones((1, 3)), np.zeros((1, 3), dtype=np.bool_)),
        lambda: ceiling(1.1, 1.0, 1e-5),
        lambda: ceiling(0.1, -1.0, 1e-5),
        lambda: ceiling(0.1, math.nan, 1e-5),
        lambda: ceiling(0.1, 1.0, 0.0),
    ],
)
def test_what_makes_no_sense_is_refused(refused: Any) -> None:
    with pytest.raises(ConfigError):
        refused()
