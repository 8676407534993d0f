"""A small vocoder for Kokoro: what its generator does, at a sixtieth of the cost.

Nine tenths of the time that Kokoro takes go into its generator, which makes sound of what the rest of it
foretells: 512 numbers and a pitch, 80 times a second. Here pulses at that pitch and noise are coloured by two
envelopes instead, and a small network that was taught by the generator makes these of the same numbers. It
is less than natural to people; what it is for are the features of a recognizer, which hear no phases.

Sources: Engel et al., DDSP (2020): pulses and noise, filtered; Liu et al., ConvNeXt (2022): the blocks;
Yamamoto et al., Parallel WaveGAN (2020): the loss, spectra at several resolutions.
"""

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from training.kokoro import TIMBRE, VOCODER_RATE, VOICED

FRAME: Final = 200
"""Samples of one of Kokoro's frames, of which there are 80 a second."""
FEATURES: Final = 512
PARTS: Final = 2
"""Envelopes a frame: sounds begin faster than 80 times a second."""
HOP: Final = FRAME // PARTS
WINDOW: Final = 4 * HOP
BANDS: Final = 80
WIDTH, BLOCKS, SPAN = 320, 4, 7
RESOLUTIONS: Final = (256, 512, 1024)
FAINT: Final = 1e-4
"""Added to each level, for each sample of a window: what is softer does not count."""
PEAK: Final = 1e-6
"""Sine of half of the phase, below which it is a pulse's very middle."""
MIDDLE, REACH = -3.0, 6.0
"""Of an envelope's logarithm, and how far it may be from there: none that is louder is ever needed."""

Floats = npt.NDArray[np.float32]


