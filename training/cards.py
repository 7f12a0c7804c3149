"""The model card: what the model is, where each number in it comes from, and what ε promises.

Plain JSON in canonical form (floats are decimal strings), so that its digest can be recorded and it
reads the same years later. A field without evidence is null, never invented.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from audit.canonical import decimal
from training import accounting
from training.artifacts import Artifact
from training.compression import MeasuredForm, deflated, rows_a_second, scores_of
from training.config import (
    CLIP_SHARE,
    LOSS_CEILING,
    LOSS_SHARE,
    NORM_CEILING,
    NORM_SHARE,
    Guarantee,
)
from training.dpsgd import Progress
from training.errors import ConfigError
from training.evaluation import EDGES, SMALLEST_GROUP, Measured, Metrics, NoisyCounts
from training.features import Category, FeatureSpec
from training.mechanisms import WHOLE, Mechanism, exact
from training.onnx import to_onnx
from training.renyi import check_delta, check_epsilon
from training.searching import Found
from training.units import Unit
from training.unprotected import MeasuredTwin

FORMAT: Final = "portcullis/card/1"
TOO_FEW: Final = "not measurable: too few of one class"
_LANGUAGES: Final = ("en", "zh")
_WHO: Final = {Unit.RECORD: "record", Unit.SUBJECT: "person"}
_PROTECTED: Final = {
    Unit.RECORD: "ε protects one record of the training table, not a person with several records",
    Unit.SUBJECT: "ε protects a person with all of their records; rows of no known person were "
    "not trained on",
}
# one, all the others, whose use is guessed at, with or without what
_NAMED: Final = {
    ("en", Unit.RECORD): ("record", "records", "your record was", "your record"),
    ("en", Unit.SUBJECT): (
        "person, however many records are theirs",
        "persons' records",
        "your records were",
        "your records",
    ),
    ("zh", Unit.RECORD): ("任何一条记录", "记录", "您的记录", "您的记录"),
    ("zh", Unit.SUBJECT): (
        "任何一个人（无论有多少条记录）", "人的记录", "您的全部记录", "您的记录",
    ),
}  # fmt: skip


def model_card(  # noqa: PLR0913 - a card's sources, each named at the call
    artifact: Artifact,
    *,
    name: str,
    purpose: str,
    dataset: Mapping[str, str],
    randomness: str,
    source: str = "",
    curve: Sequence[Progress] = (),
    counts: NoisyCounts | None = None,
    metrics: Metrics | None = None,
    forms: Sequence[MeasuredForm] = (),
    twin: MeasuredTwin | None = None,
    prohibited: Sequence[str] = (),
    search: Found | None = None,
) -> dict[str, Any]:
    """Everything a reader may know about a model version, as canonical JSON.

    Args:
        artifact: the model as read back from its bytes.
        name: what it is called.
        purpose: what it is for.
        prohibited: what it must not be used for.
        dataset: identity of the data set version trained on (slug, version, digest).
        randomness: the provider's recorded name.
        source: who declared the features' parameters.
        curve: noisy progress.
        counts: the held-out release.
        metrics: what was derived from it.
        forms: what was measured of other forms of the model.
        twin: what was measured of the same network trained without noise or clipping.
        search: what the private search found that chose this model.
    """
    config, plan, spec = artifact.config, artifact.plan, artifact.spec
    return {
        "format": FORMAT,
        "name": name,
        "model": {
            "digest": artifact.digest,
            "kind": config.model.value,
            "hidden": list(config.hidden),
            "parameters": sum(t.numel() for t in artifact.network.state_dict().values()),
        },
        "purpose": purpose,
        "prohibited_uses": list(prohibited),
        "dataset": dict(dataset),
        "target": spec.target.as_dict(),
        "preprocessing": _preprocessing(spec, source),
        "privacy": privacy(artifact, randomness=randomness, counts=counts, search=search),
        **({} if search is None else {"search": search.as_dict()}),
        "training": {
            "config": config.as_dict(),
            "config_digest": config.digest(),
            "plan": plan.as_dict(),
            "plan_digest": plan.digest(),
            "executed_steps": artifact.executed,
            "kept": _kept(artifact),
            "curve": [_point(point) for point in curve],
            "curve_means": f"means over a block of each record's loss clipped at {LOSS_CEILING:g}, "
            "of whether its gradient was clipped, and of its gradient's norm capped at "
            f"{NORM_CEILING:g} C, "
            + (
                "noised as coordinates of the clipped vector"
                if plan.guarantee is Guarantee.DP
                else "without noise"
            ),
        },
        "evaluation": None
        if metrics is None
        # What served scores are compared with. A waived run's have no noise: they stay inside.
        else _evaluation(metrics, counts, shows_counts=plan.guarantee is not Guarantee.WAIVED),
        "forms": None if metrics is None else _forms(artifact, metrics, forms),
        **({} if twin is None else {"twin": _twin(twin)}),
        "limits": [
            "scores are not calibrated against any population but the training table's",
            _PROTECTED[plan.unit],
        ],
    }


def privacy(
    artifact: Artifact,
    *,
    randomness: str,
    counts: NoisyCounts | None = None,
    search: Found | None = None,
) -> dict[str, Any]:
    """The card's privacy statement: asked, spent, and the labeled figure of this run alone."""
    config, plan = artifact.config, artifact.plan
    if plan.guarantee is not Guarantee.DP:
        return {"guarantee": plan.guarantee.value, "epsilon_spent": None, "delta": None}
    training = plan.mechanisms(artifact.executed)
    evaluation = () if counts is None else (counts.mechanism,)
    if search is not None:
        evaluation = (search.mechanism, *evaluation)
    return {
        "guarantee": plan.guarantee.value,
        "epsilon_asked": exact(config.epsilon),
        "epsilon_spent": decimal(spent(training, evaluation, config.delta)),
        "accountant": "RDP, Poisson-subsampled Gaussian (arXiv 1908.10530)"
        + ("" if search is None else ", best of a hidden number of trials (arXiv 2110.03620)"),
        **_alone(training, evaluation, config.delta),
        "delta": exact(config.delta),
        "adjacency": plan.adjacency,
        "unit": plan.unit,
        "sample_rate": exact(plan.sample_rate),
        "noise_multiplier": exact(plan.noise_multiplier),
        "max_grad_norm": exact(plan.max_grad_norm),
        "loss_share": exact(LOSS_SHARE),
        "clip_share": exact(CLIP_SHARE),
        "norm_share": exact(NORM_SHARE),
        "sampling": "Poisson" if plan.sampling < WHOLE else "none: every record in every step",
        "randomness": randomness,
        "mechanisms": {
            "training_records": [mechanism.as_dict() for mechanism in training],
            "held_out_records": [mechanism.as_dict() for mechanism in evaluation],
        },
        "hyper_parameters": (
            "defaults follow from public rules; every other run on this dataset, "
            "whether or not its model was kept, is charged to the dataset's budget"
            if search is None
            else "chosen by a private search, every trial of which these figures cover; every "
            "other run on this dataset is charged to the dataset's budget"
        ),
        "composition": f"a {_WHO[plan.unit]} is trained on or held out, never both: "
        "parallel composition",
        "promise": {
            language: promise_in_words(config.epsilon, config.delta, language, plan.unit)
            for language in ("en", "zh")
        },
    }


