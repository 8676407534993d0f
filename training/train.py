"""Train: `python -m training.train --data FOLDER --work FOLDER --minutes M`.

One process a core, each with batches of its own; their gradients are averaged. Two processes of one thread
train about 1.6 times as fast as one of two threads. The learning rate follows the clock: it is at its end
when the time is up, whatever else the machine does. A run that was stopped goes on where it was last saved.
"""

import argparse
import ctypes
import math
import os
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from torch import multiprocessing, nn

from training.acoustics import Acoustics, Sound
from training.corpus import RATE, Clip, read_shard
from training.features import log_mel, masked, normalize, warped
from training.lattice import near
from training.model import FLOAT, Recognizer, load, read_labels, save
from training.tdt_loss import tdt_loss
from training.tokenizer import Tokenizer

HERE = Path(__file__).parent
VOCABULARY = HERE.parent / "ears_edge" / "models" / "embedded" / "vocab.txt"

SHARES = {
    "kokoro": 0.36, "hibari": 0.24, "rhvoice": 0.15, "pico": 0.09, "flite": 0.08, "espeak": 0.04,
    "festival": 0.04,
}  # fmt: skip
"""How often a clip is of which synthesizer: the natural ones count most."""
SILENT = 0.03
"""Share of clips in which nobody speaks."""
PAIRED = 0.08
"""Share of clips that are two sentences with a pause between them."""
BATCH_SECONDS = 24.0
POOL = 128
"""Clips that are heard together and sorted by length, so that batches need little padding."""
LONGEST_SECONDS = 16.0
PEAK_RATE, FINAL_RATE, WARM_UP_STEPS = 1.5e-3, 1e-5, 300
BETAS, EPSILON, DECAY = (0.9, 0.98), 1e-8, 1e-3
CLIP_NORM = 2.0
CTC_SHARE = 0.3
AVERAGED_STEPS = 400
"""The weights that are exported are a running mean over about so many steps."""
EASIEST, HARD_FROM = 0.5, 0.6
"""Rooms and noise begin mild, and grow to their full strength within about half of the time."""
HOPELESS = 50.0
"""A clip with a higher loss a token is left out: it is broken."""
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
SAVE_SECONDS, RESCAN_SECONDS, REPORT_STEPS = 150.0, 120.0, 50


class Batch(NamedTuple):
    """Clips of like length."""

    features: list[torch.Tensor]
    tokens: torch.Tensor
    """(B, U) int64, padded with 0."""
    lengths: torch.Tensor
    """(B,) int64."""
    seconds: float


