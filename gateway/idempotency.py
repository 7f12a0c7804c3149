"""`Idempotency-Key`: a call repeated is not a call more.

After draft-ietf-httpapi-idempotency-key-header-07:

    answered before, same body          the stored answer, no charge
    answered before, another body       422 idempotency.body_differs
    being answered, in any process      409 idempotency.in_flight
    its process died                    the claim runs out after `HOLD`, and the next one takes over

What is written here decides no right and no charge: the prediction's own unique constraint does. A
claim is a row of bookkeeping, gone once the call has ended.
"""

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

from django.db import IntegrityError, transaction
from django.utils import timezone

from gateway.errors import IdempotencyError, InFlightError, RequestError
from gateway.models import CallClaim, Prediction

HEADER: Final = "Idempotency-Key"
HOLD: Final = timedelta(seconds=60)  # longer than any answer takes
_SHAPE: Final = re.compile(r"[\x21-\x7e]{1,255}")


def check_header(offered: str) -> str:
    """The header's value.

    Raises:
        RequestError: `request.idempotency_key_invalid`.
    """
    if _SHAPE.fullmatch(offered) is None:
        raise RequestError(
            "an idempotency key has 1 to 255 visible ASCII characters",
            code="request.idempotency_key_invalid",
        )
    return offered


def answered(tenant: uuid.UUID, request_id: str, digest: str) -> Prediction | None:
    """What was answered under this request id before.

    Raises:
        IdempotencyError: it was the answer to another body.
    """
    earlier: Prediction | None = Prediction.objects.filter(
        tenant_id=tenant, request_id=request_id
    ).first()
    if earlier is not None and earlier.request_digest != digest:
        raise _differs()
    return earlier


@contextmanager
def claimed(tenant: uuid.UUID, request_id: str, digest: str) -> Iterator[None]:
    """Hold the request id while its call is answered.

    Raises:
        InFlightError: somebody else holds it.
        IdempotencyError: somebody else holds it, for another body.
    """
    token = uuid.uuid4()
    _claim(tenant, request_id, digest, token)
    try:
        yield
    finally:
        # By token: whoever took over from us keeps their claim.
        CallClaim.objects.filter(tenant_id=tenant, request_id=request_id, token=token).delete()


def _claim(tenant: uuid.UUID, request_id: str, digest: str, token: uuid.UUID) -> None:
    now = timezone.now()
    held = {"request_digest": digest, "token": token, "held_until": now + HOLD}
    try:
        with transaction.atomic():
            CallClaim.objects.create(tenant_id=tenant, request_id=request_id, **held)
    except IntegrityError:
        rows = CallClaim.objects.filter(tenant_id=tenant, request_id=request_id)
        if rows.filter(held_until__lte=now).update(**held):
            return
        if rows.exclude(request_digest=digest).exists():
            raise _differs() from None
        raise InFlightError("a call under this idempotency key is being answered") from None


def _differs() -> IdempotencyError:
    return IdempotencyError("this idempotency key was used for another body")
