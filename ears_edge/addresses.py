"""Under which names and addresses the LAN reaches this machine. Pure: what the system says is an argument."""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, TypeAlias

IpAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_ADDRESSES: Final = 16
"""Addresses that one service announces at most: they have to fit into one packet."""
MAX_INSTANCE_NAME_BYTES: Final = 59
"""63 bytes of a DNS label (RFC 6763, section 4.1.1), less a suffix such as `-2` if the name is taken."""

_LABEL_BYTES: Final = 63
_HERE: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # not bound: stand for all
_NOT_THE_LAN: Final = re.compile(
    # Docker, Podman, LXC, libvirt, Kubernetes, Home Assistant's Supervisor; then tunnels without multicast.
    r"(docker|br-[0-9a-f]{12}$|veth|podman|cni|lxc|lxd|virbr|vnet|flannel|cali|kube|hassio|tailscale|wg|u?tun)"
)


class Interface(NamedTuple):
    """A network interface with its addresses: numeric, without scope."""

    name: str
    addresses: tuple[str, ...]


def reachable(
    interfaces: Iterable[Interface], bound: Sequence[str], only: Sequence[str] = ()
) -> tuple[str, ...]:
    """The addresses to announce for a server: of the best kind there is, IPv4 before IPv6.

    The kinds, best first: those of the LAN; those of containers and tunnels; IPv4 link-local; loopback.
    Unspecified, multicast and IPv6 link-local addresses are never announced.

    Args:
        interfaces: What this machine has.
        bound: Where the server listens: `0.0.0.0` stands for all IPv4 addresses, `::` for all IPv6 addresses.
        only: Names or addresses of interfaces to keep to; empty means all.
    """
    ranked: dict[int, list[IpAddress]] = {}
    listens = [ipaddress.ip_address(host.partition("%")[0]) for host in bound]
    for interface in interfaces:
        for text in interface.addresses:
            if only and interface.name not in only and text not in only:
                continue
            address = ipaddress.ip_address(text)
            if any(listen in (address, _any(address)) for listen in listens):
                ranked.setdefault(_rank(address, interface.name, chosen=bool(only)), []).append(address)
    for listen in listens:
        # all of 127.0.0.0/8 is this machine, though an interface names only one address of it
        if listen.is_loopback:
            ranked.setdefault(_LOOPBACK, []).append(listen)
    ranked.pop(_NEVER, None)
    best = dict.fromkeys(ranked[min(ranked)]) if ranked else {}
    return tuple(str(address) for address in sorted(best, key=lambda address: address.version))[
        :MAX_ADDRESSES
    ]


def from_here(bound: str) -> str:
    """The address by which a program on this machine reaches a server that listens on `bound`."""
    return _HERE.get(bound, bound)


def host_label(host_name: str) -> str:
    """A host name -> one DNS label of it that is fit for `LABEL.local.`."""
    label = re.sub(r"[^A-Za-z0-9-]+", "-", host_name.partition(".")[0])[:_LABEL_BYTES].strip("-")
    return label if label and label.lower() != "localhost" else "ears-edge"


def numbered(label: str, suffix: str) -> str:
    """A DNS label with a suffix such as `-2`, as long as a label may be."""
    return label[: _LABEL_BYTES - len(suffix)] + suffix


def instance_name(wanted: str, host_name: str) -> str:
    """The name people see: the wanted one, or one that stays the same as long as the host name does."""
    printable = "".join(character for character in wanted if character.isprintable()).strip()
    name = printable or f"ears_edge on {host_label(host_name)}"
    return name.encode()[:MAX_INSTANCE_NAME_BYTES].decode(errors="ignore").rstrip()


_LAN, _VIRTUAL, _LINK_LOCAL, _LOOPBACK, _NEVER = range(5)


def _rank(address: IpAddress, interface: str, *, chosen: bool) -> int:
    if (
        address.is_unspecified
        or address.is_multicast
        or (isinstance(address, ipaddress.IPv6Address) and address.is_link_local)
    ):
        return _NEVER
    if address.is_loopback:
        return _LOOPBACK
    if address.is_link_local:
        return _LINK_LOCAL
    return _VIRTUAL if not chosen and _NOT_THE_LAN.match(interface) else _LAN


def _any(address: IpAddress) -> IpAddress:
    return type(address)(0)
