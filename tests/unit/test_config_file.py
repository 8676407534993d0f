"""The example file and config.py are one."""

import itertools
import re
import tomllib
from pathlib import Path

import pytest

from ears_edge import settings
from ears_edge.config import Config

EXAMPLE = Path(__file__).parents[2] / "config" / "ears-edge.toml"
SETTING = re.compile(r"^#(?=[a-z_]+ = )", re.MULTILINE)


@pytest.fixture(scope="module")
def uncommented() -> str:
    return SETTING.sub("", EXAMPLE.read_text(encoding="utf-8"))


def test_the_example_as_it_is_changes_nothing() -> None:
    found = settings.inspect(EXAMPLE, {})
    assert (found.problems, found.warnings, found.origins) == ([], [], {})


def test_uncommented_it_names_every_key_in_order_with_its_default(uncommented: str) -> None:
    document = tomllib.loads(uncommented)
    written = {
        f"{section}.{key}": value for section, table in document.items() for key, value in table.items()
    }
    defaults = {
        name: list(key.default) if isinstance(key.default, tuple) else key.default
        for name, key in settings.KEYS.items()
    }
    assert written == defaults
    assert list(written) == list(defaults)


def test_uncommented_it_loads_as_the_defaults(uncommented: str, tmp_path: Path) -> None:
    file = tmp_path / "all.toml"
    file.write_text(uncommented, encoding="utf-8")
    assert settings.load(file, {}) == Config()


def test_every_key_has_a_sentence_above_it_and_lines_are_short() -> None:
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    for above, line in itertools.pairwise(lines):
        if SETTING.match(line):
            assert re.match(r"# .*[.]$", above), line
    assert max(map(len, lines)) <= 115


def test_times_and_sizes_name_their_unit() -> None:
    paragraphs = EXAMPLE.read_text(encoding="utf-8").split("\n\n")
    for name, key in settings.KEYS.items():
        unit = "econds" if key.name.endswith("_s") else "ytes" if key.name.endswith("_bytes") else ""
        (paragraph,) = (
            text
            for text in _paragraphs_of(paragraphs, key.section)
            if re.search(rf"^#{key.name} = ", text, re.MULTILINE)
        )
        assert unit in paragraph, name


def _paragraphs_of(paragraphs: list[str], section: str) -> list[str]:
    starts = [index for index, text in enumerate(paragraphs) if re.search(r"^\[\w+\]$", text, re.MULTILINE)]
    start = next(index for index in starts if f"\n[{section}]" in paragraphs[index])
    end = next((index for index in starts if index > start), len(paragraphs))
    return paragraphs[start:end]
