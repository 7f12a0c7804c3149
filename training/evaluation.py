"""How good the model is on rows that training never touched, said without giving those rows away.

A metric on private rows is a release about them. So the held-out rows are read once, into counts: a
histogram of scores by label, and for each group column a table of group × label × decision. Each
record is in one cell of each, and Gaussian noise hides every record. AUROC, accuracy, selection
rates and their intervals are computed from the noisy counts alone: post-processing.

Cost: a record is held out or trained on, by a keyed hash that ignores its content, never both. The
release spends no more than training did at any Rényi order (`accounting.evaluation_mechanism`), so
by parallel composition it adds nothing to the run's ε; and ε covers it.

Blocks share the noise budget: block b with sensitivity 1 and noise σ_b costs 1/σ_b² of 1/σ², so a
share s_b of the budget gives σ_b = σ/√s_b. Other forms of the same model (`training.compression`)
are blocks of the same release: what they say of a record is paid for with what the model itself
says.

Fairness is judged by two figures of group × label × decision: the impact ratio of selection rates
(four-fifths rule, 29 CFR 1607.4 D) and the equalized-odds difference, the larger of the gaps in
true and in false positive rates (Hardt et al., arXiv 1610.02413; as in fairlearn). A verdict is
given only where the whole interval says the same.

A figure that needs both labels is not given where one of them is hardly there: where its noisy
count is what noise alone reaches. So the reader gets no number made of noise, and learns no more
than the noisy counts say.
"""

import hashlib
import hmac
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

import numpy as np
import numpy.typing as npt

from training.errors import RunRefusedError, TrainingError
from training.features import Cells
from training.mechanisms import WHOLE, Mechanism
from training.randomness import Source

Counts = npt.NDArray[np.float64]
Resampled = tuple[Counts, Counts]

# Public score bins, even enough in log-odds that ties within a bin cost AUROC about 0.001; 0.5 is
# an edge, so that decisions can be counted exactly.
_LOGITS: Final = np.array(
    [-7, -6, -5, -4.25, -3.5, -2.9, -2.4, -2, -1.6, -1.2, -0.8, -0.4, 0, 0.4, 0.9, 1.5, 2.5]
)
EDGES: Final = 1 / (1 + np.exp(-_LOGITS))
BINS: Final = len(EDGES) + 1
_DECISION: Final = int(np.flatnonzero(_LOGITS == 0.0)[0]) + 1  # first bin of a positive decision

SCORES_SHARE: Final = 0.7
SMALLEST_GROUP: Final = 100
FOUR_FIFTHS: Final = 0.8
LARGEST_GAP: Final = 0.1  # of rates between groups; no law gives a number, this one is the house's
SMALLEST_CLASS: Final = 5  # records of a label, or decisions, where there is no noise to say more
NOISE_REACHES: Final = 3.0  # standard deviations: noise alone is above in 1 of 740 releases
MAIN_SHARE: Final = 0.7  # of the release, for the model itself, where other forms are counted too
_RESAMPLES: Final = 1_000


class EvaluationError(TrainingError):
    """Scores, labels and groups do not belong together."""

    code = "evaluation.invalid"


def held_out(record_ids: Sequence[str], share: float, key: bytes) -> npt.NDArray[np.bool_]:
    """Which records are held out: a keyed hash of each one's id, whatever the record says.

    Use a subject's id where subjects have several rows, so that each subject is in one part.

    Raises:
        EvaluationError: the share is not strictly between 0 and 1.
    """
    if not 0 < share < 1:
        raise EvaluationError("the held-out share must be above 0 and below 1")
    limit = int(share * WHOLE)
    return np.fromiter(
        (
            int.from_bytes(hmac.digest(key, record.encode(), hashlib.sha256)[:4], "big") < limit
            for record in record_ids
        ),
        dtype=np.bool_,
        count=len(record_ids),
    )


