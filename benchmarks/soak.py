"""Does memory grow with the number of runs? Many windows of changing length, in one process.

`python -m benchmarks.soak [FILE…] [--model FOLDER] [--runs 2000] [--what encoder|text]`

Prints resident memory as it goes, and bytes a run over the second half: an allocator needs the first half to
settle. One public report has onnxruntime 1.24 and later leak about 11 MB a run on another model.
"""

import os
from pathlib import Path

import numpy as np
import onnxruntime as ort

from benchmarks.contestants import Ours, arguments, model_folder, speech
from ears_edge.bench.memory import resident_bytes
from ears_edge.dsp.features import normalize

MEBI = 2**20
SHORTEST = 40
"""Columns of the shortest window: 0.4 s."""
LOOKS = 10


def main() -> None:
    """Run, and print a line now and then."""
    parser = arguments(__doc__)
    parser.add_argument("--runs", type=int, default=2000, help="how many windows (default: 2000)")
    parser.add_argument("--what", choices=("encoder", "text"), default="encoder")
    options = parser.parse_args()
    ours = Ours(model_folder(options.model), threads=options.threads)
    clips = speech(options.files)
    rng = np.random.default_rng(0)
    print(f"onnxruntime {ort.__version__}, pid {os.getpid()}, {Path(options.model).name}, {options.what}")
    half = 0
    every = max(1, options.runs // LOOKS)
    for run in range(1, options.runs + 1):
        samples = clips[rng.integers(len(clips))].samples
        if options.what == "text":
            ours.text(samples)
        else:
            columns = normalize(ours.columns(samples))
            ours.encode(columns[: rng.integers(SHORTEST, len(columns) + 1)])
        if run == options.runs // 2:
            half = resident_bytes()
        if run % every == 0:
            print(f"{run:>8} runs {resident_bytes() / MEBI:>8.1f} MiB", flush=True)
    growth = (resident_bytes() - half) / max(1, options.runs - options.runs // 2)
    print(f"growth over the second half: {growth:.0f} bytes a run")


if __name__ == "__main__":
    main()
