"""Integer convolutions, which the CPU provider runs ten times slower than integer matrix products."""

from typing import Final

import numpy as np
from onnx import NodeProto, helper

from ears_edge.models.rewrite.attributes import group, ints, text
from ears_edge.models.rewrite.graph import Array, Graph
from ears_edge.models.rewrite.products import Product, matmul, product, scaled

EXACT: Final = 2**24
"""Whole numbers below this are exact in float32."""
KEEPING_ZEROS: Final = frozenset({"DequantizeLinear", "DynamicQuantizeLinear"})
"""Through these a zero comes as it is, and zeros change no scale. Source: ONNX, DynamicQuantizeLinear."""
TO_LAST: Final = {3: [0, 2, 1], 4: [0, 2, 3, 1]}
"""By rank: from channels second (batch, channels, time, and maybe mel bins) to channels last."""
TO_SECOND: Final = {3: [0, 2, 1], 4: [0, 3, 1, 2]}
"""The way back."""


def pointwise_to_matmul(graph: Graph) -> int:
    """Turn pointwise ConvInteger into MatMulInteger with the same int8 weights. Bit-exact.

    Returns:
        How many.
    """
    found = [conv for conv in _convolutions(graph) if _is_pointwise(conv)]
    for conv in found:
        rank = conv.weights.ndim
        rows = graph.transpose(conv.data, TO_LAST[rank])
        columns = matmul(graph, rows, conv, conv.weights.reshape(conv.weights.shape[:2]).T)
        graph.replace(conv.output, graph.transpose(columns, TO_SECOND[rank]))
    return len(found)


def integer_to_float(graph: Graph) -> int:
    """Turn every other ConvInteger into Conv over the same whole numbers, held in float32.

    Sums of whole numbers below 2 ** 24 are exact in float32, in whatever order, so the outcome is that of the
    integers to the last bit. Where they might grow larger, the convolution is left.

    Returns:
        How many.
    """
    found = [
        conv
        for conv in _convolutions(graph)
        if not _is_pointwise(conv) and is_exact(conv.weights.astype(np.int64) - conv.zero_point)
    ]
    one = graph.constant(np.array(1, np.float32), "one") if found else ""
    for conv in found:
        quantized, scale, zero_point = graph.add_many("DynamicQuantizeLinear", conv.data, outputs=3)
        whole = graph.add("DequantizeLinear", quantized, one, zero_point)
        weights = graph.constant(conv.weights.astype(np.float32) - conv.zero_point, "weights")
        sums = graph.add("Conv", whole, weights, attributes=conv.node.attribute)
        graph.replace(conv.output, scaled(graph, sums, scale, conv))
    return len(found)


def is_exact(weights: Array) -> bool:
    """Whether no sum with these whole numbers can reach 2 ** 24, were all inputs 255 from their zero."""
    sizes = np.abs(weights).reshape(len(weights), -1)
    return int(sizes.sum(axis=1).max(initial=0)) * 255 < EXACT


def fold_pads(graph: Graph) -> int:
    """Let each Conv pad its input itself, where a Pad with zeros stands in front of it. Bit-exact.

    Returns:
        How many.
    """
    folded = 0
    for conv in graph.nodes("Conv"):
        spatial = len(ints(conv, "kernel_shape", []))
        pad = _pad_before(graph, conv)
        if pad is None or not spatial or text(conv, "auto_pad", "NOTSET") != "NOTSET":
            continue
        widths = _zeros_around(graph, pad, spatial)
        if widths is None:
            continue
        pads = [a + b for a, b in zip(ints(conv, "pads", [0] * (2 * spatial)), widths, strict=True)]
        attributes = [a for a in conv.attribute if a.name != "pads"]
        attributes.append(helper.make_attribute("pads", pads))
        graph.replace(conv.output[0], graph.add("Conv", *conv.input, attributes=attributes))
        graph.replace(pad.output[0], pad.input[0])
        folded += 1
    return folded


def _pad_before(graph: Graph, conv: NodeProto) -> NodeProto | None:
    """The Pad in front of a Conv, with at most quantization between, and no other use of what it makes."""
    user = conv
    while (maker := graph.maker(user.input[0])) and graph.only_user(user.input[0], user.op_type):
        if maker.op_type == "Pad":
            return maker
        if maker.op_type not in KEEPING_ZEROS:
            return None
        user = maker
    return None


def _convolutions(graph: Graph) -> list[Product]:
    return [found for node in graph.nodes("ConvInteger") if (found := product(graph, node))]


def _is_pointwise(conv: Product) -> bool:
    return (
        conv.weights.ndim in TO_LAST
        and set(conv.weights.shape[2:]) == {1}
        and group(conv.node) == 1
        and set(ints(conv.node, "strides", [1])) == {1}
        and not any(ints(conv.node, "pads", [0]))
    )


def _zeros_around(graph: Graph, pad: NodeProto, spatial: int) -> list[int] | None:
    """How many zeros a Pad puts around the last `spatial` axes, if it does that and no more."""
    widths = graph.ints(pad.input[1])
    value = graph.number(pad.input[2]) if len(pad.input) > 2 and pad.input[2] else 0.0  # noqa: PLR2004  # the value
    axes = len(pad.input) > 3 and pad.input[3]  # noqa: PLR2004  # opset 18: axes
    if text(pad, "mode", "constant") != "constant" or widths is None or value != 0 or axes:
        return None
    rank = len(widths) // 2
    begins, ends = widths[:rank], widths[rank:]
    others = begins[:-spatial] + ends[:-spatial]
    return None if min(widths) < 0 or any(others) else begins[-spatial:] + ends[-spatial:]