def check_classes(labels: npt.NDArray[np.float32]) -> None:
    """Refuse to train on one label alone, where there is nobody whose label a refusal would tell.

    Only for rows that are public, or whose guarantee two people waived: the answer is exact.

    Args:
        labels: (n,) 0 or 1.

    Raises:
        RunRefusedError: `run.one_class`.
    """
    if not 0 < int(labels.sum()) < len(labels):
        raise RunRefusedError(
            "the usable rows do not hold both labels of the target: there is nothing to learn",
            code="run.one_class",
        )


@dataclass(frozen=True)
class NoisyCounts:
    """All that is ever kept of the held-out rows.

    Attributes:
        scores: (2, BINS) noisy counts, negative label first.
        scores_sigma: noise of each of them.
        groups: column → value → (2, 2) noisy counts, [label, decision].
        groups_sigma: noise of each of those.
        mechanism: what the release cost.
        others: the same counts of the model's other forms, each with the part that it cost.
    """

    scores: Counts
    scores_sigma: float
    groups: Mapping[str, Mapping[str, Counts]]
    groups_sigma: float
    mechanism: Mechanism
    others: Mapping[str, "NoisyCounts"] = field(default_factory=dict)


def count(
    probabilities: Counts,
    labels: npt.NDArray[np.float32],
    groups: Mapping[str, Cells],
    group_values: Mapping[str, Sequence[str]],
    mechanism: Mechanism,
    source: Source,
    others: Mapping[str, Counts] | None = None,
) -> NoisyCounts:
    """The one release: noisy counts of the held-out rows.

    Args:
        probabilities: (n,) scores.
        others: (n,) scores by other forms of the model; they take 1 - `MAIN_SHARE` of the release.
        labels: (n,) 0, 1, or NaN for a row that counts nowhere.
        groups: column → (n,) cells.
        group_values: column → its public values; a row with another value is in no cell.
        mechanism: from `accounting.evaluation_mechanism`.
        source: secure randomness.

    Raises:
        EvaluationError: lengths differ or a group column is missing.
    """
    if others:
        part = (1 - MAIN_SHARE) / len(others)
        shared = [(probabilities, MAIN_SHARE), *((scores, part) for scores in others.values())]
        main, *rest = (
            count(scores, labels, groups, group_values, _part_of(mechanism, share), source)
            for scores, share in shared
        )
        return replace(main, mechanism=mechanism, others=dict(zip(others, rest, strict=True)))
    rows = len(probabilities)
    if labels.shape != (rows,) or any(len(groups.get(name, ())) != rows for name in group_values):
        raise EvaluationError("scores, labels and groups differ in length")
    usable = np.isfinite(labels) & np.isfinite(probabilities)
    label = np.where(usable, labels, 0).astype(np.intp)
    place = np.searchsorted(EDGES, probabilities, side="right")
    sigma = mechanism.noise_multiplier
    share = SCORES_SHARE if group_values else 1.0
    scores_sigma = sigma / math.sqrt(share)
    groups_sigma = sigma / math.sqrt((1 - share) / len(group_values)) if group_values else 0.0

    scores = np.zeros((2, BINS))
    np.add.at(scores, (label[usable], place[usable]), 1)
    tables: dict[str, dict[str, Counts]] = {}
    for name, values in group_values.items():
        cells = np.array([(cell or "").strip() for cell in groups[name]], dtype=object)
        tables[name] = {}
        for value in values:
            chosen = usable & (cells == value)
            table = np.zeros((2, 2))
            np.add.at(table, (label[chosen], (place[chosen] >= _DECISION).astype(np.intp)), 1)
            tables[name][value] = _noised(table, groups_sigma, source)
    return NoisyCounts(
        _noised(scores, scores_sigma, source), scores_sigma, tables, groups_sigma, mechanism
    )


def _part_of(mechanism: Mechanism, share: float) -> Mechanism:
    return replace(mechanism, noise_multiplier=mechanism.noise_multiplier / math.sqrt(share))


def _noised(counts: Counts, sigma: float, source: Source) -> Counts:
    # Counts are whole; rounding after the noise leaves no low bits for a floating-point attack.
    return np.rint(counts + sigma * source.gaussian(counts.size).reshape(counts.shape))


