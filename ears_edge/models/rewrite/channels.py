"""The first convolution makes by far the largest tensor; a few channels of it at a time need little memory.

A convolution of the one channel that comes in, its scale, bias and ReLU, then quantization, then a depthwise
convolution: in all of it channels touch each other in one thing only, the greatest value, from which the
quantization takes its scale. So the channels are gone through in parts, twice: once for that value, once for
the convolution. Convolving twice costs less than going through memory does; and as rounded products and sums
never turn the order of two numbers, of each channel only the greatest sum is scaled for that value.
"""

from typing import Final, NamedTuple

from onnx import AttributeProto, NodeProto, helper

from ears_edge.models.rewrite.attributes import group
from ears_edge.models.rewrite.graph import Array, Graph

PART: Final = 32
"""Channels at a time; a multiple of what CPUs take at once (16 with AVX-512)."""
PLANE: Final = 4
"""Rank of the input and the weights of a convolution along two axes: batch, channels, time, mel bins."""


class _Pair(NamedTuple):
    """Conv -> Mul -> Add -> Relu -> DynamicQuantizeLinear -> DequantizeLinear -> depthwise Conv."""

    first: NodeProto
    scale: str
    """Of the first convolution's sums: one number, not below 0."""
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
        side = [helper.make_attribute("axis", 1)]
        firsts = [_sums(graph, pair, begin) for begin in range(0, pair.channels, PART)]
        sums = graph.add("Concat", *(graph.add("GlobalMaxPool", first) for first in firsts), attributes=side)
        greatest = graph.add("Relu", _scaled(graph, pair, sums, slice(None)))
        # After a ReLU the least value is taken for 0 in any case, and the greatest of parts is that of all:
        # from these few numbers DynamicQuantizeLinear makes the scale that it makes of the whole.
        _, scale, zero_point = graph.add_many("DynamicQuantizeLinear", greatest, outputs=3)
        parts = [_second(graph, pair, begin, scale, zero_point) for begin in range(0, pair.channels, PART)]
        graph.replace(pair.quantize.output[1], scale)
        graph.replace(pair.second.output[0], graph.add("Concat", *parts, attributes=side))
    return len(pairs)


def _sums(graph: Graph, pair: _Pair, begin: int) -> str:
    """Add the first convolution for a part of the channels."""
    weights = graph.constant(pair.weights[begin : begin + PART], "weights")
    return graph.add("Conv", pair.first.input[0], weights, attributes=pair.first.attribute)


def _scaled(graph: Graph, pair: _Pair, sums: str, channels: slice) -> str:
    """Add what is between those sums and the ReLU."""
    bias = graph.constant(pair.bias[:, channels], "bias")
    return graph.add("Add", graph.add("Mul", sums, pair.scale), bias)


def _second(graph: Graph, pair: _Pair, begin: int, scale: str, zero_point: str) -> str:
    """Add all of it for a part of the channels, now that the scale is known."""
    real = _scaled(graph, pair, _sums(graph, pair, begin), slice(begin, begin + PART))
    # The zero point is 0, so that what a ReLU would take away becomes 0 here, too.
    quantized = graph.add("QuantizeLinear", real, scale, zero_point)
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
        _is_scale(graph, scale)
        and weights.ndim == second_weights.ndim == PLANE
        and weights.shape[1] == second_weights.shape[1] == 1
        and len(second_weights) == group(second) == channels
        and group(first) == 1
        and values.shape == (1, channels, 1, 1)
        and graph.number(whole.input[1]) == 1
        and channels > PART
        and channels % PART == 0
    )
    return _Pair(first, scale, weights, values, quantize, whole, second, second_weights) if fits else None


def _is_scale(graph: Graph, name: str) -> bool:
    """Whether this is a scale by DynamicQuantizeLinear times a number that is not below 0."""
    maker, number = _made_by(graph, graph.maker(name, "Mul"), "DynamicQuantizeLinear")
    factor = graph.number(number) if maker else None
    return factor is not None and factor >= 0


def _made_by(graph: Graph, node: NodeProto | None, op: str) -> tuple[NodeProto | None, str]:
    """Of a node of two inputs: what makes the one, by this operator, and the name of the other."""
    for number, name in enumerate(node.input if node else ()):
        if node and (found := graph.maker(name, op)):
            return found, node.input[1 - number]
    return None, ""
