"""Boosted additive models under differential privacy: the glass-box choice, top to bottom.

DP-EBM (Nori et al., arXiv 2106.09680, Algorithm 2): one table of scores for each feature, over bins
that are public; the model is their sum, so that what it says of a row can be read off. Step t of T
visits one feature after the other, over all rows:

    1. residuals  y - p of every row, in [-1, 1];
    2. sum        of the residuals in each bin of the feature; a row is in one bin, so its vector,
                  with its scaled loss as one more coordinate, has norm at most C = 1; a person's
                  rows count as their mean;
    3. noise      N(0, σ²) on every coordinate, from the secure source;
    4. smooth     bins of a number are joined into a few random stretches (public randomness);
    5. update     rate · noisy sum / noisy number of rows, added to the scores of the stretch.

The numbers of rows come from one noisy histogram of all features, paid for before the first step.
Every step reads every row, so the accounting event is a plain Gaussian: σ, T, no sampling. What a
block of steps means for the ledger, for checkpoints and for what is told of it is as in
`training.dpsgd`.

Why not the reference implementation (interpret): its noise follows from a seeded generator, its
categories are those that the rows hold, its bins need a budget that public ones do not, and a run
that was killed cannot go on.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from training.config import LOSS_CEILING, LOSS_SHARE, Plan, TrainingConfig
from training.dpsgd import Progress, Snapshot, Trained, stalled
from training.errors import EngineError
from training.features import Feature, Numeric
from training.randomness import Secret
from training.units import Units

_NO_ROWS: Final = 1e-3  # less than any noise multiplier
STRETCHES: Final = 3  # as the paper's leaves
_RESIDUALS: Final = math.sqrt(1 - LOSS_SHARE**2)  # share of C, the rest is the loss's

Vector = npt.NDArray[np.float64]


def boost(  # noqa: PLR0913 - the parts of one run, each named at the call
    network: nn.Sequential,
    features: torch.Tensor,
    labels: torch.Tensor,
    *,
    blocks: Sequence[Feature],
    plan: Plan,
    config: TrainingConfig,
    secret: Secret,
    histogram_noise: float,
    on_block: Callable[[int], None],
    on_kept: Callable[[Callable[[], Snapshot]], None] = lambda _: None,
    on_progress: Callable[[Progress], None] = lambda _: None,
    cancelled: Callable[[], bool] = lambda: False,
    units: Units | None = None,
    after: Snapshot | None = None,
    paid: int = 0,
    histogram_secret: Secret | None = None,
) -> Trained:
    """Fill the weights of a linear network over indicators with the tables.

    Args:
        network: one Linear layer, (D, 1).
        features: (n, D) indicators: of each feature's bins at most one.
        labels: (n,) in {0, 1}.
        blocks: the features, in the order of the columns.
        plan: σ and T; C is 1 and every row is in every step.
        config: learning rate, averaging, and the public seed of the stretches.
        secret: what the noise follows from.
        histogram_noise: σ of the numbers of rows, relative to their sensitivity √features; they
            were paid for.
        units: whose the n rows are; None where every record is a unit.
        on_block: see `dpsgd.train`, as for what follows.
        on_kept: with the snapshot of a finished block.
        on_progress: with what may be told of it.
        cancelled: asked before each block.
        after: where an earlier worker stopped.
        paid: steps that the ledger holds already.
        histogram_secret: what the noise of the numbers of rows follows from, where it is not
            `secret`: trials of a search share what was bought once.

    Raises:
        EngineError: shapes do not fit, the plan samples rows or has another C.
    """
    if plan.sample_rate != 1 or plan.max_grad_norm != 1:
        raise EngineError("a boosted model's plan reads every row, with C = 1", code="engine.plan")
    state = _State(network, features, labels, blocks, units)
    weights = state.histogram(histogram_secret or secret, histogram_noise)
    average = _Average(len(state.scores), round(plan.steps * (1 - config.average_last)))
    curve: list[Progress] = []
    done = 0
    if after is not None:
        state.restore(after.tensors["tables"].numpy())
        average.restore(after.tensors["average"].numpy(), int(after.tensors["count"]))
        done, curve = after.step, list(after.curve)
    block = max(1, math.ceil(plan.steps / 40))
    stopped = False
    while done < plan.steps and not stalled(curve, config.patience):
        if stopped := cancelled():
            break
        ahead = min(block, plan.steps - done)
        if (unpaid := done + ahead - max(done, paid)) > 0:
            on_block(unpaid)
        noisy_loss = 0.0
        state.settle()
        for number in range(done + 1, done + ahead + 1):
            place = (number - 1) % len(blocks)
            sums, loss = state.sums(place)  # 1. 2.
            noise = plan.noise(secret.step(number), len(sums) + 1)  # 3.
            noisy_loss += loss + float(noise[-1])
            joined = _stretches(blocks[place], config.init_seed, number)  # 4.
            total = np.add.reduceat(sums + noise[:-1], joined) / _RESIDUALS
            # A stretch of hardly any rows moves by hardly anything: its sum is noise.
            # Without any noise it may be of none, and its sum is 0.
            rows = np.add.reduceat(weights[place], joined) + plan.noise_multiplier
            rows = np.maximum(rows, _NO_ROWS)
            state.add(place, np.repeat(config.learning_rate * total / rows, _lengths(joined, sums)))
            average.see(number, state.scores)  # 5.
        done += ahead
        unit = plan.divisor * LOSS_SHARE / LOSS_CEILING
        error = plan.noise_multiplier / unit / math.sqrt(ahead)
        curve.append(Progress(done, plan.steps, noisy_loss / unit / ahead, error))
        on_kept(partial(_snapshot, done, state.scores, average, tuple(curve)))
        on_progress(curve[-1])
    (layer,) = (each for each in network if isinstance(each, nn.Linear))
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(average.of(state.scores)).unsqueeze(0))
        layer.bias.zero_()
    made = {name: value.detach().clone() for name, value in network.state_dict().items()}
    return Trained(made, done, stopped, tuple(curve))


class _State:
    """The tables, end to end, and what they say of every row."""

    def __init__(
        self,
        network: nn.Sequential,
        features: torch.Tensor,
        labels: torch.Tensor,
        blocks: Sequence[Feature],
        units: Units | None,
    ) -> None:
        widths = [block.width for block in blocks]
        width = sum(widths)
        linear = [layer for layer in network if isinstance(layer, nn.Linear)]
        if features.shape != (len(labels), width) or [one.in_features for one in linear] != [width]:
            raise EngineError("features, labels and tables do not fit", code="engine.shape")
        if units is not None and len(units.rows) != len(labels):
            raise EngineError("every row must be somebody's", code="engine.shape")
        self.scores: Vector = np.zeros(width)
        self._starts = np.cumsum([0, *widths])
        self._bins = [_bins(part) for part in torch.split(features, widths, dim=1)]
        self._labels = labels.double().numpy()
        self._shares: Vector = np.ones(len(labels))
        if units is not None:
            rows, shares = units.expand(np.arange(len(units)))
            self._shares[rows] = shares
        self._rows: Vector = np.zeros(len(labels))

    def histogram(self, secret: Secret, noise: float) -> list[Vector]:
        """Noisy numbers of rows by feature and bin, at least 0."""
        source = secret.stream("histogram")
        sigma = noise * math.sqrt(len(self._bins))
        return [
            np.maximum(
                self._sum(place, self._shares) + sigma * source.gaussian(self._width(place)), 0.0
            )
            for place in range(len(self._bins))
        ]

    def sums(self, place: int) -> tuple[Vector, float]:
        """Residuals by bin, times their share of C, and the loss's coordinate."""
        chance = 1 / (1 + np.exp(-self._rows))
        residuals = (self._labels - chance) * self._shares
        losses = np.minimum(np.logaddexp(0, self._rows) - self._labels * self._rows, LOSS_CEILING)
        loss = float((np.maximum(losses, 0) * self._shares).sum()) * LOSS_SHARE / LOSS_CEILING
        return self._sum(place, residuals) * _RESIDUALS, loss

    def add(self, place: int, update: Vector) -> None:
        """Add to one feature's table, and to the rows' scores."""
        self.scores[self._starts[place] : self._starts[place + 1]] += update
        self._rows += np.append(update, 0.0)[self._bins[place]]

    def restore(self, scores: Vector) -> None:
        """Take tables up again.

        Raises:
            EngineError: `engine.snapshot_differs`.
        """
        if scores.shape != self.scores.shape:
            raise EngineError("this snapshot is of other tables", code="engine.snapshot_differs")
        self.scores = scores.copy()

    def settle(self) -> None:
        """Every row's score from the tables alone.

        Before each block, so that steps which are drawn again after a crash see the same scores to
        the last bit, and come out as they were.
        """
        self._rows = np.zeros(len(self._labels))
        for place, bins in enumerate(self._bins):
            table = self.scores[self._starts[place] : self._starts[place + 1]]
            self._rows += np.append(table, 0.0)[bins]

    def _width(self, place: int) -> int:
        return int(self._starts[place + 1] - self._starts[place])

    def _sum(self, place: int, of: Vector) -> Vector:
        # One bin more, which is forgotten: of rows that are in none.
        bins, width = self._bins[place], self._width(place)
        return np.bincount(bins, weights=of, minlength=width + 1)[:-1].astype(np.float64)


