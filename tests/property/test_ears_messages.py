import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ears_edge.errors import PeerProtocolError
from ears_edge.events import FinalText, FinalWords, Word
from ears_edge.units import Samples
from ears_edge.wire import ears

TYPES = st.sampled_from(sorted(ears._COMMANDS)) | st.text(max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
MEMBERS = st.dictionaries(
    st.sampled_from(["lang", "engine", "seconds", "token", "stream_id", "other"]), VALUES, max_size=4
)
WORDS = st.lists(
    st.builds(
        Word,
        st.text(st.characters(exclude_categories=("Z", "C")), min_size=1, max_size=8),
        st.integers(0, 10**9).map(Samples),
        st.integers(0, 10**9).map(Samples),
        st.floats(0, 1),
    ),
    max_size=5,
).map(tuple)


def decodes_or_refuses(text: str) -> None:
    try:
        command = ears.decode_command(text)
    except PeerProtocolError as exc:
        refused = exc
    else:
        assert isinstance(command, ears.Command)
        return
    assert refused.code in ("bad-message", "unknown-type")
    assert str(refused).startswith("bad-message: ")
    assert len(str(refused)) < 200


@given(st.text(st.characters(), max_size=80))
def test_any_text_is_a_command_or_refused(text: str) -> None:
    decodes_or_refuses(text)


@given(TYPES, MEMBERS)
def test_any_object_is_a_command_or_refused(kind: str, members: dict[str, object]) -> None:
    decodes_or_refuses(json.dumps({"type": kind} | members))


@given(st.sampled_from(["{", "[", '{"type":', '{"a":[']), st.integers(0, 20_000))
def test_deep_nesting_is_refused(opening: str, depth: int) -> None:
    with pytest.raises(PeerProtocolError):
        ears.decode_command(opening * depth + "1")


@given(st.binary(max_size=300), st.integers(0, 60_000))
def test_any_bytes_become_sound_audio(noise: bytes, zeros: int) -> None:
    message = noise + bytes(zeros)
    blocks = list(ears.audio_blocks(message))
    samples = np.frombuffer(b"".join(blocks), "<f4")
    assert all(0 < len(block) <= ears.BLOCK_BYTES for block in blocks)
    assert len(samples) * 4 + ears.ragged_bytes(message) == len(message)
    assert np.all(np.abs(samples) <= 1)
    sent = np.frombuffer(message, "<f4", len(samples))
    inside = np.abs(sent) <= 1  # false for NaN
    np.testing.assert_array_equal(samples[inside], sent[inside])


@given(WORDS)
def test_live_words_and_final_agree(words: tuple[Word, ...]) -> None:
    live = [
        json.loads(text)
        for text in ears.encode_event(FinalWords(words), timestamps=True, vad=True, unix_time=0)
    ]
    [last] = ears.encode_event(FinalText(words, Samples(0)), timestamps=False, vad=True, unix_time=0)
    final = json.loads(last)
    assert [{"type": "word"} | word for word in final["words"]] == live
    assert final["text"] == " ".join(word["word"] for word in live)
