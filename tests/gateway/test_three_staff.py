"""Three people and an outside auditor run the whole main job; every right comes from an action."""

from datetime import timedelta
from pathlib import Path

import pytest
from django.test import Client
from django.utils import timezone

from audit.keys import ensure_keys, log_verifier
from audit.reports.verification import Result, verify
from audit.sequencer import sequence_once
from gateway.actions.keys import issue_key
from gateway.actions.licenses import issue_license
from gateway.demo.people import SUBJECT, TARGET, csv_pieces
from gateway.demo.story import DECLARED, FEATURES
from governance import approvals, leases
from governance.actions import people, tenants
from governance.actions.datasets import Declared
from governance.actions.evidence import grant_bundle
from governance.actions.proposals import approve_proposal
from governance.intake import Incoming, take_in
from governance.models import DatasetVersion, Tenant, User
from governance.permissions import ProposalKind, Role
from governance.rbac import UserActor
from governance.scoping import tenant_scope
from tests.factories.people import PASSWORD
from training.actions.models import propose_release
from training.actions.runs import request_run
from training.models import ModelVersion, RunState

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("home")]

PURPOSE = "credit-risk-scoring"
ROWS = 400


def hired(house: Tenant, username: str, *roles: Role) -> UserActor:
    """Added by the platform admin, with roles that the officer agreed to."""
    founders = {
        name: UserActor(User.objects.get(username=name).id, house.id) for name in ("olga", "pat")
    }
    user = User.objects.filter(username=username).first() or people.create_user(
        founders["pat"], house, username=username, password=PASSWORD
    )
    for role in roles:
        proposal = people.propose_role(founders["pat"], house, user=user, role=role, tenant=house)
        approve_proposal(founders["olga"], proposal)
    return UserActor(user.id, house.id)


def test_three_people_and_an_auditor_run_everything(tmp_path: Path) -> None:
    ensure_keys()
    house = people.bootstrap(
        people.BOOTSTRAP, None, tenant_slug="house", tenant_name="House", officer="olga",
        officer_password=PASSWORD, platform="pat", platform_password=PASSWORD,
    )  # fmt: skip
    with tenant_scope(house.id):
        olga = UserActor(User.objects.get(username="olga").id, house.id)
        sam = hired(house, "sam", Role.STEWARD, Role.ENGINEER)
        pat = hired(house, "pat", Role.TENANT_ADMIN)
        aud = hired(house, "aud", Role.AUDITOR)
        tenants.declare_purpose(olga, house, slug=PURPOSE, title="Scoring", legal_basis="contract")

        with leases.doing_it_here():
            dataset = take_in(
                sam, house, [Incoming(csv_pieces(count=ROWS))],
                Declared("adult", (PURPOSE,), subject_column=SUBJECT, declarations=DECLARED),
            )  # fmt: skip
            leases.run_here(dataset.reference)
            plan = approvals.latest(ProposalKind.COLUMN_PLAN, dataset)
            assert plan is not None
            approve_proposal(olga, plan)
            leases.run_here(dataset.reference)
            sealed = DatasetVersion.objects.get(dataset=dataset)

            run = request_run(
                sam, sealed, target=TARGET, purpose=PURPOSE, epsilon="1", name="income"
            )
            leases.run_here(run.reference)
            run.refresh_from_db()
        assert run.state == RunState.FINISHED, run.error_code
        version = ModelVersion.objects.get(run=run)

        release = propose_release(sam, version)
        approve_proposal(olga, release)
        approve_proposal(pat, release)

        customer = tenants.create_tenant(pat, house, slug="acme", name="Acme", customer=True)
        license_ = issue_license(
            pat, version.model, customer=customer, features=["predict", "explain"],
            purposes=[PURPOSE], quota=10, expires_at=timezone.now() + timedelta(days=1),
        )  # fmt: skip
        secret = issue_key(pat, license_, name="first").secret

    row = dict.fromkeys(FEATURES)
    answer = Client().post(
        "/api/v1/models/income/explain",
        {"row": row},
        content_type="application/json",
        headers={"Authorization": f"Bearer {secret}"},
    )
    assert answer.status_code == 200, answer.content
    assert answer.json()["guarantee"] == "dp"

    sequence_once()
    with tenant_scope(house.id):
        grant_bundle(aud, house).write(tmp_path / "bundle.zip")
    verdict = verify(tmp_path / "bundle.zip", trusted=[log_verifier()])
    assert verdict.result is Result.VERIFIED
