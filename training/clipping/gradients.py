"""Every record's gradient by one layer, in the smallest form that gives norms and clipped sums."""

from dataclasses import dataclass
from typing import Protocol

import torch

from training.errors import EngineError
from training.networks import Embeddings


class Gradients(Protocol):
    """Every record's gradient by one layer's weight and bias, in whatever form."""

    def squares(self) -> torch.Tensor:
        """(B,) squared norms."""
        ...

    def only(self, chosen: torch.Tensor) -> "Gradients":
        """Those of some records."""
        ...

    def sums(self, weights: torch.Tensor) -> list[torch.Tensor]:
        """Sums over the records, each times its (B,) weight: of what is trained, in order."""
        ...


@dataclass(frozen=True)
class Dense:
    """Of a Linear layer: (B, D) inputs a and (B, K) signals g."""

    trained: tuple[str, ...]
    given: torch.Tensor
    signal: torch.Tensor

    def __post_init__(self) -> None:
        if self.given.ndim != 2:  # noqa: PLR2004 - the formula is of vectors
            raise EngineError("a Linear layer takes one vector a record", code="engine.shape")

    def squares(self) -> torch.Tensor:
        """‖a‖²‖g‖² for the weight, and ‖g‖² for the bias."""
        squares = self.given.new_full((len(self.given),), float("bias" in self.trained))
        if "weight" in self.trained:
            squares += torch.linalg.vecdot(self.given, self.given)
        squares *= torch.linalg.vecdot(self.signal, self.signal)
        return squares

    def only(self, chosen: torch.Tensor) -> "Dense":
        """See `Gradients`."""
        return Dense(self.trained, self.given[chosen], self.signal[chosen])

    def sums(self, weights: torch.Tensor) -> list[torch.Tensor]:
        """See `Gradients`."""
        clipped = self.signal * weights.unsqueeze(1)
        return [
            clipped.T @ self.given if name == "weight" else clipped.sum(0) for name in self.trained
        ]


@dataclass(frozen=True)
class Blocks:
    """Of `Embeddings`: one product of input and signal for each matrix that is trained."""

    parts: tuple[Dense, ...]

    @classmethod
    def of(cls, layer: Embeddings, given: torch.Tensor, signal: torch.Tensor) -> "Blocks":
        """By block, leaving out what is passed on as it is or frozen."""
        signals = torch.split(signal, [*layer.outputs], dim=1)
        blocks = zip(layer.split(given), signals, layer.embedded, strict=True)
        embedded = [(part, of) for part, of, chosen in blocks if chosen]
        return cls(
            tuple(
                Dense(("weight",), part, of)
                for (part, of), weight in zip(embedded, layer.weights, strict=True)
                if weight.requires_grad
            )
        )

    def squares(self) -> torch.Tensor:
        """See `Gradients`."""
        return torch.stack([part.squares() for part in self.parts]).sum(0)

    def only(self, chosen: torch.Tensor) -> "Blocks":
        """See `Gradients`."""
        return Blocks(tuple(part.only(chosen) for part in self.parts))

    def sums(self, weights: torch.Tensor) -> list[torch.Tensor]:
        """See `Gradients`."""
        return [part.sums(weights)[0] for part in self.parts]


@dataclass(frozen=True)
class Convolved:
    """Of a Conv2d layer: made for each record, so that what is summed is what was measured.

    Attributes:
        parts: by the weight (B, O, kernel height, kernel width, C), by the bias (B, O).
    """

    parts: tuple[torch.Tensor, ...]

    def squares(self) -> torch.Tensor:
        """See `Gradients`. By rows first: `vector_norm` is fast, and exact over short rows only."""
        return torch.stack([_squares(part) for part in self.parts]).sum(0)

    def only(self, chosen: torch.Tensor) -> "Convolved":
        """See `Gradients`."""
        return Convolved(tuple(part[chosen] for part in self.parts))

    def sums(self, weights: torch.Tensor) -> list[torch.Tensor]:
        """See `Gradients`, in the order of torch's own weights: (O, C, height, width)."""
        found = [(weights @ part.flatten(1)).view(part.shape[1:]) for part in self.parts]
        return [one.movedim(-1, 1) if one.ndim > 1 else one for one in found]


def _squares(part: torch.Tensor) -> torch.Tensor:
    """(B,) squared norms of (B, O, …) gradients."""
    if part.ndim > 2:  # noqa: PLR2004 - more than a number a channel
        part = torch.linalg.vector_norm(part.flatten(2), dim=2)
    squares: torch.Tensor = torch.linalg.vecdot(part, part)
    return squares
