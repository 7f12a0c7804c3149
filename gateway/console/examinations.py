"""Examinations: models attacked by their own house, and what each figure can show."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar, Final

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from gateway.bindings import binds_action, scoped_read
from gateway.console import words
from gateway.console.access import person, sees
from gateway.console.sections import Section
from gateway.console.sentences import sentence
from governance.models import Job
from governance.permissions import Permission
from training.actions.examinations import cancel_examination
from training.examination import SHOWS, Examination, ExaminationKind, ExaminationState

BOUNDS: Final[words.Words] = {
    "one_run": _("lower bound on ε that assumes nothing: weak"),
    "one_run_curve": _("lower bound on ε of a mechanism with a Gaussian trade-off curve"),
    "gaussian_fit": _("lower bound on ε if scores are Gaussian: strong"),
}
CHECKS: Final[words.Words] = {
    **BOUNDS,
    "sensitivity": _("no record adds more than the clipping norm to a step"),
    "poisson": _("records are drawn by independent coins of the planned probability"),
    "paid": _("every step was announced to the ledger before it ran"),
}
OBJECTIONS: Final[words.Words] = {
    "loss.ceiling": _("the loss threshold attack found more than the claimed ε allows"),
    "lira.ceiling": _("the likelihood ratio attack found more than the claimed ε allows"),
    "engine.one_run": _("the engine's lower bound that assumes nothing is above the claim"),
    "engine.one_run_curve": _("the engine's lower bound by a Gaussian curve is above the claim"),
    "engine.gaussian_fit": _("the engine's Gaussian fit is above the claim"),
    "engine.sensitivity": _("a canary added more to a step than clipping allows"),
    "engine.poisson": _("the engine's draws are not those that are accounted"),
    "engine.paid": _("the engine ran steps that were not announced"),
}


@dataclass(frozen=True)
class _Part:
    """One kind of attack on the page."""

    kind: str
    title: str
    shows: Promise
    hides: Promise
    found: dict[str, Any]
    bounds: list[tuple[str, str]]
    checks: list[tuple[str, bool | None]]


@admin.register(Examination)
class Examinations(Section):
    """Requests to attack a model, the newest first."""

    requires = Permission.EXAMINATION_VIEW
    template = "console/examination.html"
    title = _("Examinations")
    related: ClassVar[tuple[str, ...]] = ("version__model", "requested_by", "run")
    list_display = (
        "shown_name", "shown_state", "shown_kinds", "epsilon", "objections", "requested_by",
        "created_at",
    )  # fmt: skip
    list_filter = ("state",)
    search_fields = ("version__model__slug",)
    ordering = ("-created_at",)

    def doors(self) -> list[URLPattern]:
        """Cancel."""
        return [self.button("<str:object_id>/cancel/", self.cancel, "cancel")]

    @display(description=_("model"), ordering="version__model__slug")
    def shown_name(self, row: Examination) -> str:
        """The model version."""
        return str(row.version)

    @display(description=_("state"), label=words.VARIANTS, ordering="state")
    def shown_state(self, row: Examination) -> tuple[str, str]:
        """Where it stands."""
        return row.state, str(ExaminationState(row.state).label)

    @display(description=_("kinds"))
    def shown_kinds(self, row: Examination) -> str:
        """Which attacks."""
        return kinds_in_words(row)

    @display(description=_("found against the claim"))
    def objections(self, row: Examination) -> str:
        """How much was found; a dash while nothing is known."""
        return str(len(row.figures["objections"])) if row.figures else "–"

    @scoped_read(Examination)
    def context(self, request: HttpRequest, row: Examination) -> dict[str, Any]:
        """Figures, each beside what it can show."""
        job = Job.objects.filter(subject=row.reference).order_by("-created_at").first()
        figures = row.figures
        return {
            "heading": str(row.version),
            "state_label": ExaminationState(row.state).label,
            "refresh": row.state == ExaminationState.QUEUED,
            "may_cancel": row.state == ExaminationState.QUEUED
            and sees(request, Permission.EXAMINATION_REQUEST),
            "error_sentence": sentence(row.error_code) if row.error_code else "",
            "sees_run": sees(request, Permission.RUN_VIEW),
            "job": job,
            "kinds": kinds_in_words(row),
            "claim": figures.get("claim"),
            "claim_delta": _delta(figures),
            "finished": bool(figures),
            "objections": [words.word(OBJECTIONS, name) for name in figures.get("objections", [])],
            "parts": [_part(kind, figures.get(kind, {})) for kind in row.kinds],
        }

    @binds_action(cancel_examination)
    def cancel(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """End it without figures."""
        made: Examination = self.one(request, object_id)
        return self.act(
            request,
            made,
            lambda: cancel_examination(person(request), made),
            gettext("The examination is cancelled."),
        )


def _delta(figures: dict[str, Any]) -> str:
    """The claimed δ without its zeros; "" where nothing is claimed."""
    claim = figures.get("claim")
    return f"{Decimal(claim['delta']).normalize():f}" if claim else ""


def kinds_in_words(row: Examination) -> str:
    """Which attacks, for a person."""
    return ", ".join(str(ExaminationKind(kind).label) for kind in row.kinds)


def _part(kind: str, found: dict[str, Any]) -> _Part:
    engine = kind == ExaminationKind.ENGINE and bool(found)
    untested = {} if found.get("draws_testable", True) else {"poisson"}
    return _Part(
        kind=kind,
        title=str(ExaminationKind(kind).label),
        shows=SHOWS[kind][0],
        hides=SHOWS[kind][1],
        found=found,
        bounds=[(words.word(BOUNDS, name), found[name]["epsilon"]) for name in BOUNDS]
        if engine
        else [],
        checks=[
            (words.word(CHECKS, name), None if name in untested else holds)
            for name, holds in found["checks"].items()
        ]
        if engine
        else [],
    )
