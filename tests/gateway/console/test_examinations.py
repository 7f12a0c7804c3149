"""Examinations in console and API: figures beside what they can show, and never the word safe."""

import pytest

from governance import leases
from governance.models import Job
from governance.permissions import GRANTS, Permission
from governance.scoping import across_tenants, tenant_scope
from tests.factories.console import World
from tests.factories.training import make_version, untrained
from training.examination import Examination
from training.models import ModelVersion


@pytest.fixture
def version(world: World) -> ModelVersion:
    """One whose rows are there; its guarantee was waived."""
    return untrained(world.house, make_version(world.house, "scored"))


def test_a_page_tells_figures_and_what_they_do_not_show(world: World) -> None:
    page = world.client("auditor").get(world.pages()["examination"]).content.decode()
    for said in (
        "0.512000",
        "3.1 %",
        "7.0 %",
        "48.1234",
        "The figures are exact.",
        "the engine&#x27;s Gaussian fit is above the claim",
        "lower bound on ε that assumes nothing: weak",
        "too few draws to tell",
        "stronger attacks exist",
        "Bounds below the claim prove nothing.",
        "3,256 records that the model was trained on",
        world.examination.digest,
    ):
        assert said in page, said
    for never in ("is safe", "is private", "anonymous"):
        assert never not in page.casefold()


def test_nothing_found_is_told_as_no_proof_in_both_languages(world: World) -> None:
    with across_tenants(reason="a test prepares"):
        figures = {**world.examination.figures, "objections": []}
        Examination.objects.filter(pk=world.examination.pk).update(figures=figures)
    client, address = world.client("officer"), world.pages()["examination"]
    assert "That is no proof of privacy" in client.get(address).content.decode()
    chinese = client.get(address, headers={"accept-language": "zh-CN"}).content.decode()
    for said in ("这不是隐私的证明", "损失阈值攻击", "引擎的金丝雀审计", "由 ε 和 δ 得出的上限"):
        assert said in chinese, said


def test_an_examination_that_waits_or_failed_says_so(world: World) -> None:
    address = world.pages()["examination"]
    with across_tenants(reason="a test prepares"):
        rows = Examination.objects.filter(pk=world.examination.pk)
        rows.update(figures={}, digest="", state="queued")
    assert 'http-equiv="refresh"' in world.client("engineer").get(address).content.decode()
    with across_tenants(reason="a test prepares"):
        rows.update(state="failed", error_code="examination.worker_lost")
    page = world.client("engineer").get(address).content.decode()
    assert "Several workers died over this examination" in page
    assert 'http-equiv="refresh"' not in page


def test_one_that_waits_is_cancelled_by_who_may_ask(world: World) -> None:
    address = world.pages()["examination"]
    assert f"{address}cancel/" not in world.client("engineer").get(address).content.decode()
    with across_tenants(reason="a test prepares"):
        rows = Examination.objects.filter(pk=world.examination.pk)
        rows.update(figures={}, digest="", state="queued")
    assert f"{address}cancel/" not in world.client("auditor").get(address).content.decode()
    assert world.client("auditor").post(f"{address}cancel/").status_code == 403
    engineer = world.client("engineer")
    assert f"{address}cancel/" in engineer.get(address).content.decode()
    assert engineer.post(f"{address}cancel/").status_code == 302
    chinese = engineer.get(address, headers={"accept-language": "zh-CN"}).content.decode()
    assert "已取消" in chinese
    with across_tenants(reason="a test looks"):
        assert Examination.objects.get(pk=world.examination.pk).state == "cancelled"
    assert engineer.post(f"{address}cancel/").status_code == 409


def test_the_list_and_the_models_page_lead_to_it(world: World) -> None:
    client = world.client("engineer")
    assert (
        str(world.examination.version)
        in client.get("/admin/training/examination/").content.decode()
    )
    model = client.get(world.pages()["model"]).content.decode()
    assert world.pages()["examination"] in model
    # Who operates the platform sees the model, not what was found about its rows.
    assert world.pages()["examination"] not in (
        world.client("platform").get(world.pages()["model"]).content.decode()
    )


