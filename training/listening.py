"""What the model hears in training: clips drawn from a folder, joined, and put into rooms, batch by batch."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from training.acoustics import Acoustics
from training.corpus import RATE, Speech, read_shard
from training.features import Lengths, blended, crisp, flattened, log_mel, masked, normalize, swayed, warped
from training.pace import Placed, play
from training.placing import placed
from training.tokenizer import Tokenizer

SHARES = {
    "kokoro": 0.50, "hibari": 0.28, "rhvoice": 0.05, "flite": 0.04, "pico": 0.09, "festival": 0.01,
    "espeak": 0.03,
}  # fmt: skip
"""How often a clip is of which synthesizer: the natural ones count most, and fast ones more than slow ones,
so that no clip needs to be heard often.

Clips of others are left out: they are not to be learnt from.
"""
SILENT = 0.03
"""Share of clips in which nobody speaks."""
JOINED = (0.1, 0.03)
"""Share of clips with a second sentence after a pause, and of those with a third one, too."""
BATCH_SECONDS = {"cpu": 64.0, "cuda": 1000.0}
ROUNDED = RATE // 2
"""A batch's clips are so many samples long, or twice as many, and so on: little padding, and few shapes."""
DRAWN = 64
LONGEST_SECONDS = 16.0
LONGEST_PAUSES = (0.6, 1.1)
"""Seconds of silence before and after the words. Recorders stop late: real clips end with about a second."""
TRIMMED = 0.5
"""Share of clips whose own silence at both ends is cut off: the synthesizers begin late, people do not."""
FAINT = 0.01
"""Of a clip's peak: what is softer at its ends counts as silence."""
RESAMPLED, PACE = 0.6, (0.87, 1.15)
STEP = RATE // 100
RESCAN_SECONDS = 60.0
VOICES = 600
"""Clips that babble and talkers in the background are made of."""


class Batch(NamedTuple):
    """Clips of like length."""

    features: torch.Tensor
    """(B, T, 128) float32, on the device."""
    columns: Lengths
    """How many of the T columns are each clip's."""
    tokens: torch.Tensor
    """(B, U) int64, padded with 0, on the device."""
    lengths: Lengths
    """How many of the U tokens are each clip's."""
    seconds: float


class Corpus:
    """The clips of a folder, all in one row of samples; shards that appear later are found by `rescan`.

    `kokoro` is that tool's share of them, 0 to 1: less where there are few hours of it.

    Raises:
        FileNotFoundError: the folder has no shard.
        ValueError: none of its clips shall be heard.
    """

    def __init__(self, folder: Path, device: str, kokoro: float = SHARES["kokoro"]) -> None:
        others = (1.0 - kokoro) / (1.0 - SHARES["kokoro"])
        self._wanted = {tool: share * others for tool, share in SHARES.items()} | {"kokoro": kokoro}
        self._folder, self._tokenizer, self._device = folder, Tokenizer(), device
        self._seen: set[Path] = set()
        self.speech = torch.zeros(0, dtype=torch.int16, device=device)
        """(N,): every clip one after the other."""
        self.tokens: list[npt.NDArray[np.int64]] = []
        self.spans = np.zeros((0, 4), np.int64)
        """A row a clip: its first sample, its length; its first and last audible sample, from its start."""
        self._clips: dict[str, list[int]] = {}
        self.rescan()
        if not self.tokens:
            raise FileNotFoundError(f"no speech in {folder}: make some first (training.synthesize)")

    def rescan(self) -> None:
        """Read the shards that are new."""
        new = [path for path in sorted(self._folder.glob("*.npz")) if path not in self._seen]
        if not new:
            return
        spans, sounds, at = [self.spans], [self.speech], len(self.speech)
        for path in new:
            self._seen.add(path)
            for clip in read_shard(path):
                if clip.tool not in SHARES:
                    continue
                self._clips.setdefault(clip.tool, []).append(len(self.tokens))
                self.tokens.append(self._tokenizer.encode(clip.text))
                spans.append(np.array([(at, len(clip.speech), *_audible(clip.speech))], np.int64))
                sounds.append(torch.from_numpy(clip.speech).to(self._device))
                at += len(clip.speech)
        self.speech, self.spans = torch.cat(sounds), np.concatenate(spans)
        self._tools = [tool for tool in SHARES if tool in self._clips]
        shares = np.array([self._wanted[tool] for tool in self._tools])
        if self._tools and not shares.any():
            raise ValueError(f"the clips in {self._folder} are all of synthesizers whose share is 0")
        self._shares = shares / shares.sum()

    def draw(self, rng: np.random.Generator, count: int) -> npt.NDArray[np.int64]:
        """(count,) numbers of clips."""
        tools = rng.choice(len(self._tools), count, p=self._shares)
        rows = (self._clips[self._tools[tool]] for tool in tools)
        return np.array([row[int(rng.integers(len(row)))] for row in rows])

    def clip(self, number: int) -> Speech:
        """One clip as it is."""
        start, length = self.spans[number, :2]
        return self.speech[start : start + length].cpu().numpy()

    def __str__(self) -> str:
        hours = {tool: self.spans[rows, 1].sum() / RATE / 3600 for tool, rows in self._clips.items()}
        return ", ".join(f"{tool} {value:.2f} h" for tool, value in hours.items())


