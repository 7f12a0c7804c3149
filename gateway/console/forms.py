"""The console's forms, in unfold's looks. They shape input; the actions judge it."""

import json
from typing import Any, Final

from django import forms
from django.utils.translation import gettext_lazy as _
from unfold import widgets

from gateway.console import words
from governance.errors import InvalidError
from governance.tables.encoding import ACCEPTED
from training.actions.examinations import DEFAULT_EPSILON, DEFAULT_SHADOWS
from training.config import ModelKind
from training.examination import ExaminationKind
from training.models import Guarantee, Priority, Service

# A cnn and a module need more than this form asks for.
_OFFERED: Final = [
    kind.value for kind in ModelKind if kind not in {ModelKind.CNN, ModelKind.MODULE}
]


class SealedFileInput(widgets.UnfoldAdminFileFieldWidget):
    """Files that were sealed on their way in: nothing is left to show of them, and no plaintext."""

    allow_multiple_selected = True


def _text(**attrs: Any) -> Any:
    return widgets.UnfoldAdminTextInputWidget(attrs=attrs)


def _checks() -> Any:
    return widgets.UnfoldAdminCheckboxSelectMultipleWidget()


class SealedFilesField(forms.FileField):
    """One file or several. They are sealed already: what remains is that each is one."""

    widget = SealedFileInput

    def clean(self, data: Any, initial: Any = None) -> list[Any]:
        """Every file, judged as one alone would be."""
        files = data if isinstance(data, list | tuple) else [data]
        return [super(SealedFilesField, self).clean(file, initial) for file in files or [None]]


class AppendForm(forms.Form):
    """More files of a sealed dataset."""

    file = SealedFilesField(
        label=_("Files"),
        help_text=_(
            "Several files are one table: they have the same columns. Encrypted on arrival."
        ),
    )
    encoding = forms.ChoiceField(
        label=_("Encoding"),
        choices=[("", _("detect")), *((name, name) for name in ACCEPTED)],
        required=False,
        widget=widgets.UnfoldAdminSelectWidget(),
    )


