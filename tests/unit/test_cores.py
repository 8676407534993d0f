import os
from pathlib import Path

import pytest

from ears_edge.engine.cores import physical, threads


def topology(root: Path, siblings: list[str]) -> None:
    for number, text in enumerate(siblings):
        path = root / f"sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list"
        path.parent.mkdir(parents=True)
        path.write_text(text + "\n", encoding="ascii")


def group(root: Path, path: str, limits: dict[str, str]) -> None:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(f"1:cpu:/elsewhere\n0::{path}\n", encoding="ascii")
    for name, text in limits.items():
        file = root / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n", encoding="ascii")


def test_two_cpus_of_one_core_are_one(tmp_path: Path) -> None:
    topology(tmp_path, ["0,2", "1,3", "0,2", "1,3"])
    assert physical({0, 1, 2, 3}, tmp_path) == 2
    assert physical({0, 2}, tmp_path) == 1
    assert physical({0, 1}, tmp_path) == 2


def test_where_nothing_is_told_each_cpu_is_a_core(tmp_path: Path) -> None:
    assert physical({0, 5, 7}, tmp_path) == 3
    assert physical({4}, tmp_path) == 1


@pytest.mark.parametrize(
    ("path", "limits", "cores"),
    [
        ("/", {"cpu.max": "200000 100000"}, 2),
        ("/", {"cpu.max": "max 100000"}, 4),
        ("/", {"cpu.max": "50000 100000"}, 1),
        ("/", {"cpu.max": "350000 100000"}, 3),
        ("/box/service", {"box/cpu.max": "100000 100000", "box/service/cpu.max": "max 100000"}, 1),
        ("/box", {"cpu.max": "300000 100000", "box/cpu.max": "200000 100000"}, 2),
        ("/", {"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"}, 2),
        ("/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 4),
        ("/", {"cpu.max": "nonsense"}, 4),
    ],
)
def test_the_time_that_control_groups_leave_is_a_limit(
    path: str, limits: dict[str, str], cores: int, tmp_path: Path
) -> None:
    group(tmp_path, path, limits)
    assert physical({0, 1, 2, 3}, tmp_path) == cores


def test_what_is_asked_for_is_given_and_else_no_more_than_this_process_may_use() -> None:
    assert threads(7) == 7
    assert 1 <= threads(0) <= (os.cpu_count() or 1)
