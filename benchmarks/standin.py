"""A stand-in for Parakeet TDT 0.6B v3: its exact architecture, graph and file layout, with random weights.

`python -m benchmarks.standin [--layers N] [FOLDER]` builds it, once, and prints its folder:
`$XDG_CACHE_HOME/ears-edge/standin-0.6b`, or below `~/.cache`. Speed, load time and memory are those of the
real model's files (encoder 651 MB, decoder_joint 18 MB); what it hears is nonsense.

The encoder is not written anew: the embedded model came out of NeMo's exporter and onnxruntime's
`quantize_dynamic`, as the real one did, so its graph is taken, widened, and given more layers. Every pattern
that a rewrite looks for is thus as it is in the real file. Source of the sizes: the model's configuration.
"""

import argparse
import math
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ears_edge.models.folder import BLANK, EMBEDDED, MODEL_TYPE, UNKNOWN, resolve

LAYERS: Final = 24
WIDTH: Final = 1024
HEADS: Final = 8
CHANNELS: Final = 256
"""Of the subsampling convolutions."""
POSITIONS: Final = 5000
"""Encoder frames for which NeMo exports position embeddings."""
MELS: Final = 128
VOCABULARY: Final = 8192
DURATIONS: Final = 5
HIDDEN: Final = 640
"""Of the predictor and of the joint network."""
PREDICTOR_LAYERS: Final = 2
RELU_GAIN: Final = 6
"""By which uniform weights keep a signal's power through a ReLU. Source: He et al. 2015, arXiv:1502.01852."""

SHARED_FROM_FIRST: Final = re.compile(r"/layers\.0/norm_out/")
"""What a layer takes from the one before it; all else that it takes from layer 0 is shared by all layers."""


