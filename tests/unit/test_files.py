import io
import itertools
import os
import threading
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ears_edge.audio.converter import Converter
from ears_edge.audio.files import MAX_PIPED_BYTES, AudioSource, open_audio
from ears_edge.audio.pcm import PcmFormat
from ears_edge.errors import AudioFormatError
from ears_edge.units import F32, SAMPLE_RATE


def tone(rate: int, channels: int = 1, seconds: float = 1.0) -> F32:
    one = 0.4 * np.sin(2 * np.pi * 440 * np.arange(round(rate * seconds)) / rate)
    return np.repeat(one[:, None], channels, axis=1).astype(np.float32)


def heard(source: AudioSource, seconds: float = 0.1) -> F32:
    converter = Converter()
    out = [converter.feed(block, source.fmt) for block in source.blocks(seconds)]
    return np.concatenate([*out, converter.flush()])


def failure(name: str, stdin: bytes = b"") -> AudioFormatError:
    with pytest.raises(AudioFormatError) as caught, open_audio(name, stdin=io.BytesIO(stdin)):
        pass
    return caught.value


@pytest.mark.parametrize(
    ("suffix", "subtype", "rates", "tolerance"),
    [
        ("wav", "PCM_U8", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000], 0.02),
        ("wav", "PCM_16", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000], 1e-4),
        ("wav", "PCM_24", [8_000, 16_000, 44_100, 96_000], 1e-5),
        ("wav", "PCM_32", [16_000, 48_000], 1e-5),
        ("wav", "FLOAT", [16_000, 48_000], 1e-5),
        ("wav", "DOUBLE", [16_000], 1e-5),
        ("wav", "ULAW", [8_000], 0.05),
        ("flac", "PCM_16", [8_000, 16_000, 44_100, 96_000], 1e-4),
        ("flac", "PCM_24", [48_000], 1e-5),
        ("ogg", "VORBIS", [8_000, 16_000, 44_100, 96_000], 0.05),
        ("ogg", "OPUS", [8_000, 16_000, 48_000], 0.06),
        ("mp3", "MPEG_LAYER_III", [8_000, 16_000, 44_100, 48_000], 0.07),
    ],
)
def test_every_format_is_heard_as_it_was_written(
    tmp_path: Path, suffix: str, subtype: str, rates: list[int], tolerance: float
) -> None:
    for rate, channels in itertools.product(rates, (1, 2)):
        path = tmp_path / f"{rate}.{suffix}"
        soundfile.write(path, tone(rate, channels), rate, subtype=subtype)
        with open_audio(str(path)) as source:
            assert (source.fmt.rate, source.fmt.channels) == (rate, channels)
            assert source.duration_s == pytest.approx(1.0, abs=0.001)
            samples = heard(source)
            assert source.damage is None
        assert len(samples) == pytest.approx(SAMPLE_RATE, abs=16)
        middle = slice(4_000, 12_000)
        np.testing.assert_allclose(samples[middle], tone(SAMPLE_RATE)[:, 0][middle], atol=tolerance)


def test_sixteen_bit_files_give_their_very_bytes(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).integers(-32_768, 32_767, (5_000, 2)).astype("<i2")
    for suffix in ("wav", "flac"):
        soundfile.write(tmp_path / f"a.{suffix}", samples, 44_100)
        with open_audio(str(tmp_path / f"a.{suffix}")) as source:
            assert source.fmt == PcmFormat(44_100, 2, 2)
            assert b"".join(source.blocks(0.01)) == samples.tobytes()


@pytest.mark.parametrize("seconds", [0.001, 0.08, 10.0])
def test_blocks_are_whole_frames_of_the_length_asked_for(tmp_path: Path, seconds: float) -> None:
    soundfile.write(tmp_path / "a.wav", tone(16_000, 2), 16_000)
    with open_audio(str(tmp_path / "a.wav")) as source:
        sizes = [len(block) for block in source.blocks(seconds)]
    assert sum(sizes) == 64_000
    assert set(sizes[:-1]) <= {round(seconds * 16_000) * 4}
    assert max(sizes) <= round(seconds * 16_000) * 4


@pytest.mark.parametrize(
    ("suffix", "subtype"), [("flac", None), ("ogg", "VORBIS"), ("ogg", "OPUS"), ("mp3", None)]
)
def test_what_is_heard_does_not_depend_on_the_blocks(
    tmp_path: Path, suffix: str, subtype: str | None
) -> None:
    path = tmp_path / f"a.{suffix}"
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, 48_000)
    soundfile.write(path, noise, 16_000, subtype=subtype)
    whole, _ = soundfile.read(path, dtype="float32")
    results = []
    for seconds in (0.01, 0.08, 0.5, 10):
        with open_audio(str(path)) as source:
            results.append(heard(source, seconds))
    for samples in results:
        np.testing.assert_array_equal(samples, results[0])
        np.testing.assert_allclose(samples, np.clip(whole, -1, 1), atol=1e-6)