class Corpus:
    """The clips of a folder, drawn by synthesizer; shards that appear later are found by `rescan`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: set[Path] = set()
        self._clips: dict[str, list[Clip]] = {}
        self.rescan()

    def rescan(self) -> None:
        """Read the shards that are new."""
        for path in sorted(self._folder.glob("*.npz")):
            if path not in self._seen:
                self._seen.add(path)
                for clip in read_shard(path):
                    self._clips.setdefault(clip.tool, []).append(clip)
        self._tools = [tool for tool in SHARES if tool in self._clips]
        shares = np.array([SHARES[tool] for tool in self._tools])
        self._shares = shares / shares.sum()

    def draw(self, rng: np.random.Generator) -> Clip:
        """One clip."""
        clips = self._clips[self._tools[rng.choice(len(self._tools), p=self._shares)]]
        return clips[rng.integers(len(clips))]

    def __str__(self) -> str:
        hours = {
            tool: sum(len(clip.speech) for clip in rows) / RATE / 3600 for tool, rows in self._clips.items()
        }
        return ", ".join(f"{tool} {value:.2f} h" for tool, value in hours.items())


class Listening:
    """Batches without end: clips as they are heard in rooms. `hardness` (0 to 1) may be set at any time."""

    def __init__(self, corpus: Corpus, tokenizer: Tokenizer, rng: np.random.Generator) -> None:
        self._corpus, self._tokenizer, self._rng = corpus, tokenizer, rng
        self.hardness = 0.0
        self._acoustics = Acoustics([corpus.draw(rng).speech for _ in range(600)], rng)

    def batches(self) -> Iterator[Batch]:
        """Batches of about BATCH_SECONDS, in random order."""
        while True:
            pool = sorted((self._example() for _ in range(POOL)), key=lambda row: len(row[0]))
            groups: list[list[tuple[Sound, str]]] = [[]]
            for row in pool:
                if (len(groups[-1]) + 1) * len(row[0]) > BATCH_SECONDS * RATE:
                    groups.append([])
                groups[-1].append(row)
            for at in self._rng.permutation(len(groups)):
                yield self._batch(groups[at])

    def _example(self) -> tuple[Sound, str]:
        if self._rng.random() < SILENT:
            return self._acoustics.silence(), ""
        clip = self._corpus.draw(self._rng)
        speech, text = clip.speech, clip.text
        if self._rng.random() < PAIRED:
            second = self._corpus.draw(self._rng)
            pause = np.zeros(int(self._rng.uniform(0.1, 1.0) * RATE), np.int16)
            if len(speech) + len(pause) + len(second.speech) < 12 * RATE:
                speech, text = np.concatenate((speech, pause, second.speech)), f"{text} {second.text}"
        return self._acoustics.heard(speech, self.hardness)[: int(LONGEST_SECONDS * RATE)], text

    def _batch(self, rows: list[tuple[Sound, str]]) -> Batch:
        tokens = [torch.from_numpy(self._tokenizer.encode(text)) for _, text in rows]
        columns = [log_mel(sound) for sound, _ in rows]
        columns = [warped(row, self._rng) if self._rng.random() < 0.6 else row for row in columns]
        return Batch(
            [torch.from_numpy(masked(normalize(row), self._rng)) for row in columns],
            nn.utils.rnn.pad_sequence(tokens, batch_first=True),
            torch.tensor([len(row) for row in tokens]),
            sum(len(sound) for sound, _ in rows) / RATE,
        )


class Optimizer:
    """AdamW over one flat vector of all weights, with one for the gradients and one for the running mean.

    Source: Loshchilov and Hutter (2019). Flat, since hundreds of small tensors cost more than their sums.
    """

    def __init__(self, model: nn.Module) -> None:
        parameters = [row for row in model.parameters() if row.requires_grad]
        self.weights = torch.cat([row.detach().flatten() for row in parameters])
        self.slope = torch.zeros_like(self.weights)
        self.mean, self.square = torch.zeros_like(self.weights), torch.zeros_like(self.weights)
        self.average = self.weights.clone()
        self.steps = 0
        at = 0
        for row in parameters:
            row.data = self.weights[at : at + row.numel()].view_as(row)
            row.grad = self.slope[at : at + row.numel()].view_as(row)
            at += row.numel()

    def step(self, rate: float) -> float:
        """Apply the gradients, then clear them -> their norm before clipping."""
        dist.all_reduce(self.slope)
        self.slope /= dist.get_world_size()
        norm = float(self.slope.norm())
        self.steps += 1
        if math.isfinite(norm):
            self.slope *= min(1.0, CLIP_NORM / (norm + 1e-6))
            self.mean.lerp_(self.slope, 1 - BETAS[0])
            self.square.mul_(BETAS[1]).addcmul_(self.slope, self.slope, value=1 - BETAS[1])
            unbiased = rate / (1 - BETAS[0] ** self.steps)
            spread = (self.square / (1 - BETAS[1] ** self.steps)).sqrt_().add_(EPSILON)
            self.weights.mul_(1 - rate * DECAY).addcdiv_(self.mean, spread, value=-unbiased)
            self.average.lerp_(self.weights, max(1 / AVERAGED_STEPS, 1 / self.steps))
        self.slope.zero_()
        return norm

    def state(self) -> dict[str, Any]:
        """What a later run needs to go on."""
        return {"average": self.average, "mean": self.mean, "square": self.square, "steps": self.steps}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a saved state; the weights are the model's."""
        for name in ("average", "mean", "square"):
            getattr(self, name).copy_(state[name])
        self.steps = state["steps"]


