"""What the pages say: dashboard, curves, card, languages, and what the browser may load."""

import re

import pytest
from django.test import Client

from gateway.console.proposals import waiting_for
from governance import leases
from governance.models import User
from governance.permissions import Role
from governance.scoping import across_tenants, tenant_scope
from tests.factories.console import STAFF, World
from tests.factories.people import bind, make_tenant
from training.cards import TOO_FEW
from training.models import ModelVersion, Run, RunPoint


def test_the_dashboard_tells_in_one_look(world: World) -> None:
    text = world.client("officer").get("/admin/").content.decode()
    for part in ("Waiting for me", "column plan", "applicants", "plan proposed", "Privacy left",
                 "applicants-income", "queued", "tree of"):  # fmt: skip
        assert part in text, part


def test_the_badge_counts_what_waits_for_me(world: World) -> None:
    counted = {}
    for who in STAFF:
        with tenant_scope(world.house.id):
            counted[who] = len(waiting_for(world.actor(who)))
    assert counted == {**dict.fromkeys(STAFF, 0), "officer": 1}
    mine = world.client("officer").get("/admin/governance/proposal/", {"waiting": "me"})
    assert str(world.proposal.pk) in mine.content.decode()
    none = world.client("owner").get("/admin/governance/proposal/", {"waiting": "me"})
    assert str(world.proposal.pk) not in none.content.decode()


def test_a_seat_that_is_filled_waits_for_nobody(world: World) -> None:
    with leases.doing_it_here():
        world.client("engineer").post(f"/admin/training/modelversion/{world.fresh.pk}/release/")
        with tenant_scope(world.house.id):
            proposal = next(p for p in waiting_for(world.house.owner))
            assert proposal.kind == "model_release"
        world.client("owner").post(f"/admin/governance/proposal/{proposal.pk}/approve/")
    with tenant_scope(world.house.id):
        assert waiting_for(world.house.owner) == []
        assert {p.kind for p in waiting_for(world.house.officer)} == {
            "column_plan",
            "model_release",
        }


def test_a_proposal_shows_exactly_what_is_approved(world: World) -> None:
    text = world.client("officer").get(world.pages()["proposal"]).content.decode()
    assert world.proposal.payload_hash in text
    assert "Digest of the plan" in text
    assert world.pages()["dataset"] in text


def test_a_run_draws_its_curves(world: World) -> None:
    with across_tenants(reason="a test prepares"):
        Run.objects.filter(pk=world.run.pk).update(state="running")
        for step in (10, 20, 45):
            RunPoint.objects.create(
                tenant_id=world.house.id, run=world.run, attempt=1, step=step, steps=45,
                epsilon=step / 45, loss=2 - step / 45, clip_fraction=0.5,
                gradient_norm=1 + step / 45,
            )  # fmt: skip
    text = world.client("engineer").get(world.pages()["run"]).content.decode()
    assert text.count('class="pc-line"') == 4
    assert "Share of records clipped" in text
    assert "Curves for TensorBoard" in text
    assert "45 / 45" in text
    assert 'http-equiv="refresh"' in text
    assert "reserved" in text


def test_a_card_is_read_in_the_readers_language(world: World) -> None:
    card = {
        "name": "fresh",
        "privacy": {"promise": {"en": "A promise.", "zh": "一个承诺。"}, "epsilon_spent": "0.98"},
        "evaluation": {"auroc": {"value": "0.8412", "low": "0.8", "high": "0.88"}},
        "limits": ["scores are not calibrated"],
    }
    with across_tenants(reason="a test prepares"):
        ModelVersion.objects.filter(pk=world.fresh.pk).update(card=card)
    client = world.client("auditor")
    english = client.get(world.pages()["model"]).content.decode()
    assert "A promise." in english
    assert "0.8412" in english
    chinese = client.get(world.pages()["model"], headers={"accept-language": "zh-CN"})
    assert "一个承诺。" in chinese.content.decode()


