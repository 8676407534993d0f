"""What is said at start: what listens where, which model serves, and what to try next."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from ears_edge.addresses import Interface, from_here, reachable
from ears_edge.models.folder import EMBEDDED, ModelInfo
from ears_edge.models.status import ModelStatus
from ears_edge.uri import host_and_port

Scheme = Literal["tcp", "ws"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """One server, as people need to know it."""

    name: str
    scheme: Scheme | None
    """None for a transport without address and port."""
    bound: tuple[str, ...] = ()
    port: int = 0
    uri: str = ""
    """Where it listens if it has no scheme."""

    def uris(self, interfaces: Iterable[Interface]) -> list[str]:
        """The addresses under which clients reach it, the one of this machine only if there is no other."""
        if self.scheme is None:
            return [self.uri]
        return [_uri(self.scheme, address, self.port) for address in reachable(interfaces, self.bound)]

    def local_uri(self) -> str:
        """The address for a client on this machine."""
        if self.scheme is None:
            return self.uri
        return _uri(self.scheme, from_here(self.bound[0] if self.bound else ""), self.port)


def lines(
    version: str,
    *,
    model: ModelInfo,
    status: ModelStatus,
    wanted: str,
    servers: Sequence[Listening],
    interfaces: Sequence[Interface],
    instance: str | None,
    program: str = "ears-edge",
) -> list[tuple[str, str]]:
    """Pairs of a short label (may be empty: goes on) and a text.

    Args:
        version: Ours.
        model: What is announced.
        status: How it stands with it.
        wanted: `model.name` of the settings.
        servers: What listens.
        interfaces: What this machine has.
        instance: The name that clients find by zeroconf; None if it is off.
        program: How our command is called from here.
    """
    languages = ", ".join(model.languages) or "not told by the model"
    text = [("", f"ears_edge {version}"), ("model", f"{model.name} (languages: {languages})")]
    if status.fault or status.phase != "ready":
        text.append(("", status.line()))
    if wanted == EMBEDDED:
        text.append(("", "the small model of the package: fit for a trial with short, clear commands;"))
        text.append(("", f"for daily use: {program} models use parakeet-tdt-0.6b-v3"))
    if not model.languages:
        text.append(("", "set model.languages: without it Home Assistant finds no language to choose"))
    for server in servers:
        uris = server.uris(interfaces) or ["this machine has no address yet"]
        text += [(server.name if index == 0 else "", uri) for index, uri in enumerate(uris)]
    text.append(("zeroconf", f"found on the network as “{instance}”" if instance else "off"))
    usable = next((server for server in servers if server.scheme), None)
    if usable:
        text.append(("try", f"{program} transcribe --server {usable.local_uri()} FILE"))
    return text


def _uri(scheme: Scheme, address: str, port: int) -> str:
    return f"{scheme}://{host_and_port(address, port)}"
