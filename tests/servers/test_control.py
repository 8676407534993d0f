"""The control socket: the real command's side against the real server, and what others may send."""

import asyncio
import json
import socket
import stat
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ears_edge import control
from ears_edge.config import ControlConfig
from ears_edge.errors import ModelError, ModelNotFoundError, UnavailableError
from ears_edge.models.status import ModelStatus, Phase
from ears_edge.servers import control as server_side
from ears_edge.servers.control import MAX_CONNECTIONS, ControlServer

PATIENCE_S = 30.0


class FakeWishes:
    """Takes one wish at a time; the test says how it goes."""

    def __init__(self) -> None:
        self.status = ModelStatus(wanted="old", serving="old")
        self.names: list[str] = []
        self.wished = asyncio.Event()
        self._changed = asyncio.Event()

    def change(self) -> Awaitable[object]:
        return self._changed.wait()

    async def use(self, name: str) -> Callable[[], bool]:
        if name == "nowhere":
            raise ModelNotFoundError("there is no model 'nowhere'")
        self.names.append(name)
        self.tell("loading")
        self.wished.set()
        return lambda: self.names[-1] == name

    def tell(self, phase: Phase, serving: str = "old", done: float | None = None, fault: str = "") -> None:
        self.status = ModelStatus(wanted=self.names[-1], serving=serving, phase=phase, done=done, fault=fault)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


@pytest.fixture
def short_path() -> Iterator[Path]:
    """Names of Unix sockets have about a hundred characters at most."""
    with tempfile.TemporaryDirectory(prefix="ee") as folder:
        yield Path(folder) / "made" / "control.sock"


@pytest.fixture
def wishes() -> FakeWishes:
    return FakeWishes()


@asynccontextmanager
async def serving(path: Path, wishes: FakeWishes) -> AsyncIterator[ControlConfig]:
    server = ControlServer(path, wishes)
    await server.start()
    try:
        yield ControlConfig(socket=str(path))
    finally:
        await server.close(0.0)
        await server.close(0.0)
    assert not server._tasks


async def talk(path: Path, line: bytes) -> list[dict[str, object]]:
    """Send one line; all answers up to the end."""
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        writer.write(line)
        async with asyncio.timeout(PATIENCE_S):
            return [json.loads(answer) for answer in (await reader.read()).splitlines()]
    except ConnectionError:
        return []
    finally:
        writer.close()


def mode(path: Path) -> int | None:
    return stat.S_IMODE(path.stat().st_mode) if path.exists() else None


async def test_a_wish_is_followed_until_it_is_fulfilled(short_path: Path, wishes: FakeWishes) -> None:
    async with serving(short_path, wishes) as config:
        using = asyncio.create_task(asyncio.to_thread(lambda: list(control.use(config, "big"))))
        await wishes.wished.wait()
        await asyncio.sleep(0)
        wishes.tell("ready", serving="big")
        seen = await using
        assert seen[-1] == ModelStatus(wanted="big", serving="big")
        assert wishes.names == ["big"]


async def test_a_wish_that_fails_ends_with_the_fault(short_path: Path, wishes: FakeWishes) -> None:
    async with serving(short_path, wishes) as config:
        using = asyncio.create_task(asyncio.to_thread(lambda: list(control.use(config, "big"))))
        await wishes.wished.wait()
        wishes.tell("failed", fault="no room")
        assert (await using)[-1].fault == "no room"


async def test_a_model_that_there_is_not_is_an_error_with_its_code(
    short_path: Path, wishes: FakeWishes
) -> None:
    async with serving(short_path, wishes) as config:
        with pytest.raises(ModelError, match="no model 'nowhere'") as refused:
            await asyncio.to_thread(lambda: list(control.use(config, "nowhere")))
        assert refused.value.code == "model-not-found"


async def test_who_is_overtaken_by_another_wish_is_told(short_path: Path, wishes: FakeWishes) -> None:
    async with serving(short_path, wishes) as config:
        first = asyncio.create_task(asyncio.to_thread(lambda: list(control.use(config, "big"))))
        await wishes.wished.wait()
        await wishes.use("other")
        with pytest.raises(ModelError, match="another model than big is wanted now") as overtaken:
            await first
        assert overtaken.value.code == "superseded"


