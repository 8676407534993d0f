"""Which addresses are announced, as a table; names that fit into DNS."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ears_edge.addresses import (
    MAX_ADDRESSES,
    MAX_INSTANCE_NAME_BYTES,
    Interface,
    from_here,
    host_label,
    instance_name,
    numbered,
    reachable,
)

LO = Interface("lo", ("127.0.0.1", "::1"))
LAN = Interface("eth0", ("192.168.1.5", "fd00::5", "2001:db8::5", "fe80::5"))
WIFI = Interface("wlan0", ("192.168.2.5",))
DOCKER = Interface("docker0", ("172.17.0.1",))
TUNNEL = Interface("utun3", ("100.64.0.9", "fd7a::9"))
SELF_MADE = Interface("usb0", ("169.254.7.7", "fe80::7"))
ALL4, ALL6 = "0.0.0.0", "::"  # noqa: S104  # not bound


@pytest.mark.parametrize(
    ("interfaces", "bound", "only", "expected"),
    [
        pytest.param([LO, LAN], [ALL4], [], ["192.168.1.5"], id="all IPv4"),
        pytest.param([LO, LAN], [ALL6], [], ["fd00::5", "2001:db8::5"], id="all IPv6, but link-local"),
        pytest.param([LO, LAN], [ALL6, ALL4], [], ["192.168.1.5", "fd00::5", "2001:db8::5"], id="IPv4 first"),
        pytest.param([LO, LAN, WIFI], [ALL4], [], ["192.168.1.5", "192.168.2.5"], id="several"),
        pytest.param([LO, LAN, WIFI], ["192.168.2.5"], [], ["192.168.2.5"], id="bound to one"),
        pytest.param([LO, LAN], ["192.168.9.9"], [], [], id="bound to one that is gone"),
        pytest.param([LO, LAN], ["127.0.0.1"], [], ["127.0.0.1"], id="bound to loopback"),
        pytest.param([LO, LAN], ["127.0.0.7"], [], ["127.0.0.7"], id="bound to another loopback"),
        pytest.param([LO, LAN], ["::1"], [], ["::1"], id="bound to IPv6 loopback"),
        pytest.param(
            [LO, LAN], ["127.0.0.1", "192.168.1.5"], [], ["192.168.1.5"], id="loopback beside another"
        ),
        pytest.param([LO, LAN], ["fe80::5%eth0"], [], [], id="bound to IPv6 link-local"),
        pytest.param([LO], [ALL4, ALL6], [], ["127.0.0.1", "::1"], id="loopback is all there is"),
        pytest.param([LO, SELF_MADE], [ALL4, ALL6], [], ["169.254.7.7"], id="link-local is all there is"),
        pytest.param([LO, SELF_MADE, LAN], [ALL4], [], ["192.168.1.5"], id="link-local beside another"),
        pytest.param([LO, DOCKER, LAN, TUNNEL], [ALL4], [], ["192.168.1.5"], id="no containers, no tunnels"),
        pytest.param([LO, DOCKER, SELF_MADE], [ALL4], [], ["172.17.0.1"], id="a container's is all there is"),
        pytest.param([LO, DOCKER, LAN], [ALL4], ["docker0"], ["172.17.0.1"], id="chosen by name"),
        pytest.param([LO, DOCKER, LAN], [ALL4], ["192.168.1.5"], ["192.168.1.5"], id="chosen by address"),
        pytest.param(
            [DOCKER, LAN, WIFI], [ALL4], ["wlan0", "docker0"], ["172.17.0.1", "192.168.2.5"], id="two chosen"
        ),
        pytest.param([LO, LAN], [ALL4], ["eth7"], [], id="chosen, but not there"),
        pytest.param([LAN, LAN], [ALL4], [], ["192.168.1.5"], id="no address twice"),
        pytest.param([], [ALL4], [], [], id="no network at all"),
        pytest.param([LAN], [], [], [], id="not bound"),
        pytest.param(
            [Interface("br-lan", ("10.0.0.1",)), DOCKER], [ALL4], [], ["10.0.0.1"], id="a bridge of the LAN"
        ),
        pytest.param(
            [Interface("br-0123456789ab", ("10.0.0.1",)), LAN],
            [ALL4],
            [],
            ["192.168.1.5"],
            id="a bridge of Docker",
        ),
        pytest.param(
            [Interface("eth0", ("0.0.0.0", "224.0.0.1", "10.0.0.2"))],  # noqa: S104  # not bound
            [ALL4],
            [],
            ["10.0.0.2"],
            id="never unspecified nor multicast",
        ),
        pytest.param(
            [Interface("eth0", tuple(f"10.0.0.{n}" for n in range(1, 50)))],
            [ALL4],
            [],
            [f"10.0.0.{n}" for n in range(1, MAX_ADDRESSES + 1)],
            id="not more than fit",
        ),
    ],
)
def test_the_best_addresses_are_announced(
    interfaces: list[Interface], bound: list[str], only: list[str], expected: list[str]
) -> None:
    assert reachable(interfaces, bound, only) == tuple(expected)


@given(
    interfaces=st.lists(
        st.builds(
            Interface,
            st.sampled_from(["lo", "eth0", "docker0"]),
            st.lists(st.ip_addresses().map(str)).map(tuple),
        )
    ),
    bound=st.lists(st.one_of(st.just(ALL4), st.just(ALL6), st.ip_addresses().map(str))),
)
def test_nothing_unreachable_is_ever_announced(interfaces: list[Interface], bound: list[str]) -> None:
    announced = [ipaddress.ip_address(text) for text in reachable(interfaces, bound)]
    assert not any(address.is_unspecified or address.is_multicast for address in announced)
    assert len({address.is_loopback for address in announced}) <= 1
    assert len(set(announced)) == len(announced) <= MAX_ADDRESSES


@pytest.mark.parametrize(
    ("host", "label"),
    [
        ("kitchen", "kitchen"),
        ("kitchen.example.org", "kitchen"),
        ("my_box 1", "my-box-1"),
        ("küche", "k-che"),
        ("", "ears-edge"),
        ("localhost", "ears-edge"),
        ("...", "ears-edge"),
        ("x" * 80, "x" * 63),
    ],
)
def test_a_host_name_becomes_one_label(host: str, label: str) -> None:
    assert host_label(host) == label


def test_the_instance_name_is_the_wanted_one_or_made_from_the_host() -> None:
    assert instance_name("Küche", "kitchen") == "Küche"
    assert instance_name(" ", "kitchen.lan") == "ears_edge on kitchen"


@given(wanted=st.text(), host=st.text())
def test_an_instance_name_always_fits_and_is_never_empty(wanted: str, host: str) -> None:
    name = instance_name(wanted, host)
    assert 0 < len(name.encode()) <= MAX_INSTANCE_NAME_BYTES
    assert name.isprintable()


def test_a_number_is_part_of_a_label_that_still_fits() -> None:
    assert numbered("box", "-2") == "box-2"
    assert numbered("x" * 63, "-12") == "x" * 60 + "-12"


@pytest.mark.parametrize(
    ("bound", "address"),
    [("", "127.0.0.1"), (ALL4, "127.0.0.1"), (ALL6, "::1"), ("192.168.1.5", "192.168.1.5"), ("box", "box")],
)
def test_a_program_on_this_machine_asks_at_an_address_that_is_one(bound: str, address: str) -> None:
    assert from_here(bound) == address
