"""Training tests are tiny: one thread is faster than many, and other tests run beside them."""

from typing import Any

import pytest


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _limits(settings: Any) -> None:
    """The limits that these tests count with, whatever a house starts with."""
    settings.DEFAULT_EPSILON_CAP = 10.0
    settings.DEFAULT_DELTA = 1e-5
    settings.RUN_APPROVAL_EPSILON = 3.0
