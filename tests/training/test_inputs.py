"""Kinds of models: what each reads, what each refuses, and runs of them from end to end."""

from typing import Any

import pytest
import torch
from torch import nn

from audit.errors import DomainError
from governance.scoping import tenant_scope
from tests.factories.people import House, make_house
from tests.factories.training import DECLARATIONS, ask, make_version, trained
from training import modules
from training.config import ModelKind, TrainingConfig
from training.features import Category, FeatureSpec, Hashed, Numeric, Pixel, Target
from training.inputs import inputs_of, network_of
from training.models import Run
from training.networks import Embeddings, embedding_width

TARGET = Target("y", "1", "0")
TABLE = FeatureSpec(
    (Numeric("n", 0, 1), Category("few", ("a",)), Category("c", tuple("abcdefgh")), Hashed("h")),
    TARGET,
)


def wide(inputs: int) -> nn.Module:
    """A module of one's own."""
    return nn.Sequential(nn.Linear(inputs, 3), nn.LayerNorm(3), nn.GELU(), nn.Linear(3, 1))


def two_logits(inputs: int) -> nn.Module:
    return nn.Linear(inputs, 2)


def no_module(inputs: int) -> int:
    return inputs


def normalized(inputs: int) -> nn.Module:
    return nn.Sequential(nn.BatchNorm1d(inputs), nn.Linear(inputs, 1))


HERE = __name__
PATHS = [f"{HERE}.{name}" for name in ("wide", "two_logits", "no_module", "normalized", "gone")]


@pytest.fixture(autouse=True)
def _allowed() -> Any:
    before = modules.allowed()
    modules.allow(PATHS)
    yield
    modules.allow(before)


def config(model: str, **chosen: Any) -> TrainingConfig:
    return TrainingConfig.for_rows(
        500, epsilon=1, delta=1e-5, features="", model=ModelKind(model), **chosen
    )


@pytest.mark.parametrize(
    ("model", "chosen", "spec"),
    [
        ("linear", {}, TABLE),
        ("mlp", {"hidden": (5, 3)}, TABLE),
        ("embedding", {"hidden": (5,)}, TABLE),
        ("ebm", {}, TABLE),
        ("module", {"module": PATHS[0]}, TABLE),
        (
            "cnn",
            {"image": (1, 9, 8)},
            FeatureSpec(tuple(Pixel(f"p{i}", 0, 255) for i in range(72)), TARGET),
        ),
        (
            "cnn",
            {"image": (2, 20, 21)},
            FeatureSpec(tuple(Pixel(f"p{i}", 0, 255) for i in range(840)), TARGET),
        ),
    ],
)
def test_each_kind_gives_a_logit_a_row_from_a_public_seed(
    model: str, chosen: dict[str, Any], spec: FeatureSpec
) -> None:
    asked = config(model, **chosen)
    assert TrainingConfig.from_dict(asked.as_dict()) == asked
    state = torch.random.get_rng_state()
    network, again = network_of(asked, spec), network_of(asked, spec)
    other = network_of(config(model, init_seed=7, **chosen), spec)
    assert torch.equal(state, torch.random.get_rng_state())
    rows = inputs_of(asked, spec, {name: ["0.5", None, "a"] for name in spec.names})
    assert network(rows).shape == (3, 1)
    for name, value in network.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)
    assert any(
        not torch.equal(value, other.state_dict()[name])
        for name, value in network.state_dict().items()
    )


def test_lists_of_values_are_embedded_and_short_ones_are_not() -> None:
    first = network_of(config("embedding"), TABLE)[0]  # type: ignore[index]  # a Sequential
    assert isinstance(first, Embeddings)
    assert first.embedded == (False, False, True, True)
    assert first.outputs == (10, 2, embedding_width(9), embedding_width(32))
    assert [embedding_width(n) for n in (1, 9, 100, 10**6)] == [2, 5, 21, 64]


