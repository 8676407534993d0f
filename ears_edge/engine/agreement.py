"""Local agreement: which words of a growing utterance are sure enough to be final. Pure.

Source: Liu et al. 2020, arXiv:2005.11185 (local agreement of successive hypotheses).
"""

from collections.abc import Sequence
from typing import Final

from ears_edge.asr.tdt import Token

MAX_SHIFT: Final = 2
"""Encoder frames by which two looks may place the same token differently."""


def agreed(
    previous: Sequence[Token],
    current: Sequence[Token],
    words: Sequence[slice],
    *,
    sure_before: int,
    tail_before: int,
    confidence: float,
) -> int:
    """How many tokens at the head of `current` are final.

    Both hypotheses start at the same place. A word is final once both have it with the same tokens at about
    the same place, it ends early enough, it is sure enough and both go on behind it. The last word, whose
    punctuation may yet come, must lie further back instead of being followed.

    Args:
        previous: Tokens of the look before.
        current: Tokens of this look.
        words: The words of `current`, as slices.
        sure_before: Frame before which a followed word must end.
        tail_before: Frame before which the last word must end.
        confidence: Smallest confidence of a token.
    """
    count = 0
    for word in words:
        head = current[word]
        if not _same(previous[word], head) or any(token.confidence < confidence for token in head):
            break
        followed = len(current) > word.stop and _begins_alike(previous, current, word.stop)
        if head[-1].frame + head[-1].duration > (sure_before if followed else tail_before):
            break
        if not followed and (len(current) > word.stop or len(previous) > word.stop):
            break
        count = word.stop
    return count


def _same(a: Sequence[Token], b: Sequence[Token]) -> bool:
    return len(a) == len(b) and all(
        x.id == y.id and abs(x.frame - y.frame) <= MAX_SHIFT for x, y in zip(a, b, strict=True)
    )


def _begins_alike(previous: Sequence[Token], current: Sequence[Token], position: int) -> bool:
    return _same(previous[position : position + 1], current[position : position + 1])
