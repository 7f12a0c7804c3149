"""What can be done, and who may do it: the role matrix as data.

`GRANTS` says which roles may do an act by themselves. `PROPOSALS` says, for what needs a second
pair of eyes, who proposes and which roles must each approve; each approval is by a different
person, none of them the proposer. The table in docs/roles.md is printed from here and a test
compares the two.
"""

from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final


@unique
class Role(StrEnum):
    """What a person is to a tenant."""

    STEWARD = "steward"
    OFFICER = "officer"
    ENGINEER = "engineer"
    AUDITOR = "auditor"
    TENANT_ADMIN = "tenant_admin"
    API_CLIENT = "api_client"
    PLATFORM = "platform"


@unique
class Permission(StrEnum):
    """Every act that an action may require, in alphabetical order."""

    AUDIT_EXPORT = "audit:export"
    AUDIT_VIEW = "audit:view"
    BUDGET_PROPOSE = "budget:propose"
    BUDGET_VIEW = "budget:view"
    COST_VIEW = "cost:view"
    DATASET_ANONYMIZE = "dataset:anonymize"
    DATASET_APPEND = "dataset:append"
    DATASET_EXPORT = "dataset:export"
    DATASET_FINISH = "dataset:finish"
    DATASET_PREVIEW = "dataset:preview"
    DATASET_RELEASE_PROPOSE = "dataset:release_propose"
    DATASET_SYNTHESIZE = "dataset:synthesize"
    DATASET_UPLOAD = "dataset:upload"
    DATASET_VIEW = "dataset:view"
    DETECTOR_MEASURE = "detector:measure"
    DETECTOR_VIEW = "detector:view"
    DEVICE_VIEW = "device:view"
    EXAMINATION_FINISH = "examination:finish"
    EXAMINATION_REQUEST = "examination:request"
    EXAMINATION_VIEW = "examination:view"
    FEEDBACK_SEND = "feedback:send"
    KEY_ISSUE = "key:issue"
    KEY_REVOKE = "key:revoke"
    KEY_ROTATE = "key:rotate"
    LICENSE_AMEND = "license:amend"
    LICENSE_EXPORT = "license:export"
    LICENSE_ISSUE = "license:issue"
    LICENSE_RENEW = "license:renew"
    LICENSE_REVOKE = "license:revoke"
    LICENSE_SUSPEND = "license:suspend"
    LICENSE_VIEW = "license:view"
    MODEL_EXPORT = "model:export"
    MODEL_RELEASE_PROPOSE = "model:release_propose"
    MODEL_VIEW = "model:view"
    MODEL_WATCH = "model:watch"
    MODEL_WITHDRAW = "model:withdraw"
    PEOPLE_BOOTSTRAP = "people:bootstrap"
    PEOPLE_CREATE = "people:create"
    PEOPLE_DEACTIVATE = "people:deactivate"
    PEOPLE_VIEW = "people:view"
    PLAN_AMEND = "plan:amend"
    PREDICT = "model:predict"
    PROPOSAL_DECIDE = "proposal:decide"
    PROPOSAL_VIEW = "proposal:view"
    PURPOSE_DECLARE = "purpose:declare"
    QUALITY_CHECK = "quality:check"
    QUALITY_SET = "quality:set"
    RELEASE_VIEW = "release:view"
    REVEAL_PROPOSE = "reveal:propose"
    REVEAL_USE = "reveal:use"
    ROLE_PROPOSE = "role:propose"
    ROLE_REVOKE = "role:revoke"
    RULES_ADD = "rules:add"
    RULES_TRY = "rules:try"
    RULES_VIEW = "rules:view"
    RUN_CANCEL = "run:cancel"
    RUN_FINISH = "run:finish"
    RUN_PRIORITIZE = "run:prioritize"
    RUN_REQUEST = "run:request"
    RUN_VIEW = "run:view"
    STATEMENT_EXPORT = "statement:export"
    TENANT_CREATE = "tenant:create"
    TENANT_VIEW = "tenant:view"


_S, _O, _E, _A = Role.STEWARD, Role.OFFICER, Role.ENGINEER, Role.AUDITOR
_T, _C, _P = Role.TENANT_ADMIN, Role.API_CLIENT, Role.PLATFORM

