"""The two clipping passes: against one record at a time, each other, and what is not finite."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.factories.engine import CLIP, clipped, naive_sum, records
from training.clipping import WATCHED, ClippingPass, ClosedForm, Hooked
from training.config import CLIP_SHARE, GRADIENT_SHARE, LOSS_SHARE, NORM_SHARE
from training.errors import EngineError

Make = Callable[..., ClippingPass]
both = pytest.mark.parametrize("make", [ClosedForm, Hooked])
ACTIVATIONS = [
    nn.ELU, nn.GELU, nn.Hardtanh, nn.Identity, nn.LeakyReLU, nn.Mish, nn.ReLU, nn.SELU, nn.Sigmoid,
    nn.SiLU, nn.Softplus, nn.Tanh,
]  # fmt: skip


def network(
    *hidden: int, inputs: int = 6, activation: type[nn.Module] = nn.Tanh, bias: bool = True
) -> nn.Sequential:
    torch.manual_seed(1)
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(inputs, width, bias=bias), activation()]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, 1, bias=bias))


@both
@pytest.mark.parametrize("hidden", [(), (5,), (9, 4)])
@pytest.mark.parametrize("count", [0, 1, 33])
def test_same_sum_as_a_naive_loop(make: Make, hidden: tuple[int, ...], count: int) -> None:
    model = network(*hidden)
    features, labels = records(count, 6)
    # The engine shrinks its bound by 1e-5 so that float32 rounding stays below C.
    np.testing.assert_allclose(
        clipped(model, features, labels, make=make),
        naive_sum(model, features, labels),
        rtol=3e-5,
        atol=1e-5,
    )


@settings(max_examples=60, deadline=None)
@given(
    inputs=st.integers(1, 40),
    hidden=st.lists(st.integers(1, 30), max_size=3),
    count=st.integers(0, 70),
    scale=st.sampled_from([1e-3, 1.0, 50.0]),
    bias=st.booleans(),
    activation=st.sampled_from(ACTIVATIONS),
)
def test_both_ways_give_the_same_sum(
    inputs: int,
    hidden: list[int],
    count: int,
    scale: float,
    *,
    bias: bool,
    activation: type[nn.Module],
) -> None:
    model = network(*hidden, inputs=inputs, activation=activation, bias=bias)
    features, labels = records(count, inputs)
    closed, hooked = (
        clipped(model, features * scale, labels, make=make) for make in (ClosedForm, Hooked)
    )
    assert np.linalg.norm(closed - hooked) <= 1e-5 * np.linalg.norm(hooked)


@pytest.mark.parametrize("frozen", ["0.weight", "0.bias", "2.weight", "2.bias"])
@both
def test_what_is_frozen_is_neither_clipped_nor_summed(make: Make, frozen: str) -> None:
    model = network(5)
    model.get_parameter(frozen).requires_grad_(False)
    features, labels = records(20, 6)
    np.testing.assert_allclose(
        clipped(model, features, labels, make=make),
        naive_sum(model, features, labels),
        rtol=3e-5,
        atol=1e-5,
    )


def test_two_logits_are_one_loss_a_record() -> None:
    def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(logits, labels.long(), reduction="none")

    model = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2))
    features, labels = records(30, 6)
    for make in (ClosedForm, Hooked):
        np.testing.assert_allclose(
            clipped(model, features, labels, make=make, loss=loss),
            naive_sum(model, features, labels, loss),
            rtol=3e-5,
            atol=1e-5,
        )


@both
def test_physical_chunks_do_not_change_the_sum(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = records(50, 6)
    whole = clipped(network(5), features, labels, make=make)
    monkeypatch.setattr(f"{make.__module__}.PHYSICAL", 7)
    parts = clipped(network(5), features, labels, make=make)
    np.testing.assert_allclose(parts, whole, rtol=1e-4, atol=1e-6)


@both
@pytest.mark.parametrize("width", [6, 3_000])
@pytest.mark.parametrize("scale", [0.01, 1.0, 1e4])
def test_one_record_moves_the_sum_by_at_most_c(make: Make, width: int, scale: float) -> None:
    """Trap T1: with (B, 1) losses plain ghost clipping let one record move it 43 C."""
    model = network(8, inputs=width)
    features, labels = records(64, width)
    features[-1] *= scale
    without = clipped(model, features[:-1], labels[:-1], make=make)
    moved = np.linalg.norm(clipped(model, features, labels, make=make) - without)
    assert 0 < moved <= CLIP * (1 + 1e-6)


@both
def test_a_loss_of_another_shape_is_refused(make: Make) -> None:
    def column(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return nn.functional.binary_cross_entropy_with_logits(
            logits, labels[:, None], reduction="none"
        )

    engine = make(network(5), column, CLIP)
    with pytest.raises(EngineError) as caught:
        engine.sum(*records(4, 6))
    assert caught.value.stable_code == "engine.loss_shape"


@both
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 3e38])
def test_a_non_finite_record_contributes_zero(make: Make, bad: float) -> None:
    """Trap T3: in Opacus' loop such a record makes all weights non-finite, for all to see."""
    model = network(8)
    features, labels = records(20, 6)
    clean = clipped(model, features[1:], labels[1:], make=make)
    features[0, 2] = bad
    poisoned = clipped(model, features, labels, make=make)
    assert np.isfinite(poisoned).all()
    if math.isfinite(bad):
        # Huge but finite: it is clipped like any other, or its norm overflows and it adds zero.
        assert np.linalg.norm(poisoned - clean) <= CLIP * (1 + 1e-6)
    else:
        np.testing.assert_allclose(poisoned, clean, rtol=1e-5, atol=1e-7)


@settings(max_examples=60, deadline=None)
@given(
    cells=st.lists(
        st.floats(width=32, allow_nan=True, allow_infinity=True) | st.floats(-9, 9, width=32),
        min_size=6,
        max_size=6,
    ),
    label=st.sampled_from([0.0, 1.0, -40.0, 1e30, math.nan]),
    scale=st.sampled_from([1e-3, 1.0, 1e4]),
)
def test_no_record_adds_more_than_c_whatever_it_holds(
    cells: list[float], label: float, scale: float
) -> None:
    """‖gradient‖² + loss² + clipped² + norm² ≤ C², and the gradient is left nearly all of C."""
    model = network(5)
    with torch.no_grad():
        model.get_parameter("2.weight").mul_(scale)
    row, target = torch.tensor([cells]), torch.tensor([label])
    for make in (ClosedForm, Hooked):
        vector = clipped(model, row, target, make=make)
        assert np.isfinite(vector).all()
        assert np.linalg.norm(vector) <= CLIP
        assert (vector[:WATCHED] >= 0).all()
    assert GRADIENT_SHARE >= 0.985


def test_a_loud_record_fills_the_gradients_share() -> None:
    model = network(5)
    with torch.no_grad():
        model.get_parameter("2.weight").mul_(1e3)
    row, target = records(1, 6)
    loss, indicator, norm, *gradient = clipped(model, row, target)
    assert np.linalg.norm(gradient) == pytest.approx(GRADIENT_SHARE * CLIP, rel=1e-4)
    assert (indicator, norm) == pytest.approx((CLIP_SHARE * CLIP, NORM_SHARE * CLIP))
    assert 0 <= loss <= LOSS_SHARE * CLIP


@both
def test_a_nan_label_contributes_zero(make: Make) -> None:
    features, labels = records(5, 6)
    labels[:] = math.nan
    assert not clipped(network(), features, labels, make=make).any()
