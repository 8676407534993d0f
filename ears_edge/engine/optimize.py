"""Install time: an encoder rewritten for this machine, kept only if it hears what the original hears."""

import shutil
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Final

from ears_edge.asr.acoustic import AcousticModel
from ears_edge.asr.onnx import RUNTIME, prepack
from ears_edge.config import EngineConfig
from ears_edge.engine.likeness import MIN_COSINE, hear, likeness
from ears_edge.engine.self_test import golden_columns
from ears_edge.errors import InferenceError, ModelError
from ears_edge.models import manifest
from ears_edge.models.folder import ModelFolder
from ears_edge.models.layout import external_data
from ears_edge.models.machine import cpu
from ears_edge.models.optimized import ENCODER, Cache, Record, Target
from ears_edge.units import HOP, SAMPLE_RATE

MARGIN_S: Final = 1.0
"""A rewritten encoder takes windows longer than the longest by this."""
MAX_SOURCE_BYTES: Final = 1_200_000_000
"""A larger encoder is not rewritten: it would take more than twice that in memory."""
DISK_FACTOR: Final = 3.5
"""The rewritten file with plain and with packed weights, over the original's size: 1.1 and 2 were seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of a rewrite."""

    encoder: Path | None
    """What to load in the place of the folder's encoder; None means the original serves."""
    fault: str = ""
    """Why it does, for a log line; empty if it need not."""
    cosine: float = 0.0
    """The worst of all windows compared; 0 if none was."""


def longest_window_s(config: EngineConfig) -> float:
    """Of what these settings can ask for."""
    return max(config.full_window_s, config.left_s + config.chunk_s + config.right_s)


def cached(folder: ModelFolder, cache: Path, *, window_s: float) -> Verdict | None:
    """What an earlier `optimize` came to for this model, machine and window; None if there was none."""
    found = Cache(cache).find(folder.encoder, _target(folder, window_s))
    return _verdict(*found) if found else None


def optimize(folder: ModelFolder, cache: Path, *, window_s: float, threads: int = 1) -> Verdict:
    """Rewrite the encoder for this machine, and test it against the original. Takes ten seconds or more.

    What an earlier call came to is returned at once. A process that goes on had better let a child do
    this: at its height it takes twice the encoder's size in memory, part of which stays with the process.

    Args:
        folder: The model; its files are only read.
        cache: Folder in which rewritten encoders are kept.
        window_s: The longest window that it must take; see `longest_window_s`.
        threads: For the test.

    Raises:
        UnavailableError: Another process is optimizing right now.
        ModelError: The original can't be used.
        InferenceError: The original fails on the test's clip.
    """
    store, target = Cache(cache), _target(folder, window_s)
    try:
        with store.workshop() as workshop:
            if found := store.find(folder.encoder, target):
                return _verdict(*found)
            if fault := _no_room(folder.encoder, workshop):
                return Verdict(encoder=None, fault=fault)
            record = _make(folder, target, workshop, threads)
            return _verdict(store.keep(workshop, record), record)
    except ModelError:  # some of them are OSErrors, too
        raise
    except OSError as exc:
        return Verdict(encoder=None, fault=f"{exc.filename or cache}: {exc.strerror or exc}")


def _target(folder: ModelFolder, window_s: float) -> Target:
    frame_s = HOP * folder.config.subsampling_factor / SAMPLE_RATE
    return Target(runtime=RUNTIME, cpu=cpu(), frames=ceil((window_s + MARGIN_S) / frame_s))


def _verdict(where: Path, record: Record) -> Verdict:
    encoder = None if record.fault else where / ENCODER
    return Verdict(encoder=encoder, fault=record.fault, cosine=record.cosine)


def _no_room(encoder: Path, workshop: Path) -> str:
    needed, free = DISK_FACTOR * encoder.stat().st_size, shutil.disk_usage(workshop).free
    if free >= needed:
        return ""
    return f"{workshop.parent}: {needed / 1e6:.0f} MB are needed to optimize, {free / 1e6:.0f} MB are free"


def _make(folder: ModelFolder, target: Target, workshop: Path, threads: int) -> Record:
    """Rewrite in the empty folder `workshop`, and tell how like the original it is."""
    status = folder.encoder.stat()
    record = Record(
        original=str(folder.encoder.resolve()),
        size=status.st_size,
        modified_ns=status.st_mtime_ns,
        sha256=manifest.sha256(folder.encoder),
        target=target,
        files={},
        cosine=0.0,
    )
    fault = _rewrite(folder.encoder, workshop, target.frames)
    if not fault:
        record = _tested(record, folder, workshop, threads)
        fault = record.fault
    if fault:
        for path in workshop.iterdir():
            path.unlink()
        return replace(record, fault=fault)
    return replace(record, files={path.name: path.stat().st_size for path in workshop.iterdir()})


def _tested(record: Record, folder: ModelFolder, workshop: Path, threads: int) -> Record:
    """The record with how like the original the rewritten encoder is, and with the fault, if it has one."""
    columns = golden_columns(folder.config.features_size)
    try:
        rewritten = hear(
            AcousticModel(folder, threads=threads, rewritten=workshop / ENCODER), folder, columns
        )
    except (ModelError, InferenceError) as exc:
        return replace(record, fault=f"the rewritten encoder can't be used: {exc}")
    # The larger one comes last: what it frees goes back to the C library, not always to the system.
    original = hear(AcousticModel(folder, threads=threads), folder, columns)
    cosine = likeness(original, rewritten)
    record = replace(record, cosine=cosine)
    if not cosine >= MIN_COSINE:  # nor if it is no number
        return replace(record, fault=f"the rewritten encoder is too unlike the original: cosine {cosine:.5f}")
    if rewritten.tokens != original.tokens:
        return replace(record, fault="the rewritten encoder hears other tokens than the original")
    return record


def _rewrite(encoder: Path, workshop: Path, frames: int) -> str:
    """Write ENCODER and its weights into the folder; returns why not, if not."""
    # Serving needs neither onnx nor the time and the memory that loading it takes.
    from ears_edge.models.rewrite import rewrite  # noqa: PLC0415

    if encoder.stat().st_size > MAX_SOURCE_BYTES:
        return f"the encoder has more than {MAX_SOURCE_BYTES // 10**6} MB"
    if any((encoder.parent / name).exists() for name in external_data(encoder.name)):
        return "the encoder's weights are in a file of their own, so it is none in INT8"
    graph = workshop / "graph.onnx"
    try:
        steps = rewrite(encoder, graph, frames=frames)
        if not steps.integer:
            return (
                "nothing in the encoder can be made faster: it has no integer convolutions of the known kind"
            )
        prepack(graph, workshop / ENCODER)
    except (ValueError, ModelError) as exc:
        return f"the encoder can't be rewritten: {exc}"
    finally:
        for path in workshop.glob(f"{graph.name}*"):
            path.unlink()
    return ""
