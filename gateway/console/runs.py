"""Training runs: asked for, followed, stopped, tried again."""

from typing import Any, ClassVar

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from audit.errors import DomainError
from gateway.bindings import binds_action, scoped_read
from gateway.console import charts, words
from gateway.console.access import check, person, sees
from gateway.console.forms import RunForm
from gateway.console.proposals import decision_on
from gateway.console.sections import Section
from gateway.console.sentences import sentence
from governance import approvals
from governance.lookup import find
from governance.models import Dataset, DatasetVersion, Job, PurposeGrant
from governance.permissions import Permission
from training import ledger
from training.actions.runs import ENDED, cancel_run, request_run, retry_run
from training.admission import approval_needed
from training.models import Budget, BudgetEntry, Checkpoint, Guarantee, Run, RunState

_OPEN = {RunState.AWAITING_APPROVAL, RunState.QUEUED, RunState.RUNNING}
_MOVING = {RunState.QUEUED, RunState.RUNNING}


@admin.register(Run)
class Runs(Section):
    """Requests to train, and how far each is."""

    requires = Permission.RUN_VIEW
    template = "console/run.html"
    title = _("Runs")
    related: ClassVar[tuple[str, ...]] = ("version__dataset", "requested_by")
    list_display = (
        "model_name", "shown_state", "version", "target", "epsilon", "guarantee", "attempt",
        "requested_by", "created_at",
    )  # fmt: skip
    list_filter = ("state", "guarantee")
    search_fields = ("model_name",)
    ordering = ("-created_at",)

    @display(description=_("state"), label=words.VARIANTS, ordering="state")
    def shown_state(self, run: Run) -> tuple[str, str]:
        """Where it stands."""
        return run.state, str(RunState(run.state).label)

    def doors(self) -> list[URLPattern]:
        """Request, cancel, retry."""
        return [
            self.form_door("request/", self.request_run, "request"),
            self.button("<str:object_id>/cancel/", self.cancel, "cancel"),
            self.button("<str:object_id>/retry/", self.retry, "retry"),
        ]

    def links(self, request: HttpRequest) -> list[tuple[str, str, str]]:
        """Request, for who may."""
        if not sees(request, Permission.RUN_REQUEST):
            return []
        return [(self.address("request"), gettext("Request a run"), "model_training")]

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
            "loss_chart": charts.line(
                [(point.step, point.loss) for point in points if point.loss is not None],
                steps=steps,
                zero=False,
            ),
            "epsilon_chart": charts.line(
                [(0, 0.0), *((point.step, point.epsilon) for point in points)],
                steps=steps,
                zero=True,
            )
            if row.guarantee == Guarantee.DP and points
            else None,
            "config": sorted(row.config_json().items()),
            "ledger": BudgetEntry.objects.filter(run=row).order_by("attempt", "sequence"),
            "costs": _costs(row),
            "job": Job.objects.filter(subject=row.reference).order_by("-created_at").first(),
            "decision": None if proposal is None else decision_on(proposal, person(request)),
            "model_version": getattr(row, "model_version", None),
            "may_cancel": row.state in _OPEN and sees(request, Permission.RUN_CANCEL),
            "kept_step": _kept_step(row),
            "may_retry": row.state in ENDED and sees(request, Permission.RUN_REQUEST),
        }

    @binds_action(request_run)
    def request_run(self, request: HttpRequest) -> HttpResponse:
        """Show the form; ask for a run."""
        check(request, Permission.RUN_REQUEST, self.kind)
        offered = _offered(request)
        if request.method != "POST":
            first = _first_version(request, offered["versions"])
            return self._request_page(request, RunForm(**offered, initial=first))
        form = RunForm(request.POST, **offered)
        if not form.is_valid():
            return self._request_page(request, form)
        said = dict(form.cleaned_data)
        try:
            version = find(person(request), DatasetVersion, said.pop("version"))
            run = request_run(person(request), version, **said)
        except DomainError as error:
            return self._request_page(request, form, error)
        return redirect(self.address("change", run.pk))

    def _request_page(
        self, request: HttpRequest, form: RunForm, error: DomainError | None = None
    ) -> HttpResponse:
        return self.form_page(
            request,
            gettext("Request a run"),
            form,
            error,
            submit=gettext("Request"),
            icon="model_training",
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


def _kept_step(run: Run) -> int | None:
    """The step that a new attempt goes on from; None where it begins anew."""
    kept = Checkpoint.objects.filter(run=run, since=run.since).first()
    return None if kept is None else kept.step


def _offered(request: HttpRequest) -> dict[str, list[tuple[str, str]]]:
    """The sealed versions and the granted purposes that a run can name."""
    actor = person(request)
    versions = DatasetVersion.objects.visible_to(actor).select_related("dataset")
    grants = PurposeGrant.objects.visible_to(actor).select_related("purpose")
    purposes = {grant.purpose.slug: grant.purpose.title for grant in grants}
    return {
        "versions": [
            (str(version.pk), f"{version} · {version.rows:,}")
            for version in versions.order_by("dataset__name", "-number")
        ],
        "purposes": sorted(purposes.items()),
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