class _Plan(NamedTuple):
    """What is said in one clip, and when."""

    numbers: list[int]
    """Of the corpus; none in silence."""
    begins: list[int]
    """Sample of the clip at which each of them starts."""
    offsets: list[int]
    """Samples of each that are left out at its start."""
    counts: list[int]
    """Samples of each that are heard."""
    pace: float
    length: int


class Listening:
    """Batches without end. `hardness` (0 to 1) may be set at any time."""

    def __init__(self, corpus: Corpus, rng: np.random.Generator, device: str) -> None:
        self._corpus, self._rng, self._device = corpus, rng, device
        self.hardness = 0.0
        self._acoustics = Acoustics([corpus.clip(n) for n in corpus.draw(rng, VOICES)], rng, device)

    def batches(self) -> Iterator[Batch]:
        """Batches of about BATCH_SECONDS, each of clips that take equally many half seconds."""
        waiting: dict[int, list[_Plan]] = {}
        scanned = time.monotonic()
        while True:
            if time.monotonic() - scanned > RESCAN_SECONDS:
                self._corpus.rescan()
                scanned = time.monotonic()
            for numbers in self._corpus.draw(self._rng, 3 * DRAWN).reshape(-1, 3):
                plan = self._plan(numbers)
                steps = -(-plan.length // ROUNDED)
                plans = waiting.setdefault(steps, [])
                plans.append(plan)
                if (len(plans) + 1) * steps * ROUNDED > BATCH_SECONDS[self._device] * RATE:
                    yield self._batch(waiting.pop(steps), steps * ROUNDED)

    def _plan(self, numbers: npt.NDArray[np.int64]) -> _Plan:
        rng = self._rng
        if rng.random() < SILENT:
            return _Plan([], [], [], [], 1.0, int(rng.uniform(0.8, 6.0) * RATE))
        joined = rng.random()
        count = 1 + (joined < JOINED[0]) + (joined < JOINED[1])
        pace = float(rng.uniform(*PACE)) if rng.random() < RESAMPLED else 1.0
        plan = _Plan([], [], [], [], pace, 0)
        at = self._pause(LONGEST_PAUSES[0])
        for number in numbers[:count]:
            _, length, first, last = (int(value) for value in self._corpus.spans[number])
            if rng.random() < TRIMMED:
                first = max(0, first - int(rng.uniform(0.0, 0.04) * RATE))
                last = min(length, last + int(rng.uniform(0.0, 0.06) * RATE))
            else:
                first, last = 0, length
            heard = int((last - first) / pace)
            if plan.numbers and at + heard > (LONGEST_SECONDS - 0.2) * RATE:
                break
            plan.numbers.append(int(number))
            plan.begins.append(at)
            plan.offsets.append(first)
            plan.counts.append(last - first)
            at += heard + int(rng.uniform(0.1, 1.0) * RATE)
        end = plan.begins[-1] + int(plan.counts[-1] / pace) + self._pause(LONGEST_PAUSES[1])
        return plan._replace(length=min(end, int(LONGEST_SECONDS * RATE)))

    def _pause(self, longest: float) -> int:
        """Samples before or after the words: often few, now and then none at all."""
        rng = self._rng
        share = rng.uniform(0.1, 1.0) ** 2
        return int(RATE * (rng.uniform(0.0, 0.05) if rng.random() < 0.25 else longest * share))

    def _batch(self, plans: list[_Plan], longest: int) -> Batch:
        lengths = np.array([plan.length for plan in plans])
        silent = np.array([not plan.numbers for plan in plans])
        heard = self._acoustics.heard(self._said(plans, longest), lengths, silent, self.hardness)
        columns, counts = warped(log_mel(heard, lengths), lengths // STEP, self._rng)
        features = blended(normalize(swayed(columns, self._rng), counts), counts, self._rng)
        features = crisp(flattened(features, counts, self._rng), counts, self._rng)
        features = masked(features, counts, self._rng)
        texts = [[token for n in plan.numbers for token in self._corpus.tokens[n]] for plan in plans]
        tokens = np.zeros((len(plans), max(1, *map(len, texts))), np.int64)
        for row, text in zip(tokens, texts, strict=True):
            row[: len(text)] = text
        written = np.array([len(text) for text in texts])
        return Batch(features, counts, placed(tokens, self._device), written, float(lengths.sum()) / RATE)

    def _said(self, plans: list[_Plan], longest: int) -> torch.Tensor:
        """(B, N) float32: the clips of the plans, at their pace and place, silence between them."""
        sound = torch.zeros(len(plans), longest, device=self._device)
        for turn in range(max(len(plan.numbers) for plan in plans)):
            rows = [number for number, plan in enumerate(plans) if len(plan.numbers) > turn]
            chosen = [plans[number] for number in rows]
            clips = Placed(
                np.array(rows),
                np.array([self._corpus.spans[plan.numbers[turn], 0] + plan.offsets[turn] for plan in chosen]),
                np.array([plan.counts[turn] for plan in chosen]),
                np.array([plan.begins[turn] for plan in chosen]),
                np.array([plan.pace for plan in chosen], np.float32),
            )
            play(self._corpus.speech, clips, sound)
        return sound


def _audible(speech: Speech) -> tuple[int, int]:
    """(N,) int16 -> the first sample and the one after the last that are louder than FAINT of the peak."""
    loudness = np.abs(speech)
    loud = loudness > FAINT * loudness.max()
    return int(loud.argmax()), len(loud) - int(loud[::-1].argmax())
