"""Manners of speaking: words as people say them in passing, accents, and sounds of uneven length.

Synthesizers say "of", "and" and "was" as a dictionary spells them, each sound for about its mean time, and
all in the accent of one speaker. People weaken, drop and hurry. Phonemes are in the alphabet of hibari and
Kokoro: A as in "day", I "my", O and Q "go", W "now", Y "boy", T a tapped t.
Sources: Cruttenden, "Gimson's Pronunciation of English" (2014), for weak forms and what is left out between
words; Wells, "Accents of English" (1982), for the accents; Rossenbach et al. (2023), "On the relevance of
phoneme duration variability", for what uneven lengths are worth to a recognizer that hears synthesizers.
"""

import importlib
import random
import re

import numpy as np
import numpy.typing as npt

CASUAL = 0.75
"""Share of sentences that are said in passing, some more and some less."""
ACCENTED = 0.5
"""Share of sentences with an accent: one to LONGEST_ACCENT sounds are others."""
LONGEST_ACCENT = 4
HESITANT, PAUSES = 0.35, 3
"""Share of sentences with pauses where nothing is written, and how many at most."""
HURRIED = 0.15
"""Share of sentences with no pause at their commas."""
EACH, DRIFT, CALM = 0.25, 0.2, 0.8
"""Deviation of a sound's length from its mean, in nats: each sound's own; what drifts along the sentence, and
how much of that is left a sound later. A sentence has from none of the first two to twice as much."""

STRESSES = str.maketrans("", "", "ˈˌ")
WEAK = {
    "ænd": ("ən", "n", "ənd"), "and": ("ən", "n"), "ʌv": ("əv", "ə"), "ɒv": ("əv", "ə"), "wʌz": ("wəz",),
    "wɒz": ("wəz",), "wɜɹ": ("wəɹ",), "wɜː": ("wə",), "ɑɹ": ("əɹ",), "ɑː": ("ə",), "fɔɹ": ("fəɹ",),
    "fɔː": ("fə",), "ɔɹ": ("əɹ",), "ɔː": ("ə",), "tʊ": ("tə",), "tu": ("tə",), "ju": ("jə",),
    "juː": ("jə",), "jʊɹ": ("jəɹ",), "jɔː": ("jə",), "mI": ("mə", "ma"), "bI": ("bə",), "hi": ("i", "hɪ"),
    "hiː": ("i", "hɪ"), "hɪm": ("ɪm",), "hɪz": ("ɪz",), "hɜɹ": ("ɜɹ", "əɹ"), "hɜː": ("ɜː", "ə"),
    "ʃi": ("ʃɪ",), "ʃiː": ("ʃɪ",), "wi": ("wɪ",), "wiː": ("wɪ",), "mi": ("mɪ",), "bi": ("bɪ",),
    "biː": ("bɪ",), "bɪn": ("bən",), "biːn": ("bɪn",), "hæv": ("əv", "həv"), "hav": ("əv", "həv"),
    "hæz": ("əz", "həz"), "haz": ("əz", "həz"), "hæd": ("əd", "həd"), "had": ("əd", "həd"),
    "kæn": ("kən", "kŋ"), "kan": ("kən",), "kʊd": ("kəd",), "wʊd": ("əd", "wəd"), "ʃʊd": ("ʃəd",),
    "wɪl": ("əl", "wəl"), "ʃæl": ("ʃəl",), "mʌst": ("məs", "məst"), "du": ("də",), "ðæt": ("ðət",),
    "ðat": ("ðət",), "ðən": ("ən", "ðən"), "ðɛm": ("əm", "ðəm"), "ðɛɹ": ("ðəɹ",), "ðɛː": ("ðə",),
    "ðA": ("ðɛ",), "æz": ("əz",), "az": ("əz",), "æt": ("ət",), "ɐn": ("ən",), "fɹʌm": ("fɹəm", "fəm"),
    "fɹɒm": ("fɹəm",), "bʌt": ("bət", "bəʔ"), "sʌm": ("səm",), "nɑt": ("nɑʔ",), "ʤʌst": ("ʤəs", "ʤəst"),
    "ɪt": ("ɪʔ", "ət"), "wʌt": ("wəʔ", "wət"), "wɪð": ("wɪ", "wəð"), "ɪf": ("f", "əf"), "ɪn": ("ən",),
    "ɪz": ("əz", "z"), "ɔn": ("ən",), "Wt": ("æt",), "ɪntu": ("ɪntə", "ɪnə"), "sO": ("sə",), "nO": ("nə",),
    "ɡOɪŋ": ("ɡənə", "ɡOn"),
}  # fmt: skip
"""Words without their stresses, and how they are said when nothing depends on them."""
CONSONANT = "bdfhklmnpstvwzðŋɡɹʃʒʤʧθ"
VOWEL = "AIOQWYaiuæɑɐɒɔəɚɛɜɪʊʌᵊ"
SLURS = (
    (rf"(?<=[{CONSONANT}])[td](?= ?[{CONSONANT}])", ""),
    (r"t j", "ʧ"),
    (r"d j", "ʤ"),
    (r"s j", "ʃ"),
    (r"ɪŋ(?=[ ,.?!]|$)", "ɪn"),
    (r"(?<=[nl])t(?=ə)", ""),
    (rf"t(?=[ ,.?!]|$)(?<=[{VOWEL}]t)", "ʔ"),
    (r"(?<=[a-zæɑɛɪ])əɹ(?=[iə])", "ɹ"),
    (r"h(?=[ˌɪiɜ])", ""),
    (r"n(?= ?[pbm])", "m"),
    (r"(?<=[sʃ])t(?=s)", ""),
    (r"ˌ", ""),
)
"""What is left out or runs together, as patterns of `re`, each to be had or not to be had in a sentence."""
ACCENTS = (
    ("æ", "ɛ"), ("æ", "a"), ("a(?!ː)", "æ"), ("ɛ", "æ"), ("ɛ", "ɪ"), ("ɛ", "e"), ("ɪ", "i"), ("ɪ", "ə"),
    ("i", "ɪ"), ("ʌ", "a"), ("ʌ", "ʊ"), ("ʌ", "ɑ"), ("ʌ", "ə"), ("ɑ(?!ː)", "ɔ"), ("ɑ(?!ː)", "ɒ"),
    ("ɑ(?!ː)", "a"), ("ɔ", "ɑ"), ("ɔ", "o"), ("ɒ", "ɔ"), ("O", "o"), ("O", "ɔ"), ("[OQ]", "əʊ"), ("A", "e"),
    ("A", "I"), ("A", "ɛ"), ("I", "ɑɪ"), ("I", "Y"), ("I", "aː"), ("W", "æʊ"), ("W", "ɑ"), ("u", "ʊ"),
    ("u", "ɨ"), ("ʊ", "u"), ("Y", "oɪ"), ("[əᵊ]", "ɛ"), ("ɜɹ", "ɜː"), ("ɜ", "ɛ"),
    (rf"ɹ(?![{VOWEL}ˈˌ])", ""), (rf"(?<=[əɜ])ɹ(?![{VOWEL}])", ""), ("ɹ", "ɾ"), ("ɹ", "ʁ"), ("ɹ", "r"),
    ("θ", "t"), ("θ", "s"), ("θ", "f"), ("ð", "d"), ("ð", "z"), ("ð", "v"), ("w", "v"), ("v", "w"),
    ("v", "b"), ("z(?=[ ,.?!]|$)", "s"), ("d(?=[ ,.?!]|$)", "t"), ("ŋ", "ŋɡ"), ("T", "t"), ("T", "d"),
    ("T", "ʔ"), ("t(?!ʃ)", "ʈ"), ("d", "ɖ"), ("ʤ", "ʒ"), ("ʧ", "ʃ"), ("ʃ", "s"), ("h", ""), ("h", "x"),
    ("l(?=[ ,.?!]|$)", "ʊ"), ("k(?=[ ,.?!]|$)", "ʔ"), ("ʒ", "ʃ"),
)  # fmt: skip
"""Sounds, as patterns of `re`, and what some speakers say instead of them wherever they stand."""


