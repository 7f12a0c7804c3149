"""The trials of a private search: draw a candidate, train it, score it once, keep the best.

What may become known is the best trial's candidate, model, curve and noisy score, and nothing of
the others: neither what they came to, nor in which order, nor how many there were, K. The price is
of that (`training.renyi.repeated`); so a search says nothing until it is over, and a trial that
comes to nothing (`engine.diverged`) is the worst of all, not an error.

    how many      coins of the run's secret, with the ledger's own probability: K is geometric
    which         drawn uniformly for each trial, with replacement
    trained       on the training rows, by the plan, with coins and noise of the trial's own secret
    scored        on the held-out rows: minus the sum of squared errors of the probabilities
                  (Brier), each at most 1, with Gaussian noise

All of it follows from the run's one secret. So a search that is taken up again makes the same
trials and comes to the same winner, paid for once.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from audit.canonical import decimal
from training.config import Plan, TrainingConfig
from training.distributed.supervisor import Calls, Ranks
from training.dpsgd import Snapshot, Trained
from training.errors import EngineError
from training.inputs import network_of
from training.learning import Material, fit, probabilities
from training.mechanisms import WHOLE, Mechanism, exact
from training.randomness import Secret, Source

UNTOLD: Final[Mapping[str, str]] = {
    "en": "Of the trials that were not chosen nothing is told, nor how many there were: the bound "
    "on ε rests on it. The time that the run took is known to those who see its record; "
    "whoever compares it with the time of one trial may guess the number, and what the bound "
    "promises holds less for them.",
    "zh": "未被选中的各次试验均不公开，试验次数也不公开：ε 的上限以此为前提。能查看本次运行记录的人"
    "知道它用了多长时间；若与单次试验的时间相比较，便可能猜出次数，对这些人而言上限的承诺会减弱。",
}
_GRID: Final = 1_024  # squared errors are whole multiples of 1/1,024, so their noisy sum is too
_DIVERGED: Final = "engine.diverged"


@dataclass(frozen=True)
class Best:
    """The best trial so far.

    Attributes:
        candidate: its place in the list of candidates.
        score: noisy, higher is better; -inf where nothing came of it.
        trained: its model; None where nothing came of it.
    """

    candidate: int
    score: float
    trained: Trained | None


@dataclass(frozen=True)
class Searched:
    """How far a search has come. Of a checkpoint, never to be shown.

    Attributes:
        done: trials that need not be made again.
        best: of these.
    """

    done: int = 0
    best: Best | None = None


@dataclass(frozen=True)
class Found:
    """What may be told of a search that is over.

    Attributes:
        config: what was asked for, with the candidates.
        candidate: the chosen one's place among them.
        score: the best trial's, noisy.
        mechanism: what scoring cost.
    """

    config: TrainingConfig
    candidate: int
    score: float
    mechanism: Mechanism

    def as_dict(self) -> dict[str, object]:
        """The card's part about the search."""
        asked = self.config.as_dict().get("search")
        candidates = asked["candidates"] if isinstance(asked, dict) else []
        stopping = self.mechanism.stopping
        return {
            "candidates": candidates,
            "chosen": self.candidate + 1,
            "drawn": "uniformly for each trial, with replacement",
            "trials": {
                "distribution": "geometric (truncated negative binomial, η = 1)",
                "stopping_probability": exact(stopping / WHOLE),
                "mean": decimal(WHOLE / stopping, 3),
            },
            "score": {
                "what": "squared errors of held-out probabilities, summed; the smallest wins",
                "value": decimal(-self.score, 3),
                "noise": exact(self.mechanism.noise_multiplier),
            },
            "bound": "Papernot and Steinke (arXiv 2110.03620), Theorem 2, η = 1",
            "untold": dict(UNTOLD),
        }


