"""Devices: which GPUs are leased, and to which of the reader's own runs."""

from typing import Any, Final

from django.contrib import admin
from django.db.models import QuerySet
from django.http import Http404, HttpRequest
from django.utils.translation import gettext_lazy as _

from gateway.bindings import scoped_read
from gateway.console import words
from gateway.console.access import person
from gateway.console.sections import Section
from governance.models import Job
from governance.permissions import Permission
from training.distributed.occupancy import Device, Use, occupancy
from training.models import DeviceLease, Run

USES: Final[words.Words] = {
    Use.FREE.value: _("free"),
    Use.BUSY.value: _("busy"),
    Use.SILENT.value: _("worker silent"),
}


@admin.register(DeviceLease)
class Devices(Section):
    """GPUs by machine; of another tenant's job it is shown that a device is busy, not whose."""

    requires = Permission.DEVICE_VIEW
    template = "console/device.html"
    change_list_template = "console/devices.html"
    title = _("Devices")
    list_display = ("host", "device")
    ordering = ("host", "device")

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Any]":  # noqa: ARG002 - of no tenant
        """Every row: a machine is of no tenant."""
        return DeviceLease.objects.order_by(*self.ordering)

    @scoped_read(Job, Run)
    def list_context(self, request: HttpRequest) -> dict[str, Any]:
        """Every device, and what this reader may know of it."""
        return {"devices": [_told(one) for one in occupancy(person(request))]}

    def one(self, request: HttpRequest, object_id: str) -> DeviceLease:
        """The device that an address names.

        Raises:
            Http404: there is none.
        """
        rows = self.get_queryset(request)
        found: DeviceLease | None = (
            rows.filter(pk=object_id).first() if object_id.isdecimal() else None
        )
        if found is None:
            raise Http404("there is no such device")
        return found

    @scoped_read(Job, Run)
    def context(self, request: HttpRequest, row: DeviceLease) -> dict[str, Any]:
        """The one device."""
        told = [
            _told(one)
            for one in occupancy(person(request))
            if (one.host, one.number) == (row.host, row.device)
        ]
        return {"devices": told}


def _told(device: Device) -> tuple[Device, str]:
    return device, words.word(USES, device.use.value)
