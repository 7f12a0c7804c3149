"""Each invariant catches the breach that it is there for, and nothing else raises it."""

import io
import json
from collections.abc import Callable

import pytest
from django.core.management import call_command
from django.db import connection

from audit.keys import ensure_keys
from audit.models import AuditEntry, Checkpoint, Leaf
from audit.sequencer import sequence_once
from gateway.models import Prediction, UsageEvent
from governance.guards import install_sql
from governance.models import DatasetVersion
from governance.scoping import across_tenants
from tests.append_only import create_triggers, drop_triggers
from tests.factories.gateway import Shop, charge, make_shop
from training.ledger import budget_of

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("home")]


@pytest.fixture
def shop() -> Shop:
    ensure_keys()
    made = make_shop()
    assert charge(made.secret, ["one", "two"]) == 2
    with across_tenants(reason="a budget to look at"):
        budget_of(DatasetVersion.objects.first().dataset)  # type: ignore[union-attr]  # made above
    sequence_once()
    return made


def broken() -> set[str]:
    out, status = io.StringIO(), 0
    try:
        call_command("check_invariants", "--json", stdout=out)
    except SystemExit as error:
        status = int(error.code or 0)
    told = json.loads(out.getvalue())
    names = {name for name, findings in told["findings"].items() if findings}
    assert (told["holds"], status) == ((False, 4) if names else (True, 0))
    return names


def test_they_hold(shop: Shop) -> None:
    assert broken() == set()


def with_the_owners_hands(change: Callable[[], object]) -> None:
    """As the database's owner could: triggers off, change, triggers on again."""
    drop_triggers(connection)
    with across_tenants(reason="the owner of the database sees everything"):
        change()
    create_triggers(connection)


def edit_an_entry() -> None:
    entry = AuditEntry.objects.filter(event="prediction.served").first()
    assert entry is not None
    body = bytes(entry.body).replace(b'"units":1', b'"units":0')
    assert body != bytes(entry.body)
    AuditEntry.objects.filter(pk=entry.pk).update(body=body)


@pytest.mark.parametrize(
    ("change", "caught"),
    [
        (edit_an_entry, {"entries", "usage"}),
        (lambda: AuditEntry.objects.filter(event="prediction.served").update(outcome="denied"),
         {"entries", "calls"}),
        (lambda: AuditEntry.objects.filter(event="prediction.served").delete(), {"calls"}),
        (lambda: Leaf.objects.filter(index=0).update(leaf_hash=b"\0" * 32),
         {"entries", "checkpoint"}),
        (lambda: Checkpoint.objects.update(note="nothing"), {"checkpoint"}),
        (lambda: UsageEvent.objects.first().delete(),  # type: ignore[union-attr]
         {"calls", "usage"}),
        (lambda: Prediction.objects.first().delete(), {"calls"}),  # type: ignore[union-attr]
    ],
    ids=["body", "column", "entry gone", "leaf", "checkpoint", "usage gone", "prediction gone"],
)  # fmt: skip
def test_a_breach_is_caught(shop: Shop, change: Callable[[], object], caught: set[str]) -> None:
    with_the_owners_hands(change)
    assert broken() == caught


def test_a_missing_trigger_is_caught(shop: Shop) -> None:
    drop_triggers(connection)
    try:
        assert broken() == {"triggers"}
    finally:
        create_triggers(connection)
    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER proposal_bound")
    try:
        assert broken() == {"triggers"}
    finally:
        with connection.cursor() as cursor:
            for statement in install_sql(connection.vendor):
                cursor.execute(statement)
