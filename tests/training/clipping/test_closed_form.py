"""What the closed form takes, and its layers other than the convolutions."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from tests.factories.engine import CLIP, clipped, naive_sum, records
from training.clipping import ClosedForm, clipping_pass
from training.dpsgd import binary_loss
from training.errors import EngineError
from training.networks import Embeddings


def network() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 1))


def test_the_tabular_default_takes_the_closed_form() -> None:
    assert isinstance(clipping_pass(network(), binary_loss, CLIP), ClosedForm)


def test_a_linear_layer_on_places_is_refused() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Flatten(), nn.Linear(15, 1))
    with pytest.raises(EngineError) as caught:
        clipped(model, torch.ones(6, 5, 4), torch.ones(6), make=ClosedForm)
    assert caught.value.stable_code == "engine.shape"


class Doubled(nn.Linear):
    """A layer that computes something else than its type's name says."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - torch's own name
        return super().forward(input) * 2


def shared() -> nn.Sequential:
    model = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 1))
    model[2].weight = model[0].weight
    return model


def hooked() -> nn.Sequential:
    model = network()
    model[0].register_forward_hook(lambda _module, _given, made: made * 2)
    return model


def parametrized() -> nn.Sequential:
    model = network()
    nn.utils.parametrizations.weight_norm(model[0])
    return model


@pytest.mark.parametrize(
    "make",
    [
        shared,
        hooked,
        parametrized,
        lambda: nn.Sequential(Doubled(6, 4), nn.Tanh(), nn.Linear(4, 1)),
        lambda: nn.Sequential(nn.Linear(6, 4), nn.LayerNorm(4), nn.Linear(4, 1)),
        lambda: nn.Sequential(nn.Tanh()),
        lambda: nn.ModuleList([nn.Linear(6, 1)]),
        lambda: nn.Sequential(nn.Linear(6, 4), nn.ReLU(inplace=True), nn.Linear(4, 1)),
        lambda: nn.Sequential(nn.Conv2d(2, 4, 1, groups=2), nn.Flatten(), nn.Linear(4, 1)),
        lambda: nn.Sequential(nn.Conv2d(1, 4, 1, padding="same"), nn.Flatten(), nn.Linear(4, 1)),
        lambda: nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1, padding_mode="circular"), nn.Flatten(), nn.Linear(4, 1)
        ),
        lambda: nn.Sequential(nn.Linear(6, 4), nn.Flatten(0), nn.Linear(4, 1)),
    ],
    ids=[
        "shared",
        "hook",
        "parametrized",
        "subclass",
        "layer",
        "nothing",
        "container",
        "in place",
        "groups",
        "same",
        "circular",
        "joined",
    ],
)  # fmt: skip
def test_the_formula_takes_only_what_it_holds_for(make: Callable[[], nn.Module]) -> None:
    assert not ClosedForm.takes(make())


@pytest.mark.parametrize("frozen", [None, "0.weights.0", "0.weights.1"])
@pytest.mark.parametrize("count", [0, 1, 20])
def test_embeddings(frozen: str | None, count: int) -> None:
    widths = [7, 3, 5]
    network = nn.Sequential(
        Embeddings(widths, [True, False, True]), nn.Linear(5 + 3 + 4, 4), nn.Tanh(), nn.Linear(4, 1)
    )
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name != frozen)
    assert ClosedForm.takes(network)
    features, labels = records(count, 15)
    assert clipped(network, features, labels) == pytest.approx(
        naive_sum(network, features, labels), rel=3e-5, abs=1e-7
    )


def test_images_that_come_as_columns() -> None:
    network = nn.Sequential(nn.Unflatten(1, (1, 4, 4)), nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Flatten())
    network.append(nn.Linear(8, 1))
    assert ClosedForm.takes(network)
    features, labels = records(9, 16)
    assert clipped(network, features, labels) == pytest.approx(
        naive_sum(network, features, labels), rel=3e-5, abs=1e-7
    )
