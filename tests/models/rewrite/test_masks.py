import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from ears_edge.models.rewrite.masks import drop_masks
from tests.models.rewrite.graphs import Array, model, noise, run, step

SIZE = 4
WEIGHTS: dict[str, Array] = {
    "zero": np.array(0, np.int64),
    "one": np.array(1, np.int64),
    "two": np.array(2, np.int64),
    "axis1": np.array([1], np.int64),
    "fill": np.array(-1.0, np.float32),
    "half": np.array(0.5, np.float32),
}


def valid() -> list[onnx.NodeProto]:
    """`valid` (batch, 1, time) bool: the column is before the end of its signal."""
    node = helper.make_node
    return [
        node("Shape", ["x"], ["shape"]),
        node("Gather", ["shape", "two"], ["time"]),
        node("Range", ["zero", "time", "one"], ["columns"]),
        node("Unsqueeze", ["length", "axis1"], ["lengths"]),
        node("Less", ["columns", "lengths"], ["before_end"]),
        node("Unsqueeze", ["before_end", "axis1"], ["valid"]),
    ]


def masked(*nodes: onnx.NodeProto) -> onnx.ModelProto:
    shape: list[int | str] = ["batch", SIZE, "time"]
    return model([*valid(), *nodes], {"x": shape, "length": ["batch"]}, shape, WEIGHTS)


def hide() -> list[onnx.NodeProto]:
    return [
        helper.make_node("Not", ["valid"], ["hidden"]),
        helper.make_node("Cast", ["hidden"], ["hidden_too"], to=TensorProto.BOOL),
        helper.make_node("Where", ["hidden_too", "fill", "x"], ["y_"]),
        helper.make_node("Relu", ["y_"], ["y"]),
    ]


def multiply() -> list[onnx.NodeProto]:
    return [
        helper.make_node("Cast", ["valid"], ["ones"], to=TensorProto.FLOAT),
        helper.make_node("Expand", ["ones", "shape"], ["all_ones"]),
        helper.make_node("Mul", ["x", "all_ones"], ["y_"]),
        helper.make_node("Relu", ["y_"], ["y"]),
    ]


@pytest.mark.parametrize("nodes", [hide(), multiply()], ids=["Where", "Mul"])
def test_a_mask_by_length_goes_and_one_whole_signal_comes_out_the_same(nodes: list[onnx.NodeProto]) -> None:
    made = step(drop_masks, masked(*nodes))
    assert made.found == 1
    assert made.operators() == ["Relu"]
    x, length = noise(1, SIZE, 7), np.array([7], np.int64)
    assert np.array_equal(run(made.before, x=x, length=length), run(made.after, x=x, length=length))
    assert not np.array_equal(run(made.before, x=x, length=length - 2), run(made.before, x=x, length=length))


def test_without_masks_a_batch_of_two_is_refused() -> None:
    made = step(drop_masks, masked(*hide()))
    with pytest.raises(Exception, match="invalid dimensions"):
        run(made.after, x=noise(2, SIZE, 7), length=np.array([7, 7]))


@pytest.mark.parametrize(
    "nodes",
    [
        [
            helper.make_node("Greater", ["x", "half"], ["loud"]),
            helper.make_node("Where", ["loud", "fill", "x"], ["y"]),
        ],
        [
            helper.make_node("Cast", ["x"], ["as_bool"], to=TensorProto.BOOL),
            helper.make_node("And", ["as_bool", "valid"], ["both"]),
            helper.make_node("Where", ["both", "fill", "x"], ["y"]),
        ],
        [
            helper.make_node("Unsqueeze", ["lengths", "axis1"], ["longer"]),
            helper.make_node("Cast", ["longer"], ["number"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["x", "number"], ["y"]),
        ],
        [
            helper.make_node("Neg", ["x"], ["other"]),
            helper.make_node("Where", ["valid", "other", "x"], ["y"]),
        ],
    ],
    ids=["by loudness", "by length and content", "a length is no mask", "two signals"],
)
def test_what_depends_on_more_than_the_length_stays(nodes: list[onnx.NodeProto]) -> None:
    made = step(drop_masks, masked(*nodes))
    assert made.found == 0
    assert made.after.graph.input == made.before.graph.input
    x = noise(2, SIZE, 5)
    length = np.array([5, 3])
    assert np.array_equal(run(made.before, x=x, length=length), run(made.after, x=x, length=length))
