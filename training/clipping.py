"""Sums of clipped per-record vectors: steps 2 to 4 of `training.dpsgd`, in two ways.

    ClosedForm  networks of Linear layers with elementwise activations, the tabular default. The
                gradient of one record's loss by a layer's weight is the product of two vectors,
                its signal g and its input a, so that its norm is ‖a‖·‖g‖ (Goodfellow, arXiv
                1510.01799) and a clipped sum is one matrix product, (c⊙g)ᵀa: book-keeping (Bu et
                al., arXiv 2210.00038). No per-record gradient exists, and nothing is run twice.
                Small convolutions too: theirs is a sum of such products over places, which is small
                enough to be made for each record (Rochette et al., arXiv 1912.06015).
    Hooked      every other module that Opacus knows, through its hooks: ghost clipping where a
                layer allows it, per-record gradients where it does not.

Both give the same sums. A record whose loss or norm is not finite adds zero.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.grad import conv2d_input

from training.config import (
    CLIP_SHARE,
    GRADIENT_SHARE,
    LOSS_CEILING,
    LOSS_SHARE,
    NORM_CEILING,
    NORM_SHARE,
)
from training.errors import EngineError
from training.networks import Embeddings, Stemmed

LossFunction = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

# Records a pass: bounds memory. A sum does not care how it is chunked.
PHYSICAL: Final = 4_096
IMAGES: Final = 256  # as above, where every place of an image is unfolded
# Norms and sums are float32: the factor keeps their rounding below the sensitivity C.
_ROUNDING: Final = 1 - 1e-5
WATCHED: Final = 3  # figures of a record that are summed beside its gradient
_LIGHT: Final = 1e8  # multiplications
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


def clipping_pass(network: nn.Module, loss: LossFunction, max_grad_norm: float) -> ClippingPass:
    """The fastest pass that is exact for this network.

    Raises:
        EngineError: `engine.layer_unsupported`, a layer couples records or keeps statistics.
    """
    if ClosedForm.takes(network):
        return ClosedForm(network, loss, max_grad_norm)
    return Hooked(network, loss, max_grad_norm)


@dataclass(frozen=True)
class _Bounds:
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
    return _Bounds(max_grad_norm).units


def _one_a_record(losses: torch.Tensor, records: int) -> torch.Tensor:
    if losses.shape != (records,):
        raise EngineError("a loss must be one number a record", code="engine.loss_shape")
    return losses


def _even(records: int, most: int) -> int:
    """The size of equal chunks, none above `most`: a last one of a few records wastes a pass."""
    return max(1, math.ceil(records / max(1, math.ceil(records / most))))


# An activation's derivative times the signal from above, from the activation's output alone.
_Derivative = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
_FROM_OUTPUT: Final[Mapping[type[nn.Module], _Derivative]] = MappingProxyType(
    {
        nn.Identity: lambda output, signal: signal,  # noqa: ARG005  # the table's common shape
        nn.ReLU: lambda output, signal: signal * (output > 0),
        nn.Sigmoid: lambda output, signal: signal * (output * (1 - output)),
        nn.Tanh: lambda output, signal: torch.addcmul(signal, signal * output, output, value=-1),
    }
)
# Elementwise as well: their derivative is asked of autograd, one layer at a time.
_ELEMENTWISE: Final = frozenset(
    {nn.ELU, nn.GELU, nn.Hardtanh, nn.LeakyReLU, nn.Mish, nn.SELU, nn.SiLU, nn.Softplus}
)


# What works on each record alone and has no weights: its derivative is asked of autograd as well.
_SHAPING: Final = frozenset(
    {nn.AdaptiveAvgPool2d, nn.AvgPool2d, nn.Flatten, nn.MaxPool2d, nn.Unflatten}
)
_BY_AUTOGRAD: Final = _ELEMENTWISE | _SHAPING


class ClosedForm:
    """The pass for a Sequential of Linear and Conv2d layers, activations, pooling and flattening.

    On (B, D) features, or (B, C, H, W) where it begins with a convolution.
    """

    def __init__(self, network: nn.Module, loss: LossFunction, max_grad_norm: float) -> None:
        self._layers = tuple(network.train().children())
        self._trained = tuple(_trained(layer) for layer in self._layers)
        self._loss = loss
        self._bounds = _Bounds(max_grad_norm)
        self._parameters = [p for p in network.parameters() if p.requires_grad]
        self._size = sum(p.numel() for p in self._parameters)
        self._images = any(isinstance(layer, nn.Conv2d) for layer in self._layers)

    @staticmethod
    def takes(network: nn.Module) -> bool:
        """Whether the network is nothing but what the formula holds for.

        Types are compared exactly: a subclass, a hook or a parametrization may do anything. A
        weight that two layers share has a gradient of two products, and is left to the hooks.
        """
        layers = tuple(network.children())
        tensors = [id(p) for layer in layers for p in layer.parameters()]
        known = _FROM_OUTPUT.keys() | _ELEMENTWISE | _SHAPING | {nn.Linear, nn.Conv2d, Embeddings}
        return (
            type(network) is nn.Sequential
            and any(type(layer) is nn.Linear for layer in layers)
            and all(type(layer) in known and _plain(layer) for layer in layers)
            and not any(type(layer) is Embeddings for layer in layers[1:])  # have no way back
            and not any(True for _ in network.parameters(recurse=False))
            and not any(_hooked(module) for module in (network, *layers))
            and len(set(tensors)) == len(tensors)
        )

    def light(self, records: float) -> bool:
        """See `ClippingPass`. Measured: threads take longer to meet than such products take."""
        return not self._images and records * self._size < _LIGHT

    def close(self) -> None:
        """See `ClippingPass`. There is nothing to remove."""

    def sum(
        self, features: torch.Tensor, labels: torch.Tensor, shares: torch.Tensor | None = None
    ) -> ClippedSum:
        """See `ClippingPass`."""
        total = torch.zeros(self._size, dtype=torch.float64, device=features.device)
        watched, refused = np.zeros(WATCHED), 0
        chunk = _even(len(features), IMAGES if self._images else PHYSICAL)
        for start in range(0, len(features), chunk):
            rows, targets = features[start : start + chunk], labels[start : start + chunk]
            of_whom = None if shares is None else shares[start : start + chunk]
            with torch.no_grad():
                of_these, bad = self._add(rows, targets, of_whom, total)
            watched += of_these
            refused += bad
        return ClippedSum(total.cpu().numpy(), watched, refused)

    def _add(
        self,
        rows: torch.Tensor,
        targets: torch.Tensor,
        shares: torch.Tensor | None,
        total: torch.Tensor,
    ) -> tuple[npt.NDArray[np.float64], int]:
        """Add a chunk's clipped gradients to `total`; what is watched, how many were refused."""
        steps: list[_Step] = []
        made = rows
        for layer in self._layers:
            steps.append(_Step.forward(layer, made))
            made = steps[-1].made
        losses, signal = self._loss_and_signal(made, targets)
        gradients: list[_Gradients] = []  # of the layers that have weights, the last one first
        for place, step in reversed([*enumerate(steps)]):
            layer, trained = step.layer, self._trained[place]
            if trained and isinstance(layer, nn.Linear):
                gradients.append(_Dense(trained, step.given, signal))
            elif trained and isinstance(layer, nn.Conv2d):
                gradients.append(_convolved(layer, trained, step.given, signal))
            elif trained and isinstance(layer, Embeddings):
                gradients.append(_Blocks.of(layer, step.given, signal))
            if place:
                signal = step.below(signal)
        squares = torch.stack([part.squares() for part in gradients]).sum(0)
        finite = torch.isfinite(losses) & torch.isfinite(squares)
        refused = 0
        if not bool(finite.all()):
            # 0 · ∞ is NaN, so such records must leave the sums, not only get weight zero.
            refused = int((~finite).sum())
            losses, squares = losses[finite], squares[finite]
            gradients = [part.only(finite) for part in gradients]
            shares = None if shares is None else shares[finite]
        norms = squares.sqrt()
        weights = self._bounds.weights(norms, shares)
        start = 0
        for part in reversed(gradients):
            for found in part.sums(weights):
                total[start : start + found.numel()] += found.reshape(-1)
                start += found.numel()
        return self._bounds.watched(losses, norms, shares), refused

    def _loss_and_signal(
        self, logits: torch.Tensor, targets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(B,) losses and (B, K) derivatives of each record's loss by its own logits."""
        with torch.enable_grad():
            asked = logits.detach().requires_grad_()
            losses = _one_a_record(self._loss(asked, targets), len(logits))
            (signal,) = torch.autograd.grad(losses.sum(), asked)
        return losses.detach(), signal


def _hooked(module: nn.Module) -> bool:
    """Whether something was hung onto a module that changes what it computes."""
    return bool(
        module._forward_hooks  # noqa: SLF001  # torch has no public question for it
        or module._forward_pre_hooks  # noqa: SLF001
        or module._backward_hooks  # noqa: SLF001
        or module._backward_pre_hooks  # noqa: SLF001
        or hasattr(module, "parametrizations")
    )


def _trained(layer: nn.Module) -> tuple[str, ...]:
    """Which of a layer's weight and bias are trained, in that order."""
    return tuple(name for name, value in layer.named_parameters() if value.requires_grad)


def _plain(layer: nn.Module) -> bool:
    """Whether a layer is set up as the formula takes it to be."""
    if isinstance(layer, nn.Conv2d):
        padding: object = layer.padding
        return layer.groups == 1 and layer.padding_mode == "zeros" and not isinstance(padding, str)
    if isinstance(layer, nn.Flatten):
        return layer.start_dim > 0  # from 0 it would join records
    if isinstance(layer, nn.Unflatten):
        return layer.dim == 1  # as above
    # In place, it would overwrite what the backward way needs.
    return not getattr(layer, "inplace", False) and not getattr(layer, "return_indices", False)


class _Gradients(Protocol):
    """Every record's gradient by one layer's weight and bias, in whatever form."""

    def squares(self) -> torch.Tensor:
        """(B,) squared norms."""
        ...

    def only(self, chosen: torch.Tensor) -> "_Gradients":
        """Those of some records."""
        ...

    def sums(self, weights: torch.Tensor) -> list[torch.Tensor]:
        """Sums over the records, each times its (B,) weight: of what is trained, in order."""
        ...


@dataclass(frozen=True)
class _Dense:
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

    def only(self, chosen: torch.Tensor) -> "_Dense":
        return _Dense(self.trained, self.given[chosen], self.signal[chosen])

    def sums(self, weights: torch.Tensor) -> list[torch.Tensor]:
        clipped = self.signal * weights.unsqueeze(1)
        return [
            clipped.T @ self.given if name == "weight" else clipped.sum(0) for name in self.trained
        ]


@dataclass(frozen=True)
class _Blocks:
    """Of `Embeddings`: one product of input and signal for each matrix that is trained."""

    parts: tuple[_Dense, ...]

    @classmethod
    def of(cls, layer: Embeddings, given: torch.Tensor, signal: torch.Tensor) -> "_Blocks":
        """By block, leaving out what is passed on as it is or frozen."""
        signals = torch.split(signal, [*layer.outputs], dim=1)
        blocks = zip(layer.split(given), signals, layer.embedded, strict=True)
        embedded = [(part, of) for part, of, chosen in blocks if chosen]
        return cls(
            tuple(
                _Dense(("weight",), part, of)
                for (part, of), weight in zip(embedded, layer.weights, strict=True)
                if weight.requires_grad
            )
        )

    def squares(self) -> torch.Tensor:
        return torch.stack([part.squares() for part in self.parts]).sum(0)

    def only(self, chosen: torch.Tensor) -> "_Blocks":
        return _Blocks(tuple(part.only(chosen) for part in self.parts))

    def sums(self, weights: torch.Tensor) -> list[torch.Tensor]:
        return [part.sums(weights)[0] for part in self.parts]


@dataclass(frozen=True)
class _Convolved:
    """Of a Conv2d layer: (B, P) gradients, by each of what is trained."""

    parts: tuple[torch.Tensor, ...]

    def squares(self) -> torch.Tensor:
        return torch.stack([torch.linalg.vecdot(part, part) for part in self.parts]).sum(0)

    def only(self, chosen: torch.Tensor) -> "_Convolved":
        return _Convolved(tuple(part[chosen] for part in self.parts))

    def sums(self, weights: torch.Tensor) -> list[torch.Tensor]:
        return [weights @ part for part in self.parts]


def _convolved(
    layer: nn.Conv2d, trained: tuple[str, ...], given: torch.Tensor, signal: torch.Tensor
) -> "_Convolved":
    """Sums over places of signal times what the kernel saw there: (B, O, L) by (B, C·kernel, L)."""
    places = signal.flatten(2)
    seen = _seen(layer, given)
    of = {
        "weight": lambda: torch.bmm(places, seen.transpose(1, 2)).flatten(1),
        "bias": lambda: places.sum(2),
    }
    return _Convolved(tuple(of[name]() for name in trained))


def _seen(layer: nn.Conv2d, given: torch.Tensor) -> torch.Tensor:
    """What each place's kernel saw, (B, C·kernel, L), as `nn.functional.unfold` gives it.

    Without dilation a strided view copied once, by all threads: measured, a third of the time.
    """
    if set(layer.dilation) != {1}:
        return nn.functional.unfold(
            given, layer.kernel_size, layer.dilation, _padding(layer), layer.stride
        )
    high, wide = _padding(layer)
    padded = nn.functional.pad(given, (wide, wide, high, high)) if high or wide else given
    views = padded
    for axis, (kernel, stride) in enumerate(
        zip(layer.kernel_size, layer.stride, strict=True), start=2
    ):
        views = views.unfold(axis, kernel, stride)  # (B, C, places…, kernel…)
    return views.permute(0, 1, 4, 5, 2, 3).reshape(len(given), -1, views.shape[2] * views.shape[3])


@dataclass(frozen=True)
class _Step:
    """One layer on one chunk, on its way forward and back."""

    layer: nn.Module
    given: torch.Tensor
    made: torch.Tensor

    @classmethod
    def forward(cls, layer: nn.Module, given: torch.Tensor) -> "_Step":
        """Apply a layer, with a graph of its own where autograd will be asked for the way back."""
        if type(layer) in _BY_AUTOGRAD:
            if type(layer) is nn.MaxPool2d:
                # Channels together, its maxima are vectorized: measured, a third of the time.
                given = given.contiguous(memory_format=torch.channels_last)
            with torch.enable_grad():
                given = given.detach().requires_grad_()
                return cls(layer, given, layer(given))
        return cls(layer, given, layer(given))

    def below(self, signal: torch.Tensor) -> torch.Tensor:
        """The signal below: the layer's derivative times the signal above, record by record."""
        layer, given = self.layer, self.given
        if isinstance(layer, nn.Linear):
            return signal @ layer.weight
        if isinstance(layer, nn.Conv2d):
            return conv2d_input(  # type: ignore[no-untyped-call, no-any-return]
                given.shape, layer.weight, signal, layer.stride, _padding(layer), layer.dilation
            )
        derivative = _FROM_OUTPUT.get(type(layer))
        if derivative is not None:
            return derivative(self.made, signal)
        (found,) = torch.autograd.grad(self.made, given, signal)
        return found


def _padding(layer: nn.Conv2d) -> tuple[int, ...]:
    """A convolution's padding, which `_plain` found to be no word."""
    return layer.padding if isinstance(layer.padding, tuple) else (0, 0)


class Hooked:
    """The pass for any module that Opacus supports.

    Opacus computes every record's gradient norm from activations and backpropagated signals; a
    second backward pass of the re-weighted losses gives the sum.
    """

    def __init__(self, network: nn.Module, loss: LossFunction, max_grad_norm: float) -> None:
        # Loaded here: ranks that train by the closed form need not wait two seconds for it.
        from opacus.grad_sample import (  # noqa: PLC0415
            GradSampleModuleFastGradientClipping,
        )
        from opacus.validators import ModuleValidator  # noqa: PLC0415

        if ModuleValidator.validate(network.train(), strict=False):
            raise EngineError(
                "a layer couples records or keeps statistics of them (batch normalization does); "
                "replace_layers puts group normalization in its place",
                code="engine.layer_unsupported",
            )
        self._hooked = GradSampleModuleFastGradientClipping(
            network.train(),
            loss_reduction="sum",
            max_grad_norm=max_grad_norm,
            # Beside frozen layers stand adapters: one record's gradient by them is smaller than
            # the products of its words, which ghost clipping would form instead.
            use_ghost_clipping=not isinstance(network, Stemmed),
        )
        self._network = network
        self._parameters = [p for p in network.parameters() if p.requires_grad]
        self._loss = loss
        self._bounds = _Bounds(max_grad_norm)

    def light(self, records: float) -> bool:  # noqa: ARG002 - the protocol's
        """See `ClippingPass`."""
        return False

    def close(self) -> None:
        """See `ClippingPass`."""
        self._hooked.to_standard_module()

    def sum(
        self, features: torch.Tensor, labels: torch.Tensor, shares: torch.Tensor | None = None
    ) -> ClippedSum:
        """See `ClippingPass`."""
        size = sum(p.numel() for p in self._parameters)
        total, watched, refused = np.zeros(size), np.zeros(WATCHED), 0
        for chunk in self._chunks(features, labels, shares):
            rows, targets, of_whom = chunk
            losses, norms = self._norms(rows, targets)
            self._hooked.disable_hooks()  # what follows must leave no activations behind
            finite = torch.isfinite(losses) & torch.isfinite(norms)
            if not bool(finite.all()):
                # 0 · ∞ is NaN, so such records must leave the batch, not only get weight zero.
                refused += int((~finite).sum())
                rows, targets, losses, norms = (
                    part[finite] for part in (rows, targets, losses.detach(), norms)
                )
                if not len(rows):
                    continue
                losses = self._losses(rows, targets)
                of_whom = None if of_whom is None else of_whom[finite]
            weights = self._bounds.weights(norms, of_whom)
            gradients = torch.autograd.grad((losses * weights).sum(), self._parameters)
            total += torch.cat([g.reshape(-1) for g in gradients]).double().cpu().numpy()
            watched += self._bounds.watched(losses, norms, of_whom)
        return ClippedSum(total, watched, refused)

    def _chunks(
        self, features: torch.Tensor, labels: torch.Tensor, shares: torch.Tensor | None
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]]:
        """What the first trained layer reads, labels and shares: a leaf, some records at a time.

        Opacus' hooks expect inputs that require gradients, and warn otherwise.
        """
        if isinstance(self._network, Stemmed):
            for chosen in self._network.chunks(features):
                stem = self._network.stem(features[chosen])
                of_whom = None if shares is None else shares[chosen]
                yield stem.detach().requires_grad_(), labels[chosen], of_whom
            return
        for start in range(0, len(features), PHYSICAL):
            part = slice(start, start + PHYSICAL)
            of_whom = None if shares is None else shares[part]
            yield features[part].detach().requires_grad_(), labels[part], of_whom

    def _losses(self, rows: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return _one_a_record(self._loss(self._network(rows), targets), len(rows))

    def _norms(
        self, rows: torch.Tensor, targets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(B,) losses, still attached to the graph, and (B,) gradient norms."""
        self._hooked.enable_hooks()
        losses = self._losses(rows, targets)
        # Asking for the inputs' gradients alone drives the signals back through every layer, where
        # the hooks read them, without forming a weight gradient that nobody needs.
        torch.autograd.grad(losses.sum(), rows, retain_graph=True)
        return losses, self._hooked.get_norm_sample().detach()
