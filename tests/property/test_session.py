"""The promises the product rests on, for any audio, any cut and any timing."""

from functools import partial
from itertools import cycle, groupby, islice, zip_longest

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ears_edge.config import EngineConfig
from ears_edge.engine.session import Session, SessionOptions
from ears_edge.events import Event, FinalText, FinalWords, Segment, Word
from ears_edge.units import F32
from tests.fakes import (
    FRAME,
    EdgeRecognizer,
    FakeRecognizer,
    LateDetector,
    LoudDetector,
    PairRecognizer,
    tone,
)

CONFIG = EngineConfig(
    full_window_s=4.0, left_s=0.8, chunk_s=1.6, right_s=0.8, live_step_s=0.32, live_hold_s=0.32
)

one_run = st.tuples(st.integers(0, 12), st.integers(1, 12)) | st.tuples(st.integers(1, 12), st.integers(1, 6))
runs = st.lists(one_run, max_size=12) | st.lists(one_run, min_size=12, max_size=40)
"""(level, frames): up to 38 s, with silences of up to a second, and long ones where two meet. Half of them
are too long for one window; left to itself, hypothesis draws short lists."""
cuts = st.lists(st.integers(0, 6 * FRAME), max_size=12)
"""Samples of each block, over and over."""
MAX_CUTS = 400
timing = st.lists(st.integers(0, 4), min_size=1, max_size=40)
lags = st.integers(0, 30)
"""Blocks by which the speech detector is late."""


def audio_of(levels: list[tuple[int, int]]) -> F32:
    return tone([level for level, frames in levels for _ in range(frames)])


def expected(levels: list[tuple[int, int]]) -> list[tuple[str, int]]:
    """Each run of a level is a word that starts with it."""
    frames = [level for level, count in levels for _ in range(count)]
    words, at = [], 0
    for level, group in groupby(frames):
        if level:
            words.append((f"w{level - 1}", at * FRAME))
        at += len(list(group))
    return words


def blocks_of(audio: F32, lengths: list[int]) -> list[F32]:
    if not sum(lengths):
        return [audio]
    ends = np.cumsum([*islice(cycle(lengths), MAX_CUTS)], dtype=int)
    return np.split(audio, ends[ends < len(audio)])


def run(
    blocks: list[F32],
    *,
    live: bool,
    delays: list[int],
    recognizer: FakeRecognizer | None = None,
    patient: bool = True,
    lag: int = 0,
) -> list[Event]:
    """Drive a session; work is completed only after as many blocks as `delays` say, over and over."""
    recognizer = recognizer or FakeRecognizer()
    options = SessionOptions(live_words=live)
    session = Session(recognizer, CONFIG, options, partial(LateDetector, lag))
    events: list[Event] = []
    waiting, turn = 0, 0
    work = None
    for block in blocks:
        session.receive(block)
        if not patient and session.give_up_look():
            work = None
        events += session.events()
        work = work or session.work()
        if work and waiting >= delays[turn % len(delays)]:
            session.complete(recognizer.decode(work))
            events += session.events()
            work, waiting, turn = None, 0, turn + 1
        else:
            waiting += 1
    session.finish()
    if not patient and session.give_up_look():
        work = None
    work = work or session.work()
    while work:
        session.complete(recognizer.decode(work))
        events += session.events()
        work = session.work()
    return events + session.events()


def words_of(events: list[Event]) -> list[Word]:
    return [word for event in events if isinstance(event, FinalWords) for word in event.words]


@settings(max_examples=60, deadline=None)
@given(levels=runs, lengths=cuts, delays=timing, lag=lags, live=st.booleans(), patient=st.booleans())
def test_every_sample_is_heard_exactly_once_for_any_cut_and_timing(
    levels: list[tuple[int, int]],
    lengths: list[int],
    delays: list[int],
    lag: int,
    *,
    live: bool,
    patient: bool,
) -> None:
    blocks = blocks_of(audio_of(levels), lengths)
    events = run(blocks, live=live, delays=delays, patient=patient, lag=lag)
    assert [(word.text, word.start) for word in words_of(events)] == expected(levels)


@settings(max_examples=60, deadline=None)
@given(
    levels=runs,
    first=st.integers(0, 2),
    lengths=cuts,
    delays=timing,
    live=st.booleans(),
    patient=st.booleans(),
)
def test_no_seam_is_heard_where_nothing_but_durations_keeps_the_decoder_in_step(
    levels: list[tuple[int, int]],
    first: int,
    lengths: list[int],
    delays: list[int],
    *,
    live: bool,
    patient: bool,
) -> None:
    even = [(0, first), *((level, 2 * frames if level else frames) for level, frames in levels)]
    recognizer = PairRecognizer()
    blocks = blocks_of(audio_of(even), lengths)
    events = run(blocks, live=live, delays=delays, recognizer=recognizer, patient=patient)
    frames = [level for level, count in even for _ in range(count)]
    loud = [(level, at) for at, level in enumerate(frames) if level]
    wanted = [(f"w{level - 1}", at * FRAME, (at + 2) * FRAME) for level, at in loud[::2]]
    assert [(word.text, word.start, word.end) for word in words_of(events)] == wanted


