"""The role matrix: complete, printed in the documents, enough for three people and an auditor."""

from pathlib import Path

import pytest

from governance.permissions import (
    CONFLICTS,
    GRANTS,
    NEEDS_APPROVAL,
    PROPOSALS,
    Permission,
    ProposalKind,
    Role,
    matrix,
)

CUSTOMERS = {Permission.PREDICT, Permission.FEEDBACK_SEND}  # not the house's
ROLES_PAGE = Path(__file__).parents[2] / "docs" / "roles.md"


def test_every_permission_has_a_row() -> None:
    assert set(GRANTS) == set(Permission)
    assert set(PROPOSALS) == set(ProposalKind)
    assert [*Permission] == sorted(Permission, key=lambda permission: permission.name)


def test_the_documents_show_this_matrix() -> None:
    assert matrix() in ROLES_PAGE.read_text()


@pytest.mark.parametrize("kind", list(ProposalKind))
def test_no_role_alone_proposes_and_approves(kind: ProposalKind) -> None:
    hands = PROPOSALS[kind]
    assert hands.approved_by
    assert not hands.proposed_by & set(hands.approved_by)
    assert len(set(hands.approved_by)) == len(hands.approved_by)


def test_every_approving_role_may_decide() -> None:
    approving = {role for hands in PROPOSALS.values() for role in hands.approved_by}
    assert approving <= GRANTS[Permission.PROPOSAL_DECIDE]


def test_what_needs_approval_is_open_to_who_proposes_it() -> None:
    for permission, kind in NEEDS_APPROVAL.items():
        assert PROPOSALS[kind].proposed_by <= GRANTS[permission]


def test_three_people_and_an_auditor_can_run_everything() -> None:
    people = [
        {Role.OFFICER},
        {Role.STEWARD, Role.ENGINEER},
        {Role.PLATFORM, Role.TENANT_ADMIN},
        {Role.AUDITOR},
    ]
    for roles in people:
        assert not any(set(pair) <= roles for pair in CONFLICTS)
    held = set[Role]().union(*people)
    for permission, granted in GRANTS.items():
        if granted and permission not in CUSTOMERS:
            assert granted & held, permission
    for hands in PROPOSALS.values():
        proposers = [person for person in people if person & hands.proposed_by]
        assert proposers
        approvers = [
            next(i for i, person in enumerate(people) if role in person)
            for role in hands.approved_by
        ]
        assert len(set(approvers)) == len(approvers)
        assert all(people[i] not in proposers for i in approvers) or len(proposers) > 1


@pytest.mark.parametrize(
    ("role", "never"),
    [
        (Role.PLATFORM, {Permission.DATASET_UPLOAD, Permission.DATASET_EXPORT,
                         Permission.REVEAL_USE, Permission.DATASET_VIEW}),
        (Role.AUDITOR, {p for p in Permission if not p.value.endswith((":view", ":export"))}),
        (Role.API_CLIENT, set(Permission) - CUSTOMERS),
        (Role.ENGINEER, {Permission.DATASET_UPLOAD, Permission.PROPOSAL_DECIDE,
                         Permission.AUDIT_EXPORT}),
    ],
)  # fmt: skip
def test_what_a_role_never_does(role: Role, never: set[Permission]) -> None:
    assert not {permission for permission in never if role in GRANTS[permission]}
