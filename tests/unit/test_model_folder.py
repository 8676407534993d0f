"""Faulty models: the message names the file and what was expected."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from ears_edge.asr.acoustic import AcousticModel
from ears_edge.asr.tdt import DecoderState
from ears_edge.errors import (
    ModelCorruptError,
    ModelError,
    ModelMismatchError,
    ModelNotFoundError,
    UnsupportedError,
)
from ears_edge.models.folder import ModelFolder, ModelInfo, resolve

ENCODER = "encoder-model.int8.onnx"
DECODER = "decoder_joint-model.int8.onnx"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    target = tmp_path / "model"
    shutil.copytree(resolve("embedded"), target)
    return target


def load(path: Path) -> AcousticModel:
    return AcousticModel(ModelFolder.open(path), threads=1)


def edit(path: Path, change: Callable[[onnx.ModelProto], None]) -> None:
    model = onnx.load(path)
    change(model)
    onnx.save(model, path)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def text(name: str, content: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / name).write_text(content, encoding="utf-8")

    return write


def rename_input(folder: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        model.graph.input[0].name = "sound"
        for node in model.graph.node:
            node.input[:] = ["sound" if name == "audio_signal" else name for name in node.input]

    edit(folder / ENCODER, change)


def one_state_at_a_time(folder: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        for tensor in model.graph.input:
            if tensor.name == "targets":
                tensor.type.tensor_type.shape.dim[0].dim_value = 1

    edit(folder / DECODER, change)


def other_vocabulary(folder: Path) -> None:
    pieces = ["<unk> 0", *(f"p{i} {i}" for i in range(1, 2000))]
    (folder / "vocab.txt").write_text("\n".join([*pieces, "<blk> 2000"]) + "\n", encoding="utf-8")


def encoder_of_another_size(folder: Path) -> None:
    """A tiny graph with the right names whose output has 7 values a frame."""
    inputs = [
        helper.make_tensor_value_info("audio_signal", TensorProto.FLOAT, ["b", 128, "t"]),
        helper.make_tensor_value_info("length", TensorProto.INT64, ["b"]),
    ]
    outputs = [
        helper.make_tensor_value_info("outputs", TensorProto.FLOAT, ["b", 7, "t"]),
        helper.make_tensor_value_info("encoded_lengths", TensorProto.INT64, ["b"]),
    ]
    weight = helper.make_tensor("w", TensorProto.FLOAT, [7, 128, 1], np.zeros(7 * 128, np.float32))
    nodes = [
        helper.make_node("Conv", ["audio_signal", "w"], ["outputs"]),
        helper.make_node("Identity", ["length"], ["encoded_lengths"]),
    ]
    graph = helper.make_graph(nodes, "other", inputs, outputs, [weight])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), folder / ENCODER)


CONFIG = '{"model_type": "nemo-conformer-tdt", "features_size": %s, "subsampling_factor": 8}'


@pytest.mark.parametrize(
    ("harm", "error", "named", "said"),
    [
        pytest.param(
            lambda f: (f / ENCODER).unlink(), ModelNotFoundError, ENCODER, "missing", id="encoder missing"
        ),
        pytest.param(
            lambda f: (f / DECODER).unlink(), ModelNotFoundError, DECODER, "missing", id="decoder missing"
        ),
        pytest.param(
            lambda f: (f / "vocab.txt").unlink(),
            ModelNotFoundError,
            "vocab.txt",
            "missing",
            id="vocabulary missing",
        ),
        pytest.param(
            lambda f: (f / "config.json").unlink(),
            ModelNotFoundError,
            "config.json",
            "missing",
            id="config missing",
        ),
        pytest.param(
            lambda f: cut(f / ENCODER), ModelCorruptError, ENCODER, "sound ONNX file", id="encoder truncated"
        ),
        pytest.param(
            lambda f: cut(f / DECODER), ModelCorruptError, DECODER, "sound ONNX file", id="decoder truncated"
        ),
        pytest.param(
            lambda f: (f / ENCODER).write_bytes(b""),
            ModelCorruptError,
            ENCODER,
            "sound ONNX file",
            id="encoder empty",
        ),
        pytest.param(
            lambda f: (f / ENCODER).write_bytes(b"<html>404</html>"),
            ModelCorruptError,
            ENCODER,
            "ONNX",
            id="encoder is a web page",
        ),
        pytest.param(
            lambda f: (f / "vocab.txt").write_bytes(b"\xff\xfe\x00"),
            ModelCorruptError,
            "vocab.txt",
            "UTF-8",
            id="vocabulary not text",
        ),
        pytest.param(
            text("vocab.txt", "a 0\nb 2\n<blk> 3\n"),
            ModelCorruptError,
            "vocab.txt, line 2",
            "and 1",
            id="vocabulary with a hole",
        ),
        pytest.param(
            text("vocab.txt", "a 0\nb\n"),
            ModelCorruptError,
            "vocab.txt, line 2",
            "expected",
            id="vocabulary line broken",
        ),
        pytest.param(
            text("vocab.txt", ""), ModelCorruptError, "vocab.txt, line 1", "expected", id="vocabulary empty"
        ),
        pytest.param(
            text("vocab.txt", "a 0\nb 1\n"), ModelMismatchError, "vocab.txt", "<blk>", id="no blank"
        ),
        pytest.param(
            text("vocab.txt", "<blk> 0\nb 1\n"), ModelMismatchError, "vocab.txt", "<blk>", id="blank not last"
        ),
        pytest.param(text("config.json", "{"), ModelCorruptError, "config.json", "", id="config truncated"),
        pytest.param(
            text("config.json", CONFIG % '"many"'),
            ModelCorruptError,
            "config.json",
            "features_size",
            id="features not a number",
        ),
        pytest.param(
            text("config.json", CONFIG % 0),
            ModelCorruptError,
            "config.json",
            "features_size",
            id="no features",
        ),
        pytest.param(
            text("config.json", CONFIG % 80), ModelMismatchError, ENCODER, "[?, 80, ?]", id="fewer features"
        ),
        pytest.param(
            text("config.json", '{"model_type": "whisper"}'),
            ModelMismatchError,
            "config.json",
            "whisper",
            id="another kind of model",
        ),
        pytest.param(
            text("model.json", '{"name": 3}'), ModelCorruptError, "model.json", "name", id="bad card"
        ),
        pytest.param(
            text("model.json", '{"name": "m", "live_confidence": 2}'),
            ModelCorruptError,
            "model.json",
            "live_confidence",
            id="too sure",
        ),
        pytest.param(
            text("model.json", '{"name": "m", "beam_size": 0}'),
            ModelCorruptError,
            "model.json",
            "beam_size",
            id="no beam at all",
        ),
        pytest.param(
            text("model.json", '{"name": "m", "word_weight": -1}'),
            ModelCorruptError,
            "model.json",
            "word_weight",
            id="words that count less than nothing",
        ),
        pytest.param(one_state_at_a_time, ModelMismatchError, DECODER, "beam_size", id="batches of one"),
        pytest.param(rename_input, ModelMismatchError, ENCODER, "audio_signal", id="input renamed"),
        pytest.param(other_vocabulary, ModelMismatchError, DECODER, "2001", id="another vocabulary"),
        pytest.param(
            encoder_of_another_size, ModelMismatchError, DECODER, "[?, 7, ?]", id="encoder of another size"
        ),
        pytest.param(
            lambda f: shutil.copy(f / DECODER, f / ENCODER),
            ModelMismatchError,
            ENCODER,
            "audio_signal",
            id="files mixed up",
        ),
    ],
)
def test_a_fault_names_the_file_and_what_was_expected(
    folder: Path, harm: Callable[[Path], None], error: type[ModelError], named: str, said: str
) -> None:
    harm(folder)
    with pytest.raises(error) as caught:
        load(folder)
    assert named in str(caught.value)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_not_there_is_named() -> None:
    with pytest.raises(ModelNotFoundError, match="/no/such/place"):
        ModelFolder.open(Path("/no/such/place"))
    with pytest.raises(ModelNotFoundError, match="embedded"):
        resolve("/no/such/place")


def test_sizes_are_read_from_the_files(folder: Path) -> None:
    model = load(folder)
    assert (model.n_mels, model.subsampling, model.vocabulary, model.durations) == (128, 8, 513, 5)
    assert model.initial_state().hidden.shape == (1, 1, 256)
    assert model.encode(np.zeros((17, 128), np.float32)).shape == (3, 144)


def test_several_states_at_once_say_what_each_says_alone(folder: Path) -> None:
    model = load(folder)
    frame = model.encode(np.random.default_rng(4).normal(size=(17, 128)).astype(np.float32))[1]
    first = model.initial_state()
    _, hidden, cell = model.joint(frame, first)
    second = DecoderState(7, hidden, cell)
    together = model.joints(frame, [first, second])
    for row, state in enumerate((first, second)):
        alone = model.joint(frame, state)
        # INT8 takes its scale from the whole batch.
        assert np.abs(together.logits[row] - alone.logits).max() < 0.05 * np.abs(alone.logits).max()
        assert np.abs(together.hidden[:, row] - alone.hidden[:, 0]).max() < 0.05


def test_batches_of_one_are_enough_for_greedy_search(folder: Path) -> None:
    one_state_at_a_time(folder)
    (folder / "model.json").unlink()
    load(folder)


def test_a_folder_without_a_card_is_called_by_its_name(folder: Path) -> None:
    (folder / "model.json").unlink()
    opened = ModelFolder.open(folder)
    assert (opened.info.name, opened.info.languages) == ("model", ())


def test_float_files_are_taken_where_there_is_no_int8(folder: Path) -> None:
    (folder / ENCODER).rename(folder / "encoder-model.onnx")
    assert ModelFolder.open(folder).encoder.name == "encoder-model.onnx"
    load(folder)


@pytest.mark.parametrize(
    ("asked", "languages", "code"),
    [
        (None, ("en",), None),
        ("  ", ("en",), None),
        ("en", ("en", "de"), "en"),
        ("EN_us", ("en", "de"), "en"),
        ("pt-PT", ("pt-BR",), "pt-BR"),
        ("xx-YY", (), "xx"),
    ],
)
def test_a_language_tag_means_the_models_own_code(
    asked: str | None, languages: tuple[str, ...], code: str | None
) -> None:
    assert ModelInfo(name="m", languages=languages).language(asked) == code


def test_a_language_that_the_model_has_not_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedError, match="'fr'; it speaks en") as caught:
        ModelInfo(name="m", languages=("en",)).language("fr-CA")
    assert caught.value.code == "unsupported-language"
