import pytest

from ears_edge.servers.origin import origin_allowed, own_host_names

OWN = own_host_names("Voicebox.lan")


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "null",
        "tauri://localhost",
        "http://tauri.localhost",
        "https://tauri.localhost",
        "http://localhost",
        "http://localhost:5173",
        "https://LOCALHOST:8443",
        "http://127.0.0.1:8000",
        "http://127.9.9.9",
        "http://[::1]:3000",
        "http://voicebox.lan:8123",
        "https://voicebox",
        "http://voicebox.local",
        "http://homeassistant.local:8123",
        "HTTP://HomeAssistant.local:8123",
        "https://example.org",
        "https://example.org:443",
        "chrome-extension://abcdef",
    ],
)
def test_welcome(origin: str | None) -> None:
    allowed = ("http://homeassistant.local:8123", "https://example.org/", "chrome-extension://abcdef")
    assert origin_allowed(origin, own_names=OWN, allowed=allowed)


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "*",
        "localhost",
        "http://",
        "http://localhost.evil.example",
        "http://evil.example",
        "http://localhost@evil.example",
        "http://evil.example#localhost",
        "http://evil.example/localhost",
        "http://localhost/page",
        "http://localhost:99999",
        "http://localhost:port",
        "ftp://localhost",
        "file://localhost",
        "tauri://evil.example",
        "http://[::1",
        "http://128.0.0.1",
        "http://voicebox.evil.example",
        "http://homeassistant.local",
        "https://homeassistant.local:8123",
        "http://example.org",
    ],
)
def test_refused(origin: str) -> None:
    allowed = ("http://homeassistant.local:8123", "https://example.org", "", "nonsense")
    assert not origin_allowed(origin, own_names=OWN, allowed=allowed)


@pytest.mark.parametrize(
    ("hostname", "names"),
    [
        ("Voicebox.lan", {"voicebox.lan", "voicebox", "voicebox.local"}),
        ("box", {"box", "box.local"}),
        ("box.local.", {"box.local", "box"}),
        ("", set()),
    ],
)
def test_own_names(hostname: str, names: set[str]) -> None:
    assert own_host_names(hostname) == names
