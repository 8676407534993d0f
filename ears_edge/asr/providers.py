"""What an encoder can run on: onnxruntime's providers, what each wants, who brings it. Data, in one table."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

Float = Literal["never", "preferred", "required"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One way to run an encoder."""

    device: str
    """As in `model.device`."""
    name: str
    """As onnxruntime calls it."""
    package: str
    """The PyPI package that brings it; there is only ever one onnxruntime in an environment."""
    options: Mapping[str, str] = field(default_factory=dict)
    cache_option: str = ""
    """The option that takes a folder for what is compiled; empty if there is none."""
    threads_option: str = ""
    """The option that takes the number of threads; empty if it is onnxruntime's own, or there are none."""
    floats: Float = "required"
    """Whether it takes the float encoder rather than the one in INT8."""
    static: bool = False
    """Whether it wants shapes that never change: windows are padded up to one of a few lengths."""


CPU: Final = Provider(device="cpu", name="CPUExecutionProvider", package="onnxruntime", floats="never")

PROVIDERS: Final[Mapping[str, Provider]] = {
    provider.device: provider
    for provider in (
        CPU,
        # INT8 is never worth it there: ConvInteger and DynamicQuantizeLinear would run on the CPU.
        # Source: onnxruntime, coreml_provider_factory.h; ModelCacheDirectory since 1.20.
        Provider(
            device="coreml",
            name="CoreMLExecutionProvider",
            package="onnxruntime",
            options={"ModelFormat": "MLProgram", "MLComputeUnits": "ALL", "RequireStaticInputShapes": "1"},
            cache_option="ModelCacheDirectory",
            static=True,
        ),
        # An exhaustive search for the fastest convolution would be made anew for each length of window.
        # Source: onnxruntime, docs/execution-providers/CUDA-ExecutionProvider.
        Provider(
            device="cuda",
            name="CUDAExecutionProvider",
            package="onnxruntime-gpu",
            options={"cudnn_conv_algo_search": "HEURISTIC", "arena_extend_strategy": "kSameAsRequested"},
            floats="preferred",
        ),
        # AUTO: a GPU if there is one, else the CPU by OpenVINO's own kernels.
        # Source: onnxruntime, docs/execution-providers/OpenVINO-ExecutionProvider.
        Provider(
            device="openvino",
            name="OpenVINOExecutionProvider",
            package="onnxruntime-openvino",
            options={"device_type": "AUTO"},
            cache_option="cache_dir",
            threads_option="num_of_threads",
            floats="preferred",
            static=True,
        ),
    )
}
"""By device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where and how an encoder runs."""

    provider: Provider = CPU
    compiled: Path | None = None
    """Folder for what the provider compiles; None means it keeps nothing."""
    spinning: bool = False
    """Whether idle threads wait busily for a while: up to a tenth faster on an idle machine, half as fast on
    one that others use."""


ON_CPU: Final = Placement()
