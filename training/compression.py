"""Other forms of a trained model: smaller, or for other runtimes. Post-processing: no ε.

    pruned  the half of all weights that is smallest in magnitude is zero (Han et al., arXiv
            1506.02626, without training again: that would touch the data). One size for all layers.
    onnx    the same function, for any runtime that reads ONNX.
    int8    of the ONNX graph, weights are 8-bit integers; activations are quantized as they come
            (dynamic), so no private row calibrates anything.

How well a form does is measured on the held-out rows within the one release that is paid for
(`training.evaluation.count`); how fast and how large it is needs no data. Which form is used is
chosen by nobody: what is served is the model as it was trained, and the card says so.
"""

import tempfile
import time
import zlib
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
from torch import nn

from training.config import Form
from training.evaluation import Metrics
from training.onnx import INPUT, to_onnx

PRUNED_SHARE: Final = 0.5
_ROWS: Final = 2_048
_TRIES: Final = 5

Scores = npt.NDArray[np.float64]
_Predict = Callable[[npt.NDArray[np.float32]], Scores]


@dataclass(frozen=True)
class Compressed:
    """One form of a model.

    Attributes:
        form: which.
        stored: its bytes.
        predict: (n, D) features to (n,) probabilities.
    """

    form: Form
    stored: bytes
    predict: _Predict

    @property
    def size(self) -> int:
        """Bytes, deflated: zeros are not worth storing."""
        return deflated(self.stored)


@dataclass(frozen=True)
class MeasuredForm:
    """What a card says of a form.

    Attributes:
        form: which.
        size: bytes, deflated.
        speed: rows a second, one thread, on the machine that trained.
        metrics: of the held-out rows, out of the same release as the model's own.
    """

    form: Form
    size: int
    speed: float
    metrics: Metrics


def deflated(stored: bytes) -> int:
    """How many bytes remain of `stored`."""
    return len(zlib.compress(stored, 9))


def compress(network: nn.Module, inputs: int, form: Form) -> Compressed:
    """A form of a network, made from its weights alone; the network is left as it is.

    Raises:
        ArtifactError: `artifact.form_unsupported`, a layer has no such form.
    """
    match form:
        case Form.PRUNED:
            smaller = pruned(network)
            return Compressed(form, to_onnx(smaller, inputs), scores_of(smaller))
        case Form.ONNX:
            stored = to_onnx(network, inputs)
        case Form.INT8:
            stored = _quantized(to_onnx(network, inputs))
    return Compressed(form, stored, running(stored))


def pruned(network: nn.Module) -> nn.Module:
    """A copy in which the smaller half of all weights is zero; biases stay."""
    smaller = deepcopy(network)
    weights = [p for p in smaller.parameters() if p.ndim > 1]
    sizes = torch.cat([weight.detach().abs().flatten() for weight in weights])
    with torch.no_grad():
        limit = torch.quantile(sizes, PRUNED_SHARE) if len(sizes) < _MOST else sizes.median()
        for weight in weights:
            weight.mul_(weight.abs() > limit)
    return smaller


_MOST: Final = 2**24  # numbers that torch.quantile takes


def scores_of(network: nn.Module) -> _Predict:
    """A network's probabilities."""

    def predict(features: npt.NDArray[np.float32]) -> Scores:
        with torch.inference_mode():
            logits = network(torch.from_numpy(features)).squeeze(-1)
            told: Scores = torch.sigmoid(logits.double()).numpy()
        return told

    return predict


def running(stored: bytes) -> _Predict:
    """An ONNX graph's probabilities, by one thread, as models are served."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(stored, options, providers=["CPUExecutionProvider"])

    def predict(features: npt.NDArray[np.float32]) -> Scores:
        (scores,) = session.run(None, {INPUT: features})
        told: Scores = scores.squeeze(-1).astype(np.float64)
        return told

    return predict


def rows_a_second(predict: _Predict, inputs: int) -> float:
    """How many rows a second it answers on one thread: the best of a few tries on rows of noise."""
    rows = np.random.default_rng(0).standard_normal((_ROWS, inputs), dtype=np.float32)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        predict(rows)
        best = min(_timed(predict, rows) for _ in range(_TRIES))
    finally:
        torch.set_num_threads(threads)
    return _ROWS / max(best, 1e-9)


def _timed(predict: _Predict, rows: npt.NDArray[np.float32]) -> float:
    start = time.perf_counter()
    predict(rows)
    return time.perf_counter() - start


def _quantized(stored: bytes) -> bytes:
    from onnxruntime.quantization import QuantType, quantize_dynamic  # noqa: PLC0415  # slow

    # The library works in files, in folders of one's own; a killed process leaves them behind. So
    # it is never given weights that may hold rows by heart: see `Form.INT8`.
    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder) / "model.onnx", Path(folder) / "int8.onnx"
        model = onnx.load_from_string(stored)
        # The quantizer warns of graphs whose shapes nobody inferred; `to_onnx` checked them.
        model.metadata_props.add(key="onnx.quant.pre_process", value="onnxruntime.quant")
        source.write_bytes(model.SerializeToString(deterministic=True))
        quantize_dynamic(source, made, weight_type=QuantType.QInt8, per_channel=True)
        return made.read_bytes()