def _bins(indicators: torch.Tensor) -> npt.NDArray[np.intp]:
    """(n,) which of K indicators is one; K where none is."""
    top, place = indicators.max(1)
    return torch.where(top > 0, place, indicators.shape[1]).numpy().astype(np.intp)


def _stretches(feature: Feature, seed: int, number: int) -> npt.NDArray[np.intp]:
    """Where stretches of bins begin: a few of a number's, each bin of anything else alone."""
    if not isinstance(feature, Numeric):
        return np.arange(feature.width)
    bins = feature.width - 1  # the last is of missing values, and stays alone
    generator = np.random.Generator(np.random.Philox(key=seed, counter=number))
    cuts = generator.choice(bins - 1, min(STRETCHES, bins) - 1, replace=False) + 1
    return np.concatenate([[0], np.sort(cuts), [bins]])


def _lengths(joined: npt.NDArray[np.intp], sums: Vector) -> npt.NDArray[np.intp]:
    return np.diff(np.append(joined, len(sums)))


class _Average:
    """Mean of the tables after each of the last steps."""

    def __init__(self, size: int, after: int) -> None:
        self._after, self.count = after, 0
        self.total: Vector = np.zeros(size)

    def see(self, step: int, scores: Vector) -> None:
        if step > self._after:
            self.count += 1
            self.total += scores

    def restore(self, total: Vector, count: int) -> None:
        self.total, self.count = total.copy(), count

    def of(self, scores: Vector) -> Vector:
        return self.total / self.count if self.count else scores


def _snapshot(
    step: int, scores: Vector, average: _Average, curve: tuple[Progress, ...]
) -> Snapshot:
    tensors = {
        "tables": torch.from_numpy(scores.copy()),
        "average": torch.from_numpy(average.total.copy()),
        "count": torch.tensor(average.count),
    }
    return Snapshot(step, tensors, curve)
