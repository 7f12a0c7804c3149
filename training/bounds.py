"""Bounds of a numeric column that nobody declared, paid for out of ε.

For all such columns together, one Gaussian release: a histogram of each over the same public bins
(zero, and a bin for every power of two of either sign). A record falls into one bin of each of the
k columns, so blanking it moves the stacked histograms by at most √k in L2. The bounds are the
outermost edges of the bins whose noisy count clears a threshold that noise alone rarely reaches;
what lies outside is clamped. The mechanism goes into the run's ledger like a training step.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from training.errors import FeatureError
from training.features import Table, column_of, number
from training.mechanisms import Mechanism, Purpose
from training.randomness import Source

SMALLEST_POWER: Final = -10
LARGEST_POWER: Final = 40
SHARE: Final = 0.1  # of the run's Rényi budget, when bounds must be bought
_FALSE_BIN: Final = 0.01  # probability that any empty bin of a column passes for a filled one


@dataclass(frozen=True)
class PaidBounds:
    """Bounds by column, and the mechanism that they cost."""

    bounds: dict[str, tuple[float, float]]
    mechanism: Mechanism


def edges() -> npt.NDArray[np.float64]:
    """Public bin edges, ascending: -2**40 … -2**-10, 2**-10 … 2**40; one bin around zero."""
    powers = 2.0 ** np.arange(SMALLEST_POWER, LARGEST_POWER + 1)
    return np.concatenate([-powers[::-1], powers])


def buy_bounds(
    table: Table, names: Sequence[str], noise_multiplier: float, source: Source
) -> PaidBounds:
    """Release noisy histograms of the named columns and read bounds off them.

    Args:
        table: the training rows.
        names: the k columns.
        noise_multiplier: σ of the joint release, relative to its sensitivity √k.
        source: secure randomness.

    Returns:
        Bounds for each column; [0, 1] where nothing cleared the threshold.

    Raises:
        FeatureError: no column is named, or one is missing.
        ConfigError: the noise multiplier is not positive and finite.
    """
    if not names:
        raise FeatureError("no column needs bounds")
    mechanism = Mechanism(noise_multiplier, purpose=Purpose.BOUNDS)
    sigma = noise_multiplier * math.sqrt(len(names))
    borders = edges()
    bins = len(borders) - 1
    # P(N(0, σ²) > t) ≤ exp(-t² / 2σ²); a union bound over the bins gives the threshold.
    threshold = sigma * math.sqrt(2 * math.log(bins / _FALSE_BIN))
    bounds = {}
    for name in names:
        values = np.array([number(cell) for cell in column_of(table, name)])
        values = np.clip(values[np.isfinite(values)], borders[0], borders[-1])
        counts, _ = np.histogram(values, borders)
        # Rounding is post-processing, and leaves no low bits for a floating-point attack.
        noisy = np.rint(counts + sigma * source.gaussian(bins))
        filled = np.flatnonzero(noisy > threshold)
        if len(filled):
            bounds[name] = (float(borders[filled[0]]), float(borders[filled[-1] + 1]))
        else:
            bounds[name] = (0.0, 1.0)
        # The middle bin holds zero: a bound there is zero itself, not a tiny power of two.
        tiny = 2.0**SMALLEST_POWER
        low, high = bounds[name]
        bounds[name] = (0.0 if low == -tiny else low, 0.0 if high == tiny and low < -tiny else high)
    return PaidBounds(bounds, mechanism)
