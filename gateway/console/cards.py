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
class Compared:
    """A figure of the model, its forms and the twin, and the model's less the twin's."""

    name: str
    cells: list[Mapping[str, Any]]  # value, low, high; empty where nothing was measured
    difference: Mapping[str, Any]


@dataclass(frozen=True)
class WithoutNoise:
    """The model beside the same network that was trained with neither noise nor clipping."""

    diverged: bool
    columns: list[str]
    rows: list[Compared]


@dataclass(frozen=True)
class Search:
    """How a model was chosen among candidates, and what of that is told to nobody."""

    lines: list[Line]
    untold: str


@dataclass(frozen=True)
class Readable:
    """What of a card the page shows; what the card lacks is left out, never invented."""

    promise: str
    kind: str
    privacy: list[Line]
    search: Search | None
    figures: list[Figure]
    groups: list[Group]
    forms: list[dict[str, Any]]
    members: list[dict[str, Any]]
    twin: WithoutNoise | None
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
        kind=words.word(words.MODELS, _mapping(card.get("model")).get("kind")),
        privacy=_privacy(privacy),
        search=_search(_mapping(card.get("search"))),
        figures=_figures(evaluation),
        groups=_groups(evaluation),
        forms=_forms(_mapping(card.get("forms"))),
        members=_members(card),
        twin=_twin(card),
        features=list(preprocessing.get("features") or []),
        declared_by=str(preprocessing.get("declared_by") or ""),
        limits=list(card.get("limits") or []),
        prohibited=list(card.get("prohibited_uses") or []),
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _promise(privacy: Mapping[str, Any]) -> str:
    return _spoken(privacy.get("promise"))


def _spoken(said: Any) -> str:
    """What a card says in two languages, in the reader's."""
    language = "zh" if (get_language() or "").startswith("zh") else "en"
    return str(_mapping(said).get(language, ""))


def _search(told: Mapping[str, Any]) -> Search | None:
    if not told:
        return None
    candidates = list(told.get("candidates") or [])
    trials, score = _mapping(told.get("trials")), _mapping(told.get("score"))
    chosen = candidates[int(told["chosen"]) - 1]
    lines = [
        Line(_("Candidates"), str(len(candidates))),
        Line(_("Chosen"), ", ".join(f"{name} = {value}" for name, value in chosen.items())),
        Line(_("Trials expected"), str(trials.get("mean", ""))),
        Line(_("Number of trials"), str(trials.get("distribution", ""))),
        Line(_("Score (noised, less is better)"), f"{score.get('value')} ± {score.get('noise')}"),
        Line(_("Bound"), str(told.get("bound", ""))),
    ]
    return Search(lines, _spoken(told.get("untold")))


def _privacy(privacy: Mapping[str, Any]) -> list[Line]:
    named = [
        (_("ε asked"), "epsilon_asked"),
        (_("ε spent"), "epsilon_spent"),
        (_("ε of the members' runs together"), "epsilon_members"),
        (_("ε of the release on held-out rows"), "epsilon_release"),
        ("δ", "delta"),
        (_("Accountant"), "accountant"),
        (_("Privacy loss distribution"), "without_pld"),
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


def _members(card: Mapping[str, Any]) -> list[dict[str, Any]]:
    """An ensemble's members, each with the id that its page has, and its kind in words."""
    return [
        {
            **member,
            "id": str(member.get("reference", "")).partition(":")[2],
            "kind": words.word(words.MODELS, member.get("kind")),
        }
        for member in card.get("members") or []
    ]


def _forms(told: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The model as served, then its other forms."""
    forms = _mapping(told.get("forms"))
    if not forms:
        return []
    served = {"name": _("as served"), **_mapping(told.get("model"))}
    return [served, *({"name": _form(name), **form} for name, form in forms.items())]


def _form(name: str) -> str:
    names = {"pruned": _("half of the weights zero"), "onnx": "ONNX", "int8": _("8-bit integers")}
    return names.get(name, name)


def _twin(card: Mapping[str, Any]) -> WithoutNoise | None:
    """What privacy cost, figure by figure; None where no twin was asked for."""
    told = _mapping(card.get("twin"))
    if not told:
        return None
    if told.get("diverged"):
        return WithoutNoise(diverged=True, columns=[], rows=[])
    evaluation, less = _mapping(card.get("evaluation")), _mapping(told.get("difference"))
    forms = _mapping(_mapping(card.get("forms")).get("forms"))
    measured = [evaluation, *map(_mapping, forms.values()), told]
    named = [
        (_("AUROC"), "auroc"), (_("Accuracy"), "accuracy"), (_("Selection rate"), "selection_rate"),
    ]  # fmt: skip
    rows = [
        Compared(name, [_mapping(one.get(key)) for one in measured], _mapping(less.get(key)))
        for name, key in named
    ]
    fair = [
        (_("selection rate gap"), "selection_gap"),
        (_("impact ratio"), "impact_ratio"),
        (_("odds difference"), "odds_difference"),
    ]
    for column in _mapping(told.get("groups")):
        by_column = [_mapping(_mapping(one.get("groups")).get(column)) for one in [*measured, less]]
        rows += [
            Compared(
                f"{column}: {name}",
                [_mapping(one.get(key)) for one in by_column[:-1]],
                _mapping(by_column[-1].get(key)),
            )
            for name, key in fair
        ]
    columns = [_("as served"), *map(_form, forms), _("without noise")]
    return WithoutNoise(diverged=False, columns=columns, rows=rows)
