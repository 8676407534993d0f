"""Fakes: a recognizer that hears numbers, and an engine around it. They can fail: a wrong window shows."""

import threading
from collections import deque
from collections.abc import Callable

import numpy as np

from ears_edge.asr.tdt import DecoderState, Token
from ears_edge.asr.tokenizer import SPACE, Tokenizer
from ears_edge.config import EngineConfig
from ears_edge.engine.recognizer import Decoded, Work
from ears_edge.engine.scheduler import Engine
from ears_edge.errors import InferenceError
from ears_edge.models.folder import Attribution, ModelInfo
from ears_edge.units import F32, SAMPLE_RATE

FRAME = 1280
LEVELS = 12
"""Loudness steps that the fake tells apart; step n is the word `w<n>`."""
TOP, STEP = 0.9, 1.2
"""Log energy of the loudest step in the second of 8 mel bins, and from one step to the next; measured."""
PIECES = ("<unk>", *(f"{SPACE}w{level}" for level in range(LEVELS)), "<blk>")
INFO = ModelInfo(
    name="fake",
    version="1",
    description="hears loudness",
    languages=("en",),
    licence="MIT",
    attribution=Attribution("tests", ""),
)


class FakeRecognizer:
    """Deterministic and blind to context: each frame of audio is the word of its loudness, silence none.

    Two successive frames of the same loudness are one word, two frames long; a word that a chunk's end cuts
    in two would be heard twice, were it not for the state that is carried on.
    """

    info = INFO
    n_mels = 8
    frame = FRAME

    def __init__(self) -> None:
        self.tokenizer = Tokenizer(PIECES)
        self.windows: list[tuple[int, int, int]] = []
        """(begin, start, stop) of each decode."""
        self.gate = threading.Event()
        """Cleared, it holds decodes up until it is set."""
        self.gate.set()
        self.started = threading.Event()
        self.fail = False

    def decode(self, work: Work) -> Decoded:
        self.started.set()
        self.gate.wait()
        if self.fail:
            raise InferenceError("the fake was told to fail")
        self.windows.append((work.begin, work.start, work.stop))
        last = work.state.last_token if work.state else 0
        tokens: list[Token] = []
        levels = self.hear(work.columns)
        for frame in range(work.start, min(work.stop, work.begin + len(levels))):
            level = levels[frame - work.begin]
            if level and level != last:
                tokens.append(Token(level, frame, 1, 1.0, _state(level, skip=1)))
            last = level
        return Decoded(tokens, _state(last))

    def hear(self, columns: F32) -> list[int]:
        """The level of each encoder frame of a window."""
        return loudness(columns)


class EdgeRecognizer(FakeRecognizer):
    """Errs in a window's last frame, as real ones do where they lack right context."""

    def hear(self, columns: F32) -> list[int]:
        levels = super().hear(columns)
        return [*levels[:-1], *(level and level % LEVELS + 1 for level in levels[-1:])]


class PairRecognizer(FakeRecognizer):
    """A word in every two loud frames, wherever they begin: nothing but durations keeps it in step."""

    def decode(self, work: Work) -> Decoded:
        levels = self.hear(work.columns)
        tokens: list[Token] = []
        frame = work.start + (work.state.skip if work.state else 0)
        end = min(work.stop, work.begin + len(levels))
        while frame < end:
            level = levels[frame - work.begin]
            if level:
                tokens.append(Token(level, frame, 2, 1.0, _state(level, skip=2)))
            frame += 2 if level else 1
        return Decoded(tokens, _state(0, skip=frame - end))


def _state(last: int, skip: int = 0) -> DecoderState:
    return DecoderState(last, np.zeros(1, np.float32), np.zeros(1, np.float32), skip)


def loudness(columns: F32) -> list[int]:
    """(T, n_mels) log-mel columns -> a level for each whole encoder frame, from its middle columns."""
    per_frame = FRAME // 160
    frames = columns[: len(columns) // per_frame * per_frame].reshape(-1, per_frame, columns.shape[1])
    energy = frames[:, 2:6, 1].mean(axis=1)
    return [int(np.clip(round((float(value) - TOP) / STEP) + LEVELS, 0, LEVELS)) for value in energy]


class LoudDetector:
    """Speech is what is not silent."""

    block = 160
    lag = 0

    def probability(self, block: F32) -> float:
        return 1.0 if float(np.abs(block).max()) > 1e-4 else 0.0  # digital silence


class LateDetector(LoudDetector):
    """Tells the same, some blocks later."""

    def __init__(self, blocks: int) -> None:
        self.lag = blocks * self.block
        self.asked = 0
        """How often it was asked."""
        self._told = deque([0.0] * blocks)

    def probability(self, block: F32) -> float:
        self.asked += 1
        self._told.append(super().probability(block))
        return self._told.popleft()


def tone(levels: "list[int]", frames_each: int = 1) -> F32:
    """A tone of the given loudness levels (0 is silence), each `frames_each` encoder frames long."""
    t = np.arange(FRAME * frames_each, dtype=np.float32) / SAMPLE_RATE
    parts = [
        np.sin(2 * np.pi * 600 * t) * (np.exp(STEP / 2 * (level - LEVELS)) if level else 0.0)
        for level in levels
    ]
    return np.concatenate(parts).astype(np.float32) if parts else np.zeros(0, np.float32)


def fake_engine(
    recognizer: FakeRecognizer | None = None,
    config: EngineConfig | None = None,
    detector: Callable[[], LoudDetector] = LoudDetector,
) -> Engine:
    """An engine around a fake; enter it with `async with`."""
    return Engine(recognizer or FakeRecognizer(), config or EngineConfig(), detector=detector)
