"""Datasets: brought in, looked at, amended; approved beside their column plan."""

from pathlib import PurePath
from typing import Any, ClassVar

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from audit.errors import DomainError
from gateway.bindings import binds_action, scoped_read
from gateway.console import words
from gateway.console.access import check, house, person, sees
from gateway.console.forms import UploadForm
from gateway.console.plans import amended, choices, rows_of
from gateway.console.proposals import decision_on
from gateway.console.sections import Section
from gateway.console.sentences import sentence
from governance import approvals
from governance.actions.datasets import Declared, amend_plan, upload_dataset
from governance.actions.readings import begin_preview, reread_dataset
from governance.models import Dataset, Job, Purpose
from governance.models.datasets import DatasetState, entity_totals
from governance.models.jobs import JobState
from governance.permissions import Permission, ProposalKind
from governance.previewing import preview_dataset
from governance.recognition.plan import ColumnPlan, PlanError
from governance.tables.encoding import ACCEPTED
from governance.uploads import sealed_upload

_AMENDABLE = {DatasetState.PROPOSED, DatasetState.REJECTED, DatasetState.SEALED}
_READABLE = {DatasetState.PROPOSED, DatasetState.REJECTED, DatasetState.FAILED}
_MOVING = {DatasetState.QUARANTINED, DatasetState.APPROVED, DatasetState.ANONYMIZING}


