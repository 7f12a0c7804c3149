"""Training tests are tiny: one thread is faster than many, and other tests run beside them."""

import pytest


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
