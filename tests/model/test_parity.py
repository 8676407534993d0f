"""The embedded model, decoded by us and by onnx-asr."""

from dataclasses import replace
from typing import Any

import numpy as np
import onnx_asr
import pytest

from ears_edge.asr.acoustic import AcousticModel
from ears_edge.asr.tdt import greedy
from ears_edge.dsp.features import LogMel, normalize
from ears_edge.engine.recognizer import TdtRecognizer, Work
from ears_edge.models.folder import ModelFolder, resolve
from ears_edge.units import F32
from ears_edge.wer import WordErrors, compare
from tests.clips import Clip, clips

FOLDER = ModelFolder.open(resolve("embedded"))

WHOLE_S = 15.0
"""What the engine decodes in one window."""
FEATURE_TOLERANCE = 2e-3
"""Of a normalized feature, whose deviation is 1, on clips that are not silent."""


@pytest.fixture(scope="module")
def reference() -> Any:  # noqa: ANN401  # its inner parts are not typed for use from outside
    return onnx_asr.load_model("nemo-conformer-tdt", FOLDER.path, quantization="int8").asr


@pytest.fixture(scope="module")
def model() -> AcousticModel:
    return AcousticModel(FOLDER, threads=2)


def ids(clip: Clip) -> str:
    return clip.name


def reference_features(reference: Any, audio: F32) -> F32:  # noqa: ANN401  # as above
    features, lengths = reference._preprocessor(audio[None], np.array([len(audio)]))
    columns: F32 = np.ascontiguousarray(features[0].T[: lengths[0]], dtype=np.float32)
    return columns


def reference_tokens(reference: Any, audio: F32) -> tuple[list[int], list[int]]:  # noqa: ANN401  # as above
    """Token ids and encoder frames of a whole file."""
    encoded, lengths = reference._encode(*reference._preprocessor(audio[None], np.array([len(audio)])))
    tokens, frames, _ = next(iter(reference._decoding(encoded, lengths)))
    return list(tokens), list(frames)


def tokens_of_columns(reference: Any, columns: F32) -> tuple[list[int], list[int]]:  # noqa: ANN401  # as above
    """The same, without the column of silence that onnx-asr pads: INT8 scales see it, and tokens flip."""
    encoded, lengths = reference._encode(columns.T[None], np.array([len(columns)]))
    tokens, frames, _ = next(iter(reference._decoding(encoded, lengths)))
    return list(tokens), list(frames)


def columns_of(audio: F32) -> F32:
    mel = LogMel(128)
    return np.concatenate((mel.feed(audio), mel.flush()))


@pytest.mark.parametrize("clip", clips(), ids=ids)
def test_tokens_and_frames_are_those_of_onnx_asr_for_the_whole_file(
    clip: Clip,
    reference: Any,  # noqa: ANN401  # as above
    model: AcousticModel,
) -> None:
    columns = reference_features(reference, clip.heard())
    encoded = model.encode(columns)
    tokens, _ = greedy(
        encoded, model.initial_state(), model.joint, vocabulary=model.vocabulary, blank=model.vocabulary - 1
    )
    assert ([t.id for t in tokens], [t.frame for t in tokens]) == tokens_of_columns(reference, columns)


@pytest.mark.parametrize("clip", [c for c in clips() if c.kind != "nonspeech"], ids=ids)
def test_features_are_those_of_onnx_asr(clip: Clip, reference: Any) -> None:  # noqa: ANN401  # as above
    audio = clip.heard()
    ours, theirs = normalize(columns_of(audio)), reference_features(reference, audio)
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() < FEATURE_TOLERANCE


@pytest.fixture(scope="module")
def recognizer() -> TdtRecognizer:
    """Greedy, as onnx-asr is."""
    return TdtRecognizer(replace(FOLDER, info=replace(FOLDER.info, beam_size=1)), threads=2)


def test_with_our_own_features_the_words_stay_near(recognizer: TdtRecognizer, reference: Any) -> None:  # noqa: ANN401
    """INT8 activations flip at differences of 1e-6, and this model's margins are small: most clips agree."""
    total, equal = WordErrors(), 0
    spoken = [clip for clip in clips() if clip.kind != "nonspeech" and clip.seconds <= WHOLE_S]
    for clip in spoken:
        audio = clip.heard()
        columns = columns_of(audio)
        work = Work(urgency="final", columns=columns, begin=0, start=0, stop=len(columns), state=None)
        ours = recognizer.tokenizer.decode([token.id for token in recognizer.decode(work).tokens])
        theirs = recognizer.tokenizer.decode(reference_tokens(reference, audio)[0])
        equal += ours == theirs
        total += compare(theirs, ours)
    print(f"\nown features: {equal} of {len(spoken)} clips have onnx-asr's text,")
    print(f"{total.errors} of {total.words} words differ")
    assert equal >= 0.8 * len(spoken)
    assert total.errors < 0.1 * total.words
