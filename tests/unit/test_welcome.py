"""The text at start names what a user needs next."""

import pytest

from ears_edge.addresses import Interface
from ears_edge.models.folder import ModelInfo
from ears_edge.models.status import ModelStatus
from ears_edge.welcome import Listening, lines

LAN = [Interface("lo", ("127.0.0.1", "::1")), Interface("eth0", ("192.168.1.5", "fd00::5"))]
ANY4, ANY6 = "0.0.0.0", "::"  # noqa: S104  # not bound
MODEL = ModelInfo(name="tiny", languages=("en", "de"))
READY = ModelStatus(wanted="tiny", serving="tiny")
WYOMING = Listening(name="Wyoming", scheme="tcp", bound=(ANY4,), port=10300)
EARS = Listening(name="eaRS", scheme="ws", bound=(ANY4, ANY6), port=8765)


def said(
    servers: list[Listening],
    *,
    wanted: str = "embedded",
    instance: str | None = "x on y",
    status: ModelStatus = READY,
) -> str:
    text = lines(
        "1.2", model=MODEL, status=status, wanted=wanted, servers=servers, interfaces=LAN, instance=instance
    )
    return "\n".join(f"{label}: {line}" for label, line in text)


def test_addresses_of_the_lan_are_named_and_the_next_command_uses_this_machines() -> None:
    text = said([WYOMING, EARS])
    assert "ears_edge 1.2" in text
    assert "model: tiny (languages: en, de)" in text
    assert "Wyoming: tcp://192.168.1.5:10300" in text
    assert "eaRS: ws://192.168.1.5:8765\n: ws://[fd00::5]:8765" in text
    assert "zeroconf: found on the network as “x on y”" in text
    assert "try: ears-edge transcribe --server tcp://127.0.0.1:10300 FILE" in text
    assert ANY4 not in text


def test_the_embedded_model_is_not_taken_for_a_large_one() -> None:
    assert "small model" in said([EARS])
    assert "for daily use: ears-edge models use parakeet" in said([EARS])
    assert "small model" not in said([EARS], wanted="/a/folder")


def test_a_model_that_is_still_on_its_way_is_told_with_who_serves_until_then() -> None:
    fetching = ModelStatus(wanted="tiny", serving="mini", phase="fetching", done=0.25)
    text = said([EARS], wanted="tiny", status=fetching)
    assert "model: tiny (languages: en, de)\n: tiny is being fetched (25%); mini serves until then" in text
    assert "being" not in said([EARS])


def test_a_transport_without_a_port_is_named_and_not_tried() -> None:
    text = said([Listening(name="Wyoming", scheme=None, uri="stdio://")], instance=None)
    assert "Wyoming: stdio://" in text
    assert "zeroconf: off" in text
    assert "try:" not in text


@pytest.mark.parametrize(
    ("bound", "uri"),
    [
        ((ANY4, ANY6), "ws://127.0.0.1:1"),
        ((ANY6,), "ws://[::1]:1"),
        (("192.168.1.5",), "ws://192.168.1.5:1"),
        (("127.0.0.7",), "ws://127.0.0.7:1"),
    ],
)
def test_a_client_on_this_machine_is_given_an_address_that_works(bound: tuple[str, ...], uri: str) -> None:
    assert Listening(name="x", scheme="ws", bound=bound, port=1).local_uri() == uri
