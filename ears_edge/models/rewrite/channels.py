"""The first convolution makes by far the largest tensor; a few channels of it at a time need little memory.

A convolution of the one channel that comes in, its scale, bias and ReLU, then quantization, then a depthwise
convolution: in all of it channels touch each other in one thing only, the greatest value, from which the
quantization takes its scale. So the channels are gone through in parts, twice: once for that value, once for
the convolution. Doing the first half twice costs less than going through memory does.
"""

from typing import Final, NamedTuple

import numpy as np
from onnx import AttributeProto, NodeProto, helper

from ears_edge.models.rewrite.graph import Array, Graph

PART: Final = 32
"""Channels at a time; a multiple of what CPUs take at once (16 with AVX-512)."""
PLANE: Final = 4
"""Rank of the input and the weights of a convolution along two axes: batch, channels, time, mel bins."""


class _Pair(NamedTuple):
    """Conv -> Mul -> Add -> Relu -> DynamicQuantizeLinear -> DequantizeLinear -> depthwise Conv."""

    first: NodeProto
    scale: str
    """Of the first convolution's sums: one number."""
    weights: Array
    bias: Array
    """(1, channels, 1, 1)."""
    quantize: NodeProto
    whole: NodeProto
    """The DequantizeLinear, whose scale is 1."""
    second: NodeProto
    second_weights: Array

    @property
    def channels(self) -> int:
        return len(self.weights)


def split_channels(graph: Graph) -> int:
    """Go through the channels in parts. Bit-exact.

    Returns:
        How many pairs of convolutions.
    """
    pairs = [pair for node in graph.nodes("Conv") if (pair := _pair(graph, node))]
    for pair in pairs:
        one = graph.constant(np.array([0]), "axis")
        flat = [helper.make_attribute("keepdims", 0)]
        greatest = [
            graph.add("Unsqueeze", graph.add("ReduceMax", _part(graph, pair, begin), attributes=flat), one)
            for begin in range(0, pair.channels, PART)
        ]
        # After a ReLU the least value is taken for 0 in any case, and the greatest of parts is that of all:
        # from these few numbers DynamicQuantizeLinear makes the scale that it makes of the whole.
        line = [helper.make_attribute("axis", 0)]
        _, scale, zero_point = graph.add_many(
            "DynamicQuantizeLinear", graph.add("Concat", *greatest, attributes=line), outputs=3
        )
        parts = [_second(graph, pair, begin, scale, zero_point) for begin in range(0, pair.channels, PART)]
        graph.replace(pair.quantize.output[1], scale)
        side = [helper.make_attribute("axis", 1)]
        graph.replace(pair.second.output[0], graph.add("Concat", *parts, attributes=side))
    return len(pairs)


def _part(graph: Graph, pair: _Pair, begin: int) -> str:
    """Add the first half for a part of the channels."""
    weights = graph.constant(pair.weights[begin : begin + PART], "weights")
    sums = graph.add("Conv", pair.first.input[0], weights, attributes=pair.first.attribute)
    bias = graph.constant(pair.bias[:, begin : begin + PART], "bias")
    return graph.add("Relu", graph.add("Add", graph.add("Mul", sums, pair.scale), bias))


def _second(graph: Graph, pair: _Pair, begin: int, scale: str, zero_point: str) -> str:
    """Add all of it for a part of the channels, now that the scale is known."""
    quantized = graph.add("QuantizeLinear", _part(graph, pair, begin), scale, zero_point)
    whole = graph.add("DequantizeLinear", quantized, pair.whole.input[1], zero_point)
    weights = graph.constant(pair.second_weights[begin : begin + PART], "weights")
    attributes: list[AttributeProto] = [a for a in pair.second.attribute if a.name != "group"]
    attributes.append(helper.make_attribute("group", PART))
    return graph.add("Conv", whole, weights, attributes=attributes)


def _pair(graph: Graph, second: NodeProto) -> _Pair | None:
    """The pair whose second convolution this is, if all of it is as `integer_to_float` leaves it."""
    whole = graph.maker(second.input[0], "DequantizeLinear")
    quantize = whole and graph.maker(whole.input[0], "DynamicQuantizeLinear")
    relu = quantize and graph.maker(quantize.input[0], "Relu")
    if not (whole and quantize and relu) or len(second.input) > 2:  # noqa: PLR2004  # a bias of its own
        return None
    if not graph.only_user(relu.output[0], quantize.op_type) or not graph.only_user(
        quantize.output[0], whole.op_type
    ):
        return None
    add = graph.maker(relu.input[0], "Add")
    scaled, bias = _made_by(graph, add, "Mul")
    first, scale = _made_by(graph, scaled, "Conv")
    if not first or len(first.input) > 2:  # noqa: PLR2004  # as above
        return None
    weights, values = graph.value(first.input[1]), graph.value(bias)
    second_weights = graph.value(second.input[1])
    if weights is None or values is None or second_weights is None:
        return None
    channels = len(weights)
    fits = (
        weights.ndim == second_weights.ndim == PLANE
        and weights.shape[1] == second_weights.shape[1] == 1
        and len(second_weights) == _group(second) == channels
        and _group(first) == 1
        and values.shape == (1, channels, 1, 1)
        and graph.number(whole.input[1]) == 1
        and channels > PART
        and channels % PART == 0
    )
    return _Pair(first, scale, weights, values, quantize, whole, second, second_weights) if fits else None


def _made_by(graph: Graph, node: NodeProto | None, op: str) -> tuple[NodeProto | None, str]:
    """Of a node of two inputs: what makes the one, by this operator, and the name of the other."""
    for number, name in enumerate(node.input if node else ()):
        if node and (found := graph.maker(name, op)):
            return found, node.input[1 - number]
    return None, ""


def _group(conv: NodeProto) -> int:
    return next((int(a.i) for a in conv.attribute if a.name == "group"), 1)
