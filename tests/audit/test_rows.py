"""Rows written by one statement are those that the ORM reads back."""

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from audit.models import AuditEntry, PendingLeaf
from audit.rows import insert_rows

pytestmark = pytest.mark.django_db


def entry(**changed: Any) -> dict[str, Any]:
    return {
        "id": uuid.uuid4(),
        "body": bytes(range(256)),
        "event": "dataset.sealed",
        "outcome": "done",
        "tenant": None,
        "actor": 'user:"quoted" \\ and \u00fc\U0001f600',
        "subject": "%s $1 ' -- \\x00",
        "request_id": None,
        "at": 2**53 - 1,
        **changed,
    }


def test_every_type_comes_back_as_it_went() -> None:
    rows = [entry(), entry(body=b"", tenant="\\xdead", at=-1)]
    insert_rows((AuditEntry, rows))
    for row in rows:
        found = AuditEntry.objects.get(pk=row["id"])
        assert bytes(found.body) == row["body"]
        for name in ("event", "outcome", "tenant", "actor", "subject", "request_id", "at"):
            assert getattr(found, name) == row[name], name


def test_nothing_is_nothing() -> None:
    insert_rows()
    insert_rows((AuditEntry, []), (PendingLeaf, []))
    assert not AuditEntry.objects.exists()


def test_one_bad_row_stops_all_of_its_statement() -> None:
    row = {"entry_id": uuid.uuid4(), "leaf_hash": b"x" * 32}
    with pytest.raises(IntegrityError), transaction.atomic():
        insert_rows((PendingLeaf, [{"entry_id": uuid.uuid4(), "leaf_hash": b"y"}, row, row]))
    assert not PendingLeaf.objects.exists()


def test_moments_and_json_of_other_models() -> None:
    from gateway.models import Prediction, UsageEvent
    from governance.scoping import across_tenants
    from tests.factories.gateway import make_shop

    shop = make_shop()
    at = datetime(2026, 2, 28, 23, 59, 59, 123456, tzinfo=UTC)
    answer = {"score": 0.1, "label": None, "nested": [{"\u4e2d": "\u6587\u201c"}]}
    made = {
        "id": uuid.uuid4(),
        "tenant_id": shop.customer.pk,
        "license_id": shop.license.pk,
        "key_id": shop.issued.key.pk,
        "version_id": shop.version.pk,
        "request_id": "r",
        "request_digest": "",
        "entry_id": uuid.uuid4(),
        "answer": answer,
        "explanation": None,
        "created_at": at,
    }
    used = {
        "tenant_id": shop.customer.pk,
        "license_id": shop.license.pk,
        "request_id": "r",
        "sku": "predict",
        "units": 3,
        "charged": False,
        "created_at": at,
    }
    insert_rows((Prediction, [made]), (UsageEvent, [used]))
    with across_tenants(reason="a test looks"):
        prediction, usage = Prediction.objects.get(), UsageEvent.objects.get()
        assert Prediction.objects.filter(explanation__isnull=True).exists()
    assert (prediction.answer, prediction.explanation) == (answer, None)
    assert prediction.created_at == usage.created_at == at
    assert (usage.units, usage.charged) == (3, False)