def _alone(
    training: Sequence[Mechanism], evaluation: Sequence[Mechanism], delta: float
) -> dict[str, str]:
    """The labeled figure of this run alone; of a search, that there is none."""
    if any(mechanism.stopping for mechanism in training):
        return {"without_pld": "no privacy loss distribution of a search is known: RDP alone"}
    figures = (accounting.pld_epsilon(part, delta) for part in (training, evaluation))
    return {accounting.PLD_LABEL: decimal(max(figures))}


def spent(training: Sequence[Mechanism], evaluation: Sequence[Mechanism], delta: float) -> float:
    """ε of a run by the accountant that admits: the worse of its two disjoint parts."""
    return accounting.epsilon(spend(training, evaluation), delta)


def spend(training: Sequence[Mechanism], evaluation: Sequence[Mechanism]) -> tuple[float, ...]:
    """The Rényi spend of a run on a record of the data set, wherever the record is."""
    return accounting.apart((accounting.rdp_of(training), accounting.rdp_of(evaluation)))


def _preprocessing(spec: FeatureSpec, source: str) -> dict[str, Any]:
    shown: list[dict[str, Any]] = []
    for feature in spec.features:
        entry = feature.as_dict()
        if isinstance(feature, Category):
            entry["values"] = len(feature.values)
        shown.append(entry)
    return {"digest": spec.digest(), "declared_by": source, "features": shown}


