from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from ears_edge.models.rewrite.channels import PART, split_channels
from ears_edge.models.rewrite.convolutions import integer_to_float
from ears_edge.models.rewrite.graph import Graph
from tests.models.rewrite.graphs import attributes, model, noise, quantized, run, step

CHANNELS = 2 * PART


def subsampling(
    channels: int = CHANNELS, came_in: int = 1, group: int = 0, between: str = "Relu"
) -> onnx.ModelProto:
    """Two convolutions with strides and pads, as at the begin of an encoder; quantized by the caller."""
    group = group or channels
    halving = attributes(kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    first = helper.make_node("Conv", ["x", "w", "b"], ["c"])
    second = helper.make_node("Conv", ["r", "v", "d"], ["y"])
    first.attribute.extend(halving)
    second.attribute.extend([*halving, *attributes(group=group)])
    weights = {
        "w": noise(channels, came_in, 3, 3),
        "b": noise(channels),
        "v": noise(channels, channels // group, 3, 3),
        "d": noise(channels),
    }
    nodes = [first, helper.make_node(between, ["c"], ["r"]), second]
    return model(nodes, {"x": [1, came_in, "time", 16]}, [1, channels, "time'", 4], weights)


def prepared(source: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    return step(integer_to_float, quantized(source, folder)).after


@pytest.mark.parametrize("time", [1, 7, 8, 50])
def test_channels_are_gone_through_in_parts_and_every_bit_stays(time: int, tmp_path: Path) -> None:
    made = step(split_channels, prepared(subsampling(), tmp_path))
    assert made.found == 1
    operators = made.operators()
    assert operators.count("Conv") == 3 * CHANNELS // PART
    assert operators.count("DynamicQuantizeLinear") == 2  # of what comes in, and of the greatest values
    for loud in (1e-3, 1.0, 50.0):
        x = noise(1, 1, time, 16) * np.float32(loud)
        assert np.array_equal(run(made.before, x=x), run(made.after, x=x))


def test_where_nothing_is_left_by_the_relu_every_bit_stays(tmp_path: Path) -> None:
    source = subsampling()
    for tensor in source.graph.initializer:
        if tensor.name == "b":
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.full(CHANNELS, -9, np.float32), "b"))
    made = step(split_channels, prepared(source, tmp_path))
    assert made.found == 1
    x = np.zeros((1, 1, 9, 16), np.float32)
    assert np.array_equal(run(made.before, x=x), run(made.after, x=x))


@pytest.mark.parametrize(
    "other",
    [
        subsampling(channels=PART),
        subsampling(channels=PART + 8),
        subsampling(came_in=2),
        subsampling(group=CHANNELS // 2),
        subsampling(between="Sigmoid"),
    ],
    ids=["few channels", "no whole parts", "much comes in", "not depthwise", "no ReLU"],
)
def test_other_pairs_are_left(other: onnx.ModelProto, tmp_path: Path) -> None:
    assert step(split_channels, prepared(other, tmp_path)).found == 0


def test_where_a_scale_is_below_0_the_greatest_may_be_the_least_so_it_is_left(tmp_path: Path) -> None:
    source = quantized(subsampling(), tmp_path)
    (scale,) = (tensor for tensor in source.graph.initializer if tensor.name == "w_scale")
    scale.CopyFrom(onnx.numpy_helper.from_array(np.array(-0.01, np.float32), scale.name))
    assert step(split_channels, step(integer_to_float, source).after).found == 0


def test_what_somebody_else_uses_is_left(tmp_path: Path) -> None:
    source = prepared(subsampling(), tmp_path)
    (relu,) = (node for node in source.graph.node if node.op_type == "Relu")
    source.graph.output.append(helper.make_tensor_value_info(relu.output[0], onnx.TensorProto.FLOAT, None))
    assert split_channels(Graph(source)) == 0
