"""`ears-edge bench --providers`: the devices of this machine side by side, and what `auto` will take."""

import os
from collections.abc import Iterator
from typing import Final

from ears_edge.asr.onnx import RUNTIME, installed
from ears_edge.asr.providers import CPU, PROVIDERS
from ears_edge.config import Config
from ears_edge.engine import devices
from ears_edge.engine.comparison import MIN_GAIN, WINDOWS_S, Comparison, Trial
from ears_edge.models.folder import ModelFolder, resolve
from ears_edge.terminal import console, plain
from ears_edge.typed import to_json

ROUNDS: Final = 9
"""More than at start: somebody waits for a figure."""
SCHEMA: Final = 1
"""Raised when a member of the JSON changes its meaning or goes."""


def run(config: Config, *, as_json: bool) -> int:
    """Compare, record what `auto` will take, and print both. Returns the exit status.

    Raises:
        ModelError: The model can't be used, not even on the CPU.
    """
    folder = ModelFolder.open(resolve(config.model.name, config.models))
    found = devices.compare(folder, config, rounds=ROUNDS)
    found = found or devices.tried(folder, config, os.environ, (), rounds=ROUNDS)
    if as_json:
        print(json_line(config.model.name, found))  # noqa: T201  # for programs
        return 0
    out = console(stderr=False)
    columns = ("device", "encoder", *(f"{window:g} s" for window in WINDOWS_S), "x CPU", "cosine", "tokens")
    out.table(
        columns,
        [_row(found, trial) for trial in (found.cpu, *found.others)],
        title=plain(f"{config.model.name}, onnxruntime {RUNTIME}"),
    )
    out.say()
    for line in notes(found):
        out.say(plain(line))
    return 0


def json_line(model: str, found: Comparison) -> str:
    """One line of JSON. Times are seconds."""
    rows = [
        {
            "device": trial.device,
            "encoder": trial.encoder,
            "times_s": dict(zip(map(str, WINDOWS_S), trial.times_s, strict=False)),
            "times_faster": found.gain(trial),
            "cosine": trial.cosine,
            "same_tokens": trial.same_tokens,
            "fault": trial.fault,
        }
        for trial in (found.cpu, *found.others)
    ]
    return to_json(
        {"schema": SCHEMA, "model": model, "runtime": RUNTIME, "devices": rows, "auto": found.best}
    )


def notes(found: Comparison) -> Iterator[str]:
    """What the table does not say."""
    for trial in found.others:
        if trial.fault:
            yield f"{trial.device}: {trial.fault}"
    have = installed()
    for provider in PROVIDERS.values():
        if provider not in have:
            yield f"{provider.device}: not installed. {devices.whence(provider)}."
    yield f"Times: one window, in ms, median of {ROUNDS} in turn. Cosine and tokens: compared with the CPU's."
    why = (
        f"faster by {MIN_GAIN:g} or more, and it hears the same"
        if found.best != CPU.device
        else f"no other is at least {MIN_GAIN:g} times as fast and hears the same"
    )
    yield f"model.device = auto will take: {found.best} ({why})."


def _row(found: Comparison, trial: Trial) -> list[str]:
    if trial.fault:
        return [trial.device, "-", *("-" for _ in WINDOWS_S), "-", "-", "-"]
    gain = found.gain(trial)
    return [
        trial.device,
        trial.encoder,
        *(f"{seconds * 1000:.0f}" for seconds in trial.times_s),
        f"{gain:.2f}" if gain else "-",
        f"{trial.cosine:.5f}",
        "same" if trial.same_tokens else "others",
    ]
