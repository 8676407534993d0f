"""Start, drain, stop: with fake parts in this process, and the real daemon as a child."""

import asyncio
import io
import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import pytest

from ears_edge.audio.files import open_audio
from ears_edge.config import Config, EarsConfig, WyomingConfig
from ears_edge.daemon import build
from ears_edge.errors import ConfigError, UnavailableError
from ears_edge.lifecycle import GRACE_S, Hangup, House, Stop, keep, serve, signals
from ears_edge.servers.wyoming import WyomingServer
from ears_edge.systemd import Notifier
from tests.child import PATIENCE_S, Child
from tests.clips import OWN
from tests.fakes import FakeRecognizer
from tests.servers.wyoming_fakes import START, STOP, Client, audio

with open_audio(str(OWN / "all_lights_off.flac")) as source:
    assert (source.fmt.rate, source.fmt.width, source.fmt.channels) == (16_000, 2, 1)
    SPEECH = b"".join(source.blocks(1.0))


@dataclass
class FakeServer:
    """Notes what is done to it; lets its sessions end when the test says so."""

    refusal: ConfigError | None = None
    drained: asyncio.Event = field(default_factory=asyncio.Event)
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    calls: list[str] = field(default_factory=list)

    async def start(self) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.calls.append("start")

    async def close(self, grace_s: float, /) -> None:
        self.calls.append(f"close {grace_s:g}")
        self.closing.set()
        if grace_s > 0:
            await self.drained.wait()
        self.calls.append("closed")


@dataclass
class FakeAnnouncer:
    calls: list[str] = field(default_factory=list)

    async def start(self) -> None:
        self.calls.append("start")

    async def close(self) -> None:
        self.calls.append("close")


class Screen(io.StringIO):
    """A stream that a person looks at."""

    def isatty(self) -> bool:
        return True


