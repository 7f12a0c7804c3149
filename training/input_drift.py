"""How far the inputs that a version is served have moved, feature by feature.

PSI of a window's counts against those of the first window that measured inputs, as for scores
(`training.watching`). What training saw is no reference: its marginals would be a release of their
own, with a price. A version that is served other inputs than it was trained on from its first day
on is not found by this.

Chance: one feature of F passes a 95 % point by chance in 1 − 0.95^F of all windows. So each is held
against the 1 − 0.05/F point (Bonferroni), and a window of a steady population finds anything in at
most 5 of 100.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from training.input_bins import Counts

JUDGED: Final = 20  # features, those that moved farthest: the rest is below them
_LEVEL: Final = 0.05
_DRAWS: Final = 1_000
_DRAWS_A_FEATURE: Final = 100  # five of them lie beyond the point
_MOST_DRAWS: Final = 20_000
# The index of a list of so many values is a sum of so many small parts, and all but normal: its
# mean and deviation need fewer draws than its tail.
_LONG: Final = 500
_LONG_DRAWS: Final = 100


@dataclass(frozen=True)
class Moved:
    """One feature of a window.

    Attributes:
        feature: its name.
        psi: against the reference.
        chance: the index that one population shows by itself, corrected for the number of features.
    """

    feature: str
    psi: float
    chance: float

    @property
    def shifted(self) -> bool:
        """Whether it is distributed otherwise, and not by chance."""
        from governance.quality.drift import ACT  # noqa: PLC0415 - loads polars

        return self.psi > max(ACT, self.chance)


def drift(reference: Counts, served: Counts) -> list[dict[str, Any]]:
    """The features that moved farthest, worst first, as a window keeps them.

    Deterministic: the draws need no secrecy.
    """
    from governance.quality.drift import stability_index  # noqa: PLC0415 - loads polars

    found = []
    for name in reference.keys() & served.keys():
        old, new = _aligned(reference[name], served[name])
        if old.sum() and new.sum():
            psi = round(stability_index(old / old.sum(), new / new.sum()), 6)
            found.append((psi, name, old, int(new.sum())))
    found.sort(key=lambda one: (-one[0], one[1]))
    return [
        asdict(Moved(name, psi, _chance(old, many, len(found))))
        for psi, name, old, many in found[:JUDGED]
    ]


def read(stored: Sequence[dict[str, Any]] | None) -> list[Moved]:
    """What `drift` gave, as a window kept it."""
    return [Moved(**one) for one in stored or ()]


def _aligned(one: Any, other: Any) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Both over the bins that either uses: a bin that neither uses adds nothing to an index."""
    bins = sorted(one.keys() | other.keys(), key=int)
    return (
        np.array([one.get(place, 0) for place in bins], dtype=np.float64),
        np.array([other.get(place, 0) for place in bins], dtype=np.float64),
    )


def _chance(old: npt.NDArray[np.float64], many: int, features: int) -> float:
    """The 1 − 0.05/F point of indices between two samples of the reference's shares."""
    from governance.quality.drift import stability_indices  # noqa: PLC0415 - loads polars

    known = int(old.sum())
    shares = old / known
    long = len(shares) > _LONG
    draws = _LONG_DRAWS if long else min(max(_DRAWS, _DRAWS_A_FEATURE * features), _MOST_DRAWS)
    generator = np.random.Generator(np.random.Philox(0))
    indices = stability_indices(
        generator.multinomial(known, shares, draws) / known,
        generator.multinomial(many, shares, draws) / many,
    )
    point = 1 - _LEVEL / features
    if long:
        return round(float(indices.mean() + NormalDist().inv_cdf(point) * indices.std()), 6)
    return round(float(np.quantile(indices, point)), 6)
