"""What the gateway tells the watch, and how it is shown: API, console, command, sweeper."""

import io
import json
import uuid
from datetime import UTC, timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from gateway.feedback import hour_of
from gateway.models import ApiKey, Feedback, KeyMode, Prediction
from gateway.watching import Served
from governance import rounds
from governance.models import User
from governance.scoping import across_tenants, tenant_scope
from tests.factories.gateway import Shop, make_key, make_shop
from tests.factories.watching import midnight
from training import watcher, watching
from training.models import ModelVersion, WatchWindow

pytestmark = pytest.mark.django_db


@pytest.fixture
def shop(settings: Any) -> Shop:
    settings.WATCH_WINDOW_HOURS = 24
    settings.WATCH_SMALLEST = 50
    made = make_shop()
    with tenant_scope(made.house.id):
        made.version.released_at = midnight(5)
        made.version.card["evaluation"] = {
            "accuracy": {"value": "0.9", "low": "0.88", "high": "0.92"}
        }
        made.version.save()
    return made


def history(
    shop: Shop, days_ago: int, scores: list[float], *, right: int = 0, key: ApiKey | None = None
) -> None:
    """Calls that were answered one morning, and labeled in the evening: the first `right` well."""
    morning = midnight(days_ago) + timedelta(hours=8, minutes=30)
    with tenant_scope(shop.customer.id):
        rows = Prediction.objects.bulk_create(
            Prediction(
                tenant=shop.customer,
                license=shop.license,
                key=key or shop.issued.key,
                version=shop.version,
                request_id=uuid.uuid4().hex,
                request_digest="0" * 64,
                entry_id=uuid.uuid4(),
                answer={"score": score, "label": ">50K" if score >= 0.5 else "<=50K"},
                created_at=morning,
            )
            for score in scores
        )
        Feedback.objects.bulk_create(
            Feedback(
                tenant=shop.customer,
                prediction=row,
                version=shop.version,
                correct=place < right,
                hour=hour_of(morning + timedelta(hours=10)),
            )
            for place, row in enumerate(rows)
        )


def closed(shop: Shop) -> list[WatchWindow]:
    with tenant_scope(shop.house.id):
        return list(WatchWindow.objects.order_by("number"))


def test_what_is_observed_is_what_was_served(shop: Shop) -> None:
    history(shop, 4, [0.1, 0.5, 0.5, 0.93], right=3)
    test_key = make_key(shop.house, shop.license, mode=KeyMode.TEST).key
    history(shop, 4, [0.2] * 5, right=5, key=test_key)  # nobody's business
    since, until = midnight(5), timezone.now()
    with tenant_scope(shop.house.id):  # not the customer's
        came = Served().arrivals(shop.version, since=since, until=until)
        counts = Served().histogram(shop.version, since=since, until=until, edges=[0.25, 0.5, 0.75])
        none = Served().arrivals(shop.version, since=until, until=until)
    morning = midnight(4) + timedelta(hours=8)
    assert came.served == {morning: 4}
    assert came.labels == {morning + timedelta(hours=10): (4, 3)}
    assert counts == [1, 0, 2, 1]  # an edge belongs above
    assert (none.served, none.labels) == ({}, {})
    assert all(hour.utcoffset() == timedelta(0) for hour in came.served)
    assert since.tzinfo is UTC


def test_from_calls_and_labels_to_windows_and_a_proposal(shop: Shop) -> None:
    for ago in (4, 3, 2):
        history(shop, ago, [0.1, 0.2, 0.8, 0.9] * 15, right=40)
    assert watcher.look_at_all() == {"windows": 3, "proposals": 1}
    assert [(one.labeled, one.correct, one.reference) for one in closed(shop)] == [
        (60, 40, ""), (60, 40, "window"), (60, 40, "window"),
    ]  # fmt: skip
    told = shown(shop, "owner").json()
    [version] = told["versions"]
    assert (told["model"], version["number"], version["accuracy_floor"]) == ("income", 1, 0.81)
    assert version["proposed"] == "model_rollback"  # the factory's run can not be asked for again
    window = version["windows"][2]
    assert (window["served"], window["labeled"], window["correct"]) == (60, 60, 40)
    assert (round(window["accuracy"], 4), window["psi"]) == (0.6667, 0.0)
    assert window["findings"] == ["low"]
    _the_console_says_so(shop)
    _the_command_says_so(shop)


