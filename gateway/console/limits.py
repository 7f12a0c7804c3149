"""Limits, on the page of a license: those that bind its calls, with their use, set and lifted."""

from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold import widgets

from gateway.actions.limits import Limited, Wanted, lift_limit, set_limit
from gateway.bindings import binds_action
from gateway.console.access import person
from gateway.console.sections import Section
from gateway.models import License, Limit, LimitPeriod, LimitScope
from gateway.quotas import binding, used_now
from governance.errors import InvalidError
from governance.lookup import find, own_tenant
from governance.permissions import Permission


def _number(label: Any) -> forms.IntegerField:
    return forms.IntegerField(
        label=label,
        min_value=1,
        max_value=2**53 - 1,
        required=False,
        widget=widgets.UnfoldAdminIntegerFieldWidget(),
    )


class LimitForm(forms.Form):
    """A rate, a quota, or both: of this license, its customer, its model, or one of its keys."""

    of = forms.ChoiceField(label=_("Limit of"), widget=widgets.UnfoldAdminSelectWidget())
    rate = _number(_("Calls a second"))
    burst = _number(_("Calls at once"))
    quota = _number(_("Quota of units"))
    period = forms.ChoiceField(
        label=_("Begins anew"),
        choices=LimitPeriod.choices,
        widget=widgets.UnfoldAdminSelectWidget(),
    )

    def __init__(self, license_: License, *args: Any) -> None:
        super().__init__(*args)
        self.offered: dict[str, Limited] = {
            LimitScope.LICENSE.value: license_,
            LimitScope.CUSTOMER.value: license_.customer,
            LimitScope.MODEL.value: license_.model,
            **{key.public_id: key for key in license_.keys.all()},
        }
        labels = {scope.value: scope.label for scope in LimitScope}
        self.fields["of"].choices = [  # type: ignore[attr-defined]  # a choice field
            (name, labels.get(name) or f"{labels['key']} {name}") for name in self.offered
        ]

    def wanted(self) -> tuple[Limited, Wanted]:
        """What is to be limited, and how.

        Raises:
            InvalidError: `request.invalid`.
        """
        if not self.is_valid():
            raise InvalidError("a field is missing or wrong", code="request.invalid")
        said = dict(self.cleaned_data)
        return self.offered[said.pop("of")], Wanted(**said)


def limits_of(request: HttpRequest, license_: License) -> dict[str, Any]:
    """What the page shows of limits, and the form for who may set them."""
    actor = person(request)
    visible = binding(license_, Limit.objects.visible_to(actor))
    own = actor.tenant_id == license_.tenant_id
    may = own and actor.may(Permission.LICENSE_ISSUE, license_).allowed
    return {
        "limits": [(limit, used_now(limit)) for limit in visible],
        "limit_form": LimitForm(license_) if may else None,
    }


class LimitDoors(Section):
    """The buttons of a license's page that are about limits."""

    @binds_action(set_limit)
    def limit(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Set a limit, in the place of the one that there is."""
        license_: License = self.one(request, object_id)

        def do() -> None:
            of, wanted = LimitForm(license_, request.POST).wanted()
            set_limit(person(request), own_tenant(person(request)), of=of, wanted=wanted)

        return self.act(request, license_, do, gettext("The limit is set."))

    @binds_action(lift_limit)
    def lift(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Take a limit away."""
        license_: License = self.one(request, object_id)

        def do() -> None:
            lift_limit(person(request), find(person(request), Limit, request.POST.get("limit", "")))

        return self.act(request, license_, do, gettext("The limit is lifted."))
