"""A model's graph with the look-ups that patterns are made of, and the few ways to change it."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

Array: TypeAlias = npt.NDArray[Any]  # of whatever dtype the tensor has

MAX_FOLDED_NODES: Final = 64
"""No more nodes than this are evaluated to learn one constant."""
MAX_KEPT_BYTES: Final = 65_536
"""Constants up to this size are remembered; weights are asked for once."""


class Graph:
    """Nodes found by what they make and use; never by their names. `finish` brings the model up to date."""

    def __init__(self, model: ModelProto) -> None:
        self.model = model
        # Held for good: protobuf hands out a new object for a node that nobody holds.
        self._nodes = {id(node): node for node in model.graph.node}
        self._weights = {tensor.name: tensor for tensor in model.graph.initializer}
        self._new: list[TensorProto] = []
        self._makers = {name: node for node in self._nodes.values() for name in node.output if name}
        self._users: dict[str, list[NodeProto]] = {}
        for node in self._nodes.values():
            self._listen(node)
        self._outputs = [output.name for output in model.graph.output]
        self._taken = {*self._makers, *self._weights, *(value.name for value in model.graph.input)}
        self._values: dict[str, Array] = {}

    def nodes(self, op: str) -> list[NodeProto]:
        """All nodes of an operator of the standard set, as they are now."""
        return [
            node for node in self._nodes.values() if node.op_type == op and node.domain in ("", "ai.onnx")
        ]

    def in_order(self) -> list[NodeProto]:
        """All nodes that the outputs need, as they are now, each behind those that it needs."""
        return list(self._in_order(self._outputs))

    def maker(self, name: str, op: str = "") -> NodeProto | None:
        """The node that makes a tensor, if it is of this operator; None for weights and inputs."""
        node = self._makers.get(name)
        return node if node is not None and op in ("", node.op_type) else None

    def only_user(self, name: str, op: str) -> NodeProto | None:
        """The node that alone uses a tensor, if it is of this operator."""
        users = self._users.get(name, [])
        alone = len(users) == 1 and name not in self._outputs and users[0].op_type == op
        return users[0] if alone else None

    def users(self, name: str) -> list[NodeProto]:
        """All nodes that use a tensor."""
        return list(self._users.get(name, ()))

    def value(self, name: str) -> Array | None:
        """What a tensor holds, if that follows from weights and constants alone."""
        if name not in self._values:
            value = self._evaluate(name)
            if value is None or value.nbytes > MAX_KEPT_BYTES:
                return value
            self._values[name] = value
        return self._values[name]

    def ints(self, name: str) -> list[int] | None:
        """The whole numbers in a constant tensor, in order."""
        value = self.value(name)
        return None if value is None or value.dtype.kind not in "iu" else [int(i) for i in value.reshape(-1)]

    def number(self, name: str) -> float | None:
        """The number in a constant tensor of one element."""
        value = self.value(name)
        return float(value.reshape(-1)[0]) if value is not None and value.size == 1 else None

    def constant(self, value: Array, like: str) -> str:
        """Add a weight; returns its name, which begins as `like` does."""
        name = self._fresh(like)
        tensor = numpy_helper.from_array(np.ascontiguousarray(value), name)
        self._weights[name] = tensor
        self._new.append(tensor)
        return name

    def add(self, op: str, *inputs: str, attributes: Iterable[AttributeProto] = ()) -> str:
        """Add a node of the standard set that has one output; returns the output's name."""
        return self.add_many(op, *inputs, outputs=1, attributes=attributes)[0]

    def transpose(self, name: str, perm: Sequence[int]) -> str:
        """Add a Transpose; returns the output's name."""
        return self.add("Transpose", name, attributes=[helper.make_attribute("perm", perm)])

    def add_many(
        self,
        op: str,
        *inputs: str,
        outputs: int,
        attributes: Iterable[AttributeProto] = (),
        domain: str = "",
    ) -> list[str]:
        """Add a node, of the standard set unless a domain is named; returns the names of its outputs."""
        names = [self._fresh(op) for _ in range(outputs)]
        node = helper.make_node(op, inputs, names, domain=domain)
        node.attribute.extend(attributes)
        self._take(node)
        return names

    def replace(self, old: str, new: str) -> None:
        """Let all that use `old` use `new`; what nobody needs after that is gone."""
        for node in self._users.pop(old, []):
            node.input[:] = [new if name == old else name for name in node.input]
            self._users.setdefault(new, []).append(node)
        maker = self._makers[old]
        if old in self._outputs:  # the model's outputs keep their names
            maker.output[:] = [self._fresh("unused") if name == old else name for name in maker.output]
            self._take(helper.make_node("Identity", [new], [old]))
        self._drop_unused(maker)

    def finish(self) -> None:
        """Bring the model up to date: what the outputs need, in order, and nothing else. The last call."""
        graph = self.model.graph
        nodes = list(self._in_order(self._outputs))
        used = {name for node in nodes for name in node.input}
        # The weights that stay are not touched: copying them would double the memory.
        for number in range(len(graph.initializer) - 1, -1, -1):
            if graph.initializer[number].name not in used:
                del graph.initializer[number]
        graph.initializer.extend(tensor for tensor in self._new if tensor.name in used)
        made = {name for node in nodes for name in node.output}
        for number in range(len(graph.value_info) - 1, -1, -1):
            if graph.value_info[number].name not in made:
                del graph.value_info[number]
        del graph.node[:]
        graph.node.extend(nodes)
        new = {node.domain for node in nodes} - {known.domain for known in self.model.opset_import} - {""}
        self.model.opset_import.extend(helper.make_opsetid(domain, 1) for domain in new)

    def _take(self, node: NodeProto) -> None:
        self._nodes[id(node)] = node
        self._makers |= dict.fromkeys(node.output, node)
        self._listen(node)

    def _listen(self, node: NodeProto) -> None:
        for name in node.input:
            self._users.setdefault(name, []).append(node)

    def _drop_unused(self, node: NodeProto) -> None:
        unused = [node]
        while unused:
            node = unused.pop()
            if id(node) not in self._nodes or any(
                self._users.get(name) or name in self._outputs for name in node.output
            ):
                continue
            del self._nodes[id(node)]
            for name in node.input:
                self._users[name] = [user for user in self._users.get(name, ()) if user is not node]
                if maker := self._makers.get(name):
                    unused.append(maker)

    def _in_order(self, wanted: Sequence[str]) -> Iterator[NodeProto]:
        """The nodes that make the wanted tensors, each behind those that it needs."""
        done: set[str] = set()
        stack = list(reversed(wanted))
        while stack:
            node = self._makers.get(stack[-1])
            if node is None or node.output[0] in done:
                stack.pop()
                continue
            makers = [self._makers[name] for name in node.input if name in self._makers]
            missing = [maker.output[0] for maker in makers if maker.output[0] not in done]
            stack.extend(reversed(missing))
            if not missing:
                done.add(node.output[0])
                yield node

    def _evaluate(self, name: str) -> Array | None:
        if name in self._weights:
            return numpy_helper.to_array(self._weights[name])
        nodes: list[NodeProto] = []
        for node in self._in_order([name]):
            inputs = [i for i in node.input if i]
            if len(nodes) == MAX_FOLDED_NODES or not all(
                i in self._makers or i in self._weights for i in inputs
            ):
                return None
            nodes.append(node)
        if not nodes:
            return None
        weights = {i: self._weights[i] for node in nodes for i in node.input if i in self._weights}
        wanted = helper.make_empty_tensor_value_info(name)
        made = helper.make_graph(nodes, "constants", [], [wanted], list(weights.values()))
        evaluator = ReferenceEvaluator(helper.make_model(made, opset_imports=self.model.opset_import))
        (value,) = evaluator.run(None, {})
        return np.asarray(value)

    def _fresh(self, like: str) -> str:
        number = 0
        while (name := f"{like}.{number}") in self._taken:
            number += 1
        self._taken.add(name)
        return name
