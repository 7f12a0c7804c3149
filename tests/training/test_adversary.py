"""The hardest point near a record: its own, within the box, and harder."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.factories.engine import CLIP, records
from tests.factories.ranks import Caller, alone, job_of
from training.adversary import hardest
from training.clipping import clipping_pass
from training.config import ModelKind, TrainingConfig
from training.dpsgd import binary_loss
from training.errors import ConfigError
from training.networks import build

CONFIG = TrainingConfig(epsilon=1, delta=1e-5, features="", hidden=(5,))


def test_it_is_near_and_harder_and_nobody_elses() -> None:
    network = build(CONFIG, 6)
    rows, labels = records(40, 6)
    moved = hardest(network, binary_loss, rows, labels, 0.2)
    assert float((moved - rows).norm(dim=1).max()) <= 0.2 + 1e-6
    before, after = (binary_loss(network(points), labels).detach() for points in (rows, moved))
    assert (after > before).all()
    alone_moved = hardest(network, binary_loss, rows[7:8], labels[7:8], 0.2)
    assert torch.allclose(moved[7:8], alone_moved, atol=1e-4)
    assert all(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_record_that_is_not_finite_moves_no_other(bad: float) -> None:
    network = build(CONFIG, 6)
    rows, labels = records(10, 6)
    spoiled = rows.clone()
    spoiled[3] = bad
    rest = torch.arange(10) != 3
    moved = hardest(network, binary_loss, spoiled, labels, 0.2)
    clean = hardest(network, binary_loss, rows, labels, 0.2)
    assert torch.allclose(moved[rest], clean[rest], atol=1e-4)
    engine = clipping_pass(network, binary_loss, CLIP)
    assert engine.sum(moved, labels).refused == 1
    engine.close()


def test_a_record_moves_the_sum_by_at_most_c_and_others_by_rounding_alone() -> None:
    """In a large batch: what its absence changes of all other points is far below C's margin."""
    network = build(CONFIG, 6)
    rows, labels = records(2_001, 6)
    rows[2_000] *= 1e4
    engine = clipping_pass(network, binary_loss, CLIP)
    sums = []
    for count, seen in ((2_001, 2_001), (2_000, 2_001), (2_000, 2_000)):
        moved = hardest(network, binary_loss, rows[:seen], labels[:seen], 0.2)
        found = engine.sum(moved[:count], labels[:count])
        sums.append(np.append(found.watched, found.gradient))
    engine.close()
    assert np.linalg.norm(sums[0] - sums[2]) <= CLIP
    assert np.linalg.norm(sums[1] - sums[2]) < 1e-5 * CLIP


def test_a_run_against_it_is_a_run() -> None:
    job = job_of()
    config = TrainingConfig.from_dict({**job.config.as_dict(), "adversary": 0.3})
    trained = alone(replace(job, config=config), Caller())
    assert trained.executed == job.plan.steps
    assert not torch.equal(trained.state["0.weight"], alone(job, Caller()).state["0.weight"])


@pytest.mark.parametrize("model", [ModelKind.LORA, ModelKind.EBM])
def test_kinds_without_one(model: ModelKind) -> None:
    with pytest.raises(ConfigError) as caught:
        TrainingConfig.for_rows(99, epsilon=1, delta=1e-5, features="", model=model, adversary=0.1)
    assert caught.value.stable_code == "run.adversary_invalid"
