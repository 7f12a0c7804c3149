"""What ε promises, in words with the right numbers."""

import math

import pytest

from training.cards import promise_in_words
from training.errors import ConfigError
from training.units import Unit


@pytest.mark.parametrize("unit", Unit)
@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize(
    ("epsilon", "sure", "caught"),
    [
        (1.0, "73.1", "2.7"),
        (0.5, "62.2", "1.6"),
        (3.0, "95.3", "20.1"),
        (1_000.0, "100.0", "100.0"),
    ],
)
def test_promise(language: str, unit: Unit, epsilon: float, sure: str, caught: str) -> None:
    text = promise_in_words(epsilon, 1e-5, language, unit)
    for figure in (f"{epsilon:g}", sure, caught, "0.00001", "100,000"):
        assert figure in text
    assert not set("{}") & set(text)  # nothing was left to be filled in
    one = {
        ("en", Unit.RECORD): "any one record",
        ("en", Unit.SUBJECT): "any one person",
        ("zh", Unit.RECORD): "任何一条记录",
        ("zh", Unit.SUBJECT): "任何一个人",
    }
    assert one[language, unit] in text


def test_the_promise_is_the_posterior_of_even_odds() -> None:
    assert 100 * math.e / (1 + math.e) == pytest.approx(73.1, abs=0.05)


@pytest.mark.parametrize(
    ("epsilon", "delta", "language"),
    [(0, 1e-5, "en"), (math.nan, 1e-5, "en"), (1, 0, "zh"), (1, 1e-5, "fr")],
)
def test_refused(epsilon: float, delta: float, language: str) -> None:
    with pytest.raises(ConfigError):
        promise_in_words(epsilon, delta, language)
