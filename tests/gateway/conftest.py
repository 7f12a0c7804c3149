"""What the process remembers of keys, refusals and use is forgotten between tests."""

from collections.abc import Iterator

import pytest

from gateway import keys, metering, peppers
from gateway.inputs import COUNTER
from gateway.refusals import REFUSALS


@pytest.fixture(autouse=True)
def _a_fresh_process() -> Iterator[None]:
    yield
    keys.CACHE.clear()
    REFUSALS.clear()
    COUNTER.forget()
    peppers.forget()
    metering._touched.clear()
