"""How many sessions at once: each speaks commands back to back, in real time, and waits for the answers.

`python -m benchmarks.sessions [FILE…] [--model FOLDER] [--sessions 1 2 4 8] [--live-words]`

Prints, for each number of sessions, the answer's p50, p95 and p99 after the end of the audio. By default it
speaks those test clips that are commands of 2 to 4 seconds; `--threads 0` (the default) is one a core.
"""

import asyncio
from collections.abc import Sequence

from benchmarks.contestants import TEST_CLIPS, arguments, model_folder
from ears_edge.bench.clips import Clip, load
from ears_edge.bench.figures import Figures, Plan, add_up
from ears_edge.bench.measure import Clock, measure
from ears_edge.bench.target import EngineTarget
from ears_edge.config import EngineConfig
from ears_edge.engine.recognizer import Recognizer, TdtRecognizer
from ears_edge.engine.scheduler import Engine

SHORTEST_S, LONGEST_S = 2.0, 4.0


def commands(files: Sequence[str]) -> list[Clip]:
    """The files, or the test clips of a command's length."""
    if files:
        return load(files)
    clips = load([str(path) for path in sorted(TEST_CLIPS.glob("*.flac"))])
    return [clip for clip in clips if clip.reference and SHORTEST_S <= clip.seconds <= LONGEST_S]


async def answers(
    recognizer: Recognizer, clips: Sequence[Clip], sessions: int, *, live_words: bool
) -> Figures:
    """The figures of so many sessions at once."""
    async with Engine(recognizer, EngineConfig(max_sessions=sessions)) as engine:
        target = EngineTarget(engine, live_words=live_words)
        plan = Plan(sessions=sessions, live=True)
        runs, _ = await measure(target, clips, plan, clock=Clock(), done=lambda _: None)
    return add_up(runs, {}, live=True)


def main() -> None:
    """Measure each number of sessions; print a line for each."""
    parser = arguments(__doc__)
    parser.set_defaults(threads=0)
    parser.add_argument("--sessions", type=int, nargs="*", default=[1, 2, 4, 8], help="how many at once")
    parser.add_argument("--live-words", action="store_true", help="also ask for words while speech goes on")
    options = parser.parse_args()
    recognizer = TdtRecognizer.load(model_folder(options.model), threads=options.threads)
    clips = commands(options.files)
    print("answer after the end of the audio: p50 / p95 / p99")
    for sessions in options.sessions:
        figures = asyncio.run(answers(recognizer, clips, sessions, live_words=options.live_words))
        spread = figures.latency_s
        times = "-"
        if spread is not None:
            times = " / ".join(f"{value * 1000:.0f}" for value in (spread.p50, spread.p95, spread.p99))
        print(f"{sessions:>3} sessions, {figures.runs} commands, {figures.failed} failed: {times} ms")


if __name__ == "__main__":
    main()
