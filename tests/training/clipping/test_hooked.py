"""Modules that have no closed form."""

import numpy as np
import pytest
from torch import nn

from tests.factories.engine import CLIP, clipped, naive_sum, records
from training.clipping import clipping_pass
from training.dpsgd import binary_loss
from training.errors import EngineError


def test_other_layers_go_through_hooks() -> None:
    model = nn.Sequential(nn.Linear(6, 4), nn.LayerNorm(4), nn.Tanh(), nn.Linear(4, 1))
    features, labels = records(20, 6)
    np.testing.assert_allclose(
        clipped(model, features, labels), naive_sum(model, features, labels), rtol=3e-5, atol=1e-5
    )


def test_batch_normalization_is_refused() -> None:
    model = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    with pytest.raises(EngineError) as caught:
        clipping_pass(model, binary_loss, CLIP)
    assert caught.value.stable_code == "engine.layer_unsupported"
