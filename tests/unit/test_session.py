"""One session, step by step: what the properties of tests/property leave open."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from ears_edge.asr.tdt import Token
from ears_edge.config import EngineConfig
from ears_edge.engine.recognizer import Decoded, Work
from ears_edge.engine.session import SILENCE_S, Session, SessionOptions
from ears_edge.errors import InferenceError
from ears_edge.events import Event, FinalText, FinalWords, Language, Pause, Segment, Word
from ears_edge.units import F32, SAMPLE_RATE
from tests.fakes import FRAME, FakeRecognizer, LoudDetector, tone

CONFIG = EngineConfig(
    full_window_s=4.0, left_s=0.8, chunk_s=1.6, right_s=0.8, live_step_s=0.32, live_hold_s=0.32
)
"""Frames: full 50, left 10, chunk 20, right 10, a look every 4, of which the youngest 4 don't count."""
LIVE = SessionOptions(live_words=True)
PLAIN = SessionOptions()
VARIED = [1, 2, 3, 4, 5, 6, 7]


class Driver:
    """A session whose work is done at once, and all that it told."""

    def __init__(
        self,
        options: SessionOptions = PLAIN,
        recognizer: FakeRecognizer | None = None,
        config: EngineConfig = CONFIG,
    ) -> None:
        self.recognizer = recognizer or FakeRecognizer()
        self.session = Session(self.recognizer, config, options, LoudDetector)
        self.work: list[Work] = []
        self.events: list[Event] = []

    def hear(self, levels: list[int]) -> "Driver":
        """Encoder frames of these levels, one by one."""
        for level in levels:
            self.step(lambda level=level: self.session.receive(tone([level])))  # type: ignore[misc]  # bound now
        return self

    def step(self, call: Callable[[], object]) -> "Driver":
        call()
        while work := self.session.work():
            self.work.append(work)
            self.session.complete(self.recognizer.decode(work))
        self.events += self.session.events()
        return self

    def flush(self) -> "Driver":
        return self.step(self.session.flush)

    def finish(self) -> "Driver":
        return self.step(self.session.finish)

    @property
    def words(self) -> list[Word]:
        return [word for event in self.events if isinstance(event, FinalWords) for word in event.words]

    @property
    def texts(self) -> list[str]:
        return [word.text for word in self.words]

    def of(self, urgency: str) -> list[Work]:
        return [work for work in self.work if work.urgency == urgency]


def final(events: Sequence[Event]) -> FinalText:
    (text,) = (event for event in events if isinstance(event, FinalText))
    assert events[-1] is text
    return text


class UnsureRecognizer(FakeRecognizer):
    """As the other, but half sure."""

    def decode(self, work: Work) -> Decoded:
        tokens, state = super().decode(work)
        return Decoded([token._replace(confidence=0.5) for token in tokens], state)


class LastingRecognizer(FakeRecognizer):
    """As the other, but its words last for ever."""

    def decode(self, work: Work) -> Decoded:
        tokens, state = super().decode(work)
        return Decoded([token._replace(duration=40) for token in tokens], state)


def test_no_audio_is_an_empty_final_text() -> None:
    for audio in ([], [np.zeros(0, np.float32)] * 3):
        driver = Driver()
        for block in audio:
            driver.session.receive(block)
        driver.finish()
        assert driver.events == [FinalText((), 0, "en")]  # type: ignore[arg-type]  # Samples
        assert not driver.work


