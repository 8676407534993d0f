"""The devices of a machine side by side, in one run: how fast each encodes, and whether it hears the same."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np

from ears_edge.asr.acoustic import AcousticModel, encoder_for
from ears_edge.asr.providers import CPU, Placement, Provider
from ears_edge.dsp.features import normalize
from ears_edge.engine.likeness import MIN_COSINE, hear, likeness
from ears_edge.engine.self_test import golden_columns
from ears_edge.errors import InferenceError, ModelError
from ears_edge.models.folder import ModelFolder
from ears_edge.units import F32, HOP, SAMPLE_RATE

WINDOWS_S: Final = (2.0, 4.0, 8.0)
"""What is timed: a short command, a long one, a sentence that is dictated."""
ROUNDS: Final = 3
MIN_GAIN: Final = 1.1
"""Another device has to be so many times faster: less may be chance, and is not worth a difference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What came of one device."""

    device: str
    encoder: str = ""
    """Name of the file that it ran; `optimized` for what was made of it for this CPU."""
    times_s: tuple[float, ...] = ()
    """Median time of one run, for each of `WINDOWS_S`; empty if it did not run."""
    cosine: float = 0.0
    """The worst between its outputs for the test clip and the CPU's."""
    same_tokens: bool = False
    fault: str = ""
    """Why it did not run."""

    @property
    def equal(self) -> bool:
        """Whether it hears what the CPU hears."""
        return not self.fault and self.same_tokens and self.cosine >= MIN_COSINE


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The devices of this machine, side by side."""

    cpu: Trial
    """With the encoder that serves: the optimized one, if there is one."""
    others: tuple[Trial, ...]

    @property
    def best(self) -> str:
        """What `auto` takes: the fastest of those that are equal in output and faster by `MIN_GAIN`."""
        faster = {
            gain: trial.device
            for trial in self.others
            if trial.equal and (gain := self.gain(trial)) is not None and gain >= MIN_GAIN
        }
        return faster[max(faster)] if faster else CPU.device

    def gain(self, trial: Trial) -> float | None:
        """How many times faster than the CPU, over all windows; None if it did not run."""
        return sum(self.cpu.times_s) / total if (total := sum(trial.times_s)) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What is tried out."""

    folder: ModelFolder
    threads: int
    rewritten: Path | None
    """The encoder that the CPU takes in the place of the folder's."""
    place: Callable[[Provider], Placement]


def try_out(setting: Setting, candidates: Sequence[Provider], *, rounds: int = ROUNDS) -> Comparison:
    """Load the model on the CPU and on each candidate, compare what they hear, and time them in turn.

    Raises:
        ModelError: The CPU can't run it.
        InferenceError: As above.
    """
    folder, columns = setting.folder, golden_columns(setting.folder.config.features_size)
    on_cpu = AcousticModel(
        folder, threads=setting.threads, rewritten=setting.rewritten, placement=setting.place(CPU)
    )
    models, heard = {CPU.device: on_cpu}, {CPU.device: hear(on_cpu, folder, columns)}
    faults: dict[str, str] = {}
    for provider in candidates:
        try:
            model = AcousticModel(folder, threads=setting.threads, placement=setting.place(provider))
            heard[provider.device] = hear(model, folder, columns)
            models[provider.device] = model
        except (ModelError, InferenceError) as exc:
            faults[provider.device] = str(exc)
    times = _timed(models, columns, rounds)

    def trial(provider: Provider) -> Trial:
        device = provider.device
        if device in faults:
            return Trial(device=device, fault=faults[device])
        first, other = heard[CPU.device], heard[device]
        rewritten = setting.rewritten is not None and provider == CPU
        return Trial(
            device=device,
            encoder="optimized" if rewritten else encoder_for(folder, provider).name,
            times_s=times[device],
            cosine=likeness(first, other),
            same_tokens=list(first.tokens) == list(other.tokens),
        )

    return Comparison(cpu=trial(CPU), others=tuple(map(trial, candidates)))


def _timed(models: Mapping[str, AcousticModel], columns: F32, rounds: int) -> dict[str, tuple[float, ...]]:
    """Device -> the median time for each of `WINDOWS_S`. What slows the machine for a while slows all."""
    times: dict[str, list[float]] = {device: [] for device in models}
    for seconds in WINDOWS_S:
        window = normalize(np.resize(columns, (round(seconds * SAMPLE_RATE / HOP), columns.shape[1])))
        runs = {device: partial(model.encode, window) for device, model in models.items()}
        for device, found in _in_turn(runs, rounds).items():
            times[device].append(median(found))
    return {device: tuple(found) for device, found in times.items()}


def _in_turn(contestants: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds by round; one round before the first is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(rounds + 1):
        for name, run in contestants.items():
            start = time.perf_counter()
            run()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return seconds
