"""Every ONNX session; the only module that imports onnxruntime."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy.typing as npt
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from ears_edge.asr.providers import CPU, ON_CPU, PROVIDERS, Placement, Provider
from ears_edge.errors import InferenceError, ModelCorruptError, ModelError

RUNTIME: Final[str] = ort.__version__
"""Version of onnxruntime."""

ORT_ERRORS: Final[tuple[type[Exception], ...]] = (
    *(e for e in vars(ort_errors).values() if isinstance(e, type) and issubclass(e, Exception)),
    RuntimeError,
    ValueError,
)
"""What onnxruntime raises; its own exceptions share no base class but Exception."""


class Tensor(NamedTuple):
    """An input or output, as a file declares it. A copy: onnxruntime's own keeps all weights alive."""

    shape: tuple[int | str | None, ...]
    """None or a name where a size is open."""
    type: str


class Session:
    """A model file, loaded. One thread at a time."""

    def __init__(
        self,
        path: Path,
        threads: int,
        placement: Placement = ON_CPU,
        *,
        as_it_is: bool = False,
        packed: bool = True,
        sizes: Mapping[str, int] | None = None,
    ) -> None:
        """Load it.

        Args:
            path: The file.
            threads: Of one run.
            placement: Where it runs.
            as_it_is: It was optimized before.
            packed: Bring the weights into the form that the CPU wants.
            sizes: Numbers for sizes that the file leaves open, by their names.

        Raises:
            ModelCorruptError: The file can't be loaded.
            ModelError: The provider can't run it; code `device-failed`.
        """
        options = ort.SessionOptions()
        for name, size in (sizes or {}).items():
            options.add_free_dimension_override_by_name(name, size)
        if not packed:
            options.add_session_config_entry("session.disable_prepacking", "1")
        self._session = _load(path, threads, placement, options, as_it_is=as_it_is)
        self._giving_back: ort.RunOptions | None = None
        if placement.provider.name == CPU.name:
            self._giving_back = ort.RunOptions()
            # Source: onnxruntime's header of the keys of run options
            self._giving_back.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        self.path = path
        self.inputs: Mapping[str, Tensor] = _declared(self._session.get_inputs())
        self.outputs: Mapping[str, Tensor] = _declared(self._session.get_outputs())
        self.metadata: Mapping[str, str] = self._session.get_modelmeta().custom_metadata_map

    def run(
        self, outputs: list[str], feeds: Mapping[str, npt.NDArray[Any]], *, give_back: bool = False
    ) -> Any:  # noqa: ANN401  # arrays of whatever the file declares
        """Run it.

        Args:
            outputs: Names of what is wanted.
            feeds: The inputs by name.
            give_back: Let the system have the memory that this took; the next run takes it anew.

        Raises:
            InferenceError: It failed.
        """
        try:
            return self._session.run(outputs, feeds, self._giving_back if give_back else None)
        except ORT_ERRORS as exc:
            raise InferenceError(f"the model failed: {type(exc).__name__}") from exc


def _declared(tensors: Iterable[Any]) -> dict[str, Tensor]:  # onnxruntime's, untyped
    return {tensor.name: Tensor(tuple(tensor.shape), tensor.type) for tensor in tensors}


def look_at(path: Path) -> Session:
    """A session to be asked for inputs and outputs, not to be run: nothing is optimized or packed.

    Raises:
        ModelCorruptError: The file can't be loaded.
    """
    return Session(path, 1, as_it_is=True, packed=False)


def installed(providers: Mapping[str, Provider] = PROVIDERS) -> tuple[Provider, ...]:
    """Those of the providers that this onnxruntime has; the CPU first."""
    have = ort.get_available_providers()
    return tuple(provider for provider in providers.values() if provider.name in have)


def prepack(source: Path, target: Path) -> None:
    """Write a model as onnxruntime optimizes it for this CPU, its weights beside it as the kernels want them.

    Such a file loads fast, and its pages are the file's; it is good for this CPU and this `RUNTIME` alone.

    Raises:
        ModelCorruptError: The source can't be loaded, or the target can't be written.
    """
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(target)
    for key, value in (
        ("optimized_model_external_initializers_file_name", f"{target.name}.data"),
        ("optimized_model_external_initializers_min_size_in_bytes", "1024"),
        ("save_external_prepacked_constant_initializers", "1"),
    ):
        options.add_session_config_entry(f"session.{key}", value)
    _load(source, 1, ON_CPU, options)


def _load(
    path: Path,
    threads: int,
    placement: Placement,
    options: ort.SessionOptions,
    *,
    as_it_is: bool = False,
) -> ort.InferenceSession:
    if as_it_is:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # Window lengths differ from run to run: a plan of memory for each would only pile up.
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(placement.spinning)))
    provider = placement.provider
    try:
        # Without `enable_fallback` what a provider can't do is an error, not a line on standard output.
        session = ort.InferenceSession(
            str(path), options, providers=_in_order(placement, threads), enable_fallback=False
        )
    except ORT_ERRORS as exc:
        reason = str(exc).splitlines()[0] if str(exc) else type(exc).__name__
        if provider != CPU:
            raise ModelError(
                f"{path}: {provider.device} can't run it ({reason}).", code="device-failed"
            ) from exc
        raise ModelCorruptError(
            f"{path}: can't be loaded; expected a sound ONNX file ({reason}). Fetch the model again."
        ) from exc
    if provider.name not in session.get_providers():  # such as CUDA without its libraries
        raise ModelError(f"{provider.device} can't be started on this machine.", code="device-failed")
    return session


def _in_order(placement: Placement, threads: int) -> list[tuple[str, dict[str, str]]]:
    """The providers of a session: what the first does not know, the CPU does."""
    provider = placement.provider
    options = dict(provider.options)
    if provider.cache_option and placement.compiled is not None:
        placement.compiled.mkdir(parents=True, exist_ok=True)
        options[provider.cache_option] = str(placement.compiled)
    if provider.threads_option:
        options[provider.threads_option] = str(threads)
    rest: list[tuple[str, dict[str, str]]] = [] if provider.name == CPU.name else [(CPU.name, {})]
    return [(provider.name, options), *rest]