def _kept(artifact: Artifact) -> str:
    """Which weights these are; choosing among checkpoints by private rows would have a price."""
    averaged = artifact.config.average_last
    first = artifact.plan.steps * (1 - averaged)
    weights = (
        f"the mean of the weights after the last {averaged:.0%} of the planned steps"
        if averaged and artifact.executed > round(first)
        else "the weights after the last step"
    )
    stalled = artifact.executed < artifact.plan.steps
    early = "; training stopped early, by the noisy loss" if stalled else ""
    return f"{weights}; no other checkpoint was looked at{early}"


def _point(point: Progress) -> dict[str, object]:
    return {
        "step": point.step,
        "loss": decimal(point.loss, 4),
        "noise": decimal(point.loss_error, 4),
        **_noised("clip_fraction", point.clip_fraction, point.clip_fraction_error),
        **_noised("gradient_norm", point.gradient_norm, point.gradient_norm_error),
    }


def _noised(name: str, figure: float | None, error: float | None) -> dict[str, str]:
    if figure is None or error is None:
        return {}
    return {name: decimal(figure, 4), f"{name}_noise": decimal(error, 4)}


def _forms(
    artifact: Artifact, metrics: Metrics, forms: Sequence[MeasuredForm]
) -> dict[str, Any] | None:
    """Size, speed and what changes, by form."""
    if not forms:
        return None
    # ONNX of the model as it is, so that sizes are of the same thing.
    inputs = artifact.spec.width
    return {
        "served": "the model as it was trained; forms are measured, none is chosen",
        "model": {
            "bytes": deflated(to_onnx(artifact.network, inputs)),
            "rows_a_second": round(rows_a_second(scores_of(artifact.network), inputs)),
        },
        "forms": {
            one.form.value: {
                "bytes": one.size,
                "rows_a_second": round(one.speed),
                "auroc": _measured(one.metrics.auroc),
                "accuracy": _measured(one.metrics.accuracy),
                "auroc_change": _change(one.metrics.auroc, metrics.auroc),
                "accuracy_change": decimal(one.metrics.accuracy.value - metrics.accuracy.value, 4),
                "groups": {column: _fairness(one.metrics, column) for column in one.metrics.groups},
            }
            for one in forms
        },
    }


def _change(figure: Measured | None, before: Measured | None) -> str | None:
    if figure is None or before is None:
        return None
    return decimal(figure.value - before.value, 4)


def _measured(figure: Measured | None) -> dict[str, str] | None:
    if figure is None:
        return None
    return {
        "value": decimal(figure.value, 4),
        "low": decimal(figure.low, 4),
        "high": decimal(figure.high, 4),
    }


def _score_counts(counts: NoisyCounts) -> list[list[int]]:
    """(labels, bins), the negative label first."""
    return [[int(cell) for cell in row] for row in counts.scores]


def _evaluation(
    metrics: Metrics, counts: NoisyCounts | None, *, shows_counts: bool
) -> dict[str, Any]:
    return {
        "rows": "held out by a keyed hash of the record's place, or of its subject's pseudonym "
        "where persons are protected, one row of each; training never read them",
        "release": "noisy counts"
        if counts is None
        else {
            "mechanism": counts.mechanism.as_dict(),
            "score_edges": [decimal(edge, 4) for edge in EDGES],
            **({"score_counts": _score_counts(counts)} if shows_counts else {}),
            "count_noise": decimal(counts.scores_sigma, 2),
            "group_count_noise": decimal(counts.groups_sigma, 2),
        },
        "interval": "95 %, over sampling and noise",
        "auroc": _measured(metrics.auroc),
        "not_measured": {} if metrics.auroc is not None else _not_measured(metrics),
        "accuracy": _measured(metrics.accuracy),
        "selection_rate": _measured(metrics.selection_rate),
        "base_rate": _measured(metrics.base_rate),
        "smallest_group_shown": SMALLEST_GROUP,
        "groups": _groups(metrics),
    }


def _groups(metrics: Metrics) -> dict[str, Any]:
    return {
        column: {
            **_fairness(metrics, column),
            "values": {
                value: {
                    "size": rate.size,
                    "selection_rate": _measured(rate.selection_rate),
                    "true_positive_rate": _measured(rate.true_positive_rate),
                    "false_positive_rate": _measured(rate.false_positive_rate),
                }
                for value, rate in values.items()
            },
        }
        for column, values in metrics.groups.items()
    }


def _fairness(metrics: Metrics, column: str) -> dict[str, Any]:
    return {
        "impact_ratio": _measured(metrics.impact_ratio[column]),
        "four_fifths": metrics.four_fifths[column],
        "selection_gap": _measured(metrics.selection_gap[column]),
        "odds_difference": _measured(metrics.odds_difference[column]),
        "equalized_odds": metrics.equalized_odds[column],
    }