def test_it_is_asked_for_on_the_models_page(world: World, version: ModelVersion) -> None:
    address = f"/admin/training/modelversion/{version.pk}/"
    engineer = world.client("engineer")
    assert f"{address}examine/" in engineer.get(address).content.decode()
    assert f"{address}examine/" not in world.client("auditor").get(address).content.decode()
    assert engineer.get(f"{address}examine/").status_code == 200
    asked = {"kinds": ["loss"], "epsilon": "0.2", "shadows": "4"}
    with leases.doing_it_here():
        response = engineer.post(f"{address}examine/", asked)
    with tenant_scope(world.house.id):
        made = Examination.objects.get(version=version)
    assert (response.status_code, response["Location"]) == (
        302, f"/admin/training/examination/{made.pk}/",
    )  # fmt: skip
    assert (made.kinds, str(made.epsilon)) == (["loss"], "0.200000")
    for wrong, status, code in (
        ({"kinds": ["engine"]}, 403, "examination.no_claim"),
        ({"epsilon": "much"}, 422, "run.epsilon_invalid"),
        ({"kinds": ["lira"], "shadows": "5"}, 422, "examination.shadows_invalid"),
        ({"kinds": []}, 422, None),
    ):
        refused = engineer.post(f"{address}examine/", {**asked, **wrong})
        assert refused.status_code == status, wrong
        assert code is None or code in refused.content.decode()
    for who in ("auditor", "steward", "platform"):
        assert world.client(who).post(f"{address}examine/", asked).status_code == 403
    assert world.client("stranger").post(f"{address}examine/", asked).status_code == 404


def test_over_http(world: World, version: ModelVersion) -> None:
    address = f"/api/v1/models/{version.model.slug}"
    engineer = world.client("engineer")
    body = {"kinds": ["loss"], "epsilon": "0.2"}
    key = {"Idempotency-Key": "once"}
    with leases.doing_it_here():
        first, second = (
            engineer.post(
                f"{address}/versions/1/examinations", body, "application/json", headers=key
            )
            for _ in range(2)
        )
    assert (first.status_code, first.json()) == (202, second.json())
    told = first.json()
    assert set(told) == {
        "id", "version", "kinds", "shadows", "epsilon", "run", "state", "figures", "digest",
        "labels", "error_code", "created_at", "ended_at",
    }  # fmt: skip
    assert (told["state"], told["epsilon"], told["figures"]) == ("queued", "0.200000", {})
    assert "refutes the claimed" in told["labels"][0]["shows"]
    assert engineer.get(first["Location"]).json() == told
    (listed,) = engineer.get(f"{address}/examinations").json()["results"]
    assert listed == told
    for wrong, status, code in (
        ({"kinds": ["guess"]}, 422, "examination.kind_unknown"),
        ({"kinds": ["lira"], "shadows": 3}, 422, "examination.shadows_invalid"),
        ({"kinds": ["engine"]}, 403, "examination.no_claim"),
        ({"epsilon": "-1"}, 422, "run.epsilon_invalid"),
        ({"epsilon": "99"}, 403, "examination.epsilon_over"),
    ):
        refused = engineer.post(f"{address}/versions/1/examinations", wrong, "application/json")
        assert (refused.status_code, refused.json()["code"]) == (status, code)
    unknown = engineer.post(
        f"{address}/versions/1/examinations", {"kind": "loss"}, "application/json"
    )
    assert unknown.status_code == 422
    stranger = world.client("stranger")
    assert stranger.get(first["Location"]).status_code == 404
    assert (
        stranger.post(f"{address}/versions/1/examinations", body, "application/json").status_code
        == 404
    )
    with tenant_scope(world.house.id):
        assert Job.objects.filter(kind="examine").count() == 1


def test_who_reads_figures_may_take_rows_away() -> None:
    """Some figures are exact: nobody reads them who may not read the rows."""
    assert GRANTS[Permission.EXAMINATION_VIEW] == GRANTS[Permission.DATASET_EXPORT]
