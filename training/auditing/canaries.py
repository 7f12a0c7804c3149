"""Canaries: invented records whose trace in the released weights is as clear as clipping allows.

A dummy coordinate each, thrown away afterwards (Andrew et al., arXiv 2302.03098, use random
directions in place of coordinates). The network is one linear layer without a bias, the loss of a
record is minus its logit, and record i is `_LOUD`·C in feature i and 0 elsewhere. So its gradient
lies along weight i with norm `_LOUD`·C at every step, whatever the weights are, and must be clipped
to C. With plain steps of length 1 the released weight i is a sum over the steps,

    weight i · divisor / C  =  (how often record i was drawn) · s  +  N(0, T·σ²)

which is the score: all that the final weights tell of record i, in units of C. (s is the share of C
that is the gradient's, `training.config.GRADIENT_SHARE`.)

Nothing of the engine is imitated. `training.dpsgd.train` draws, clips, sums, adds noise, divides
and steps; a mistake in any of those moves the scores. What canaries cannot see: the loss coordinate
of the released curve, a generator that somebody can predict, and noise that repeats from step to
step (in a final weight, that looks like more noise).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from training.config import Guarantee, ModelKind, Plan, TrainingConfig
from training.dpsgd import Snapshot, train
from training.errors import AuditingError
from training.mechanisms import WHOLE
from training.randomness import Secret

FEWEST: Final = 100  # intervals of the bounds are of large samples
MOST: Final = 5_000  # the table of canaries is square: 100 MB
_LOUD: Final = 8.0  # times C: without clipping a score is eight times what it may be
_CONFIG: Final = TrainingConfig(
    epsilon=1.0,  # asked for nothing: the plan decides
    delta=1e-5,
    features="canaries",
    model=ModelKind.LINEAR,
    hidden=(),
    learning_rate=1.0,
    momentum=0.0,
    average_last=0.0,
)


class Path(StrEnum):
    """Which of the two passes of `training.clipping` the canaries go through."""

    CLOSED = "closed"
    HOOKED = "hooked"


@dataclass(frozen=True)
class Scored:
    """What became of canaries.

    Attributes:
        scores: (m,) scores in units of C, see above.
        included: (m,) whether a canary was among the stored records: a fair coin each.
        executed: steps that ran.
        charged: steps that were announced to the ledger before they ran.
    """

    scores: npt.NDArray[np.float64]
    included: npt.NDArray[np.bool_]
    executed: int
    charged: int

    @classmethod
    def pooled(cls, parts: Sequence[Self]) -> Self:
        """Canaries of several runs as if of one.

        Each run has records of its own, so the runs together are one mechanism that is as private
        for each of them as one run is (parallel composition), and bounds hold for the pool.
        """
        return cls(
            np.concatenate([part.scores for part in parts]),
            np.concatenate([part.included for part in parts]),
            sum(part.executed for part in parts),
            sum(part.charged for part in parts),
        )


def score(plan: Plan, path: Path, secret: Secret) -> Scored:
    """Train once on the canaries that their coins include, and read every canary's score.

    Args:
        plan: what is audited. Its public N is the number of canaries, m: one that is left out is a
            record zeroed out, and N counts it.
        path: which clipping pass.
        secret: of the run; the canaries' coins are a stream of their own.

    Raises:
        AuditingError: `auditing.canaries_invalid`, fewer or more than an audit can do with.
    """
    _check(plan.rows)
    included = secret.stream("canaries").bernoulli(WHOLE // 2, plan.rows)
    charged: list[int] = []
    stored = _records(plan)[torch.from_numpy(included)]
    trained = train(
        _network(path, plan.rows),
        stored,
        torch.zeros(len(stored)),
        plan=plan,
        config=_CONFIG,
        secret=secret,
        on_block=charged.append,
        loss=_loss,
    )
    return Scored(_units(trained.state, plan), included, trained.executed, sum(charged))


def contributions(plan: Plan, path: Path, secret: Secret) -> npt.NDArray[np.float64]:
    """What each canary put into each step's sum: the engine run without noise, all included.

    The noiseless twin of the plan draws and clips by the same code, so this is exact where scores
    are noisy, but it is another run: it says nothing about noise.

    Returns:
        (T, m) contributions in units of C: √(1 - r²) where a canary was drawn, else 0.

    Raises:
        ConfigError: as in `score`.
    """
    _check(plan.rows)
    twin = replace(plan, guarantee=Guarantee.PUBLIC_DATA, noise_multiplier=0.0, paid=())
    seen = [np.zeros(plan.rows)]

    def keep(snapshot: Snapshot) -> None:
        prefix = "network/"
        weights = {n: value for n, value in snapshot.tensors.items() if n.startswith(prefix)}
        seen.append(_units(weights, plan))

    train(
        _network(path, plan.rows),
        _records(plan),
        torch.zeros(plan.rows),
        plan=twin,
        config=_CONFIG,
        secret=secret,
        on_block=lambda _: None,
        on_kept=lambda take: keep(take()),
        block=1,
        loss=_loss,
    )
    return np.diff(np.array(seen), axis=0)


def _check(canaries: int) -> None:
    if not FEWEST <= canaries <= MOST:
        raise AuditingError(
            f"an audit takes {FEWEST} to {MOST} canaries",
            code="auditing.canaries_invalid",
            pointer="/canaries",
        )


def _network(path: Path, canaries: int) -> nn.Sequential:
    """The head: (B, m) to (B, 1). One layer deeper, the closed form does not take it."""
    with torch.random.fork_rng(devices=[]):  # the global generator is left as it was
        layer = nn.Linear(canaries, 1, bias=False)
    nn.init.zeros_(layer.weight)
    return nn.Sequential(layer if path is Path.CLOSED else nn.Sequential(layer))


def _records(plan: Plan) -> torch.Tensor:
    """(m, m): canary i is loud in feature i, silent elsewhere."""
    return torch.eye(plan.rows) * (_LOUD * plan.max_grad_norm)


def _loss(logits: torch.Tensor, _labels: torch.Tensor) -> torch.Tensor:
    """(B,) losses whose derivative by the logit is -1 everywhere."""
    return -logits.squeeze(-1)


def _units(weights: dict[str, torch.Tensor], plan: Plan) -> npt.NDArray[np.float64]:
    """(m,) weights as sums in units of C."""
    (weight,) = weights.values()
    values: npt.NDArray[np.float64] = weight.double().numpy().reshape(-1)
    return values * (plan.divisor / plan.max_grad_norm)
