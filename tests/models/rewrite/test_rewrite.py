from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from ears_edge.models.folder import resolve
from ears_edge.models.optimized import FRAMES_KEY
from ears_edge.models.rewrite import rewrite, rewrite_model
from ears_edge.models.rewrite.graph import Graph
from tests.models.rewrite.graphs import Array, model, noise, quantized, run

EMBEDDED = resolve("embedded") / "encoder-model.int8.onnx"


def linear() -> onnx.ModelProto:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    return model(nodes, {"x": [1, "time", 4]}, [1, "time", 4], {"w": noise(4, 4)})


def test_every_pattern_of_the_embedded_encoder_is_found(tmp_path: Path) -> None:
    steps = rewrite(EMBEDDED, tmp_path / "encoder.onnx", frames=20)
    graph = onnx.load(tmp_path / "encoder.onnx").graph
    layers = 20
    assert steps.pointwise == 2 + 2 * layers
    assert steps.convolutions == 3 + layers
    assert steps.positions == layers
    assert steps.masks >= 3 * layers
    assert steps.pads == layers
    assert steps.channels == 1
    assert steps.layout == 3 + 3 * layers
    assert steps.factors == 2 * layers
    assert steps.parted == 3 * layers
    assert steps.heads == 2 * layers
    operators = [node.op_type for node in graph.node]
    assert not {"ConvInteger", "Where", "Less"} & set(operators)
    assert operators.count("Pad") == layers  # of the attention's shift
    assert [value.name for value in graph.input] == ["audio_signal", "length"]
    assert [value.name for value in graph.output] == ["outputs", "encoded_lengths"]


@pytest.mark.exact_products
def test_the_embedded_encoder_says_the_same_for_signals_of_any_length_bit_by_bit() -> None:
    source = onnx.load(EMBEDDED)
    rewritten = onnx.load(EMBEDDED)
    rewrite_model(rewritten, frames=40)
    assert {entry.key: entry.value for entry in rewritten.metadata_props}[FRAMES_KEY] == "40"
    for columns in (9, 24, 63, 64, 65, 66, 111, 320):
        feeds: dict[str, Array] = {"audio_signal": noise(1, 128, columns), "length": np.array([columns])}
        assert np.array_equal(run(source, **feeds), run(rewritten, **feeds))


def test_a_model_without_integer_convolutions_is_not_written(tmp_path: Path) -> None:
    source = quantized(linear(), tmp_path)
    onnx.save(source, tmp_path / "model.onnx")
    steps = rewrite(tmp_path / "model.onnx", tmp_path / "out.onnx", frames=20)
    assert not steps.integer
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize("content", [b"", b"no model at all", EMBEDDED.read_bytes()[:-1000]])
def test_a_file_that_is_no_model_is_said_to_be_none(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    if content:
        with pytest.raises(ValueError, match=r"model\.onnx"):
            rewrite(tmp_path / "model.onnx", tmp_path / "out.onnx", frames=20)
    else:  # to protobuf, nothing is an empty message
        assert not rewrite(tmp_path / "model.onnx", tmp_path / "out.onnx", frames=20).integer
    assert not list(tmp_path.glob("out*"))


def test_constants_are_followed_through_nodes_but_not_to_inputs() -> None:
    nodes = [
        helper.make_node("Constant", [], ["two"], value_int=2),
        helper.make_node("Unsqueeze", ["two", "axis"], ["twos"]),
        helper.make_node("Concat", ["twos", "minus"], ["shape"], axis=0),
        helper.make_node("Reshape", ["x", "shape"], ["y"]),
    ]
    weights: dict[str, Array] = {"axis": np.array([0]), "minus": np.array([-1])}
    graph = Graph(model(nodes, {"x": ["time"]}, [2, "half"], weights))
    assert graph.ints("shape") == [2, -1]
    assert graph.number("two") == 2
    assert graph.number("shape") is None
    assert graph.value("x") is graph.value("y") is graph.value("no such tensor") is None


def test_too_long_a_chain_of_constants_is_not_followed() -> None:
    nodes = [helper.make_node("Neg", [f"n{number}"], [f"n{number + 1}"]) for number in range(100)]
    nodes.append(helper.make_node("Mul", ["x", "n100"], ["y"]))
    graph = Graph(model(nodes, {"x": ["time"]}, ["time"], {"n0": np.ones(1, np.float32)}))
    assert graph.number("n64") == 1
    assert graph.number("n65") is None
