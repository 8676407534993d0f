"""The door: a client's bytes, in blocks of any size and of any format, to mono float32 at 16 kHz."""

import numpy as np

from ears_edge.audio.pcm import PcmFormat, decode
from ears_edge.audio.resample import Resampler
from ears_edge.audio.riff import RiffReader
from ears_edge.units import F32, SAMPLE_RATE


class Converter:
    """One stream. The samples, all together, do not depend on how the bytes were cut into blocks.

    A RIFF/WAVE header at the very start is read, and its format then holds for the whole stream, whatever is
    declared. Bytes that do not make a whole sample frame wait for the next block. Another format from one
    block to the next ends the resampling of what came before and goes on with the new; a partial sample frame
    left over there, or at the end, is dropped. Not thread-safe.
    """

    def __init__(self, to: int = SAMPLE_RATE) -> None:
        self._to = to
        self._riff = RiffReader()
        self._fmt: PcmFormat | None = None
        """The format declared last."""
        self._heard: PcmFormat | None = None
        """The format that `_resampler` and `_partial` belong to."""
        self._resampler: Resampler | None = None
        self._partial = b""

    def feed(self, pcm: bytes, fmt: PcmFormat) -> F32:
        """One block of PCM, any length -> (N,) float32 mono at 16 kHz (or `to`) in about [-1, 1], any N.

        Raises:
            AudioFormatError: A RIFF header in front of the stream is broken, or tells of a format that can't
                be read. The stream is over then.
        """
        if not pcm:
            return np.zeros(0, np.float32)
        before = self._declare(fmt)
        heard = self._hear(self._riff.feed(pcm), fmt)
        return np.concatenate((before, heard)) if len(before) else heard

    def flush(self) -> F32:
        """The end of the stream -> the (N,) float32 samples that were held back.

        Raises:
            AudioFormatError: The stream is still inside its RIFF header.
        """
        return self._let_go(self._riff.finish())

    def stall(self) -> F32:
        """Nothing comes for now -> the (N,) float32 samples that were held back.

        The stream may go on: a partial sample frame still waits for its rest, and so does a RIFF header, but
        resampling begins anew, as if there had been silence.
        """
        return self._let_go(self._riff.give_up() if self._riff.undecided and self._fmt else b"")

    def _let_go(self, rest: bytes) -> F32:
        if self._fmt is None:
            return np.zeros(0, np.float32)
        heard = self._hear(rest, self._fmt)
        if self._resampler is None:
            return heard
        resampler, self._resampler = self._resampler, None
        return np.concatenate((heard, resampler.flush()))

    def _declare(self, fmt: PcmFormat) -> F32:
        """Note the block's format. If it has changed before a header was told from sound, there is none."""
        old, self._fmt = self._fmt, fmt
        if old is None or old == fmt or not self._riff.undecided:
            return np.zeros(0, np.float32)
        return self._hear(self._riff.give_up(), old)

    def _hear(self, sound: bytes, declared: PcmFormat) -> F32:
        if not sound:
            return np.zeros(0, np.float32)
        fmt = self._riff.fmt or declared
        before = np.zeros(0, np.float32) if fmt == self._heard else self._end_run()
        self._heard = fmt
        if self._resampler is None:
            self._resampler = Resampler(fmt.rate, self._to)
        pcm = self._partial + sound if self._partial else sound
        whole = len(pcm) - len(pcm) % fmt.frame_bytes
        self._partial = pcm[whole:]
        heard = self._resampler.feed(decode(pcm[:whole], fmt))
        return np.concatenate((before, heard)) if len(before) else heard

    def _end_run(self) -> F32:
        rest = np.zeros(0, np.float32) if self._resampler is None else self._resampler.flush()
        self._heard, self._resampler, self._partial = None, None, b""
        return rest
