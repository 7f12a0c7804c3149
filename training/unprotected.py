"""The twin of a private run, by which one sees what privacy costs: accuracy, and to whom.

The same network from the same public seed, the same configuration, plan and drawn batches, with
neither noise nor clipping. What it says is covered by no ε, so it is made only of rows that their
steward declared public (`training.planning.check_twin`). It is trained after the private model, in
the worker itself, keeps no checkpoint and is charged nothing: a worker that dies on the way leaves
a private model that is paid for, and the next worker trains the twin again, from the same draws.

Its weights never leave this process's memory: no file, no artifact. Its held-out rows are counted
as a block of the one release (`training.evaluation`), with noise like every other figure.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import nn

from training.compression import Scores, scores_of
from training.config import Guarantee, ModelKind, Plan, TrainingConfig
from training.dpsgd import Trained
from training.errors import EngineError
from training.evaluation import Differences, Metrics, NoisyCounts, differ, measure
from training.features import FeatureSpec
from training.inputs import ahead_of, inputs_of, network_of
from training.learning import learn
from training.randomness import Secret
from training.reading import Rows
from training.units import Units

NAME: Final = "twin"  # of its block in the held-out release
# A gradient of this length would be clipped: none is near it before the weights are not finite.
_UNCLIPPED: Final = 1e6
_NO_NOISE: Final = 1e-6  # of a boosted model's numbers of rows


@dataclass(frozen=True)
class Twin:
    """A trained twin, in memory.

    Attributes:
        network: None where its weights became non-finite, as may be where nothing is clipped.
        executed: steps that ran.
    """

    network: nn.Module | None
    executed: int

    def scores(self, rows: torch.Tensor) -> dict[str, Scores]:
        """(n,) probabilities by the name of its block; nothing where it has no network."""
        return {} if self.network is None else {NAME: scores_of(self.network)(rows.numpy())}


@dataclass(frozen=True)
class MeasuredTwin:
    """What a card says of a twin.

    Attributes:
        executed: steps that ran.
        metrics: of the held-out rows; None where the twin diverged.
        differences: the model's figures less the twin's.
    """

    executed: int
    metrics: Metrics | None
    differences: Differences | None


def train_twin(
    config: TrainingConfig,
    plan: Plan,
    spec: FeatureSpec,
    rows: Rows,
    *,
    secret: Secret,
    cancelled: Callable[[int], bool],
) -> Twin | None:
    """Train the twin of a plan; None where somebody asked the run to stop.

    Args:
        config: the run's.
        plan: the run's; its noise and its bound are left out.
        spec: how cells become numbers.
        rows: public ones.
        secret: what the run's draws followed from.
        cancelled: asked before each block, with the steps that are done.
    """
    # A boosted model's residuals are at most 1 as they are: its bound clips nothing.
    bound = plan.max_grad_norm if config.model is ModelKind.EBM else _UNCLIPPED
    open_plan = replace(
        plan,
        guarantee=Guarantee.PUBLIC_DATA,
        noise_multiplier=0.0,
        max_grad_norm=bound,
        paid=(),
    )
    network = network_of(config, spec)
    labels = torch.from_numpy(spec.encode_target(rows.train))
    usable = torch.isfinite(labels)
    done = 0

    def ahead(steps: int) -> None:  # nothing is charged, and nobody is told
        nonlocal done
        done += steps

    try:
        trained: Trained = learn(
            network,
            ahead_of(network, inputs_of(config, spec, rows.train)[usable]),
            labels[usable],
            plan=open_plan,
            config=config,
            spec=spec,
            histogram_noise=_NO_NOISE,
            secret=secret,
            units=None if rows.owners is None else Units.of(rows.owners[usable.numpy()]),
            on_block=ahead,
            cancelled=lambda: cancelled(done),
        )
    except EngineError as error:
        if error.stable_code != "engine.diverged":
            raise
        return Twin(None, done)
    if trained.stopped:
        return None
    made = network_of(config, spec)
    made.load_state_dict(trained.state, strict=True)
    return Twin(made.eval().requires_grad_(False), trained.executed)


def measured(twin: Twin | None, counts: NoisyCounts) -> MeasuredTwin | None:
    """What the held-out release says of a twin."""
    if twin is None:
        return None
    others = counts.others.get(NAME)
    if others is None:
        return MeasuredTwin(twin.executed, None, None)
    return MeasuredTwin(twin.executed, measure(others), differ(counts, others))
