from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import NodeProto, helper

from ears_edge.models.rewrite.convolutions import fold_pads, integer_to_float, pointwise_to_matmul
from ears_edge.models.rewrite.graph import Graph
from ears_edge.models.rewrite.layout import keep_channels_last
from tests.models.rewrite.graphs import Array, Step, attributes, model, noise, quantized, run, step

CHANNELS = 16


def conv(inputs: str, output: str, **options: int | list[int]) -> NodeProto:
    node = helper.make_node("Conv", inputs.split(), [output])
    node.attribute.extend(attributes(**options))
    return node


def block(channels: int = CHANNELS) -> onnx.ModelProto:
    """(1, time, channels) -> the same: a Conformer's convolution, as NeMo exports it."""
    node = helper.make_node
    wide = attributes(kernel_shape=[5], pads=[2, 2], group=channels)
    nodes = [
        node("Transpose", ["x"], ["second"], perm=[0, 2, 1]),
        conv("second v a", "both", kernel_shape=[1]),
        node("Split", ["both"], ["half", "gate"], axis=1),
        node("Sigmoid", ["gate"], ["open"]),
        node("Mul", ["half", "open"], ["gated"]),
        node("Conv", ["gated", "w", "b"], ["wide"]),
        node("Sigmoid", ["wide"], ["much"]),
        node("Mul", ["wide", "much"], ["swish"]),
        conv("swish u c", "mixed", kernel_shape=[1]),
        node("Transpose", ["mixed"], ["y"], perm=[0, 2, 1]),
    ]
    nodes[5].attribute.extend(wide)
    weights: dict[str, Array] = {
        "v": noise(2 * channels, channels, 1),
        "a": noise(2 * channels),
        "w": noise(channels, 1, 5),
        "b": noise(channels),
        "u": noise(channels, channels, 1),
        "c": noise(channels),
    }
    return model(nodes, {"x": [1, "time", channels]}, [1, "time'", channels], weights)


def picture() -> onnx.ModelProto:
    """(1, CHANNELS, time, 8) -> one row for each time: the second half of an encoder's subsampling."""
    node = helper.make_node
    halving: dict[str, int | list[int]] = {
        "kernel_shape": [3, 3],
        "strides": [2, 2],
        "pads": [1, 1, 1, 1],
        "group": CHANNELS,
    }
    weights: dict[str, Array] = {"two": np.array(2), "one_": np.array([1]), "minus_": np.array([-1])}
    nodes = []
    data = "x"
    for stage in "abc":
        nodes += [
            conv(f"{data} w{stage} b{stage}", f"wide{stage}", **halving),
            conv(f"wide{stage} v{stage} d{stage}", f"mixed{stage}", kernel_shape=[1, 1]),
            node("Relu", [f"mixed{stage}"], [f"relu{stage}"]),
        ]
        weights |= {f"w{stage}": noise(CHANNELS, 1, 3, 3), f"v{stage}": noise(CHANNELS, CHANNELS, 1, 1)}
        weights |= {f"b{stage}": noise(CHANNELS), f"d{stage}": noise(CHANNELS)}
        data = f"relu{stage}"
    nodes += [
        node("Shape", [data], ["sizes"]),
        node("Gather", ["sizes", "two"], ["time"]),
        node("Unsqueeze", ["time", "zero_"], ["time_"]),
        node("Concat", ["one_", "time_", "minus_"], ["rows"], axis=0),
        node("Transpose", [data], ["by_time"], perm=[0, 2, 1, 3]),
        node("Reshape", ["by_time", "rows"], ["y"]),
    ]
    weights["zero_"] = np.array([0])
    return model(nodes, {"x": [1, CHANNELS, "time", 8]}, [1, "time'", CHANNELS], weights)


