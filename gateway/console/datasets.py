"""Datasets: brought in, looked at, amended; approved beside their column plan."""

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
from gateway.console.forms import AppendForm, UploadForm
from gateway.console.plans import amended, choices, notice_of, rows_of
from gateway.console.proposals import decision_on
from gateway.console.sections import Section
from gateway.console.sentences import sentence
from governance import approvals
from governance.actions.anonymization import cancel_ingest
from governance.actions.datasets import Declared, amend_plan, append_batch, upload_dataset
from governance.actions.readings import begin_preview, reread_dataset
from governance.models import Dataset, Purpose, SealedGroup
from governance.models.datasets import DatasetState, entity_totals
from governance.permissions import Permission, ProposalKind
from governance.previewing import preview_dataset
from governance.progress import MOVING, progress_of
from governance.recognition.plan import ColumnPlan, PlanError
from governance.recognition_rules import current_version
from governance.tables.encoding import ACCEPTED
from governance.uploads import received

_AMENDABLE = {DatasetState.PROPOSED, DatasetState.REJECTED, DatasetState.SEALED}
_READABLE = {DatasetState.PROPOSED, DatasetState.REJECTED, DatasetState.FAILED}


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
            self.form_door("<str:object_id>/append/", self.append, "append"),
            self.button("<str:object_id>/cancel/", self.cancel, "cancel"),
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
        plan = _plan(stored)
        proposal = approvals.latest(ProposalKind.COLUMN_PLAN, row)
        progress = progress_of(row)
        batches = list(row.batches.prefetch_related("parts").order_by("-number"))
        parts = list(batches[0].parts.all()) if batches else []
        may_upload = sees(request, Permission.DATASET_UPLOAD)
        may_amend = row.state in _AMENDABLE and sees(request, Permission.PLAN_AMEND)
        return {
            "state_label": DatasetState(row.state).label,
            "progress": progress,
            "refresh": row.state in MOVING,
            "batches": batches,
            "leaks": _leaks(row, stored),
            "may_append": may_upload and row.state == DatasetState.SEALED,
            "may_cancel": may_upload and progress is not None,
            "parts": parts,
            "shown_format": row.format or "".join(part.declared_format for part in parts[:1]),
            "as_told": any(part.encoding_override for part in parts),
            "error_sentence": sentence(row.error_code) if row.error_code else "",
            "plan": stored,
            "rows": [] if plan is None else rows_of(plan),
            "notice": None if plan is None else notice_of(plan, current_version(house(request))),
            "choices": choices(plan) if may_amend else None,
            "decision": None if proposal is None else decision_on(proposal, person(request)),
            "purposes": row.purposes.select_related("purpose"),
            "versions": row.versions.select_related("plan"),
            "totals": sorted(entity_totals(row.entity_counts).items(), key=lambda found: -found[1]),
            "regimes": [words.word(words.REGIMES, name) for name in row.regimes],
            "languages": [words.word(words.LANGUAGES, name) for name in row.languages],
            "run_address": _run_address(request, row),
            "may_preview": sees(request, Permission.DATASET_PREVIEW),
            "may_reread": _readable(row, batches) and sees(request, Permission.PLAN_AMEND),
            "encodings": sorted(set(ACCEPTED)),
            "sensitive": [
                words.special_category(name) for name in row.declarations.get("sensitive", [])
            ],
        }

    @binds_action(upload_dataset)
    def upload(self, request: HttpRequest) -> HttpResponse:
        """Show the form; take files in, sealed as they came."""
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
            files = received(request, "file", encoding=request.POST.get("encoding", ""))
            if not form.is_valid():
                return self._upload_page(request, form)
            said = form.cleaned_data
            dataset = upload_dataset(
                person(request),
                house(request),
                files=files,
                declared=Declared(
                    name=said["name"],
                    purposes=tuple(said["purposes"]),
                    regimes=tuple(said["regimes"]),
                    languages=tuple(said["languages"]),
                    subject_column=said["subject_column"],
                    declarations=form.declared(),
                    sensitive=tuple(said["sensitive"]),
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

    @binds_action(append_batch)
    def append(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the form; take more files of a dataset in."""
        check(request, Permission.DATASET_UPLOAD, self.kind)
        dataset: Dataset = self.one(request, object_id)
        form = AppendForm(request.POST or None, request.FILES or None)
        error: DomainError | None = None
        if request.method == "POST":
            try:
                files = received(request, "file", encoding=request.POST.get("encoding", ""))
                if form.is_valid():
                    append_batch(person(request), dataset, files=files)
                    return redirect(self.address("change", dataset.pk))
            except DomainError as refused:
                error = refused
        return self.form_page(
            request,
            gettext("Append files to %(name)s") % {"name": dataset.name},
            form,
            error,
            submit=gettext("Append"),
            icon="playlist_add",
        )

    @binds_action(cancel_ingest)
    def cancel(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Stop what is under way."""
        dataset: Dataset = self.one(request, object_id)
        return self.act(
            request,
            dataset,
            lambda: cancel_ingest(person(request), dataset),
            gettext("The ingest is stopped."),
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
                person(request),
                dataset,
                encoding=request.POST.get("encoding", ""),
                part=_part(request) or 1,
            )
        except DomainError as error:
            return self.page(request, dataset, error)
        return self.page(request, dataset, preview=shown)

    @binds_action(reread_dataset)
    def reread(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Have the file read in another encoding."""
        dataset: Dataset = self.one(request, object_id)

        def do() -> None:
            reread_dataset(
                person(request),
                dataset,
                encoding=request.POST.get("encoding", ""),
                part=_part(request),
            )

        return self.act(request, dataset, do, gettext("The file is being read anew."))


def _part(request: HttpRequest) -> int | None:
    """The file that the form names, where a batch has several."""
    number = request.POST.get("part", "")
    return int(number) if number.isascii() and number.isdigit() and len(number) < 9 else None  # noqa: PLR2004 - no batch has so many


def _readable(dataset: Dataset, batches: list[Any]) -> bool:
    """Whether the newest batch may be read anew: no plan is at work, or it could not be read."""
    refused = dataset.state == DatasetState.SEALED and bool(batches) and batches[0].error_code
    return dataset.state in _READABLE or bool(refused)


def _leaks(dataset: Dataset, plan: Any) -> list[tuple[str, str, int]]:
    """What the re-scan found under the newest plan: (column, entity, how many)."""
    if plan is None or dataset.error_code != "release.leaks":
        return []
    found: dict[tuple[str, str], int] = {}
    for leaks in SealedGroup.objects.filter(plan=plan, stored=None).values_list("leaks", flat=True):
        for column, entities in leaks.items():
            for entity, count in entities.items():
                found[column, entity] = found.get((column, entity), 0) + count
    return [(column, entity, count) for (column, entity), count in sorted(found.items())]


def _plan(stored: Any) -> ColumnPlan | None:
    """The plan; None also for one of a version that is no longer read: its digest is shown."""
    if stored is None:
        return None
    try:
        return ColumnPlan.from_dict(stored.as_json())
    except PlanError:
        return None


def _run_address(request: HttpRequest, dataset: Dataset) -> str:
    if dataset.state != DatasetState.SEALED or not sees(request, Permission.RUN_REQUEST):
        return ""
    return reverse("admin:training_run_request") + f"?dataset={dataset.pk}"
