"""Training runs: asked for, followed, stopped, tried again."""

from dataclasses import dataclass
from typing import Any, ClassVar, Final

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from audit.canonical import digest
from audit.errors import DomainError
from gateway.bindings import binds_action, scoped_read
from gateway.console import charts, words
from gateway.console.access import check, person, sees
from gateway.console.forms import PriorityForm, RunForm
from gateway.console.proposals import decision_on
from gateway.console.sections import Section
from gateway.console.sentences import sentence
from governance import approvals
from governance.lookup import find
from governance.models import Dataset, DatasetVersion, Job, PurposeGrant
from governance.permissions import Permission
from training import costs, ledger
from training.actions.curves import export_curves
from training.actions.runs import (
    ENDED,
    cancel_run,
    estimate_run,
    prioritize_run,
    request_run,
    retry_run,
)
from training.admission import approval_needed
from training.estimates import Estimate, estimate
from training.keeping import kept_of
from training.members import name_of
from training.models import (
    Budget,
    BudgetEntry,
    Guarantee,
    ModelState,
    ModelVersion,
    Priority,
    Run,
    RunPoint,
    RunState,
)

# Fields of the form that an estimate follows from; the others are a name and a place in line.
_ESTIMATED: Final = (
    "target", "positive", "purpose", "epsilon", "model", "guarantee", "queue", "config",
)  # fmt: skip
_MEMBERS_OFFERED: Final = 200
_OPEN = {RunState.AWAITING_APPROVAL, RunState.QUEUED, RunState.RUNNING}
_WAITING = {RunState.AWAITING_APPROVAL, RunState.QUEUED}
_MOVING = {RunState.QUEUED, RunState.RUNNING}


