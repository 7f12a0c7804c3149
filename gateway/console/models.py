"""Models: the card, release by two people, part in the service, withdrawal."""

from collections.abc import Callable
from typing import Any, ClassVar

from django.contrib import admin
from django.forms import Form
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from audit.errors import DomainError
from gateway.bindings import binds_action, scoped_read
from gateway.console import words
from gateway.console.access import check, person, sees
from gateway.console.cards import readable
from gateway.console.examinations import kinds_in_words
from gateway.console.forms import ExaminationForm, ServiceForm, SunsetForm
from gateway.console.proposals import decision_on
from gateway.console.rollouts import part_of
from gateway.console.sections import Section
from gateway.console.watching import watching_of
from governance import approvals
from governance.permissions import Permission, ProposalKind
from training.actions.examinations import request_examination
from training.actions.models import propose_release, withdraw_model
from training.actions.rollouts import announce_sunset, roll_back, set_service
from training.examination import Examination, ExaminationState
from training.members import standing_ensembles
from training.models import ModelState, ModelVersion


@admin.register(ModelVersion)
class ModelVersions(Section):
    """Weights that do not change, and whether they may be served."""

    requires = Permission.MODEL_VIEW
    template = "console/model.html"
    title = _("Models")
    related: ClassVar[tuple[str, ...]] = ("model", "run__version__dataset")
    list_display = ("shown_name", "shown_state", "guarantee", "auroc", "created_at", "released_at")
    list_filter = ("state", "guarantee")
    search_fields = ("model__slug",)
    ordering = ("-created_at",)

    @display(description=_("model"), ordering="model__slug")
    def shown_name(self, version: ModelVersion) -> str:
        """Name and number."""
        return str(version)

    @display(description=_("state"), label=words.VARIANTS, ordering="state")
    def shown_state(self, version: ModelVersion) -> tuple[str, str]:
        """Where it stands."""
        return version.state, str(ModelState(version.state).label)

    @display(description="AUROC")
    def auroc(self, version: ModelVersion) -> str:
        """As the card has it."""
        figures = {figure.name: figure.value for figure in readable(version.card).figures}
        return figures.get("AUROC") or "–"

    def doors(self) -> list[URLPattern]:
        """Propose a release, withdraw."""
        return [
            self.button("<str:object_id>/release/", self.release, "release"),
            self.button("<str:object_id>/withdraw/", self.withdraw, "withdraw"),
            self.form_door("<str:object_id>/examine/", self.examine, "examine"),
            self.form_door("<str:object_id>/service/", self.service, "service"),
            self.button("<str:object_id>/rollback/", self.rollback, "rollback"),
            self.form_door("<str:object_id>/sunset/", self.sunset, "sunset"),
        ]

    @scoped_read(ModelVersion)
    def context(self, request: HttpRequest, row: ModelVersion) -> dict[str, Any]:
        """The card and an open proposal."""
        proposal = approvals.latest(ProposalKind.MODEL_RELEASE, row)
        decision = None if proposal is None else decision_on(proposal, person(request))
        waits = decision is not None and decision.state == "open"
        return {
            "sees_run": sees(request, Permission.RUN_VIEW),
            "state_label": ModelState(row.state).label,
            "card": readable(row.card),
            "ensembles": list(standing_ensembles(row)),
            "decision": decision,
            "watching": watching_of(row, person(request)),
            "part": part_of(row, licenses=sees(request, Permission.LICENSE_VIEW)),
            "may_serve": row.state != ModelState.WITHDRAWN
            and sees(request, Permission.MODEL_RELEASE_PROPOSE),
            "may_end": row.state == ModelState.RELEASED
            and sees(request, Permission.MODEL_WITHDRAW),
            "may_propose": row.state == ModelState.REGISTERED
            and not waits
            and sees(request, Permission.MODEL_RELEASE_PROPOSE),
            "may_examine": row.run_id is not None and sees(request, Permission.EXAMINATION_REQUEST),
            "sees_examinations": sees(request, Permission.EXAMINATION_VIEW),
            "examinations": [
                (made, ExaminationState(made.state).label, kinds_in_words(made))
                for made in Examination.objects.visible_to(person(request)).filter(version=row)
            ],
            "may_withdraw": row.state != ModelState.WITHDRAWN
            and sees(request, Permission.MODEL_WITHDRAW),
        }

    @binds_action(propose_release)
    def release(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Propose that the version be served."""
        version: ModelVersion = self.one(request, object_id)
        return self.act(
            request,
            version,
            lambda: propose_release(person(request), version),
            gettext("The release is proposed; officer and tenant admin decide."),
        )

    @binds_action(request_examination)
    def examine(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the form; ask for attacks on the version."""
        check(request, Permission.EXAMINATION_REQUEST, self.kind)
        version: ModelVersion = self.one(request, object_id)
        form = ExaminationForm(request.POST if request.method == "POST" else None)
        error: DomainError | None = None
        if form.is_bound and form.is_valid():
            try:
                made = request_examination(person(request), version, **form.cleaned_data)
                return redirect("admin:training_examination_change", made.pk)
            except DomainError as refused:
                error = refused
        return self.form_page(
            request,
            gettext("Examine %(model)s") % {"model": version},
            form,
            error,
            submit=gettext("Request"),
            icon="search",
        )

    @binds_action(withdraw_model)
    def withdraw(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Stop serving the version, for good."""
        version: ModelVersion = self.one(request, object_id)
        return self.act(
            request,
            version,
            lambda: withdraw_model(person(request), version),
            gettext("The model version is withdrawn."),
        )

    @binds_action(set_service)
    def service(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the form; say which calls the version answers."""
        check(request, Permission.MODEL_RELEASE_PROPOSE, self.kind)
        version: ModelVersion = self.one(request, object_id)
        form = ServiceForm(
            request.POST if request.method == "POST" else None,
            initial={"service": version.service, "share": version.share or None},
        )
        return self._filled(
            request,
            version,
            form,
            lambda asked: set_service(person(request), version, **asked),
            gettext("Service of %(model)s") % {"model": version},
        )

    @binds_action(roll_back)
    def rollback(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Take the version out of service at once."""
        version: ModelVersion = self.one(request, object_id)
        return self.act(
            request,
            version,
            lambda: roll_back(person(request), version),
            gettext("The version before it answers now."),
        )

    @binds_action(announce_sunset)
    def sunset(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the form; announce when the version's service ends."""
        check(request, Permission.MODEL_WITHDRAW, self.kind)
        version: ModelVersion = self.one(request, object_id)
        form = SunsetForm(
            request.POST if request.method == "POST" else None,
            initial={"ends_at": version.sunset_at},
        )
        return self._filled(
            request,
            version,
            form,
            lambda asked: announce_sunset(person(request), version, **asked),
            gettext("End of service of %(model)s") % {"model": version},
        )

    def _filled(
        self,
        request: HttpRequest,
        version: ModelVersion,
        form: Form,
        act: Callable[[dict[str, Any]], ModelVersion],
        title: str,
    ) -> HttpResponse:
        """A form's page, or what comes of it."""
        error: DomainError | None = None
        if form.is_bound and form.is_valid():
            try:
                act(form.cleaned_data)
                return redirect("admin:training_modelversion_change", version.pk)
            except DomainError as refused:
                error = refused
        return self.form_page(request, title, form, error, submit=gettext("Save"), icon="alt_route")
