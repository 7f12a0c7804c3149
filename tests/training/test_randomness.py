"""Rates, moments, and the two refusals."""

import os

import numpy as np
import pytest

from training.errors import RandomnessError
from training.mechanisms import WHOLE
from training.randomness import (
    SECRET_LENGTH,
    SECURE,
    SEEDED,
    Secret,
    fresh_secret,
    secure_source,
    seeded_source,
)


@pytest.mark.parametrize("probability", [0.0, 0.001, 0.08, 0.5, 1.0])
def test_inclusion_rate(probability: float) -> None:
    count = 400_000
    hits = secure_source().bernoulli(round(probability * WHOLE), count).sum()
    # Six standard deviations: fails by chance about once in 10**9 runs.
    assert abs(hits - probability * count) <= 6 * np.sqrt(count * probability * (1 - probability))


def test_inclusions_are_independent() -> None:
    source = secure_source()
    first, second = source.bernoulli(WHOLE // 2, 200_000), source.bernoulli(WHOLE // 2, 200_000)
    assert abs((first & second).mean() - 0.25) < 0.01


def test_gaussian_moments() -> None:
    draws = secure_source().gaussian(400_001)
    assert draws.shape == (400_001,)
    assert abs(draws.mean()) < 6 / np.sqrt(400_000)
    assert draws.std() == pytest.approx(1, abs=0.01)
    # Third and fourth moments and a tail of a normal distribution.
    assert abs((draws**3).mean()) < 0.05
    assert (draws**4).mean() == pytest.approx(3, abs=0.1)
    assert (np.abs(draws) > 1.959964).mean() == pytest.approx(0.05, abs=0.003)
    assert np.isfinite(draws).all()


def test_two_secure_sources_differ() -> None:
    assert secure_source().name == SECURE
    assert (secure_source().gaussian(8) != secure_source().gaussian(8)).all()


def test_a_seed_is_refused_outside_tests() -> None:
    with pytest.raises(RandomnessError) as caught:
        seeded_source(1, allow_seeded=False)
    assert caught.value.stable_code == "randomness.seed_refused"
    source = seeded_source(1, allow_seeded=True)
    assert source.name == SEEDED
    assert (source.gaussian(8) == seeded_source(1, allow_seeded=True).gaussian(8)).all()


def test_a_rate_out_of_range_is_refused() -> None:
    with pytest.raises(RandomnessError):
        secure_source().bernoulli(WHOLE + 1, 3)


def test_a_source_does_not_cross_a_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    source = secure_source()
    parent = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: parent + 1)
    with pytest.raises(RandomnessError, match="fork"):
        source.gaussian(1)


def test_each_step_has_a_stream_of_its_own_and_the_same_each_time() -> None:
    secret = Secret(b"k" * SECRET_LENGTH)
    first = secret.step(1).gaussian(50)
    assert (first == Secret(b"k" * SECRET_LENGTH).step(1).gaussian(50)).all()
    for other in (secret.step(2), secret.stream("bounds"), Secret(b"l" * SECRET_LENGTH).step(1)):
        assert (first != other.gaussian(50)).all()
    # Independent, not only different: of the streams of many steps, the same place is normal too.
    across = np.array([secret.step(number).gaussian(3)[1] for number in range(4_000)])
    assert abs(across.mean()) < 6 / np.sqrt(len(across))
    assert across.std() == pytest.approx(1, abs=0.08)


def test_neighbors_are_independent() -> None:
    """Each draw shares legs' pairs with its neighbors: no correlation, nor of squares."""
    draws = secure_source().gaussian(400_000)
    for one, other in ((draws[:-1], draws[1:]), (draws[:-1] ** 2, draws[1:] ** 2)):
        assert abs(np.corrcoef(one, other)[0, 1]) < 6 / np.sqrt(len(one))


def test_a_secret_is_as_long_as_it_must_be() -> None:
    with pytest.raises(RandomnessError):
        Secret(b"short")


def test_a_secret_does_not_cross_a_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = fresh_secret()
    parent = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: parent + 1)
    with pytest.raises(RandomnessError, match="fork"):
        secret.step(1)
