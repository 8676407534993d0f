from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from ears_edge.models.rewrite.convolutions import fold_pads, integer_to_float, pointwise_to_matmul
from ears_edge.models.rewrite.graph import Graph
from tests.models.rewrite.graphs import Array, attributes, model, noise, quantized, run, step

CHANNELS = 8


def convolution(
    weights: Array, *, bias: bool = False, rank: int = 3, **options: int | list[int]
) -> onnx.ModelProto:
    inputs = ["x", "w", "b"] if bias else ["x", "w"]
    node = helper.make_node("Conv", inputs, ["y"], kernel_shape=weights.shape[2:])
    node.attribute.extend(attributes(**options))
    values = {"w": weights} | ({"b": noise(len(weights))} if bias else {})
    shape: list[int | str] = ["batch", CHANNELS, "time", "bins"]
    out: list[int | str] = ["batch", len(weights), "time'", "bins'"]
    return model([node], {"x": shape[:rank]}, out[:rank], values)


@pytest.mark.parametrize("bias", [False, True], ids=["plain", "with bias"])
def test_a_pointwise_convolution_becomes_a_product_of_the_same_bits(
    bias: bool,  # noqa: FBT001  # pytest's
    tmp_path: Path,
) -> None:
    made = step(pointwise_to_matmul, quantized(convolution(noise(6, CHANNELS, 1), bias=bias), tmp_path))
    assert made.found == 1
    assert "ConvInteger" not in made.operators()
    assert made.operators().count("MatMulInteger") == 1
    x = noise(2, CHANNELS, 11)
    assert np.array_equal(run(made.before, x=x), run(made.after, x=x))


@pytest.mark.exact_products
def test_one_of_two_axes_does_so_too(tmp_path: Path) -> None:
    source = quantized(convolution(noise(6, CHANNELS, 1, 1), bias=True, rank=4), tmp_path)
    made = step(pointwise_to_matmul, source)
    assert made.found == 1
    assert "ConvInteger" not in made.operators()
    x = noise(2, CHANNELS, 5, 3)
    assert np.array_equal(run(made.before, x=x), run(made.after, x=x))


@pytest.mark.parametrize(
    "other",
    [
        convolution(noise(CHANNELS, 1, 1), group=CHANNELS),
        convolution(noise(6, CHANNELS, 3)),
        convolution(noise(6, CHANNELS, 1), strides=[2]),
        convolution(noise(6, CHANNELS, 1), pads=[1, 1]),
        convolution(noise(6, CHANNELS, 1, 3), rank=4),
        convolution(noise(6, CHANNELS, 1, 1), strides=[1, 2], rank=4),
    ],
    ids=[
        "depthwise",
        "wide",
        "with strides",
        "padded",
        "wide along two axes",
        "with strides along one of two",
    ],
)
def test_any_other_convolution_becomes_one_of_real_numbers(other: onnx.ModelProto, tmp_path: Path) -> None:
    source = quantized(other, tmp_path)
    assert step(pointwise_to_matmul, source).found == 0
    made = step(integer_to_float, source)
    assert made.found == 1
    assert not {"ConvInteger", "MatMulInteger"} & set(made.operators())
    assert made.operators().count("Conv") == 1
    x = (
        noise(1, CHANNELS, 12, 5)
        if len(other.graph.input[0].type.tensor_type.shape.dim) == 4
        else noise(1, CHANNELS, 12)
    )
    assert np.array_equal(run(made.before, x=x), run(made.after, x=x))


def test_a_convolution_whose_sums_float32_may_not_hold_is_left_alone(tmp_path: Path) -> None:
    held, too_much = (np.ones((1, CHANNELS, size), np.float32) for size in (64, 65))
    assert step(integer_to_float, quantized(convolution(held), tmp_path)).found == 1
    assert 64 * CHANNELS * 127 * 255 < 2**24 < 65 * CHANNELS * 127 * 255
    assert step(integer_to_float, quantized(convolution(too_much), tmp_path)).found == 0


def test_a_pointwise_convolution_is_left_to_its_own_step(tmp_path: Path) -> None:
    assert step(integer_to_float, quantized(convolution(noise(6, CHANNELS, 1)), tmp_path)).found == 0


@pytest.mark.parametrize("function", [pointwise_to_matmul, integer_to_float, fold_pads])
def test_a_graph_without_the_pattern_stays_as_it_is(function: object) -> None:
    plain = convolution(noise(6, CHANNELS, 1))
    made = step(function, plain)  # type: ignore[arg-type]  # each takes a graph alone
    assert made.found == 0
    assert made.after.graph.node == plain.graph.node
    assert made.after.graph.initializer == plain.graph.initializer


