import re
from collections.abc import Iterator

import pytest

from ears_edge.tokens import is_one_of, new_token


def test_tokens_are_long_plain_and_new_each_time() -> None:
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", token) for token in tokens)


@pytest.mark.parametrize(
    ("shown", "tokens", "known"),
    [
        ("b", ("a", "b", "c"), True),
        ("a", ("a",), True),
        ("schlüssel", ("x", "schlüssel"), True),
        ("\ud800", ("\ud800",), True),
        ("ab", ("a", "b"), False),
        ("A", ("a",), False),
        ("a", (), False),
        ("", ("",), False),
        ("", ("a", ""), False),
        ("x", ("",), False),
    ],
)
def test_a_token_is_known_or_not(shown: str, tokens: tuple[str, ...], *, known: bool) -> None:
    assert is_one_of(shown, tokens) is known


def test_every_token_is_compared_whatever_matched_before() -> None:
    asked: list[str] = []

    def watched() -> Iterator[str]:
        for token in ("a", "b", "c"):
            asked.append(token)
            yield token

    assert is_one_of("a", watched())
    assert asked == ["a", "b", "c"]