class Vocoder(nn.Module):
    """Kokoro's frames, its pitch and its timbre -> sound of 16 kHz."""

    def __init__(self) -> None:
        super().__init__()
        self.take = nn.Conv1d(FEATURES + 2, WIDTH, 3, padding=1)
        self.colour = nn.Linear(TIMBRE, WIDTH)
        self.blocks = nn.ModuleList(_Block() for _ in range(BLOCKS))
        self.give = nn.Conv1d(WIDTH, 2 * PARTS * BANDS, 1)
        self.register_buffer("spread", _spread(), persistent=False)
        self.register_buffer("window", torch.hann_window(WINDOW), persistent=False)

    def forward(
        self,
        features: torch.Tensor,
        pitch: torch.Tensor,
        timbre: torch.Tensor,
        pulses: torch.Tensor,
        breath: float = 0.0,
    ) -> torch.Tensor:
        """(B, 512, T), (B, T) Hz, (B, 128), (B, T * 200) pulses and dB of noise -> (B, T * 200) sound."""
        voiced = (pitch > VOICED).float()
        tone = torch.stack((voiced, voiced * (pitch.clamp(min=VOICED) / 200).log()), 1)
        x = self.take(torch.cat((features / 3, tone), 1)) + self.colour(timbre)[:, :, None]
        for block in self.blocks:
            x = x + block(x)
        count, frames = len(x), x.shape[2]
        bands = self.give(x).view(count, 2, BANDS, PARTS, frames).transpose(3, 4).flatten(3)
        bands = MIDDLE + REACH * (bands / REACH).tanh()
        bins = torch.einsum("fb,nkbt->nkft", self.spread, bands)
        # One column more than the hops, as the transform has it.
        bins = torch.cat((bins, bins[..., -1:]), -1).exp()
        noise = torch.randn_like(pulses) * 10 ** (breath / 20)
        shaped = self._transform(pulses) * bins[:, 0] + self._transform(noise) * bins[:, 1]
        return torch.istft(shaped, WINDOW, HOP, window=self.window, length=pulses.shape[1])

    def _transform(self, sound: torch.Tensor) -> torch.Tensor:
        return torch.stft(sound, WINDOW, HOP, window=self.window, return_complex=True)

    def say(
        self, features: Floats, pitch: Floats, timbre: Floats, sung: Floats, breath: float = 0.0
    ) -> Floats:
        """What Kokoro makes of a sentence, and the pitch that is to be heard -> (T * 200,) float32 at 16 kHz.

        Args:
            features: (512, T).
            pitch: (T,) Hz.
            timbre: (128,).
            sung: (T,) Hz; the colours are those of `pitch`.
            breath: dB of noise more than there was.
        """
        rows = [torch.from_numpy(row)[None] for row in (features, pitch, timbre, pulses(sung))]
        with torch.inference_mode():
            return np.asarray(self(*rows, breath)[0].numpy(), np.float32)


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv1d(WIDTH, WIDTH, SPAN, padding=SPAN // 2, groups=WIDTH)
        self.norm = nn.LayerNorm(WIDTH)
        self.widen, self.narrow = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = self.norm(self.mix(x).transpose(1, 2))
        moved: torch.Tensor = self.narrow(nn.functional.gelu(self.widen(rows))).transpose(1, 2)
        return moved


def pulses(pitch: Floats) -> Floats:
    """(T,) Hz a frame -> (T * 200,) pulses at that pitch, below half the rate and as strong at any pitch.

    All harmonics at once: the sum of cos(k x) for k = 1..K is half of sin((K + 1/2) x) / sin(x / 2) - 1.
    """
    at = (np.arange(len(pitch) * FRAME) + 0.5) / FRAME - 0.5
    voiced = pitch > VOICED
    if not voiced.any():
        return np.zeros(len(at), np.float32)
    known = np.flatnonzero(voiced)
    hertz = np.interp(at, known, pitch[known])
    turn = np.cumsum(hertz / VOCODER_RATE) * 2 * np.pi
    most = np.ceil(VOCODER_RATE / 2 / hertz) - 1
    half = np.sin(turn / 2)
    peak = np.abs(half) < PEAK
    ratio = np.sin((most + 0.5) * turn) / np.where(peak, 1.0, half)
    sound = (np.where(peak, 2 * most + 1, ratio) - 1) / 2
    on = voiced[np.clip(np.round(at).astype(int), 0, len(pitch) - 1)]
    return np.asarray(sound * on / np.sqrt(np.maximum(most, 1)), np.float32)


def difference(said: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Mean difference of the log spectra, and the share of the spectra that is missed, over resolutions."""
    total = said.new_zeros(())
    for size in RESOLUTIONS:
        window = torch.hann_window(size)
        mine, theirs = (
            torch.stft(sound, size, size // 4, window=window, return_complex=True).abs()
            for sound in (said, wanted)
        )
        total = total + ((mine + FAINT * size).log() - (theirs + FAINT * size).log()).abs().mean()
        # Smoothed over frequency, since noise is never the same twice.
        smooth = [nn.functional.avg_pool2d(level[:, None], (5, 3), 1) for level in (mine, theirs)]
        total = total + ((smooth[0] + FAINT * size).log() - (smooth[1] + FAINT * size).log()).abs().mean()
        total = total + 0.5 * (smooth[0] - smooth[1]).norm() / smooth[1].norm()
    return total / len(RESOLUTIONS)


def load(path: Path) -> Vocoder:
    """One that `training.teach_vocoder` has written."""
    vocoder = Vocoder()
    vocoder.load_state_dict(load_file(path))
    return vocoder.eval()


def save(vocoder: Vocoder, path: Path) -> None:
    """Write its weights as float16: what it says is for a recognizer, and the repository holds it."""
    save_file({name: value.half().contiguous() for name, value in vocoder.state_dict().items()}, path)


def _spread() -> torch.Tensor:
    """(WINDOW / 2 + 1, BANDS): bands, evenly apart on the mel scale, drawn out over frequencies."""
    mels = 2595 * np.log10(1 + np.linspace(0, VOCODER_RATE / 2, WINDOW // 2 + 1) / 700)
    at = mels / mels[-1] * (BANDS - 1)
    return torch.from_numpy(np.maximum(0, 1 - np.abs(at[:, None] - np.arange(BANDS))).astype(np.float32))
