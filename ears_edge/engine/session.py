"""One client's stream: audio in, work and events out. Sans-I/O: no sockets, threads, clock or logging."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from ears_edge.asr.tdt import DecoderState, Token
from ears_edge.asr.words import Segmenter, TimedToken, WordBuilder, group_words
from ears_edge.config import EngineConfig
from ears_edge.dsp.vad import SpeechDetector, VoiceActivity, new_detector
from ears_edge.engine.agreement import agreed
from ears_edge.engine.chunking import Geometry, Window
from ears_edge.engine.recognizer import Decoded, Recognizer, Urgency, Work
from ears_edge.engine.utterance import Planned, Utterance
from ears_edge.events import Event, FinalText, FinalWords, Language, Pause, Word
from ears_edge.units import F32, Samples, samples

MAX_PLANNED: Final = 2
"""Windows that may wait to be decoded before the session takes no more audio."""
TAIL_HOLD_S: Final = 0.64
"""How much further back than others the last word of a growing utterance must lie: punctuation comes late."""
SILENCE_S: Final = 2.4
"""After as much silence no further audio would make a word surer; speakers seldom pause longer inside one
sentence, and words that are final there may differ from those of the whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOptions:
    """What one client asks for."""

    live_words: bool = False
    """Final words while speech goes on."""
    language: str | None = None
    """Bare code of the language spoken, if the client said it; the model must have it."""
    terms: tuple[str, ...] = ()
    """Words to expect. Accepted; they have no effect yet."""


