"""Which web pages may use this server. A browser tells where a page came from; programs send no Origin."""

from collections.abc import Collection
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

APP_ORIGINS: Final = frozenset(
    {"null", "tauri://localhost", "http://tauri.localhost", "https://tauri.localhost"}
)
"""A page opened from a file, and eaRS's own windows. Source: Tauri, `useHttpsScheme` and its platforms."""

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def origin_allowed(origin: str | None, *, own_names: Collection[str], allowed: Collection[str]) -> bool:
    """Whether a page of this origin may connect.

    Args:
        origin: The request's Origin header; None if it has none.
        own_names: This machine's host names, in lower case: pages that it serves itself are welcome.
        allowed: Further origins, as the user wrote them.
    """
    if origin is None or origin in APP_ORIGINS:
        return True
    page = _parse(origin)
    if page is None:
        return False
    scheme, host, _ = page
    if scheme in _DEFAULT_PORTS and (_is_loopback(host) or host in own_names):
        return True
    return any(page == _parse(entry) for entry in allowed)


def own_host_names(hostname: str) -> frozenset[str]:
    """A machine's name -> the names by which pages on it may be known: as it is, bare, and `.local`."""
    name = hostname.lower().rstrip(".")
    bare = name.split(".", 1)[0]
    return frozenset(form for form in (name, bare, f"{bare}.local") if bare)


def _parse(origin: str) -> tuple[str, str, int | None] | None:
    """(scheme, host, port) in lower case with the default port filled in, or None if it is no origin."""
    try:
        parts = urlsplit(origin.rstrip("/") if origin.count("/") == 3 else origin)  # noqa: PLR2004
        port = parts.port
    except ValueError:
        return None
    if not parts.hostname or parts.path or parts.query or parts.fragment or "@" in parts.netloc:
        return None
    return parts.scheme, parts.hostname, port or _DEFAULT_PORTS.get(parts.scheme)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
