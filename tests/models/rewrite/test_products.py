from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from ears_edge.models.rewrite.products import RUNTIME, fold_factors, part_products
from tests.models.rewrite.graphs import Array, model, noise, quantized, run, step

SIZE = 6


def multiplied(factor: Array) -> onnx.ModelProto:
    """(batch, time, SIZE) times weights, times a factor."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["product"]),
        helper.make_node("Mul", ["factor", "product"], ["y"]),
    ]
    weights = {"w": noise(SIZE, 4), "factor": factor}
    more = [1] * (factor.ndim - 3)
    return model(nodes, {"x": ["batch", "time", SIZE]}, [*more, "batch", "time", 4], weights)


@pytest.mark.parametrize("factor", [0.5, 2.0, -0.25])
def test_a_power_of_two_is_folded_into_the_scale_and_every_bit_stays(factor: float, tmp_path: Path) -> None:
    made = step(fold_factors, quantized(multiplied(np.array(factor, np.float32)), tmp_path))
    assert made.found == 1
    assert made.operators().count("Mul") == 2  # of the scales, and of the sums with them
    for loud in (1e-3, 1.0, 50.0):
        x = noise(2, 7, SIZE) * np.float32(loud)
        assert np.array_equal(run(made.before, x=x), run(made.after, x=x))


@pytest.mark.parametrize(
    "factor",
    [np.array(0.3), np.array(0.0), np.full(4, 0.5), np.full((1, 1, 1, 1), 0.5)],
    ids=["no power of two", "zero", "several", "of more axes"],
)
def test_another_factor_is_left(factor: Array, tmp_path: Path) -> None:
    source = quantized(multiplied(factor.astype(np.float32)), tmp_path)
    assert step(fold_factors, source).found == 0


def test_a_product_that_is_used_elsewhere_too_is_left(tmp_path: Path) -> None:
    source = quantized(multiplied(np.array(0.5, np.float32)), tmp_path)
    elsewhere = helper.make_tensor_value_info("product", onnx.TensorProto.FLOAT, ["batch", "time", 4])
    source.graph.output.append(elsewhere)
    assert step(fold_factors, source).found == 0


def test_a_product_of_real_numbers_is_left() -> None:
    assert step(fold_factors, multiplied(np.array(0.5, np.float32))).found == 0


def beside_each_other(*outputs: int) -> onnx.ModelProto:
    """(batch, time, SIZE) times several weights, the results side by side."""
    names = [f"p{number}" for number in range(len(outputs))]
    nodes = [helper.make_node("MatMul", ["x", f"w{name}"], [name]) for name in names]
    nodes.append(helper.make_node("Concat", names, ["y"], axis=2))
    weights = {f"w{name}": noise(SIZE, size) for name, size in zip(names, outputs, strict=True)}
    return model(nodes, {"x": ["batch", "time", SIZE]}, ["batch", "time", sum(outputs)], weights)


def test_products_that_share_a_quantization_become_one_operator_each_and_every_bit_stays(
    tmp_path: Path,
) -> None:
    made = step(part_products, quantized(beside_each_other(4, 16, 33), tmp_path))
    assert made.found == 3
    assert made.operators() == [*["DynamicQuantizeMatMul"] * 3, "Concat"]
    assert RUNTIME in {known.domain for known in made.after.opset_import}
    for loud in (1e-3, 1.0, 50.0):
        x = noise(2, 7, SIZE) * np.float32(loud)
        assert np.array_equal(run(made.before, x=x), run(made.after, x=x))


def test_a_product_with_a_quantization_of_its_own_is_left_to_onnxruntime(tmp_path: Path) -> None:
    made = step(part_products, quantized(beside_each_other(4), tmp_path))
    assert made.found == 0
    assert "MatMulInteger" in made.operators()
