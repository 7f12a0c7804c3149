"""Files of rows: who sent one under which license, how far it is, and how it ended."""

from typing import Any, ClassVar

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from gateway.bindings import scoped_read
from gateway.console import words
from gateway.console.sections import Section
from gateway.console.sentences import sentence
from gateway.models import CallFile, CallFileState
from governance.models import Job
from governance.permissions import Permission
from governance.scoping import across_tenants


@admin.register(CallFile)
class CallFiles(Section):
    """Files that keys sent, of licenses that the reader's tenant gave or holds."""

    requires = Permission.LICENSE_VIEW
    template = "console/callfile.html"
    title = _("Files of rows")
    related: ClassVar[tuple[str, ...]] = (
        "tenant", "license__customer", "license__model", "key", "version__model",
    )  # fmt: skip
    list_display = ("license", "key", "form", "shown_state", "rows", "created_at", "ended_at")
    list_filter = ("state", "form")
    ordering = ("-created_at",)

    @display(description=_("state"), label=words.VARIANTS, ordering="state")
    def shown_state(self, file: CallFile) -> tuple[str, str]:
        """Where it stands."""
        return file.state, str(CallFileState(file.state).label)

    @scoped_read(CallFile, Job)
    def context(self, request: HttpRequest, row: CallFile) -> dict[str, Any]:
        """How far it is; its rows are sealed, and its answers are its sender's."""
        del request
        with across_tenants(reason="the owner of the model sees how far a customer's file is"):
            job = Job.objects.filter(subject=row.reference).first()
        return {
            "state_label": CallFileState(row.state).label,
            "refresh": row.state == CallFileState.WAITING,
            "done": row.rows if job is None or row.ended_at else job.done_units,
            "of": 0 if job is None else job.all_units,
            "error_sentence": sentence(row.error_code) if row.error_code else "",
            "faults": row.faults,
        }