@settings(max_examples=40, deadline=None)
@given(levels=runs, lengths=cuts, delays=timing, live=st.booleans())
def test_what_is_heard_without_right_context_is_never_final(
    levels: list[tuple[int, int]], lengths: list[int], delays: list[int], *, live: bool
) -> None:
    levels = [*levels, (0, 2)]  # at the very end there is none
    blocks = blocks_of(audio_of(levels), lengths)
    events = run(blocks, live=live, delays=delays, recognizer=EdgeRecognizer())
    assert [(word.text, word.start) for word in words_of(events)] == expected(levels)


@settings(max_examples=40, deadline=None)
@given(levels=runs, lengths=cuts, delays=timing, live=st.booleans())
def test_words_and_segments_do_not_depend_on_cut_or_timing(
    levels: list[tuple[int, int]], lengths: list[int], delays: list[int], *, live: bool
) -> None:
    audio = audio_of(levels)
    events = run(blocks_of(audio, lengths), live=live, delays=delays)
    at_once = run([audio], live=live, delays=[0])
    assert words_of(events) == words_of(at_once)
    assert events[-1] == at_once[-1]
    pick = [event for event in events if isinstance(event, Segment)]
    assert pick == [event for event in at_once if isinstance(event, Segment)]


@settings(max_examples=40, deadline=None)
@given(levels=runs, lengths=cuts, delays=timing, live=st.booleans())
def test_the_final_text_is_the_words_that_were_final_and_times_never_decrease(
    levels: list[tuple[int, int]], lengths: list[int], delays: list[int], *, live: bool
) -> None:
    audio = audio_of(levels)
    events = run(blocks_of(audio, lengths), live=live, delays=delays)
    final, words = events[-1], words_of(events)
    assert isinstance(final, FinalText)
    assert list(final.words) == words
    assert final.text == " ".join(word.text for word in words)
    assert final.duration == len(audio)
    assert [word for event in events if isinstance(event, Segment) for word in event.words] == words
    edges = [edge for word in words for edge in (word.start, word.end)]
    assert edges == sorted(edges)
    assert all(0 <= edge <= len(audio) for edge in edges)


@settings(max_examples=20, deadline=None)
@given(runs, runs, cuts)
def test_two_sessions_on_one_recognizer_do_not_hear_each_other(
    one: list[tuple[int, int]], two: list[tuple[int, int]], lengths: list[int]
) -> None:
    recognizer = FakeRecognizer()
    sessions = [Session(recognizer, CONFIG, SessionOptions(live_words=True), LoudDetector) for _ in range(2)]
    blocks = [blocks_of(audio_of(levels), lengths) for levels in (one, two)]
    events: list[list[Event]] = [[], []]
    for pair in zip_longest(*blocks, fillvalue=audio_of([])):
        for session, block, told in zip(sessions, pair, events, strict=True):
            session.receive(block)
            if work := session.work():
                session.complete(recognizer.decode(work))
            told.extend(session.events())
    for session, told in zip(sessions, events, strict=True):
        session.finish()
        while work := session.work():
            session.complete(recognizer.decode(work))
        told.extend(session.events())
    for levels, told in zip((one, two), events, strict=True):
        assert [word.text for word in words_of(told)] == [text for text, _ in expected(levels)]


@settings(max_examples=30, deadline=None)
@given(runs)
def test_an_utterance_that_fits_is_decoded_once_with_half_a_second_around_the_speech(
    levels: list[tuple[int, int]],
) -> None:
    recognizer = FakeRecognizer()
    audio = audio_of(levels)[: int(CONFIG.full_window_s * 16_000)]
    run([audio], live=False, delays=[0], recognizer=recognizer)
    frames = [level for level, count in levels for _ in range(count)][: len(audio) // FRAME]
    loud = [at for at, level in enumerate(frames) if level]
    begin, stop = (max(0, loud[0] - 6), min(len(frames), loud[-1] + 7)) if loud else (0, 0)
    assert recognizer.windows == ([(begin, begin, stop)] if loud else [])


@settings(max_examples=20, deadline=None)
@given(runs, st.integers(0, 12), cuts)
def test_a_flush_makes_final_what_was_heard_and_loses_nothing_after_it(
    levels: list[tuple[int, int]], at: int, lengths: list[int]
) -> None:
    recognizer = FakeRecognizer()
    session = Session(recognizer, CONFIG, SessionOptions(live_words=True), LoudDetector)
    head, tail = levels[:at], [(0, 1), *levels[at:]]
    events: list[Event] = []
    for part in (head, tail):
        for block in blocks_of(audio_of(part), lengths):
            session.receive(block)
        session.flush()
        while work := session.work():
            session.complete(recognizer.decode(work))
        events += session.events()
    session.finish()
    events += session.events()
    shift = len(audio_of(head))
    wanted = expected(head) + [(text, start + shift) for text, start in expected(tail)]
    assert [(word.text, word.start) for word in words_of(events)] == wanted
