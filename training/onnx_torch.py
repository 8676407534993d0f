"""Run the ONNX graph of Kokoro-82M with PyTorch: one generated function whose cost is its kernel launches.

The graph comes quantized for a CPU. Here its weights are made float32 again and its activations are not
quantized at all, shapes stay Python integers, and the long chains that an exporter writes become one call
each. What is relied on, because the exporter fixed it: a batch of one utterance, and no input but its length
that decides a shape, except the predicted durations. To fetch their sum is the only wait for the device.
"""

import importlib
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import permutations
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

Array = npt.NDArray[Any]
Pattern = str | float | tuple[Any, ...]
"""A value's name to bind ("_": any value), a constant, or (operation, *patterns of its inputs)."""

_SCALE: Pattern = ("Mul", ("DynamicQuantizeLinear", "x"), "scale")
_ROUNDED: Pattern = ("Reshape", ("Cast", ("Floor", ("Div", "bias", _SCALE))))
_INTEGER: list[tuple[str, Pattern]] = []
"""The operations on integers, with the products of scales that make floats of their results."""
for _op in ("MatMul", "Conv"):
    _sum: Pattern = (_op + "Integer", ("DynamicQuantizeLinear", "x"), "w", "_", "zero")
    _INTEGER += ((_op, ("Mul", ("Cast", total), _SCALE)) for total in (_sum, ("Add", _sum, _ROUNDED)))
