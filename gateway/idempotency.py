"""`Idempotency-Key`: a call repeated is not a call more.

After draft-ietf-httpapi-idempotency-key-header-07:

    answered before, same body          the stored answer, no charge
    answered before, another body       422 idempotency.body_differs
    being answered in this process      409 idempotency.in_flight
    being answered in another one       computed twice and charged once: who commits second gets
                                        what the first one answered
    its process died                    a call like any other: nothing of it is left

What is held here decides no right and no charge: the prediction's own unique constraint does.
"""

import re
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from gateway.errors import IdempotencyError, InFlightError, RequestError
from gateway.models import Prediction

HEADER: Final = "Idempotency-Key"
_SHAPE: Final = re.compile(r"[\x21-\x7e]{1,255}")
_in_flight: set[tuple[uuid.UUID, str]] = set()
_lock: Final = threading.Lock()


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
    return None if earlier is None else same(earlier, digest)


def same(earlier: Prediction, digest: str) -> Prediction:
    """An earlier answer, if it was to this body.

    Raises:
        IdempotencyError: it was to another.
    """
    if earlier.request_digest != digest:
        raise IdempotencyError("this idempotency key was used for another body")
    return earlier


@contextmanager
def claimed(tenant: uuid.UUID, request_id: str) -> Iterator[None]:
    """Hold a request id in this process while its call is answered.

    Raises:
        InFlightError: another thread holds it.
    """
    place = tenant, request_id
    with _lock:
        if place in _in_flight:
            raise InFlightError("a call under this idempotency key is being answered")
        _in_flight.add(place)
    try:
        yield
    finally:
        with _lock:
            _in_flight.discard(place)
