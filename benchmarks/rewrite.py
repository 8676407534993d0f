"""The encoder rewritten for this machine, against the same INT8 file in onnx-asr.

`python -m benchmarks.rewrite [--model FOLDER] [--rounds N] [--windows S,S] [--thread-counts N,N]`

Without a model it takes the full-size stand-in, which is built first if need be (`benchmarks.standin`). It
prints what the rewrite takes; milliseconds of a window, and how many times faster the rewritten encoder is,
in turn within one run; and, each in processes of their own, the time to load, anonymous memory after it, and
resident memory after windows of 15 s. For Linux: memory is read from /proc.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np

from benchmarks.contestants import Contestant, OnnxAsr, Ours
from benchmarks.interleave import interleaved, ratio
from ears_edge.bench.babble import babble
from ears_edge.bench.memory import peak_bytes
from ears_edge.dsp.features import LogMel, normalize
from ears_edge.engine.optimize import optimize
from ears_edge.models.folder import ModelFolder, resolve
from ears_edge.units import F32

REWRITTEN, PLAIN, THEIRS = "rewritten", "as it is", "onnx-asr"
WINDOW_S: Final = 15.0
LOADS: Final = 7
"""Median of so many: what the C library keeps of a plain load differs from one to the next by 300 MB."""
MB: Final = 1e6


def columns(seconds: float, n_mels: int) -> F32:
    """(T, n_mels) float32 normalized columns of babble."""
    mel, samples = LogMel(n_mels), babble(seconds)
    return normalize(np.concatenate((mel.feed(samples), mel.flush())))


def contestants(model: Path, rewritten: Path, threads: int) -> dict[str, Callable[[], Contestant]]:
    """All ways to run it, none loaded yet."""
    return {
        REWRITTEN: partial(Ours, model, threads=threads, rewritten=rewritten),
        PLAIN: partial(Ours, model, threads=threads),
        THEIRS: partial(OnnxAsr, model, threads=threads),
    }


def compare_speed(model: Path, rewritten: Path, threads: int, windows: list[float], rounds: int) -> None:
    """One line for each window."""
    n_mels = ModelFolder.open(model).config.features_size
    loaded = {name: load() for name, load in contestants(model, rewritten, threads).items()}
    for window in windows:
        work = columns(window, n_mels)
        seconds = interleaved(
            {name: partial(one.encode, work) for name, one in loaded.items()}, rounds=rounds
        )
        times = "  ".join(f"{name} {median(seconds[name]) * 1000:7.1f} ms" for name in loaded)
        print(f"{window:4.0f} s, {threads} thread(s)   {times}   {ratio(seconds, THEIRS, REWRITTEN):.2f} x")


def compare_memory(command: list[str]) -> None:
    """One line for each way to run it: medians over processes that do nothing else."""
    resident = {}
    for name in (REWRITTEN, PLAIN, THEIRS):
        runs = [child([*command, "--of", name]) for _ in range(LOADS + 1)][1:]
        middle = {key: median(run[key] for run in runs) for key in runs[0]}
        resident[name] = middle["resident"]
        print(
            f"{name:<10} load {middle['load_s']:.2f} s   anonymous {middle['anonymous'] / MB:5.0f} MB "
            f"(before {middle['before'] / MB:3.0f})   resident after a window of {WINDOW_S:.0f} s "
            f"{middle['resident'] / MB:5.0f} MB (anonymous {middle['held'] / MB:5.0f}), after three "
            f"{middle['later'] / MB:5.0f}"
        )
    print(f"resident, {REWRITTEN} over {THEIRS}: {resident[REWRITTEN] / resident[THEIRS]:.0%}")


def measure(load: Callable[[], Contestant]) -> dict[str, float]:
    """Load, hear three windows, and tell what that took."""
    before, start = status("RssAnon"), time.perf_counter()
    one = load()
    found = {"load_s": time.perf_counter() - start, "before": before, "anonymous": status("RssAnon")}
    samples = babble(WINDOW_S)
    one.text(samples)
    found |= {"resident": status("VmRSS"), "held": status("RssAnon")}
    for _ in range(2):
        one.text(samples)
    return found | {"later": status("VmRSS")}


def status(member: str) -> float:
    """Bytes of a member of /proc/self/status."""
    text = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(rf"^{member}:\s*(\d+) kB", text, re.MULTILINE)
    if found is None:
        raise SystemExit(f"/proc/self/status has no {member}.")
    return int(found[1]) * 1024.0


def child(arguments: list[str]) -> dict[str, float]:
    """What this program prints as a process of its own."""
    command = [sys.executable, "-m", "benchmarks.rewrite", *arguments]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603  # ourselves
    found: dict[str, float] = json.loads(out)
    return found


def rewrite(model: Path, cache: Path) -> dict[str, float]:
    """Rewrite it into an empty cache, and tell what that took."""
    start = time.perf_counter()
    verdict = optimize(ModelFolder.open(model), cache, window_s=WINDOW_S)
    if verdict.encoder is None:
        raise SystemExit(f"Not rewritten: {verdict.fault}")
    return {"seconds": time.perf_counter() - start, "peak": peak_bytes(), "cosine": verdict.cosine}


def built() -> Path:
    """The stand-in."""
    # A child process is given its folder: onnx would count as memory of what is measured.
    from benchmarks import standin  # noqa: PLC0415  # as said

    return standin.ensure()


def main() -> None:
    """Compare, or, as a child process, do one part and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="a folder in the onnx-asr layout (default: the stand-in)")
    parser.add_argument("--rounds", type=int, default=9, help="how often each window is encoded (default: 9)")
    parser.add_argument("--windows", default="4,8", help="seconds (default: 4,8)")
    parser.add_argument("--thread-counts", default="1,2", help="(default: 1,2)")
    parser.add_argument("--cache", type=Path, help="(used for the child processes)")
    parser.add_argument("--of", help="(used for the child processes)")
    options = parser.parse_args()
    model = resolve(options.model) if options.model else built()
    folder = ModelFolder.open(model)
    if options.of == "rewrite":
        print(json.dumps(rewrite(model, options.cache)))
        return
    with tempfile.TemporaryDirectory() as fresh:
        cache = options.cache or Path(fresh)
        command = ["--model", str(model), "--cache", str(cache)]
        if not options.of:
            took = child([*command, "--of", "rewrite"])
            print(
                f"rewrite    {took['seconds']:.1f} s, peak memory {took['peak'] / MB:.0f} MB, "
                f"cosine {took['cosine']:.6f}"
            )
        rewritten = optimize(folder, cache, window_s=WINDOW_S).encoder
        if rewritten is None:
            raise SystemExit("Not rewritten.")
        if options.of:
            print(json.dumps(measure(contestants(model, rewritten, 1)[options.of])))
            return
        compare_memory(command)
        for threads in map(int, options.thread_counts.split(",")):
            windows = [float(window) for window in options.windows.split(",")]
            compare_speed(model, rewritten, threads, windows, options.rounds)


if __name__ == "__main__":
    main()
