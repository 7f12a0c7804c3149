"""Rollups: each event in one of them, whoever dies and however many roll at once."""

import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

import pytest
from django.core.management import call_command
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.test import Client

from audit.models import AuditEntry
from audit.sequencer import sequence_once, tree_size
from gateway import rollups
from gateway.invariants import CHECKS
from gateway.metered import Metered, metered
from gateway.models import KeyMode, UsageRollup, UsageRound
from gateway.rollups import roll_up
from governance.models import User
from governance.scoping import across_tenants, tenant_scope
from tests.append_only import create_triggers, drop_triggers
from tests.audit.test_sequencer import die, in_a_child
from tests.factories.gateway import Shop, charge, make_customer, make_key, make_license, make_shop

pytestmark = pytest.mark.usefixtures("home")


def rows() -> list[UsageRollup]:
    with across_tenants(reason="a test looks"):
        return list(UsageRollup.objects.order_by("round", "license", "sku", "hour"))


def findings() -> list[str]:
    with across_tenants(reason="as check_invariants does"):
        return list(CHECKS["usage"]())


def whole(shop: Shop) -> None:
    """Every event is in one rollup, and they add up to what the license used."""
    stretches = list(UsageRound.objects.order_by("first_index"))
    assert [one.first_index for one in stretches] == [
        0,
        *(one.last_index + 1 for one in stretches[:-1]),
    ]
    events = list(metered(0, tree_size()))
    assert sum(row.calls for row in rows()) == len(events)
    mine = [row.charged for row in rows() if row.license_id == shop.license.pk]
    assert sum(mine) == shop.reload().used
    assert findings() == []


@pytest.mark.django_db
def test_usage_is_added_up_by_license_kind_and_hour() -> None:
    shop = make_shop()
    trial = make_key(shop.house, shop.license, mode=KeyMode.TEST)
    other, _ = make_customer("bolt")
    second = make_license(shop.house, other, shop.version.model)
    assert charge(shop.secret, ["a", "b"]) == 2
    assert charge(trial.secret, ["t"]) == 1
    assert charge(make_key(shop.house, second).secret, ["a"]) == 1
    assert roll_up() == 0, "nothing is rolled up before it is signed"
    sequence_once()
    assert roll_up() == 4
    assert roll_up() == 0
    sums = {row.license_id: row for row in rows()}
    assert len(rows()) == len(sums) == 2
    mine, theirs = sums[shop.license.pk], sums[second.pk]
    assert (mine.tenant_id, theirs.tenant_id) == (shop.customer.pk, other.pk)
    assert (mine.calls, mine.units, mine.charged) == (3, 3, 2)
    assert (theirs.calls, theirs.units, theirs.charged) == (1, 1, 1)
    assert mine.last_index < theirs.first_index == theirs.last_index
    assert (mine.hour.minute, mine.hour.second, mine.hour.microsecond) == (0, 0, 0)
    [stretch] = UsageRound.objects.all()
    assert (stretch.first_index, stretch.last_index) == (0, tree_size() - 1)
    with tenant_scope(other.pk):
        assert [row.pk for row in UsageRollup.objects.all()] == [theirs.pk]
    whole(shop)


@pytest.mark.django_db
def test_a_stretch_is_rolled_up_in_spans_and_goes_on_where_it_was() -> None:
    shop = make_shop()
    charge(shop.secret, "abcde")
    sequence_once()
    assert roll_up(span=4) == 5
    assert {row.last_index - row.first_index for row in UsageRound.objects.all()} <= {0, 1, 2, 3}
    charge(shop.secret, "fg")
    sequence_once()
    assert roll_up(span=4) == 2
    whole(shop)


def test_the_hour_is_that_of_the_entry() -> None:
    at = int(datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC).timestamp()) * 10**6 + 999_999
    nobody = UUID(int=0)
    event = Metered(0, nobody, at, nobody, nobody, "r", "predict", 1, charged=True)
    assert event.hour == datetime(2026, 11, 30, 23, tzinfo=UTC)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("where", ["UsageRollup.objects.bulk_create", "added_up", "_take_lock"])
