"""The layers that the closed form knows, each on its way forward and back on one chunk."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, Protocol, cast

import torch
from torch import nn

from training.clipping.convolutions import Convolution
from training.clipping.gradients import Blocks, Dense, Gradients
from training.networks import Embeddings


class Step(Protocol):
    """One layer on one chunk.

    Attributes:
        made: what the layer makes of what it is given.
    """

    made: torch.Tensor

    @property
    def kept(self) -> int:
        """How many numbers stay in memory until the way back is done."""
        ...

    def gradients(self, signal: torch.Tensor) -> Gradients | None:
        """The records' gradients by what is trained, from the derivative by what was made."""
        ...

    def below(self, signal: torch.Tensor) -> torch.Tensor:
        """The signal below: the layer's derivative times the signal above, record by record."""
        ...


# An activation's derivative times the signal from above, from the activation's output alone.
_Derivative = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
_FROM_OUTPUT: Final[Mapping[type[nn.Module], _Derivative]] = MappingProxyType(
    {
        nn.Identity: lambda output, signal: signal,  # noqa: ARG005  # the table's common shape
        nn.ReLU: lambda output, signal: torch.ops.aten.threshold_backward(signal, output, 0),
        nn.Sigmoid: lambda output, signal: torch.ops.aten.sigmoid_backward(signal, output),
        nn.Tanh: lambda output, signal: torch.ops.aten.tanh_backward(signal, output),
    }
)
_RESHAPING: Final = frozenset({nn.Flatten, nn.Unflatten})
# Elementwise as well: their derivative is asked of autograd, one layer at a time.
_ELEMENTWISE: Final = frozenset(
    {nn.ELU, nn.GELU, nn.Hardtanh, nn.LeakyReLU, nn.Mish, nn.SELU, nn.SiLU, nn.Softplus}
)
# What works on each record alone and has no weights: asked of autograd as well.
_POOLING: Final = frozenset({nn.AdaptiveAvgPool2d, nn.AvgPool2d, nn.MaxPool2d})
KNOWN: Final[frozenset[type[nn.Module]]] = frozenset(
    {*_FROM_OUTPUT, *_RESHAPING, *_ELEMENTWISE, *_POOLING, nn.Linear, nn.Conv2d, Embeddings}
)


def forward(layer: nn.Module, trained: tuple[str, ...], given: torch.Tensor) -> Step:
    """Apply a layer of a `KNOWN` type, of whose parameters those named are trained."""
    if isinstance(layer, nn.Linear):
        return _Linear(layer, trained, given)
    if isinstance(layer, nn.Conv2d):
        return Convolution(layer, trained, given)
    if isinstance(layer, Embeddings):
        return _Embedded(layer, trained, given)
    if type(layer) in _FROM_OUTPUT:
        return _Activation(layer, given)
    if type(layer) in _RESHAPING:
        return _Reshaped(layer, given)
    return _ByAutograd(layer, given)


class _Weightless:
    """A layer without weights."""

    made: torch.Tensor

    @property
    def kept(self) -> int:
        """See `Step`."""
        return self.made.numel()

    def gradients(self, signal: torch.Tensor) -> None:
        """See `Step`."""


class _Activation(_Weightless):
    """An activation whose derivative is a function of its output."""

    def __init__(self, layer: nn.Module, given: torch.Tensor) -> None:
        self.made = layer(given)
        self._derivative = _FROM_OUTPUT[type(layer)]

    def below(self, signal: torch.Tensor) -> torch.Tensor:
        """See `Step`."""
        return self._derivative(self.made, signal)


class _Reshaped(_Weightless):
    """The same numbers in another shape."""

    def __init__(self, layer: nn.Module, given: torch.Tensor) -> None:
        self.made = layer(given)
        self._shape = given.shape

    def below(self, signal: torch.Tensor) -> torch.Tensor:
        """See `Step`."""
        return signal.reshape(self._shape)


class _ByAutograd(_Weightless):
    """A layer with a graph of its own."""

    def __init__(self, layer: nn.Module, given: torch.Tensor) -> None:
        if type(layer) is nn.MaxPool2d:
            # Channels last, its maxima are vectorized: measured, a third of the time.
            given = given.contiguous(memory_format=torch.channels_last)
        with torch.enable_grad():
            self._given = given.detach().requires_grad_()
            self._made = layer(self._given)
        self.made = self._made.detach()

    def below(self, signal: torch.Tensor) -> torch.Tensor:
        """See `Step`."""
        (found,) = torch.autograd.grad(self._made, self._given, signal)
        return found


class _Linear:
    """See `Step`."""

    def __init__(self, layer: nn.Linear, trained: tuple[str, ...], given: torch.Tensor) -> None:
        self._layer, self._trained, self._given = layer, trained, given
        self.made: torch.Tensor = layer(given)

    @property
    def kept(self) -> int:
        """See `Step`."""
        return self.made.numel()

    def gradients(self, signal: torch.Tensor) -> Dense | None:
        """See `Step`."""
        return Dense(self._trained, self._given, signal) if self._trained else None

    def below(self, signal: torch.Tensor) -> torch.Tensor:
        """See `Step`."""
        return signal @ self._layer.weight


class _Embedded:
    """See `Step`. Always the first layer: it has no way back."""

    def __init__(self, layer: Embeddings, trained: tuple[str, ...], given: torch.Tensor) -> None:
        self._layer, self._trained, self._given = layer, trained, given
        self.made = cast("torch.Tensor", layer(given))

    @property
    def kept(self) -> int:
        """See `Step`."""
        return self.made.numel()

    def gradients(self, signal: torch.Tensor) -> Blocks | None:
        """See `Step`."""
        return Blocks.of(self._layer, self._given, signal) if self._trained else None

    def below(self, signal: torch.Tensor) -> torch.Tensor:
        """See `Step`: nothing is below."""
        raise NotImplementedError
