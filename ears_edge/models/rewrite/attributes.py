"""Attributes of nodes."""

from onnx import NodeProto


def ints(node: NodeProto, name: str, default: list[int]) -> list[int]:
    """An attribute of whole numbers (one or several)."""
    for attribute in node.attribute:
        if attribute.name == name:
            return list(attribute.ints) or [attribute.i]
    return default


def text(node: NodeProto, name: str, default: str) -> str:
    """An attribute that is a word."""
    return next((a.s.decode() for a in node.attribute if a.name == name), default)


def group(conv: NodeProto) -> int:
    """Of how many groups of channels a convolution keeps apart."""
    return ints(conv, "group", [1])[0]