def said(phonemes: str, rng: random.Random) -> str:
    """One sentence, words parted by spaces -> the same as somebody may say it in passing, with an accent."""
    phonemes = _phrased(phonemes, rng)
    if rng.random() < CASUAL:
        phonemes = _slurred(phonemes, rng.random(), rng)
    if rng.random() < ACCENTED:
        for sound, other in rng.sample(ACCENTS, rng.randint(1, LONGEST_ACCENT)):
            phonemes = re.sub(sound, other, phonemes)
    return phonemes


def lengths(count: int, rng: random.Random) -> npt.NDArray[np.float32]:
    """(count,): by what the sounds of a sentence last longer, and on average as long as before."""
    spread, drift = rng.random(), rng.gauss(0.0, DRIFT)
    nats = []
    for _ in range(count):
        drift = CALM * drift + (1 - CALM**2) ** 0.5 * rng.gauss(0.0, DRIFT)
        nats.append(spread * 2 * (drift + rng.gauss(0.0, EACH)))
    longer = np.exp(np.asarray(nats, np.float32))
    return np.asarray(longer / longer.mean(), np.float32)


def speeds_apart(network: bytes) -> bytes:
    """An ONNX network of Kokoro's kind that divides the sounds' lengths by `speed`: by one for each sound."""
    onnx = importlib.import_module("onnx")
    model = onnx.load_model_from_string(network)
    speed = next(taken for taken in model.graph.input if taken.name == "speed")
    speed.type.tensor_type.shape.dim[0].dim_param = "L"
    return bytes(model.SerializeToString())


def _phrased(phonemes: str, rng: random.Random) -> str:
    """Pauses as a speaker makes them, who does not see the commas: a comma is a pause to a synthesizer."""
    if rng.random() < HURRIED:
        phonemes = phonemes.replace(",", "")
    words = phonemes.split(" ")
    if rng.random() < HESITANT:
        for at in rng.choices(range(len(words)), k=rng.randint(1, PAUSES)):
            if at < len(words) - 1 and words[at] and words[at][-1] not in ".,?!;:":
                words[at] += ","
    return " ".join(words)


def _slurred(phonemes: str, casually: float, rng: random.Random) -> str:
    words = []
    for word in phonemes.split(" "):
        core = word.rstrip(".,?!;:")
        weak = WEAK.get(core.translate(STRESSES)) if "ˈ" not in core else None
        words.append(rng.choice(weak) + word[len(core) :] if weak and rng.random() < casually else word)
    slurred = " ".join(words)
    for pattern, said_instead in SLURS:
        if rng.random() < 0.5 * casually:
            slurred = re.sub(pattern, said_instead, slurred)
    return slurred