GRANTS: Final[dict[Permission, frozenset[Role]]] = {
    Permission.AUDIT_EXPORT: frozenset({_O, _A, _T}),
    Permission.AUDIT_VIEW: frozenset({_O, _A, _T}),
    Permission.BUDGET_PROPOSE: frozenset({_S}),
    Permission.BUDGET_VIEW: frozenset({_S, _O, _E, _A, _T}),
    Permission.COST_VIEW: frozenset({_O, _E, _A, _T, _P}),
    Permission.DATASET_ANONYMIZE: frozenset({_S}),
    Permission.DATASET_APPEND: frozenset({_S, _T}),
    Permission.DATASET_EXPORT: frozenset({_S, _O, _E, _A, _T}),
    Permission.DATASET_FINISH: frozenset(),  # the ingest worker's alone
    Permission.DATASET_PREVIEW: frozenset({_S, _T}),
    Permission.DATASET_RELEASE_PROPOSE: frozenset({_S}),
    Permission.DATASET_SYNTHESIZE: frozenset({_E}),
    Permission.DATASET_UPLOAD: frozenset({_S, _T}),
    Permission.DATASET_VIEW: frozenset({_S, _O, _E, _A, _T}),
    Permission.DETECTOR_MEASURE: frozenset({_S, _P}),
    Permission.DETECTOR_VIEW: frozenset({_S, _O, _E, _A, _T, _P}),
    # How busy the machines are; what has a device is told within one's own tenant.
    Permission.DEVICE_VIEW: frozenset({_E, _T, _P}),
    Permission.EXAMINATION_FINISH: frozenset(),  # the examining worker's alone
    # Who trains, and who answers for what is promised; an auditor reads, and spends nothing.
    Permission.EXAMINATION_REQUEST: frozenset({_O, _E}),
    # Figures may be exact where rows are public or a guarantee was waived: who may export rows.
    Permission.EXAMINATION_VIEW: frozenset({_S, _O, _E, _A, _T}),
    Permission.FEEDBACK_SEND: frozenset({_C}),
    Permission.KEY_ISSUE: frozenset({_P, _T}),
    Permission.KEY_REVOKE: frozenset({_P, _T}),
    Permission.KEY_ROTATE: frozenset({_P}),
    Permission.LICENSE_AMEND: frozenset({_P}),
    Permission.LICENSE_EXPORT: frozenset({_P, _T}),
    Permission.LICENSE_ISSUE: frozenset({_P}),
    Permission.LICENSE_RENEW: frozenset({_P}),
    Permission.LICENSE_REVOKE: frozenset({_P}),
    Permission.LICENSE_SUSPEND: frozenset({_P}),
    Permission.LICENSE_VIEW: frozenset({_O, _A, _T, _P}),
    Permission.MODEL_EXPORT: frozenset({_E}),
    Permission.MODEL_RELEASE_PROPOSE: frozenset({_E}),
    Permission.MODEL_VIEW: frozenset({_S, _O, _E, _A, _T, _P}),
    Permission.MODEL_WATCH: frozenset(),  # the watch's alone
    Permission.MODEL_WITHDRAW: frozenset({_O, _E, _T, _P}),
    Permission.PEOPLE_BOOTSTRAP: frozenset(),  # the recorded bootstrap's alone
    Permission.PEOPLE_CREATE: frozenset({_P, _T}),
    Permission.PEOPLE_DEACTIVATE: frozenset({_P, _T, _O}),
    Permission.PEOPLE_VIEW: frozenset({_O, _A, _T, _P}),
    Permission.PLAN_AMEND: frozenset({_S}),
    Permission.PREDICT: frozenset({_C}),
    Permission.PROPOSAL_DECIDE: frozenset({_O, _T}),
    Permission.PROPOSAL_VIEW: frozenset({_S, _O, _E, _A, _T, _P}),
    Permission.PURPOSE_DECLARE: frozenset({_O}),
    Permission.QUALITY_CHECK: frozenset({_S, _E}),
    Permission.QUALITY_SET: frozenset({_S}),
    Permission.RELEASE_VIEW: frozenset({_S, _O, _A, _T}),
    Permission.REVEAL_PROPOSE: frozenset({_S}),
    Permission.REVEAL_USE: frozenset({_S}),
    Permission.ROLE_PROPOSE: frozenset({_P}),
    Permission.ROLE_REVOKE: frozenset({_O, _P}),
    Permission.RULES_ADD: frozenset({_S}),
    Permission.RULES_TRY: frozenset({_S}),
    Permission.RULES_VIEW: frozenset({_S, _O, _A, _T}),
    Permission.RUN_CANCEL: frozenset({_O, _E, _T, _P}),
    Permission.RUN_FINISH: frozenset(),  # the training worker's alone
    Permission.RUN_PRIORITIZE: frozenset({_T}),
    Permission.RUN_REQUEST: frozenset({_E}),
    Permission.RUN_VIEW: frozenset({_S, _O, _E, _A, _T}),
    Permission.STATEMENT_EXPORT: frozenset({_O, _A, _T, _P}),
    Permission.TENANT_CREATE: frozenset({_P}),
    Permission.TENANT_VIEW: frozenset({_O, _A, _T, _P}),
}