@admin.register(Dataset)
class Datasets(Section):
    """Tables on their way from quarantine to a sealed version."""

    requires = Permission.DATASET_VIEW
    template = "console/dataset.html"
    title = _("Datasets")
    related: ClassVar[tuple[str, ...]] = ("uploaded_by",)
    list_display = (
        "name",
        "shown_state",
        "shown_rows",
        "columns",
        "found",
        "uploaded_by",
        "created_at",
    )
    list_filter = ("state",)
    search_fields = ("name",)
    ordering = ("-created_at",)

    @display(description=_("state"), label=words.VARIANTS, ordering="state")
    def shown_state(self, dataset: Dataset) -> tuple[str, str]:
        """Where it stands."""
        return dataset.state, str(DatasetState(dataset.state).label)

    @display(description=_("rows"), ordering="rows")
    def shown_rows(self, dataset: Dataset) -> str:
        """How many."""
        return "–" if dataset.rows is None else f"{dataset.rows:,}"

    @display(description=_("entities found"))
    def found(self, dataset: Dataset) -> str:
        """Values that were found to be personal."""
        return f"{sum(entity_totals(dataset.entity_counts).values()):,}"

    def doors(self) -> list[URLPattern]:
        """Upload and amend."""
        return [
            self.form_door("upload/", self.upload, "upload"),
            self.button("<str:object_id>/amend/", self.amend, "amend"),
            self.button("<str:object_id>/preview/", self.preview, "preview"),
            self.button("<str:object_id>/reread/", self.reread, "reread"),
        ]

    def links(self, request: HttpRequest) -> list[tuple[str, str, str]]:
        """Upload, for who may."""
        if not sees(request, Permission.DATASET_UPLOAD):
            return []
        return [(self.address("upload"), gettext("Upload a table"), "upload_file")]

    @scoped_read(Dataset)
    def context(self, request: HttpRequest, row: Dataset) -> dict[str, Any]:
        """What the page shows: plan, evidence, approval, versions."""
        stored = row.plans.order_by("-number").first()
        proposal = approvals.latest(ProposalKind.COLUMN_PLAN, row)
        job = Job.objects.filter(subject=row.reference).order_by("-created_at").first()
        busy = job is not None and job.state in {JobState.WAITING, JobState.RUNNING}
        may_amend = row.state in _AMENDABLE and sees(request, Permission.PLAN_AMEND)
        return {
            "state_label": DatasetState(row.state).label,
            "job": job if busy else None,
            "refresh": busy or row.state in _MOVING,
            "error_sentence": sentence(row.error_code) if row.error_code else "",
            "plan": stored,
            "rows": _plan_rows(stored),
            "choices": choices() if may_amend else None,
            "decision": None if proposal is None else decision_on(proposal, person(request)),
            "purposes": row.purposes.select_related("purpose"),
            "versions": row.versions.select_related("plan"),
            "totals": sorted(entity_totals(row.entity_counts).items(), key=lambda found: -found[1]),
            "regimes": [words.word(words.REGIMES, name) for name in row.regimes],
            "languages": [words.word(words.LANGUAGES, name) for name in row.languages],
            "run_address": _run_address(request, row),
            "may_preview": sees(request, Permission.DATASET_PREVIEW),
            "may_reread": row.state in _READABLE and sees(request, Permission.PLAN_AMEND),
            "encodings": sorted(set(ACCEPTED)),
        }

    @binds_action(upload_dataset)
    def upload(self, request: HttpRequest) -> HttpResponse:
        """Show the form; take a file in, sealed as it came."""
        check(request, Permission.DATASET_UPLOAD, self.kind)
        purposes = [
            (purpose.slug, f"{purpose.title} · {purpose.get_legal_basis_display()}")
            for purpose in Purpose.objects.visible_to(person(request))
        ]
        if request.method != "POST":
            return self._upload_page(request, UploadForm(purposes=purposes))
        form = UploadForm(request.POST, request.FILES, purposes=purposes)
        try:
            # First: a refused upload has left no file, and the reason is worth more than
            # "this field is required".
            upload = sealed_upload(request, "file")
            if not form.is_valid():
                return self._upload_page(request, form)
            said = form.cleaned_data
            dataset = upload_dataset(
                person(request),
                house(request),
                stored=upload.stored,
                declared=Declared(
                    name=said["name"],
                    purposes=tuple(said["purposes"]),
                    regimes=tuple(said["regimes"]),
                    languages=tuple(said["languages"]),
                    subject_column=said["subject_column"],
                    format=PurePath(upload.name or "").suffix.lstrip(".").lower(),
                    encoding=said["encoding"],
                    declarations=form.declared(),
                ),
            )
        except DomainError as error:
            return self._upload_page(request, form, error)
        return redirect(self.address("change", dataset.pk))

    def _upload_page(
        self, request: HttpRequest, form: UploadForm, error: DomainError | None = None
    ) -> HttpResponse:
        return self.form_page(
            request,
            gettext("Upload a table"),
            form,
            error,
            submit=gettext("Upload and profile"),
            icon="upload_file",
        )

    @binds_action(amend_plan)
    def amend(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Propose the plan as the form has it."""
        dataset: Dataset = self.one(request, object_id)

        def do() -> None:
            stored = dataset.plans.order_by("-number").first()
            if stored is None:
                raise PlanError("there is no plan yet", code="dataset.not_profiled")
            plan, changed = amended(ColumnPlan.from_dict(stored.as_json()), request.POST)
            amend_plan(person(request), dataset, plan=plan.as_dict(), changed=changed)

        return self.act(request, dataset, do, gettext("The amended plan is proposed."))

    @binds_action(begin_preview)
    def preview(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The page with the first rows on it, masked."""
        dataset: Dataset = self.one(request, object_id)
        try:
            shown = preview_dataset(
                person(request), dataset, encoding=request.POST.get("encoding", "")
            )
        except DomainError as error:
            return self.page(request, dataset, error)
        return self.page(request, dataset, preview=shown)

    @binds_action(reread_dataset)
    def reread(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Have the file read in another encoding."""
        dataset: Dataset = self.one(request, object_id)

        def do() -> None:
            reread_dataset(person(request), dataset, encoding=request.POST.get("encoding", ""))

        return self.act(request, dataset, do, gettext("The file is being read anew."))


def _plan_rows(stored: Any) -> list[Any]:
    if stored is None:
        return []
    try:
        return list(rows_of(ColumnPlan.from_dict(stored.as_json())))
    except PlanError:
        return []  # of a version that is no longer read; its digest is shown all the same


def _run_address(request: HttpRequest, dataset: Dataset) -> str:
    if dataset.state != DatasetState.SEALED or not sees(request, Permission.RUN_REQUEST):
        return ""
    return reverse("admin:training_run_request") + f"?dataset={dataset.pk}"
