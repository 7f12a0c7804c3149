"""Public bins of a model's inputs, in which served values are counted; no value is kept.

    numbers     the stretches between the public knots that the model itself reads them by, with one
                bin below the bounds, one above, and one for what is missing
    categories  the declared list, and one bin for everything else, missing values among it
    texts, pixels    are not counted: nothing public says what they hold

Bounds that were taken off the rows without noise, as a waived run's open ones, are not public: such
a feature is not counted.
"""

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Final

from training.config import Guarantee
from training.features import KNOTS, Category, FeatureSpec, Numeric, Pixel, Provenance

# Feature → bin → answers; bins without any are left out. Keys are texts, as JSON has them.
Counts = Mapping[str, Mapping[str, int]]
STRETCHES: Final = KNOTS - 1
NUMBER_BINS: Final = STRETCHES + 3  # below, above, missing


class InputBins:
    """Where each counted feature of a checked row lies, in one list for all features end to end.

    Attributes:
        names: the counted features.
        size: bins of all of them together.
    """

    def __init__(self, spec: FeatureSpec, guarantee: Guarantee) -> None:
        """From a model's own specification."""
        self._numbers: list[tuple[str, list[float], int, int]] = []
        self._lists: list[tuple[str, dict[str | None, int], int]] = []
        self._starts: list[tuple[str, int, int]] = []
        self.size = 0
        for feature in spec.features:
            first = self.size
            if isinstance(feature, Pixel):
                continue
            if isinstance(feature, Numeric):
                if feature.provenance is Provenance.PAID and guarantee is Guarantee.WAIVED:
                    continue
                self.size += NUMBER_BINS
                self._numbers.append((feature.name, edges_of(feature), first, self.size - 1))
            elif isinstance(feature, Category):
                self.size += len(feature.values) + 1
                places: dict[str | None, int] = {
                    value: first + place for place, value in enumerate(feature.values)
                }
                self._lists.append((feature.name, places, self.size - 1))
            else:
                continue
            self._starts.append((feature.name, first, self.size))
        self.names = tuple(name for name, _, _ in self._starts)

    def places(self, row: Mapping[str, str | None]) -> list[int]:
        """One place for each counted feature of a checked row (`training.requests.check_row`).

        Of every answered call: kept as short as it can be.
        """
        found = []
        for name, edges, first, missing in self._numbers:
            cell = row[name]
            found.append(missing if cell is None else first + bisect_right(edges, float(cell)))
        for name, known, other in self._lists:
            found.append(known.get(row[name], other))
        return found

    def by_feature(self, counts: Sequence[int]) -> dict[str, dict[str, int]]:
        """(size,) counts as `Counts`."""
        return {
            name: {
                str(place - start): counts[place] for place in range(start, end) if counts[place]
            }
            for name, start, end in self._starts
        }


def edges_of(feature: Numeric) -> list[float]:
    """The knots of a number; the upper bound itself is in the last stretch, as the lower one is."""
    edges = [float(feature.value_at(share / STRETCHES)) for share in range(KNOTS)]
    edges[0], edges[-1] = feature.low, math.nextafter(feature.high, math.inf)
    return edges


def added(one: Counts, other: Counts) -> dict[str, dict[str, int]]:
    """The sum of two counts."""
    total = {name: dict(bins) for name, bins in one.items()}
    for name, bins in other.items():
        mine = total.setdefault(name, {})
        for place, many in bins.items():
            mine[place] = mine.get(place, 0) + many
    return total


def answers_in(counts: Counts) -> int:
    """How many answers were counted: each is in one bin of every feature."""
    return max((sum(bins.values()) for bins in counts.values()), default=0)