def test_a_killed_round_leaves_nothing(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = make_shop()
    charge(shop.secret, "abc")
    sequence_once()

    def killed() -> None:
        if where.startswith("UsageRollup"):
            monkeypatch.setattr("gateway.rollups.UsageRollup.objects.bulk_create", die)
        else:
            monkeypatch.setattr(f"gateway.rollups.{where}", die)
        roll_up()

    status = in_a_child(killed)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert (rows(), UsageRound.objects.count()) == ([], 0)
    assert roll_up() == 3
    whole(shop)


@pytest.mark.django_db(transaction=True)
def test_rounds_at_once_do_not_double() -> None:
    shop = make_shop()
    charge(shop.secret, [str(number) for number in range(30)])
    sequence_once()
    connection.close()
    children = []
    for _ in range(3):
        if pid := os.fork():
            children.append(pid)
            continue
        try:
            roll_up(span=3)
            os._exit(0)
        except BaseException:  # noqa: BLE001 - the child must not run the parent's tests
            os._exit(3)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0, 0]
    assert sum(row.calls for row in rows()) == 30
    whole(shop)


@pytest.mark.django_db(transaction=True)
def test_without_the_lock_the_key_of_the_round_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second of two rounds that began at the same index fails whole."""
    shop = make_shop()
    charge(shop.secret, "ab")
    sequence_once()
    assert roll_up() == 2
    monkeypatch.setattr(rollups, "rolled_end", lambda: 0)
    with pytest.raises(IntegrityError):
        roll_up()
    monkeypatch.undo()
    whole(shop)


@pytest.mark.django_db
def test_the_sweeper_makes_the_round(capsys: pytest.CaptureFixture[str]) -> None:
    shop = make_shop()
    charge(shop.secret, "ab")
    sequence_once()
    call_command("sweep")
    assert '"rollups": 2' in capsys.readouterr().out
    whole(shop)


def edit(change: Callable[[], object]) -> None:
    drop_triggers(connection)
    with across_tenants(reason="the owner of the database sees everything"):
        change()
    create_triggers(connection)


def edit_the_units() -> None:
    entry = AuditEntry.objects.filter(event="prediction.served").first()
    assert entry is not None
    body = bytes(entry.body).replace(b'"charged":true', b'"charged":false')
    assert body != bytes(entry.body)
    AuditEntry.objects.filter(pk=entry.pk).update(body=body)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda: UsageRollup.objects.update(charged=1), ["accounted for", "other sums"]),
        (lambda: UsageRollup.objects.update(units=1), ["other sums"]),
        (lambda: UsageRollup.objects.all().delete(), ["accounted for", "other sums"]),
        (lambda: UsageRound.objects.create(first_index=900, last_index=901), ["not begin"]),
        (edit_the_units, ["another charge"]),
    ],
    ids=["charge", "units", "gone", "gap", "entry"],
)
def test_a_breach_is_found(change: Callable[[], object], told: list[str]) -> None:
    shop = make_shop()
    charge(shop.secret, "abc")
    sequence_once()
    roll_up()
    charge(shop.secret, "d")  # and one that is rolled up nowhere yet
    assert findings() == []
    edit(change)
    found = findings()
    assert len(found) == len(told)
    for sentence, part in zip(found, told, strict=True):
        assert part in sentence


@pytest.mark.django_db
@pytest.mark.parametrize("model", [UsageRollup, UsageRound])
@pytest.mark.parametrize("change", ["update", "delete"])
def test_rollups_are_only_added(model: type[UsageRollup | UsageRound], change: str) -> None:
    shop = make_shop()
    charge(shop.secret, "a")
    sequence_once()
    roll_up()
    every = model._base_manager.all()
    changes = {
        "update": lambda: every.update(last_index=5),
        "delete": lambda: every._raw_delete("default"),
    }
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        changes[change]()


@pytest.mark.django_db
def test_the_api_shows_each_their_own() -> None:
    shop = make_shop()
    other, other_admin = make_customer("bolt")
    second = make_license(shop.house, other, shop.version.model)
    charge(shop.secret, "ab")
    charge(make_key(shop.house, second).secret, "c")
    sequence_once()
    roll_up()

    def seen(client: Client, **headers: str) -> dict[str, int]:
        told = client.get("/api/v1/usage/rollups", headers=headers).json()["results"]
        return {row["license"]: row["charged"] for row in told}

    mine, theirs = {str(shop.license.pk): 2}, {str(second.pk): 1}
    assert seen(Client(), Authorization=f"Bearer {shop.secret}") == mine
    for actor, expected in (
        (shop.admin, mine),
        (other_admin, theirs),
        (shop.house.owner, mine | theirs),
    ):
        client = Client()
        client.force_login(User.objects.get(pk=actor.user_id))
        assert seen(client) == expected
