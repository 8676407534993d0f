"""`ears-edge bench`: from the command line's words to the printed report."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from ears_edge import interrupt
from ears_edge.bench.clips import Clip, load, references
from ears_edge.bench.figures import Plan
from ears_edge.bench.measure import Clock, Target, measure
from ears_edge.bench.memory import peak_bytes
from ears_edge.bench.report import Report, json_line, show
from ears_edge.bench.target import EngineTarget, ServerTarget
from ears_edge.config import Config
from ears_edge.engine import loading
from ears_edge.engine.scheduler import Engine
from ears_edge.terminal import console, progress
from ears_edge.uri import server_address

IN_PROCESS: Final = "in-process"
"""The report's `target` without a server."""


def run(
    files: Sequence[str],
    *,
    server: str | None,
    sessions: int,
    live: bool,
    as_json: bool,
    repeat: int,
    config: Config,
) -> int:
    """Measure, print the report on standard output, return the exit status: 1 if a run failed.

    Args:
        files: Audio files; a synthetic voice if there are none.
        server: URI of a running server; None for an engine in this process.
        sessions: At once, 1 or more.
        live: At the pace of speech, asking for words on the way.
        as_json: One line of JSON instead of a table.
        repeat: How often each session hears each file, 1 or more.
        config: `model` and `engine` are used; more sessions than `engine.max_sessions` are let in.

    Raises:
        AudioFormatError: A file can't be read.
        ModelError: The model can't be used.
        ConfigError: The server's URI can't be read.
        ServerError: The server does not work at all.
    """
    clips = load(files)
    plan = Plan(sessions=sessions, repeat=repeat, live=live)
    report = interrupt.run(
        in_process(clips, plan, config) if server is None else on_server(clips, plan, server)
    )
    if as_json:
        sys.stdout.write(json_line(report) + "\n")
    else:
        show(report, console(stderr=False))
    return 1 if report.failures() else 0


async def in_process(clips: Sequence[Clip], plan: Plan, config: Config) -> Report:
    """Measure the engine of this process."""
    recognizer = loading.load(config)
    room = replace(config.engine, max_sessions=max(plan.sessions, config.engine.max_sessions))
    async with Engine(recognizer, room) as engine:
        target = EngineTarget(engine, live_words=plan.live)
        report = await report_on(target, clips, plan, name=IN_PROCESS, model=engine.model.name)
    return replace(report, peak_memory_bytes=peak_bytes())


async def on_server(clips: Sequence[Clip], plan: Plan, uri: str) -> Report:
    """Measure a running server; its memory is its own."""
    address = server_address(uri)
    return await report_on(ServerTarget(address), clips, plan, name=str(address), model="")


async def report_on(target: Target, clips: Sequence[Clip], plan: Plan, *, name: str, model: str) -> Report:
    """Measure any target; a bar on standard error shows how far it is."""
    with progress("measuring", plan.sessions * plan.repeat * len(clips)) as done:
        runs, wall_s = await measure(target, clips, plan, clock=Clock(), done=done)
    order = [clip.name for clip in clips]
    return Report(
        target=name,
        model=model,
        plan=plan,
        wall_s=wall_s,
        runs=sorted(runs, key=lambda run: order.index(run.name)),
        references=references(clips),
        peak_memory_bytes=None,
    )
