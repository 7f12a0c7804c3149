"""A model in this process, ready to answer: rows of cells in, probabilities out.

Deterministic on one machine: one thread, evaluation mode, no randomness. A score must not depend on
who else asked at the same moment, and a matrix product does, in its last digits: about 1e-7 in
float32, which is a tenth of the grid that scores are rounded to. So

- a small network is computed in float64, where that is about 1e-16, ten orders below the grid;
- any other is asked row by row: there a product of many rows is hardly faster than many of one.
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
from training.config import ModelKind
from training.features import Encoded, FeatureSpec
from training.input_bins import InputBins
from training.inputs import inputs_of
from training.requests import check_row, input_schema

PLACES: Final = 6  # decimal places of a probability
SMALL: Final = 1_000_000  # weights of a network that is computed in float64, at most


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
        self.precise = _made_precise(self.artifact)

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
        """(n,) probability of the positive label for n checked rows, rounded to `PLACES`.

        A row's is the same whatever rows are beside it.
        """
        pieces = [rows] if self.precise else [[row] for row in rows]
        return np.round(
            np.concatenate(
                [
                    self._probabilities(
                        {name: [row[name] for row in piece] for name in self.spec.names}
                    )
                    for piece in pieces
                ]
            ),
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
        if self.precise:
            read = read.double()
        with torch.inference_mode():
            logits = self.artifact.network(read).squeeze(-1)
            return torch.sigmoid(logits.double()).numpy()


def _made_precise(artifact: Artifact) -> bool:
    """Turn a small network's weights into float64; False where it stays as it is.

    Adapters and encoded texts come through an encoder in float32. A module of the operator's own
    may name a type in its code: it is tried.
    """
    network = artifact.network
    if (
        artifact.config.model is ModelKind.LORA
        or any(isinstance(one, Encoded) for one in artifact.spec.features)
        or sum(weight.numel() for weight in network.parameters()) > SMALL
    ):
        return False
    network.double()
    if artifact.config.model is ModelKind.MODULE:
        try:
            with torch.inference_mode():
                network(torch.zeros(1, artifact.spec.width, dtype=torch.float64))
        except Exception:  # noqa: BLE001 - a stranger's code may raise anything
            network.float()
            return False
    return True


class ModelCache:
    """The most recently used models of this process, bounded by the bytes of their artifacts."""

    def __init__(self, capacity: int = 256 * 1024 * 1024) -> None:
        self._capacity = capacity
        self._models: OrderedDict[str, LoadedModel] = OrderedDict()
        self._lock = threading.Lock()
        self._loading: dict[str, threading.Lock] = {}

    def get(self, digest: str, read: Callable[[], bytes]) -> LoadedModel:
        """The model of this digest; `read` opens and unseals its bytes if it is not here.

        Raises:
            ArtifactError: what `read` gave is not a valid model of this digest.
        """
        with self._lock:
            known = self._known(digest)
            if known is not None:
                return known
            loading = self._loading.setdefault(digest, threading.Lock())
        # Outside the lock: one slow load must not hold up answers from models that are here. Those
        # who want the same model wait for it, rather than load it beside.
        with loading:
            with self._lock:
                known = self._known(digest)
            return self._load(digest, read) if known is None else known

    def _known(self, digest: str) -> LoadedModel | None:
        if digest not in self._models:
            return None
        self._models.move_to_end(digest)
        return self._models[digest]

    def _load(self, digest: str, read: Callable[[], bytes]) -> LoadedModel:
        try:
            model = LoadedModel(read(), expected=digest)
            with self._lock:
                self._models[digest] = model
                while len(self._models) > 1 and self.size > self._capacity:
                    self._models.popitem(last=False)
            return model
        finally:
            with self._lock:
                self._loading.pop(digest, None)

    def holds(self, digest: str) -> bool:
        """Whether a model is here, warm."""
        return digest in self._models

    def drop(self, digest: str) -> None:
        """Forget a model that was stopped or rolled back."""
        with self._lock:
            self._models.pop(digest, None)

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._models.clear()

    @property
    def size(self) -> int:
        """Bytes of the artifacts held."""
        return sum(model.size for model in self._models.values())
