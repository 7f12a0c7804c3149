"""A model in this process, ready to answer: rows of cells in, probabilities out.

Deterministic for one batch size on one machine: one thread, evaluation mode, no randomness. Across
batch sizes a float32 matrix product may differ in its last digits, so results are rounded to a grid
far coarser than that.
"""

import functools
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from training.artifacts import Artifact, from_bytes
from training.features import FeatureSpec
from training.input_bins import InputBins
from training.inputs import inputs_of
from training.requests import check_row, input_schema

PLACES: Final = 6  # decimal places of a probability


class LoadedModel:
    """One model version, checked and ready."""

    def __init__(self, stored: bytes, *, expected: str | None = None) -> None:
        """Load artifact bytes.

        Raises:
            ArtifactError: the bytes are not a valid model, or have another digest than `expected`.
        """
        # Small matrices gain nothing from threads, and their sums would depend on how many there
        # are.
        torch.set_num_threads(1)
        self.artifact: Artifact = from_bytes(stored, expected=expected)
        self.size = len(stored)

    @property
    def digest(self) -> str:
        """SHA-256 of the artifact."""
        return self.artifact.digest

    @functools.cached_property
    def input_bins(self) -> InputBins:
        """Public bins in which served inputs are counted."""
        return InputBins(self.spec, self.artifact.plan.guarantee)

    @property
    def spec(self) -> FeatureSpec:
        """How cells become numbers."""
        return self.artifact.spec

    def input_schema(self) -> dict[str, object]:
        """JSON Schema of one request row."""
        return input_schema(self.spec)

    def check_row(self, row: object) -> dict[str, str | None]:
        """One request row as text cells.

        Raises:
            PredictionInputError: with a pointer into the row and no value.
        """
        return check_row(self.spec, row)

    def predict_proba(self, rows: Sequence[Mapping[str, Any]]) -> npt.NDArray[np.float64]:
        """(n,) probability of the positive label for n checked rows, rounded to `PLACES`."""
        return np.round(
            self._probabilities({name: [row[name] for row in rows] for name in self.spec.names}),
            PLACES,
        )

    def predict_columns(self, cells: npt.NDArray[np.object_]) -> npt.NDArray[np.float64]:
        """(n,) unrounded probabilities of (n, features) cells in the specification's order.

        The callable that explanations are made of.
        """
        return self._probabilities(
            {name: cells[:, place].tolist() for place, name in enumerate(self.spec.names)}
        )

    def _probabilities(self, columns: Mapping[str, list[Any]]) -> npt.NDArray[np.float64]:
        read = inputs_of(self.artifact.config, self.spec, columns)
        with torch.inference_mode():
            logits = self.artifact.network(read).squeeze(-1)
            return torch.sigmoid(logits.double()).numpy()


class ModelCache:
    """The most recently used models of this process, bounded by the bytes of their artifacts."""

    def __init__(self, capacity: int = 256 * 1024 * 1024) -> None:
        self._capacity = capacity
        self._models: OrderedDict[str, LoadedModel] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, digest: str, read: Callable[[], bytes]) -> LoadedModel:
        """The model of this digest; `read` opens and unseals its bytes if it is not here.

        Raises:
            ArtifactError: what `read` gave is not a valid model of this digest.
        """
        with self._lock:
            if digest in self._models:
                self._models.move_to_end(digest)
                return self._models[digest]
        # Outside the lock: one slow load must not hold up answers from models that are here.
        model = LoadedModel(read(), expected=digest)
        with self._lock:
            self._models[digest] = model
            self._models.move_to_end(digest)
            while len(self._models) > 1 and self.size > self._capacity:
                self._models.popitem(last=False)
        return model

    def drop(self, digest: str) -> None:
        """Forget a model that was stopped or rolled back."""
        with self._lock:
            self._models.pop(digest, None)

    @property
    def size(self) -> int:
        """Bytes of the artifacts held."""
        return sum(model.size for model in self._models.values())