class Manager:
    """The service manager's end of NOTIFY_SOCKET."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)

    async def until(self, line: str) -> list[str]:
        """What comes up to `line`, without it."""
        before: list[str] = []
        async with asyncio.timeout(PATIENCE_S):
            while (got := (await asyncio.get_running_loop().sock_recv(self._socket, 4096)).decode()) != line:
                before.append(got)
        return before

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path / "notify")
    yield manager
    manager.close()


@pytest.fixture
def notifier(manager: Manager) -> Iterator[Notifier]:
    notifier = Notifier({"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "2000"})
    yield notifier
    notifier.close()


def house(*servers: FakeServer, announcer: FakeAnnouncer | None = None) -> House:
    return House(servers=servers, announcer=lambda: announcer, ready=lambda: "all is well")


async def test_the_first_signal_completes_what_is_at_hand(manager: Manager, notifier: Notifier) -> None:
    one, two, announcer, stop = FakeServer(), FakeServer(), FakeAnnouncer(), Stop()
    kept = asyncio.create_task(keep(house(one, two, announcer=announcer), stop, notifier))
    assert await manager.until("READY=1") == ["STATUS=all is well"]
    assert (one.calls, two.calls, announcer.calls) == (["start"], ["start"], ["start"])
    stop.ask()
    assert set(await manager.until("STOPPING=1")) <= {"WATCHDOG=1"}
    await one.closing.wait()
    assert not kept.done()
    one.drained.set()
    two.drained.set()
    async with asyncio.timeout(PATIENCE_S):
        await kept
    assert one.calls == two.calls == ["start", f"close {GRACE_S:g}", "closed"]
    assert announcer.calls == ["start", "close"]


async def test_the_second_signal_cuts_what_is_at_hand(notifier: Notifier) -> None:
    stuck, stop = FakeServer(), Stop()
    kept = asyncio.create_task(keep(house(stuck), stop, notifier))
    stop.ask()
    await stuck.closing.wait()
    stop.ask()
    async with asyncio.timeout(PATIENCE_S):
        await kept
    assert stuck.calls == ["start", f"close {GRACE_S:g}", "close 0", "closed"]


async def test_a_drain_that_takes_too_long_is_cut(
    notifier: Notifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ears_edge.lifecycle.DRAIN_S", 0.01)
    stuck, stop = FakeServer(), Stop()
    stop.ask()
    async with asyncio.timeout(PATIENCE_S):
        await keep(house(stuck), stop, notifier)
    assert stuck.calls[-2:] == ["close 0", "closed"]


async def test_a_server_that_cannot_listen_ends_those_that_do(manager: Manager, notifier: Notifier) -> None:
    fine, announcer = FakeServer(), FakeAnnouncer()
    fine.drained.set()
    broken = FakeServer(refusal=ConfigError("ears.port", "8765 is taken by another program"))
    with pytest.raises(UnavailableError, match=r"ears\.port: 8765 is taken by another program"):
        await keep(house(fine, broken, announcer=announcer), Stop(), notifier)
    assert fine.calls[-2:] == ["close 0", "closed"]
    assert announcer.calls == []
    notifier.tell("STATUS", "end")
    assert await manager.until("STATUS=end") == []  # never READY


async def test_the_daemon_ends_when_there_is_nothing_left_to_serve(notifier: Notifier) -> None:
    server, done = FakeServer(), asyncio.Event()
    server.drained.set()

    async def wait_done() -> None:
        await done.wait()

    over = House(servers=[server], announcer=lambda: None, ready=lambda: "", done=wait_done)
    kept = asyncio.create_task(keep(over, Stop(), notifier))
    done.set()
    async with asyncio.timeout(PATIENCE_S):
        await kept
    assert server.calls[-1] == "closed"


async def test_the_watchdog_is_fed_only_while_the_engine_works(manager: Manager, notifier: Notifier) -> None:
    looks: list[bool] = []

    def alive() -> bool:
        looks.append(len(looks) >= 3)
        return looks[-1]

    stop = Stop()
    kept = asyncio.create_task(
        keep(House(servers=[], announcer=lambda: None, ready=lambda: "", alive=alive), stop, notifier)
    )
    await manager.until("WATCHDOG=1")
    assert looks[:4] == [False, False, False, True]
    stop.ask()
    async with asyncio.timeout(PATIENCE_S):
        await kept


async def test_an_engine_whose_decode_hangs_is_not_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ears_edge.daemon.MAX_DECODE_S", 1e-9)
    recognizer = FakeRecognizer()
    recognizer.gate.clear()
    config = Config(wyoming=WyomingConfig(uri="tcp://127.0.0.1:0"), ears=EarsConfig(enabled=False))
    async with build(config, {}, load=lambda _: recognizer) as built:
        assert built.settled is not None
        await built.settled()
        [server] = built.servers
        assert isinstance(server, WyomingServer)
        async with server, await Client.to(server.addresses[0]) as client:
            assert built.alive()
            await client.send(START, audio(SPEECH, 3_200), STOP)
            assert await asyncio.to_thread(recognizer.started.wait, PATIENCE_S)
            assert not built.alive()
            recognizer.gate.set()
            await client.until("transcript-stop")
            assert built.alive()


async def test_a_house_that_cannot_be_left_in_time_is_left_all_the_same(
    manager: Manager, notifier: Notifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ears_edge.lifecycle.DRAIN_S", 0.01)
    left = asyncio.Event()

    @asynccontextmanager
    async def stuck() -> AsyncIterator[House]:
        yield house()
        await left.wait()

    served = asyncio.create_task(serve(stuck(), notifier, left.set))
    await manager.until("READY=1")
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(PATIENCE_S):
        await served


def test_a_daemon_whose_log_nobody_reads_serves_on(tmp_path: Path) -> None:
    with Child(tmp_path) as child:
        process = child.process
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        with process.stdin, process.stdout:
            process.stderr.close()
            child.until("READY=1")
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_S) == 0


def test_the_second_signal_ends_a_daemon_whose_decode_hangs(tmp_path: Path) -> None:
    with Child(tmp_path, program=("tests.stuck_daemon",)) as child:
        port = int(child.ready()["tcp"].rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as sock, sock.makefile("rb") as answer:
            sock.sendall(START + audio(SPEECH, 3_200) + STOP)
            assert child.process.stdout is not None
            assert child.process.stdout.readline() == "decoding final\n"
            child.process.send_signal(signal.SIGTERM)
            child.until("STOPPING=1")
            child.process.send_signal(signal.SIGTERM)
            assert _heard(answer) == "error"
        status, _, err = child.ended()
    assert status == 0, err
    assert "a decode is still running" in err
    assert not (child.state / "ears" / "server.pid").exists()


async def test_when_our_terminal_goes_we_go_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", Screen())
    stop = Stop()
    with signals(stop, Hangup()):
        os.kill(os.getpid(), signal.SIGHUP)
        async with asyncio.timeout(PATIENCE_S):
            await stop.asked.wait()


async def test_signals_ask_to_stop_and_sighup_does_not(caplog: pytest.LogCaptureFixture) -> None:
    stop, hangup, reloaded = Stop(), Hangup(), asyncio.Event()
    with signals(stop, hangup):
        hangup()  # as SIGHUP before all has started
        hangup.reload = reloaded.set
        os.kill(os.getpid(), signal.SIGHUP)
        async with asyncio.timeout(PATIENCE_S):
            await reloaded.wait()
        assert not stop.asked.is_set()
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(PATIENCE_S):
            await stop.asked.wait()
        assert not stop.asked_again.is_set()
        os.kill(os.getpid(), signal.SIGINT)
        async with asyncio.timeout(PATIENCE_S):
            await stop.asked_again.wait()
    assert "SIGHUP has no effect" in caplog.text


def test_the_real_daemon_starts_tells_where_it_is_and_stops(tmp_path: Path) -> None:
    with Child(tmp_path) as child:
        before = child.until("READY=1")
        assert before[0] == "STATUS=loading the model embedded"
        assert before[-1].startswith("STATUS=model ")
        pid_file = child.state / "ears" / "server.pid"
        assert pid_file.read_text(encoding="ascii") == str(child.process.pid)
        port = int(before[-1].partition("tcp://127.0.0.1:")[2].partition(",")[0])
        with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as sock, sock.makefile("rb") as answer:
            sock.sendall(b'{"type": "describe"}\n')
            assert _heard(answer) == "info"
        child.process.send_signal(signal.SIGTERM)
        child.until("STOPPING=1")
        status, out, err = child.ended()
        assert (status, out) == (0, ""), err
        for part in (
            "model",
            "Wyoming  tcp://127.0.0.1:",
            "eaRS  ws://127.0.0.1:",
            "try  ears-edge transcribe",
        ):
            assert part in err
        assert "Traceback" not in err
        assert not pid_file.exists()


def test_an_utterance_at_hand_is_completed_after_the_first_signal(tmp_path: Path) -> None:
    with Child(tmp_path) as child:
        status = child.until("READY=1")[-1]
        port = int(status.partition("tcp://127.0.0.1:")[2].partition(",")[0])
        fmt = {"rate": 16000, "width": 2, "channels": 1}
        with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as sock, sock.makefile("rb") as answer:
            _say(sock, {"type": "audio-start", "data": fmt})
            _say(sock, {"type": "audio-chunk", "data": fmt, "payload_length": 32000}, bytes(32000))
            _say(sock, {"type": "ping"})
            assert _heard(answer) == "pong"  # all before it has been read
            child.process.send_signal(signal.SIGTERM)
            child.until("STOPPING=1")
            _say(sock, {"type": "audio-stop"})
            assert [_heard(answer) for _ in range(3)] == ["transcript-start", "transcript", "transcript-stop"]
        assert child.ended()[0] == 0


def _say(sock: socket.socket, event: dict[str, object], payload: bytes = b"") -> None:
    sock.sendall(json.dumps(event).encode() + b"\n" + payload)


def _heard(answer: BinaryIO) -> str:
    header = json.loads(answer.readline())
    answer.read(header.get("data_length", 0))
    return str(header["type"])


def test_over_stdio_only_the_protocol_is_on_standard_output_and_its_end_is_ours(tmp_path: Path) -> None:
    with Child(tmp_path, "--wyoming-uri", "stdio://", "--set", "ears.enabled=false") as child:
        status, out, err = child.ended('{"type": "describe"}\n{"type": "ping"}\n')
        assert status == 0, err
        assert json.loads(out.partition("\n")[0])["type"] == "info"
        assert '"pong"' in out
        assert "Wyoming  stdio://" in err


@pytest.mark.parametrize("flag", ["--ears-port={}", "--wyoming-uri=tcp://127.0.0.1:{}"])
def test_a_port_that_is_taken_costs_one_line_and_status_75(tmp_path: Path, flag: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        with Child(tmp_path, flag.format(port)) as child:
            status, _, err = child.ended()
    assert status == 75
    (line,) = [line for line in err.splitlines() if line.startswith("ears-edge:")]
    assert port in line
    assert "another program" in line
    assert "Traceback" not in err


def test_a_pid_file_of_a_live_server_costs_one_line_and_status_75(tmp_path: Path) -> None:
    with Child(tmp_path) as first:
        first.until("READY=1")
        with Child(tmp_path) as second:
            status, _, err = second.ended()
            assert status == 75
            assert f"already running (pid {first.process.pid})" in err
            assert "ears.pid_file = false" in err
        first.process.send_signal(signal.SIGINT)
        assert first.ended()[0] == 0


def test_a_model_that_is_not_there_costs_one_line_and_status_69(tmp_path: Path) -> None:
    with Child(tmp_path, "--model", str(tmp_path / "nowhere")) as child:
        status, _, err = child.ended()
    assert status == 69
    assert "nowhere" in err
    assert "Traceback" not in err
    assert not (child.state / "ears" / "server.pid").exists()