def prepared(source: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    def before(graph: Graph) -> int:
        return pointwise_to_matmul(graph) + integer_to_float(graph) + fold_pads(graph)

    return step(before, quantized(source, folder)).after


def last(source: onnx.ModelProto, folder: Path) -> Step:
    return step(keep_channels_last, prepared(source, folder))


@pytest.mark.parametrize("channels", [CHANNELS, 12])
def test_a_block_keeps_channels_last_and_every_bit_stays(channels: int, tmp_path: Path) -> None:
    made = last(block(channels), tmp_path)
    assert made.found == 3
    (convolution,) = (node for node in made.after.graph.node if node.op_type == "Conv")
    around = [node.op_type for node in made.after.graph.node if set(node.input) & set(convolution.output)]
    assert around == ["Transpose"]
    assert made.operators().count("Transpose") == 2  # before the convolution, and behind it
    for time in (1, 2, 7, 40):
        x = noise(1, time, channels)
        assert np.array_equal(run(made.before, x=x), run(made.after, x=x))


def test_a_picture_does_so_too_and_its_size_is_asked_for_in_the_right_order(tmp_path: Path) -> None:
    made = last(picture(), tmp_path)
    assert made.found == 4
    assert (
        made.operators().count("Transpose") == 6
    )  # around each depthwise convolution but the first, and last
    for time in (1, 8, 21):
        x = noise(1, CHANNELS, time, 8)
        assert np.array_equal(run(made.before, x=x), run(made.after, x=x))


def between(*nodes: NodeProto, **weights: Array) -> onnx.ModelProto:
    """(1, time, CHANNELS) -> the same, by way of channels second: from `second` to `changed`."""
    there = helper.make_node("Transpose", ["x"], ["second"], perm=[0, 2, 1])
    back = helper.make_node("Transpose", ["changed"], ["y"], perm=[0, 2, 1])
    inputs = {"x": [1, "time", CHANNELS], "z": [1, CHANNELS, "time"]}
    return model([there, *nodes, back], inputs, [1, "time'", "channels'"], weights)  # type: ignore[arg-type]  # dict is invariant


NODE = helper.make_node


@pytest.mark.parametrize(
    "source",
    [
        between(NODE("Add", ["second", "b"], ["changed"]), b=noise(1, CHANNELS, 1)),
        between(NODE("Mul", ["b", "second"], ["changed"]), b=noise(1)),
        between(NODE("Concat", ["second", "second"], ["changed"], axis=1)),
    ],
    ids=["bias", "number", "side by side"],
)
def test_what_treats_each_element_alone_needs_no_transposition(source: onnx.ModelProto) -> None:
    made = step(keep_channels_last, source)
    assert made.found == 1
    assert "Transpose" not in made.operators()
    x, z = noise(1, 5, CHANNELS), noise(1, CHANNELS, 5)
    assert np.array_equal(run(made.before, x=x, z=z), run(made.after, x=x, z=z))


@pytest.mark.parametrize(
    "source",
    [
        between(NODE("Add", ["second", "z"], ["changed"])),
        between(NODE("Add", ["second", "b"], ["changed"]), b=noise(1, CHANNELS, 5)),
        between(NODE("Add", ["second", "b"], ["changed"]), b=noise(CHANNELS, 1)),
        between(NODE("Concat", ["second", "z"], ["changed"], axis=1)),
        between(NODE("Concat", ["second", "second"], ["changed"], axis=2)),
        between(NODE("Softmax", ["second"], ["changed"], axis=1)),
        between(NODE("Conv", ["second", "w"], ["changed"]), w=noise(CHANNELS, CHANNELS, 1)),
        between(NODE("Conv", ["second", "w"], ["changed"], group=CHANNELS), w=noise(CHANNELS, 1, 1)),
    ],
    ids=[
        "another tensor",
        "a bias for each time",
        "a bias of fewer axes",
        "beside another",
        "behind itself",
        "all channels at once",
        "a convolution of all channels",
        "a convolution of real numbers",
    ],
)
def test_anything_else_stays_with_channels_second(source: onnx.ModelProto) -> None:
    made = step(keep_channels_last, source)
    assert made.found == 0
    assert made.operators().count("Transpose") == 2
    x, z = noise(1, 5, CHANNELS), noise(1, CHANNELS, 5)
    assert np.array_equal(run(made.before, x=x, z=z), run(made.after, x=x, z=z))