def losses(model: Recognizer, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean loss a token: the transducer's, and the CTC head's."""
    encoded, frames = model.encode(batch.features)
    each = batch.lengths.clamp(min=1)
    chances = torch.log_softmax(model.ctc(encoded), -1)
    known = chances.detach()
    own = known.gather(2, batch.tokens[:, None].expand(-1, known.shape[1], -1))
    cells = near(known[..., -1].numpy(), own.numpy(), frames.numpy(), batch.lengths.numpy())
    logits = model.join(encoded, batch.tokens, batch.lengths, cells)
    transducer = tdt_loss(logits, cells, batch.tokens, frames, batch.lengths) / each
    ctc = nn.functional.ctc_loss(
        chances.transpose(0, 1), batch.tokens, frames, batch.lengths, blank=model.blank, reduction="none",
        zero_infinity=True,
    )  # fmt: skip
    good = transducer.detach() < HOPELESS
    return (transducer * good).sum() / good.sum().clamp(min=1), (ctc / each).mean()


def learning_rate(progress: float, steps: int, peak: float) -> float:
    """Linear warm-up by steps, then a cosine down to the end of the time."""
    cosine = 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
    return FINAL_RATE + (peak - FINAL_RATE) * cosine * min(1.0, (steps + 1) / WARM_UP_STEPS)


def keep_memory() -> None:
    """Let the C library keep freed memory: a step's large tensors come from the kernel anew otherwise.

    Source: glibc, mallopt(3). A third of a step's time went into page faults.
    """
    mallopt = ctypes.CDLL(None).mallopt
    for option, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 1 << 30), (M_TOP_PAD, 1 << 28)):
        mallopt(option, value)


def worker(rank: int, asked: argparse.Namespace) -> None:
    """One of the processes; the first saves and reports."""
    keep_memory()
    torch.set_num_threads(1)
    meeting = f"file://{asked.work / 'meeting'}"
    dist.init_process_group("gloo", meeting, timedelta(hours=6), asked.processes, rank)
    model = load(asked.start, read_labels(VOCABULARY))
    optimizer, elapsed = Optimizer(model), 0.0
    state_file = asked.work / "state.pt"
    if state_file.exists():
        state = torch.load(state_file, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.restore(state["optimizer"])
        elapsed = state["elapsed"]
    rng = np.random.default_rng((asked.seed, rank, optimizer.steps))
    torch.manual_seed(int(rng.integers(1 << 31)))
    corpus = Corpus(asked.data)
    listening = Listening(corpus, Tokenizer(), rng)
    batches = listening.batches()
    model.train()
    reported = saved = scanned = time.monotonic()
    started = reported - elapsed
    history: list[tuple[float, float, float]] = []
    while True:
        progress = torch.tensor((time.monotonic() - started) / 60 / asked.minutes)
        dist.broadcast(progress, 0)
        if progress >= 1:
            break
        listening.hardness = min(1.0, EASIEST + float(progress) / HARD_FROM)
        batch = next(batches)
        transducer, ctc = losses(model, batch)
        (transducer + CTC_SHARE * ctc).backward()
        norm = optimizer.step(learning_rate(float(progress), optimizer.steps, asked.peak))
        history.append((transducer.item(), ctc.item(), batch.seconds))
        now = time.monotonic()
        if now - scanned > RESCAN_SECONDS:
            corpus.rescan()
            scanned = now
        if rank == 0 and optimizer.steps % REPORT_STEPS == 0:
            means = np.mean(history[-REPORT_STEPS:], axis=0)
            print(
                f"{(now - started) / 60:.1f} min, step {optimizer.steps}: "
                f"tdt {means[0]:.3f}, ctc {means[1]:.3f}, "
                f"norm {norm:.2f}, {means[2] * REPORT_STEPS / (now - reported):.0f} x on this core; {corpus}",
                flush=True,
            )
            reported = now
        if rank == 0 and now - saved > SAVE_SECONDS:
            keep(model, optimizer, now - started, asked.work)
            saved = now
    if rank == 0:
        keep(model, optimizer, asked.minutes * 60, asked.work)
    dist.destroy_process_group()


def keep(model: Recognizer, optimizer: Optimizer, elapsed: float, folder: Path) -> None:
    """Save the state to go on from, and the averaged weights; each file appears whole."""
    unfinished = folder / "unfinished"
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state(), "elapsed": elapsed}, unfinished)
    unfinished.rename(folder / "state.pt")
    latest = optimizer.weights.clone()
    optimizer.weights.copy_(optimizer.average)
    save(model, unfinished)
    optimizer.weights.copy_(latest)
    unfinished.rename(folder / FLOAT)


def main() -> None:
    """Read the command line, then train."""
    parser = argparse.ArgumentParser(description="Train the embedded model.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the shards")
    parser.add_argument("--work", type=Path, required=True, help="folder of the run's state and its result")
    parser.add_argument("--minutes", type=float, required=True, help="how long to train")
    parser.add_argument("--start", type=Path, default=HERE / FLOAT, help="float checkpoint to start from")
    parser.add_argument("--peak", type=float, default=PEAK_RATE, help="highest learning rate")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    (asked.work / "meeting").unlink(missing_ok=True)
    multiprocessing.spawn(worker, (asked,), asked.processes)


if __name__ == "__main__":
    main()
