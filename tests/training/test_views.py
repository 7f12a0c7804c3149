"""Views of a record: one vector of norm C, whoever else is drawn; and what each view is."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from django.core.management import call_command
from django.core.management.base import CommandError

from tests.factories.engine import CLIP, records
from tests.factories.ranks import Caller, alone, job_of
from training.clipping import clipping_pass
from training.config import ModelKind, TrainingConfig
from training.dpsgd import binary_loss
from training.errors import ConfigError
from training.networks import build, convolutional
from training.proving import Proof, prove
from training.views import SHIFT, Views

IMAGE = (2, 9, 8)


def test_a_view_follows_from_the_record_and_the_step_alone() -> None:
    """Trap: noise drawn by the place in the batch is another record's where one is missing."""
    rows, _ = records(30, 6)
    views = Views(4, 0.5, (), seed=3)
    numbers = torch.arange(100, 130)
    whole = views.of(rows, numbers, step=7)
    without = views.of(rows[5:], numbers[5:], step=7)
    assert torch.equal(whole[20:], without)
    assert torch.equal(whole[::4], rows)  # the first is the record itself
    assert not torch.equal(whole, views.of(rows, numbers, step=8))
    spread = (whole - rows.repeat_interleave(4, 0))[torch.arange(120) % 4 > 0]
    assert spread.std() == pytest.approx(0.5, rel=0.1)
    assert len(torch.unique(spread[:, 0])) > 80


@pytest.mark.parametrize("count", [2, 3, 16])
@pytest.mark.parametrize("scale", [0.1, 1e4])
def test_a_record_with_its_views_moves_the_sum_by_at_most_c(count: int, scale: float) -> None:
    config = TrainingConfig(epsilon=1, delta=1e-5, features="", hidden=(5,))
    features, labels = records(41, 6)
    features[40] *= scale
    engine = clipping_pass(build(config, 6), binary_loss, CLIP)
    views = Views(count, 0.3, (), seed=0)
    sums = []
    for records_drawn in (41, 40):
        numbers = torch.arange(records_drawn)
        found = engine.sum(
            views.of(features[:records_drawn], numbers, 1),
            views.repeated(labels[:records_drawn]),
            views.shares(None, records_drawn),
        )
        sums.append(np.append(found.watched, found.gradient))
    engine.close()
    assert 0 < np.linalg.norm(sums[0] - sums[1]) <= CLIP


def test_an_image_is_shifted_by_at_most_two_pixels() -> None:
    image = torch.zeros(1, *IMAGE)
    image[0, 1, 4, 4] = 1
    views = Views(16, 0.1, IMAGE, seed=0).of(image.reshape(1, -1), torch.tensor([12]), 3)
    places = {tuple(place) for place in views.view(16, *IMAGE).nonzero()[:, 1:].tolist()}
    assert all(channel == 1 for channel, _, _ in places)
    assert all(abs(high - 4) <= SHIFT and abs(wide - 4) <= SHIFT for _, high, wide in places)
    assert len(places) > 5
    assert (views.sum(1) == 1).all()


def test_shares_of_persons_are_shared_among_their_views() -> None:
    shares = Views(3, 0.1, (), 0).shares(torch.tensor([0.5, 1.0]), 2)
    assert shares[:3].double().sum() <= 0.5
    assert shares[3:].double().sum() <= 1.0
    assert shares.sum() == pytest.approx(1.5, rel=1e-6)


def test_a_run_with_views_goes_on_as_it_was() -> None:
    job = job_of()
    config = TrainingConfig.from_dict({**job.config.as_dict(), "views": 3})
    assert config != job.config
    first = Caller()
    asked = replace(job, config=config)
    whole = alone(asked, first)
    again = alone(replace(asked, after=first.snapshots[0], paid=20), Caller())
    for name, value in whole.state.items():
        assert torch.equal(value, again.state[name])
    assert not torch.equal(whole.state["0.weight"], alone(job, Caller()).state["0.weight"])


@pytest.mark.parametrize("model", [ModelKind.LORA, ModelKind.EBM])
def test_kinds_with_one_view(model: ModelKind) -> None:
    with pytest.raises(ConfigError) as caught:
        TrainingConfig.for_rows(99, epsilon=1, delta=1e-5, features="", model=model, views=2)
    assert caught.value.stable_code == "run.views_invalid"


@pytest.mark.slow
class TestProof:
    """On the CPU against itself: what a card would have to do."""

    def test_the_cpu_trains_what_the_cpu_trains(self, capsys: pytest.CaptureFixture[str]) -> None:
        call_command("prove_gpu", device="cpu")
        told = capsys.readouterr().out.splitlines()
        assert told[-1] == "cpu: PROVED, it trains what the CPU trains"
        assert len(told) == 3

    def test_a_device_that_is_not_there(self) -> None:
        with pytest.raises(CommandError) as caught:
            call_command("prove_gpu", device="cuda:99")
        assert caught.value.returncode == 3

    def test_what_differs_or_does_not_clip_does_not_hold(self) -> None:
        assert Proof("mlp", 1e-5, 0.9, 1, 1).holds
        assert not Proof("mlp", 1e-2, 0.9, 1, 1).holds
        assert not Proof("mlp", 1e-5, 1.01, 1, 1).holds

    def test_a_device_that_computes_otherwise_is_not_proved(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        turns = iter(range(9))

        def other(config: TrainingConfig) -> Any:
            network = convolutional(config)
            if next(turns) == 1:  # the device's
                with torch.no_grad():
                    next(network.parameters()).add_(0.1)
            return network

        monkeypatch.setattr("training.proving.convolutional", other)
        mlp, cnn = prove(torch.device("cpu"))
        assert (mlp.holds, cnn.holds) == (True, False)