@pytest.mark.parametrize(
    ("language", "said"),
    [("en", "not measurable: too few of one class"), ("zh-CN", "无法度量：某一类别的记录过少")],
)
def test_a_figure_that_the_card_lacks_says_why(world: World, language: str, said: str) -> None:
    figures = ("auroc", "impact_ratio", "four_fifths", "odds_difference", "equalized_odds")
    group = {**dict.fromkeys(figures[1:]), "values": {"f": {"size": 120, "selection_rate": None}}}
    evaluation = {
        "auroc": None,
        "not_measured": dict.fromkeys(figures, TOO_FEW),
        "groups": {"sex": group},
    }
    with across_tenants(reason="a test prepares"):
        ModelVersion.objects.filter(pk=world.fresh.pk).update(card={"evaluation": evaluation})
    client = world.client("auditor")
    page = client.get(world.pages()["model"], headers={"accept-language": language})
    assert page.content.decode().count(said) == 2  # AUROC, and the groups
    listed = client.get("/admin/training/modelversion/", headers={"accept-language": language})
    assert listed.status_code == 200


@pytest.mark.parametrize("who", [*STAFF, "customer"])
def test_pages_load_nothing_from_elsewhere_and_carry_no_script(world: World, who: str) -> None:
    client = world.client(who)
    for address in ("/admin/", *world.pages().values()):
        response = client.get(address)
        if response.status_code != 200:
            continue
        text = response.content.decode()
        assert "script-src 'self'" in response["Content-Security-Policy"]
        assert not re.search(r"(?:src|href)=[\"'](?:https?:)?//", text), address
        assert not re.search(r"<script(?![^>]*\bsrc=)", text), address
        assert not re.search(r"\son(?:click|change|submit|load)=", text), address


def test_the_language_is_switched_by_a_form(world: World) -> None:
    client = world.client("officer")
    assert "等待我处理" not in client.get("/admin/").content.decode()
    response = client.post("/i18n/set", {"language": "zh-hans", "next": "/admin/"})
    assert response.status_code == 302
    assert "等待我处理" in client.get("/admin/").content.decode()


def test_an_error_is_told_in_chinese(world: World) -> None:
    response = world.client("steward").post(
        f"/admin/governance/proposal/{world.proposal.pk}/approve/",
        headers={"accept-language": "zh-CN"},
    )
    assert response.status_code == 403
    assert "permission.role_missing" in response.content.decode()
    assert "您的角色" in response.content.decode()


def test_who_serves_two_tenants_chooses(world: World) -> None:
    user = User.objects.get(pk=world.house.officer.user_id)
    bind(user, make_tenant("zweite"), Role.OFFICER)
    client = Client()
    client.force_login(user)
    assert "Zweite" in client.get("/admin/").content.decode()
    assert client.post("/admin/tenant/", {"tenant": "zweite"}).status_code == 302
    assert client.get(world.pages()["dataset"]).status_code == 404
    assert client.post("/admin/tenant/", {"tenant": "rival"}).status_code == 404
    client.post("/admin/tenant/", {"tenant": "house"})
    assert client.get(world.pages()["dataset"]).status_code == 200


def test_a_statement_names_the_guarantee_in_the_readers_language(world: World) -> None:
    client, address = world.client("engineer"), world.pages()["budget"]
    assert "differentially private" in client.get(address).content.decode()
    chinese = client.get(address, headers={"accept-language": "zh-CN"}).content.decode()
    assert "差分隐私" in chinese
    assert "账目未结" in chinese
    assert "pc-columns" not in chinese  # no form stands beside it: the table has the page's width
    assert "pc-columns" in world.client("steward").get(address).content.decode()


def test_a_released_version_is_said_to_be_released_in_chinese(world: World) -> None:
    with across_tenants(reason="a test prepares"):
        ModelVersion.objects.filter(pk=world.fresh.pk).update(state="released")
    page = world.client("auditor").get(world.pages()["model"], headers={"accept-language": "zh-CN"})
    assert "已发布</span>" in page.content.decode()
