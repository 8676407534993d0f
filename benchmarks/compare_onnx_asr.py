"""This engine against onnx-asr: same model, same clips, same threads, in turn within one run.

`python -m benchmarks.compare_onnx_asr [FILE…] [--model FOLDER] [--threads N] [--rounds N]`

Prints, for whole clips to text and for the encoder alone, milliseconds and how many times faster this engine
is; how many texts are the same; and the peak memory of a process that does nothing else, for each.
"""

import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median

from benchmarks.contestants import Contestant, OnnxAsr, Ours, Speech, arguments, model_folder, speech
from benchmarks.interleave import interleaved, ratio
from ears_edge.bench.memory import peak_bytes
from ears_edge.dsp.features import normalize
from ears_edge.units import F32

OURS, THEIRS = "ears_edge", "onnx-asr"


def report(what: str, seconds: dict[str, list[float]], audio_s: float) -> None:
    """One line: both medians, real-time factors, ratio."""
    parts = [
        f"{name} {median(seconds[name]) * 1000:9.1f} ms (RTF {median(seconds[name]) / audio_s:.4f})"
        for name in (OURS, THEIRS)
    ]
    print(f"{what:<14} {parts[0]}   {parts[1]}   {ratio(seconds, THEIRS, OURS):.2f} x")


def compare(clips: list[Speech], contestants: dict[str, Contestant], ours: Ours, rounds: int) -> None:
    """Time and texts, interleaved."""
    audio_s = sum(clip.seconds for clip in clips)
    texts = {name: [one.text(clip.samples) for clip in clips] for name, one in contestants.items()}
    same = sum(a == b for a, b in zip(texts[OURS], texts[THEIRS], strict=True))
    print(f"{len(clips)} clips, {audio_s:.1f} s; texts the same: {same} of {len(clips)}")
    whole = {
        name: partial(_map, one.text, [clip.samples for clip in clips]) for name, one in contestants.items()
    }
    report("whole clip", interleaved(whole, rounds=rounds), audio_s)
    columns = [normalize(ours.columns(clip.samples)) for clip in clips]
    encoder = {name: partial(_map, one.encode, columns) for name, one in contestants.items()}
    report("encoder alone", interleaved(encoder, rounds=rounds), audio_s)


def _map(function: Callable[[F32], object], arrays: Sequence[F32]) -> None:
    for array in arrays:
        function(array)


def main() -> None:
    """Compare, or, as a child process, do one contestant's work and print its peak memory."""
    parser = arguments(__doc__)
    parser.add_argument("--memory-of", choices=(OURS, THEIRS), help="(used for the child processes)")
    options = parser.parse_args()
    model = model_folder(options.model)
    clips = speech(options.files)
    if options.memory_of:
        contestant = (Ours if options.memory_of == OURS else OnnxAsr)(model, threads=options.threads)
        for clip in clips:
            contestant.text(clip.samples)
        print(peak_bytes())
        return
    ours = Ours(model, threads=options.threads)
    theirs = OnnxAsr(model, threads=options.threads)
    compare(clips, {OURS: ours, THEIRS: theirs}, ours, options.rounds)
    for name in (OURS, THEIRS):
        command = [sys.executable, "-m", "benchmarks.compare_onnx_asr", *sys.argv[1:], "--memory-of", name]
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603  # ourselves
        print(f"peak memory    {name}: {int(out) / 2**20:.0f} MiB")


if __name__ == "__main__":
    main()