@dataclass(frozen=True)
class Trials:
    """How trials are trained and scored.

    Attributes:
        material: the training rows.
        held_out, labels: what networks read of the held-out rows, and (m,) their labels.
        sigma: of a score's noise.
        ranks: which processes train; None for this one.
        cancelled: asked before each block.
        on_kept: after each block, with a function that takes a snapshot.
        on_trial: after each trial, with what is done until then.
    """

    material: Material
    held_out: torch.Tensor
    labels: npt.NDArray[np.float32]
    sigma: float
    ranks: Ranks | None
    cancelled: Callable[[], bool]
    on_kept: Callable[[Callable[[], Snapshot]], None]
    on_trial: Callable[[Searched], None]

    def train(
        self, config: TrainingConfig, plan: Plan, secret: Secret, after: Snapshot | None
    ) -> Trained:
        """Train one, or go on with it: every step is paid for, and nobody is told."""
        return fit(
            self.material,
            config=config,
            plan=plan,
            secret=secret,
            ranks=self.ranks,
            calls=Calls(lambda _: None, self.on_kept, lambda _: None, self.cancelled),
            after=after,
            paid=plan.steps,
        )

    def score(self, config: TrainingConfig, trained: Trained, source: Source) -> float:
        """The noisy score of one."""
        network = network_of(config, self.material.spec)
        network.load_state_dict(trained.state)
        found = probabilities(network.eval(), self.held_out)
        return score(found, self.labels, self.sigma, source)


def search(
    config: TrainingConfig,
    plan: Plan,
    secret: Secret,
    work: Trials,
    *,
    before: Searched,
    after: Snapshot | None,
) -> Best | None:
    """Make the trials that are not made yet.

    Args:
        config: with candidates.
        plan: of the search.
        secret: the run's.
        work: how a trial is trained and scored.
        before: what an earlier worker kept.
        after: where that worker stopped in the trial after these.

    Returns:
        The best of all, or None if somebody asked to stop.

    Raises:
        EngineError: the loop cannot go on, for a reason that is not a trial's own.
    """
    variants, searched = config.variants(), before
    last = trials(secret, plan.stopping)
    while searched.done < last:
        own = secret.branch(f"trial {searched.done + 1}")
        candidate = pick(own.stream("candidate"), len(variants))
        chosen = variants[candidate]
        try:
            trained = work.train(chosen, plan.trial(chosen.max_grad_norm), own, after)
        except EngineError as error:
            if error.stable_code != _DIVERGED:
                raise
            made = Best(candidate, -math.inf, None)
        else:
            if trained.stopped:
                return None
            made = Best(candidate, work.score(chosen, trained, own.stream("score")), trained)
        best = searched.best
        if best is None or made.score > best.score:
            best = made
        searched, after = Searched(searched.done + 1, best), None
        work.on_trial(searched)
    return searched.best


def trials(secret: Secret, stopping: int) -> int:
    """K, at least 1: how many trials it takes until the coin with `stopping` / 2**32 falls.

    To be told to nobody.
    """
    coins, count = secret.stream("trials"), 1
    while not coins.bernoulli(stopping, 1)[0]:
        count += 1
    return count


def pick(source: Source, of: int) -> int:
    """One of so many, each as likely to within 2**-32: the n-th coin says yes with 1 / (of - n)."""
    for place in range(of - 1):
        if source.bernoulli(WHOLE // (of - place), 1)[0]:
            return place
    return of - 1


def score(
    probabilities: npt.NDArray[np.float64],
    labels: npt.NDArray[np.float32],
    sigma: float,
    source: Source,
) -> float:
    """Minus the noisy sum of the squared errors of held-out rows.

    A proper score of values in [0, 1], so that a record, present or blanked, moves it by at most 1
    without clipping. The sum is of whole multiples of a grid and is rounded to one after the noise:
    no low bits are left for a floating-point attack.

    Args:
        probabilities: (n,) of the positive label; what is not finite is as wrong as can be.
        labels: (n,) 0, 1, or NaN for a row that counts nowhere.
        sigma: of the noise, over a sensitivity of 1.
        source: secure randomness.
    """
    errors = np.where(np.isfinite(probabilities), (probabilities - labels) ** 2, 1.0)
    whole = np.rint(np.clip(errors, 0, 1) * _GRID)
    total = float(whole[np.isfinite(labels)].sum()) / _GRID
    noisy = total + sigma * float(source.gaussian(1)[0])
    return -float(np.rint(noisy * _GRID)) / _GRID
