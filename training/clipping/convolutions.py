"""A Conv2d layer as a matrix product, its channels last.

What every place's kernel sees is copied out once, (B, L, K) for L places and K numbers of a kernel.
The way forward is then one product with the weight, and every record's gradient by the weight
another, of its own signals with what it saw (Rochette et al., arXiv 1912.06015). With the channels
last, a row of a kernel is one piece of memory, and so is what a place makes and its signal.
Measured: with many channels a copy takes a quarter of the time that it takes in torch's order.
"""

from typing import Final

import torch
from torch import nn

from training.clipping.gradients import Convolved

_SHORT: Final = 32  # numbers in a row of a kernel, below which it is worth to copy twice


class Convolution:
    """One Conv2d layer on (B, C, H, W); see `training.clipping.layers.Step`."""

    def __init__(self, layer: nn.Conv2d, trained: tuple[str, ...], given: torch.Tensor) -> None:
        self._layer, self._trained, self._given = layer, trained, given
        self._seen: torch.Tensor | None = None
        self.made: torch.Tensor
        if "weight" not in trained:
            self.made = layer(given)
            return
        seen = _seen(layer, given)
        records, high, wide = seen.shape[:3]
        self._seen = seen.view(records, high * wide, -1)
        rows, weight = seen.view(records * high * wide, -1), _kernel(layer.weight).flatten(1).T
        made = rows @ weight if layer.bias is None else torch.addmm(layer.bias, rows, weight)
        self.made = made.view(records, high, wide, -1).permute(0, 3, 1, 2)

    @property
    def kept(self) -> int:
        """See `Step`: what is made, what was seen, and the gradients to come."""
        seen = 0 if self._seen is None else self._seen.numel()
        gradient = sum(self._layer.get_parameter(name).numel() for name in self._trained)
        return self.made.numel() + seen + gradient * len(self._given)

    def gradients(self, signal: torch.Tensor) -> Convolved | None:
        """See `Step`: sums over places of signal times what the kernel saw there."""
        places = signal.permute(0, 2, 3, 1).flatten(1, 2)  # (B, L, O)
        found = []
        if self._seen is not None:
            by_weight = torch.bmm(places.transpose(1, 2), self._seen)
            found.append(by_weight.view(len(signal), *_kernel(self._layer.weight).shape))
        if "bias" in self._trained:
            found.append(places.sum(1))
        return Convolved(tuple(found)) if found else None

    def below(self, signal: torch.Tensor) -> torch.Tensor:
        """See `Step`."""
        layer = self._layer
        found: torch.Tensor
        found, _, _ = torch.ops.aten.convolution_backward(
            signal, self._given, layer.weight, None,
            layer.stride, _padding(layer), layer.dilation, False, (0, 0), 1, (True, False, False),
        )  # fmt: skip
        return found


def _kernel(weight: torch.Tensor) -> torch.Tensor:
    """(O, C, height, width) with the channels last, (O, height, width, C)."""
    return weight.permute(0, 2, 3, 1)


def _seen(layer: nn.Conv2d, given: torch.Tensor) -> torch.Tensor:
    """What each place's kernel saw: (B, places high, places wide, K), in the order of `_kernel`."""
    (down, across), (deep, broad) = layer.stride, layer.dilation
    padded = _padded(layer, given)  # (B, H, W, C)
    records, height, width, channels = padded.shape
    tall, long = layer.kernel_size
    high = (height - deep * (tall - 1) - 1) // down + 1
    wide = (width - broad * (long - 1) - 1) // across + 1
    whole, line, cell, one = padded.stride()
    row = long * channels
    if row >= _SHORT:
        views = padded.as_strided(
            (records, high, wide, tall, long, channels),
            (whole, down * line, across * cell, deep * line, broad * cell, one),
        )
    else:
        # A copy of short pieces is slow. First every line's rows of kernels, side by side in memory
        # down the lines; of these, a whole kernel is one piece again, where it is not dilated.
        rows = padded.as_strided(
            (records, wide, height, long, channels),
            (whole, across * cell, line, broad * cell, one),
        ).contiguous()
        views = rows.as_strided(
            (records, high, wide, tall, row),
            (rows.stride(0), down * row, rows.stride(1), deep * row, 1),
        )
    return views.contiguous().view(records, high, wide, tall * row)


def _padded(layer: nn.Conv2d, given: torch.Tensor) -> torch.Tensor:
    """(B, H, W, C) with the layer's zeros around, in one piece of memory."""
    high, wide = _padding(layer)
    last = given.permute(0, 2, 3, 1)
    if not high and not wide:
        return last.contiguous()
    records, height, width, channels = last.shape
    padded = last.new_zeros(records, height + 2 * high, width + 2 * wide, channels)
    padded[:, high : high + height, wide : wide + width] = last
    return padded


def _padding(layer: nn.Conv2d) -> tuple[int, ...]:
    """A convolution's padding, which `ClosedForm.takes` found to be no word."""
    return layer.padding if isinstance(layer.padding, tuple) else (0, 0)
