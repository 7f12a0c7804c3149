"""The forms of licenses. They shape input; the actions judge it."""

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from unfold import widgets

from gateway.agreements import MOST_SEATS, tidy
from gateway.models import Feature, License, SuspensionReason
from governance.errors import InvalidError

_WIDEST = 2**53 - 1


class RegionsField(forms.CharField):
    """Regions, parted by commas or spaces."""

    def clean(self, value: Any) -> Any:
        """Each once, in lower case."""
        return list(tidy(super().clean(value).lower().replace(",", " ").split()))

    def prepare_value(self, value: Any) -> Any:
        """A list as it is typed."""
        return ", ".join(value) if isinstance(value, list) else value


class _TermsForm(forms.Form):
    """The terms that an amendment may change."""

    version = forms.IntegerField(
        label=_("Version"),
        min_value=1,
        max_value=2**31 - 1,
        required=False,
        widget=widgets.UnfoldAdminIntegerFieldWidget(),
        help_text=_("The one version that answers; empty: whichever was released last."),
    )
    features = forms.MultipleChoiceField(
        label=_("Features"),
        choices=Feature.choices,
        initial=[Feature.PREDICT, Feature.EXPLAIN, Feature.FEEDBACK],
        widget=widgets.UnfoldAdminCheckboxSelectMultipleWidget(),
    )
    purposes = forms.MultipleChoiceField(
        label=_("Purposes"), widget=widgets.UnfoldAdminCheckboxSelectMultipleWidget()
    )
    regions = RegionsField(
        label=_("Regions"),
        required=False,
        widget=widgets.UnfoldAdminTextInputWidget(),
        help_text=_("Country codes or slugs, parted by commas; empty: everywhere."),
    )
    seats = forms.IntegerField(
        label=_("Seats"),
        min_value=1,
        max_value=MOST_SEATS,
        required=False,
        widget=widgets.UnfoldAdminIntegerFieldWidget(),
        help_text=_("How many keys may open it at a time; empty: any number."),
    )
    quota = forms.IntegerField(
        label=_("Quota"),
        min_value=1,
        max_value=_WIDEST,
        initial=10_000,
        widget=widgets.UnfoldAdminIntegerFieldWidget(),
        help_text=_("Units; a prediction costs one."),
    )
    rate = forms.IntegerField(
        label=_("Calls a second"),
        min_value=1,
        max_value=_WIDEST,
        required=False,
        widget=widgets.UnfoldAdminIntegerFieldWidget(),
        help_text=_("Empty for any number."),
    )
    burst = forms.IntegerField(
        label=_("Calls at once"),
        min_value=1,
        max_value=_WIDEST,
        required=False,
        widget=widgets.UnfoldAdminIntegerFieldWidget(),
        help_text=_("Empty for as many as a second's."),
    )
    trial = forms.BooleanField(
        label=_("Trial"),
        required=False,
        widget=widgets.UnfoldBooleanWidget(),
        help_text=_("30 days at most, one for each customer and model."),
    )

    def __init__(self, *args: Any, purposes: list[tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["purposes"].choices = purposes  # type: ignore[attr-defined]  # a choice field

    def clean(self) -> dict[str, Any]:
        """Lists as the terms hold them."""
        said = super().clean() or {}
        return said | {name: list(tidy(said[name])) for name in _LISTS & said.keys()}


_LISTS = {"features", "purposes"}


class AmendmentForm(_TermsForm):
    """The terms of a license, to be changed."""


class LicenseForm(_TermsForm):
    """The terms of a new license."""

    model = forms.ChoiceField(label=_("Model"), widget=widgets.UnfoldAdminSelectWidget())
    customer = forms.ChoiceField(label=_("Customer"), widget=widgets.UnfoldAdminSelectWidget())
    expires_at = forms.DateTimeField(
        label=_("Expires"),
        widget=forms.DateTimeInput(
            attrs={"type": "datetime-local", "class": " ".join(widgets.INPUT_CLASSES)},
            format="%Y-%m-%dT%H:%M",
        ),
    )

    field_order = ("model", "customer")

    def __init__(
        self,
        *args: Any,
        models: list[tuple[str, str]],
        customers: list[tuple[str, str]],
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        for name, offered in (("model", models), ("customer", customers)):
            self.fields[name].choices = offered  # type: ignore[attr-defined]  # a choice field
        self.fields["expires_at"].initial = timezone.localtime() + timedelta(days=365)


class RenewalForm(forms.Form):
    """The new end of a term."""

    expires_at = forms.DateTimeField(
        label=_("Expires"),
        widget=forms.DateTimeInput(
            attrs={"type": "datetime-local", "class": " ".join(widgets.INPUT_CLASSES)},
            format="%Y-%m-%dT%H:%M",
        ),
    )

    def __init__(self, *args: Any, license_: License, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        end = timezone.localtime(license_.expires_at) + timedelta(days=365)
        self.fields["expires_at"].initial = end

    def end(self) -> datetime:
        """The moment.

        Raises:
            InvalidError: `license.term_invalid`: it is none.
        """
        if not self.is_valid():
            raise InvalidError("that is no moment", code="license.term_invalid")
        end: datetime = self.cleaned_data["expires_at"]
        return end


class SuspensionForm(forms.Form):
    """Why a license rests."""

    reason = forms.ChoiceField(
        label=_("Reason"),
        choices=SuspensionReason.choices,
        widget=widgets.UnfoldAdminSelectWidget(),
    )
