"""Masks that hide what is behind a shorter neighbour's end: of no use for one signal of its true length."""

from typing import Final

from onnx import NodeProto

from ears_edge.models.rewrite.graph import Graph

LENGTH: Final = "length"
"""The input that says how long each signal of the batch is."""
SHAPING: Final = frozenset(
    {"Cast", "Expand", "Identity", "Reshape", "Slice", "Squeeze", "Tile", "Transpose", "Unsqueeze"}
)
"""What may stand between the comparison and the use of a mask; its first input is the mask."""
LOGIC: Final = frozenset({"And", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Not", "Or"})


def drop_masks(graph: Graph) -> int:
    """Remove masks by length, and fix the batch at one: without masks all signals of a batch must be as long.

    A mask is what was compared with `length`, and depends on nothing else but shapes.
    `Where(mask, number, x)` and `x * mask` become `x`.

    Returns:
        How many.
    """
    masks = _Masks(graph)
    dropped = 0
    for node in graph.nodes("Where"):
        mask, fill, data = node.input
        if masks.is_mask(mask) and graph.number(fill) is not None and not masks.is_mask(data):
            graph.replace(node.output[0], data)
            dropped += 1
    for node in graph.nodes("Mul"):
        first, second = (masks.is_mask(name) for name in node.input)
        if first != second:
            graph.replace(node.output[0], node.input[0 if second else 1])
            dropped += 1
    if dropped:
        for value in (*graph.model.graph.input, *graph.model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_value = 1
    return dropped


class _Masks:
    """Which tensors follow from the length and from shapes alone."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._inputs = {value.name for value in graph.model.graph.input}
        self._sources: dict[str, set[str]] = {}

    def is_mask(self, name: str) -> bool:
        node = self._graph.maker(name)
        while node is not None and node.op_type in SHAPING:
            node = self._graph.maker(node.input[0])
        return node is not None and node.op_type in LOGIC and self._from(node) == {LENGTH}

    def _from(self, node: NodeProto) -> set[str]:
        """The inputs of the model on whose values (not shapes) a node's output depends."""
        if node.output[0] not in self._sources:
            found: set[str] = set()
            seen: set[str] = set()
            names = [*node.input]
            while names:
                name = names.pop()
                maker = self._graph.maker(name)
                if maker is None:
                    found |= {name} & self._inputs
                elif maker.op_type != "Shape" and maker.output[0] not in seen:
                    seen.add(maker.output[0])
                    names += maker.input
            self._sources[node.output[0]] = found
        return self._sources[node.output[0]]
