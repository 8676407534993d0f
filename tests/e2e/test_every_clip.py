"""Every clip, by every way that leads through the daemon, and by the command: the same text.

The same audio takes each way: eaRS speaks 24 kHz only, so clips of other rates are brought to 24 kHz first,
once. (At their own rates the command and Wyoming hear the same samples too; that is the last test.)
"""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import soundfile

from ears_edge import clients
from ears_edge.audio.files import open_audio
from ears_edge.clients.exchange import Pace, fast, real_time
from ears_edge.uri import server_address
from ears_edge.wer import WordErrors, compare
from tests.child import Child
from tests.clips import Clip, clips

RATE = 24_000
AT_ONCE = 8
PATIENCE_S = 240.0

Texts = dict[str, str]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    settings = [
        f"engine.max_sessions={AT_ONCE}",
        "ears.stall_flush_s=30",  # a busy test machine is not a stalled microphone
    ]
    flags = [flag for setting in settings for flag in ("--set", setting)]
    with Child(tmp_path_factory.mktemp("daemon"), *flags) as child:
        yield child


@pytest.fixture(scope="module")
def addresses(daemon: Child) -> dict[str, str]:
    return daemon.ready()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each clip at 24 kHz, 16 bits."""
    folder = tmp_path_factory.mktemp("clips")
    return {clip.name: at_24_khz(clip, folder) for clip in clips()}


def at_24_khz(clip: Clip, folder: Path) -> Path:
    path = folder / f"{clip.name}.wav"
    soundfile.write(path, clip.at(RATE), RATE, subtype="PCM_16")
    return path


def command(files: Sequence[Path], *flags: str) -> Texts:
    """`ears-edge transcribe --json FILE...`"""
    result = subprocess.run(  # noqa: S603  # our own command
        [sys.executable, "-m", "ears_edge", "transcribe", "--json", *flags, *map(str, files)],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
        env={"PATH": os.environ.get("PATH", "")},
    )
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    return {Path(line["file"]).stem: line["text"] for line in lines}


async def over(uri: str, files: dict[str, Path], pace: Callable[[], Pace]) -> Texts:
    """All clips to a server, a few at a time."""
    slots = asyncio.Semaphore(AT_ONCE - 1)

    async def one(path: Path) -> str:
        async with slots:
            with open_audio(str(path)) as source:
                return (await clients.transcribe(server_address(uri), source, pace=pace())).text

    async with asyncio.timeout(PATIENCE_S):
        texts = await asyncio.gather(*map(one, files.values()))
    return dict(zip(files, texts, strict=True))


@pytest.fixture(scope="module")
def by_command(files: dict[str, Path]) -> Texts:
    return command([*files.values()])


def report(way: str, texts: Texts) -> None:
    total = WordErrors()
    for clip in clips():
        total += compare(clip.text, texts[clip.name])
    print(f"\n{way}: WER {total.rate:.1%} over {len(texts)} clips, {total.words} words")


def test_the_command_answers_for_every_clip(by_command: Texts, files: dict[str, Path]) -> None:
    assert by_command.keys() == files.keys()
    report("command", by_command)
    spoken = [clip.name for clip in clips() if clip.kind != "nonspeech"]
    assert sum(1 for name in spoken if by_command[name]) >= 0.9 * len(spoken)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("way", "scheme", "pace"),
    [
        pytest.param("Wyoming", "tcp", lambda: fast, id="Wyoming"),
        pytest.param("Wyoming live", "tcp", real_time, id="Wyoming live"),
        pytest.param("eaRS fast", "ws", lambda: fast, id="eaRS fast"),
        pytest.param("eaRS live", "ws", real_time, id="eaRS live"),
    ],
)
async def test_every_clip_gives_the_same_text(
    *,
    way: str,
    scheme: str,
    pace: Callable[[], Pace],
    addresses: dict[str, str],
    files: dict[str, Path],
    by_command: Texts,
) -> None:
    texts = await over(addresses[scheme], files, pace)
    report(way, texts)
    assert texts == by_command


def test_at_its_own_rate_a_clip_gives_the_same_text_over_wyoming(addresses: dict[str, str]) -> None:
    paths = [clip.path for clip in clips()]
    texts = command(paths)
    report("command, own rates", texts)
    assert command(paths, "--server", addresses["tcp"]) == texts


def test_non_speech_is_silent_but_for_chords(by_command: Texts) -> None:
    """Nothing is invented; a sung-like chord passes the voice activity detector, see the README's limits."""
    said = {clip.name for clip in clips("nonspeech") if by_command[clip.name]}
    assert said <= {"tones_chords"}


def test_the_daemon_logged_no_fault(daemon: Child, addresses: dict[str, str]) -> None:
    assert addresses
    daemon.process.terminate()
    status, _, log = daemon.ended()
    assert status == 0, log
    assert "Traceback" not in log
    assert "ERROR" not in log
    for clip in clips("command"):
        assert clip.text not in log
