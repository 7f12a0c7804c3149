"""A model card as people read it: figures with their intervals, groups, features, the promise."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.utils.translation import get_language, gettext_lazy
from django.utils.translation import gettext as _

from gateway.console import words
from gateway.console.payloads import Line

# As cards say it.
NOT_MEASURED: Final[words.Words] = {
    "not measurable: too few of one class": gettext_lazy("not measurable: too few of one class"),
}


@dataclass(frozen=True)
class Figure:
    """A measured number with its 95 % interval; where there is none, `missing` says why."""

    name: str
    value: str
    low: str
    high: str
    missing: str = ""


@dataclass(frozen=True)
class Group:
    """Rates by the values of one column, and what is judged of them."""

    column: str
    values: list[dict[str, Any]]
    ratio: str
    four_fifths: str
    difference: str
    equalized_odds: str
    missing: str  # why there are no figures of groups; "" where there are


@dataclass(frozen=True)
class Readable:
    """What of a card the page shows; what the card lacks is left out, never invented."""

    promise: str
    privacy: list[Line]
    figures: list[Figure]
    groups: list[Group]
    forms: list[dict[str, Any]]
    features: list[dict[str, Any]]
    declared_by: str
    limits: list[str]
    prohibited: list[str]


def readable(card: Mapping[str, Any]) -> Readable:
    """The card in the reader's language, as far as the card speaks it."""
    privacy = _mapping(card.get("privacy"))
    evaluation = _mapping(card.get("evaluation"))
    preprocessing = _mapping(card.get("preprocessing"))
    return Readable(
        promise=_promise(privacy),
        privacy=_privacy(privacy),
        figures=_figures(evaluation),
        groups=_groups(evaluation),
        forms=_forms(_mapping(card.get("forms"))),
        features=list(preprocessing.get("features") or []),
        declared_by=str(preprocessing.get("declared_by") or ""),
        limits=list(card.get("limits") or []),
        prohibited=list(card.get("prohibited_uses") or []),
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _promise(privacy: Mapping[str, Any]) -> str:
    language = "zh" if (get_language() or "").startswith("zh") else "en"
    return str(_mapping(privacy.get("promise")).get(language, ""))


def _privacy(privacy: Mapping[str, Any]) -> list[Line]:
    named = [
        (_("ε asked"), "epsilon_asked"),
        (_("ε spent"), "epsilon_spent"),
        ("δ", "delta"),
        (_("Accountant"), "accountant"),
        (_("Noise multiplier σ"), "noise_multiplier"),
        (_("Sample rate q"), "sample_rate"),
        (_("Clipping norm C"), "max_grad_norm"),
        (_("Sampling"), "sampling"),
        (_("Randomness"), "randomness"),
        (_("Adjacency"), "adjacency"),
        (_("Privacy unit"), "unit"),
    ]
    return [Line(name, str(privacy[key])) for name, key in named if privacy.get(key) is not None]


def _figures(evaluation: Mapping[str, Any]) -> list[Figure]:
    named = [
        (_("AUROC"), "auroc"),
        (_("Accuracy"), "accuracy"),
        (_("Selection rate"), "selection_rate"),
        (_("Base rate"), "base_rate"),
    ]
    shown = []
    for name, key in named:
        if found := _mapping(evaluation.get(key)):
            shown.append(Figure(name, found["value"], found["low"], found["high"]))
        elif why := _missing(evaluation, key):
            shown.append(Figure(name, "", "", "", why))
    return shown


def _missing(evaluation: Mapping[str, Any], key: str) -> str:
    """Why the card holds no such figure, in the reader's language; "" where it does not say."""
    said = str(_mapping(evaluation.get("not_measured")).get(key, ""))
    return words.word(NOT_MEASURED, said) if said else ""


def _groups(evaluation: Mapping[str, Any]) -> list[Group]:
    return [
        Group(
            str(column),
            [
                {"value": value, **measured}
                for value, measured in _mapping(group.get("values")).items()
            ],
            str(_mapping(group.get("impact_ratio")).get("value", "")),
            _verdict(group, "four_fifths"),
            str(_mapping(group.get("odds_difference")).get("value", "")),
            _verdict(group, "equalized_odds"),
            _missing(evaluation, "impact_ratio"),
        )
        for column, group in _mapping(evaluation.get("groups")).items()
    ]


def _verdict(group: Mapping[str, Any], key: str) -> str:
    """A verdict in a word; nothing where a card of before says nothing of it."""
    if key not in group:
        return ""
    said = {True: _("kept"), False: _("not kept"), None: _("not clear")}
    return str(said.get(group[key], ""))


def _forms(told: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The model as served, then its other forms."""
    forms = _mapping(told.get("forms"))
    if not forms:
        return []
    names = {"pruned": _("half of the weights zero"), "onnx": "ONNX", "int8": _("8-bit integers")}
    served = {"name": _("as served"), **_mapping(told.get("model"))}
    return [served, *({"name": names.get(name, name), **form} for name, form in forms.items())]