class Session:
    """Not thread-safe; one owner at a time.

    Call `receive` for each block and `finish` once. After each call fetch `events`, and `work`: decode it
    elsewhere and hand the result to `complete`. One piece of work is out at a time. Final words do not
    depend on how the audio was cut, nor on when work is completed, as long as the model hears the same in
    a window and in its beginning; live words come when two looks agree.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        config: EngineConfig,
        options: SessionOptions,
        detector: Callable[[], SpeechDetector] = new_detector,
    ) -> None:
        self.recognizer = recognizer
        """The model that hears it, to its end."""
        self._options = options
        self._detector = detector
        self._geometry = Geometry.of(config, frame=recognizer.frame)
        g = self._geometry
        self._limit = samples(config.max_session_s)
        self._live_step = max(1, g.frames(config.live_step_s))
        self._hold = g.frames(config.live_hold_s)
        self._tail_hold = self._hold + g.frames(TAIL_HOLD_S)
        self._silence = max(self._tail_hold, g.frames(SILENCE_S))
        self._patience = self._silence + 2 * self._live_step
        self._confidence = config.live_confidence or recognizer.info.live_confidence

        self._pending = np.empty(0, np.float32)
        self._heard = 0
        self._finished = False
        self._limit_reached = False
        self._ended = False
        self._events: list[Event] = []

        self._utterances: deque[Utterance] = deque()
        self._done = 0
        self._state: DecoderState | None = None
        self._look: Sequence[Token] = ()
        self._live_due = False
        self._out: tuple[Urgency, Window, int] | None = None
        """Work that is being decoded: why, its window, and where decoding stops in it."""

        self._builder = WordBuilder(recognizer.tokenizer)
        self._segmenter = Segmenter()
        self._words: list[Word] = []
        languages = recognizer.info.languages
        self._language = options.language or (languages[0] if len(languages) == 1 else None)

    @property
    def samples(self) -> int:
        """Samples heard."""
        return self._heard

    @property
    def ended(self) -> bool:
        """Whether FinalText is out: nothing follows."""
        return self._ended

    @property
    def wants_audio(self) -> bool:
        """False while decoding lags behind: then `receive` should wait."""
        return sum(len(utterance.planned) for utterance in self._utterances) < MAX_PLANNED

    def receive(self, audio: F32) -> None:
        """Take (N,) float32 mono at 16 kHz in [-1, 1]; any N, zero included.

        Raises:
            RuntimeError: `finish` was called; that is the adapter's bug, not the client's.
        """
        if self._limit_reached:
            return
        if self._finished:
            raise RuntimeError("receive() after finish()")
        audio = audio[: self._limit - self._heard]
        self._heard += len(audio)
        self._pending = np.concatenate((self._pending, audio))
        while len(self._pending) >= self._geometry.frame:
            self._take_frame(self._geometry.frame)
        if self._heard >= self._limit:
            self._limit_reached = True
            self.finish()

    def flush(self) -> None:
        """Make final what was heard so far; audio that follows is an utterance of its own."""
        if len(self._pending):
            self._take_frame(len(self._pending))
        if self._utterances and not self._utterances[-1].closed:
            self._utterances[-1].close()
            self._settle()

    def finish(self) -> None:
        """The audio is over; FinalText follows once the work is done. Idempotent."""
        if not self._finished:
            self.flush()
            self._finished = True
            self._settle()

    def events(self) -> list[Event]:
        """What is to be told since the last call, in order."""
        events, self._events = self._events, []
        return events

    def work(self) -> Work | None:
        """The next decode, or None if there is none now or one is still out."""
        if self._out or not self._utterances:
            return None
        utterance = self._utterances[0]
        if utterance.planned:
            return self._work(utterance, "final" if utterance.closed else "window", utterance.planned[0])
        if not self._live_due:
            return None
        self._live_due = False
        look = utterance.live_look(self._done, self._patience)
        return self._work(utterance, "live", look) if look else None

    def give_up_look(self) -> bool:
        """Take back a live look that is out once a window has become due: its result would be of no use.

        Returns:
            Whether there was one. Then it must not be completed, and `work` may have something better.
        """
        if self._out is None or self._out[0] != "live" or not self._utterances[0].planned:
            return False
        self._out = None
        self._settle()
        return True

    def complete(self, decoded: Decoded) -> None:
        """Take the result of the work that was out."""
        if self._out is None:
            raise RuntimeError("complete() without work")
        urgency, window, stop = self._out
        self._out = None
        if urgency == "live":
            self._agree(decoded, window, stop)
        else:
            self._close_window(window, decoded)
        self._settle()

    def _take_frame(self, size: int) -> None:
        block, self._pending = self._pending[:size], self._pending[size:]
        if not self._utterances or self._utterances[-1].closed:
            base = Samples(self._heard - len(self._pending) - size)
            voice = VoiceActivity(self._detector())
            self._utterances.append(Utterance(base, self._geometry, self.recognizer.n_mels, voice))
        utterance = self._utterances[-1]
        self._events += [Pause(Samples(utterance.base + at)) for at in utterance.receive(block)]
        if self._options.live_words and utterance.frames % self._live_step == 0:
            self._live_due = True
        self._settle()

    def _work(self, utterance: Utterance, urgency: Urgency, planned: Planned) -> Work:
        window, speech = planned
        if speech is None:
            raise RuntimeError("nothing is decoded where nobody speaks")
        stop = min(window.stop, speech.end)
        self._out = urgency, window, stop
        return Work(
            urgency=urgency,
            columns=utterance.columns(speech.start, speech.end),
            begin=speech.start,
            start=max(speech.start, self._done),
            stop=stop,
            state=self._state,
        )

    def _settle(self) -> None:
        """Do all that needs no decoding: windows without speech, utterances that are done, the end."""
        while self._utterances and not self._out:
            utterance = self._utterances[0]
            if not utterance.planned:
                if not utterance.closed:
                    return
                self._utterances.popleft()
                self._done, self._state, self._look = 0, None, ()
                self._events += self._segmenter.flush()
                continue
            window, speech = utterance.planned[0]
            if speech and min(window.stop, speech.end) > self._done:
                return
            self._close_window(window, None)
        if self._finished and not self._utterances and not self._ended:
            self._ended = True
            self._events.append(
                FinalText(tuple(self._words), Samples(self._heard), self._language, self._limit_reached)
            )

    def _close_window(self, window: Window, decoded: Decoded | None) -> None:
        utterance = self._utterances[0]
        self._look = ()
        words: list[Word] = []
        if decoded:
            end = window.stop if window.closes else None
            words = self._builder.add(self._timed(utterance, decoded.tokens, end))
        if window.stop < self._done or (window.stop == self._done and not window.closes):
            pass  # live words went as far: they are final, and the decoder goes on behind them
        elif decoded is None or window.closes:
            words += self._builder.flush()
            self._state, self._done = None, window.stop
        else:
            self._state, self._done = decoded.state._replace(skip=0), window.stop + decoded.state.skip
        utterance.drop_window()
        self._tell(words)

    def _agree(self, decoded: Decoded, window: Window, stop: int) -> None:
        utterance = self._utterances[0]
        if utterance.planned:
            self._look = ()  # a window that is about to be decoded knows more
            return
        tokens, before = decoded.tokens, self._look
        # Once the speaker is silent for long, no further audio would make a word surer.
        sure = utterance.is_silent(max(0, window.end - self._silence), window.end)
        count = agreed(
            before,
            tokens,
            group_words([token.id for token in tokens], self.recognizer.tokenizer),
            sure_before=window.end - self._hold,
            tail_before=window.end - self._tail_hold,
            confidence=0.0 if sure else self._confidence,
        )
        self._look = tokens[count:]
        if count:
            last = tokens[count - 1]
            self._state, self._done = last.after._replace(skip=0), last.frame + last.after.skip
            words = self._builder.add(self._timed(utterance, tokens[:count], None))
            self._tell(words + self._builder.flush())
        all_final = count == len(tokens) == len(before)
        if all_final and utterance.is_silent(max(0, window.end - self._tail_hold), window.end):
            # Nobody speaks any more, so nothing is left to be decoded at the end.
            self._state, self._done = decoded.state._replace(skip=0), stop + decoded.state.skip

    def _timed(
        self, utterance: Utterance, tokens: Iterable[Token], before: int | None
    ) -> Iterable[TimedToken]:
        """Frames -> samples of the session; none lasts beyond frame `before`, or the audio's end."""
        size, base = self._geometry.frame, utterance.base
        end = utterance.samples if before is None else min(before * size, utterance.samples)
        for token in tokens:
            start = min(token.frame * size, end)
            stop = min((token.frame + token.duration) * size, end)
            yield TimedToken(token.id, Samples(base + start), Samples(base + stop), token.confidence)

    def _tell(self, words: Sequence[Word]) -> None:
        if not words:
            return
        if not self._words and self._language:
            self._events.append(Language(self._language, 1.0))
        self._words += words
        self._events.append(FinalWords(tuple(words)))
        self._events += self._segmenter.add(words)
