"""The log's pages: filters, the canonical body, the proof, the bundle."""

import io
import zipfile
from pathlib import Path

import pytest

from audit.keys import log_verifier
from audit.models import AuditEntry, Checkpoint, Leaf
from audit.verify import main
from tests.append_only import create_triggers, drop_triggers
from tests.factories.console import World

LIST = "/admin/audit/auditentry/"


@pytest.mark.parametrize(
    ("query", "shown", "hidden"),
    [
        ({"event": "license.issued"}, "license.issued", "key.issued</a>"),
        ({"outcome": "denied"}, "Audit entries", "license.issued</a>"),
        ({"outcome": "done"}, "license.issued", "denied</span>"),
        ({"days": "1"}, "license.issued", "no such thing"),
        ({"q": "license:"}, "license.issued", "run.requested</a>"),
    ],
)
def test_filters(world: World, query: dict[str, str], shown: str, hidden: str) -> None:
    response = world.client("auditor").get(LIST, query)
    assert response.status_code == 200
    text = response.content.decode()
    assert shown in text
    assert hidden not in text


def test_the_filter_by_actor_names_people(world: World) -> None:
    text = world.client("auditor").get(LIST).content.decode()
    assert "house-platform" in text
    chosen = world.client("auditor").get(LIST, {"actor": world.house.engineer.reference})
    assert "run.requested" in chosen.content.decode()
    assert "license.issued</a>" not in chosen.content.decode()


def test_an_entry_shows_its_bytes_and_proves_its_place(world: World) -> None:
    text = world.client("auditor").get(world.pages()["entry"]).content.decode()
    assert "Verified now" in text
    assert "c2sp.org/tlog-proof@v1" in text
    assert str(Leaf.objects.get(entry_id=world.entry.pk).index) in text
    assert bytes(world.entry.body).decode().replace('"', "&quot;") in text


def test_an_entry_that_is_not_in_the_tree_yet_says_so(world: World) -> None:
    world.client("officer").get("/admin/training/run/nothing/")
    newest = AuditEntry.objects.latest("at")
    text = world.client("auditor").get(f"{LIST}{newest.pk}/").content.decode()
    assert "waits for the next signed tree" in text
    assert "Verified now" not in text


def test_a_changed_entry_is_told(world: World) -> None:
    from django.db import connection

    drop_triggers(connection)
    body = bytes(world.entry.body).replace(b'"v":1', b'"v":2')
    AuditEntry.objects.filter(pk=world.entry.pk).update(body=body)
    create_triggers(connection)
    text = world.client("auditor").get(world.pages()["entry"]).content.decode()
    assert "A proof does not hold." in text
    assert "Verified now" not in text


def test_the_bundle_verifies(world: World, tmp_path: Path) -> None:
    response = world.client("auditor").post(LIST + "bundle/")
    assert response.status_code == 200
    assert response["Content-Type"] == "application/zip"
    data = b"".join(response.streaming_content)  # type: ignore[attr-defined]  # a file response
    assert zipfile.ZipFile(io.BytesIO(data)).testzip() is None
    bundle = tmp_path / "bundle.zip"
    bundle.write_bytes(data)
    assert main([str(bundle), "--vkey", str(log_verifier())]) == 0
    assert AuditEntry.objects.filter(event="log.bundle_exported", outcome="done").count() == 1


def test_who_may_not_export_gets_no_bundle(world: World) -> None:
    response = world.client("engineer").post(LIST + "bundle/")
    assert response.status_code == 403
    assert "permission.role_missing" in response.content.decode()
    assert AuditEntry.objects.filter(event="log.bundle_exported", outcome="denied").count() == 1


def test_an_unsigned_log_says_that_it_is_empty(world: World) -> None:
    from django.db import connection

    drop_triggers(connection)
    Checkpoint.objects.all().delete()
    create_triggers(connection)
    response = world.client("auditor").post(LIST + "bundle/")
    assert response.status_code == 422
    assert "audit.log_empty" in response.content.decode()
