"""Small generated models, and what a step makes of them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import AttributeProto, TensorProto, helper, numpy_helper
from onnxruntime.quantization import quantize_dynamic

from ears_edge.models.rewrite.graph import Graph

Array = npt.NDArray[Any]
Shape = Sequence[int | str]
RNG = np.random.default_rng(7)


class Step(NamedTuple):
    found: int
    before: onnx.ModelProto
    after: onnx.ModelProto

    def operators(self) -> list[str]:
        return [node.op_type for node in self.after.graph.node]


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Shape],
    output: Shape,
    weights: Mapping[str, Array] | None = None,
) -> onnx.ModelProto:
    """A model with the output `y`; inputs are float32, but `length`, which is int64."""
    number, whole = TensorProto.FLOAT, TensorProto.INT64
    graph = helper.make_graph(
        nodes,
        "g",
        [
            helper.make_tensor_value_info(name, whole if name == "length" else number, shape)
            for name, shape in inputs.items()
        ],
        [helper.make_tensor_value_info("y", number, output)],
        [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made, full_check=True)
    return made


def attributes(**values: int | list[int] | str) -> list[AttributeProto]:
    return [helper.make_attribute(name, value) for name, value in values.items()]


def quantized(source: onnx.ModelProto, folder: Path, **options: bool) -> onnx.ModelProto:
    """As `quantize_dynamic` leaves it."""
    onnx.save(source, folder / "float.onnx")
    quantize_dynamic(folder / "float.onnx", folder / "int8.onnx", **options)
    return onnx.load(folder / "int8.onnx")


def step(function: Callable[[Graph], int], source: onnx.ModelProto) -> Step:
    """Apply one step to a copy."""
    after = onnx.ModelProto()
    after.CopyFrom(source)
    graph = Graph(after)
    found = function(graph)
    graph.finish()
    onnx.checker.check_model(after)
    return Step(found, source, after)


def run(model: onnx.ModelProto, **feeds: Array) -> Array:
    """The output for these inputs, as the graph has it: nothing optimized."""
    return _run(model, ort.GraphOptimizationLevel.ORT_DISABLE_ALL, feeds)


def run_optimized(model: onnx.ModelProto, **feeds: Array) -> Array:
    """The output for these inputs, from the graph that onnxruntime makes of it."""
    return _run(model, ort.GraphOptimizationLevel.ORT_ENABLE_ALL, feeds)


def noise(*shape: int) -> npt.NDArray[np.float32]:
    return RNG.standard_normal(shape).astype(np.float32)


def _run(model: onnx.ModelProto, level: ort.GraphOptimizationLevel, feeds: Mapping[str, Array]) -> Array:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = level
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, dict(feeds))[0])
