"""What exactly is approved: a proposal's payload, line by line, in words and with links."""

import uuid
from dataclasses import dataclass
from typing import Any

from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as _

from gateway.console import words
from governance import approvals
from governance.models import Dataset, DatasetVersion, Proposal, Tenant, User
from governance.permissions import ProposalKind
from training.models import Budget, ModelVersion, Run


@dataclass(frozen=True)
class Line:
    """One thing that is said: its name, its value, and where to read more."""

    name: str
    value: str
    link: str = ""
    code: bool = False  # a digest or an id, to be set in a fixed width


def subject_of(proposal: Proposal) -> Line:
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
        case "grant":
            payload = approvals.payload_of(proposal)
            return Line(name, f"{_person(payload['user'])} · {_role(payload['role'])}")
    return Line(name, proposal.subject, code=True)


def readable(proposal: Proposal) -> list[Line]:
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


def _run_lines(payload: dict[str, Any]) -> list[Line]:
    version = _find(DatasetVersion, payload["version"])
    return [
        Line(_("Dataset version"), str(version or payload["version"])),
        Line(_("Purpose"), payload["purpose"]),
        Line(_("Target"), payload["target"]),
        Line(_("Guarantee"), payload["guarantee"]),
        Line(_("ε asked"), payload["epsilon"]),
        Line(_("Attempt"), str(payload["attempt"])),
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