def _twin(twin: MeasuredTwin) -> dict[str, Any]:
    """The figures of the same without privacy, and the model's less these."""
    metrics, differences = twin.metrics, twin.differences
    told: dict[str, Any] = {
        "what": "the same network, seed, configuration and drawn batches, trained with neither "
        "noise nor clipping on the same rows, which their steward declared public; measured in "
        "the same release as the model, and discarded",
        "covered": "no ε covers what the twin says of the rows that it was trained on",
        "executed_steps": twin.executed,
        "diverged": metrics is None,
    }
    if metrics is None or differences is None:
        return told
    return {
        **told,
        "auroc": _measured(metrics.auroc),
        "accuracy": _measured(metrics.accuracy),
        "selection_rate": _measured(metrics.selection_rate),
        "groups": _groups(metrics),
        "difference": {
            "means": "the model's figure less the twin's; 95 %, over sampling and noise of each by "
            "itself, so wider than it need be",
            "auroc": _measured(differences.auroc),
            "accuracy": _measured(differences.accuracy),
            "selection_rate": _measured(differences.selection_rate),
            "groups": {
                column: {
                    "selection_gap": _measured(differences.selection_gap[column]),
                    "odds_difference": _measured(differences.odds_difference[column]),
                }
                for column in metrics.groups
            },
        },
    }


def _not_measured(metrics: Metrics) -> dict[str, str]:
    """Which figures are null for want of one of the two labels."""
    of_groups = ("impact_ratio", "four_fifths", "odds_difference", "equalized_odds")
    return dict.fromkeys(("auroc", *(of_groups if metrics.groups else ())), TOO_FEW)


def promise_in_words(
    epsilon: float, delta: float, language: str = "en", unit: Unit = Unit.RECORD
) -> str:
    """What (ε, δ) promises one person, for a reader who knows no mathematics.

    With even odds beforehand, an observer who sees the model and knows every other record can be at
    most e^ε / (1 + e^ε) sure whether this record was in the data: 73.1 % at ε = 1. That is the
    posterior bound of pure ε-DP; δ is the probability with which the bound may fail. The same pair
    bounds a test: at false-alarm rate f, at most min(1, e^ε·f + δ) of true members are recognized
    (Wasserman and Zhou; Kairouz et al., arXiv 1311.0776).

    Raises:
        ConfigError: ε or δ out of range, or a language other than `en` and `zh`.
    """
    check_epsilon(epsilon)
    check_delta(delta)
    one, all_other, yours, your = _NAMED[language, unit] if language in _LANGUAGES else ("",) * 4
    sure = 100 / (1 + math.exp(-epsilon))
    caught = 100 * min(1.0, math.exp(min(epsilon, 700.0)) * 0.01 + delta)
    once = f"{round(1 / delta):,}"
    match language:
        case "en":
            return (
                f"ε = {epsilon:g} bounds what the model can reveal about any one {one}. Suppose "
                f"someone knows all the other {all_other}, sees the whole model, and begins with "
                f"even odds (50 %) on whether {yours} used. After seeing the model they can be "
                f"at most {sure:.1f} % sure, whatever else they know and however much they "
                f"compute; δ = {exact(delta)} allows this bound to fail with a probability of "
                f"about 1 in {once}. Put as a test: a detector that wrongly accuses 1 % of "
                f"outsiders recognizes at most {caught:.1f} % of those who were in. It does not "
                "promise that nothing can be learned about people like you: what the data say "
                f"about everyone, they say with or without {your}."
            )
        case "zh":
            return (
                f"ε = {epsilon:g} 限定了模型最多能泄露{one}的多少信息。假设有人掌握其余全部"
                f"{all_other}、能看到整个模型，并且事先认为{yours}参与训练的可能性是一半（50%）。看过模型"
                f"之后，无论他还知道什么、计算能力多强，他的把握最多升到 {sure:.1f}%；"
                f"δ = {exact(delta)} 表示这一上限失效的概率约为 {once} 分之一。换成检验的说法："
                f"一个会误判 1% 局外人的探测方法，最多只能认出 {caught:.1f}% 真正在数据中的人。"
                f"它并不保证别人无法了解与您相似的人群：数据整体呈现的规律，有没有{your}都一样。"
            )
        case _:
            raise ConfigError("the promise is written in en and zh", code="run.language_unknown")