@pytest.mark.parametrize(
    ("model", "chosen", "code"),
    [
        ("mlp", {"image": [1, 9, 9]}, "run.image_invalid"),
        ("cnn", {}, "run.image_invalid"),
        ("cnn", {"image": [1, 9]}, "run.image_invalid"),
        ("cnn", {"image": [1, 7, 9]}, "run.image_invalid"),
        ("cnn", {"image": [1, 9, 300]}, "run.image_invalid"),
        ("cnn", {"image": [1, 9, "x"]}, "run.image_invalid"),
        ("cnn", {"image": [1, 9, 9]}, "feature.pixels"),
        ("cnn", {"image": [1, 9, 9], "hidden": [4]}, "run.hidden_invalid"),
        ("ebm", {"max_grad_norm": 2}, "run.max_grad_norm_invalid"),
        ("ebm", {"hidden": [4]}, "run.hidden_invalid"),
        ("module", {}, "run.module_invalid"),
        ("mlp", {"replace_layers": True}, "run.replace_layers_invalid"),
        ("module", {"module": PATHS[0], "replace_layers": 1}, "run.replace_layers_invalid"),
        ("mlp", {"module": PATHS[0]}, "run.module_invalid"),
        ("module", {"module": "os.system"}, "run.module_not_allowed"),
        ("module", {"module": PATHS[0], "forms": ["onnx"]}, "run.forms_invalid"),
    ],
)
@pytest.mark.django_db
def test_what_a_kind_cannot_be_is_refused_before_anything_is_read(
    model: str, chosen: dict[str, Any], code: str
) -> None:
    house = make_house()
    version = make_version(house)
    with pytest.raises(DomainError) as caught:
        ask(house, version, model=model, config={"steps": 4, **chosen})
    assert caught.value.stable_code == code
    with tenant_scope(house.id):
        assert not Run.objects.exists()


@pytest.mark.parametrize("path", PATHS[1:3] + PATHS[4:])
@pytest.mark.django_db
def test_a_module_that_is_none_fails_the_run_and_touches_nothing(path: str) -> None:
    house = make_house()
    with pytest.raises(AssertionError, match=r"run\.module_invalid"):
        trained(house, make_version(house), model="module", config={"steps": 4, "module": path})


@pytest.mark.django_db
def test_a_module_that_couples_records_is_refused_by_its_name() -> None:
    house = make_house()
    with pytest.raises(AssertionError, match=r"engine\.layer_unsupported"):
        trained(house, make_version(house), model="module", config={"steps": 4, "module": PATHS[3]})


@pytest.mark.parametrize(
    ("model", "chosen"),
    [
        ("embedding", {"hidden": [4]}),
        ("module", {"module": PATHS[0]}),
        ("module", {"module": PATHS[3], "replace_layers": True}),
    ],
)
@pytest.mark.django_db
def test_runs_from_end_to_end(model: str, chosen: dict[str, Any]) -> None:
    house: House = make_house()
    chosen = {"steps": 12, "expected_batch": 40, **chosen}
    version = trained(house, make_version(house), model=model, config=chosen)
    assert version.card["model"]["kind"] == model
    assert version.card["training"]["executed_steps"] == 12


@pytest.mark.django_db
def test_images_from_end_to_end() -> None:
    """Pixels as columns, declared by their bounds."""
    house: House = make_house()
    pixels: dict[str, Any] = {name: {"kind": "ignore"} for name in ("sex", "city")}
    pixels |= {name: {"kind": "pixel", "low": 0, "high": 99} for name in ("age", "hours")}
    declared = {**DECLARATIONS, "columns": {**DECLARATIONS["columns"], **pixels}}
    with pytest.raises(DomainError) as caught:
        ask(
            house,
            make_version(house, declarations=declared),
            model="cnn",
            config={"image": [1, 8, 8], "steps": 4},
        )
    assert caught.value.stable_code == "feature.pixels"
