"""LAMB against its algorithm, written out again; and in a run that goes on."""

import math
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from tests.factories.ranks import Caller, alone, job_of
from training.config import TrainingConfig
from training.lamb import Lamb


def test_each_step_is_that_of_the_algorithm() -> None:
    """You et al., Algorithm 2, in double precision."""
    generator = np.random.default_rng(0)
    weights, bias = generator.normal(size=(3, 4)), generator.normal(size=3)
    parameters = [nn.Parameter(torch.from_numpy(part.copy())) for part in (weights, bias)]
    optimizer = Lamb(parameters, lr=0.1, betas=(0.9, 0.99))
    moments = [(np.zeros_like(part), np.zeros_like(part)) for part in (weights, bias)]
    wanted = [weights.copy(), bias.copy()]
    for count in range(1, 6):
        for place, part in enumerate(wanted):
            gradient = generator.normal(size=part.shape)
            parameters[place].grad = torch.from_numpy(gradient.copy())
            mean, square = moments[place]
            mean = 0.9 * mean + 0.1 * gradient
            square = 0.99 * square + 0.01 * gradient**2
            moments[place] = mean, square
            direction = (mean / (1 - 0.9**count)) / (np.sqrt(square / (1 - 0.99**count)) + 1e-6)
            trust = np.linalg.norm(part) / np.linalg.norm(direction) if part.ndim > 1 else 1.0
            wanted[place] = part - 0.1 * trust * direction
        optimizer.step()
        for parameter, part in zip(parameters, wanted, strict=True):
            np.testing.assert_allclose(parameter.detach().numpy(), part, rtol=1e-9)


def test_weights_of_nothing_take_a_step() -> None:
    parameter = nn.Parameter(torch.zeros(2, 2))
    parameter.grad = torch.ones(2, 2)
    Lamb([parameter], lr=0.1, betas=(0.9, 0.999)).step()
    assert math.isclose(parameter[0, 0].item(), -0.1, rel_tol=1e-4)


def test_a_run_with_it_goes_on_to_the_last_bit() -> None:
    job = job_of()
    config = TrainingConfig.from_dict({**job.config.as_dict(), "optimizer": "lamb"})
    asked, first = replace(job, config=config), Caller()
    whole = alone(asked, first)
    again = alone(replace(asked, after=first.snapshots[0], paid=20), Caller())
    assert all(torch.equal(value, again.state[name]) for name, value in whole.state.items())
