"""Channels last, from one product to the next: what lies between them needs no transposition.

Products want channels last, the exported graph has them second around its convolutions. Where a Transpose
brings channels from the last place to the second, it moves behind the node that uses it, as long as that node
can do without; in the end most meet another Transpose, and both go.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import numpy as np
from onnx import AttributeProto, NodeProto, helper

from ears_edge.models.rewrite.attributes import ints
from ears_edge.models.rewrite.convolutions import TO_SECOND
from ears_edge.models.rewrite.depthwise import convolve
from ears_edge.models.rewrite.graph import Graph

EACH_ALONE: Final = frozenset(
    {"Add", "DequantizeLinear", "DynamicQuantizeLinear", "Mul", "QuantizeLinear", "Relu", "Sigmoid"}
)
"""These treat each element alone, once the numbers are known that all share."""


class _Last(NamedTuple):
    """A tensor with channels last, of which a Transpose makes one with channels second."""

    name: str
    rank: int


def keep_channels_last(graph: Graph) -> int:
    """Move transpositions behind what can do without, until they meet. Bit-exact.

    Returns:
        How many met another.
    """
    met = 0
    for node in graph.in_order():
        if node.op_type == "Transpose":
            met += _meet(graph, node)
        elif node.op_type == "Shape":
            _ask(graph, node)
        elif node.op_type in ("Concat", "Split"):
            _along_channels(graph, node)
        elif node.op_type == "Conv":
            last = _last(graph, node.input[0])
            convolve(graph, node, last.name if last else "")
        elif node.op_type in EACH_ALONE:
            _pass(graph, node)
    return met


def _last(graph: Graph, name: str) -> _Last | None:
    """What a tensor was before a Transpose made its channels second, if one did."""
    maker = graph.maker(name, "Transpose")
    perm = ints(maker, "perm", []) if maker else []
    return _Last(maker.input[0], len(perm)) if maker and perm == TO_SECOND.get(len(perm)) else None


def _meet(graph: Graph, node: NodeProto) -> bool:
    """Transpose: both in one, or none."""
    last, perm = _last(graph, node.input[0]), ints(node, "perm", [])
    if last is None or last.rank != len(perm):
        return False
    both = [TO_SECOND[last.rank][axis] for axis in perm]
    alike = both == sorted(both)
    graph.replace(node.output[0], last.name if alike else graph.transpose(last.name, both))
    return True


def _ask(graph: Graph, node: NodeProto) -> None:
    """Shape: the same sizes in another order."""
    last = _last(graph, node.input[0])
    if last and not node.attribute:
        order = graph.constant(np.array(TO_SECOND[last.rank]), "order")
        graph.replace(node.output[0], graph.add("Gather", graph.add("Shape", last.name), order))


def _along_channels(graph: Graph, node: NodeProto) -> None:
    """Split or Concat: the axis is another."""
    tensors = node.input[:1] if node.op_type == "Split" else node.input
    lasts = [last for name in tensors if (last := _last(graph, name))]
    if len(lasts) < len(tensors) or len({last.rank for last in lasts}) > 1 or ints(node, "axis", [0]) != [1]:
        return
    attributes = [a for a in node.attribute if a.name != "axis"]
    attributes.append(helper.make_attribute("axis", lasts[0].rank - 1))
    inputs = [*(last.name for last in lasts), *node.input[len(tensors) :]]
    _replace(graph, node, inputs, attributes, lasts[0].rank, transposed=len(node.output))


def _pass(graph: Graph, node: NodeProto) -> None:
    """One of EACH_ALONE."""
    lasts = [_last(graph, name) for name in node.input]
    ranks = {last.rank for last in lasts if last}
    if len(ranks) != 1:
        return
    (rank,) = ranks
    inputs = [
        last.name if last else _shared(graph, name, rank)
        for last, name in zip(lasts, node.input, strict=True)
    ]
    if all(inputs):
        # Scale and zero point, which DynamicQuantizeLinear makes, are numbers.
        _replace(graph, node, inputs, node.attribute, rank, transposed=1)


def _replace(
    graph: Graph,
    node: NodeProto,
    inputs: Sequence[str],
    attributes: Iterable[AttributeProto],
    rank: int,
    *,
    transposed: int,
) -> None:
    """Add the same node over other inputs, and transpositions behind the first of its outputs."""
    names = graph.add_many(node.op_type, *inputs, outputs=len(node.output), attributes=attributes)
    for number, (old, new) in enumerate(zip(list(node.output), names, strict=True)):
        graph.replace(old, graph.transpose(new, TO_SECOND[rank]) if number < transposed else new)


def _shared(graph: Graph, name: str, rank: int) -> str:
    """What stands for a tensor beside one with channels last; empty if nothing can."""
    if _is_number(graph, name):
        return name
    value = graph.value(name)
    if value is None or value.ndim != rank or value.size != value.shape[1]:
        return ""
    return graph.constant(value.reshape(-1), "bias")


def _is_number(graph: Graph, name: str) -> bool:
    value, maker = graph.value(name), graph.maker(name)
    if value is not None or maker is None:
        return value is not None and value.shape in ((), (1,))
    if maker.op_type == "Mul":
        return all(_is_number(graph, one) for one in maker.input)
    return maker.op_type == "DynamicQuantizeLinear" and name != maker.output[0]
