"""What exactly is approved: a proposal's payload, line by line, in words and with links."""

import uuid
from dataclasses import dataclass
from typing import Any

from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as _

from gateway.console import words
from gateway.console.plans import notice_of
from gateway.console.sentences import sentence
from governance import approvals
from governance.models import ColumnPlanVersion, Dataset, DatasetVersion, Proposal, Tenant, User
from governance.models.releases import RecipientClass
from governance.permissions import ProposalKind
from governance.recognition.plan import ColumnPlan, PlanError
from governance.recognition_rules import current_version
from training.members import standing_ensembles
from training.models import Budget, ModelVersion, Run


@dataclass(frozen=True)
class Line:
    """One thing that is said: its name, its value, and where to read more."""

    name: str
    value: str
    link: str = ""
    code: bool = False  # a digest or an id, to be set in a fixed width


def subject_of(proposal: Proposal) -> Line:  # noqa: PLR0911 - one a kind
    """What a proposal is about, by the name that people know it by."""
    kind, _sep, key = proposal.subject.partition(":")
    name = words.word(words.PROPOSALS, proposal.kind)
    match kind:
        case "dataset":
            row = _find(Dataset, key)
            return _linked(name, row, "governance_dataset")
        case "budget":
            budget = _find(Budget, key)
            return _linked(name, budget and budget.dataset, "training_budget", key)
        case "run":
            run = _find(Run, key)
            return _linked(name, run and run.model_name, "training_run", key)
        case "modelversion":
            return _linked(name, _find(ModelVersion, key), "training_modelversion", key)
        case "datarelease":
            payload = approvals.payload_of(proposal)
            version = _find(DatasetVersion, payload["version"])
            return Line(name, f"{version or payload['version']} → {payload['recipient']}")
        case "grant":
            payload = approvals.payload_of(proposal)
            return Line(name, f"{_person(payload['user'])} · {_role(payload['role'])}")
    return Line(name, proposal.subject, code=True)


def warnings_of(proposal: Proposal) -> list[str]:
    """What must not be overlooked at the decision: special categories, decisions open again.

    Of a rollback: what is withdrawn with the version.
    """
    if proposal.kind == ProposalKind.MODEL_ROLLBACK.value:
        version = _find(ModelVersion, approvals.payload_of(proposal)["model_version"])
        held = [] if version is None else [str(one) for one in standing_ensembles(version)]
        told = _("Ensembles that are withdrawn with it: %(named)s") % {"named": ", ".join(held)}
        return [told] if held else []
    if proposal.kind != ProposalKind.COLUMN_PLAN.value:
        return []
    payload = approvals.payload_of(proposal)
    stored = ColumnPlanVersion.objects.filter(
        dataset_id=payload["dataset"], number=payload["number"]
    ).first()
    if stored is None:
        return []
    try:
        plan = ColumnPlan.from_dict(stored.as_json())
    except PlanError:
        return []
    notice = notice_of(plan, current_version(proposal.tenant))
    said = []
    if notice.undeclared:
        named = "; ".join(f"{name} ({columns})" for name, _laws, columns in notice.undeclared)
        said.append(_("Special categories that nobody declared: %(named)s") % {"named": named})
    if notice.reopened:
        columns = ", ".join(notice.reopened)
        said.append(
            _("Decisions of people that should be looked at again: %(columns)s")
            % {"columns": columns}
        )
    if notice.rules_changed:
        said.append(_("The tenant's own rules have changed since: read the file anew first."))
    return said


def readable(proposal: Proposal) -> list[Line]:  # noqa: PLR0911 - one a kind
    """The payload of a proposal in words."""
    payload = approvals.payload_of(proposal)
    match ProposalKind(proposal.kind):
        case ProposalKind.COLUMN_PLAN:
            dataset = _find(Dataset, payload["dataset"])
            return [
                _linked(_("Dataset"), dataset, "governance_dataset"),
                Line(_("Number of the plan"), str(payload["number"])),
                Line(_("Digest of the plan"), payload["plan"], code=True),
            ]
        case ProposalKind.DATA_RELEASE:
            return _release_lines(payload)
        case ProposalKind.EPSILON_CAP:
            return [
                Line(_("Cap until now"), f"ε = {payload['before']}"),
                Line(_("Cap proposed"), f"ε = {payload['epsilon_cap']}"),
            ]
        case ProposalKind.MODEL_RELEASE:
            return [
                _linked(
                    _("Model version"),
                    _find(ModelVersion, payload["version"]),
                    "training_modelversion",
                    payload["version"],
                ),
                Line(_("Guarantee"), payload["guarantee"]),
                Line(_("Digest of the weights"), payload["artifact"], code=True),
                Line(_("Digest of the card"), payload["card"], code=True),
            ]
        case ProposalKind.MODEL_RETRAINING | ProposalKind.MODEL_ROLLBACK:
            return _remedy_lines(payload)
        case ProposalKind.RUN_ADMISSION | ProposalKind.RUN_WAIVER:
            return _run_lines(payload)
        case ProposalKind.ROLE_GRANT:
            tenant = Tenant.objects.filter(pk=payload["tenant"]).first()
            return [
                Line(_("Person"), _person(payload["user"])),
                Line(_("Role"), _role(payload["role"])),
                Line(_("Tenant"), str(tenant or payload["tenant"])),
            ]
        case ProposalKind.REVEAL:
            return [
                Line(_("Entity"), payload["entity"], code=True),
                Line(_("Reason"), payload["reason"]),
                Line(_("Tokens"), str(len(payload["tokens"]))),
            ]


