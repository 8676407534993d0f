from pathlib import Path

import pytest

from ears_edge.daemon import program


@pytest.mark.parametrize(
    ("argv0", "installed", "called"),
    [
        (".venv/bin/ears-edge", True, "ears-edge"),
        (".venv/bin/ears-edge", False, ".venv/bin/ears-edge"),
        ("/usr/lib/python3/ears_edge/__main__.py", False, "ears-edge"),
    ],
)
def test_the_user_is_told_how_to_call_us_from_here(
    argv0: str, *, installed: bool, called: str, tmp_path: Path
) -> None:
    command = tmp_path / "ears-edge"
    command.write_text("", encoding="ascii")
    command.chmod(0o755 if installed else 0o644)
    assert program(argv0, str(tmp_path)) == called