async def test_the_status_can_be_asked(short_path: Path, wishes: FakeWishes) -> None:
    async with serving(short_path, wishes):
        [answer] = await talk(short_path, b'{"type": "status"}\n')
        assert (answer["type"], answer["serving"], answer["phase"]) == ("status", "old", "ready")


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"\n", "bad-message"),
        (b"hello\n", "bad-message"),
        (b"[1]\n", "bad-message"),
        (b"\xff\xfe\n", "bad-message"),
        (b'{"type": "use"}\n', "unknown-type"),
        (b'{"type": "use", "name": 7}\n', "unknown-type"),
        (b'{"type": "dance"}\n', "unknown-type"),
        (b"x" * 100_000, "bad-message"),
    ],
)
async def test_nonsense_is_answered_once_and_costs_nothing(
    short_path: Path, wishes: FakeWishes, line: bytes, code: str
) -> None:
    async with serving(short_path, wishes):
        [answer] = await talk(short_path, line)
        assert (answer["type"], answer["code"]) == ("error", code)
        assert len(await talk(short_path, b'{"type": "status"}\n')) == 1


async def test_who_says_nothing_is_let_go(
    short_path: Path, wishes: FakeWishes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_side, "REQUEST_S", 0.01)
    async with serving(short_path, wishes):
        [answer] = await talk(short_path, b"")
        assert answer["code"] == "bad-message"


async def test_there_are_only_so_many_at_once_and_those_who_leave_make_room(
    short_path: Path, wishes: FakeWishes
) -> None:
    async with serving(short_path, wishes):
        waiting = []
        for _ in range(MAX_CONNECTIONS):
            reader, writer = await asyncio.open_unix_connection(short_path)
            writer.write(b'{"type": "use", "name": "big"}\n')
            waiting.append((reader, writer))
            assert await reader.readline()
        assert await talk(short_path, b'{"type": "status"}\n') == []
        for _, writer in waiting:
            writer.close()
            await writer.wait_closed()
        async with asyncio.timeout(PATIENCE_S):
            while not await talk(short_path, b'{"type": "status"}\n'):
                pass


async def test_only_the_owner_and_the_group_may_ask_and_the_file_goes_with_the_server(
    short_path: Path, wishes: FakeWishes
) -> None:
    async with serving(short_path, wishes):
        assert mode(short_path) == 0o660
        assert mode(short_path.parent) == 0o700
    assert mode(short_path) is None


async def test_what_another_daemon_has_is_left_to_it(
    short_path: Path, wishes: FakeWishes, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(short_path, wishes) as config:
        async with serving(short_path, FakeWishes()):
            assert "another server listens" in caplog.text
        using = asyncio.create_task(asyncio.to_thread(lambda: list(control.use(config, "big"))))
        await wishes.wished.wait()
        wishes.tell("ready", serving="big")
        await using


async def test_a_daemon_that_ends_tells_nobody_wrong_things(short_path: Path, wishes: FakeWishes) -> None:
    async with serving(short_path, wishes) as config:
        using = asyncio.create_task(asyncio.to_thread(lambda: list(control.use(config, "big"))))
        await wishes.wished.wait()
    with pytest.raises(UnavailableError, match="closed the connection"):
        await using


def test_without_a_daemon_the_user_is_told_what_to_do(short_path: Path) -> None:
    with pytest.raises(UnavailableError, match="Start it"):
        next(control.use(ControlConfig(socket=str(short_path)), "big"))
    with pytest.raises(UnavailableError, match="no running daemon answers"):
        next(control.use(ControlConfig(), "big", {}))


def test_another_program_at_the_socket_is_not_taken_for_ours(short_path: Path) -> None:
    short_path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(short_path))
        other.listen()
        using = control.use(ControlConfig(socket=str(short_path)), "big")

        def greet() -> None:
            connection, _ = other.accept()
            with connection:
                connection.sendall(b"220 mail\r\n")

        thread = threading.Thread(target=greet)
        thread.start()
        with pytest.raises(UnavailableError, match="no daemon of ours"):
            next(using)
        thread.join(PATIENCE_S)


@pytest.mark.parametrize(
    ("config", "env", "path"),
    [
        (ControlConfig(socket="/x/s"), {"RUNTIME_DIRECTORY": "/run/e"}, "/x/s"),
        (ControlConfig(), {"RUNTIME_DIRECTORY": "/run/e:/run/f", "HOME": "/h"}, "/run/e/control.sock"),
        (ControlConfig(), {"XDG_RUNTIME_DIR": "/run/u", "HOME": "/h"}, "/run/u/ears-edge/control.sock"),
        (ControlConfig(), {"XDG_RUNTIME_DIR": "u", "XDG_STATE_HOME": "/s"}, "/s/ears-edge/control.sock"),
        (ControlConfig(), {"HOME": "/h"}, "/h/.local/state/ears-edge/control.sock"),
        (ControlConfig(), {}, None),
    ],
)
def test_the_socket_is_where_the_system_wants_such_things(
    config: ControlConfig, env: dict[str, str], path: str | None
) -> None:
    assert control.socket_path(config, env) == (Path(path) if path else None)
