import pytest

from ears_edge.engine.comparison import Comparison, Trial

CPU = Trial(device="cpu", times_s=(0.1, 0.2, 0.4), cosine=1.0, same_tokens=True)


def other(factor: float, device: str = "cuda", cosine: float = 0.9999, *, same: bool = True) -> Trial:
    times = tuple(seconds / factor for seconds in CPU.times_s)
    return Trial(device=device, times_s=times, cosine=cosine, same_tokens=same)


@pytest.mark.parametrize(
    ("trial", "best"),
    [
        (other(2), "cuda"),
        (other(1.11), "cuda"),
        (other(1.05), "cpu"),
        (other(0.3), "cpu"),
        (other(9, cosine=0.998), "cpu"),
        (other(9, same=False), "cpu"),
        (Trial(device="cuda", fault="no driver"), "cpu"),
    ],
    ids=["faster", "just faster", "hardly faster", "slower", "unlike", "other words", "broken"],
)
def test_another_device_is_best_only_if_it_is_faster_and_hears_the_same(trial: Trial, best: str) -> None:
    assert Comparison(cpu=CPU, others=(trial,)).best == best


def test_of_several_the_fastest_is_best() -> None:
    assert Comparison(cpu=CPU, others=(other(2), other(3, "coreml"), other(9, same=False))).best == "coreml"


def test_how_many_times_faster_is_told_where_it_ran() -> None:
    found = Comparison(cpu=CPU, others=())
    assert found.gain(other(2)) == pytest.approx(2)
    assert found.gain(Trial(device="cuda", fault="no driver")) is None
