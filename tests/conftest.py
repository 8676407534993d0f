"""Guards that hold for every test: nothing blocks the event loop, no thread is left behind."""

import threading
from collections.abc import Iterator

import numpy as np
import onnxruntime
import pytest
from blockbuster import blockbuster_ctx
from onnx import TensorProto, helper


def pytest_configure(config: pytest.Config) -> None:
    """Name the marker."""
    config.addinivalue_line("markers", "exact_products: holds where INT8 products are exact on this CPU")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without VNNI, x86 adds pairs of INT8 products in 16 bits, which overflow; the graph says which."""
    if not products_are_exact():
        reason = (
            "this CPU's INT8 products overflow, so two graphs that do the same differ in their last digits"
        )
        for item in items:
            if item.get_closest_marker("exact_products"):
                item.add_marker(pytest.mark.xfail(reason=reason, raises=AssertionError, strict=False))


def products_are_exact() -> bool:
    """Whether the largest INT8 products are added up here without overflow, as the runtime does it."""
    weights = helper.make_tensor(
        "w", TensorProto.INT8, (64, 16), np.full((64, 16), 127, np.int8).tobytes(), raw=True
    )
    rows = helper.make_tensor_value_info("a", TensorProto.UINT8, (4, 64))
    sums = helper.make_tensor_value_info("y", TensorProto.INT32, (4, 16))
    node = helper.make_node("MatMulInteger", ["a", "w"], ["y"])
    graph = helper.make_graph([node], "products", [rows], [sums], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"a": np.full((4, 64), 255, np.uint8)})
    return bool((found == 64 * 127 * 255).all())


@pytest.fixture(autouse=True)
def loop_never_blocks() -> Iterator[None]:
    """Any blocking call that our code makes inside the event loop fails the test that made it."""
    with blockbuster_ctx("ears_edge"):
        yield


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    """Threads, inference workers included, end with the test."""
    before = set(threading.enumerate())
    yield
    left = [thread.name for thread in set(threading.enumerate()) - before]
    assert not left
