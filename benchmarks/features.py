"""Log-mel features: ours, block by block and at once, against onnx-asr's NumPy and ONNX preprocessors.

`python -m benchmarks.features [--rounds 20]`
"""

from functools import partial
from statistics import median

import numpy as np
import onnxruntime as ort
from onnx_asr.preprocessors.numpy_preprocessor import NemoPreprocessorNumpy
from onnx_asr.preprocessors.preprocessor import OnnxPreprocessor

from benchmarks.contestants import arguments
from benchmarks.interleave import Contestants, interleaved, ratio
from ears_edge.dsp.features import LogMel, normalize
from ears_edge.units import F32, SAMPLE_RATE

N_MELS = 128
LENGTHS_S = (2, 8, 30)
BLOCK = SAMPLE_RATE // 10


def ours(samples: F32) -> F32:
    """All at once."""
    log_mel = LogMel(N_MELS)
    return normalize(np.concatenate((log_mel.feed(samples), log_mel.flush())))


def ours_in_blocks(samples: F32) -> F32:
    """As a stream brings it."""
    log_mel = LogMel(N_MELS)
    columns = [log_mel.feed(samples[at : at + BLOCK]) for at in range(0, len(samples), BLOCK)]
    return normalize(np.concatenate((*columns, log_mel.flush())))


def main() -> None:
    """Print milliseconds and ratios for each length."""
    parser = arguments(__doc__)
    parser.set_defaults(rounds=20)
    options = parser.parse_args()
    session_options = ort.SessionOptions()
    session_options.intra_op_num_threads = options.threads
    in_onnx = OnnxPreprocessor(
        f"nemo{N_MELS}", {"sess_options": session_options, "providers": ["CPUExecutionProvider"]}
    )
    in_numpy = NemoPreprocessorNumpy(f"nemo{N_MELS}")
    print(
        "     audio        ours   in blocks their NumPy  their ONNX   ratios to ours at once (medians in ms)"
    )
    for seconds in LENGTHS_S:
        rng = np.random.default_rng(seconds)
        samples = (0.1 * rng.standard_normal(seconds * SAMPLE_RATE)).astype(np.float32)
        theirs = samples[None], np.array([len(samples)])
        contestants: Contestants = {
            "ours": partial(ours, samples),
            "in blocks": partial(ours_in_blocks, samples),
            "their NumPy": partial(in_numpy, *theirs),
            "their ONNX": partial(in_onnx, *theirs),
        }
        times = interleaved(contestants, rounds=options.rounds)
        ratios = ", ".join(f"{ratio(times, name, 'ours'):.2f}" for name in list(contestants)[1:])
        medians = [median(times[name]) * 1000 for name in contestants]
        columns = " ".join(f"{value:11.1f}" for value in medians)
        print(f"{seconds:>8} s {columns}   {ratios}")


if __name__ == "__main__":
    main()
