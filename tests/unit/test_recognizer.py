from dataclasses import replace

import numpy as np
import pytest

from ears_edge.dsp.features import LogMel
from ears_edge.engine.recognizer import Decoded, TdtRecognizer, Work
from ears_edge.models.folder import ModelFolder, resolve
from ears_edge.units import F32
from tests.clips import clip


def searching(beam_size: int) -> TdtRecognizer:
    folder = ModelFolder.open(resolve("embedded"))
    info = replace(folder.info, beam_size=beam_size)
    return TdtRecognizer(replace(folder, info=info), threads=1)


@pytest.fixture(scope="module", params=[1, 4], ids=["greedy", "beam"])
def recognizer(request: pytest.FixtureRequest) -> TdtRecognizer:
    return searching(request.param)


@pytest.fixture(scope="module")
def columns() -> F32:
    audio = clip("living_room_blinds").heard()
    mel = LogMel(128)
    return np.concatenate((mel.feed(audio), mel.flush()))


def work(columns: F32, start: int, stop: int, before: Decoded | None = None, begin: int = 0) -> Work:
    state = before.state if before else None
    return Work(urgency="final", columns=columns, begin=begin, start=start, stop=stop, state=state)


def said(decoded: Decoded) -> list[tuple[int, int]]:
    return [(token.id, token.frame) for token in decoded.tokens]


def test_sizes_are_those_of_the_model(recognizer: TdtRecognizer) -> None:
    assert (recognizer.n_mels, recognizer.frame) == (128, 1280)


@pytest.mark.parametrize("stop", [5, 12, 13, 14, 15, 16, 17, 30])
def test_a_window_decoded_in_two_parts_gives_the_same_tokens(
    recognizer: TdtRecognizer, columns: F32, stop: int
) -> None:
    whole = recognizer.decode(work(columns, 0, 1000))
    assert len(whole.tokens) > 5
    first = recognizer.decode(work(columns, 0, stop))
    rest = recognizer.decode(work(columns, stop, 1000, first))
    if recognizer.info.beam_size == 1:
        assert said(first) + said(rest) == said(whole)
    assert [token for token, _ in said(first) + said(rest)] == [token for token, _ in said(whole)]
    assert all(frame < stop for _, frame in said(first))
    # In a beam, the likeliest place of a token may be a frame away once those before it are settled.
    for (_, apart), (_, together) in zip(said(first) + said(rest), said(whole), strict=True):
        assert abs(apart - together) <= 1


def test_frames_count_from_the_start_of_the_utterance(recognizer: TdtRecognizer, columns: F32) -> None:
    near = recognizer.decode(work(columns, 0, 1000))
    far = recognizer.decode(work(columns, 100, 1100, begin=100))
    assert said(far) == [(token, frame + 100) for token, frame in said(near)]
    before = recognizer.decode(work(columns, 0, 10))
    rest = recognizer.decode(work(columns, 10, 1000, before))
    part = recognizer.decode(work(columns, 110, 1100, before, begin=100))
    assert said(part) == [(token, frame + 100) for token, frame in said(rest)]
    assert part.tokens


def test_the_level_of_the_audio_makes_no_difference(recognizer: TdtRecognizer, columns: F32) -> None:
    # Few digits, and a power of two of columns: all sums and means are exact, so nothing may differ.
    soft: F32 = (np.round(columns * 256) / 256).astype(np.float32)
    soft = np.pad(soft, ((0, 256 - len(soft)), (0, 0)), mode="edge")
    louder = soft + np.float32(2)
    assert recognizer.decode(work(soft, 0, 1000)).tokens
    assert said(recognizer.decode(work(louder, 0, 1000))) == said(recognizer.decode(work(soft, 0, 1000)))


@pytest.mark.parametrize("length", [0, 1])
def test_what_is_too_short_for_statistics_says_nothing(
    recognizer: TdtRecognizer, columns: F32, length: int
) -> None:
    assert recognizer.decode(work(columns[:length], 0, 1)).tokens == ()


def test_two_columns_are_enough(recognizer: TdtRecognizer, columns: F32) -> None:
    assert len(recognizer.decode(work(columns[:2], 0, 1)).tokens) <= 10