@dataclass(frozen=True)
class Measured:
    """A figure and its 95 % interval, over who happened to be held out and over the noise."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class GroupRate:
    """One group's row of the fairness table; rates are None where too few records could say."""

    size: int
    selection_rate: Measured | None
    true_positive_rate: Measured | None
    false_positive_rate: Measured | None


@dataclass(frozen=True)
class Metrics:
    """What the card prints.

    Attributes:
        auroc: of all held-out rows; None where one of the two labels is hardly there.
        accuracy, selection_rate, base_rate: of all held-out rows.
        groups: column → value → rates; a group of fewer than 100 (noisy) rows shows its size alone.
        impact_ratio: column → smallest selection rate over largest, among groups large enough;
        None also where `auroc` is, or where hardly anybody of any group was selected.
        four_fifths: column → whether that ratio is at least 0.8, or None if the interval crosses
        it.
        selection_gap: column → the largest selection rate less the smallest.
        odds_difference: column → the largest gap in true or false positive rates between groups
        that are large enough and in which both labels are.
        equalized_odds: column → whether it is at most `LARGEST_GAP`, or None as above.
    """

    auroc: Measured | None
    accuracy: Measured
    selection_rate: Measured
    base_rate: Measured
    groups: Mapping[str, Mapping[str, GroupRate]]
    impact_ratio: Mapping[str, Measured | None]
    four_fifths: Mapping[str, bool | None]
    odds_difference: Mapping[str, Measured | None]
    equalized_odds: Mapping[str, bool | None]
    selection_gap: Mapping[str, Measured | None]


def measure(counts: NoisyCounts, seed: int = 0) -> Metrics:
    """Every figure, from noisy counts alone. `seed` fixes the bootstrap, which needs no secrecy."""
    generator = np.random.Generator(np.random.Philox(seed))
    scores = _resampled(counts.scores, counts.scores_sigma, generator)
    auroc = _auroc_of(counts, scores)
    groups: dict[str, dict[str, GroupRate]] = {}
    ratios: dict[str, Measured | None] = {}
    gaps: dict[str, Measured | None] = {}
    selected: dict[str, Measured | None] = {}
    for name, tables in counts.groups.items():
        large = {
            value: (table, _resampled(table, counts.groups_sigma, generator))
            for value, table in tables.items()
            if table.sum() >= SMALLEST_GROUP
        }
        groups[name] = {
            value: _group(table, large[value][1] if value in large else None, counts.groups_sigma)
            for value, table in tables.items()
        }
        selected[name] = _between(list(large.values()), _selection_gap)
        ratios[name] = gaps[name] = None
        if auroc is None:
            continue
        if any(_beyond_noise(table[:, 1], counts.groups_sigma) for table, _ in large.values()):
            ratios[name] = _between(list(large.values()), _impact_ratio)
        both = [one for one in large.values() if _both_labels(one[0], counts.groups_sigma)]
        gaps[name] = _between(both, _odds_difference)
    return Metrics(
        auroc=auroc,
        accuracy=_measured(_accuracy, counts.scores, scores),
        selection_rate=_measured(_selected, counts.scores, scores),
        base_rate=_measured(_positives, counts.scores, scores),
        groups=groups,
        impact_ratio=ratios,
        four_fifths={
            name: None if ratio is None else _clear(ratio, FOUR_FIFTHS)
            for name, ratio in ratios.items()
        },
        odds_difference=gaps,
        equalized_odds={
            name: None if gap is None or (over := _clear(gap, LARGEST_GAP)) is None else not over
            for name, gap in gaps.items()
        },
        selection_gap=selected,
    )


@dataclass(frozen=True)
class Differences:
    """Figures of one model less those of another, each from -1 to 1.

    Attributes:
        auroc: of all held-out rows; None where one of the two labels is hardly there.
        accuracy, selection_rate: of all held-out rows.
        selection_gap, odds_difference: column → among groups that are large enough in both, and for
        the latter have both labels.
    """

    auroc: Measured | None
    accuracy: Measured
    selection_rate: Measured
    selection_gap: Mapping[str, Measured | None]
    odds_difference: Mapping[str, Measured | None]


