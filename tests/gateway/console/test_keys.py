"""A key's secret is in one answer, and nowhere else, ever."""

import re

from django.contrib.sessions.models import Session
from django.db import connection

from gateway.keys import PATTERN
from tests.factories.console import World


def test_the_secret_is_shown_once(world: World) -> None:
    platform = world.client("platform")
    page = f"/admin/gateway/license/{world.license.pk}/"
    response = platform.post(page + "key/", {"name": "loan desk", "mode": "live"})
    assert response.status_code == 200
    assert "no-store" in response["Cache-Control"]
    secret = re.search(PATTERN, response.content.decode())
    assert secret is not None

    for address in (page, "/admin/gateway/apikey/", "/admin/", "/admin/audit/auditentry/"):
        assert secret[0] not in platform.get(address).content.decode()
    assert secret[0] not in str(platform.cookies)
    assert not any(secret[0] in str(row.get_decoded()) for row in Session.objects.all())
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")  # noqa: S608 - our own tables
            assert secret[0] not in repr(cursor.fetchall()), table


def test_the_customers_admin_issues_keys_for_their_own_license(world: World) -> None:
    response = world.client("customer").post(
        f"/admin/gateway/license/{world.license.pk}/key/", {"name": "batch", "mode": "live"}
    )
    assert response.status_code == 200
    assert re.search(PATTERN, response.content.decode())


def test_a_key_without_a_name_is_refused(world: World) -> None:
    response = world.client("platform").post(
        f"/admin/gateway/license/{world.license.pk}/key/", {"name": "", "mode": "live"}
    )
    assert response.status_code == 422
    text = response.content.decode()
    assert "key.name_invalid" in text
    assert not re.search(PATTERN, text)


def test_who_may_not_gets_no_secret(world: World) -> None:
    response = world.client("officer").post(
        f"/admin/gateway/license/{world.license.pk}/key/", {"name": "mine", "mode": "live"}
    )
    assert response.status_code == 403
    assert not re.search(PATTERN, response.content.decode())


def test_a_customer_is_not_offered_a_key_that_is_not_charged(world: World) -> None:
    page = f"/admin/gateway/license/{world.license.pk}/"
    assert 'value="test"' not in world.client("customer").get(page).content.decode()
    assert 'value="test"' in world.client("platform").get(page).content.decode()
    response = world.client("customer").post(page + "key/", {"name": "batch", "mode": "test"})
    assert response.status_code == 403
    assert "key.mode_refused" in response.content.decode()
    assert not re.search(PATTERN, response.content.decode())
