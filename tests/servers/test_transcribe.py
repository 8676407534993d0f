"""The command: files in, text, JSON or subtitles out, one exit status."""

import io
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile

from ears_edge.config import Config, ModelConfig
from ears_edge.engine.session import SessionOptions
from ears_edge.errors import ConfigError, ModelNotFoundError, UnsupportedError
from ears_edge.transcribe import InProcess, Listen, Output, _Job, _run, run
from tests.clips import clip
from tests.fakes import fake_engine, tone

CLIP = clip("what_time_is_it")
LEVELS = [0, 0, 12, 12, 8, 8, 0, 0, 0, 0, 0, 0, 10, 10, 0, 0]
TEXT = "w11 w7 w9"


@pytest.fixture
def speech(tmp_path: Path) -> str:
    path = tmp_path / "speech.flac"
    soundfile.write(path, tone(LEVELS, 4), 16_000)
    return str(path)


@asynccontextmanager
async def hearing(*, live: bool = False) -> AsyncIterator[Listen]:
    async with fake_engine() as engine:
        yield InProcess(engine, SessionOptions(live_words=live)).transcribe


async def transcribed(*files: str, output: Output = "text", live: bool = False) -> int:
    return await _run(files, _Job(output=output, live=live, prefix=len(files) > 1), hearing(live=live))


async def test_one_file_gives_its_text_alone(speech: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert await transcribed(speech) == 0
    assert capsys.readouterr() == (f"{TEXT}\n", "")


async def test_several_files_give_their_names_too(speech: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert await transcribed(speech, speech) == 0
    assert capsys.readouterr().out == f"{speech}: {TEXT}\n" * 2


async def test_json_gives_one_object_a_line(speech: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert await transcribed(speech, speech, output="json") == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first == second
    assert list(first) == ["file", "text", "language", "duration", "words", "segments"]
    assert (first["file"], first["text"], first["language"]) == (speech, TEXT, "en")
    assert first["duration"] == pytest.approx(0.08 * 4 * len(LEVELS))
    assert [word["word"] for word in first["words"]] == TEXT.split()
    assert all(list(word) == ["word", "start", "end", "confidence"] for word in first["words"])
    assert " ".join(segment["text"] for segment in first["segments"]) == TEXT
    assert first["segments"][-1]["end"] == first["words"][-1]["end"]


async def test_subtitles_have_the_words_at_their_time(
    speech: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await transcribed(speech, output="srt") == 0
    srt = capsys.readouterr().out
    assert srt.startswith("1\n00:00:00,")
    assert "\nw11 w7" in srt
    assert await transcribed(speech, output="vtt") == 0
    assert capsys.readouterr().out.startswith("WEBVTT\n\n00:00:00.")


async def test_a_file_that_fails_costs_the_others_nothing(
    speech: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "notes.txt"
    bad.write_text("[bold]no audio")
    assert await transcribed(str(bad), speech, str(tmp_path / "[red]none")) == 1
    out, err = capsys.readouterr()
    assert out == f"{speech}: {TEXT}\n"
    assert [line.startswith("ears-edge: ") for line in err.splitlines()] == [True, True]
    assert f"{bad}: can't be read as audio" in err
    assert f"{tmp_path}/[red]none: there is no such file" in err


@pytest.mark.parametrize("output", ["text", "json"])
async def test_a_file_name_that_is_not_utf_8_is_printed_as_well_as_may_be(
    speech: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], output: Output
) -> None:
    good, none = (os.fsdecode(os.fsencode(tmp_path) + name) for name in (b"/\xff.flac", b"/\xfe.flac"))
    os.rename(speech, good)  # noqa: PTH104  # a name that is no text
    assert await transcribed(good, none, output=output) == 1
    out, err = capsys.readouterr()
    assert f"{tmp_path}/\ufffd.flac" in out
    assert f"{tmp_path}/\ufffd.flac: there is no such file" in err


async def test_a_file_that_fails_has_a_line_in_json_too(
    speech: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    none = str(tmp_path / "none")
    assert await transcribed(none, speech, output="json") == 1
    out, err = capsys.readouterr()
    failed, good = map(json.loads, out.splitlines())
    assert failed == {
        "file": none,
        "error": {"code": "file-not-found", "message": f"{none}: there is no such file"},
    }
    assert good["text"] == TEXT
    assert none in err


async def test_of_a_truncated_file_the_sound_part_is_printed_and_the_damage_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "half.flac"
    soundfile.write(path, tone(LEVELS * 8, 4), 16_000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert await transcribed(str(path)) == 1
    out, err = capsys.readouterr()
    assert out.startswith(TEXT)
    assert f"{path}: breaks off at" in err


async def test_live_words_are_printed_as_they_come(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "short.wav"
    soundfile.write(path, tone([12, 8, 0], 2), 16_000)
    assert await transcribed(str(path), str(path), live=True) == 0
    assert capsys.readouterr().out == f"{path}: w11 w7\n" * 2


async def test_nothing_said_is_an_empty_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "silence.wav"
    soundfile.write(path, tone([0], 4), 16_000)
    for live in (False, True):
        assert await transcribed(str(path), live=live) == 0
        assert capsys.readouterr() == ("\n", "")


async def test_standard_input_without_sound_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    assert await transcribed("-") == 1
    assert capsys.readouterr().err.startswith("ears-edge: standard input: is empty")


async def test_standard_input_is_a_file_like_any_other(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wav = io.BytesIO()
    soundfile.write(wav, tone(LEVELS, 4), 16_000, format="WAV")
    wav.seek(0)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(wav))
    assert await transcribed("-") == 0
    assert capsys.readouterr().out == f"{TEXT}\n"


def command(
    *files: str,
    output: Output = "text",
    server: str | None = None,
    language: str | None = None,
    model: str = "embedded",
) -> int:
    config = replace(Config(), model=ModelConfig(name=model))
    return run(files, output=output, server=server, live=False, language=language, config=config)


def test_the_embedded_model_hears_a_clip(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(str(CLIP.path), language="en") == 0
    assert capsys.readouterr().out.strip()


def test_a_language_that_the_model_lacks_is_refused_before_anything_is_heard() -> None:
    with pytest.raises(UnsupportedError, match="does not speak 'xx'; it speaks en"):
        command("none.wav", language="xx")


def test_subtitles_over_wyoming_are_refused() -> None:
    for output in ("srt", "vtt"):
        with pytest.raises(UnsupportedError, match="Wyoming tells no word times"):
            command("a.wav", output=output, server="tcp://box")


def test_subtitles_of_several_files_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="one file at a time"):
        command("a.wav", "b.wav", output="srt")


def test_a_server_that_is_no_address_is_refused() -> None:
    with pytest.raises(ConfigError, match="--server"):
        command("a.wav", server="box")


def test_a_model_that_is_not_there_is_refused() -> None:
    with pytest.raises(ModelNotFoundError):
        command("a.wav", model="/nowhere")


def test_a_server_that_is_not_there_fails_each_file(
    speech: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(speech, server=f"unix://{tmp_path}/none") == 1
    assert f"{speech}: unix://{tmp_path}/none can't be reached" in capsys.readouterr().err