def test_a_scale_for_each_channel_is_left_alone(tmp_path: Path) -> None:
    source = quantized(convolution(noise(6, CHANNELS, 1)), tmp_path)
    scale = next(t for t in source.graph.initializer if t.name.endswith("_scale"))
    scale.CopyFrom(onnx.numpy_helper.from_array(np.full((6, 1), 0.1, np.float32), scale.name))
    made = step(pointwise_to_matmul, source)
    assert made.found == 0
    assert "ConvInteger" in made.operators()


def test_a_convolution_whose_integers_are_used_elsewhere_is_left_alone(tmp_path: Path) -> None:
    source = quantized(convolution(noise(6, CHANNELS, 1)), tmp_path)
    product = next(node for node in source.graph.node if node.op_type == "ConvInteger")
    source.graph.node.append(helper.make_node("Cast", [product.output[0]], ["z"], to=onnx.TensorProto.FLOAT))
    source.graph.output.append(
        helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, ["batch", 6, "time"])
    )
    assert step(pointwise_to_matmul, source).found == 0


def both(graph: Graph) -> int:
    return integer_to_float(graph) + fold_pads(graph)


def padded(
    widths: list[int], mode: str = "constant", value: float | None = None, **options: int | list[int] | str
) -> onnx.ModelProto:
    """Pad -> Conv, the widths computed from constants in the way of torch's exporter."""
    nodes = [
        helper.make_node("Concat", ["half", "half2"], ["joined"], axis=0),
        helper.make_node("Cast", ["joined"], ["widths"], to=onnx.TensorProto.INT64),
        helper.make_node("Pad", ["x", "widths", "" if value is None else "value"], ["p"], mode=mode),
        helper.make_node("Conv", ["p", "w"], ["y"], kernel_shape=[3], group=CHANNELS),
    ]
    nodes[-1].attribute.extend(attributes(**options))
    values: dict[str, Array] = {
        "half": np.array(widths[:3], np.int32),
        "half2": np.array(widths[3:], np.int32),
        "w": noise(CHANNELS, 1, 3),
    }
    if value is not None:
        values["value"] = np.array(value, np.float32)
    return model(nodes, {"x": ["batch", CHANNELS, "time"]}, ["batch", CHANNELS, "time'"], values)


@pytest.mark.parametrize(
    "source",
    [
        padded([0, 0, 2, 0, 0, 3]),
        padded([0, 0, 2, 0, 0, 0], value=0.0),
        padded([0, 0, 1, 0, 0, 1], pads=[1, 2], strides=[2]),
    ],
    ids=["both ends", "value given", "padded already"],
)
def test_a_pad_with_zeros_becomes_the_convolutions_own(source: onnx.ModelProto) -> None:
    made = step(fold_pads, source)
    assert made.found == 1
    assert made.operators() == ["Conv", "Identity"]
    x = noise(2, CHANNELS, 9)
    assert np.allclose(run(made.before, x=x), run(made.after, x=x), atol=1e-6)


def test_a_pad_in_front_of_quantization_becomes_the_convolutions_own_bit_by_bit(tmp_path: Path) -> None:
    made = step(both, quantized(padded([0, 0, 4, 0, 0, 4]), tmp_path))
    assert made.found == 2
    assert "Pad" not in made.operators()
    for x in (
        noise(1, CHANNELS, 9),
        3 + np.abs(noise(1, CHANNELS, 9)),
        np.zeros((1, CHANNELS, 9), np.float32),
    ):
        assert np.array_equal(run(made.before, x=x), run(made.after, x=x))


def test_a_pad_that_others_use_too_stays() -> None:
    source = padded([0, 0, 2, 0, 0, 2])
    source.graph.node.append(helper.make_node("Relu", ["p"], ["z"]))
    source.graph.output.append(
        helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, ["batch", CHANNELS, "time''"])
    )
    assert step(fold_pads, source).found == 0


@pytest.mark.parametrize(
    "source",
    [
        padded([0, 0, 2, 0, 0, 2], value=1.0),
        padded([0, 0, 2, 0, 0, 2], mode="reflect"),
        padded([1, 0, 2, 0, 0, 2]),
        padded([0, 0, -1, 0, 0, 2]),
        padded([0, 0, 1, 0, 0, 1], auto_pad="SAME_UPPER"),
    ],
    ids=["ones", "mirrored", "another axis", "cut off", "padded by rule"],
)
def test_any_other_pad_stays(source: onnx.ModelProto) -> None:
    made = step(fold_pads, source)
    assert made.found == 0
    assert "Pad" in made.operators()
