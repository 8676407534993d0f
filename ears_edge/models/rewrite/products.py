"""The integer products that `quantize_dynamic` leaves: quantize the input, multiply, scale back."""

from math import frexp
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from onnx import NodeProto, TensorProto, helper

from ears_edge.models.rewrite.graph import Array, Graph

RUNTIME: Final = "com.microsoft"
"""Domain of onnxruntime's own operators."""


class Product(NamedTuple):
    """DynamicQuantizeLinear -> ConvInteger or MatMulInteger -> Cast -> Mul, one scale for all weights."""

    node: NodeProto
    data: str
    """What is quantized: float32."""
    weights: Array
    """int8 or uint8, as they lie in the file."""
    zero_point: int
    scale: float
    output: str
    """What comes out of the last node: float32."""

    def real_weights(self) -> npt.NDArray[np.float32]:
        """The weights as float32 numbers."""
        return (self.weights.astype(np.float32) - np.float32(self.zero_point)) * np.float32(self.scale)


def product(graph: Graph, node: NodeProto) -> Product | None:
    """The product whose middle is `node`, if all around it is as `quantize_dynamic` makes it.

    Source: onnxruntime.quantization.operators, conv.py and matmul.py.
    """
    quantize = graph.maker(node.input[0], "DynamicQuantizeLinear")
    if quantize is None or len(node.input) < 3 or node.input[2] != quantize.output[2]:  # noqa: PLR2004  # its zero
        return None
    cast = graph.only_user(node.output[0], "Cast")
    scaled = cast and cast.attribute[0].i == TensorProto.FLOAT and graph.only_user(cast.output[0], "Mul")
    if not cast or not scaled:
        return None
    scale = _weight_scale(graph, quantize.output[1], _other(scaled, cast.output[0]))
    zero_point = graph.number(node.input[3]) if len(node.input) > 3 and node.input[3] else 0.0  # noqa: PLR2004  # w's
    weights = graph.value(node.input[1])
    if scale is None or zero_point is None or weights is None or weights.dtype.itemsize != 1:
        return None
    return Product(node, quantize.input[0], weights, int(zero_point), scale, scaled.output[0])


def matmul(graph: Graph, data: str, like: Product, weights: Array) -> str:
    """Add the product of float32 `data` with `weights` (K, N), which are quantized as those of `like`."""
    quantized, scale, zero_point = graph.add_many("DynamicQuantizeLinear", data, outputs=3)
    inputs = [quantized, graph.constant(weights, "weights"), zero_point]
    inputs.append(graph.constant(np.array(like.zero_point, weights.dtype), "zero_point"))
    cast = helper.make_attribute("to", TensorProto.FLOAT)
    return scaled(
        graph, graph.add("Cast", graph.add("MatMulInteger", *inputs), attributes=[cast]), scale, like
    )


def scaled(graph: Graph, sums: str, input_scale: str, like: Product) -> str:
    """Add the product of sums of whole numbers, as float32, with the scales of input and weights."""
    weight_scale = graph.constant(np.array(like.scale, np.float32), "scale")
    return graph.add("Mul", sums, graph.add("Mul", input_scale, weight_scale))


def fold_factors(graph: Graph) -> int:
    """Fold a power of two by which a product is multiplied into the scale of its weights. Bit-exact.

    Returns:
        How many.
    """
    folded = 0
    for node in graph.nodes("MatMulInteger"):
        found = product(graph, node)
        user = found and graph.only_user(found.output, "Mul")
        cast, quantize = graph.only_user(node.output[0], "Cast"), graph.maker(node.input[0])
        if not (found and user and cast and quantize):
            continue
        factor = graph.value(_other(user, found.output))
        if factor is None or factor.shape not in ((), (1,)) or not _is_power_of_two(factor.item()):
            continue
        like = found._replace(scale=found.scale * factor.item())
        graph.replace(user.output[0], scaled(graph, cast.output[0], quantize.output[1], like))
        folded += 1
    return folded


def part_products(graph: Graph) -> int:
    """Let products that share a quantization each quantize anew, in onnxruntime's own operator. Bit-exact.

    The CPU provider makes that operator of a product's four nodes by itself, but not of nodes that share the
    first. Quantizing takes less time than the two passes through memory of the last two.

    Returns:
        How many.
    """
    shared = [n for n in graph.nodes("MatMulInteger") if graph.only_user(n.input[0], n.op_type) is None]
    found = [one for node in shared if (one := product(graph, node))]
    for one in found:
        scale = graph.constant(np.array(one.scale, np.float32), "scale")
        inputs = [one.data, one.node.input[1], scale, *one.node.input[3:]]
        (made,) = graph.add_many("DynamicQuantizeMatMul", *inputs, outputs=1, domain=RUNTIME)
        graph.replace(one.output, made)
    return len(found)


def _is_power_of_two(number: float) -> bool:
    return abs(frexp(number)[0]) == 0.5  # noqa: PLR2004  # the mantissa


def _weight_scale(graph: Graph, input_scale: str, scales: str) -> float | None:
    both = graph.maker(scales, "Mul")
    if both is None or input_scale not in both.input:
        return None
    return graph.number(_other(both, input_scale))


def _other(node: NodeProto, name: str) -> str:
    """The other input of a node of two."""
    first, second = node.input
    return str(second if first == name else first)
