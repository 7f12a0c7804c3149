"""What the process remembers of keys, refusals and use is forgotten between tests."""

from collections.abc import Iterator

import pytest

from gateway import keys, last_use, peppers
from gateway.inputs import COUNTER
from gateway.limits import LIMITER
from gateway.refusals import REFUSALS
from gateway.standing import STANDINGS


@pytest.fixture(autouse=True)
def _a_fresh_process() -> Iterator[None]:
    yield
    keys.CACHE.clear()
    STANDINGS.clear()
    REFUSALS.clear()
    COUNTER.forget()
    LIMITER.forget()
    peppers.forget()
    last_use.forget()