def differ(one: NoisyCounts, other: NoisyCounts, seed: int = 0) -> Differences:
    """How two models that were counted in one release differ, from noisy counts alone.

    Each block is resampled by itself, though both are of the same rows: what happened to be held
    out moves both models alike, so the intervals are wider than they need be, never narrower.
    """
    generator = np.random.Generator(np.random.Philox(seed))
    pairs = [(each.scores, _resampled(each.scores, each.scores_sigma, generator))
             for each in (one, other)]  # fmt: skip
    gaps: dict[str, Measured | None] = {}
    odds: dict[str, Measured | None] = {}
    for name, tables in one.groups.items():
        both = [
            value
            for value, table in tables.items()
            if min(table.sum(), other.groups[name][value].sum()) >= SMALLEST_GROUP
        ]
        gaps[name] = odds[name] = None
        if len(both) < 2:  # noqa: PLR2004 - a comparison is of two
            continue
        drawn = [
            [(table, _resampled(table, each.groups_sigma, generator))
             for table in (each.groups[name][value] for value in both)]
            for each in (one, other)
        ]  # fmt: skip
        gaps[name] = _difference(_selection_gap, *map(_stacked, drawn))
        labeled = [
            place
            for place, pair in enumerate(zip(*drawn, strict=True))
            if all(_both_labels(table, one.groups_sigma) for table, _ in pair)
        ]
        if len(labeled) > 1:
            kept = [[side[place] for place in labeled] for side in drawn]
            odds[name] = _difference(_odds_difference, *map(_stacked, kept))
    known = all(_both_labels(each.scores, each.scores_sigma) for each in (one, other))
    return Differences(
        auroc=_difference(_auroc, *pairs) if known else None,
        accuracy=_difference(_accuracy, *pairs),
        selection_rate=_difference(_selected, *pairs),
        selection_gap=gaps,
        odds_difference=odds,
    )


def _difference(
    figure: Callable[[Counts], Counts],
    one: tuple[Counts, Resampled],
    other: tuple[Counts, Resampled],
) -> Measured:
    """Basic bootstrap, as of one figure (`_measured`)."""
    value, off = 0.0, np.zeros(_RESAMPLES)
    for sign, (counts, (guess, samples)) in ((1, one), (-1, other)):
        value += sign * _share(float(figure(counts)))
        off = off + sign * (figure(samples) - float(figure(guess)))
    low, high = np.quantile(off, [0.025, 0.975])
    ends = value - max(float(high), 0.0), value - min(float(low), 0.0)
    return Measured(value, max(-1.0, ends[0]), min(1.0, ends[1]))


def _auroc_of(counts: NoisyCounts, scores: Resampled) -> Measured | None:
    """AUROC; None where too few records of one label are there to say it."""
    if not _both_labels(counts.scores, counts.scores_sigma):
        return None
    return _measured(_auroc, counts.scores, scores)


def _both_labels(table: Counts, sigma: float) -> bool:
    """Whether both rows of a (2, …) table hold more than noise."""
    return _beyond_noise(table[0], sigma) and _beyond_noise(table[1], sigma)


def _beyond_noise(counts: Counts, sigma: float) -> bool:
    """Whether a sum of noisy counts is more than noise of σ in each of them reaches alone."""
    reached = NOISE_REACHES * sigma * math.sqrt(counts.size)
    return float(counts.sum()) >= max(reached, SMALLEST_CLASS)


def _group(table: Counts, samples: Resampled | None, sigma: float) -> GroupRate:
    size = max(0, round(float(table.sum())))
    if samples is None:
        return GroupRate(size, None, None, None)
    return GroupRate(
        size,
        _measured(_selection_rate, table, samples),
        *(
            _measured(partial(_selected_of, label=label), table, samples)
            if _beyond_noise(table[label], sigma)
            else None
            for label in (1, 0)
        ),
    )


def _selected_of(tables: Counts, label: int) -> Counts:
    """The share selected of the records of a label: (…, 2, 2) to (…)."""
    return _ratio(tables[..., label, 1], tables[..., label, :].sum(-1))


