"""Each button calls one action: who may, what it does, how it refuses."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.utils import timezone

from audit.models import AuditEntry
from governance import leases
from governance.models import ColumnPlanVersion, Part, Proposal, RoleBinding
from governance.scoping import across_tenants
from tests.factories.console import World
from training.models import ModelVersion, Run


@dataclass(frozen=True)
class Button:
    """A form that posts: where, what, who may, what is recorded, and what is true afterwards."""

    address: Callable[[World], str]
    who: str
    refused: str
    event: str
    holds: Callable[[World], bool]
    data: dict[str, str] = field(default_factory=dict)
    code: str = "permission.role_missing"


def _of(section: str, row: Callable[[World], Any], act: str) -> Callable[[World], str]:
    return lambda world: f"/admin/{section}/{row(world).pk}/{act}/"


def _now(row: Any) -> Any:
    with across_tenants(reason="a test looks"):
        return type(row).objects.get(pk=row.pk)


BUTTONS = {
    "approve": Button(
        _of("governance/proposal", lambda w: w.proposal, "approve"),
        "officer", "steward", "proposal.approved",
        lambda w: _now(w.dataset).state == "approved",
    ),
    "reject": Button(
        _of("governance/proposal", lambda w: w.proposal, "reject"),
        "officer", "auditor", "proposal.rejected",
        lambda w: _now(w.dataset).state == "rejected",
    ),
    "amend": Button(
        _of("governance/dataset", lambda w: w.dataset, "amend"),
        "steward", "officer", "dataset.plan_amended",
        lambda _: _count(ColumnPlanVersion, number=3) == 1,
        data={"kind-1": "typed", "entity-1": "PERSON", "operator-1": "redact"},
    ),
    "reread": Button(
        _of("governance/dataset", lambda w: w.dataset, "reread"),
        "steward", "officer", "dataset.reread",
        lambda _: _count(Part, encoding_override="gbk") == 1,
        data={"encoding": "gbk"},
    ),
    "cancel": Button(
        _of("training/run", lambda w: w.run, "cancel"),
        "engineer", "steward", "run.cancel_asked",
        lambda w: _now(w.run).state == "cancelled",
    ),
    "propose a cap": Button(
        _of("training/budget", lambda w: w.budget, "propose"),
        "steward", "engineer", "budget.proposed",
        lambda _: _count(Proposal, kind="epsilon_cap") == 1,
        data={"epsilon": "4.5"},
    ),
    "propose a release": Button(
        _of("training/modelversion", lambda w: w.fresh, "release"),
        "engineer", "officer", "model.release_proposed",
        lambda _: _count(Proposal, kind="model_release") == 1,
    ),
    "withdraw": Button(
        _of("training/modelversion", lambda w: w.fresh, "withdraw"),
        "officer", "steward", "model.withdrawn",
        lambda w: _now(w.fresh).state == "withdrawn",
    ),
    "revoke a license": Button(
        _of("gateway/license", lambda w: w.license, "revoke"),
        "platform", "officer", "license.revoked",
        lambda w: _now(w.license).revoked_at is not None,
    ),
    "suspend a license": Button(
        _of("gateway/license", lambda w: w.license, "suspend"),
        "platform", "owner", "license.suspended",
        lambda w: _now(w.license).suspended_for == "misuse",
        data={"reason": "misuse"},
    ),
    "renew a license": Button(
        _of("gateway/license", lambda w: w.license, "renew"),
        "platform", "officer", "license.renewed",
        lambda w: _now(w.license).expires_at.year == 2099,
        data={"expires_at": "2099-01-01T00:00"},
    ),
    "revoke a key": Button(
        _of("gateway/apikey", lambda w: w.key, "revoke"),
        "owner", "auditor", "key.revoked",
        lambda w: _now(w.key).revoked_at is not None,
    ),
    "revoke a role": Button(
        _of("governance/rolebinding", lambda w: w.binding, "revoke"),
        "officer", "owner", "people.role_revoked",
        lambda w: _now(w.binding).revoked_at is not None,
    ),
}  # fmt: skip


def _count(model: Any, **where: Any) -> int:
    with across_tenants(reason="a test looks"):
        return int(model.objects.filter(**where).count())


def _post(world: World, who: str, button: Button, **client: Any) -> Any:
    with leases.doing_it_here():
        return world.client(who, **client).post(button.address(world), button.data)


@pytest.mark.parametrize("name", list(BUTTONS))
def test_a_button_does_what_it_says(world: World, name: str) -> None:
    button = BUTTONS[name]
    assert not button.holds(world)
    response = _post(world, button.who, button)
    assert response.status_code == 302, response.content[:2000]
    assert button.holds(world)
    entry = AuditEntry.objects.filter(event=button.event).latest("at")
    assert (entry.outcome, entry.actor) == ("done", world.actor(button.who).reference)


@pytest.mark.parametrize("name", list(BUTTONS))
def test_a_button_refuses_who_may_not(world: World, name: str) -> None:
    button = BUTTONS[name]
    response = _post(world, button.refused, button)
    # Who may not even read the row is stopped before the action, and that is told as well.
    assert response.status_code == 403
    assert not button.holds(world)
    entry = AuditEntry.objects.filter(event=button.event).latest("at")
    assert (entry.outcome, entry.actor) == ("denied", world.actor(button.refused).reference)
    told = [str(message) for message in get_messages(response.wsgi_request)]
    assert any("(permission.role_missing)" in line for line in told) or any(
        "(approval.own_proposal)" in line for line in told
    )


@pytest.mark.parametrize("name", list(BUTTONS))
def test_a_button_of_another_tenants_row_finds_nothing(world: World, name: str) -> None:
    button = BUTTONS[name]
    assert _post(world, "stranger", button).status_code == 404
    assert not button.holds(world)


@pytest.mark.parametrize("name", list(BUTTONS))
def test_a_button_needs_its_token(world: World, name: str) -> None:
    button = BUTTONS[name]
    assert _post(world, button.who, button, enforce_csrf_checks=True).status_code == 403
    assert not button.holds(world)


def test_retry_reserves_anew(world: World) -> None:
    engineer = world.client("engineer")
    address = f"/admin/training/run/{world.run.pk}"
    with leases.doing_it_here():
        refused = engineer.post(f"{address}/retry/")
        assert refused.status_code == 409
        assert "(run.state)" in refused.content.decode()
        engineer.post(f"{address}/cancel/")
        assert engineer.post(f"{address}/retry/").status_code == 302
    run: Run = _now(world.run)
    assert (run.attempt, run.state) == (2, "queued")


def test_an_approval_twice_is_told_and_changes_nothing(world: World) -> None:
    officer = world.client("officer")
    address = f"/admin/governance/proposal/{world.proposal.pk}/approve/"
    with leases.doing_it_here():
        assert officer.post(address).status_code == 302
        again = officer.post(address)
    assert again.status_code == 403
    assert "(approval.twice)" in again.content.decode()


def test_after_approving_beside_the_plan_one_is_back_there(world: World) -> None:
    page = world.pages()["dataset"]
    with leases.doing_it_here():
        response = world.client("officer").post(
            f"/admin/governance/proposal/{world.proposal.pk}/approve/", {"back": page}
        )
    assert response["Location"] == page


@pytest.mark.parametrize("back", ["https://elsewhere.example/", "//elsewhere.example/admin/"])
def test_nobody_is_sent_elsewhere(world: World, back: str) -> None:
    with leases.doing_it_here():
        response = world.client("officer").post(
            f"/admin/governance/proposal/{world.proposal.pk}/reject/", {"back": back}
        )
    assert response["Location"] == world.pages()["proposal"]


def test_a_run_is_requested(world: World) -> None:
    engineer, before = world.client("engineer"), _count(Run)
    form = engineer.get(f"/admin/training/run/request/?dataset={world.dataset.pk}")
    assert 'value="income"' in form.content.decode()  # as the dataset declares it
    asked = {
        "version": str(world.run.version_id), "target": "income", "purpose": world.run.purpose,
        "epsilon": "0.5", "model": "linear", "guarantee": "dp", "queue": "train.cpu",
        "name": "second",
    }  # fmt: skip
    page = engineer.post("/admin/training/run/request/", asked).content.decode()
    assert "What this would take" in page
    assert _count(Run) == before  # told, not asked for
    found = re.search(r'name="estimated" value="(\w+)"', page)
    assert found is not None
    confirmed = {**asked, "estimated": found[1]}
    changed = engineer.post("/admin/training/run/request/", {**confirmed, "epsilon": "0.6"})
    assert "What this would take" in changed.content.decode()  # another request is told anew
    assert _count(Run) == before
    with leases.doing_it_here():
        response = engineer.post("/admin/training/run/request/", confirmed)
    assert response.status_code == 302
    with across_tenants(reason="a test looks"):
        run = Run.objects.get(model_name="second")
    assert response["Location"] == f"/admin/training/run/{run.pk}/"


@pytest.mark.parametrize(
    ("changed", "status", "code"),
    [
        ({"epsilon": "0"}, 422, "run.epsilon_invalid"),
        ({"epsilon": "99"}, 403, "budget.over_cap"),
        ({"target": "missing"}, 422, "run.target_missing"),
        ({"model": "forest"}, 422, ""),
        ({"purpose": "advertising"}, 422, ""),
        ({"version": "00000000-0000-4000-8000-000000000000"}, 422, ""),
    ],
)
def test_a_bad_request_for_a_run(
    world: World, changed: dict[str, str], status: int, code: str
) -> None:
    asked = {
        "version": str(world.run.version_id), "target": "income", "purpose": world.run.purpose,
        "epsilon": "0.5", "model": "linear", "guarantee": "dp", "queue": "train.cpu",
    }  # fmt: skip
    before = _count(Run)
    response = world.client("engineer").post("/admin/training/run/request/", {**asked, **changed})
    assert response.status_code == status
    assert code in response.content.decode()
    assert _count(Run) == before


def test_a_license_is_issued(world: World) -> None:
    asked = {
        "model": world.shop.slug, "customer": world.shop.customer.slug, "features": ["predict"],
        "purposes": ["credit-risk-scoring"], "quota": "7",
        "expires_at": f"{timezone.now().year + 2}-01-01",
    }  # fmt: skip
    platform = world.client("platform")
    response = platform.post("/admin/gateway/license/issue/", asked)
    assert response.status_code == 302, response.content.decode()
    assert "0 / 7" in platform.get("/admin/gateway/license/").content.decode()
    past = platform.post("/admin/gateway/license/issue/", {**asked, "expires_at": "2001-01-01"})
    assert past.status_code == 422
    assert "license.term_invalid" in past.content.decode()


def test_a_license_is_amended(world: World) -> None:
    platform, page = world.client("platform"), f"/admin/gateway/license/{world.license.pk}/"
    form = platform.get(page + "amend/").content.decode()
    assert f'value="{_now(world.license).quota}"' in form
    asked = {
        "features": ["predict"], "purposes": ["credit-risk-scoring"], "quota": "4321",
        "regions": "DE, fr", "seats": "", "version": "",
    }  # fmt: skip
    assert world.client("officer").post(page + "amend/", asked).status_code == 403
    assert platform.post(page + "amend/", asked).status_code == 302
    license_ = _now(world.license)
    assert (license_.quota, license_.regions, license_.features) == (
        4321,
        ["de", "fr"],
        ["predict"],
    )
    again = platform.post(page + "amend/", asked)
    assert again.status_code == 422
    assert "license.amendment_invalid" in again.content.decode()
    shown = platform.get(page).content.decode()
    assert "de · fr" in shown
    with across_tenants(reason="a test looks"):
        assert license_.amendments.get().after_digest[:12] in shown


def test_a_suspended_license_is_resumed(world: World) -> None:
    platform, page = world.client("platform"), f"/admin/gateway/license/{world.license.pk}/"
    platform.post(page + "suspend/", {"reason": "payment"})
    assert "payment is overdue" in platform.get(page).content.decode()
    assert platform.post(page + "resume/").status_code == 302
    assert _now(world.license).suspended_at is None


def test_a_role_that_is_gone_opens_nothing(world: World) -> None:
    engineer = world.client("engineer")
    assert engineer.get("/admin/").status_code == 200
    world.client("officer").post(f"/admin/governance/rolebinding/{world.binding.pk}/revoke/")
    assert engineer.get("/admin/").status_code == 302
    with across_tenants(reason="a test looks"):
        assert RoleBinding.objects.filter(revoked_at__isnull=False).count() == 1
        assert ModelVersion.objects.count() == 2
