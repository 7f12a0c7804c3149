"""What touched the data, in the only terms that privacy accounting knows: Gaussian mechanisms.

The ledger stores these records, never an epsilon: epsilon is derived (`training.accounting`), so a
better analysis or another delta can be applied to the same facts later.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final

from training.errors import ConfigError

WHOLE: Final = 2**32  # sampling rates are integers out of this, so mask and accounting share one q


class Purpose(StrEnum):
    """What the release was for; the card groups its provenance by it."""

    TRAINING = "training"
    BOUNDS = "bounds"
    HISTOGRAM = "histogram"  # how many rows are in each bin of a boosted model
    EVALUATION = "evaluation"
    TWIN = "twin"  # marginals of a synthetic twin
    SELECTION = "selection"  # by which figure a search tells its trials apart
    EXAMINATION = "examination"  # what a membership attack found, in public bins


def exact(number: float) -> str:
    """The shortest plain decimal string that reads back as the same double: never "1e-05"."""
    return format(Decimal(repr(float(number))), "f")


@dataclass(frozen=True)
class Mechanism:
    """`steps` releases of a Poisson-subsampled Gaussian sum (Mironov et al., arXiv 1908.10530).

    Attributes:
        noise_multiplier: standard deviation of the noise over the L2 sensitivity, per release.
        sampling: inclusion probability of a record, as an integer out of 2**32; 2**32 is every
        record.
        steps: how many releases.
        purpose: what they were for.
        stopping: of a private search, the probability with which a trial of it is the last, as an
            integer out of 2**32; the releases are then those of one trial. 0 for no search.
    """

    noise_multiplier: float
    sampling: int = WHOLE
    steps: int = 1
    purpose: Purpose = Purpose.TRAINING
    stopping: int = 0

    def __post_init__(self) -> None:
        if not math.isfinite(self.noise_multiplier) or self.noise_multiplier <= 0:
            raise ConfigError(
                "a noise multiplier must be a positive, finite number",
                code="run.noise_invalid",
                pointer="/noise_multiplier",
            )
        if not 0 < self.sampling <= WHOLE:
            raise ConfigError(
                "a sampling rate must be above 0 and at most 1",
                code="run.sample_rate_invalid",
                pointer="/sampling",
            )
        if self.steps < 0:
            raise ConfigError(
                "a step count cannot be negative", code="run.steps_invalid", pointer="/steps"
            )
        if not 0 <= self.stopping < WHOLE or (self.stopping and not self.steps):
            raise ConfigError(
                "a search stops with a probability below 1, and a trial of it does something",
                code="run.search_invalid",
                pointer="/search",
            )

    @property
    def sample_rate(self) -> float:
        """The probability q with which a record is in one release; exact in a double."""
        return self.sampling / WHOLE

    def as_dict(self) -> dict[str, object]:
        """The canonical-JSON form that the ledger and the card keep."""
        return {
            "noise_multiplier": exact(self.noise_multiplier),
            "sampling": self.sampling,
            "steps": self.steps,
            "purpose": self.purpose.value,
            # What was written before there were searches reads as it always did.
            **({"stopping": self.stopping} if self.stopping else {}),
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, object]) -> "Mechanism":
        """Read `as_dict` back.

        Raises:
            ConfigError: a field is missing, malformed or out of range.
        """
        try:
            return cls(
                noise_multiplier=float(str(stored["noise_multiplier"])),
                sampling=int(str(stored["sampling"])),
                steps=int(str(stored["steps"])),
                purpose=Purpose(str(stored["purpose"])),
                stopping=int(str(stored.get("stopping", 0))),
            )
        except (KeyError, ValueError):
            raise ConfigError("a stored mechanism cannot be read") from None