def folder(layers: int = LAYERS) -> Path:
    """Where the stand-in lies, or will."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", "").strip() or Path.home() / ".cache")
    return cache / "ears-edge" / ("standin-0.6b" if layers == LAYERS else f"standin-{layers}-layers")


def ensure(target: Path | None = None, *, layers: int = LAYERS) -> Path:
    """The stand-in's folder; it is built first if it is not there: some seconds, 1.5 GB of memory."""
    target = target or folder(layers)
    if not target.is_dir():
        part = target.with_name(target.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        build(part, layers=layers)
        part.rename(target)
    return target


def build(target: Path, *, layers: int = LAYERS) -> None:
    """Write all files of the stand-in into the folder `target`."""
    rng = np.random.default_rng(0)
    template = onnx.load(resolve(EMBEDDED) / "encoder-model.int8.onnx")
    onnx.save_model(_encoder(template, layers, rng), target / "encoder-model.int8.onnx")
    onnx.save_model(_decoder_joint(rng), target / "decoder_joint-model.int8.onnx")
    pieces = [*_pieces(), BLANK]
    (target / "vocab.txt").write_text(
        "".join(f"{piece} {number}\n" for number, piece in enumerate(pieces)), encoding="utf-8"
    )
    (target / "config.json").write_text(
        f'{{"model_type": "{MODEL_TYPE}", "features_size": {MELS}, "subsampling_factor": 8}}\n',
        encoding="utf-8",
    )
    (target / "model.json").write_text(
        '{"name": "standin-0.6b", "description": "random weights in the shape of Parakeet TDT 0.6B v3"}\n',
        encoding="utf-8",
    )


def _encoder(model: onnx.ModelProto, layers: int, rng: np.random.Generator) -> onnx.ModelProto:
    graph = model.graph
    narrow = {tensor.name: tensor.dims for tensor in graph.initializer}
    width, channels = narrow["layers.0.norm_out.weight"][0], narrow["pre_encode.conv.0.bias"][0]
    heads, head = narrow["layers.0.self_attn.pos_bias_u"]
    columns = -(-MELS // 8)
    sizes = {
        width: WIDTH,
        2 * width: 2 * WIDTH,
        4 * width: 4 * WIDTH,
        heads: HEADS,
        head: WIDTH // HEADS,
        channels: CHANNELS,
        channels * columns: CHANNELS * columns,
    }
    if len(sizes) != 7:  # noqa: PLR2004  # one for each line above
        raise SystemExit("Two sizes of the embedded model are equal: they can't be told apart.")
    _repeat_layers(graph, layers)
    users: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    for node in graph.node:
        if node.op_type == "Constant":
            value = _constant(numpy_helper.to_array(node.attribute[0].t), users[node.output[0]], head, sizes)
            node.attribute[0].t.CopyFrom(numpy_helper.from_array(value))
        for attribute in node.attribute:
            if attribute.name == "group" and attribute.i > 1:
                attribute.i = sizes[attribute.i]
    # Depthwise kernels keep their size, and the mel bins are the same.
    shapes = {t.name: [sizes.get(size, size) for size in t.dims] for t in graph.initializer}
    for tensor in graph.initializer:
        weights = shapes.get(tensor.name.removesuffix("_scale") + "_quantized", [1])
        fan_in = weights[0] if len(weights) == 2 else math.prod(weights[1:])  # noqa: PLR2004  # (K, N), or a kernel
        tensor.CopyFrom(_random(tensor, shapes[tensor.name], fan_in, rng))
    graph.output[0].type.tensor_type.shape.dim[1].dim_value = WIDTH
    _widen_shapes(graph, sizes)
    return model


def _widen_shapes(graph: onnx.GraphProto, sizes: dict[int, int]) -> None:
    """Keep the shapes of tensors of rank 3, widened: without them onnxruntime fuses less."""
    known = {value.name: value for value in graph.value_info}
    del graph.value_info[:]
    for node in graph.node:
        for name in node.output:
            value = known.get(re.sub(r"^/layers\.[1-9]\d*/", "/layers.1/", name))
            kind = value and value.type.tensor_type
            if kind and kind.elem_type == TensorProto.FLOAT and len(kind.shape.dim) == 3:  # noqa: PLR2004  # as said
                copy = graph.value_info.add()
                copy.CopyFrom(value)
                copy.name = name
                for size in copy.type.tensor_type.shape.dim:
                    if size.HasField("dim_value"):
                        size.dim_value = sizes.get(size.dim_value, size.dim_value)


def _constant(
    value: np.ndarray, users: Iterable[onnx.NodeProto], head: int, sizes: dict[int, int]
) -> np.ndarray:
    """The constant of the wide model in the place of the embedded model's."""
    kinds = {user.op_type for user in users}
    if value.ndim == 3:  # noqa: PLR2004  # the table of positions; nothing else is
        return _positions()
    if value.dtype == np.int64 and kinds & {"Sub", "Add"} and value.size == 1 and value.item() > 1:
        return np.array(POSITIONS)  # the middle of that table
    if value.dtype == np.int64 and kinds == {"Concat"} and value.size == 1:  # of the shape of a Reshape
        return np.array([sizes.get(int(size), int(size)) for size in value], np.int64)
    if value.dtype == np.float32 and "Div" in kinds and math.isclose(value.item() ** 2, head, rel_tol=1e-6):
        return np.array(math.sqrt(WIDTH / HEADS), np.float32)
    return value


def _positions() -> np.ndarray:
    """(1, 2 * POSITIONS - 1, WIDTH) float32 sines. Source: NeMo, RelPositionalEncoding."""
    position = np.arange(POSITIONS - 1, -POSITIONS, -1, dtype=np.float32)[:, None]
    angle = position * np.exp(np.arange(0, WIDTH, 2, dtype=np.float32) * -(math.log(10000.0) / WIDTH))
    return np.stack((np.sin(angle), np.cos(angle)), axis=-1).reshape(1, -1, WIDTH)


def _repeat_layers(graph: onnx.GraphProto, layers: int) -> None:
    """Replace all layers behind the first by copies of the second, and put the nodes into order again."""
    have = 1 + max(int(m[1]) for node in graph.node if (m := re.match(r"/layers\.(\d+)/", node.name)))
    own = _own_nodes(graph, have)
    kept = [node for number, node in enumerate(graph.node) if number not in own]
    second = [node for number, node in enumerate(graph.node) if own.get(number) == 1]
    last = f"/layers.{have - 1}/norm_out/"
    for node in kept:
        node.input[:] = [name.replace(last, f"/layers.{layers - 1}/norm_out/") for name in node.input]
    made = {name for node in second for name in node.output}
    weights = [tensor for tensor in graph.initializer if any(tensor.name in node.input for node in second)]
    new_nodes, new_weights = list(kept), []
    own_names = made | {tensor.name for tensor in weights}
    for layer in range(1, layers):
        names = {name: _in_layer(name, layer) for name in own_names}
        for node in second:
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            copy.name = _in_layer(node.name, layer)
            copy.output[:] = [names[name] for name in node.output]
            copy.input[:] = [
                names.get(name) or SHARED_FROM_FIRST.sub(f"/layers.{layer - 1}/norm_out/", name)
                for name in node.input
            ]
            new_nodes.append(copy)
        for tensor in weights:
            copy_of = onnx.TensorProto()
            copy_of.CopyFrom(tensor)
            copy_of.name = names[tensor.name]
            new_weights.append(copy_of)
    used = {name for node in kept for name in node.input}
    rest = [tensor for tensor in graph.initializer if tensor.name in used]
    ordered = list(_ordered(new_nodes))
    del graph.node[:], graph.initializer[:]
    graph.node.extend(ordered)
    graph.initializer.extend([*rest, *new_weights])


def _in_layer(name: str, layer: int) -> str:
    """The name of a thing of layer 1 in another layer."""
    moved = re.sub(r"^(/?layers\.)1([./])", rf"\g<1>{layer}\g<2>", name)
    return moved if moved != name or layer == 1 else f"layer_{layer}/{name}"


def _own_nodes(graph: onnx.GraphProto, layers: int) -> dict[int, int]:
    """Node number -> layer behind the first, for all nodes that serve one such layer alone."""
    own = {
        number: int(m[1])
        for number, node in enumerate(graph.node)
        if (m := re.search(r"/layers\.(\d+)/", " ".join([node.name, *node.output])))
        and 0 < int(m[1]) < layers
    }
    users: dict[str, set[int]] = {}
    for number, node in enumerate(graph.node):
        for name in node.input:
            users.setdefault(name, set()).add(number)
    for number, node in enumerate(graph.node):
        if node.op_type == "Constant":
            owners = {own.get(user, 0) for user in users.get(node.output[0], ())}
            if len(owners) == 1 and (owner := owners.pop()):
                own[number] = owner
    return own


def _ordered(nodes: list[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """The nodes, each behind those that it needs."""
    makers = {name: node for node in nodes for name in node.output}
    done: set[str] = set()
    for wanted in nodes:
        stack = [wanted]
        while stack:
            node = stack[-1]
            if node.output[0] in done:
                stack.pop()
                continue
            missing = [
                makers[name] for name in node.input if name in makers and makers[name].output[0] not in done
            ]
            if missing:
                stack.extend(missing)
            else:
                done.add(stack.pop().output[0])
                yield node


def _random(like: TensorProto, shape: list[int], fan_in: int, rng: np.random.Generator) -> TensorProto:
    """A weight of the given shape in the place of `like`, distributed as torch lets a network begin.

    `fan_in` is that of the weights whose scale `like` is, if it is one.
    """
    name = like.name
    if name.endswith(("_reshape_shape", "_zero_point")):
        return like
    if like.data_type == TensorProto.INT8:
        return numpy_helper.from_array(rng.integers(-127, 128, shape, np.int8), name)
    if name.endswith("_scale"):
        # Smaller ones would let the signal fade among the biases: an encoder that hears nothing.
        spread = math.sqrt((RELU_GAIN if name.startswith("pre_encode.") else 1) / fan_in)
        return numpy_helper.from_array(np.array(spread / 127, np.float32), name)
    if re.search(r"norm_\w+\.weight$", name):
        return numpy_helper.from_array(np.ones(shape, np.float32), name)
    return numpy_helper.from_array(rng.normal(0, 0.02, shape).astype(np.float32), name)


class _Int8Graph:
    """Nodes and weights of a graph in the form that `quantize_dynamic` gives it."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[TensorProto] = []
        self._rng = rng
        self._names = Counter[str]()

    def add(self, op: str, *inputs: str, perm: list[int] | None = None, to: int | None = None) -> str:
        """A node of one output; returns the name of it."""
        self._names[op] += 1
        name = f"{op}_{self._names[op]}"
        # An attribute that is None is left out.
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=name + "_node", perm=perm, to=to))
        return name

    def weight(self, name: str, value: np.ndarray) -> str:
        """An initializer; returns its name."""
        self.weights.append(numpy_helper.from_array(value, name))
        return name

    def int8(self, name: str, *shape: int, fan_in: int) -> list[str]:
        """Names of random weights, their scale and zero point (both of rank 1 if the weights' rank is 3)."""
        lead = (1,) * (len(shape) == 3)  # noqa: PLR2004  # one direction of an LSTM
        return [
            self.weight(f"{name}_quantized", self._rng.integers(-127, 128, shape, np.int8)),
            self.weight(f"{name}_scale", np.full(lead, 1 / (127 * math.sqrt(fan_in)), np.float32)),
            self.weight(f"{name}_zero_point", np.zeros(lead, np.int8)),
        ]

    def linear(self, data: str, name: str, size_in: int, bias: np.ndarray) -> str:
        """A quantized product of as many outputs as there are biases."""
        quantized, scale, zero = (f"{data}_of_{name}_{part}" for part in ("quantized", "scale", "zero_point"))
        self.nodes.append(helper.make_node("DynamicQuantizeLinear", [data], [quantized, scale, zero]))
        weight, weight_scale, weight_zero = self.int8(name, size_in, len(bias), fan_in=size_in)
        product = self.add("MatMulInteger", quantized, weight, zero, weight_zero)
        real = self.add("Cast", product, to=TensorProto.FLOAT)
        scaled = self.add("Mul", real, self.add("Mul", scale, weight_scale))
        return self.add("Add", self.weight(f"{name}_bias", bias.astype(np.float32)), scaled)

    def lstm(self, data: str, hidden: str, cell: str, layer: int) -> str:
        """One quantized LSTM layer; hidden and cell are (layers, batch, HIDDEN). Sets its own outputs."""
        first, last = (self.weight(f"lstm{layer}_{i}", np.array([layer + i])) for i in (0, 1))
        w, w_scale, w_zero = self.int8(f"lstm{layer}_w", 1, HIDDEN, 4 * HIDDEN, fan_in=HIDDEN)
        r, r_scale, r_zero = self.int8(f"lstm{layer}_r", 1, HIDDEN, 4 * HIDDEN, fan_in=HIDDEN)
        bias = self.weight(f"lstm{layer}_b", self._rng.normal(0, 0.02, (1, 8 * HIDDEN)).astype(np.float32))
        states = [self.add("Slice", state, first, last) for state in (hidden, cell)]
        outputs = [f"lstm{layer}", f"hidden{layer}", f"cell{layer}"]
        inputs = [data, w, r, bias, "", *states, "", w_scale, w_zero, r_scale, r_zero]
        node = helper.make_node(
            "DynamicQuantizeLSTM", inputs, outputs, domain="com.microsoft", hidden_size=HIDDEN
        )
        self.nodes.append(node)
        return self.add("Squeeze", outputs[0], self.weight(f"lstm{layer}_axis", np.array([1])))


def _decoder_joint(rng: np.random.Generator) -> onnx.ModelProto:
    """Predictor and joint network in one graph, as NeMo exports them."""
    graph = _Int8Graph(rng)
    logits = VOCABULARY + 1 + DURATIONS
    embedding = graph.weight("embed_quantized", rng.integers(0, 256, (VOCABULARY + 1, HIDDEN), np.uint8))
    scale = graph.weight("embed_scale", np.array(0.02, np.float32))
    zero = graph.weight("embed_zero_point", np.array(128, np.uint8))
    encoded = graph.add("Transpose", "encoder_outputs", perm=[0, 2, 1])
    picked = graph.add("Gather", embedding, graph.add("Cast", "targets", to=TensorProto.INT64))
    data = graph.add("DequantizeLinear", graph.add("Transpose", picked, perm=[1, 0, 2]), scale, zero)
    for layer in range(PREDICTOR_LAYERS):
        data = graph.lstm(data, "input_states_1", "input_states_2", layer)
    for number, state in ((1, "hidden"), (2, "cell")):
        parts = [f"{state}{layer}" for layer in range(PREDICTOR_LAYERS)]
        graph.nodes.append(helper.make_node("Concat", parts, [f"output_states_{number}"], axis=0))
    graph.nodes.append(helper.make_node("Identity", ["target_length"], ["prednet_lengths"]))
    predicted = graph.linear(
        graph.add("Transpose", data, perm=[1, 0, 2]), "pred", HIDDEN, rng.normal(0, 0.02, HIDDEN)
    )
    heard = graph.linear(encoded, "enc", WIDTH, rng.normal(0, 0.02, HIDDEN))
    axes = [graph.weight(f"axis{axis}", np.array([axis])) for axis in (1, 2)]
    both = graph.add(
        "Add", graph.add("Unsqueeze", heard, axes[1]), graph.add("Unsqueeze", predicted, axes[0])
    )
    # Blank always wins, and the duration is left to chance: no token hangs on a last bit.
    bias = np.where(np.arange(logits) == VOCABULARY, 10.0, 0.0)
    out = graph.linear(graph.add("Relu", both), "joint_net", HIDDEN, bias)
    graph.nodes.append(helper.make_node("Identity", [out], ["outputs"]))
    number, whole = TensorProto.FLOAT, TensorProto.INT32
    states: list[str | int | None] = [PREDICTOR_LAYERS, "batch", HIDDEN]
    info = helper.make_tensor_value_info
    inputs = [
        info("encoder_outputs", number, ["batch", WIDTH, "frames"]),
        info("targets", whole, ["batch", "tokens"]),
        info("target_length", whole, ["batch"]),
        info("input_states_1", number, states),
        info("input_states_2", number, states),
    ]
    outputs = [
        info("outputs", number, ["batch", "frames", "tokens", logits]),
        info("prednet_lengths", whole, ["batch"]),
        info("output_states_1", number, states),
        info("output_states_2", number, states),
    ]
    made = helper.make_graph(list(_ordered(graph.nodes)), "main_graph", inputs, outputs, graph.weights)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(made, opset_imports=opsets, ir_version=8)


def _pieces() -> list[str]:
    """VOCABULARY made-up pieces."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    syllables = [a + b + c for a in ("", "\u2581") for b in letters for c in ("", *letters)]
    words = [a + b for a in syllables for b in ("na", "ro", "ti", "ke", "lu", "sha")]
    return list(dict.fromkeys([UNKNOWN, *letters, *syllables, *words]))[:VOCABULARY]


def main() -> None:
    """Build it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, help="where to; default: see above")
    parser.add_argument("--layers", type=int, default=LAYERS, help="fewer for a quick try (default: 24)")
    options = parser.parse_args()
    target = ensure(options.folder, layers=options.layers)
    print(target)


if __name__ == "__main__":
    main()
