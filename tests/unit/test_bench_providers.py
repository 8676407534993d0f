import json
from pathlib import Path

import pytest

from ears_edge.bench.providers import json_line, notes
from ears_edge.cli import main
from ears_edge.engine.comparison import Comparison, Trial

CPU = Trial(device="cpu", encoder="optimized", times_s=(0.1, 0.2, 0.4), cosine=1.0, same_tokens=True)
FASTER = Trial(
    device="cuda", encoder="encoder-model.onnx", times_s=(0.05, 0.1, 0.2), cosine=0.9995, same_tokens=True
)
BROKEN = Trial(device="coreml", fault="no such file")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("CACHE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def test_all_devices_stand_side_by_side_and_what_auto_takes_is_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["bench", "--providers", "--threads", "1"]) == 0
    out = capsys.readouterr().out
    assert "encoder-model.int8.onnx" in out
    assert "onnxruntime-openvino" in out
    assert "auto will take: cpu" in " ".join(out.split())


def test_with_the_cpu_alone_nothing_is_recorded(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--providers", "--json", "--threads", "1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["auto"] == "cpu"
    assert [row["device"] for row in found["devices"]] == ["cpu"]
    assert sorted(found["devices"][0]["times_s"]) == ["2.0", "4.0", "8.0"]
    assert list(cache.rglob("*.json")) == []


def test_programs_get_all_figures() -> None:
    found = json.loads(json_line("embedded", Comparison(cpu=CPU, others=(FASTER, BROKEN))))
    assert found["auto"] == "cuda"
    assert found["devices"][1] == {
        "device": "cuda",
        "encoder": "encoder-model.onnx",
        "times_s": {"2.0": 0.05, "4.0": 0.1, "8.0": 0.2},
        "times_faster": 2.0,
        "cosine": 0.9995,
        "same_tokens": True,
        "fault": "",
    }
    assert found["devices"][2]["times_faster"] is None
    assert found["devices"][2]["times_s"] == {}


def test_people_are_told_why_a_device_did_not_run_and_why_auto_takes_one() -> None:
    told = list(notes(Comparison(cpu=CPU, others=(FASTER, BROKEN))))
    assert "coreml: no such file" in told
    assert "cuda (faster" in told[-1]


@pytest.mark.parametrize("more", [["a.wav"], ["--live"], ["--server", "tcp://127.0.0.1:1"]])
def test_what_can_not_be_had_together_is_wrong_usage(
    more: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "--providers", *more]) == 2
    assert "encoder alone" in capsys.readouterr().err
