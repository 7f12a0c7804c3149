"""Rényi arithmetic without torch: add, compare, convert. Light enough for a web process.

A *spend* is a tuple of Rényi divergences, one for each order in `ORDERS`. Spends of mechanisms on
the same records add; spends on disjoint records take the maximum; `epsilon` converts at the end.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Final

from training.errors import BudgetError, ConfigError

# Whole orders only. There the analysis is a finite sum of positive terms, on which Opacus and
# dp-accounting agree to the last digits, so a ledger can be recomputed by either; at fractional
# orders dp-accounting gives an upper bound. The price is 0.2 % of ε at ε = 3, nothing at ε = 1.
ORDERS: Final[tuple[float, ...]] = (
    *(float(order) for order in range(2, 65)),
    *(72.0, 80.0, 96.0, 112.0, 128.0, 160.0, 192.0, 256.0, 384.0, 512.0),
)
NOTHING: Final[tuple[float, ...]] = (0.0,) * len(ORDERS)


def _checked(spend: Sequence[float]) -> tuple[float, ...]:
    if len(spend) != len(ORDERS) or any(math.isnan(value) or value < 0 for value in spend):
        raise BudgetError(
            "a spend must have one non-negative value for each order", code="budget.spend_invalid"
        )
    return tuple(float(value) for value in spend)


def gaussian(noise_multiplier: float) -> tuple[float, ...]:
    """Spend of one Gaussian release on all records: α / 2σ² (Mironov, arXiv 1702.07476)."""
    if not math.isfinite(noise_multiplier) or noise_multiplier <= 0:
        raise ConfigError(
            "a noise multiplier must be a positive, finite number", code="run.noise_invalid"
        )
    return tuple(order / (2 * noise_multiplier**2) for order in ORDERS)


def together(spends: Iterable[Sequence[float]]) -> tuple[float, ...]:
    """Sequential composition: the same record was in all of them, so spends add by order."""
    total = NOTHING
    for spend in spends:
        total = tuple(a + b for a, b in zip(total, _checked(spend), strict=True))
    return total


def apart(spends: Iterable[Sequence[float]]) -> tuple[float, ...]:
    """Parallel composition: no record was in two of them, so the largest spend covers each one."""
    largest = NOTHING
    for spend in spends:
        largest = tuple(max(a, b) for a, b in zip(largest, _checked(spend), strict=True))
    return largest


def repeated(spend: Sequence[float], stopping: float) -> tuple[float, ...]:
    """Spend of the best of K trials, K geometric and kept to oneself, from the spend of one.

    Papernot and Steinke (arXiv 2110.03620), Theorem 2, for η = 1: after each trial another follows
    with probability 1 - γ, so K is at least 1 and γ⁻¹ in the mean. At order α, for any order α̂,

        ε'(α) = ε(α) + 2 (1 - 1/α̂) ε(α̂) + 2 ln(1/γ) / α̂ + ln(1/γ) / (α - 1)

    and no order costs more than a higher one. Everything that a trial lets out, but the best one's
    result, must stay unknown: K too.

    Args:
        spend: of one trial, whichever candidate it draws.
        stopping: γ, above 0 and below 1.
    """
    checked, longer = _checked(spend), math.log(1 / stopping)
    same = min(
        (1 - 1 / order) * rdp + longer / order for order, rdp in zip(ORDERS, checked, strict=True)
    )
    total = list[float]()
    lowest = math.inf
    for order, rdp in zip(reversed(ORDERS), reversed(checked), strict=True):
        lowest = min(lowest, rdp + 2 * same + longer / (order - 1))
        total.append(lowest)
    return tuple(reversed(total))


def check_delta(delta: float) -> float:
    """Return `delta`, or refuse what is not strictly between 0 and 1.

    Raises:
        ConfigError: `run.delta_invalid`.
    """
    if not math.isfinite(delta) or not 0 < delta < 1:
        raise ConfigError(
            "δ must be above 0 and below 1", code="run.delta_invalid", pointer="/delta"
        )
    return float(delta)


def check_epsilon(epsilon: float, pointer: str = "/epsilon") -> float:
    """Return `epsilon`, or refuse NaN, infinity, zero and below.

    Raises:
        ConfigError: `run.epsilon_invalid`.
    """
    if not math.isfinite(epsilon) or epsilon <= 0:
        raise ConfigError(
            "ε must be a positive, finite number", code="run.epsilon_invalid", pointer=pointer
        )
    return float(epsilon)


def epsilon(spend: Sequence[float], delta: float) -> float:
    """The smallest ε over all orders that `spend` proves at `delta`; 0.0 for nothing spent.

    The conversion is Theorem 21 of Balle et al. (arXiv 1905.09982), as in Opacus.

    Raises:
        ConfigError: δ out of range. BudgetError: a malformed spend.
    """
    check_delta(delta)
    checked = _checked(spend)
    if not any(checked):
        return 0.0
    return max(
        0.0,
        min(
            rdp - (math.log(delta) + math.log(order)) / (order - 1) + math.log1p(-1 / order)
            for order, rdp in zip(ORDERS, checked, strict=True)
        ),
    )


def admits(
    spent: Sequence[float], asked: Sequence[float], epsilon_cap: float, delta: float
) -> bool:
    """Whether `asked` fits after `spent`: some order stays within what (ε cap, δ) leaves it.

    The Rényi filter of Feldman and Zrnic (arXiv 2008.11193): unlike composition with fixed
    parameters it stays valid when later runs are chosen after seeing the results of earlier ones.

    Raises:
        ConfigError: the cap or δ is not a positive, finite number. BudgetError: a malformed spend.
    """
    check_epsilon(epsilon_cap, "/epsilon_cap")
    return epsilon(together((spent, asked)), delta) <= epsilon_cap


def as_strings(spend: Sequence[float]) -> list[str]:
    """A spend as canonical JSON carries it: shortest round-trip decimals, ordered as `ORDERS`."""
    return [repr(value) for value in _checked(spend)]


def from_strings(stored: Sequence[str]) -> tuple[float, ...]:
    """Read `as_strings` back.

    Raises:
        BudgetError: not one non-negative number for each order.
    """
    try:
        return _checked([float(text) for text in stored])
    except ValueError:
        raise BudgetError("a stored spend cannot be read", code="budget.spend_invalid") from None
