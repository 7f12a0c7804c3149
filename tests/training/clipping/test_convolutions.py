"""Convolutions in closed form: against one record at a time, and against Opacus."""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from tests.factories.engine import CLIP, clipped, naive_sum, records
from training.clipping import ClippingPass, ClosedForm, Hooked
from training.clipping.convolutions import Convolution
from training.dpsgd import binary_loss

Make = Callable[..., ClippingPass]
both = pytest.mark.parametrize("make", [ClosedForm, Hooked])


def images(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    features, labels = records(count, 2 * 9 * 8)
    return features.reshape(count, 2, 9, 8), labels


def convolution(*, bias: bool = True, pool: nn.Module | None = None) -> nn.Sequential:
    torch.manual_seed(1)
    first = nn.Conv2d(2, 3, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), bias=bias)
    second = nn.Conv2d(3, 4, 2, bias=bias)
    return nn.Sequential(
        first, nn.ReLU(), pool or nn.MaxPool2d(2, 1), second, nn.Tanh(), nn.Flatten(),
        nn.LazyLinear(1, bias=bias),
    )  # fmt: skip


@both
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("pool", [nn.MaxPool2d(2, 1), nn.AvgPool2d(2, 1), nn.AdaptiveAvgPool2d(3)])
@pytest.mark.parametrize("count", [0, 1, 20])
def test_convolutions(
    make: Make, *, bias: bool, pool: nn.Module, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.clipping.closed_form.NUMBERS", 3_000)  # chunks of a few
    model = convolution(bias=bias, pool=pool)
    model(images(1)[0])  # the last layer learns its width
    assert ClosedForm.takes(model)
    np.testing.assert_allclose(
        clipped(model, *images(count), make=make),
        naive_sum(model, *images(count)),
        rtol=3e-5,
        atol=1e-5,
    )


@settings(max_examples=60, deadline=None)
@given(
    channels=st.tuples(st.sampled_from([1, 3, 20]), st.sampled_from([2, 9, 17]), st.integers(1, 5)),
    kernels=st.lists(st.integers(1, 4), min_size=4, max_size=4),
    strides=st.lists(st.integers(1, 3), min_size=4, max_size=4),
    padding=st.lists(st.integers(0, 2), min_size=4, max_size=4),
    dilation=st.lists(st.integers(1, 2), min_size=4, max_size=4),
    size=st.tuples(st.integers(12, 16), st.integers(12, 17)),
    pool=st.sampled_from(
        [
            nn.Identity(),
            nn.MaxPool2d(2, 1),
            nn.MaxPool2d(2, ceil_mode=True),
            nn.MaxPool2d(3, 2, padding=1),
            nn.MaxPool2d((2, 1), dilation=(1, 2)),
            nn.AvgPool2d(2),
            nn.AdaptiveAvgPool2d((3, 2)),
        ]
    ),
    count=st.integers(0, 30),
    bias=st.booleans(),
    activation=st.sampled_from([nn.ReLU, nn.Tanh, nn.Sigmoid, nn.GELU, nn.Identity]),
)
def test_any_shape_gives_the_sum_that_opacus_gives(
    channels: tuple[int, int, int],
    kernels: list[int],
    strides: list[int],
    padding: list[int],
    dilation: list[int],
    size: tuple[int, int],
    pool: nn.Module,
    count: int,
    *,
    bias: bool,
    activation: type[nn.Module],
) -> None:
    torch.manual_seed(1)
    layers: list[nn.Module] = []
    for place, (below, made) in enumerate(pairwise(channels)):
        one, two = 2 * place, 2 * place + 1
        layers += [
            nn.Conv2d(
                below,
                made,
                (kernels[one], kernels[two]),
                (strides[one], strides[two]),
                (padding[one], padding[two]),
                (dilation[one], dilation[two]),
                bias=bias,
            ),
            activation(),
        ]
    layers.insert(2, pool)
    features, labels = records(count, channels[0] * size[0] * size[1])
    features = features.view(count, channels[0], *size)
    model = nn.Sequential(*layers, nn.Flatten())
    try:
        width = model(torch.zeros(1, channels[0], *size)).shape[1]
    except RuntimeError:
        assume(False)  # nothing is left of the image
    model.append(nn.Linear(width, 1, bias=bias))
    closed, hooked = (clipped(model, features, labels, make=make) for make in (ClosedForm, Hooked))
    assert np.linalg.norm(closed - hooked) <= 1e-5 * np.linalg.norm(hooked)


@pytest.mark.parametrize(
    "frozen", [("0.weight",), ("0.bias",), ("0.weight", "0.bias"), ("3.weight",), ("6.weight",)]
)
def test_a_frozen_part_of_a_convolution_is_neither_clipped_nor_summed(
    frozen: tuple[str, ...],
) -> None:
    model = convolution()
    model(images(1)[0])
    for name in frozen:
        model.get_parameter(name).requires_grad_(False)
    np.testing.assert_allclose(
        clipped(model, *images(9), make=ClosedForm),
        naive_sum(model, *images(9)),
        rtol=3e-5,
        atol=1e-5,
    )


def test_a_non_finite_image_contributes_zero() -> None:
    model = convolution()
    features, labels = images(9)
    model(features)
    clean = clipped(model, features[1:], labels[1:])
    features[0, 1, 4, 4] = math.nan
    np.testing.assert_allclose(clipped(model, features, labels), clean, rtol=1e-5, atol=1e-7)


def test_what_a_chunk_keeps_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many records are drawn, and however large an image is."""
    chunks: list[int] = []
    real = ClosedForm._add

    def counted(self: ClosedForm, rows: torch.Tensor, *others: Any) -> Any:
        chunks.append(len(rows))
        return real(self, rows, *others)

    monkeypatch.setattr(ClosedForm, "_add", counted)
    monkeypatch.setattr("training.clipping.closed_form.NUMBERS", 20_000)
    for side in (8, 32):
        # A kernel of nine numbers: for each number of an image nine were seen, and two made.
        model = nn.Sequential(
            nn.Conv2d(1, 1, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(side * side, 1)
        )
        chunks.clear()
        engine = ClosedForm(model, binary_loss, CLIP)
        engine.sum(torch.ones(50, 1, side, side), torch.ones(50))
        assert sum(chunks) == 50
        assert max(chunks) == max(1, 20_000 // (12 * side * side + 11))  # Flatten counts as well


@pytest.mark.parametrize("ahead", [(), (nn.Unflatten(1, (2, 9, 8)), nn.Tanh())])
def test_nobody_asks_for_the_derivative_by_the_records(
    ahead: tuple[nn.Module, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = convolution()
    features, labels = images(9)
    model(features)
    model = nn.Sequential(*ahead, *model)
    asked: list[Convolution] = []
    real = Convolution.below

    def counted(self: Convolution, signal: torch.Tensor) -> torch.Tensor:
        asked.append(self)
        return real(self, signal)

    monkeypatch.setattr(Convolution, "below", counted)
    engine = ClosedForm(model, binary_loss, CLIP)
    engine.sum(features.flatten(1) if ahead else features, labels)
    assert len(asked) == 1  # the second one