_DEVIATION: Pattern = ("Sub", "x", ("ReduceMean", "x", "axis"))
_VARIANCE: Pattern = ("ReduceMean", ("Mul", _DEVIATION, _DEVIATION), "axis")
_INSTANCE_NORM: Pattern = (
    "Add",
    ("Mul", "gain", ("Div", _DEVIATION, ("Sqrt", ("Add", _VARIANCE, "epsilon")))),
    "shift",
)
_SNAKE: Pattern = ("Add", "x", ("Mul", "c", ("Pow", ("Sin", ("Mul", "a", "x")), 2.0)))
_ATAN: Pattern = ("Atan", ("Div", "y", "x"))
_FUSIONS: dict[str, Pattern] = {
    # One utterance fills its batch, so the mask, which is left out, hides nothing.
    "Attention": (
        "MatMul",
        ("Softmax", ("Add", ("MatMul", ("Mul", "q", "_"), ("Mul", "k", "_")), "_")),
        "v",
    ),
    "Atan2": (
        "Where",
        ("Less", "x", 0.0),
        ("Where", ("Greater", "y", 0.0), ("Add", _ATAN, "_"), ("Sub", _ATAN, "_")),
        _ATAN,
    ),
    "Hypot": ("Sqrt", ("Add", ("Pow", "x", 2.0), ("Pow", "y", 2.0))),
    # The first samples are divided by the sum of the windows over them, where that is not zero.
    "Unwindow": (
        "ScatterND",
        "x",
        "_",
        ("Reshape", ("Div", ("Gather", "x", "_"), ("Gather", ("Slice", "window"), "_"))),
    ),
    "Lstm": (
        "Reshape",
        ("Transpose", ("DynamicQuantizeLSTM", "x", "w", "r", "b", *"____", "ws", "wz", "rs", "rz")),
    ),
    # To torch's expand -1 says what 1 says to ONNX.
    "Identity": ("Where", ("Equal", "x", "_"), "_", "x"),
}
_CALLS = {
    "Add": "{0} + {1}",
    "And": "{0} & {1}",
    "Atan2": "torch.atan2({1}, {0})",
    "Attention": "functional.scaled_dot_product_attention({0}, {1}.mT, {2})",
    "Cast": "{0}.to(types[{to}])",
    "Clip": "{0}.clamp_min({1})",
    "Cos": "torch.cos({0})",
    "CumSum": "{0}.cumsum({1})",
    "Div": "{0} / {1}",
    "Exp": "torch.exp({0})",
    "Expand": "{0}.expand({1})",
    "FastGelu": "functional.gelu({0}, approximate='tanh')",
    "Floor": "torch.floor({0})",
    "FusedMatMul": "torch.matmul({0}.mT, {1})",
    "Greater": "{0} > {1}",
    "GreaterOrEqual": "{0} >= {1}",
    "Hypot": "torch.hypot({0}, {1})",
    "Identity": "{0}",
    "InstanceNorm": "torch.batch_norm({0}, {1}, {2}, None, None, True, 0.0, {3}, False)",
    "LayerNormalization": "torch.layer_norm({0}, {1}.shape, {1}, {2}, {epsilon})",
    "LeakyRelu": "functional.leaky_relu({0}, {alpha})",
    "Less": "{0} < {1}",
    "MatMul": "torch.matmul({0}, {1})",
    "Mul": "{0} * {1}",
    "Pad": "functional.pad({0}, ({1}[2], {1}[5]), mode='reflect')",
    "Pow": "{0} ** {1}",
    "Range": "torch.arange({0}, {1}.item(), {2}, device=device)",
    "ReduceMean": "{0}.mean({1}, keepdim=bool({keepdims}))",
    "ReduceSum": "{0}.sum({1}, keepdim=bool({keepdims}))",
    "Reshape": "{0}.reshape({1})",
    "Round": "torch.round({0})",
    "STFT": "stft({0}, {1}, {2}, {3})",
    "Shape": "{0}.shape",
    "Sigmoid": "torch.sigmoid({0})",
    "Sin": "torch.sin({0})",
    "SkipLayerNormalization": "torch.layer_norm({0} + {1}, {2}.shape, {2}, {3}, {epsilon})",
    "Snake": "snake({0})",
    "Split": "{0}.split({1}, {axis})",
    "Sqrt": "torch.sqrt({0})",
    "Squeeze": "{0}.squeeze({1})",
    "Sub": "{0} - {1}",
    "Tanh": "torch.tanh({0})",
    "Transpose": "{0}.permute({perm})",
    "Unsqueeze": "{0}.unsqueeze({1})",
    "Unwindow": "unwindow({0}, {1})",
}
"""Python for an operation: {0} is its first input, {axis} an attribute. Others are methods of `_Writer`."""
_SHAPE_CALLS = {"Gather": "{0}[{1}]", "Identity": "{0}", "Unsqueeze": "({0},)"}
"""The same for what computes with shapes, which are tuples."""
_TYPES = {1: torch.float32, 7: torch.int64}
_GATES = (0, 2, 3, 1)
"""ONNX orders the gates of an LSTM i o f c, torch i f c o."""


@dataclass(slots=True)
class _Node:
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class _Linear:
    """A product of `x` with static weights (inputs, outputs); a column has the shape (1, outputs, 1)."""

    x: str
    weight: Array
    bias: Array
    column: bool = False


class TorchGraph:
    """The model on `device`, called with {input: array}; `source` is the function that it executes."""

    def __init__(self, model: bytes, device: str) -> None:
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = False  # hardly any two utterances have the same length
        graph = _Graph(model)
        graph.dequantize()
        graph.fuse()
        graph.join_linear()
        self._device = device
        self._inputs = graph.inputs
        self.source, names = _Writer(graph, device).write()
        exec(self.source, names)  # noqa: S102  written above
        self._run = names["run"]

    def __call__(self, feeds: dict[str, Array]) -> list[Array]:
        """Run the model -> its outputs."""
        with torch.inference_mode():
            tensors = [
                torch.from_numpy(feeds[name]).to(self._device, non_blocking=True) for name in self._inputs
            ]
            return [output.cpu().numpy() for output in self._run(*tensors)]


