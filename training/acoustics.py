"""From clean clips to what a microphone in a room would hear: drawn anew each time they are used.

Whole batches at once, on the device that trains; only the numbers are drawn on the CPU.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from scipy import fft

from training.corpus import RATE, Speech
from training.features import Lengths, within
from training.noises import KINDS, SECONDS, draw_noise
from training.placing import placed
from training.rooms import room_response

ROOMS = 250
NOISES = 120
CLICKED = 0.35
"""Share of clips with a click: who records himself presses something first."""
COMPANDING = 255.0
"""The mu of telephone lines: ITU-T G.711."""

Rows = npt.NDArray[np.bool_]
"""(B,) of a batch: in which rows something happens."""


class Acoustics:
    """Rooms, backgrounds and microphones. `voices` are clips that others may say in the background."""

    def __init__(self, voices: Sequence[Speech], rng: np.random.Generator, device: str) -> None:
        self._rng, self._device = rng, device
        responses = [room_response(rng) for _ in range(ROOMS)]
        longest = max(len(response) for response in responses)
        padded = np.stack([np.pad(response, (0, longest - len(response))) for response in responses])
        self._rooms = placed(padded, device)
        kinds = [KINDS[i % len(KINDS)] for i in range(NOISES)]
        self._wordless = np.array([number for number, kind in enumerate(kinds) if kind != "talker"])
        noises = np.stack([draw_noise(kind, voices, rng) for kind in kinds])
        self._noises = placed(noises, device)

    def heard(self, sound: torch.Tensor, lengths: Lengths, silent: Rows, hardness: float) -> torch.Tensor:
        """(B, N) float32 clean, with silence around the words -> the same, in a room, by a microphone.

        Args:
            sound: clips in [-1, 1]; N is divisible by 4. It is changed.
            lengths: how many samples are the clip's; what lies behind means nothing afterwards.
            silent: (B,), in which rows nobody speaks.
            hardness: 0 to 1, how likely rooms and noise are, and how loud the noise may be.
        """
        count = len(sound)
        self._change(sound, self._some(count, 0.6 * hardness), self._reverberant)
        sound /= _peak(sound)
        powers = sound.square().sum(1, keepdim=True) / self._tensor(lengths)
        noisy = self._rng.random(count) < np.where(silent, 0.8, 0.5 + 0.4 * hardness)
        self._add_noise(sound, powers, noisy, silent, hardness)
        self._click(sound, self._some(count, CLICKED), lengths)
        sound += torch.randn_like(sound) * self._tensor(1e-3 * silent)
        sound *= within(lengths, sound)
        return self._recorded(sound)

    def _some(self, count: int, share: float) -> Rows:
        return self._rng.random(count) < share

    def _tensor(self, values: npt.NDArray[np.generic]) -> torch.Tensor:
        """(B,) -> (B, 1) on the device."""
        return placed(values.astype(np.float32), self._device)[:, None]

    def _uniform(self, low: float, high: float, rows: int) -> torch.Tensor:
        return self._tensor(self._rng.uniform(low, high, rows))

    def _change(
        self, sound: torch.Tensor, rows: Rows, change: Callable[[torch.Tensor], torch.Tensor]
    ) -> None:
        """Change some rows in place. A GPU changes all and keeps some: new shapes cost it more than work."""
        if not rows.any():
            return
        if self._device == "cpu":
            at = torch.from_numpy(np.flatnonzero(rows))
            sound[at] = change(sound[at])
        else:
            sound.copy_(torch.where(placed(rows, self._device)[:, None], change(sound), sound))

    def _reverberant(self, sound: torch.Tensor) -> torch.Tensor:
        chosen = placed(self._rng.integers(0, ROOMS, len(sound)), self._device)
        responses = self._rooms[chosen]
        length = fft.next_fast_len(sound.shape[1] + responses.shape[1], real=True)
        spectrum = torch.fft.rfft(sound, length) * torch.fft.rfft(responses, length)
        return torch.fft.irfft(spectrum, length)[:, : sound.shape[1]]

    def _background(self, silent: Rows, length: int) -> torch.Tensor:
        """Somebody who talks alone may be behind speech, but is no silence: that would teach not to hear."""
        rng, count = self._rng, len(silent)
        chosen = np.where(silent, rng.choice(self._wordless, count), rng.integers(0, NOISES, count))
        starts = placed(rng.integers(0, SECONDS * RATE, count), self._device)
        at = (starts[:, None] + torch.arange(length, device=self._device)) % (SECONDS * RATE)
        noise = self._noises[placed(chosen, self._device)].gather(1, at)
        self._change(noise, self._some(count, 0.3), self._reverberant)
        return noise

    def _add_noise(
        self, sound: torch.Tensor, powers: torch.Tensor, noisy: Rows, silent: Rows, hardness: float
    ) -> None:
        rng, count = self._rng, len(sound)
        loud = 30.0 * rng.uniform(1.0 - hardness, 1.0, count) ** 0.7
        decibels = np.where(rng.random(count) < 0.3, rng.uniform(20.0, 45.0, count), loud)
        noise = self._background(silent, sound.shape[1])
        alone = self._tensor(silent)
        ratios = self._tensor(noisy * 10.0 ** (-np.where(silent, 0.0, decibels) / 10.0))
        power = (powers * (1 - alone) + alone) * ratios
        sound += noise * (power / (noise.square().mean(1, keepdim=True) + 1e-9)).sqrt()

    def _click(self, sound: torch.Tensor, rows: Rows, lengths: Lengths) -> None:
        """Add the click of a switch near one end: it may ring for half a second, as loud as the voice."""
        rng, count, length = self._rng, len(sound), min(sound.shape[1], RATE // 2)
        hertz = torch.linspace(0.0, RATE / 2, length // 2 + 1, device=self._device)
        centre = self._tensor(10.0 ** rng.uniform(2.4, 3.6, count))
        colour = (-(((hertz - centre) / (centre * self._uniform(0.3, 1.5, count))).square())).exp()
        colour += self._uniform(0.0, 0.3, count)
        noise = torch.randn(count, length, device=self._device)
        times = torch.arange(length, device=self._device)
        ring = torch.fft.irfft(torch.fft.rfft(noise) * colour, length)
        ring *= (-times / RATE * self._tensor(10.0 ** rng.uniform(0.8, 2.8, count))).exp()
        ring *= self._tensor(rows * 10.0 ** rng.uniform(-1.7, 0.1, count)) / _peak(ring)
        place = rng.uniform(0.0, 0.1, count)
        place = np.where(rng.random(count) < 0.7, place, 1.0 - place)
        starts = (np.maximum(lengths - length, 0) * place).astype(np.int64)
        sound.scatter_add_(1, placed(starts, self._device)[:, None] + times, ring)

    def _recorded(self, sound: torch.Tensor) -> torch.Tensor:
        """What the microphone and the line make of it."""
        rng, count = self._rng, len(sound)
        self._change(sound, self._some(count, 0.6), self._coloured)
        sound /= _peak(sound)
        kind = rng.random(count)
        self._change(sound, kind < 0.06, lambda s: (s * self._uniform(1.0, 5.0, len(s))).clamp(-1, 1))
        self._change(sound, kind > 0.94, lambda s: (s * self._uniform(1.0, 5.0, len(s))).tanh())
        sound *= self._tensor(10.0 ** rng.uniform(-1.8, 0.0, count))
        self._change(sound, self._some(count, 0.08), _by_telephone)
        floor = 10.0 ** rng.uniform(-5, -2.7, count) * (rng.random(count) < 0.5)
        sound += torch.randn_like(sound) * self._tensor(floor)
        return (sound * 32768).round_().clamp_(-32768, 32767).div_(32768)

    def _coloured(self, sound: torch.Tensor) -> torch.Tensor:
        """A tilt, two bumps or dents, and the ends of the band cut off."""
        rng, count = self._rng, len(sound)
        length = fft.next_fast_len(sound.shape[1], real=True)
        spectrum = torch.fft.rfft(sound, length)
        hertz = torch.linspace(0.0, RATE / 2, spectrum.shape[1], device=self._device)[None]
        gain = (1.0 + hertz / 1000.0) ** self._uniform(-0.8, 0.7, count)
        for _ in range(2):
            dent = (hertz - self._uniform(200, 6000, count)) / self._uniform(100, 1500, count)
            gain *= 10.0 ** (self._uniform(-0.5, 0.5, count) * (-dent * dent).exp())
        highest = np.where(rng.random(count) < 0.35, rng.uniform(2800, 7500, count), 1e5)
        lowest = np.where(rng.random(count) < 0.5, rng.uniform(50, 350, count), 0.0)
        gain /= 1.0 + (hertz / self._tensor(highest)) ** 10
        gain /= 1.0 + (self._tensor(lowest) / hertz.clamp(min=1.0)) ** 4
        return torch.fft.irfft(spectrum * gain, length)[:, : sound.shape[1]]


def _peak(sound: torch.Tensor) -> torch.Tensor:
    return sound.abs().amax(1, keepdim=True) + 1e-6


def _by_telephone(sound: torch.Tensor) -> torch.Tensor:
    """Half the band, and 8 bits by the mu-law."""
    length = sound.shape[1]
    narrow = torch.fft.irfft(torch.fft.rfft(sound)[:, : length // 4 + 1], length // 2) / 2
    scale = np.log1p(COMPANDING)
    companded = narrow.sign() * (COMPANDING * narrow.abs().clamp(max=1.0)).log1p() / scale
    companded = (companded * 127).round() / 127
    narrow = companded.sign() * (companded.abs() * scale).expm1() / COMPANDING
    return torch.fft.irfft(torch.fft.rfft(narrow), length) * 2
