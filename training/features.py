"""The product's log-mel features for a batch of whole clips, and their warping and masking."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from scipy.fft import dct

from ears_edge.dsp.features import LOG_GUARD, N_FFT, PRE_EMPHASIS, STD_GUARD, WINDOW, mel_filters
from ears_edge.units import HOP
from training.placing import placed

Lengths = npt.NDArray[np.int64]
"""(B,), on the CPU: to ask the device for them would make it wait."""

F64 = npt.NDArray[np.float64]

MELS = 128
COSINES = dct(np.eye(MELS, dtype=np.float32), axis=1, norm="ortho")
"""(128, 128), a column a cosine along the mel axis: mel columns times it are cepstra, those times its
transpose mel columns."""
LIKE = 16
"""Batches are some of these columns long, so that a GPU meets the same shapes again."""
WARPED = 0.6
"""Share of clips that get another throat and another pace."""
UNEVEN, SWING = 0.5, 0.25
"""Share of clips whose pace swings, three times over, and by how much at most: synthesizers are too even."""
SWINGS = (12.0, 180.0)
"""Columns from one slow place to the next: a sound or two at least, half a sentence at most."""
SHIFTING, APART = 0.5, 0.06
"""Share of clips in which sounds are now of one throat and now of another, and how far its formants are from
the first's at most: people miss what a sound should be by a tenth, synthesizers do not."""
SOUNDS = (12.0, 60.0)
"""Columns from one such sound to the next: a sound at least, a word at most."""
ABRUPT = 3.0
"""How much of the one throat is left in the other's middle: a wave of height 1 leaves 5 %."""
SWAYS = (20.0, 500.0)
"""Columns from one loud place to the next: a syllable at least, as people differ in what they stress."""
BENT, BENDS = 0.5, 2.0
"""Share of clips whose mel axis is bent, since no two throats differ by one factor, and by how many bins."""
BLURRED, WIDEST = 0.3, 5.0
"""Share of clips in which a bin is a mean of its neighbours, and of up to so many on either side: that hides
the harmonics, and so the pitch."""
SWAYED, LOUDER, BRIGHTER = 0.5, 0.7, 0.5
"""Share of clips whose loudness and tilt wander, and by how many nats of power at most, each of three times
over: people turn away, tire, and stress words; synthesizers are level."""
BLENDED, MOST_OF_OTHER = 0.6, 0.4
"""Share of clips that have another's columns mixed into theirs, and how much of the mixture is the other's
at most. Version 11 had 14 % of the words of synthesized readings wrong, and 36 when people read them; with a
quarter of other clips in them 20 and 57. With a third of others the synthesized ones are as hard as people's:
what people say lies that much nearer to other words."""
VAGUE, VAGUEST, VAGUE_COLUMNS = 0.5, 0.8, (4, 16)
"""Share of clips whose spectra wander, how far at most against how they move in speech, and how many columns
they take from one place to the next."""
ORDERS, MOVES, FALL = 16, 4.8, 0.7
"""Of the wandering: COSINES but the first, the next one moved so far, the others less by this power of their
number: about as the normalized columns of speech move."""
FLATTENED, ENERGY, CONTRAST, FORMANTS = 0.5, (0.8, 1.35), (0.6, 1.15), slice(3, 20)
"""Share of clips whose energy moves more or less, and whose spectra show less or more, and which cosines
along the mel axis tell the sounds. Of people's readings version 11 had 36 % of the words wrong: with 0.7 of
their energy's moves 33, with 1.25 42; with 1.25 of the contrast 33. For synthesizers all were alike."""
CRISP, CRISPER, CRISP_COLUMNS = 0.6, (-0.4, 0.8), (5, 31)
"""Share of clips whose columns stand out more, or less, from the mean of those around them, by how much, and
how many columns that mean is of. The slope of version 18's loss in people's prompts agrees with that in clips
that stand out more, and not with that in smeared ones. With a quarter less of it at its input it had 570
errors in the prompts instead of 577, but 43 in the readings instead of 40, with a quarter more 625 and 38: so
both are heard."""
MASKED = 0.45
"""Share of clips with masks: a model that has learnt few of its clips by heart needs few."""