@admin.register(Run)
class Runs(Section):
    """Requests to train, and how far each is."""

    requires = Permission.RUN_VIEW
    template = "console/run.html"
    title = _("Runs")
    related: ClassVar[tuple[str, ...]] = ("version__dataset", "requested_by")
    list_display = (
        "model_name", "shown_state", "version", "target", "epsilon", "guarantee", "priority",
        "attempt", "requested_by", "created_at",
    )  # fmt: skip
    list_filter = ("state", "guarantee", "priority")
    change_list_template = "console/runs.html"
    search_fields = ("model_name",)
    ordering = ("-created_at",)

    @display(description=_("state"), label=words.VARIANTS, ordering="state")
    def shown_state(self, run: Run) -> tuple[str, str]:
        """Where it stands."""
        return run.state, str(RunState(run.state).label)

    def doors(self) -> list[URLPattern]:
        """Request, cancel, retry, prioritize, download."""
        return [
            self.form_door("request/", self.request_run, "request"),
            self.button("<str:object_id>/cancel/", self.cancel, "cancel"),
            self.button("<str:object_id>/retry/", self.retry, "retry"),
            self.button("<str:object_id>/prioritize/", self.prioritize, "prioritize"),
            self.button("<str:object_id>/curves/", self.curves, "curves"),
        ]

    def links(self, request: HttpRequest) -> list[tuple[str, str, str]]:
        """Request, for who may."""
        if not sees(request, Permission.RUN_REQUEST):
            return []
        return [(self.address("request"), gettext("Request a run"), "model_training")]

    def list_context(self, request: HttpRequest) -> dict[str, Any]:
        """What runs took together, for whose role opens that."""
        if not sees(request, Permission.COST_VIEW):
            return {}
        return {"totals": costs.totals(person(request))}

    @scoped_read(Run)
    def context(self, request: HttpRequest, row: Run) -> dict[str, Any]:
        """Progress, curves, plan, cost, approval."""
        points = list(row.points.filter(attempt=row.attempt))
        steps = points[-1].steps if points else int(row.plan.get("steps", 0))
        kind = approval_needed(row)
        proposal = None if kind is None else approvals.latest(kind, row)
        return {
            "state_label": RunState(row.state).label,
            "refresh": row.state in _MOVING,
            "error_sentence": sentence(row.error_code) if row.error_code else "",
            "point": points[-1] if points else None,
            "steps": steps,
            "charts": _charts(row, points, steps),
            "config": sorted(row.config_json().items()),
            "ledger": BudgetEntry.objects.filter(run=row).order_by("attempt", "sequence"),
            "costs": _costs(row),
            "job": Job.objects.filter(subject=row.reference).order_by("-created_at").first(),
            "decision": None if proposal is None else decision_on(proposal, person(request)),
            "model_version": getattr(row, "model_version", None),
            "may_cancel": row.state in _OPEN
            and bool(row.target)
            and sees(request, Permission.RUN_CANCEL),
            "kept": kept_of(row) if row.state in ENDED else None,
            "may_retry": row.state in ENDED
            and bool(row.target)
            and sees(request, Permission.RUN_REQUEST),
            "taken": costs.taken(row),
            "efforts": {effort.attempt: effort for effort in row.efforts.all()},
            "priority_form": PriorityForm(initial={"priority": row.priority})
            if row.state in _WAITING and sees(request, Permission.RUN_PRIORITIZE)
            else None,
        }

    @binds_action(request_run, estimate_run)
    def request_run(self, request: HttpRequest) -> HttpResponse:
        """Show the form; tell what that would take; ask for exactly what was estimated."""
        check(request, Permission.RUN_REQUEST, self.kind)
        offered = _offered(request)
        if request.method != "POST":
            first = _first_version(request, offered["versions"])
            return self._request_page(request, RunForm(**offered, initial=first))
        form = RunForm(request.POST, **offered)
        if not form.is_valid():
            return self._request_page(request, form)
        asked = form.asked()
        asked["priority"] = asked["priority"] or Priority.NORMAL
        said = digest({name: str(value) for name, value in asked.items()})
        try:
            version = find(person(request), DatasetVersion, asked.pop("version"))
            if request.POST.get("estimated") != said:
                judged = estimate_run(
                    person(request), version, **{name: asked[name] for name in _ESTIMATED}
                )
                return self._request_page(request, form, found=estimate(judged), estimated=said)
            run = request_run(person(request), version, **asked)
        except DomainError as error:
            return self._request_page(request, form, error)
        return redirect(self.address("change", run.pk))

    def _request_page(
        self,
        request: HttpRequest,
        form: RunForm,
        error: DomainError | None = None,
        *,
        found: Estimate | None = None,
        estimated: str = "",
    ) -> HttpResponse:
        confirm = found is not None and found.fits
        return self.form_page(
            request,
            gettext("Request a run"),
            form,
            error,
            submit=gettext("Request") if confirm else gettext("Estimate"),
            icon="model_training" if confirm else "calculate",
            estimate=found,
            estimated=estimated if confirm else "",
        )

    @binds_action(prioritize_run)
    def prioritize(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Let a run wait longer, or less."""
        run: Run = self.one(request, object_id)
        wanted = request.POST.get("priority", "")
        return self.act(
            request,
            run,
            lambda: prioritize_run(person(request), run, priority=wanted),
            gettext("The run has another priority."),
        )

    @binds_action(export_curves)
    def curves(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The curves as a file for TensorBoard."""
        run: Run = self.one(request, object_id)
        try:
            made = export_curves(person(request), run)
        except DomainError as error:
            return self.page(request, run, error)
        return HttpResponse(
            made.content,
            content_type="application/octet-stream",
            headers={"Content-Disposition": f'attachment; filename="{made.name}"'},
        )

    @binds_action(cancel_run)
    def cancel(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Stop a run."""
        run: Run = self.one(request, object_id)
        return self.act(
            request, run, lambda: cancel_run(person(request), run), gettext("The run is stopped.")
        )

    @binds_action(retry_run)
    def retry(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Try an ended run again."""
        run: Run = self.one(request, object_id)
        return self.act(
            request,
            run,
            lambda: retry_run(person(request), run),
            gettext("A new attempt begins, with a reservation for what is not paid yet."),
        )


@dataclass(frozen=True)
class Curve:
    """A chart and its caption."""

    caption: str
    chart: charts.Chart


def _charts(run: Run, points: list[RunPoint], steps: int) -> list[Curve]:
    """The live curves of the newest attempt, as far as they have two points."""
    measured = [
        (gettext("Loss over steps (noised)"), "loss", False),
        (gettext("Share of records clipped (noised)"), "clip_fraction", False),
        (gettext("Gradient norm, capped at 2C (noised)"), "gradient_norm", False),
    ]
    if run.guarantee == Guarantee.DP:
        measured.append((gettext("ε spent over steps"), "epsilon", True))
    found = []
    for caption, figure, zero in measured:
        drawn = [
            (point.step, value) for point in points if (value := getattr(point, figure)) is not None
        ]
        if zero and drawn:
            drawn.insert(0, (0, 0.0))
        chart = charts.line(drawn, steps=steps, zero=zero)
        if chart is not None:
            found.append(Curve(caption, chart))
    return found


def _offered(request: HttpRequest) -> dict[str, list[tuple[str, str]]]:
    """The sealed versions and the granted purposes that a run can name."""
    actor = person(request)
    versions = DatasetVersion.objects.visible_to(actor).select_related("dataset")
    grants = PurposeGrant.objects.visible_to(actor).select_related("purpose")
    purposes = {grant.purpose.slug: grant.purpose.title for grant in grants}
    finished = ModelVersion.objects.visible_to(actor).exclude(state=ModelState.WITHDRAWN)
    finished = finished.exclude(parts__isnull=False).filter(run__isnull=False)
    return {
        "versions": [
            (str(version.pk), f"{version} · {version.rows:,}")
            for version in versions.order_by("dataset__name", "-number")
        ],
        "purposes": sorted(purposes.items()),
        "members": [
            (name_of(member), f"{member} · {member.run.version} · {member.run.target}")
            for member in finished.select_related("model", "run__version__dataset").order_by(
                "model__slug", "-number"
            )[:_MEMBERS_OFFERED]
            if member.run is not None
        ],
    }


def _first_version(request: HttpRequest, versions: list[tuple[str, str]]) -> dict[str, Any]:
    """What a link from a dataset's page fills in: its newest version and its declared target."""
    wanted = request.GET.get("dataset", "")
    known = {key for key, _name in versions}
    rows = DatasetVersion.objects.visible_to(person(request)).filter(pk__in=known)
    for version in rows.select_related("dataset").order_by("-number"):
        if str(version.dataset_id) == wanted:
            return {"version": str(version.pk), **_declared(version.dataset)}
    return {}


def _declared(dataset: Dataset) -> dict[str, str]:
    target = dataset.declarations.get("target")
    column = target.get("column") if isinstance(target, dict) else None
    return {"target": column} if isinstance(column, str) else {}


def _costs(run: Run) -> list[Any]:
    """What each attempt of the run cost, by the dataset's budget."""
    budget = Budget.objects.filter(dataset_id=run.version.dataset_id).first()
    if budget is None:
        return []
    return [line for line in ledger.statement(budget).attempts if line.run == run.reference]