@pytest.mark.parametrize("samples", [1, 159, 160, 161, 319, 320, 1279, 1281])
def test_tiny_audio_is_heard_to_the_last_sample_and_hurts_nobody(samples: int) -> None:
    driver = Driver()
    driver.session.receive(np.full(samples, 0.5, np.float32))
    driver.flush().flush().finish().finish()
    assert final(driver.events).duration == samples
    assert [len(work.columns) for work in driver.work] == [samples // 160] * (samples >= 160)


def test_a_flush_hears_what_is_less_than_a_frame() -> None:
    driver = Driver()
    driver.session.receive(tone([3, 4])[: FRAME + 640])
    driver.flush()
    assert [len(work.columns) for work in driver.work] == [12]


def test_what_follows_a_flush_has_its_place_in_the_session() -> None:
    driver = Driver().hear([0, 3])
    driver.session.receive(np.zeros(77, np.float32))
    driver.flush().flush().hear([5, 0]).finish()
    assert [(word.text, word.start) for word in driver.words] == [("w2", FRAME), ("w4", 2 * FRAME + 77)]
    assert [event.text for event in driver.events if isinstance(event, Segment)] == ["w2", "w4"]


def test_a_session_that_has_ended_takes_nothing_and_says_nothing() -> None:
    driver = Driver().hear([3]).finish()
    told = len(driver.events)
    with pytest.raises(RuntimeError):
        driver.session.receive(tone([4]))
    driver.flush().finish()
    assert len(driver.events) == told
    assert driver.session.ended


def test_a_result_without_work_is_a_bug() -> None:
    driver = Driver()
    with pytest.raises(RuntimeError):
        driver.session.complete(driver.recognizer.decode(Driver().hear([3]).finish().work[0]))


def test_audio_beyond_the_limit_is_dropped_and_that_is_said() -> None:
    driver = Driver(config=EngineConfig(max_session_s=0.2))
    driver.session.receive(tone([3, 4, 5, 6]))
    driver.step(lambda: driver.session.receive(tone([7])))
    text = final(driver.finish().events)
    assert (text.duration, text.limit_reached) == (3200, True)
    assert driver.session.samples == 3200


def test_the_language_is_told_once_before_the_first_words() -> None:
    driver = Driver().hear([3, 0, 4]).flush().hear([5]).finish()
    assert [type(event) for event in driver.events[:2]] == [Language, FinalWords]
    assert [event for event in driver.events if isinstance(event, Language)] == [Language("en", 1.0)]
    hinted = Driver(SessionOptions(language="de")).hear([3]).finish()
    assert hinted.events[0] == Language("de", 1.0)
    assert final(hinted.events).language == "de"
    assert Driver().hear([0]).finish().events == [FinalText((), FRAME, "en")]  # type: ignore[arg-type]  # Samples


def test_a_pause_is_told_where_the_speech_ended() -> None:
    driver = Driver().hear([0, 0, 3, 4, *[0] * 9]).flush().hear([5, *[0] * 9])
    assert [event.at for event in driver.events if isinstance(event, Pause)] == [4 * FRAME, 14 * FRAME]


def test_no_word_lasts_into_the_part_that_is_decoded_afresh() -> None:
    driver = Driver(recognizer=LastingRecognizer())
    driver.hear([*[3] * 20, *[0] * 4, *[4] * 40, *[0] * 4, *[5] * 20]).finish()
    assert len(driver.of("window")) > 1
    for before, after in zip(driver.words, driver.words[1:], strict=False):
        assert before.end <= after.start
    assert all(word.end <= final(driver.events).duration for word in driver.words)


def test_long_silence_is_not_decoded_and_holds_no_memory() -> None:
    driver = Driver(LIVE)
    second = np.zeros(SAMPLE_RATE, np.float32)
    for _ in range(1200):
        driver.step(lambda: driver.session.receive(second))
    assert not driver.work
    assert not driver.events
    (utterance,) = driver.session._utterances
    assert len(utterance._columns._store) <= 1024
    assert not utterance.planned


@pytest.mark.parametrize("options", [PLAIN, LIVE])
@pytest.mark.parametrize("pattern", [[1, 2, 3], [*VARIED * 3, *[0] * 8], [3] * 70])
def test_half_an_hour_of_speech_holds_no_more_memory_than_a_minute(
    options: SessionOptions, pattern: list[int]
) -> None:
    driver = Driver(options)
    audio = tone(pattern * (750 // len(pattern)))
    most = 0
    for _ in range(30):
        driver.step(lambda: driver.session.receive(audio))
        (utterance,) = driver.session._utterances
        most = max(most, len(utterance._columns._store), len(utterance._voice._silences) * 8)
        assert len(driver.session._look) < 100
    assert most <= 8192
    assert max(work.stop - work.begin for work in driver.work) <= 50 + 10
    expected = [level for level, before in zip(pattern, [0, *pattern], strict=False) if level != before]
    assert len(final(driver.finish().events).words) >= 30 * 0.9 * len(expected) or len(set(pattern)) == 1


def test_silence_before_speech_that_is_cut_off_is_not_decoded() -> None:
    driver = Driver().hear([*[0] * 70, *VARIED, *[0] * 10]).finish()
    (work,) = driver.work
    assert (work.urgency, work.begin, work.stop) == ("final", 64, 83)
    assert [word.start for word in driver.words] == [(70 + at) * FRAME for at in range(7)]


def test_words_become_final_while_the_speaker_goes_on() -> None:
    driver = Driver(LIVE)
    for at in range(200):
        driver.hear([at // 4 % 12 + 1])
        # Words of 4 frames; the next must have begun in the look before, and looks are 4 frames apart.
        assert at + 1 - 4 * len(driver.words) <= 4 + 4 + 4 + 4
    assert len(driver.words) <= 50


def test_what_was_just_said_is_not_final() -> None:
    driver = Driver(LIVE, config=replace(CONFIG, live_hold_s=0.96))
    for at in range(50):
        driver.hear([at % 12 + 1])
        assert all(word.end <= (at + 1 - 12) * FRAME for word in driver.words)
    assert driver.words


@pytest.mark.parametrize(
    ("card", "setting", "live"), [(0.9, 0.0, False), (0.4, 0.0, True), (0.9, 0.4, True), (0.4, 0.9, False)]
)
def test_the_models_card_says_how_sure_a_live_word_must_be_unless_a_setting_does(
    card: float,
    setting: float,
    live: bool,  # noqa: FBT001  # what is expected
) -> None:
    recognizer = UnsureRecognizer()
    recognizer.info = replace(recognizer.info, live_confidence=card)
    driver = Driver(LIVE, recognizer, replace(CONFIG, live_confidence=setting)).hear(VARIED * 3)
    assert bool(driver.texts) == live


def test_words_that_are_unsure_become_final_when_the_speaker_is_silent() -> None:
    driver = Driver(LIVE, UnsureRecognizer())
    silence = round(SILENCE_S * SAMPLE_RATE / FRAME)
    driver.hear([1, 2, 3, *[0] * silence])
    assert driver.texts == []
    driver.hear([0] * 6)
    assert driver.texts == ["w0", "w1", "w2"]
    assert not driver.of("window")


def test_words_that_are_sure_become_final_when_the_speaker_is_silent_the_last_included() -> None:
    driver = Driver(LIVE).hear([*[0] * 5, *VARIED, *[0] * 20])
    assert driver.texts == [f"w{level - 1}" for level in VARIED]


def test_unsure_words_do_not_become_final_while_the_speaker_goes_on() -> None:
    driver = Driver(LIVE, UnsureRecognizer()).hear(VARIED * 7)
    assert driver.texts == []


@pytest.mark.parametrize("recognizer", [FakeRecognizer, UnsureRecognizer])
def test_nobody_looks_at_silence(recognizer: type[FakeRecognizer]) -> None:
    driver = Driver(LIVE, recognizer()).hear([*[0] * 20])
    assert not driver.work
    driver.hear([*VARIED, *[0] * 45])
    looks = len(driver.work)
    driver.hear([0] * 300)
    assert len(driver.work) <= looks + 1  # the window that ends in the silence


def test_looks_end_with_the_speech_even_if_no_two_agree() -> None:
    class Fickle(FakeRecognizer):
        def decode(self, work: Work) -> Decoded:
            tokens, state = super().decode(work)
            shift = len(self.windows) % 5
            return Decoded([token._replace(id=(token.id + shift) % 12 + 1) for token in tokens], state)

    driver = Driver(LIVE, Fickle()).hear([*VARIED, *[0] * 42])
    assert driver.texts == []
    assert len(driver.of("live")) <= (len(VARIED) + 30 + 2 * 4) // 4


def test_no_look_without_live_words() -> None:
    assert not Driver().hear(VARIED * 7).work


def test_what_is_final_already_is_not_decoded_again_at_the_end() -> None:
    driver = Driver(LIVE).hear([*VARIED, *[0] * 40])
    looks = len(driver.work)
    driver.finish()
    assert len(driver.work) == looks
    assert final(driver.events).text == "w0 w1 w2 w3 w4 w5 w6"


def test_a_look_has_left_context() -> None:
    driver = Driver(LIVE).hear([at // 4 % 12 + 1 for at in range(48)])
    look = driver.of("live")[-1]
    assert look.start > 20
    assert look.start - look.begin == 10


def test_a_look_that_a_window_has_overtaken_is_given_up() -> None:
    session = Session(FakeRecognizer(), CONFIG, LIVE, LoudDetector)
    session.receive(tone([3], 10))
    look = session.work()
    assert look is not None
    assert look.urgency == "live"
    assert not session.give_up_look()
    session.finish()
    assert session.work() is None
    assert session.give_up_look()
    end = session.work()
    assert end is not None
    assert end.urgency == "final"
    assert not session.give_up_look()
    session.complete(FakeRecognizer().decode(end))
    assert final(session.events()).text == "w2"


def test_a_look_given_up_for_silence_ends_the_session() -> None:
    session = Session(FakeRecognizer(), CONFIG, LIVE, LoudDetector)
    session.receive(tone([3], 10))
    session.flush()
    first = session.work()
    assert first is not None
    session.complete(FakeRecognizer().decode(first))
    session.finish()
    assert not session.give_up_look()
    assert session.ended


def test_the_decoder_goes_on_behind_live_words_that_end_where_a_window_slides() -> None:
    """Frame 39 begins a word; it is final live, and 40 is next, when the window that stops at 40 is due."""
    levels = [level for level in VARIED for _ in range(6)][:39]
    levels += [9, 9, 0, *[4] * 6, *[6] * 30]
    driver = Driver(LIVE).hear(levels).finish()
    assert driver.texts == ["w0", "w1", "w2", "w3", "w4", "w5", "w6", "w8", "w3", "w5"]


def test_windows_that_wait_stop_the_audio_and_the_next_result_lets_it_in() -> None:
    session = Session(FakeRecognizer(), CONFIG, PLAIN, LoudDetector)
    while session.wants_audio:
        session.receive(tone([3]))
    assert session.samples == 72 * FRAME  # two windows: 50 frames, 20 more, one behind and one in work
    work = session.work()
    assert work is not None
    session.complete(FakeRecognizer().decode(work))
    assert session.wants_audio


def test_a_failed_decode_tells_nothing_by_itself() -> None:
    recognizer = FakeRecognizer()
    recognizer.fail = True
    driver = Driver(recognizer=recognizer)
    with pytest.raises(InferenceError):
        driver.hear([3]).finish()
    assert not driver.events


def test_full_scale_noise_and_a_constant_are_audio_like_any_other() -> None:
    noise: F32 = np.random.default_rng(0).uniform(-1, 1, SAMPLE_RATE).astype(np.float32).round()
    for audio in (noise, np.ones(SAMPLE_RATE, np.float32)):
        driver = Driver()
        driver.session.receive(audio)
        columns = driver.finish().work[0].columns
        assert np.isfinite(columns).all()


def test_a_token_without_speech_around_it_is_impossible() -> None:
    """What is not decoded can't be heard, whatever the recognizer would say of it."""

    class Inventive(FakeRecognizer):
        def decode(self, work: Work) -> Decoded:
            decoded = super().decode(work)
            return Decoded([Token(1, work.start, 1, 1.0, decoded.state)], decoded.state)

    assert Driver(LIVE, Inventive()).hear([0] * 200).finish().texts == []
