import platform

import numpy as np
import onnx
import pytest
from onnx import helper

from ears_edge.models.rewrite.heads import step_over_heads
from tests.models.rewrite.graphs import Array, model, noise, run, run_optimized, step

HEADS, HEAD = 2, 16
SIZE = HEADS * HEAD


def attention(
    batch: int | str = 1, minus: int = -1, bias: tuple[int, ...] = (HEADS, HEAD)
) -> onnx.ModelProto:
    """(batch, time, SIZE) -> the same: queries with a bias, keys, values, as NeMo exports them."""
    node = helper.make_node
    whole = {"zero": 0, "zero_": [0], "minus_": [minus], "heads_": [HEADS], "head_": [HEAD], "size_": [SIZE]}
    weights: dict[str, Array] = {name: np.array(value, np.int64) for name, value in whole.items()}
    weights |= {"left_": np.array([-1]), "b": noise(*bias), "table": noise(1, HEADS, HEAD, 5)}
    nodes = [
        node("Shape", ["x"], ["shape"]),
        node("Gather", ["shape", "zero"], ["batch"]),
        node("Unsqueeze", ["batch", "zero_"], ["batch_"]),
        node("Concat", ["batch_", "minus_", "heads_", "head_"], ["by_head"], axis=0),
        node("Reshape", ["x", "by_head"], ["queries"]),
        node("Add", ["queries", "b"], ["biased"]),
        node("Transpose", ["biased"], ["q"], perm=[0, 2, 1, 3]),
        node("Reshape", ["x", "by_head"], ["keys"]),
        node("Transpose", ["keys"], ["k"], perm=[0, 2, 3, 1]),
        node("MatMul", ["q", "k"], ["scores"]),
        node("Softmax", ["scores"], ["weights"]),
        node("Reshape", ["x", "by_head"], ["values"]),
        node("Transpose", ["values"], ["v"], perm=[0, 2, 1, 3]),
        node("MatMul", ["weights", "v"], ["heard"]),
        node("Transpose", ["heard"], ["by_time"], perm=[0, 2, 1, 3]),
        node("Concat", ["batch_", "left_", "size_"], ["rows"], axis=0),
        node("Reshape", ["by_time", "rows"], ["y"]),
    ]
    return model(nodes, {"x": [batch, "time", SIZE]}, [batch, "time", SIZE], weights)


def test_factors_are_taken_as_they_lie_and_every_bit_stays() -> None:
    made = step(step_over_heads, attention())
    assert made.found == 2
    perms = [list(node.attribute[0].ints) for node in made.after.graph.node if node.op_type == "Transpose"]
    assert perms == [[1, 2, 0, 3], [1, 2, 3, 0], [1, 2, 0, 3], [0, 2, 1, 3]]
    for time in (1, 2, 7, 50):
        x = noise(1, time, SIZE)
        assert np.array_equal(run(made.before, x=x), run(made.after, x=x))


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="was seen on x86-64 alone")
def test_what_onnxruntime_makes_of_it_has_the_same_bits_too() -> None:
    made = step(step_over_heads, attention())
    for time in (1, 2, 7, 50):
        x = noise(1, time, SIZE)
        assert np.array_equal(run_optimized(made.before, x=x), run_optimized(made.after, x=x))


def test_where_only_the_first_factor_could_be_taken_so_it_is_left() -> None:
    source = attention()
    while "scores" not in source.graph.node[-1].output:
        del source.graph.node[-1]
    product = source.graph.node[-1]
    product.input[1], product.output[0] = "table", "y"
    source.graph.output[0].type.tensor_type.ClearField("shape")
    source.graph.output[0].type.tensor_type.shape.dim.extend(
        onnx.TensorShapeProto.Dimension(dim_param=axis) for axis in "abcd"
    )
    assert step(step_over_heads, source).found == 0


@pytest.mark.parametrize(
    "source",
    [attention(batch="batch"), attention(minus=7)],
    ids=["several signals", "a fixed time"],
)
def test_other_attention_is_left(source: onnx.ModelProto) -> None:
    assert step(step_over_heads, source).found == 0


def test_a_bias_of_another_form_leaves_its_factor_alone() -> None:
    made = step(step_over_heads, attention(bias=(1, HEAD)))
    assert made.found == 2
    perms = [list(node.attribute[0].ints) for node in made.after.graph.node if node.op_type == "Transpose"]
    assert perms[0] == [0, 2, 1, 3]
    x = noise(1, 7, SIZE)
    assert np.array_equal(run(made.before, x=x), run(made.after, x=x))
