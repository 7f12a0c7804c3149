"""What a clipped sum is, and the bounds that every record's vector is held to."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
import torch

from training.config import (
    CLIP_SHARE,
    GRADIENT_SHARE,
    LOSS_CEILING,
    LOSS_SHARE,
    NORM_CEILING,
    NORM_SHARE,
)
from training.errors import EngineError

LossFunction = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

# Norms and sums are float32: the factor keeps their rounding below the sensitivity C.
_ROUNDING: Final = 1 - 1e-5
# Records a pass: bounds memory. A sum does not care how it is chunked.
PHYSICAL: Final = 4_096
WATCHED: Final = 3  # figures of a record that are summed beside its gradient
_SMALLEST_NORM: Final = 1e-12


@dataclass(frozen=True)
class ClippedSum:
    """Step 4: sums over a batch, before noise.

    Attributes:
        gradient: (P,) sum of clipped gradients, all parameters end to end, float64.
        watched: (3,) sums of scaled figures: losses, how many gradients were clipped, their norms.
        refused: how many records contributed zero because something was not finite. Private.
    """

    gradient: npt.NDArray[np.float64]
    watched: npt.NDArray[np.float64]
    refused: int


class ClippingPass(Protocol):
    """Steps 2 to 4 for one network."""

    def sum(
        self, features: torch.Tensor, labels: torch.Tensor, shares: torch.Tensor | None = None
    ) -> ClippedSum:
        """Clipped sums over (B, …) features and (B,) labels; B may be 0.

        With (B,) `shares`, each record's clipped vector is multiplied by its share: so a person's
        records, whose shares add up to 1, have a sum of norm at most C (`training.units`).

        Raises:
            EngineError: `engine.loss_shape`, the loss is not (B,). With (B, 1) the coefficients
                would broadcast to (B, B) and clip nothing (Opacus' ghost mode does that).
        """
        ...

    def light(self, records: float) -> bool:
        """Whether so many records are too little work for several threads to share."""
        ...

    def close(self) -> None:
        """Leave the network as a plain module."""
        ...


@dataclass(frozen=True)
class Bounds:
    """C, shared among a record's gradient and the three figures that are watched.

    With shares r of the loss, c of the indicator and n of the norm, and s = √(1 - r² - c² - n²) of
    the gradient, a record adds (g, l, i, m) with ‖g‖ ≤ s·C, 0 ≤ l ≤ r·C, i ∈ {0, c·C} and
    0 ≤ m ≤ n·C, whatever the record, since each is clamped by itself. Hence
    ‖g‖² + l² + i² + m² ≤ (s² + r² + c² + n²)·C² = C².
    """

    max_grad_norm: float

    @property
    def gradient(self) -> float:
        """s·C, less what float32 may round up."""
        return self.max_grad_norm * GRADIENT_SHARE * _ROUNDING

    def weights(self, norms: torch.Tensor, shares: torch.Tensor | None) -> torch.Tensor:
        """(B,) factors that bring gradients of these norms within the gradient's share of C.

        Times the records' shares, where they have shares.
        """
        within = (self.gradient / norms.clamp(min=_SMALLEST_NORM)).clamp(max=1.0)
        return within if shares is None else within * shares

    def watched(
        self, losses: torch.Tensor, norms: torch.Tensor, shares: torch.Tensor | None
    ) -> npt.NDArray[np.float64]:
        """(3,) sums of what is watched, each figure clamped to its share of C.

        Times the records' shares, where they have shares.
        """
        bounded = losses.detach().clamp(min=0.0, max=LOSS_CEILING)
        lengths = norms.clamp(max=NORM_CEILING * self.max_grad_norm)
        clipped = norms > self.gradient
        if shares is None:
            found = [
                float(bounded.sum(dtype=torch.float64)),
                float(torch.count_nonzero(clipped)),
                float(lengths.sum(dtype=torch.float64)),
            ]
        else:
            weights = shares.double()
            found = [float(part.double() @ weights) for part in (bounded, clipped, lengths)]
        sums: npt.NDArray[np.float64] = np.array(found)
        sums *= self.units
        return sums

    @property
    def units(self) -> npt.NDArray[np.float64]:
        """(3,) what one unit of loss, one clipped record and one unit of norm add to the sums."""
        most = np.array([LOSS_CEILING, 1.0, NORM_CEILING * self.max_grad_norm])
        shares: npt.NDArray[np.float64] = np.array([LOSS_SHARE, CLIP_SHARE, NORM_SHARE])
        shares *= self.max_grad_norm / most
        return shares


def watched_units(max_grad_norm: float) -> npt.NDArray[np.float64]:
    """(3,) by what a sum of `ClippedSum.watched` is divided to be in the figures' own units."""
    return Bounds(max_grad_norm).units


def one_a_record(losses: torch.Tensor, records: int) -> torch.Tensor:
    """The losses, if they are one number a record.

    Raises:
        EngineError: `engine.loss_shape`.
    """
    if losses.shape != (records,):
        raise EngineError("a loss must be one number a record", code="engine.loss_shape")
    return losses


def even(records: int, most: int) -> int:
    """The size of equal chunks, none above `most`: a last one of a few records wastes a pass."""
    return max(1, math.ceil(records / max(1, math.ceil(records / most))))
