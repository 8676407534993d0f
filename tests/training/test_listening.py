"""What the model hears in training. Runs where the training's requirements are installed."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("scipy")

from ears_edge.dsp.features import LogMel  # noqa: E402  # only where the training's requirements are
from ears_edge.dsp.features import normalize as normalized_by_the_product  # noqa: E402
from ears_edge.units import F32  # noqa: E402
from training.acoustics import Acoustics  # noqa: E402
from training.corpus import RATE, Clip, Speech, write_shard  # noqa: E402
from training.features import (  # noqa: E402
    BRIGHTER,
    CRISPER,
    LOUDER,
    MELS,
    SWAYS,
    VAGUEST,
    blended,
    crisp,
    flattened,
    log_mel,
    masked,
    normalize,
    swayed,
    warped,
)
from training.listening import SHARES, Corpus, Listening  # noqa: E402
from training.pace import Placed, _play_at_once, play  # noqa: E402

TOLERANCE = 2e-3
"""Of a normalized feature, whose deviation is 1: what the product itself may differ from its reference."""


def buzz(seconds: float, seed: int) -> Speech:
    """Something like a voice: silence, then harmonics with a changing colour, then silence."""
    rng = np.random.default_rng(seed)
    times = np.arange(int(seconds * RATE)) / RATE
    pitch = rng.uniform(90, 250)
    sound = sum(np.sin(2 * np.pi * k * pitch * times) * rng.uniform(0, 1) / k for k in range(1, 20))
    sound = sound * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * times)) + 1e-3 * rng.standard_normal(len(times))
    quiet = RATE // 4
    sound[:quiet] = sound[-quiet:] = 0.0
    return np.asarray(sound / np.abs(sound).max() * 30000, np.int16)


def streamed(sound: F32) -> F32:
    mel = LogMel(MELS)
    return np.concatenate((mel.feed(sound), mel.flush()))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("speech")
    for tool, seed in (("kokoro", 0), ("flite", 100)):
        rows = [Clip("Turn on the light.", f"{tool}:a", buzz(1 + n % 5 / 2, seed + n)) for n in range(20)]
        write_shard(path / f"{tool}-0-0000.npz", rows)
    return path


def test_strangers_are_never_learnt_from(tmp_path: Path) -> None:
    for tool in ("pico", "strangers"):
        write_shard(tmp_path / f"{tool}-0-0000.npz", [Clip("Stop.", f"{tool}:a", buzz(1.0, 0))] * 5)
    corpus = Corpus(tmp_path, "cpu")
    assert len(corpus.tokens) == len(corpus.spans) == 5
    assert "strangers" not in str(corpus)
    assert corpus.draw(np.random.default_rng(0), 200).max() < 5
    (tmp_path / "pico-0-0000.npz").unlink()
    with pytest.raises(FileNotFoundError, match="no speech"):
        Corpus(tmp_path, "cpu")


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_as_many_clips_are_by_kokoro_as_are_asked_for(tmp_path: Path, share: float) -> None:
    for tool in SHARES:
        write_shard(tmp_path / f"{tool}-0-0000.npz", [Clip("Stop.", f"{tool}:a", buzz(1.0, 0))] * 4)
    drawn = Corpus(tmp_path, "cpu", share).draw(np.random.default_rng(0), 4000)
    # Shards are read in the order of their names: four clips each.
    tools = dict(zip(sorted(SHARES), np.bincount(drawn // 4, minlength=len(SHARES)) / 4000, strict=True))
    assert tools["kokoro"] == pytest.approx(share, abs=0.03)
    others = (1 - share) / (1 - SHARES["kokoro"])
    assert tools["hibari"] == pytest.approx(SHARES["hibari"] * others, abs=0.03)


def test_where_nothing_shall_be_heard_it_says_so(tmp_path: Path) -> None:
    write_shard(tmp_path / "kokoro-0-0000.npz", [Clip("Stop.", "kokoro:a", buzz(1.0, 0))])
    with pytest.raises(ValueError, match="whose share is 0"):
        Corpus(tmp_path, "cpu", 0.0)


def test_the_model_learns_from_the_features_that_the_product_computes() -> None:
    clips = [np.asarray(buzz(1.0 + n, n) / 32768, np.float32) for n in range(3)]
    lengths = np.array([len(clip) - 37 * n for n, clip in enumerate(clips)])
    batch = torch.zeros(3, max(map(len, clips)))
    for row, clip in zip(batch, clips, strict=True):
        row[: len(clip)] = torch.from_numpy(clip)
    columns = normalize(log_mel(batch, lengths), lengths // 160).numpy()
    for row, clip, length in zip(columns, clips, lengths, strict=True):
        expected = normalized_by_the_product(streamed(clip[:length]))
        assert np.abs(row[: len(expected)] - expected).max() < TOLERANCE
        assert not row[len(expected) :].any()


def test_loudness_and_tilt_wander_slowly_in_half_of_the_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    level = torch.zeros(400, 300, MELS)
    other = swayed(level, np.random.default_rng(2))
    moved = other.abs().amax((1, 2)) > 0
    assert 150 < int(moved.sum()) < 250
    assert other.abs().max() < 3 * (LOUDER + BRIGHTER)
    assert other.mean(2).abs().amax(1)[moved].median() > 0.5
    assert (other[..., -1] - other[..., 0]).abs().amax(1)[moved].median() > 0.5
    steepest = 3 * (LOUDER + BRIGHTER) * 2 * np.pi / SWAYS[0]
    assert other.diff(dim=1).abs().max() < steepest
    monkeypatch.setattr("training.features.SWAYED", 0.0)
    assert not swayed(level, np.random.default_rng(2)).any()


def test_some_clips_have_a_share_of_another_and_never_the_larger_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.features.VAGUE", 0.0)
    torch.manual_seed(5)
    lengths = np.full(200, 80)
    clips = normalize(torch.randn(200, 80, MELS), lengths)
    mixed = blended(clips, lengths, np.random.default_rng(6))
    assert torch.allclose(mixed, normalize(mixed, lengths), atol=1e-3)
    alike = torch.einsum("itm,jtm->ij", mixed, clips) / (80 * MELS)
    own = alike.diagonal()
    other = (alike - torch.diag(own)).amax(1)
    assert (own > 1.3 * other).all()
    assert 60 < int((own > own.max() - 1e-4).sum()) < 110
    assert 0.4 < float(other.max()) < 0.6


def test_in_some_clips_the_spectra_wander_about_what_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.features.BLENDED", 0.0)
    torch.manual_seed(7)
    lengths = np.arange(201, 401)
    clips = normalize(torch.randn(200, 400, MELS), lengths)
    other = blended(clips, lengths, np.random.default_rng(8))
    assert not other[0, 201:].any()
    far = torch.stack([(a[:n] - b[:n]).std() for a, b, n in zip(other, clips, lengths, strict=True)])
    assert 70 < int((far > 0.02).sum()) < 130
    assert 0.2 < float(far.max()) < VAGUEST
    monkeypatch.setattr("training.features.VAGUE", 0.0)
    assert torch.allclose(blended(clips, lengths, np.random.default_rng(8)), clips, atol=1e-3)


def test_half_of_the_clips_show_more_or_less_of_their_energy_and_of_their_sounds() -> None:
    torch.manual_seed(9)
    lengths = np.full(200, 60)
    mels = torch.arange(0.5, MELS)
    shapes = torch.stack([torch.ones(MELS), *((order * mels * np.pi / MELS).cos() for order in (2, 8))])
    clips = normalize(torch.randn(200, 60, 3) @ shapes, lengths)
    other = flattened(clips, lengths, np.random.default_rng(10))
    assert torch.allclose(other, normalize(other, lengths), atol=1e-3)
    changed = (other - clips).abs().amax((1, 2)) > 0.02
    assert 80 < int(changed.sum()) < 120
    before, after = ((columns @ shapes.T).std(1) for columns in (clips, other))
    contrast = (after / after[:, :1] / (before / before[:, :1]))[:, 2]
    assert torch.allclose(contrast[~changed], torch.ones(1), atol=0.02)
    assert 0.35 < float(contrast.min()) < 0.7
    assert 1.0 < float(contrast.max()) < 1.6


def test_in_some_clips_sounds_stand_out_more_or_less_from_what_is_around_them() -> None:
    lengths = np.full(200, 400)
    at = torch.arange(400.0)[:, None].expand(-1, MELS)
    fast, slow = (2 * np.pi * at / 4).sin(), (2 * np.pi * at / 400).sin()
    clips = normalize((fast + slow).expand(200, -1, -1), lengths)
    other = crisp(clips, lengths, np.random.default_rng(11))
    assert torch.allclose(other, normalize(other, lengths), atol=1e-3)
    changed = (other - clips).abs().amax((1, 2)) > 0.02
    assert 100 < int(changed.sum()) < 140
    quick, calm = ((other * wave).sum((1, 2)) for wave in (fast, slow))
    more = quick / calm
    assert torch.allclose(more[~changed], torch.ones(1), atol=0.03)
    assert 1 + CRISPER[0] - 0.1 < float(more.min()) < 0.7
    assert 1.7 < float(more.max()) < 1 + CRISPER[1] + 0.1


def test_columns_are_warped_and_masked_within_bounds() -> None:
    rng = np.random.default_rng(1)
    columns, lengths = torch.randn(20, 200, MELS), np.arange(181, 201)
    other, counts = warped(columns, lengths, rng)
    assert other.shape[0] == 20
    assert counts.max() <= other.shape[1] < counts.max() + 16
    assert (0.85 * lengths < counts).all()
    assert (counts < 1.15 * lengths).all()
    hidden = masked(other, counts, rng)
    for row, count in zip(hidden, counts, strict=True):
        assert torch.isfinite(row[:count]).all()
        assert torch.count_nonzero(row[:count]) > count * MELS / 2


def test_however_they_are_warped_columns_and_bins_stay_in_order() -> None:
    rng, lengths = np.random.default_rng(2), np.full(50, 300)
    later = torch.arange(300.0)[None, :, None].expand(50, 300, MELS)
    higher = torch.arange(float(MELS)).expand(50, 300, MELS)
    paces = set()
    for row, count in zip(*warped(later, lengths, rng), strict=True):
        times = row[:count].double()
        assert (times.amax(1) - times.amin(1)).max() < 1e-3  # no bin comes from another time
        steps = times[:, 0].diff()
        assert steps.min() >= 0
        assert times[0, 0] < 20
        assert times[-1, 0] > 280
        paces.add(round(float(steps.max() - steps[5:-5].min()), 1))
    assert len(paces) > 3  # some swing, some do not
    for row, count in zip(*warped(higher, lengths, rng), strict=True):
        assert row[:count].diff(dim=1).min() >= -1e-3
        assert -1e-3 <= row[:count].min() < 12
        assert MELS - 25 < row[:count].max() < MELS


def test_in_half_of_the_clips_formants_shift_from_sound_to_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WARPED", "UNEVEN", "BLURRED"):
        monkeypatch.setattr(f"training.features.{name}", 0.0)
    vowel = (-((torch.arange(float(MELS)) - 40.0) / 4.0).square()).exp().expand(200, 400, MELS)
    uttered, counts = warped(vowel.contiguous(), np.full(200, 400), np.random.default_rng(3))
    assert (counts == 400).all()
    formants = (uttered * torch.arange(float(MELS))).sum(2) / uttered.sum(2)
    low, high = formants.amin(1), formants.amax(1)
    shifting = high - low > 0.2
    assert 60 < int(shifting.sum()) < 110
    assert 80 < int((high - low < 1e-4).sum()) < 120
    assert (high - low)[shifting].max() < 15
    turns = (formants[shifting] > ((low + high) / 2)[shifting, None]).diff(dim=1).sum(1)
    assert 8 < float(turns.double().median()) < 60
    monkeypatch.setattr("training.features.SHIFTING", 0.0)
    still, _ = warped(vowel.contiguous(), np.full(200, 400), np.random.default_rng(3))
    assert still.diff(dim=1).abs().max() < 1e-4


def test_shards_that_appear_later_are_heard_too(tmp_path: Path) -> None:
    clips = {
        tool: [Clip(f"Turn on light {word}.", f"{tool}:a", buzz(1.0, seed)) for word in ("one", "two")]
        for seed, tool in enumerate(("kokoro", "flite"))
    }
    with pytest.raises(FileNotFoundError, match="no speech in"):
        Corpus(tmp_path, "cpu")
    write_shard(tmp_path / "kokoro-0-0000.npz", clips["kokoro"])
    corpus = Corpus(tmp_path, "cpu")
    write_shard(tmp_path / "flite-0-0000.npz", clips["flite"])
    corpus.rescan()
    corpus.rescan()
    assert str(corpus) == "kokoro 0.00 h, flite 0.00 h"
    assert set(corpus.draw(np.random.default_rng(1), 100)) == {0, 1, 2, 3}
    for number, clip in enumerate(clips["kokoro"] + clips["flite"]):
        assert np.array_equal(corpus.clip(number), clip.speech)
        _, length, first, last = corpus.spans[number]
        assert length == len(clip.speech)
        assert RATE // 4 <= first < last <= length - RATE // 4


def test_a_clip_at_its_own_pace_is_what_was_recorded(folder: Path) -> None:
    corpus = Corpus(folder, "cpu")
    start, length = (int(value) for value in corpus.spans[3, :2])
    sound = torch.zeros(2, length + 200)
    play(corpus.speech, _placed(1, start, length, 100, 1.0), sound)
    assert torch.allclose(
        sound[1, 100:-100] * 32768, corpus.speech[start : start + length].float(), atol=0.02
    )
    assert not sound[0].any()
    assert not sound[1, :100].any()
    assert not sound[1, -100:].any()


@pytest.mark.parametrize("pace", [0.87, 1.0, 1.15])
def test_clip_by_clip_is_as_all_at_once(folder: Path, pace: float) -> None:
    corpus = Corpus(folder, "cpu")
    start, length = (int(value) for value in corpus.spans[3, :2])
    clips = _placed(0, start, length, 50, pace)
    each, at_once = torch.zeros(1, 2 * length), torch.zeros(1, 2 * length)
    play(corpus.speech, clips, each)
    _play_at_once(corpus.speech, clips, at_once)
    heard = 50 + int(length / pace)
    assert each.abs().max() > 0.1
    assert (each - at_once)[0, :heard].abs().max() < 2e-3
    assert not each[0, heard:].any()


def _placed(row: int, start: int, count: int, begin: int, pace: float) -> Placed:
    rows, starts, counts, begins = (np.array([value]) for value in (row, start, count, begin))
    return Placed(rows, starts, counts, begins, np.array([pace], np.float32))


def test_batches_hold_what_is_said_and_nothing_is_broken(folder: Path) -> None:
    listening = Listening(Corpus(folder, "cpu"), np.random.default_rng(4), "cpu")
    listening.hardness = 1.0
    batches = listening.batches()
    said = set()
    for _ in range(12):
        batch = next(batches)
        assert batch.columns.max() <= batch.features.shape[1] < batch.columns.max() + 16
        assert torch.isfinite(batch.features).all()
        assert batch.features.abs().sum((1, 2)).min() > 0
        assert batch.tokens.shape[1] >= batch.lengths.max()
        said |= set(batch.lengths.tolist())
    one = len(Corpus(folder, "cpu").tokens[0])
    assert {one, 2 * one} <= said
    assert said <= {0, one, 2 * one, 3 * one}


def test_noise_leaves_speech_audible_and_silence_without_speech() -> None:
    rng = np.random.default_rng(5)
    acoustics = Acoustics([buzz(2.0, n) for n in range(8)], rng, "cpu")
    clean = torch.zeros(32, 2 * RATE)
    clean[:16] = torch.from_numpy(buzz(2.0, 1) / np.float32(32768))
    silent = np.arange(32) >= 16
    heard = acoustics.heard(clean.clone(), np.full(32, 2 * RATE), silent, 0.0)
    spectra = torch.fft.rfft(heard).abs()
    alike = torch.nn.functional.cosine_similarity(spectra, torch.fft.rfft(clean[:1]).abs())
    assert alike[:16].median() > 0.7
    assert alike[16:].median() < 0.3
    assert heard.abs().max() <= 1.0
