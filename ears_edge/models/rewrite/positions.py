"""Relative positions: each layer quantizes and projects the same table anew, for every window."""

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from onnx import NodeProto, helper

from ears_edge.models.rewrite.graph import Array, Graph
from ears_edge.models.rewrite.products import Product, product

MAX_GROWTH: Final = 3
"""Tables that would grow by more than this, as the scale changes with the length too often, are left."""

F32 = npt.NDArray[np.float32]


class _Table(NamedTuple):
    """A constant table of positions, of which the middle 2 T - 1 rows are cut out for T frames."""

    rows: F32
    """(2 P - 1, D): position P - 1 first, position 0 in the middle."""
    frames: str
    """Name of T: int64, a scalar."""


class _Range(NamedTuple):
    """Numbers of frames for which the cut is quantized with one scale."""

    last: int
    """The greatest of them."""
    scale: np.float32
    zero_point: np.float32


class _Cut(NamedTuple):
    """What all layers share: the quantized cuts, and where in them the rows for T frames are."""

    pieces: list[tuple[Array, np.float32]]
    """For each range (2 last - 1, D) float64 whole numbers without their zero point, and their scale."""
    start: str
    stop: str


def fold_positions(graph: Graph, frames: int) -> int:
    """Project the table of positions once and for all; in each layer only a cut remains. Bit-exact.

    DynamicQuantizeLinear takes its scale from the cut, so for each scale that occurs there is a table of its
    own. The scales differ for the first few lengths only, as sine and cosine soon come close to -1.

    Args:
        graph: Changed.
        frames: The most encoder frames that the rewritten model must take; the table is cut down to them.

    Returns:
        How many projections.
    """
    folded = 0
    cuts: dict[str, _Cut | None] = {}
    for node in graph.nodes("MatMulInteger"):
        projection = product(graph, node)
        if projection is None:
            continue
        if projection.data not in cuts:
            table = _table(graph, projection.data)
            cuts[projection.data] = _cut(graph, table, frames) if table else None
        cut, found = cuts[projection.data], _heads(graph, projection)
        if cut is None or found is None:
            continue
        transpose, heads = found
        projected = np.concatenate([_project(*piece, projection) for piece in cut.pieces])
        by_head = projected.reshape(1, len(projected), heads, -1).transpose(0, 2, 1, 3)
        inputs = [
            graph.constant(by_head, "positions"),
            cut.start,
            cut.stop,
            graph.constant(np.array([2]), "axis"),
        ]
        swap = [helper.make_attribute("perm", [0, 1, 3, 2])]
        graph.replace(
            transpose.output[0], graph.add("Transpose", graph.add("Slice", *inputs), attributes=swap)
        )
        folded += 1
    return folded


def ranges(rows: F32, frames: int) -> Iterator[_Range]:
    """The ranges of lengths with the same scale and zero point, in order, up to `frames`.

    Source: ONNX, DynamicQuantizeLinear.
    """
    middle = len(rows) // 2
    low, high = rows.min(axis=1), rows.max(axis=1)
    # What is at most so far from the middle, on either side.
    lows = np.minimum.accumulate(np.minimum(low[middle::-1], low[middle:]))[:frames]
    highs = np.maximum.accumulate(np.maximum(high[middle::-1], high[middle:]))[:frames]
    lows, highs = np.minimum(lows, np.float32(0)), np.maximum(highs, np.float32(0))
    scales = (highs - lows) / np.float32(255)
    zeros = np.clip(np.rint(-lows / scales), 0, 255)
    changes = (np.diff(scales) != 0) | (np.diff(zeros) != 0)
    for last in (*np.flatnonzero(changes) + 1, len(scales)):
        yield _Range(int(last), scales[last - 1], zeros[last - 1])


def _cut(graph: Graph, table: _Table, frames: int) -> _Cut | None:
    """The pieces of the table, one behind the other; None if they would be too many, or are all zero."""
    frames = min(frames, (len(table.rows) + 1) // 2)
    if not np.isfinite(table.rows).all() or not table.rows[len(table.rows) // 2].any():
        return None
    found = list(ranges(table.rows, frames))
    if sum(2 * one.last - 1 for one in found) > MAX_GROWTH * (2 * frames - 1):
        return None
    middle, behind, begin = len(table.rows) // 2, 0, 1
    pieces: list[tuple[Array, np.float32]] = []
    starts, stops = [0], [0]
    for last, scale, zero_point in found:
        rows = table.rows[middle - last + 1 : middle + last]
        quantized = np.clip(np.rint(rows / scale) + zero_point, 0, 255) - zero_point
        pieces.append((quantized.astype(np.float64), scale))
        for length in range(begin, last + 1):
            starts.append(behind + last - length)
            stops.append(behind + last + length - 1)
        begin, behind = last + 1, behind + 2 * last - 1
    ends = (graph.constant(np.array(rows)[:, None], "rows") for rows in (starts, stops))
    # A longer window than there are rows for is an error, not nonsense.
    start, stop = (graph.add("Gather", end, table.frames) for end in ends)
    return _Cut(pieces, start, stop)


def _project(rows: Array, scale: np.float32, projection: Product) -> F32:
    """(N, D) whole numbers of that scale -> (N, D') float32, as the integer product gives them."""
    # Of whole numbers, float64 makes exact sums up to 2 ** 53.
    sums = rows @ (projection.weights.astype(np.float64) - projection.zero_point)
    projected: F32 = sums.astype(np.int32).astype(np.float32) * (scale * np.float32(projection.scale))
    return projected


def _table(graph: Graph, name: str) -> _Table | None:
    """The table of which a tensor is the middle: Slice with start = P - T and stop = P + T - 1 on axis 1.

    Source: NeMo, RelPositionalEncoding.forward.
    """
    cut = graph.maker(name, "Slice")
    rows = graph.value(cut.input[0]) if cut else None
    if not cut or rows is None or rows.ndim != 3 or rows.shape[0] != 1 or not rows.shape[1] % 2:  # noqa: PLR2004  # 1, row, D
        return None
    middle = (rows.shape[1] + 1) // 2
    steps = graph.ints(cut.input[4]) if len(cut.input) > 4 else [1]  # noqa: PLR2004  # Slice's fifth input
    start, stop = (graph.maker(end, "Unsqueeze") for end in cut.input[1:3])
    first = start and graph.maker(start.input[0], "Sub")
    behind = stop and graph.maker(stop.input[0], "Sub")
    reach = behind and graph.maker(behind.input[0], "Add")
    if not (first and behind and reach) or graph.ints(cut.input[3]) != [1] or steps != [1]:
        return None
    numbers = [graph.number(name) for name in (first.input[0], reach.input[0], behind.input[1])]
    if numbers != [middle, middle, 1] or reach.input[1] != first.input[1]:
        return None
    return _Table(rows[0], first.input[1])


def _heads(graph: Graph, projection: Product) -> tuple[NodeProto, int] | None:
    """The Transpose that puts the heads first and the positions last, and the number of heads."""
    view = graph.only_user(projection.output, "Reshape")
    transpose = view and graph.only_user(view.output[0], "Transpose")
    shape = view and graph.maker(view.input[1], "Concat")
    if not transpose or not shape or list(transpose.attribute[0].ints) != [0, 2, 3, 1]:
        return None
    sizes = [graph.number(name) for name in shape.input[1:]]
    if len(sizes) != 3 or sizes[1] is None or sizes[2] is None:  # noqa: PLR2004  # positions, heads, head
        return None
    heads, head = int(sizes[1]), int(sizes[2])
    return (transpose, heads) if heads > 0 and heads * head == projection.weights.shape[1] else None
