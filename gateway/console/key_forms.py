"""The forms about API keys. As everywhere, they shape input; the actions judge it."""

import secrets
from collections.abc import Collection
from datetime import timedelta
from typing import Any, Final

from django import forms
from django.utils.translation import gettext_lazy as _
from unfold import widgets

from gateway.actions.keys import LONGEST_OVERLAP, OVERLAP, Keep
from gateway.console import words
from gateway.models import Feature, KeyMode
from gateway.scopes import SCOPES

_HOUR: Final = timedelta(hours=1)


class KeyForm(forms.Form):
    """What a new key is for."""

    name = forms.CharField(
        label=_("Name"),
        max_length=80,
        widget=widgets.UnfoldAdminTextInputWidget(),
        help_text=_("What people call it; it stays out of the log."),
    )
    mode = forms.ChoiceField(
        label=_("Mode"), choices=KeyMode.choices, widget=widgets.UnfoldAdminSelectWidget()
    )
    scopes = forms.MultipleChoiceField(
        label=_("May be used for"),
        required=False,
        widget=widgets.UnfoldAdminCheckboxSelectMultipleWidget(),
        help_text=_("Nothing chosen: all that the license allows."),
    )
    addresses = forms.CharField(
        label=_("May be used from"),
        required=False,
        max_length=2000,
        widget=widgets.UnfoldAdminTextInputWidget(),
        help_text=_("Networks such as 192.0.2.0/24, between commas; empty: from anywhere."),
    )

    def __init__(
        self, *args: Any, charged_only: bool, features: Collection[str], **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        if charged_only:
            live = [(KeyMode.LIVE.value, KeyMode.LIVE.label)]
            self.fields["mode"].choices = live  # type: ignore[attr-defined]  # a choice field
        beyond = set(Feature.values) - set(features)
        self.fields["scopes"].choices = [  # type: ignore[attr-defined]  # as above
            (scope, words.word(words.SCOPES, scope)) for scope in SCOPES if scope not in beyond
        ]


class RotationForm(forms.Form):
    """How long the old secret stays good, and which one where there are two."""

    overlap_hours = forms.IntegerField(
        label=_("Hours for which the old secret stays good"),
        min_value=0,
        max_value=LONGEST_OVERLAP // _HOUR,
        initial=OVERLAP // _HOUR,
        widget=widgets.UnfoldAdminIntegerFieldWidget(),
    )
    keep = forms.ChoiceField(
        label=_("Which secret stays"),
        choices=[
            (Keep.CURRENT.value, _("the newest one")),
            (Keep.PREVIOUS.value, _("the one before it: the newest never reached who calls")),
        ],
        widget=widgets.UnfoldAdminSelectWidget(),
    )
    # Of the page: a form that is sent twice rotates once.
    request = forms.RegexField(r"^[0-9a-f]{32}$", widget=forms.HiddenInput())

    def __init__(self, sent: Any = None, *, choice: bool) -> None:
        super().__init__(sent, initial={"request": secrets.token_hex(16)})
        if not choice:
            del self.fields["keep"]

    @property
    def overlap(self) -> timedelta:
        """As the action takes it; the form is valid."""
        hours: int = self.cleaned_data["overlap_hours"]
        return hours * _HOUR
