"""The INT8 encoder's graph, rewritten at install time. The only folder of the package that imports onnx.

Each step takes a `Graph` and returns how often it found its pattern; on other graphs it does nothing.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # it has no stubs

from ears_edge.models.optimized import FRAMES_KEY
from ears_edge.models.rewrite.channels import split_channels
from ears_edge.models.rewrite.convolutions import fold_pads, integer_to_float, pointwise_to_matmul
from ears_edge.models.rewrite.graph import Graph
from ears_edge.models.rewrite.heads import step_over_heads
from ears_edge.models.rewrite.layout import keep_channels_last
from ears_edge.models.rewrite.masks import drop_masks
from ears_edge.models.rewrite.positions import fold_positions
from ears_edge.models.rewrite.products import fold_factors, part_products

MIN_EXTERNAL_BYTES: Final = 1024
"""Smaller weights stay in the graph's own file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """How often each step found its pattern."""

    pointwise: int
    convolutions: int
    positions: int
    masks: int
    pads: int
    channels: int
    layout: int
    factors: int
    parted: int
    heads: int

    @property
    def integer(self) -> bool:
        """Whether there were integer convolutions: without them there is little to gain."""
        return self.pointwise + self.convolutions > 0


def rewrite(source: Path, target: Path, *, frames: int) -> Steps:
    """Rewrite a model file; nothing is written if it has no integer convolutions of the known kind.

    Args:
        source: ONNX file, its weights inside or beside it.
        target: New ONNX file; its weights go to a file beside it with `.data` added to the name.
        frames: The most encoder frames that the rewritten model must take at once.

    Raises:
        OSError: A file can't be read or written.
        ValueError: The file is not a sound ONNX model.
    """
    try:
        model = onnx.load(source)
    except DecodeError as exc:
        raise ValueError(f"{source}: not a sound ONNX file") from exc
    steps = rewrite_model(model, frames=frames)
    if steps.integer:
        onnx.save_model(
            model,
            target,
            save_as_external_data=True,
            all_tensors_to_one_file=True,
            location=f"{target.name}.data",
            size_threshold=MIN_EXTERNAL_BYTES,
            convert_attribute=False,
        )
    return steps


def rewrite_model(model: onnx.ModelProto, *, frames: int) -> Steps:
    """Rewrite a model in place."""
    graph = Graph(model)
    steps = Steps(
        pointwise=pointwise_to_matmul(graph),
        convolutions=integer_to_float(graph),
        positions=fold_positions(graph, frames),
        masks=drop_masks(graph),
        pads=fold_pads(graph),
        channels=split_channels(graph),
        layout=keep_channels_last(graph),
        factors=fold_factors(graph),
        parted=part_products(graph),
        heads=step_over_heads(graph),
    )
    graph.finish()
    if steps.positions:
        entry = model.metadata_props.add()
        entry.key, entry.value = FRAMES_KEY, str(frames)
    return steps
