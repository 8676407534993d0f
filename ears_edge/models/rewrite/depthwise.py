"""Depthwise convolutions between tensors with channels last.

The CPU provider's own are along two axes, and reorder in any case what comes in and what goes out: one
Transpose in front and one behind become part of that. One along a single axis takes several times as long.
"""

from typing import Final

import numpy as np
from onnx import AttributeProto, NodeProto, helper

from ears_edge.models.rewrite.attributes import group, ints
from ears_edge.models.rewrite.convolutions import TO_LAST, TO_SECOND, is_exact
from ears_edge.models.rewrite.graph import Array, Graph

LINE: Final = 3
"""Rank of the input and the weights of a convolution along one axis."""
PLANE: Final = 4
"""The same along two axes."""


def convolve(graph: Graph, node: NodeProto, last: str) -> None:
    """Put a depthwise Conv between transpositions, the outermost of which makes channels second; others stay.

    Args:
        graph: Changed.
        node: The Conv.
        last: What comes in, with channels last; empty if it is there with channels second alone.
    """
    weights = graph.value(node.input[1])
    if weights is None or group(node) != len(weights) or len(node.input) > 2:  # noqa: PLR2004  # a bias
        return
    if weights.ndim == PLANE:
        data = node.input[0]
        if last:
            # To the shape that it has: between the two, onnxruntime does not pair the Transpose with the
            # dequantization in front of it, for which it would quantize anew.
            shape = graph.constant(np.array([0, 0, 0, len(weights)]), "shape")
            data = graph.transpose(graph.add("Reshape", last, shape), TO_SECOND[PLANE])
        sums = graph.add("Conv", data, node.input[1], attributes=node.attribute)
        made = graph.transpose(sums, TO_LAST[PLANE])
    elif last and weights.ndim == LINE and _sums_whole_numbers(graph, last, weights):
        # (batch, time, channels) as a picture of one line.
        axis = graph.constant(np.array([1]), "axis")
        line = graph.transpose(graph.add("Unsqueeze", last, axis), TO_SECOND[PLANE])
        kernels = graph.constant(weights[:, :, None], "weights")
        sums = graph.add("Conv", line, kernels, attributes=_along_two_axes(node))
        made = graph.add("Squeeze", graph.transpose(sums, TO_LAST[PLANE]), axis)
    else:
        return
    graph.replace(node.output[0], graph.transpose(made, TO_SECOND[weights.ndim]))


def _sums_whole_numbers(graph: Graph, data: str, weights: Array) -> bool:
    """Whether the order of the sums does not matter; see `integer_to_float`."""
    whole = graph.maker(data, "DequantizeLinear")
    exact = np.array_equal(weights, np.rint(weights)) and is_exact(weights)
    return whole is not None and graph.number(whole.input[1]) == 1 and exact


def _along_two_axes(conv: NodeProto) -> list[AttributeProto]:
    """The attributes of a convolution along one axis, for two, of which the first has the length one."""
    sizes = {name: [1, *ints(conv, name, [1])] for name in ("dilations", "strides")}
    begin, end = ints(conv, "pads", [0, 0])
    sizes |= {"kernel_shape": [1, *ints(conv, "kernel_shape", [1])], "pads": [0, begin, 0, end]}
    attributes = [a for a in conv.attribute if a.name not in sizes]
    return [*attributes, *(helper.make_attribute(name, value) for name, value in sizes.items())]
