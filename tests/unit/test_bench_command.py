"""`ears-edge bench` as a whole, with an engine that hears loudness."""

import json
import math

import numpy as np
import pytest

from ears_edge.audio.pcm import PcmFormat, encode_s16
from ears_edge.bench.clips import Clip
from ears_edge.bench.command import report_on
from ears_edge.bench.figures import Plan
from ears_edge.bench.report import Report, json_line
from ears_edge.bench.target import EngineTarget
from ears_edge.config import EngineConfig
from ears_edge.units import SAMPLE_RATE
from ears_edge.wer import normalized
from tests.fakes import FakeRecognizer, fake_engine, tone

FORMAT = PcmFormat(SAMPLE_RATE, 2, 1)
CLIPS = [
    Clip(name="a", pcm=encode_s16(tone([0, 5, 9, 13, 0], 2)), fmt=FORMAT, reference="w4 w8 w11"),
    Clip(name="b", pcm=encode_s16(tone([0, 7, 7, 0], 2)), fmt=FORMAT),
]


async def _bench(plan: Plan, recognizer: FakeRecognizer | None = None, *, max_sessions: int = 8) -> Report:
    async with fake_engine(recognizer, EngineConfig(max_sessions=max_sessions)) as engine:
        target = EngineTarget(engine, live_words=plan.live)
        report = await report_on(target, CLIPS, plan, name="fake", model=engine.model.name)
        assert engine.sessions == 0
        return report


async def test_the_report_counts_runs_audio_and_words() -> None:
    report = await _bench(Plan(sessions=3, repeat=2))
    found = json.loads(json_line(report))
    seconds = [clip.seconds for clip in CLIPS]
    assert (found["target"], found["model"], found["sessions"], found["repeat"]) == ("fake", "fake", 3, 2)
    assert [clip["name"] for clip in found["clips"]] == ["a", "b"]
    assert [clip["runs"] for clip in found["clips"]] == [6, 6]
    assert [clip["audio_s"] for clip in found["clips"]] == pytest.approx([6 * s for s in seconds])
    assert found["total"]["runs"] == 12
    assert found["total"]["failed"] == 0
    assert found["total"]["wer"] == 0
    assert found["total"]["words"] == 6 * len(normalized("w4 w8 w11"))
    assert found["throughput"] == pytest.approx(found["total"]["audio_s"] / found["wall_s"], rel=1e-3)
    assert found["total"]["first_word_s"] is None
    for figures in (found["total"], *found["clips"]):
        for spread in (figures["real_time_factor"], figures["latency_s"]):
            assert 0 < spread["p50"] <= spread["p95"] <= spread["p99"] <= spread["max"]


async def test_every_run_of_a_clip_gives_the_engines_text() -> None:
    report = await _bench(Plan(sessions=2, repeat=1))
    texts = {name: heard for name, _, heard in report.clips()}
    assert texts == {"a": ["w4 w8 w11"], "b": ["w6"]}


async def test_a_session_that_is_refused_is_a_failed_run() -> None:
    report = await _bench(Plan(sessions=2, repeat=1), max_sessions=1)
    failures = report.failures()
    assert set(failures) == {"busy"}
    assert report.total().failed == sum(failures.values())
    assert report.total().runs == 4


async def test_live_runs_tell_when_words_came() -> None:
    report = await _bench(Plan(live=True))
    total = report.total()
    assert total.real_time_factor is None
    assert total.latency_s is not None
    assert all(math.isfinite(lag) for run in report.runs for lag in run.word_lags_s)


def test_the_fakes_clips_are_not_silent() -> None:
    assert all(np.abs(np.frombuffer(clip.pcm, np.int16)).max() > 0 for clip in CLIPS)