def test_a_file_without_samples_is_no_error(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(16_000, 1, 0), 16_000)
    with open_audio(str(tmp_path / "a.wav")) as source:
        assert source.duration_s == 0
        assert list(source.blocks(0.1)) == []
        assert source.damage is None


@pytest.mark.parametrize("suffix", ["flac", "mp3"])
def test_what_is_left_of_a_truncated_file_is_heard_and_the_damage_told(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, 48_000 * 5)
    soundfile.write(path, noise, 48_000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with open_audio(str(path)) as source:
        samples = heard(source)
        assert SAMPLE_RATE < len(samples) < SAMPLE_RATE * 4
        assert source.damage is not None
        assert str(path) in source.damage
        assert "of 5.0 s" in source.damage


def test_a_truncated_wav_file_is_heard_as_far_as_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(16_000), 16_000)
    path.write_bytes(path.read_bytes()[: 44 + 16_001])
    with open_audio(str(path)) as source:
        assert len(heard(source)) == 8_000


@pytest.mark.parametrize(
    "content",
    [
        b"hello, this is no audio\n" * 40,
        b"fLaC" + b"\0" * 200,
        b"OggS" + b"\1" * 200,
        b"RIFF\0\0\0\0WAVE",
        b"\0",
    ],
)
def test_what_is_no_audio_is_an_error_that_names_the_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.wav"
    path.write_bytes(content)
    error = failure(str(path))
    assert error.code == "bad-file"
    assert str(error).startswith(f"{path}: ")
    assert "wav, flac, ogg (Vorbis, Opus) and mp3 files are read" in str(error)


def test_an_empty_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.mp3").touch()
    error = failure(str(tmp_path / "a.mp3"))
    assert error.code == "bad-file"
    assert "a.mp3: is empty" in str(error)


def test_a_rate_that_can_not_be_heard_names_the_file(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(500), 500)
    error = failure(str(tmp_path / "a.wav"))
    assert error.code == "bad-file"
    assert "a.wav: has a sample rate of 500 Hz" in str(error)


def test_missing_files_and_folders_are_told_apart(tmp_path: Path) -> None:
    assert failure(str(tmp_path / "none.wav")).code == "file-not-found"
    folder = failure(str(tmp_path))
    assert folder.code == "file-unreadable"
    assert "is a folder" in str(folder)
    assert failure("a\0b.wav").code == "file-unreadable"


def test_a_file_name_that_is_not_utf_8_is_read(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.flac")
    soundfile.write(tmp_path / "a.flac", tone(16_000), 16_000)
    (tmp_path / "a.flac").rename(path)
    with open_audio(path) as source:
        assert len(heard(source)) == SAMPLE_RATE


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_standard_input_gives_what_the_file_gives(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, tone(22_050, 2), 22_050)
    with open_audio(str(path)) as source, open_audio("-", stdin=io.BytesIO(path.read_bytes())) as piped:
        assert piped.name == "standard input"
        np.testing.assert_array_equal(heard(piped), heard(source))


def test_standard_input_that_is_no_audio_is_an_error() -> None:
    for content in (b"", b"hello", b"RIFF\0\0\0\0WAVE", b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0" + b"\x31" * 16):
        error = failure("-", content)
        assert error.code == "bad-file"
        assert str(error).startswith("standard input: ")


def test_a_terminal_is_not_waited_for() -> None:
    class Terminal(io.BytesIO):
        def isatty(self) -> bool:
            return True

    with pytest.raises(AudioFormatError, match="is a terminal") as caught, open_audio("-", stdin=Terminal()):
        pass
    assert caught.value.code == "file-unreadable"


def test_a_pipe_is_not_read_without_end() -> None:
    class Endless(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            assert size is not None
            assert 0 < size <= MAX_PIPED_BYTES
            return b"\1" * size

    with pytest.raises(AudioFormatError, match="more than 256 MiB"), open_audio("-", stdin=Endless()):
        pass


@contextmanager
def writer(path: Path, pieces: list[bytes], go_on: threading.Event) -> Iterator[None]:
    def write() -> None:
        with path.open("wb", buffering=0) as pipe:
            for piece in pieces:
                pipe.write(piece)
                go_on.wait(30)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        go_on.set()
        thread.join()


def test_a_wav_stream_from_a_pipe_is_heard_while_it_is_still_written(tmp_path: Path) -> None:
    fifo = tmp_path / "live"
    os.mkfifo(fifo)
    head = io.BytesIO()
    with wave.open(head, "wb") as wav:
        wav.setparams((1, 2, 16_000, 0, "NONE", ""))
        wav.writeframes(b"")
    go_on = threading.Event()
    first, second = b"\1\2" * 4_096, b"\3\4" * 1_000 + b"\5"
    with writer(fifo, [head.getvalue() + first, second], go_on), open_audio(str(fifo)) as source:
        assert source.duration_s is None
        blocks = source.blocks(0.01)
        assert next(blocks) == b"\1\2" * 160
        go_on.set()
        rest = b"".join(blocks)
    assert b"\1\2" * 160 + rest == first + second[:-1]