class _Graph:
    """The nodes in the order of execution and the static values; its methods rewrite them into fewer."""

    def __init__(self, model: bytes) -> None:
        onnx = importlib.import_module("onnx")
        proto = onnx.load_model_from_string(model).graph
        self.static: dict[str, Array] = {i.name: onnx.numpy_helper.to_array(i) for i in proto.initializer}
        self.inputs: list[str] = [i.name for i in proto.input]
        self.outputs: list[str] = [o.name for o in proto.output]
        self.nodes = [
            _Node(
                node.op_type,
                tuple(node.input),
                tuple(node.output),
                {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute},
            )
            for node in proto.node
        ]
        self._prune()

    def dequantize(self) -> None:
        """Make the weights float32 and take the quantization of activations out."""
        for node in self.nodes:
            for op, pattern in _INTEGER:
                if found := self._match(pattern, node.outputs[0], {}):
                    name = found["w"] + ".float"
                    if name not in self.static:
                        self.static[name] = self._float(found["w"], found["scale"], found["zero"])
                    node.op, node.attributes = op, self._users[found["w"]][0].attributes
                    node.inputs = (found["x"], name, *((found["bias"],) if "bias" in found else ()))
            if node.op == "DequantizeLinear":  # rows of a table: make the table float32 instead
                gather = self._producer[node.inputs[0]]
                name = node.outputs[0] + ".table"
                self.static[name] = self._float(gather.inputs[0], *node.inputs[1:])
                node.op, node.inputs, node.attributes = "Gather", (name, gather.inputs[1]), gather.attributes
        self._prune()

    def fuse(self) -> None:
        """Replace the chains that `_FUSIONS` lists."""
        for node in self.nodes:
            for op, pattern in _FUSIONS.items():
                if found := self._match(pattern, node.outputs[0], {}):
                    node.op, node.inputs = op, tuple(found.values())
                    break
            if node.op == "Unwindow":
                window = self.static[node.inputs[1]]
                self.static[node.inputs[1]] = np.where(window > np.finfo(np.float32).tiny, window, 1)
        self._prune()

    def join_linear(self) -> None:
        """Join all products of one value with static weights, and what is done to them, into one product.

        These are the queries, keys and values of the attention, and the gains and shifts that normalizations
        take from the style; knowing those, a normalization is one call and a Snake activation two.
        """
        linear = self._linear()
        for node in self.nodes:
            self._normalize(node, linear)
            self._activate(node, linear)
        self._prune()
        wanted = {name for node in self.nodes if node.outputs[0] not in linear for name in node.inputs}
        flat = {name for node in self.nodes if node.op == "InstanceNorm" for name in node.inputs[1:3]}
        nodes: list[_Node] = []
        joined: set[str] = set()
        for node in self.nodes:
            part = linear.get(node.outputs[0])
            if part is None:
                nodes.append(node)
            elif part.x not in joined:
                joined.add(part.x)
                parts = {name: p for name, p in linear.items() if p.x == part.x and name in wanted}
                attributes = {
                    "weight": np.concatenate([p.weight for p in parts.values()], axis=1),
                    "bias": np.concatenate([p.bias for p in parts.values()]),
                    "sizes": tuple(len(p.bias) for p in parts.values()),
                    "columns": [name for name, p in parts.items() if p.column and name not in flat],
                    "flat": any(p.column for p in parts.values()),
                }
                nodes.append(_Node("Linear", (part.x,), tuple(parts), attributes))
        self.nodes = nodes

    def _linear(self) -> dict[str, _Linear]:
        linear: dict[str, _Linear] = {}
        for node in self.nodes:
            first, *rest = node.inputs
            if node.op == "Add" and first in self.static:
                first, *rest = rest[0], first
            part, other = linear.get(first), self.static.get(rest[0]) if rest else None
            out = node.outputs[0]
            if node.op == "MatMul" and other is not None:
                linear[out] = _Linear(first, other, np.zeros(other.shape[1], np.float32))
            elif part is None or other is None:
                continue
            elif node.op == "Add":
                linear[out] = _Linear(part.x, part.weight, part.bias + other.ravel(), part.column)
            elif node.op == "FastGelu":
                part.bias, node.inputs = part.bias + other, (first,)
            elif node.op == "Unsqueeze":  # of a style's product, which is one row
                linear[out] = _Linear(part.x, part.weight, part.bias, column=True)
            elif node.op == "Split":
                at = np.cumsum(other)[:-1]
                pieces = zip(np.split(part.weight, at, axis=1), np.split(part.bias, at), strict=True)
                for name, (weight, bias) in zip(node.outputs, pieces, strict=True):
                    linear[name] = _Linear(part.x, weight, bias, part.column)
        return linear

    def _normalize(self, node: _Node, linear: dict[str, _Linear]) -> None:
        found = self._match(_INSTANCE_NORM, node.outputs[0], {})
        if found and self.static[found["axis"]].tolist() == [2] and found["gain"] in linear:
            node.op = "InstanceNorm"
            node.inputs = tuple(found[name] for name in ("x", "gain", "shift", "epsilon"))
            source = self._producer[found["x"]]
            if source.op == "Conv" and {user.op for user in self._users[found["x"]]} == {"Sub", "ReduceMean"}:
                source.inputs = source.inputs[:2]  # the bias goes with the mean

    def _activate(self, node: _Node, linear: dict[str, _Linear]) -> None:
        """Turn x + sin(a x)^2 / a into u + sin(u)^2: a goes to what makes x, 1 / a to what takes this."""
        found = self._match(_SNAKE, node.outputs[0], {})
        if not found or self._producer[found["x"]].op != "InstanceNorm":
            return
        rate = self.static[found["a"]].ravel()
        node.op, node.inputs = "Snake", (found["x"],)
        for name in self._producer[found["x"]].inputs[1:3]:
            linear[name].weight = linear[name].weight * rate
            linear[name].bias = linear[name].bias * rate
        (conv,) = self._users[node.outputs[0]]
        weight = conv.outputs[0] + ".weight"
        self.static[weight] = self.static[conv.inputs[1]] / rate[:, None]
        conv.inputs = (conv.inputs[0], weight, *conv.inputs[2:])

    def _float(self, values: str, scale: str, zero: str) -> Array:
        difference = self.static[values].astype(np.int32) - self.static[zero].astype(np.int32)
        return (difference * self.static[scale]).astype(np.float32)

    def _match(self, pattern: Pattern, value: str, found: dict[str, str]) -> dict[str, str] | None:
        """What a value that is computed as the pattern says binds to the pattern's names, besides `found`."""
        if isinstance(pattern, str):
            if pattern == "_":
                return found
            return found | {pattern: value} if found.get(pattern, value) == value else None
        if isinstance(pattern, float):
            return found if value in self.static and self.static[value].tolist() == pattern else None
        node = self._producer.get(value)
        if node is None or node.op != pattern[0] or len(node.inputs) < len(pattern) - 1:
            return None
        orders = permutations(node.inputs) if node.op in {"Add", "Mul"} else [node.inputs]
        for order in orders:
            bound: dict[str, str] | None = found
            for part, name in zip(pattern[1:], order, strict=False):
                bound = None if bound is None else self._match(part, name, bound)
            if bound is not None:
                return bound
        return None

    def _prune(self) -> None:
        """Drop what no output needs, and look up anew who makes and who uses each value."""
        needed = set(self.outputs)
        for node in reversed(self.nodes):
            if not needed.isdisjoint(node.outputs):
                needed.update(node.inputs)
        self.nodes = [node for node in self.nodes if not needed.isdisjoint(node.outputs)]
        self._producer = {name: node for node in self.nodes for name in node.outputs}
        self._users: defaultdict[str, list[_Node]] = defaultdict(list)
        for node in self.nodes:
            for name in node.inputs:
                self._users[name].append(node)