class UploadForm(forms.Form):
    """One table in one file or several, and what the steward says of it."""

    file = SealedFilesField(
        label=_("Files"),
        help_text=_(
            "Several files are one table: they have the same columns. Encrypted on arrival."
        ),
    )
    name = forms.SlugField(
        label=_("Name"),
        max_length=80,
        widget=_text(placeholder="loan-applications-2026"),
        help_text=_("Letters, digits, - and _."),
    )
    purposes = forms.MultipleChoiceField(
        label=_("Purposes"),
        widget=_checks(),
        help_text=_("Nothing is processed without a purpose. The privacy officer declares them."),
    )
    languages = forms.MultipleChoiceField(
        label=_("Languages of the content"),
        choices=list(words.LANGUAGES.items()),
        initial=["zh", "en"],
        widget=_checks(),
    )
    regimes = forms.MultipleChoiceField(
        label=_("Laws that apply"),
        choices=list(words.REGIMES.items()),
        required=False,
        widget=_checks(),
    )
    sensitive = forms.MultipleChoiceField(
        label=_("Special categories it holds"),
        choices=words.special_categories,
        required=False,
        widget=_checks(),
        help_text=_("PIPL Art. 28, GDPR Art. 9. They are compared with what is found."),
    )
    subject_column = forms.CharField(
        label=_("Subject column"),
        max_length=100,
        required=False,
        widget=_text(),
        help_text=_("The column that says whose row it is, where there is one."),
    )
    encoding = forms.ChoiceField(
        label=_("Encoding"),
        choices=[("", _("detect")), *((name, name) for name in ACCEPTED)],
        required=False,
        widget=widgets.UnfoldAdminSelectWidget(),
    )
    declarations = forms.CharField(
        label=_("Declarations"),
        required=False,
        widget=widgets.UnfoldAdminTextareaWidget(attrs={"rows": 6, "spellcheck": "false"}),
        help_text=_(
            "JSON: public bounds and categories of columns, and the target. Training reads these "
            "instead of looking at the data."
        ),
    )

    def __init__(self, *args: Any, purposes: list[tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["purposes"].choices = purposes  # type: ignore[attr-defined]  # a choice field

    def declared(self) -> dict[str, Any]:
        """The declarations as JSON.

        Raises:
            InvalidError: `declarations.unreadable`.
        """
        try:
            found = json.loads(self.cleaned_data["declarations"] or "{}")
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise InvalidError(
                "the declarations are no JSON object",
                code="declarations.unreadable",
                pointer="/declarations",
            )
        return found


class FetchForm(UploadForm):
    """What to take from a source: a new table, or a batch of one that is sealed."""

    file = None  # type: ignore[assignment]  # Django's way to leave an inherited field out
    encoding = None  # type: ignore[assignment]  # as above
    source = forms.ChoiceField(label=_("Source"), widget=widgets.UnfoldAdminSelectWidget())
    select = forms.CharField(
        label=_("Selection"),
        required=False,
        widget=widgets.UnfoldAdminTextareaWidget(attrs={"rows": 3, "spellcheck": "false"}),
        help_text=_("A path of a folder, a prefix of a bucket, or one query that reads."),
    )
    dataset = forms.ChoiceField(
        label=_("Append to"),
        required=False,
        widget=widgets.UnfoldAdminSelectWidget(),
        help_text=_("Then what follows below is not asked."),
    )
    field_order = ("source", "select", "dataset", "name")

    def __init__(
        self,
        *args: Any,
        sources: list[tuple[str, str]],
        datasets: list[tuple[str, str]],
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.fields["source"].choices = sources  # type: ignore[attr-defined]  # a choice field
        choices = [("", _("a new dataset")), *datasets]
        self.fields["dataset"].choices = choices  # type: ignore[attr-defined]  # as above
        self.fields["name"].required = self.fields["purposes"].required = False
        self.fields["languages"].required = False

    def clean(self) -> dict[str, Any]:
        """A new dataset needs its name and a purpose; one that is there has them."""
        said: dict[str, Any] = super().clean() or self.cleaned_data
        if not said.get("dataset"):
            for name in ("name", "purposes", "languages"):
                if not said.get(name) and name not in self.errors:
                    self.add_error(name, self.fields[name].error_messages["required"])
        return said


class RunForm(forms.Form):
    """What an engineer asks of a sealed version."""

    version = forms.ChoiceField(
        label=_("Dataset version"), widget=widgets.UnfoldAdminSelectWidget()
    )
    target = forms.CharField(label=_("Target column"), max_length=100, widget=_text())
    positive = forms.CharField(
        label=_("Positive label"),
        max_length=100,
        required=False,
        widget=_text(),
        help_text=_("Where the dataset's declarations do not name it."),
    )
    purpose = forms.ChoiceField(label=_("Purpose"), widget=widgets.UnfoldAdminSelectWidget())
    epsilon = forms.CharField(
        label=_("ε asked"),
        max_length=40,
        initial="1",
        widget=_text(inputmode="decimal"),
        help_text=_("For everything that touches the data, preprocessing included."),
    )
    model = forms.ChoiceField(
        label=_("Kind of model"),
        choices=[(kind, words.MODELS[kind]) for kind in _OFFERED],
        initial=ModelKind.MLP.value,
        widget=widgets.UnfoldAdminSelectWidget(),
    )
    members = forms.MultipleChoiceField(
        label=_("Members of an ensemble"),
        required=False,
        widget=_checks(),
        help_text=_(
            "For an ensemble alone: two to ten versions of the same dataset, purpose, target and "
            "guarantee. Nothing is trained; ε pays for the figures on held-out rows."
        ),
    )
    name = forms.SlugField(
        label=_("Name of the model"),
        max_length=80,
        required=False,
        widget=_text(),
        help_text=_("The dataset and the target, where none is given."),
    )
    guarantee = forms.ChoiceField(
        label=_("Guarantee"),
        choices=Guarantee.choices,
        initial=Guarantee.DP,
        widget=widgets.UnfoldAdminSelectWidget(),
    )
    queue = forms.ChoiceField(
        label=_("Queue"),
        choices=[("train.cpu", "CPU"), ("train.gpu", "GPU")],
        widget=widgets.UnfoldAdminSelectWidget(),
    )
    priority = forms.ChoiceField(
        label=_("Priority"),
        choices=Priority.choices,
        initial=Priority.NORMAL,
        required=False,
        widget=widgets.UnfoldAdminSelectWidget(),
        help_text=_("Of waiting runs the most urgent is taken first. High is the tenant admin's."),
    )

    def __init__(
        self,
        *args: Any,
        versions: list[tuple[str, str]],
        purposes: list[tuple[str, str]],
        members: list[tuple[str, str]],
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.fields["version"].choices = versions  # type: ignore[attr-defined]  # a choice field
        self.fields["purpose"].choices = purposes  # type: ignore[attr-defined]  # as above
        self.fields["members"].choices = members  # type: ignore[attr-defined]  # as above
        if not members:
            del self.fields["members"]

    def asked(self) -> dict[str, Any]:
        """What the actions take: members are a field of the configuration."""
        said = dict(self.cleaned_data)
        members = said.pop("members", [])
        return {**said, "config": {"members": members} if members else {}}


class ExaminationForm(forms.Form):
    """Which attacks on a model, and what they may charge."""

    kinds = forms.MultipleChoiceField(
        label=_("Attacks"),
        choices=ExaminationKind.choices,
        initial=[ExaminationKind.LOSS.value],
        widget=_checks(),
    )
    epsilon = forms.CharField(
        label=_("ε of the figures"),
        max_length=40,
        initial=DEFAULT_EPSILON,
        widget=_text(inputmode="decimal"),
        help_text=_(
            "The loss threshold attack counts private records, so its counts get noise and are "
            "charged to the dataset's budget. More ε, less noise."
        ),
    )
    shadows = forms.IntegerField(
        label=_("Shadow models"),
        initial=DEFAULT_SHADOWS,
        widget=_text(inputmode="numeric"),
        help_text=_(
            "For the likelihood ratio attack alone, which is only made on public rows or where two "
            "people waived the guarantee."
        ),
    )


class ServiceForm(forms.Form):
    """Which calls a version answers."""

    service = forms.ChoiceField(
        label=_("Answers"), choices=Service.choices, widget=widgets.UnfoldAdminSelectWidget()
    )
    share = forms.IntegerField(
        label=_("Share of the calls, percent"),
        required=False,
        widget=_text(inputmode="numeric"),
        help_text=_(
            "Of a canary alone, from 1 to 99. A call that is sent again comes to the same version."
        ),
    )


class SunsetForm(forms.Form):
    """When a version's service ends."""

    ends_at = forms.DateTimeField(
        label=_("End of service"),
        required=False,
        widget=forms.DateTimeInput(
            attrs={"type": "datetime-local", "class": " ".join(widgets.INPUT_CLASSES)},
            format="%Y-%m-%dT%H:%M",
        ),
        help_text=_(
            "Answers tell it from now on; from then on calls to this version are refused. Empty "
            "takes the notice back."
        ),
    )


class PriorityForm(forms.Form):
    """How urgent a run is."""

    priority = forms.ChoiceField(
        label=_("Priority"), choices=Priority.choices, widget=widgets.UnfoldAdminSelectWidget()
    )


class CapForm(forms.Form):
    """Another ε cap."""

    epsilon = forms.CharField(
        label=_("Cap proposed (ε)"), max_length=40, widget=_text(inputmode="decimal")
    )


class StatementForm(forms.Form):
    """Which month of which customer, and as what."""

    month = forms.CharField(
        label=_("Month"), max_length=7, widget=_text(), help_text=_("As 2026-11, in UTC.")
    )
    customer = forms.ChoiceField(label=_("Customer"), widget=widgets.UnfoldAdminSelectWidget())
    format = forms.ChoiceField(
        label=_("Format"),
        choices=[
            ("zip", _("Bundle with proofs (ZIP)")),
            ("csv", _("Table alone (CSV)")),
            ("pdf", _("Page alone (PDF)")),
        ],
        widget=widgets.UnfoldAdminSelectWidget(),
    )

    def __init__(self, *args: Any, customers: list[tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["customer"].choices = customers  # type: ignore[attr-defined]  # a choice field
