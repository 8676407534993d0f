"""Synthetic room impulse responses: early reflections of a box-shaped room, and a diffuse tail.

Source: Allen and Berkley, "Image method for efficiently simulating small-room acoustics" (1979), with one
absorption for all walls; the tail is noise whose high frequencies die first, as loud as the images at its
start.
"""

import numpy as np
import numpy.typing as npt

from training.corpus import RATE

Response = npt.NDArray[np.float32]
"""(N,) float32; the direct sound comes first, so that the speech keeps its place."""

SPEED_OF_SOUND = 343.0
ORDER = 5
"""Walls a sound is followed across, along each axis."""


def room_response(rng: np.random.Generator) -> Response:
    """Draw a room, a speaker and a microphone; near and far, dry and lively."""
    size = rng.uniform((2.2, 2.2, 2.2), (8.0, 6.0, 3.5))
    speaker = rng.uniform(0.4, size - 0.4)
    microphone = rng.uniform(0.2, size - 0.2)
    reverberation = rng.uniform(0.15, 0.8)
    """Seconds until the sound has fallen by 60 dB."""
    distances, walls = _images(size, speaker, microphone)
    mean_free_path = 4.0 * size.prod() / (2.0 * (size[0] * size[1] + size[1] * size[2] + size[0] * size[2]))
    reflection = np.exp(-6.908 * mean_free_path / (SPEED_OF_SOUND * reverberation))
    arrivals = (distances - distances.min()) / SPEED_OF_SOUND * RATE
    length = int(min(reverberation, 0.7) * RATE)
    heard = arrivals < length - 1
    response = np.zeros(length)
    # The signs make the images' sum as rough as a real wall does.
    signs = np.where(walls[heard] == 0, 1.0, rng.choice((-1.0, 1.0), heard.sum(), p=(0.25, 0.75)))
    np.add.at(
        response, arrivals[heard].astype(np.intp), signs * reflection ** walls[heard] / distances[heard]
    )
    response += _tail(response, length, reverberation, rng)
    return np.asarray(response / np.sqrt(np.square(response).sum()), np.float32)


def _images(
    size: npt.NDArray[np.float64], speaker: npt.NDArray[np.float64], microphone: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Distance of each mirrored speaker, and how many walls its sound has met."""
    order = np.arange(-ORDER, ORDER + 1)
    axes = []
    for span, source, ear in zip(size, speaker, microphone, strict=True):
        at = np.where(order % 2 == 0, order * span + source, (order + 1) * span - source)
        axes.append(at - ear)
    x, y, z = np.meshgrid(*axes, indexing="ij")
    walls = np.abs(np.stack(np.meshgrid(order, order, order, indexing="ij"))).sum(axis=0)
    distances = np.sqrt(x * x + y * y + z * z).ravel()
    return np.maximum(distances, 0.2), walls.ravel()


def _tail(
    early: npt.NDArray[np.float64], length: int, reverberation: float, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    mixing = min(int(0.03 * RATE), length // 2)
    seconds = np.arange(length) / RATE
    noise = rng.standard_normal(length)
    dull = np.convolve(noise, np.full(8, 8**-0.5), "same")
    share = np.minimum(seconds / reverberation, 1.0)
    shaped = (noise * (1.0 - share) + dull * share) * 10.0 ** (-3.0 * seconds / reverberation)
    shaped[:mixing] *= np.linspace(0.0, 1.0, mixing)
    level = np.sqrt(
        np.square(early[mixing : 2 * mixing]).mean() / np.square(shaped[mixing : 2 * mixing]).mean()
    )
    return np.asarray(shaped * level * rng.uniform(0.5, 1.2), np.float64)