def shown(shop: Shop, who: str) -> Any:
    client = Client(raise_request_exception=False)
    client.force_login(User.objects.get(pk=getattr(shop.house, who).user_id))
    return client.get("/api/v1/models/income/watching")


def _the_console_says_so(shop: Shop) -> None:
    client = Client()
    client.force_login(User.objects.get(pk=shop.house.officer.user_id))
    address = f"/admin/training/modelversion/{shop.version.pk}/"
    page = client.get(address).content.decode()
    for said in ("Watching", "0.667", "0.541 – 0.773", "accuracy below its threshold", "Approve"):
        assert said in page, said
    assert "first measured window takes their place" in page
    chinese = client.get(address, headers={"Accept-Language": "zh-hans"}).content.decode()
    assert "准确率低于阈值" in chinese
    with tenant_scope(shop.house.id):
        [proposal] = watching.remedies(shop.version)
    asked = client.get(f"/admin/governance/proposal/{proposal.pk}/").content.decode()
    for said in ("rollback of a model", "Why not trained again", "no version", "Window"):
        assert said in asked, said


def _the_command_says_so(shop: Shop) -> None:
    told = json.loads(_run("--json", "--model", "income"))
    assert (told["windows"], told["proposals"]) == (0, 0)
    [model] = told["models"]
    assert [len(one["windows"]) for one in model["versions"]] == [3]
    lines = _run()
    assert "window 3 until" in lines
    assert "model_rollback is proposed" in lines


def _run(*arguments: str) -> str:
    out = io.StringIO()
    call_command("watch", *arguments, stdout=out)
    return out.getvalue()


def test_an_unknown_model_is_told() -> None:
    for name in ("nothing", "", "x y", "' or 1=1", "名", "x" * 10_000):
        err = io.StringIO()
        with pytest.raises(SystemExit) as caught:
            call_command("watch", "--model", name, "--json", stderr=err)
        assert caught.value.code == 2
        assert json.loads(err.getvalue())["code"] == "watch.model_unknown"


def test_windows_are_the_owners_to_see(shop: Shop) -> None:
    history(shop, 4, [0.4] * 60, right=60)
    watcher.look_at_all()
    assert shown(shop, "auditor").status_code == 200
    client = Client(raise_request_exception=False)
    client.force_login(User.objects.get(pk=shop.admin.user_id))
    for sender, headers in ((client, {}), (Client(), {"Authorization": f"Bearer {shop.secret}"})):
        response = sender.get("/api/v1/models/income/watching", headers=headers)
        assert (response.status_code, response.json()["code"]) == (404, "not_found")
    with tenant_scope(shop.customer.id):
        assert not WatchWindow.objects.exists()


def test_a_version_that_was_never_released_shows_nothing(shop: Shop) -> None:
    with across_tenants(reason="a test changes"):
        ModelVersion.objects.update(released_at=None)
    assert shown(shop, "owner").json()["versions"] == []


def test_the_sweeper_makes_the_rounds(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    history(shop, 4, [0.4] * 60, right=60)
    call_command("sweep")
    assert json.loads(capsys.readouterr().out)["watched"] == 1
    assert len(closed(shop)) == 1


def test_a_round_comes_again_in_its_time_and_its_fault_stops_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken() -> int:
        raise ZeroDivisionError

    monkeypatch.setattr(rounds, "_rounds", {})
    rounds.register_round("broken", 10, broken)
    rounds.register_round("fine", 60, lambda: 7)
    now = [100.0]
    timetable = rounds.Timetable(lambda: now[0])
    assert timetable.go() == {"fine": 7}
    now[0] += 59
    assert timetable.go() == {}
    now[0] += 1
    assert timetable.go() == {"fine": 7}