def _between(
    groups: Sequence[tuple[Counts, Resampled]], figure: Callable[[Counts], Counts]
) -> Measured | None:
    """A figure of (…, groups, 2, 2) tables; None for fewer than two groups large enough."""
    if len(groups) < 2:  # noqa: PLR2004 - a comparison is of two
        return None
    return _measured(figure, *_stacked(groups))


def _stacked(groups: Sequence[tuple[Counts, Resampled]]) -> tuple[Counts, Resampled]:
    """(groups, 2, 2) tables, and their samples."""
    table = np.stack([counts for counts, _ in groups])
    guess = np.stack([guess for _, (guess, _) in groups])
    samples = np.stack([samples for _, (_, samples) in groups], axis=1)
    return table, (guess, samples)


def _impact_ratio(tables: Counts) -> Counts:
    """Smallest selection rate over the largest."""
    rates = np.clip(_selection_rate(tables), 1e-9, 1)
    smallest: Counts = rates.min(-1) / rates.max(-1)
    return smallest


def _selection_gap(tables: Counts) -> Counts:
    """The largest selection rate less the smallest: the demographic parity difference."""
    rates = np.clip(_selection_rate(tables), 0, 1)
    gap: Counts = rates.max(-1) - rates.min(-1)
    return gap


def _odds_difference(tables: Counts) -> Counts:
    """The larger of the gaps in true and in false positive rates."""
    rates = np.clip(_ratio(tables[..., 1], tables.sum(-1)), 0, 1)  # (…, groups, label)
    gaps: Counts = (rates.max(-2) - rates.min(-2)).max(-1)
    return gaps


def _clear(figure: Measured, limit: float) -> bool | None:
    """Whether a figure reaches a limit; None unless its whole interval says the same."""
    if figure.low < limit <= figure.high:
        return None
    return figure.low >= limit


def _resampled(counts: Counts, sigma: float, generator: np.random.Generator) -> Resampled:
    """Best guess of the true counts, and (_RESAMPLES, …) new samples of it with new noise."""
    guess = np.maximum(counts, 0)
    drawn = generator.poisson(guess, (_RESAMPLES, *counts.shape)).astype(np.float64)
    return guess, drawn + sigma * generator.standard_normal(drawn.shape)


def _measured(figure: Callable[[Counts], Counts], counts: Counts, resampled: Resampled) -> Measured:
    """Basic bootstrap: how far resampled figures fall from the guess's, around the figure."""
    guess, samples = resampled
    value = float(figure(counts))
    off = figure(samples) - float(figure(guess))
    low, high = np.quantile(off, [0.025, 0.975])
    return Measured(
        _share(value), _share(value - max(float(high), 0.0)), _share(value - min(float(low), 0.0))
    )


def _share(value: float) -> float:
    return min(1.0, max(0.0, value)) if math.isfinite(value) else 0.0


def _ratio(part: Counts, whole: Counts) -> Counts:
    """Part / whole; noise may leave a whole of nothing, which is then one."""
    quotient: Counts = part / np.maximum(whole, 1.0)
    return quotient


def _auroc(scores: Counts) -> Counts:
    """P(score of a positive > score of a negative), ties within a bin half: (…, 2, BINS) to (…)."""
    negative, positive = scores[..., 0, :], scores[..., 1, :]
    below = np.cumsum(negative, -1) - negative / 2
    return _ratio((positive * below).sum(-1), positive.sum(-1) * np.maximum(negative.sum(-1), 1.0))


def _accuracy(scores: Counts) -> Counts:
    right = scores[..., 0, :_DECISION].sum(-1) + scores[..., 1, _DECISION:].sum(-1)
    return _ratio(right, scores.sum((-1, -2)))


def _selection_rate(tables: Counts) -> Counts:
    """(…, 2, 2) label × decision to (…)."""
    return _ratio(tables[..., 1].sum(-1), tables.sum((-1, -2)))


def _selected(scores: Counts) -> Counts:
    return _ratio(scores[..., _DECISION:].sum((-1, -2)), scores.sum((-1, -2)))


def _positives(scores: Counts) -> Counts:
    return _ratio(scores[..., 1, :].sum(-1), scores.sum((-1, -2)))