@unique
class ProposalKind(StrEnum):
    """What is proposed by one and decided by others."""

    COLUMN_PLAN = "column_plan"
    DATA_RELEASE = "data_release"
    EPSILON_CAP = "epsilon_cap"
    MODEL_RELEASE = "model_release"
    MODEL_RETRAINING = "model_retraining"
    MODEL_ROLLBACK = "model_rollback"
    REVEAL = "reveal"
    ROLE_GRANT = "role_grant"
    RUN_ADMISSION = "run_admission"
    RUN_WAIVER = "run_waiver"


@dataclass(frozen=True)
class TwoHands:
    """Who proposes, and the roles of which each must be filled by another person's approval."""

    proposed_by: frozenset[Role]
    approved_by: tuple[Role, ...]


PROPOSALS: Final[dict[ProposalKind, TwoHands]] = {
    ProposalKind.COLUMN_PLAN: TwoHands(frozenset({_S}), (_O,)),
    ProposalKind.DATA_RELEASE: TwoHands(frozenset({_S}), (_O,)),
    ProposalKind.EPSILON_CAP: TwoHands(frozenset({_S}), (_O, _T)),
    ProposalKind.MODEL_RELEASE: TwoHands(frozenset({_E}), (_O, _T)),
    # The watch proposes these two in the name of the engineer who asked for the version's run.
    ProposalKind.MODEL_RETRAINING: TwoHands(frozenset({_E}), (_O, _T)),
    ProposalKind.MODEL_ROLLBACK: TwoHands(frozenset({_E}), (_O, _T)),
    ProposalKind.REVEAL: TwoHands(frozenset({_S}), (_O, _T)),
    ProposalKind.ROLE_GRANT: TwoHands(frozenset({_P}), (_O,)),
    ProposalKind.RUN_ADMISSION: TwoHands(frozenset({_E}), (_O, _T)),
    ProposalKind.RUN_WAIVER: TwoHands(frozenset({_E}), (_O, _T)),
}

# An act that a role alone does not open: there must be a complete, fresh, unused proposal of this
# kind.
NEEDS_APPROVAL: Final[dict[Permission, ProposalKind]] = {
    Permission.DATASET_ANONYMIZE: ProposalKind.COLUMN_PLAN,
    Permission.REVEAL_USE: ProposalKind.REVEAL,
}

# Two roles that one person must not hold together, whatever the tenant (a database trigger holds
# it). The auditor stands outside; who operates the platform never opens data; who trains does not
# set the limits.
CONFLICTS: Final[tuple[tuple[Role, Role], ...]] = (
    (_A, _S), (_A, _O), (_A, _E), (_A, _T), (_A, _C), (_A, _P),
    (_O, _E),
    (_P, _S),
)  # fmt: skip


def matrix() -> str:
    """The role matrix as Markdown: docs/roles.md holds it, and a test compares the two."""
    roles = list(Role)
    head = "| | " + " | ".join(role.value for role in roles) + " |"
    lines = [head, "|---" * (len(roles) + 1) + "|"]
    for permission in Permission:
        cells = ["✓" if role in GRANTS[permission] else "" for role in roles]
        lines.append(f"| `{permission.value}` | " + " | ".join(cells) + " |")
    lines += ["", head, "|---" * (len(roles) + 1) + "|"]
    for kind, hands in PROPOSALS.items():
        cells = [
            "proposes"
            if role in hands.proposed_by
            else "approves"
            if role in hands.approved_by
            else ""
            for role in roles
        ]
        lines.append(f"| `{kind.value}` | " + " | ".join(cells) + " |")
    pairs = ", ".join(f"{one.value} and {other.value}" for one, other in CONFLICTS)
    return "\n".join([*lines, "", f"Never held by one person: {pairs}.", ""])
