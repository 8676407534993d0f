"""A model is asked for the text of a clip that is known: a wrong answer shows that it can't be trusted."""

from importlib.resources import as_file, files
from typing import Final, NamedTuple

import numpy as np

from ears_edge.audio.converter import Converter
from ears_edge.audio.files import open_audio
from ears_edge.dsp.features import LogMel
from ears_edge.engine.recognizer import Recognizer, Work
from ears_edge.errors import InferenceError
from ears_edge.models.folder import bare_language
from ears_edge.models.status import SelfTest
from ears_edge.units import F32, HOP
from ears_edge.wer import compare

SELF_TEST: Final = "model-self-test"
"""Code of the fault of a model that gives a wrong answer."""
GOLDEN: Final = "golden.flac"
GOLDEN_TEXT: Final = "Set a timer for five minutes."
GOLDEN_LANGUAGE: Final = "en"
MAX_WRONG: Final = 0.5
"""Of the clip's words. It is a clear recording: who misses more hears nothing, whatever the accent."""
MAX_SHOWN_CHARS: Final = 60


class Verdict(NamedTuple):
    """What came of a test."""

    outcome: SelfTest
    fault: str = ""
    """Why it failed, for the inside of a sentence."""


def golden_columns(n_mels: int) -> F32:
    """(T, n_mels) float32 log-mel columns, not normalized, of the clip: two seconds."""
    converter, mel = Converter(), LogMel(n_mels)
    with as_file(files("ears_edge.engine") / GOLDEN) as path, open_audio(str(path)) as source:
        heard = [converter.feed(block, source.fmt) for block in source.blocks(1.0)]
    samples = np.concatenate([*heard, converter.flush()])
    return np.concatenate((mel.feed(samples), mel.flush()))


def test_recognizer(recognizer: Recognizer) -> Verdict:
    """Let a model hear the clip. Blocks for one decode of two seconds.

    The clip is English. Of a model that does not speak it, or does not say what it speaks, only this is
    asked: that it can be run.
    """
    columns = golden_columns(recognizer.n_mels)
    frames = len(columns) * HOP // recognizer.frame
    work = Work(urgency="final", columns=columns, begin=0, start=0, stop=frames, state=None)
    try:
        tokens = recognizer.decode(work).tokens
    except InferenceError as exc:
        return Verdict("failed", f"it fails on the test clip ({exc})")
    if GOLDEN_LANGUAGE not in map(bare_language, recognizer.info.languages):
        return Verdict("not judged")
    text = recognizer.tokenizer.decode([token.id for token in tokens])
    wrong = compare(GOLDEN_TEXT, text)
    if wrong.errors > MAX_WRONG * wrong.words:
        shown = text if len(text) <= MAX_SHOWN_CHARS else f"{text[:MAX_SHOWN_CHARS]}..."
        return Verdict("failed", f"it heard {shown!r} where the test clip says {GOLDEN_TEXT!r}")
    return Verdict("passed")
