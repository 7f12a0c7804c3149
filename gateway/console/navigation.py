"""The sidebar: sections by what they are about, each shown to those whose role opens it."""

from collections.abc import Callable
from typing import Any, Final

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from gateway.console.access import house, person, roles, sees
from gateway.console.proposals import waiting_for
from governance.permissions import Permission

_WAITING: Final = "_console_waiting"


def _opened_by(permission: Permission) -> Callable[[HttpRequest], bool]:
    return lambda request: sees(request, permission)


def _item(
    title: Promise, icon: str, section: str, permission: Permission, **more: Any
) -> dict[str, Any]:
    return {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(f"admin:{section}_changelist"),
        "permission": _opened_by(permission),
        **more,
    }


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """What unfold draws; a group whose items are all hidden is hidden with them."""
    count = waiting_count(request)
    badge = {"badge": str(count), "badge_variant": "primary", "badge_style": "solid"}
    return [
        {
            "items": [
                {
                    "title": _("Overview"),
                    "icon": "space_dashboard",
                    "link": reverse_lazy("admin:index"),
                },
                _item(
                    _("Approvals"),
                    "approval_delegation",
                    "governance_proposal",
                    Permission.PROPOSAL_VIEW,
                    **(badge if count else {}),
                ),
            ]
        },
        {
            "title": _("Data"),
            "items": [
                _item(_("Datasets"), "table", "governance_dataset", Permission.DATASET_VIEW),
                _item(
                    _("Data quality"),
                    "fact_check",
                    "governance_datasetversion",
                    Permission.DATASET_VIEW,
                ),
                _item(
                    _("Releases of data"),
                    "outbox",
                    "governance_datarelease",
                    Permission.RELEASE_VIEW,
                ),
                _item(_("Sources"), "cloud_download", "governance_fetch", Permission.DATASET_VIEW),
                _item(
                    _("Recognition rules"),
                    "rule",
                    "governance_recognitionrules",
                    Permission.RULES_VIEW,
                ),
                _item(
                    _("Detector measurements"),
                    "troubleshoot",
                    "governance_detectormeasurement",
                    Permission.DETECTOR_VIEW,
                ),
            ],
        },
        {
            "title": _("Training"),
            "items": [
                _item(_("Runs"), "model_training", "training_run", Permission.RUN_VIEW),
                _item(
                    _("Privacy budgets"), "data_usage", "training_budget", Permission.BUDGET_VIEW
                ),
                _item(_("Models"), "deployed_code", "training_modelversion", Permission.MODEL_VIEW),
                _item(
                    _("Examinations"),
                    "search",
                    "training_examination",
                    Permission.EXAMINATION_VIEW,
                ),
                _item(_("Devices"), "memory", "training_devicelease", Permission.DEVICE_VIEW),
            ],
        },
        {
            "title": _("Commerce"),
            "items": [
                _item(_("Licenses"), "handshake", "gateway_license", Permission.LICENSE_VIEW),
                _item(_("API keys"), "vpn_key", "gateway_apikey", Permission.LICENSE_VIEW),
                _item(
                    _("Files of rows"), "upload_file", "gateway_callfile", Permission.LICENSE_VIEW
                ),
                _item(_("Usage"), "monitoring", "gateway_usagerollup", Permission.LICENSE_VIEW),
            ],
        },
        {
            "title": _("Audit"),
            "items": [
                _item(
                    _("Audit entries"), "receipt_long", "audit_auditentry", Permission.AUDIT_VIEW
                ),
            ],
        },
        {
            "title": _("People"),
            "items": [
                _item(
                    _("People and roles"), "group", "governance_rolebinding", Permission.PEOPLE_VIEW
                ),
            ],
        },
    ]


def waiting_count(request: HttpRequest) -> int:
    """How many approvals wait for the reader; counted once a page."""
    if not roles(request):
        return 0
    counted = request.__dict__
    if _WAITING not in counted:
        counted[_WAITING] = len(waiting_for(person(request)))
    return int(counted[_WAITING])


def tenant_name(request: HttpRequest) -> str:
    """For whom the reader acts, below the product's name."""
    return house(request).name if roles(request) else ""


def stylesheet(_request: HttpRequest) -> str:
    """Our own styles, after unfold's."""
    return static("console/console.css")


def favicon(_request: HttpRequest) -> str:
    """The browser tab's icon."""
    return static("console/icon.svg")
