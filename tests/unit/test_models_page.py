"""docs/MODELS.md and the code are one."""

import re
from pathlib import Path

from ears_edge.errors import ModelCorruptError, ModelNotFoundError
from ears_edge.models.catalog import CATALOG

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "MODELS.md").read_text(encoding="utf-8")


def test_every_error_code_of_the_store_is_told() -> None:
    store = (ROOT / "ears_edge" / "models").glob("[a-z]*.py")
    hub = (ROOT / "ears_edge" / "models" / "hub").glob("*.py")
    others = [ROOT / "ears_edge" / name for name in ("model_commands.py", "engine/self_test.py")]
    files = [*store, *hub, *others]
    text = "\n".join(file.read_text(encoding="utf-8") for file in files)
    codes = {*re.findall(r'"((?:hub|models?|disk)-[a-z]+(?:-[a-z]+)?)"', text)}
    assert {"hub-gated", "disk-full", "model-locked", "model-wrong-hash"} <= codes
    cells = re.findall(r"^\| (`[^|]+) \| \d+ \|", PAGE.partition("\n## Errors\n")[2], re.MULTILINE)
    told = {code for cell in cells for code in re.findall(r"`([a-z-]+)`", cell)}
    assert told == codes | {ModelNotFoundError.default_code, ModelCorruptError.default_code}


def test_the_table_of_models_is_the_catalog() -> None:
    rows = re.findall(r"^\| `([^`]+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", PAGE, re.MULTILINE)
    assert [row[0] for row in rows] == list(CATALOG)
    for name, languages, download, _memory, licence in rows:
        entry = CATALOG[name]
        assert " ".join(entry.languages) in languages
        assert entry.licence in licence
        if entry.repo:
            assert f"{entry.download_bytes // 1_000_000} MB" in download
