"""The attention's heads: products that step over them in memory need them in no other order.

From (time, 1, heads, head) instead of (1, time, heads, head), the same numbers in the same order, onnxruntime
makes the transposition that puts the heads first part of the product.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
from onnx import NodeProto

from ears_edge.models.rewrite.attributes import ints
from ears_edge.models.rewrite.graph import Graph

STEPPING: Final[Mapping[tuple[int, ...], list[int]]] = {
    (0, 2, 1, 3): [1, 2, 0, 3],
    (0, 2, 3, 1): [1, 2, 3, 0],
}
"""What puts the heads first in the one form -> the same for the other."""


class _Heads(NamedTuple):
    """Reshape to (1, time, heads, head), maybe Add, Transpose."""

    data: str
    sizes: list[int]
    """Heads, head."""
    bias: str
    """(heads, head); empty if there is none."""
    transpose: NodeProto


def step_over_heads(graph: Graph) -> int:
    """Let products take their factors as they lie before the heads are put first. Bit-exact.

    Where only the first one could be taken so, that would be slower.

    Returns:
        How many products; none if the model takes several signals at once.
    """
    products = 0
    for node in graph.nodes("MatMul") if _is_alone(graph) else ():
        first, second = (_heads(graph, name) for name in node.input)
        if second is None:
            continue
        for heads in (first, second):
            if heads:
                _step(graph, heads)
        products += 1
    return products


def _is_alone(graph: Graph) -> bool:
    """Whether the model takes one signal at a time; see `drop_masks`."""
    shapes = [value.type.tensor_type.shape.dim for value in graph.model.graph.input]
    return all([axis.dim_value for axis in shape[:1]] == [1] for shape in shapes)


def _step(graph: Graph, heads: _Heads) -> None:
    shape = graph.constant(np.array([-1, 1, *heads.sizes]), "shape")
    view = graph.add("Reshape", heads.data, shape)
    if heads.bias:
        view = graph.add("Add", view, heads.bias)
    perm = STEPPING[tuple(ints(heads.transpose, "perm", []))]
    graph.replace(heads.transpose.output[0], graph.transpose(view, perm))


def _heads(graph: Graph, name: str) -> _Heads | None:
    transpose = graph.maker(name, "Transpose")
    if transpose is None or tuple(ints(transpose, "perm", [])) not in STEPPING:
        return None
    add = graph.maker(transpose.input[0], "Add")
    view = graph.maker(add.input[0] if add else transpose.input[0], "Reshape")
    sizes = _sizes(graph, view.input[1]) if view else None
    bias = graph.value(add.input[1]) if add else None
    if view is None or sizes is None or (add and (bias is None or list(bias.shape) != sizes)):
        return None
    return _Heads(view.input[0], sizes, add.input[1] if add else "", transpose)


def _sizes(graph: Graph, shape: str) -> list[int] | None:
    """Of (batch, time, heads, head) the last two, if the first is asked for and the second is the rest."""
    concat = graph.maker(shape, "Concat")
    batch = concat and graph.maker(concat.input[0], "Unsqueeze")
    asked = batch and graph.maker(batch.input[0], "Gather")
    if not (concat and asked and graph.maker(asked.input[0], "Shape")) or graph.number(asked.input[1]) != 0:
        return None
    left, *sizes = [graph.number(name) or 0 for name in concat.input[1:]]
    known = left == -1 and len(sizes) == 2 and min(sizes) > 0  # noqa: PLR2004  # heads, head
    return [int(size) for size in sizes] if known else None
