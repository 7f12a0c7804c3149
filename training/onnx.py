"""A network as an ONNX graph: (B, D) features in, (B, 1) probabilities out.

Written node by node for the layers that `training.networks` uses, so that the graph is the same for
the same weights, and a layer that nobody thought of is refused rather than approximated.
"""

from collections.abc import Callable
from typing import Any, Final

import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from training.errors import ArtifactError

INPUT: Final = "features"
OUTPUT: Final = "probability"
_OPSET: Final = 17
_IR: Final = 9  # read by every runtime since 2023
_ELEMENTWISE: Final = {
    nn.Tanh: "Tanh",
    nn.ReLU: "Relu",
    nn.Sigmoid: "Sigmoid",
    nn.Identity: "Identity",
}


class _Graph:
    """Nodes and weights, in order."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.last = INPUT

    def tensor(self, name: str, value: torch.Tensor) -> str:
        """Add a constant."""
        found = f"{name}_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(value.detach().numpy(), found))
        return found

    def node(self, kind: str, *more: str, **attributes: Any) -> None:
        """Apply an operator to what came last and to constants."""
        made = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, [self.last, *more], [made], **attributes))
        self.last = made


def to_onnx(network: nn.Module, inputs: int) -> bytes:
    """The graph of a network with a sigmoid behind it. The same weights give the same bytes.

    Raises:
        ArtifactError: `artifact.form_unsupported`, a layer has no counterpart here.
    """
    if not isinstance(network, nn.Sequential):
        raise _unsupported()
    graph = _Graph()
    for layer in network:
        _add(graph, layer)
    graph.node("Sigmoid")
    graph.nodes[-1].output[0] = OUTPUT
    whole = helper.make_graph(
        graph.nodes,
        "model",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["rows", inputs])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["rows", 1])],
        graph.weights,
    )
    model = helper.make_model(
        whole, opset_imports=[helper.make_opsetid("", _OPSET)], producer_name="portcullis"
    )
    model.ir_version = _IR
    onnx.checker.check_model(model, full_check=True)
    stored: bytes = model.SerializeToString(deterministic=True)
    return stored


def _unsupported() -> ArtifactError:
    return ArtifactError(
        "a layer of this model has no form for other runtimes", code="artifact.form_unsupported"
    )


def _add(graph: _Graph, layer: nn.Module) -> None:
    known = _ELEMENTWISE.get(type(layer))
    if known is not None:
        graph.node(known)
        return
    add = _LAYERS.get(type(layer))
    if add is None:
        raise _unsupported()
    add(graph, layer)


def _linear(graph: _Graph, layer: nn.Linear) -> None:
    # MatMul and Add, not Gemm: the quantizer knows only the former by channel.
    graph.node("MatMul", graph.tensor("weight", layer.weight.T.contiguous()))
    if layer.bias is not None:
        graph.node("Add", graph.tensor("bias", layer.bias))


def _convolution(graph: _Graph, layer: nn.Conv2d) -> None:
    constants = [graph.tensor("weight", layer.weight)]
    if layer.bias is not None:
        constants.append(graph.tensor("bias", layer.bias))
    high, wide = layer.padding if isinstance(layer.padding, tuple) else (0, 0)
    graph.node(
        "Conv",
        *constants,
        kernel_shape=list(layer.kernel_size),
        strides=list(layer.stride),
        pads=[high, wide, high, wide],
        dilations=list(layer.dilation),
        group=layer.groups,
    )


def _pool(graph: _Graph, layer: nn.MaxPool2d) -> None:
    sizes = {
        name: [value, value] if isinstance(value, int) else list(value)
        for name, value in (("kernel_shape", layer.kernel_size), ("strides", layer.stride))
    }
    graph.node("MaxPool", **sizes)


def _unflatten(graph: _Graph, layer: nn.Unflatten) -> None:
    shape = torch.tensor([-1, *layer.unflattened_size], dtype=torch.int64)
    graph.node("Reshape", graph.tensor("shape", shape))


def _flatten(graph: _Graph, _layer: nn.Flatten) -> None:
    graph.node("Flatten", axis=1)


_LAYERS: Final[dict[type[nn.Module], Callable[[_Graph, nn.Module], None]]] = {
    nn.Linear: _linear,  # type: ignore[dict-item]  # looked up by that very type
    nn.Conv2d: _convolution,  # type: ignore[dict-item]
    nn.MaxPool2d: _pool,  # type: ignore[dict-item]
    nn.Unflatten: _unflatten,  # type: ignore[dict-item]
    nn.Flatten: _flatten,  # type: ignore[dict-item]
}