def log_mel(sound: torch.Tensor, lengths: Lengths) -> torch.Tensor:
    """(B, N) float32 at 16 kHz -> (B, N // 160, 128) float32 columns, as the product computes them.

    What lies behind a clip's length counts as zero; columns of it mean nothing.
    """
    sound = sound * within(lengths, sound)
    emphasized = torch.cat((sound[:, :1], sound[:, 1:] - float(PRE_EMPHASIS) * sound[:, :-1]), 1)
    padded = torch.nn.functional.pad(emphasized, (WINDOW // 2, WINDOW))
    frames = padded.unfold(1, WINDOW, HOP)[:, : sound.shape[1] // HOP]
    window = placed(np.hanning(WINDOW).astype(np.float32), sound.device)
    spectrum = torch.view_as_real(torch.fft.rfft(frames * window, N_FFT))
    power = spectrum.square().sum(-1)
    return (power @ placed(mel_filters(MELS).copy(), sound.device) + float(LOG_GUARD)).log_()


def warped(columns: torch.Tensor, lengths: Lengths, rng: np.random.Generator) -> tuple[torch.Tensor, Lengths]:
    """Another throat and another pace: the mel axis and the time axis stretched, and not everywhere alike."""
    count, device = len(columns), columns.device
    high = np.where(rng.random(count) < WARPED, rng.uniform(0.9, 1.12, count), 1.0)
    columns = _uttered(columns, high, rng)
    pace = np.where(rng.random(count) < WARPED, rng.uniform(0.88, 1.14, count), 1.0)
    stretched = (lengths * pace).astype(np.int64)
    longest = -(-int(stretched.max()) // LIKE) * LIKE
    times = _times(longest, pace, rng, device)
    times = torch.minimum(times.clamp(min=0.0), placed(lengths, device)[:, None] - 1.001)
    low = times.long()
    rows = torch.arange(count, device=device)[:, None]
    share = (times - low)[..., None]
    return torch.lerp(columns[rows, low], columns[rows, low + 1], share), stretched


def _uttered(columns: torch.Tensor, high: F64, rng: np.random.Generator) -> torch.Tensor:
    """The columns as throats utter them whose formants are `high`, (B,), and in some clips others in turn."""
    device = columns.device
    # As a matrix for each clip: a matrix product is far faster than gathering along the last axis.
    uttered = columns @ _throats(high, rng, device)
    shifting = np.flatnonzero(rng.random(len(columns)) < SHIFTING)
    if len(shifting):
        other = high[shifting] * rng.uniform(1.0 - APART, 1.0 + APART, len(shifting))
        rows = placed(shifting, device)
        share = torch.zeros(len(shifting), columns.shape[1], device=device)
        at = torch.arange(float(columns.shape[1]), device=device)
        for _, wave in _waves(at, SOUNDS, len(shifting), rng):
            share = share.add_(wave, alpha=ABRUPT)
        moved = columns[rows] @ _throats(other, rng, device)
        uttered[rows] = torch.lerp(uttered[rows], moved, share.sigmoid_()[..., None])
    return uttered


def _throats(high: F64, rng: np.random.Generator, device: torch.device) -> torch.Tensor:
    """(B,) how far up each clip's formants go -> (B, 128, 128), what each bin takes of the others."""
    count = len(high)
    mels = torch.arange(float(MELS), device=device)
    bins = mels * _column(high, device)
    bent = rng.random(count) < BENT
    for order in (1, 2, 3):
        far = _column(bent * rng.normal(0.0, BENDS / order, count), device)
        bins = bins + far * (mels * (np.pi * order / MELS)).sin()
    bins = bins.clamp(0.0, MELS - 1.001)
    blurred = rng.random(count) < BLURRED
    width = _column(np.where(blurred, rng.uniform(1.0, WIDEST, count), 1.0), device)[..., None]
    shares = (1.0 - (bins[:, None, :] - mels[:, None]).abs() / width).clamp(min=0.0)
    return shares / shares.sum(1, keepdim=True)


def _times(longest: int, pace: F64, rng: np.random.Generator, device: torch.device) -> torch.Tensor:
    """(B, T): the column that each column is taken from, at a pace of its own that swings about a mean."""
    count = len(pace)
    at = torch.arange(float(longest), device=device)
    times = at / _column(pace, device)
    uneven = rng.random(count) < UNEVEN
    for period, wave in _waves(at, SWINGS, count, rng):
        far = uneven * rng.uniform(0.0, SWING, count) * period / (2 * np.pi)
        times = times + _column(far, device) * wave
    return times


def _waves(
    at: torch.Tensor, periods: tuple[float, float], count: int, rng: np.random.Generator
) -> Iterator[tuple[F64, torch.Tensor]]:
    """Three sines, (count, T) each, with the periods of its rows, (count,): between the two given."""
    for _ in range(3):
        period = periods[0] * (periods[1] / periods[0]) ** rng.random(count)
        phase = _column(rng.uniform(0.0, 2 * np.pi, count), at.device)
        yield period, (at * _column(2 * np.pi / period, at.device) + phase).sin()


def _column(values: F64, device: torch.device) -> torch.Tensor:
    """(B,) -> (B, 1) float32."""
    return placed(values.astype(np.float32), device)[:, None]


def swayed(columns: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """(B, T, 128) log-mel columns -> the same, louder and softer, brighter and duller as time goes on."""
    count, device = len(columns), columns.device
    at = torch.arange(float(columns.shape[1]), device=device)
    tilt = torch.linspace(-1.0, 1.0, MELS, device=device)
    chosen = rng.random(count) < SWAYED
    louder, brighter = torch.zeros_like(columns[:, :, 0]), torch.zeros_like(columns[:, :, 0])
    for curve, most in ((louder, LOUDER), (brighter, BRIGHTER)):
        for _, wave in _waves(at, SWAYS, count, rng):
            curve.addcmul_(_column(chosen * rng.uniform(0.0, most, count), device), wave)
    return columns + torch.addcmul(louder[..., None], brighter[..., None], tilt)


def normalize(columns: torch.Tensor, lengths: Lengths) -> torch.Tensor:
    """(B, T, 128) -> each bin of each clip of mean 0, deviation 1, as the product does; zero behind it."""
    inside = within(lengths, columns)[..., None]
    counts = placed(lengths, columns.device)[:, None, None]
    mean = (columns * inside).sum(1, keepdim=True) / counts
    centred = (columns - mean) * inside
    variance = centred.square().sum(1, keepdim=True) / (counts - 1)
    return centred / (variance.sqrt() + float(STD_GUARD))


def blended(columns: torch.Tensor, lengths: Lengths, rng: np.random.Generator) -> torch.Tensor:
    """Normalized columns -> the same, each sound nearer to others, and no two alike; normalized again.

    Some clips take a share of another clip of the batch, in some the spectra wander from sound to sound:
    people give less to tell sounds by than synthesizers do. Source of the first: Zhang et al., "mixup: Beyond
    empirical risk minimization" (2018); here the text is that of the larger part.
    """
    count, device = len(columns), columns.device
    share = np.where(rng.random(count) < BLENDED, rng.uniform(0.0, MOST_OF_OTHER, count), 0.0)
    others = columns[placed(rng.permutation(count), device)]
    mixed = torch.addcmul(columns, others, _column(share / (1.0 - share), device)[..., None])
    size = np.where(rng.random(count) < VAGUE, rng.uniform(0.0, VAGUEST, count), 0.0)
    places = 2 + columns.shape[1] // int(rng.integers(*VAGUE_COLUMNS))
    drawn = placed(rng.standard_normal((count, ORDERS, places)).astype(np.float32), device)
    far = torch.nn.functional.interpolate(drawn, columns.shape[1], mode="linear", align_corners=True)
    orders = np.arange(1, ORDERS + 1, dtype=np.float32)
    moves = placed(COSINES[:, 1 : ORDERS + 1].T * (MOVES * orders[:, None] ** -FALL), device)
    far = far.transpose(1, 2) * _column(size, device)[..., None]
    return normalize(mixed + far @ moves, lengths)


def flattened(columns: torch.Tensor, lengths: Lengths, rng: np.random.Generator) -> torch.Tensor:
    """Normalized columns -> the same; some with more or less energy and contrast. Normalized again."""
    chosen = rng.random(len(columns)) < FLATTENED
    gains = np.ones((len(columns), MELS), np.float32)
    gains[chosen, 0] = rng.uniform(*ENERGY, chosen.sum())
    gains[chosen, FORMANTS] = rng.uniform(*CONTRAST, (chosen.sum(), 1))
    cosines = placed(COSINES, columns.device)
    cepstra = (columns @ cosines) * placed(gains, columns.device)[:, None]
    return normalize(cepstra @ cosines.T, lengths)


def crisp(columns: torch.Tensor, lengths: Lengths, rng: np.random.Generator) -> torch.Tensor:
    """Normalized columns -> the same; in some clips each sound is more, or less, unlike what is around it.

    Normalized again.
    """
    more = np.where(rng.random(len(columns)) < CRISP, rng.uniform(*CRISPER, len(columns)), 0.0)
    side = int(rng.integers(*CRISP_COLUMNS)) // 2
    around = torch.nn.functional.avg_pool1d(
        columns.transpose(1, 2), 2 * side + 1, 1, side, count_include_pad=False
    ).transpose(1, 2)
    return normalize(
        torch.addcmul(columns, columns - around, _column(more, columns.device)[..., None]), lengths
    )


def masked(columns: torch.Tensor, lengths: Lengths, rng: np.random.Generator) -> torch.Tensor:
    """Normalized columns; some clips have up to two bands and some spans of time set to the mean.

    Source: Park et al., SpecAugment (2019).
    """
    count, device = len(columns), columns.device
    chosen = rng.random(count) < MASKED
    mels, at = torch.arange(MELS, device=device), torch.arange(columns.shape[1], device=device)
    width = rng.integers(0, 24, (2, count)) * chosen
    bands = _between(mels, rng.integers(0, MELS - width), width)
    number = np.arange(1 + columns.shape[1] // 150)[:, None]
    width = rng.integers(0, np.minimum(24, lengths // 8 + 1), (len(number), count))
    width *= chosen & (number < 1 + lengths // 150)
    spans = _between(at, rng.integers(0, lengths - width), width)
    return columns.masked_fill(bands[:, None, :] | spans[:, :, None], 0.0)


def _between(at: torch.Tensor, start: Lengths, width: Lengths) -> torch.Tensor:
    """(N,), (K, B), (K, B) -> (B, N) bool: what lies within one of K stretches."""
    first, last = (placed(edge, at.device)[:, :, None] for edge in (start, start + width))
    return ((at >= first) & (at < last)).any(0)


def within(lengths: Lengths, batch: torch.Tensor) -> torch.Tensor:
    """(B,), (B, N, ...) -> (B, N) bool on the batch's device: what belongs to the clips."""
    ends = placed(lengths, batch.device)
    return torch.arange(batch.shape[1], device=batch.device) < ends[:, None]
