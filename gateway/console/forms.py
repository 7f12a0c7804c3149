"""The console's forms, in unfold's looks. They shape input; the actions judge it."""

import json
from datetime import timedelta
from typing import Any, Final

from django import forms
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from unfold import widgets

from gateway.console import words
from gateway.models import Feature, KeyMode
from governance.errors import InvalidError
from governance.tables.encoding import ACCEPTED
from training.config import ModelKind
from training.models import Guarantee

_MODELS: Final = {
    ModelKind.LINEAR.value: _("linear"),
    ModelKind.MLP.value: _("multi-layer perceptron"),
}


class SealedFileInput(widgets.UnfoldAdminFileFieldWidget):
    """A file that was sealed on its way in: there is nothing to show of it, and no plaintext."""


def _text(**attrs: Any) -> Any:
    return widgets.UnfoldAdminTextInputWidget(attrs=attrs)


def _checks() -> Any:
    return widgets.UnfoldAdminCheckboxSelectMultipleWidget()


class UploadForm(forms.Form):
    """A file, and what the steward says of it."""

    file = forms.FileField(
        label=_("File"),
        widget=SealedFileInput(),
        help_text=_("CSV, JSON Lines, Parquet or .xlsx. It is encrypted while it arrives."),
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
        choices=list(_MODELS.items()),
        initial=ModelKind.MLP.value,
        widget=widgets.UnfoldAdminSelectWidget(),
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

    def __init__(
        self,
        *args: Any,
        versions: list[tuple[str, str]],
        purposes: list[tuple[str, str]],
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.fields["version"].choices = versions  # type: ignore[attr-defined]  # a choice field
        self.fields["purpose"].choices = purposes  # type: ignore[attr-defined]  # as above


class CapForm(forms.Form):
    """Another ε cap."""

    epsilon = forms.CharField(
        label=_("Cap proposed (ε)"), max_length=40, widget=_text(inputmode="decimal")
    )


class LicenseForm(forms.Form):
    """The terms of a new license."""

    model = forms.ChoiceField(label=_("Model"), widget=widgets.UnfoldAdminSelectWidget())
    customer = forms.ChoiceField(label=_("Customer"), widget=widgets.UnfoldAdminSelectWidget())
    features = forms.MultipleChoiceField(
        label=_("Features"),
        choices=Feature.choices,
        initial=Feature.values,
        widget=_checks(),
    )
    purpose = forms.ChoiceField(label=_("Purpose"), widget=widgets.UnfoldAdminSelectWidget())
    quota = forms.IntegerField(
        label=_("Quota"),
        min_value=1,
        max_value=2**53 - 1,
        initial=10_000,
        widget=widgets.UnfoldAdminIntegerFieldWidget(),
        help_text=_("Units; a prediction costs one."),
    )
    expires_at = forms.DateTimeField(
        label=_("Expires"),
        widget=forms.DateTimeInput(
            attrs={"type": "datetime-local", "class": " ".join(widgets.INPUT_CLASSES)},
            format="%Y-%m-%dT%H:%M",
        ),
    )

    def __init__(
        self,
        *args: Any,
        models: list[tuple[str, str]],
        customers: list[tuple[str, str]],
        purposes: list[tuple[str, str]],
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        for name, offered in (("model", models), ("customer", customers), ("purpose", purposes)):
            self.fields[name].choices = offered  # type: ignore[attr-defined]  # a choice field
        year = timezone.localtime() + timedelta(days=365)
        self.fields["expires_at"].initial = year


class KeyForm(forms.Form):
    """What a new key is for."""

    name = forms.CharField(
        label=_("Name"),
        max_length=80,
        widget=_text(),
        help_text=_("What people call it; it stays out of the log."),
    )
    mode = forms.ChoiceField(
        label=_("Mode"), choices=KeyMode.choices, widget=widgets.UnfoldAdminSelectWidget()
    )

    def __init__(self, *args: Any, charged_only: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if charged_only:
            live = [(KeyMode.LIVE.value, KeyMode.LIVE.label)]
            self.fields["mode"].choices = live  # type: ignore[attr-defined]  # a choice field
