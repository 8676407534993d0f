"""A small hub on loopback: metadata, redirects to a second origin, ranges, LFS headers, faults on demand."""

import hashlib
import json
import re
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Literal, Self
from urllib.parse import unquote, urlsplit

PATIENCE_S: Final = 60.0
PIECE: Final = 65_536

Origin = Literal["hub", "cdn"]


def git_blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0%b" % (len(content), content), usedforsecurity=False).hexdigest()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass
class Repo:
    """A repository: each revision is a commit, each commit a set of files."""

    gated: bool = False
    card: dict[str, object] = field(default_factory=dict)
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)

    def commit(self, files: Mapping[str, bytes], ref: str = "main") -> str:
        listing = "".join(f"{name} {git_blob(content)}\n" for name, content in sorted(files.items()))
        name = hashlib.sha1(listing.encode(), usedforsecurity=False).hexdigest()
        self.commits[name] = dict(files)
        self.refs[ref] = name
        return name


@dataclass(frozen=True)
class Asked:
    """One request as it came."""

    origin: Origin
    method: str
    path: str
    range: str
    authorization: str


@dataclass(frozen=True)
class Drop:
    """The content delivery network breaks off after so many bytes."""

    after: int


@dataclass(frozen=True)
class Refusal:
    """An answer instead of the right one."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class HubEmulator:
    """Runs while its block does; all its threads end with it."""

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.token = "hf_right"  # noqa: S105  # of this emulator only
        self.asked: list[Asked] = []
        self.api_faults: deque[Refusal] = deque()
        """Each is used once, for the next request of its kind."""
        self.file_faults: deque[Refusal] = deque()
        self.cdn_faults: deque[Drop | Refusal] = deque()
        self.altered: dict[str, bytes] = {}
        """SHA-256 -> what is delivered instead."""
        self.ranges = True
        self.hold_after: int | None = None
        """Bytes after which the next delivery waits until it is let go."""
        self.held = threading.Event()
        self.let_go = threading.Event()
        self.errors: list[BaseException] = []
        self._servers = {origin: _server(self, origin) for origin in ("hub", "cdn")}
        self._threads = [
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            for server in self._servers.values()
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.let_go.set()
        for server in self._servers.values():
            server.shutdown()
            server.server_close()
        for thread in self._threads:
            thread.join()
        assert self.errors == [], self.errors

    def url(self, origin: Origin = "hub") -> str:
        return f"http://127.0.0.1:{self._servers[origin].server_address[1]}"

    def repo(self, name: str, files: Mapping[str, bytes]) -> Repo:
        repo = self.repos[name] = Repo()
        repo.commit(files)
        return repo

    def ranges_asked(self) -> list[str]:
        """The ranges of all deliveries so far, in order."""
        return [one.range for one in self.asked if one.origin == "cdn"]


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 32

    def __init__(self, emulator: HubEmulator, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self._emulator = emulator

    def handle_error(self, *_: object) -> None:
        import sys  # noqa: PLC0415  # the exception at hand is only there

        error = sys.exception()
        if error is not None and not isinstance(error, ConnectionError):
            self._emulator.errors.append(error)


def _server(emulator: HubEmulator, origin: Origin) -> _Server:
    class Handler(BaseHTTPRequestHandler):
        """One request; HTTP/1.0, so that each has its own connection."""

        def do_GET(self) -> None:
            self._note()
            _hub(emulator, self) if origin == "hub" else _cdn(emulator, self)

        def do_HEAD(self) -> None:
            self._note()
            _hub(emulator, self)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def _note(self) -> None:
            given = (self.headers.get("Range") or "", self.headers.get("Authorization") or "")
            emulator.asked.append(Asked(origin, self.command, urlsplit(self.path).path, *given))

    return _Server(emulator, Handler)


def _answer(
    handler: BaseHTTPRequestHandler, status: int, headers: Mapping[str, str], body: bytes = b""
) -> None:
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **headers}.items():
        handler.send_header(name, value)
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(body)


def _missing(handler: BaseHTTPRequestHandler, what: str, status: int = 404) -> None:
    _answer(handler, status, {"X-Error-Code": what, "X-Error-Message": what})


def _hub(emulator: HubEmulator, handler: BaseHTTPRequestHandler) -> None:
    path = unquote(urlsplit(handler.path).path)
    api = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path)
    file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
    match = api or file
    assert match is not None, path
    faults = emulator.api_faults if api else emulator.file_faults
    if faults:
        fault = faults.popleft()
        _answer(handler, fault.status, fault.headers, fault.body)
        return
    repo = emulator.repos.get(match[1])
    if repo is None:
        # Source: the hub itself; strangers are not told whether there is a private one
        _missing(handler, "RepoNotFound", 401)
        return
    revision = match[2] or "main"
    commit = repo.refs.get(revision, revision)
    files = repo.commits.get(commit)
    if files is None:
        _missing(handler, "RevisionNotFound")
    elif api:
        _answer(handler, 200, {"Content-Type": "application/json"}, _metadata(match[1], repo, commit, files))
    elif repo.gated and handler.headers.get("Authorization") != f"Bearer {emulator.token}":
        _missing(handler, "GatedRepo", 403 if handler.headers.get("Authorization") else 401)
    elif match[3] not in files:
        _missing(handler, "EntryNotFound")
    else:
        _resolve(emulator, handler, commit, match[3], files[match[3]])


def _is_large(name: str) -> bool:
    return name.endswith((".onnx", ".data"))


def _metadata(name: str, repo: Repo, commit: str, files: Mapping[str, bytes]) -> bytes:
    siblings: list[dict[str, Any]] = []
    for path, content in files.items():
        large = {"sha256": sha256(content), "size": len(content), "pointerSize": 134}
        siblings.append(
            {
                "rfilename": path,
                "size": len(content),
                "blobId": git_blob(content),
                **({"lfs": large} if _is_large(path) else {}),
            }
        )
    gated = "manual" if repo.gated else False
    told = {"_id": "1", "id": name, "modelId": name, "sha": commit, "private": False, "gated": gated}
    return json.dumps({**told, "tags": [], "siblings": siblings, "cardData": repo.card}).encode()


def _resolve(
    emulator: HubEmulator, handler: BaseHTTPRequestHandler, commit: str, name: str, content: bytes
) -> None:
    headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
    if _is_large(name):
        name = sha256(content)
        linked = {"X-Linked-Size": str(len(content)), "X-Linked-Etag": f'"{name}"', "ETag": f'"{commit}"'}
        _answer(handler, 302, {**headers, **linked, "Location": f"{emulator.url('cdn')}/blobs/{name}"})
    else:
        given = emulator.altered.get(sha256(content), content)
        size = {"Content-Length": str(len(given))}
        _answer(handler, 200, {**headers, **size, "ETag": f'"{git_blob(content)}"'}, given)


def _cdn(emulator: HubEmulator, handler: BaseHTTPRequestHandler) -> None:
    wanted = handler.path.removeprefix("/blobs/")
    contents = {
        sha256(content): content
        for repo in emulator.repos.values()
        for files in repo.commits.values()
        for content in files.values()
    }
    content = emulator.altered.get(wanted, contents[wanted])
    fault = emulator.cdn_faults.popleft() if emulator.cdn_faults else None
    if isinstance(fault, Refusal):
        _answer(handler, fault.status, fault.headers, fault.body)
        return
    asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range") or "")
    start = int(asked[1]) if asked and emulator.ranges else 0
    handler.send_response(206 if start else 200)
    handler.send_header("ETag", f'"{wanted}"')
    handler.send_header("Content-Length", str(len(content) - start))
    if start:
        handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
    handler.end_headers()
    end = min(start + fault.after, len(content)) if fault else len(content)
    hold = emulator.hold_after
    for offset in range(start, end, PIECE):
        if hold is not None and offset - start >= hold and not emulator.held.is_set():
            handler.wfile.flush()
            emulator.held.set()
            assert emulator.let_go.wait(PATIENCE_S)
        handler.wfile.write(content[offset : min(offset + PIECE, end)])
