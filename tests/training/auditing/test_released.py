"""Figures that follow from noisy counts: what the noise is, what a record moves, what they say."""

import numpy as np
import pytest

from audit.canonical import canonical
from training.auditing.membership import attack
from training.auditing.released import (
    BINS,
    EDGES,
    NOISY_RATES,
    Claim,
    from_counts,
    from_scores,
    histogram,
    noisy_threshold_attack,
)
from training.errors import AuditingError
from training.mechanisms import Mechanism
from training.randomness import seeded_source

SMALL = Mechanism(1e-6)  # noise that changes no count: never in a ledger


def losses(mean: float, count: int, seed: int) -> np.ndarray:
    """Losses whose log-odds are Gaussian around `mean`."""
    odds = np.random.default_rng(seed).normal(mean, 1.0, count)
    return np.logaddexp(0, -odds)


def test_bins_are_of_log_odds_and_take_every_number() -> None:
    counted = histogram(np.array([0.0, 1e-9, np.log(2), 50.0, np.inf, np.nan]))
    assert counted.sum() == 5  # no number, no bin
    assert counted[-1] == 2  # a loss of nothing: p = 1
    assert counted[0] == 2
    assert counted[EDGES.index(0.0)] + counted[EDGES.index(0.0) + 1] == 1  # p = 1/2
    assert histogram(np.array([np.log1p(np.exp(-0.25))]))[EDGES.index(0.0) + 1] == 1


@pytest.mark.parametrize("other", [0.1, 0.7, 5.0, np.nan])
def test_a_record_moves_one_count_by_one(other: float) -> None:
    """Blanked, it is counted nowhere: the sensitivity that the noise is multiplied with is 1."""
    rows = losses(1.0, 40, 0)
    blanked = np.where(np.arange(40) == 7, np.nan, rows)
    assert np.linalg.norm(histogram(rows) - histogram(blanked)) == 1
    kept = np.append(rows, other)
    assert np.linalg.norm(histogram(kept) - histogram(np.append(rows, np.nan))) <= 1


def test_the_noise_is_what_was_charged_and_whole() -> None:
    members, outsiders = losses(1.0, 300, 1), losses(0.0, 300, 2)
    exact = np.concatenate([histogram(members), histogram(outsiders)])
    source = seeded_source(5, allow_seeded=True)
    found = []
    for _ in range(200):
        shown = noisy_threshold_attack(members, outsiders, Mechanism(20.0), source, None).counts
        assert shown is not None
        found.append(np.concatenate(shown) - exact)
    residuals = np.array(found)
    assert residuals.shape == (200, 2 * BINS)
    assert abs(residuals.mean()) < 1
    assert residuals.std() == pytest.approx(20.0, rel=0.03)


def test_without_noise_the_figures_are_those_of_the_attack() -> None:
    members, outsiders = losses(1.5, 5_000, 3), losses(0.0, 5_000, 4)
    shown = noisy_threshold_attack(
        members, outsiders, SMALL, seeded_source(1, allow_seeded=True), Claim(1.0, 1e-5)
    )
    exact = attack(-members, -outsiders)
    assert shown.auc.value == pytest.approx(exact.auc, abs=0.005)  # bins hide little
    assert shown.auc.low < exact.auc < shown.auc.high
    one, ten = shown.at
    assert 0.003 < one.accused.value <= 0.01
    assert one.found.low < exact.at[0].found <= exact.at[0].found + 0.01
    assert ten.found.value > one.found.value
    # Found far beyond what ε = 1 allows: refuted. With no claim there is nothing to refute.
    assert one.refutes
    assert shown.refutes
    assert not from_scores(-members, -outsiders, None).refutes
    assert from_scores(-members, -outsiders, Claim(1.0, 1e-5)).refutes


def test_intervals_cover_and_an_innocent_model_is_not_accused() -> None:
    """Members and outsiders alike: AUC 0.5, as many found as accused."""
    source, claim = seeded_source(9, allow_seeded=True), Claim(0.1, 1e-5)
    covered = refuted = 0
    for seed in range(60):
        members, outsiders = losses(0.5, 1_000, 2 * seed), losses(0.5, 1_000, 2 * seed + 1)
        shown = noisy_threshold_attack(members, outsiders, Mechanism(10.0), source, claim)
        covered += shown.auc.low <= 0.5 <= shown.auc.high
        refuted += shown.refutes
    assert covered >= 55
    assert refuted <= 1


def test_noise_alone_is_told_as_noise() -> None:
    """A table so small that the noise drowns it: wide intervals, and nothing out of range."""
    source = seeded_source(2, allow_seeded=True)
    for _ in range(50):
        shown = noisy_threshold_attack(
            losses(0, 24, 0), losses(0, 24, 1), Mechanism(40.0), source, Claim(1.0, 1e-5)
        )
        for share in (shown.auc, *(at.found for at in shown.at), *(at.accused for at in shown.at)):
            assert 0 <= share.low <= share.value <= share.high <= 1
        assert shown.auc.high - shown.auc.low > 0.5
        assert not shown.refutes
    assert canonical(shown.as_dict())


def test_who_cannot_be_counted_is_accused_at_no_threshold() -> None:
    members = np.zeros(BINS)
    members[-1] = 50
    outsiders = np.zeros(BINS)
    outsiders[0] = 100
    shown = from_counts(members, outsiders, (100, 100), SMALL, None)
    # Half of the members stand above all outsiders, half below all.
    assert shown.auc.value == pytest.approx(0.5)
    assert [at.found.value for at in shown.at] == [0.5] * len(NOISY_RATES)


@pytest.mark.parametrize("bad", [np.array([]), np.zeros((2, 2))])
def test_what_is_no_list_of_losses_is_refused(bad: np.ndarray) -> None:
    good = np.zeros(3)
    for members, outsiders in ((bad, good), (good, bad)):
        with pytest.raises(AuditingError) as refused:
            noisy_threshold_attack(
                members, outsiders, SMALL, seeded_source(1, allow_seeded=True), None
            )
        assert refused.value.stable_code == "auditing.scores_invalid"
