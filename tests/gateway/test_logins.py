"""Signing in: a refusal leaves its aggregated entry, and a session is never an older one's."""

import json
from typing import Any

import pytest
from django.test import Client

from audit.models import AuditEntry
from gateway.refusals import REFUSALS
from governance.models import User
from tests.factories.people import PASSWORD, make_house

pytestmark = pytest.mark.django_db

NOBODY = "zhang.wei@example.com"


def attempt(username: str, password: str, client: Client | None = None) -> Any:
    sender = client or Client()
    return sender.post("/admin/login/", {"username": username, "password": password})


def refused() -> list[dict[str, Any]]:
    rows = AuditEntry.objects.filter(event="access.login_refused").order_by("at")
    return [json.loads(bytes(row.body)) for row in rows]


def test_a_refused_login_leaves_one_entry_a_minute_and_no_name() -> None:
    house = make_house("house")
    for _ in range(3):
        assert attempt(NOBODY, "wrong").status_code == 200  # the form again
    assert attempt("house-officer", "wrong").status_code == 200
    [entry] = refused()
    assert (entry["outcome"], entry["reason"]) == ("denied", "auth.login_refused")
    assert (entry["actor"], entry["facts"]) == ("system:door", {"count": 1})
    assert entry["tenant"] == str(house.id)  # so that somebody's auditor sees it
    REFUSALS.flush(everything=True)
    assert [found["facts"]["count"] for found in refused()] == [1, 3]
    assert "zhang" not in json.dumps(refused())
    assert "house-officer" not in json.dumps(refused())


def test_a_deactivated_account_is_refused_the_same_way() -> None:
    make_house("house")
    User.objects.filter(username="house-officer").update(is_active=False)
    assert attempt("house-officer", PASSWORD).status_code == 200
    [entry] = refused()
    assert entry["reason"] == "auth.login_refused"


def test_a_login_that_holds_leaves_no_refusal_and_a_session_of_its_own() -> None:
    """Session fixation: an id that somebody planted is not the one that is signed in."""
    make_house("house")
    client = Client()
    planted = client.session
    planted["planted"] = True
    planted.save()
    client.cookies["sessionid"] = str(planted.session_key)
    assert attempt("house-officer", PASSWORD, client).status_code == 302
    assert client.cookies["sessionid"].value != planted.session_key
    assert refused() == []
    thief = Client()
    thief.cookies["sessionid"] = str(planted.session_key)
    assert thief.get("/api/v1/keys").status_code == 401


def test_a_login_without_its_csrf_token_is_refused() -> None:
    make_house("house")
    client = Client(enforce_csrf_checks=True)
    assert attempt("house-officer", PASSWORD, client).status_code == 403
    assert "_auth_user_id" not in client.session
    entry = AuditEntry.objects.get(event="access.call_refused")
    assert json.loads(bytes(entry.body))["reason"] == "auth.csrf_failed"
