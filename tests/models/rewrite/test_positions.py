from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from ears_edge.models.rewrite.positions import fold_positions, ranges
from tests.models.rewrite.graphs import Array, Step, model, noise, quantized, run, step

HEADS, HEAD, REACH = 2, 3, 20
SIZE = HEADS * HEAD


def sines() -> Array:
    """(1, 2 REACH - 1, SIZE) float32, as in NeMo: positions from the greatest down."""
    angle = np.arange(REACH - 1, -REACH, -1)[:, None] * np.array([1.0, 0.1, 0.01])
    return np.concatenate((np.sin(angle), np.cos(angle)), axis=1)[None].astype(np.float32)


def attention(middle: int = REACH, perm: tuple[int, ...] = (0, 2, 3, 1)) -> onnx.ModelProto:
    """(1, time, SIZE) -> (1, HEADS, time, 2 time - 1): each frame's product with all projected positions."""
    node = helper.make_node
    whole: dict[str, list[int] | int] = {"middle": middle, "one": 1}
    whole |= {"zero_": [0], "one_": [1], "minus_": [-1], "heads_": [HEADS], "head_": [HEAD]}
    weights: dict[str, Array] = {name: np.array(value, np.int64) for name, value in whole.items()}
    weights |= {"table": sines(), "w": noise(SIZE, SIZE)}
    nodes = [
        node("Shape", ["x"], ["shape"]),
        node("Gather", ["shape", "one"], ["time"]),
        node("Sub", ["middle", "time"], ["first"]),
        node("Add", ["middle", "time"], ["reach"]),
        node("Sub", ["reach", "one"], ["behind"]),
        node("Unsqueeze", ["first", "zero_"], ["start"]),
        node("Unsqueeze", ["behind", "zero_"], ["stop"]),
        node("Slice", ["table", "start", "stop", "one_", "one_"], ["positions"]),
        node("MatMul", ["positions", "w"], ["projected"]),
        node("Concat", ["one_", "minus_", "heads_", "head_"], ["by_head"], axis=0),
        node("Reshape", ["projected", "by_head"], ["viewed"]),
        node("Transpose", ["viewed"], ["keys"], perm=perm),
        node("Reshape", ["x", "by_head"], ["queries_"]),
        node("Transpose", ["queries_"], ["queries"], perm=[0, 2, 1, 3]),
        node("MatMul", ["queries", "keys"], ["y"]),
    ]
    return model(nodes, {"x": [1, "time", SIZE]}, [1, HEADS, "time", "positions"], weights)


def folded(source: onnx.ModelProto, folder: Path, frames: int) -> Step:
    return step(partial(fold_positions, frames=frames), quantized(source, folder))


@pytest.mark.exact_products
@pytest.mark.parametrize("frames", [8, REACH, 3 * REACH], ids=["cut", "whole", "more than there is"])
def test_projected_positions_are_those_that_were_projected_each_time_bit_by_bit(
    frames: int, tmp_path: Path
) -> None:
    source = attention()
    made = folded(source, tmp_path, frames)
    assert made.found == 1
    assert not {"MatMulInteger", "DynamicQuantizeLinear"} & set(made.operators())
    longest = min(frames, REACH)
    for time in range(1, longest + 1):
        x = noise(1, time, SIZE)
        before, after = run(made.before, x=x), run(made.after, x=x)
        assert after.shape == (1, HEADS, time, 2 * time - 1)
        assert np.array_equal(before, after)
    with pytest.raises(Exception, match="Gather"):
        run(made.after, x=noise(1, longest + 1, SIZE))


@pytest.mark.exact_products
def test_layers_share_the_cut(tmp_path: Path) -> None:
    source = attention()
    node, graph = helper.make_node, source.graph
    graph.initializer.append(onnx.numpy_helper.from_array(noise(SIZE, SIZE), "w2"))
    del graph.node[-1]
    graph.node.extend(
        [
            node("MatMul", ["positions", "w2"], ["projected2"]),
            node("Reshape", ["projected2", "by_head"], ["viewed2"]),
            node("Transpose", ["viewed2"], ["keys2"], perm=[0, 2, 3, 1]),
            node("Add", ["keys", "keys2"], ["both"]),
            node("MatMul", ["queries", "both"], ["y"]),
        ]
    )
    made = folded(source, tmp_path, 8)
    assert made.found == 2
    assert made.operators().count("Slice") == 2
    assert made.operators().count("Gather") == 3  # of the length, the first row, the last
    x = noise(1, 5, SIZE)
    assert np.array_equal(run(made.before, x=x), run(made.after, x=x))


def test_a_table_whose_scale_changes_with_every_length_is_left_alone(tmp_path: Path) -> None:
    source = attention()
    table = next(t for t in source.graph.initializer if t.name == "table")
    growing = np.abs(np.arange(REACH - 1, -REACH, -1, dtype=np.float32))[None, :, None] + np.ones(
        SIZE, np.float32
    )
    table.CopyFrom(onnx.numpy_helper.from_array(growing, "table"))
    assert folded(source, tmp_path, REACH).found == 0


def test_lengths_of_one_scale_make_one_range() -> None:
    rows = sines()[0]
    found = list(ranges(rows, 12))
    assert found[-1].last == 12
    for length in range(1, 13):
        one = next(r for r in found if r.last >= length)
        cut = rows[REACH - length : REACH + length - 1]
        low, high = min(cut.min(), np.float32(0)), cut.max()
        assert one.scale == (high - low) / np.float32(255)
        assert one.zero_point == np.rint(-low / one.scale)


@pytest.mark.parametrize(
    "source",
    [attention(middle=REACH - 1), attention(perm=(0, 2, 1, 3))],
    ids=["off the middle", "another view"],
)
def test_a_projection_of_another_form_is_left_alone(source: onnx.ModelProto, tmp_path: Path) -> None:
    del source.graph.node[-1]
    source.graph.node[-3].output[0] = "y"
    source.graph.output[0].type.tensor_type.ClearField("shape")
    source.graph.output[0].type.tensor_type.shape.dim.extend(
        onnx.TensorShapeProto.Dimension(dim_param=axis) for axis in "abcd"
    )
    made = folded(source, tmp_path, 8)
    assert made.found == 0
    assert "MatMulInteger" in made.operators()


def test_other_products_are_left_alone(tmp_path: Path) -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    source = model(nodes, {"x": [1, "time", SIZE]}, [1, "time", SIZE], {"w": noise(SIZE, SIZE)})
    made = folded(source, tmp_path, 8)
    assert made.found == 0
    assert "MatMulInteger" in made.operators()
