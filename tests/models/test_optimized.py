import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from ears_edge.errors import UnavailableError
from ears_edge.models import manifest
from ears_edge.models.machine import cpu, features
from ears_edge.models.optimized import ENCODER, RECORD, UNFINISHED, Cache, Record, Target, cache_folder

TARGET = Target(runtime="1.32.0", cpu="Linux x86_64 avx2", frames=200)


@pytest.fixture
def original(tmp_path: Path) -> Path:
    path = tmp_path / "encoder-model.int8.onnx"
    path.write_bytes(b"weights")
    return path


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache" / "optimized")


def record(original: Path, target: Target = TARGET) -> Record:
    status = original.stat()
    return Record(
        original=str(original),
        size=status.st_size,
        modified_ns=status.st_mtime_ns,
        sha256=manifest.sha256(original),
        target=target,
        files={ENCODER: 4},
        cosine=0.9999,
    )


def keep(cache: Cache, record: Record) -> Path:
    with cache.workshop() as workshop:
        (workshop / ENCODER).write_bytes(b"fast")
        return cache.keep(workshop, record)


def test_what_was_kept_is_found(cache: Cache, original: Path) -> None:
    assert cache.find(original, TARGET) is None
    made = record(original)
    folder = keep(cache, made)
    assert cache.find(original, TARGET) == (folder, made)
    assert (folder / ENCODER).read_bytes() == b"fast"
    assert not (cache.root / UNFINISHED).exists()


@pytest.mark.parametrize(
    "wanted",
    [
        replace(TARGET, runtime="1.33.0"),
        replace(TARGET, cpu="Linux x86_64 avx2 avx512f"),
        replace(TARGET, frames=201),
        replace(TARGET, recipe=TARGET.recipe + 1),
    ],
    ids=["onnxruntime", "CPU", "longer windows", "recipe"],
)
def test_what_is_good_for_another_target_is_not_found(wanted: Target, cache: Cache, original: Path) -> None:
    keep(cache, record(original))
    assert cache.find(original, wanted) is None


def test_an_encoder_for_longer_windows_serves_shorter_ones(cache: Cache, original: Path) -> None:
    keep(cache, record(original))
    assert cache.find(original, replace(TARGET, frames=10)) is not None


def test_a_changed_original_is_not_served_by_what_was_made_of_the_old_one(
    cache: Cache, original: Path
) -> None:
    keep(cache, record(original))
    original.write_bytes(b"WEIGHTS")
    os.utime(original, ns=(1, 1))
    assert cache.find(original, TARGET) is None
    original.write_bytes(b"more weights")
    assert cache.find(original, TARGET) is None
    original.unlink()
    assert cache.find(original, TARGET) is None


def test_an_original_that_only_moved_is_read_once_and_known_again(cache: Cache, original: Path) -> None:
    folder = keep(cache, record(original))
    moved = original.rename(original.with_name("moved"))
    os.utime(moved, ns=(5, 5))
    found = cache.find(moved, TARGET)
    assert found is not None
    assert (found[0], found[1].original, found[1].modified_ns) == (folder, str(moved), 5)
    moved.write_bytes(b"WEIGHTS")  # the record is believed now, as size and time are those recorded
    os.utime(moved, ns=(5, 5))
    assert cache.find(moved, TARGET) == found


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / ENCODER).write_bytes(b"fas"),
        lambda folder: (folder / ENCODER).unlink(),
        lambda folder: (folder / RECORD).unlink(),
        lambda folder: (folder / RECORD).write_text('{"original": '),
        lambda folder: (folder / RECORD).write_text("[]"),
        lambda folder: (folder / RECORD).write_text(
            (folder / RECORD).read_text().replace(f'"{ENCODER}"', '"../escape"')
        ),
    ],
    ids=["cut", "missing", "no record", "half a record", "no object", "another place"],
)
def test_what_is_damaged_is_as_if_it_were_not_there(damage: object, cache: Cache, original: Path) -> None:
    folder = keep(cache, record(original))
    assert callable(damage)
    damage(folder)
    assert cache.find(original, TARGET) is None
    assert keep(cache, record(original)) == folder
    assert cache.find(original, TARGET) is not None


def test_what_is_superseded_goes_and_what_is_not_stays(cache: Cache, original: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"other weights")
    old = keep(cache, record(original))
    kept = [keep(cache, record(original, replace(TARGET, cpu="another"))), keep(cache, record(other))]
    new = keep(cache, record(original, replace(TARGET, runtime="1.33.0")))
    assert not old.exists()
    assert {path for path in cache.root.iterdir() if path.is_dir()} == {new, *kept}


def test_removing_takes_all_of_one_encoder(cache: Cache, original: Path, tmp_path: Path) -> None:
    assert cache.remove("0" * 64) == 0
    other = tmp_path / "other"
    other.write_bytes(b"other weights")
    keep(cache, record(original))
    keep(cache, record(original, replace(TARGET, cpu="another")))
    keep(cache, record(other))
    assert cache.remove(manifest.sha256(original)) == 8
    assert cache.find(original, TARGET) is None
    assert cache.find(other, TARGET) is not None


def test_only_one_process_works_at_a_time_and_leaves_nothing_half_done(cache: Cache) -> None:
    cache.root.mkdir(parents=True)
    (cache.root / UNFINISHED).mkdir()
    (cache.root / UNFINISHED / "left by one that was killed").touch()
    with cache.workshop() as workshop:
        assert not list(workshop.iterdir())
        refused: list[str] = []

        def try_it() -> None:
            try:
                with cache.workshop():
                    pass
            except UnavailableError as exc:
                refused.append(exc.code)

        thread = threading.Thread(target=try_it)
        thread.start()
        thread.join()
        assert refused == ["model-locked"]
    assert not (cache.root / UNFINISHED).exists()


@pytest.mark.parametrize(
    ("env", "folder"),
    [
        ({"HOME": "/home/a"}, "/home/a/.cache/ears-edge/optimized"),
        ({"HOME": "/home/a", "XDG_CACHE_HOME": "/fast"}, "/fast/ears-edge/optimized"),
        ({"HOME": "/home/a", "XDG_CACHE_HOME": "fast"}, "/home/a/.cache/ears-edge/optimized"),
        ({"HOME": "/", "CACHE_DIRECTORY": "/var/cache/x:/y"}, "/var/cache/x/optimized"),
        ({}, "/var/cache/ears-edge/optimized"),
    ],
)
def test_the_cache_is_where_the_system_says(env: dict[str, str], folder: str) -> None:
    assert cache_folder(env) == Path(folder)


def test_a_cpu_is_known_by_its_features_whatever_their_order() -> None:
    x86 = "model name\t: X\nflags\t\t: sse avx2\ncpu MHz\t: 2000\n\nprocessor\t: 1\nflags\t: sse avx2\n"
    assert features(x86) == ["avx2", "sse"]
    arm = (
        "processor\t: 0\nFeatures\t: asimd i8mm\nCPU part\t: 0xd0b\n\nFeatures\t: asimd\nCPU part\t: 0xd05\n"
    )
    assert features(arm) == ["0xd05", "0xd0b", "asimd", "i8mm"]
    assert features("") == []


def test_this_cpu_has_a_name_that_stays() -> None:
    assert len(cpu().split()) > 2
    assert cpu() == cpu()