def _release_lines(payload: dict[str, Any]) -> list[Line]:
    version = _find(DatasetVersion, payload["version"])
    measures = payload["measures"]
    kind = RecipientClass(payload["recipient_class"]).label
    quasi = [f"{column}: {level}" for column, level in sorted(measures["quasi"].items())]
    figures = [f"{name} = {measures[name]}" for name in ("k", "l", "t") if name in measures]
    return [
        Line(_("Dataset version"), str(version or payload["version"])),
        Line(_("Recipient"), f"{payload['recipient']} ({kind})"),
        Line(_("Generalized columns"), " · ".join(quasi)),
        Line(_("Sensitive columns"), " · ".join(measures["sensitive"]) or "–"),
        Line(_("Columns as they are"), " · ".join(measures["as_is"]) or "–"),
        Line(_("Measures"), " · ".join(figures)),
        Line(_("Rows"), str(payload["rows"])),
        Line(_("Rows left out"), str(payload["suppressed"])),
        Line(_("Level"), words.word(words.LEVELS, str(payload["level"]))),
        Line(_("Reasons"), " ".join(sentence(code) for code in payload["reasons"])),
    ]


def _remedy_lines(payload: dict[str, Any]) -> list[Line]:
    """A retraining or a rollback: what was found, and what would be done."""
    said = [
        _linked(
            _("Model version"),
            _find(ModelVersion, payload["model_version"]),
            "training_modelversion",
            payload["model_version"],
        ),
        Line(_("Window"), str(payload["window"])),
        Line(_("Finding"), words.word(words.FINDINGS, payload["finding"])),
    ]
    if "plan" in payload:
        return [*said, *_run_lines({"version": payload["dataset_version"], **payload})]
    after = payload["to"] and _find(ModelVersion, payload["to"])
    return [
        *said,
        Line(_("Why not trained again"), sentence(payload["because"])),
        Line(_("Served afterwards"), str(after or payload["to"] or _("no version"))),
        Line(_("Digest of the weights"), payload["artifact"], code=True),
    ]


def _run_lines(payload: dict[str, Any]) -> list[Line]:
    version = _find(DatasetVersion, payload["version"])
    run = _find(Run, payload["run"])
    members = [] if run is None else run.config_json().get("members", [])
    return [
        Line(_("Dataset version"), str(version or payload["version"])),
        Line(_("Purpose"), payload["purpose"]),
        Line(_("Target"), payload["target"]),
        *([Line(_("Members"), ", ".join(members))] if members else []),
        Line(_("Guarantee"), payload["guarantee"]),
        Line(_("ε asked"), payload["epsilon"]),
        Line(_("Attempt"), str(payload.get("attempt", 1))),
        Line(_("Digest of the configuration"), payload["config"], code=True),
        Line(_("Digest of the plan"), payload["plan"], code=True),
    ]


def _find(model: Any, key: str) -> Any:
    """A row of the open scope by its id; None where it is not to be seen."""
    try:
        return model.objects.filter(pk=uuid.UUID(key)).first()
    except ValueError:
        return None


def _linked(name: str, row: Any, address: str, key: str = "") -> Line:
    if row is None or row == "":
        return Line(name, key or "–", code=bool(key))
    try:
        link = reverse(f"admin:{address}_change", args=[key or row.pk])
    except NoReverseMatch:
        link = ""
    return Line(name, str(row), link)


def _person(key: str) -> str:
    user = User.objects.filter(pk=key).first()
    return key if user is None else user.get_username()


def _role(value: str) -> str:
    return words.word(words.ROLES, value)
