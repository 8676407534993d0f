"""The pages for people and the code are one: settings, limits, error codes, modules, links."""

import re
from itertools import chain
from pathlib import Path

import pytest

from ears_edge import errors, settings
from ears_edge.engine.scheduler import LOADING

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "ears_edge"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
SECTIONS = {key.section for key in settings.KEYS.values()}
UNITS = {"": 1, "s": 1, "h": 3600, "KiB": 1024, "MiB": 1024**2}

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def read(page: Path | str) -> str:
    return (ROOT / "docs" / page).read_text(encoding="utf-8")


@every_page
def test_settings_that_are_named_exist(page: Path) -> None:
    text = read(page)
    named = {
        name
        for name in re.findall(r"(?:`|--set )([a-z]+\.[a-z_]+)\b", text)
        if name.partition(".")[0] in SECTIONS and not name.endswith((".py", ".json"))
    }
    assert named <= settings.KEYS.keys()
    variables = {key.variable for key in settings.KEYS.values()}
    used = re.findall(r"\b(EARS_EDGE_[A-Z]+__[A-Z_]+?)(?:_FILE)?\b", text)
    assert {*used} <= variables


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    text = read(page)
    headings = {
        re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    }
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("#"):
            assert target[1:] in headings
        elif not target.startswith("https://"):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", ["WYOMING.md", "WEBSOCKET.md"])
def test_a_limit_is_the_default_of_its_setting(page: str) -> None:
    rows = re.findall(r"^\| [^|]+ \| (\d+) ?(\w*)[^|]*\| `([a-z_.]+)` \|$", read(page), re.MULTILINE)
    assert len(rows) > 8
    for number, unit, key in rows:
        assert int(number) * UNITS.get(unit, 1) == settings.KEYS[key].default, key


def codes_of(*files: Path) -> set[str]:
    """Every code that stands in these modules as a literal."""
    text = "\n".join(file.read_text(encoding="utf-8") for file in files)
    given = re.findall(r'code="([a-z-]+)"', text)
    sent = re.findall(r'(?:error|_last_words)\(\s*f?"[^"]*"[^")]*,\s*"([a-z-]+)",?\s*\)', text)
    composed = [f"{what}-too-long" for what in ("data", "payload") if "-too-long" in text]
    return {*given, *sent, *composed}


def told(page: str) -> set[str]:
    """Every code in the first column of a page's tables of errors."""
    errors_part = read(page).partition("\n## Errors\n")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (`[^|]+) \|", errors_part, re.MULTILINE)
    return {*chain.from_iterable(re.findall(r"`([a-z-]+)`", cell) for cell in cells)}


def test_every_error_code_of_the_wyoming_server_is_told() -> None:
    servers = [*(PACKAGE / "servers").glob("wyoming_c*.py"), PACKAGE / "servers" / "wyoming.py"]
    codes = codes_of(*servers, PACKAGE / "wire" / "wyoming.py", PACKAGE / "wire" / "wyoming_frames.py")
    assert {"truncated", "shutting-down", "internal", "bad-header"} <= codes
    engine = {errors.AudioFormatError, errors.OverloadedError, errors.InferenceError}
    codes |= {"unsupported-language"} & codes_of(PACKAGE / "models" / "folder.py")
    assert told("WYOMING.md") == codes | {error.default_code for error in engine} | {LOADING}


def test_every_error_code_of_the_ears_server_is_told() -> None:
    servers = [*(PACKAGE / "servers").glob("ears*.py"), PACKAGE / "servers" / "listeners.py"]
    codes = codes_of(*servers, PACKAGE / "wire" / "ears.py")
    assert {"wrong-role", "unknown-type", "engine-not-available", "listener-mode-off"} <= codes
    engine = {errors.PeerProtocolError, errors.OverloadedError, errors.InferenceError, errors.EarsEdgeError}
    codes |= {"unsupported-language"} & codes_of(PACKAGE / "models" / "folder.py")
    assert told("WEBSOCKET.md") == codes | {error.default_code for error in engine} | {LOADING}


def test_the_map_of_modules_is_complete() -> None:
    table = read("ARCHITECTURE.md").partition("\n## Layers\n")[2].partition("\n## ")[0]
    cells = [cell for row in re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE) for cell in row.split(", ")]
    patterns = [cell.strip("`") for cell in cells]
    found = [
        {*(PACKAGE / pattern).rglob("*")} if pattern.endswith("/") else {*PACKAGE.glob(pattern)}
        for pattern in patterns
    ]
    assert [pattern for pattern, files in zip(patterns, found, strict=True) if not files] == []
    modules = {file for file in PACKAGE.rglob("*.py") if file.name != "__init__.py"}
    assert modules - {*chain.from_iterable(found)} == set()
