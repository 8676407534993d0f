"""Real speech to choose models by: `python -m training.prompts --out FOLDER` writes a shard for `--new`.

The prompts of a telephone system, read by Allison Smith (Debian packages asterisk-core-sounds-en-g722, for
the sound, and asterisk-core-sounds-en, for the texts; CC BY-SA 3.0). Never train on them: what people do that
no synthesizer does is heard here, and in no other clips that may choose.
"""

import argparse
import gzip
import re
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np

from training.corpus import RATE, Clip, Speech, write_shard

SOUNDS = Path("/usr/share/asterisk/sounds/en_US_f_Allison")
TEXTS = Path("/usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz")
LINE = re.compile(r"([\w/-]+): (.*\w.*)")
NOT_READ = re.compile(r"[^A-Za-z ,.!?;:'-]")
"""Tones in brackets, and digits and signs, of which a text does not tell how they are read."""
SILENCE = RATE * 3 // 10
"""Samples put before and behind each prompt, which is cut close."""
PEAK = 0.6
LONGEST = RATE * 15
"""Samples of a clip; the product hears so much as a whole."""


def prompts(sounds: Path = SOUNDS, texts: Path = TEXTS) -> Iterator[Clip]:
    """The prompts whose texts tell what is said, but for the longest.

    Raises:
        FileNotFoundError: The packages are not installed.
    """
    if not (sounds.is_dir() and texts.is_file()):
        raise FileNotFoundError(
            f"{sounds} or {texts}: missing. Install asterisk-core-sounds-en-g722 and asterisk-core-sounds-en."
        )
    for line in gzip.decompress(texts.read_bytes()).decode("utf-8").splitlines():
        if (found := LINE.fullmatch(line.strip())) is None:
            continue
        name, text = found[1], found[2].strip(" .") + "."
        path = sounds / f"{name}.g722"
        if not path.is_file() or NOT_READ.search(text):
            continue
        speech = _read(path)
        if len(speech) <= LONGEST:
            yield Clip(text, "prompts:allison", speech)


def _read(path: Path) -> Speech:
    """A file of bare G.722 -> what it holds, at one peak and between two silences."""
    with av.open(str(path), format="g722") as opened:
        parts = [frame.to_ndarray().ravel() for frame in opened.decode(audio=0)]
    speech = np.concatenate(parts).astype(np.float32)
    speech *= PEAK * 32767 / max(float(np.abs(speech).max()), 1.0)
    return np.pad(speech.astype(np.int16), SILENCE)


def main() -> None:
    """Read the command line, then write the shard."""
    parser = argparse.ArgumentParser(
        description="Write real prompts as a shard of clips to choose models by."
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of `--new`")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    clips = list(prompts())
    write_shard(asked.out / "prompts-0-0000.npz", clips)
    print(f"{len(clips)} prompts, {sum(len(clip.speech) for clip in clips) / RATE / 60:.1f} minutes")


if __name__ == "__main__":
    main()