class _Writer:
    """Writes the function `run`. Values are its local variables, or Python integers and tuples: shapes."""

    def __init__(self, graph: _Graph, device: str) -> None:
        self._graph = graph
        self._device = device
        self._shapes: set[str] = set()
        self._variables: dict[str, str] = {}
        self._names: dict[str, Any] = {
            "torch": torch,
            "functional": functional,
            "types": _TYPES,
            "device": device,
            "snake": _snake,
            "stft": _stft,
            "unwindow": _unwindow,
        }

    def write(self) -> tuple[str, dict[str, Any]]:
        """The source of `run(*inputs) -> outputs`, and the globals that it needs."""
        graph = self._graph
        last = {name: node.outputs[0] for node in graph.nodes for name in (*node.inputs, *node.outputs)}
        ends: defaultdict[str, list[str]] = defaultdict(list)
        for name, end in last.items():
            if name and name not in graph.static and name not in graph.outputs:
                ends[end].append(name)
        lines = [f"def run({', '.join(map(self._variable, graph.inputs))}):"]
        for node in graph.nodes:
            if self._is_shape(node):
                self._shapes.update(node.outputs)
                self._variables[node.outputs[0]] = self._shape_expression(node)
                continue
            outputs = ", ".join(map(self._variable, node.outputs))
            lines.append(f"    {outputs} = {self._expression(node)}")
            columns = map(self._variable, node.attributes.get("columns", ()))
            lines += [f"    {column} = {column}[None, :, None]" for column in columns]
            if node.op == "Shape":
                self._shapes.update(node.outputs)
            if dead := [self._variable(name) for name in ends[node.outputs[0]] if name not in self._shapes]:
                lines.append(f"    del {', '.join(dead)}")
        lines.append(f"    return ({', '.join(map(self._variable, graph.outputs))},)")
        return "\n".join(lines), self._names

    def _is_shape(self, node: _Node) -> bool:
        """Whether the node computes with shapes only, so that its expression can stand where it is used."""
        known = [name in self._shapes for name in node.inputs]
        static = [name in self._graph.static for name in node.inputs]
        return any(known) and sum(known + static) == len(known) and (known[0] or node.op == "Concat")

    def _shape_expression(self, node: _Node) -> str:
        inputs = [self._operand(name) for name in node.inputs]
        if node.op != "Concat":
            return _SHAPE_CALLS[node.op].format(*inputs)
        parts = zip(node.inputs, inputs, strict=True)
        return f"({', '.join('*' + text if name in self._shapes else text for name, text in parts)})"

    def _expression(self, node: _Node) -> str:
        if node.op not in _CALLS:
            return getattr(self, "_" + node.op.lower())(node)
        return _CALLS[node.op].format(*map(self._operand, node.inputs), **node.attributes)

    def _variable(self, name: str) -> str:
        return self._variables.setdefault(name, f"v{len(self._variables)}")

    def _constant(self, value: object) -> str:
        name = f"c{len(self._names)}"
        self._names[name] = value
        return name

    def _tensor(self, value: str | Array) -> str:
        """A value on the device."""
        if isinstance(value, str):
            if value not in self._graph.static:
                return self._variable(value)
            value = self._graph.static[value]
        return self._constant(torch.tensor(value, device=self._device))

    def _operand(self, name: str) -> str:
        """A value on the device or, of what is static, a number or a list of integers."""
        static = self._graph.static.get(name)
        if static is not None and static.size == 1:
            return repr(static.item())
        return repr(static.tolist()) if static is not None and _is_list(static) else self._tensor(name)

    def _concat(self, node: _Node) -> str:
        return f"torch.cat(({', '.join(map(self._tensor, node.inputs))}), {node.attributes['axis']})"

    def _conv(self, node: _Node) -> str:
        (stride,), (pad, end), (dilation,) = (node.attributes[a] for a in ("strides", "pads", "dilations"))
        if pad != end:
            raise NotImplementedError("pads that differ")
        inputs = ", ".join([*map(self._tensor, node.inputs), "None"][:3])
        group = node.attributes["group"]
        if node.op == "Conv":
            return f"torch.conv1d({inputs}, {stride}, {pad}, {dilation}, {group})"
        (extra,) = node.attributes.get("output_padding", [0])
        return f"torch.conv_transpose1d({inputs}, {stride}, {pad}, {extra}, {group}, {dilation})"

    _convtranspose = _conv

    def _gather(self, node: _Node) -> str:
        data, index = map(self._operand, node.inputs)
        if node.inputs[1] in self._graph.static:
            return f"{data}.select({node.attributes['axis']}, {index})"
        return f"functional.embedding({index}, {data})"

    def _linear(self, node: _Node) -> str:
        a = node.attributes
        weight, bias = self._tensor(np.ascontiguousarray(a["weight"].T)), self._tensor(a["bias"])
        product = f"functional.linear({self._tensor(node.inputs[0])}, {weight}, {bias})"
        product += "[0]" if a["flat"] else ""
        return product if len(a["sizes"]) == 1 else f"{product}.split({a['sizes']}, -1)"

    def _lstm(self, node: _Node) -> str:
        """A bidirectional LSTM whose state begins with zeros."""
        static = [self._graph.static[name] for name in node.inputs[1:]]
        size = static[1].shape[1]
        lstm = torch.nn.LSTM(static[0].shape[1], size, bidirectional=True).requires_grad_(requires_grad=False)
        flat = iter(lstm.parameters())
        for direction in range(2):
            values, recurrent, bias, *scales = (array[direction] for array in static)
            for weight, scale, zero in ((values, *scales[:2]), (recurrent, *scales[2:])):
                next(flat).copy_(_gates((weight.T.astype(np.float32) - zero) * scale))
            for half in np.split(bias, 2):
                next(flat).copy_(_gates(half))
        lstm.to(self._device)  # cuDNN wants the weights in one piece, which this makes of them
        weights = self._constant(list(lstm.parameters()))
        state = self._constant((torch.zeros(2, 1, size, device=self._device),) * 2)
        x = self._tensor(node.inputs[0])
        return f"torch.lstm({x}, {state}, {weights}, True, 1, 0.0, False, True, False)[0]"

    def _resize(self, node: _Node) -> str:
        scale, mode = self._graph.static[node.inputs[2]].item(-1), node.attributes["mode"].decode()
        return f"functional.interpolate({self._tensor(node.inputs[0])}, scale_factor={scale}, mode='{mode}')"

    def _slice(self, node: _Node) -> str:
        x, start, end, axis, *_ = node.inputs
        stop = f"{self._operand(end)}[0]" if end in self._shapes else self._operand(end)
        before = ":, " * self._graph.static[axis].item()
        return f"{self._tensor(x)}[{before}{self._operand(start)}:{stop}]"


def _is_list(static: Array) -> bool:
    return static.ndim == 1 and static.dtype == np.int64


def _gates(weights: Array) -> torch.Tensor:
    gates = np.split(weights, 4)
    return torch.from_numpy(np.concatenate([gates[number] for number in _GATES]))


def _snake(x: torch.Tensor) -> torch.Tensor:
    """Add sin(x)^2, in place: nothing else uses what a normalization returns."""
    sine = torch.sin(x)
    return x.addcmul_(sine, sine)


def _stft(x: torch.Tensor, step: int, window: torch.Tensor, length: int) -> torch.Tensor:
    """Transform -> (1, frames, bins, 2)."""
    spectrum = torch.stft(x, length, step, length, window, center=False, return_complex=True)
    return torch.view_as_real(spectrum).transpose(1, 2)


def _unwindow(x: torch.Tensor, window: torch.Tensor) -> torch.Tensor:
    """Divide the first samples, in place: nothing else uses them."""
    x[:, : len(window)].div_(window)
    return x
