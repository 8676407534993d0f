"""What people see in a terminal: colours, tables, progress. The only module that imports rich.

On anything but a terminal all of it is plain text, and progress is silent.
"""

import errno
import os
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

_OBEYED: Final = frozenset({"Cc", "Cs"})
"""Control characters; surrogates, which stand for bytes that were no text. Source: Unicode, table 4-4."""


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave it to the caller, as any other error of the stream. Rich would end the process."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


@dataclass(frozen=True, slots=True)
class Terminal:
    """A stream for people; texts may hold rich's markup, so foreign text goes through `plain()` first."""

    rich: Console

    @property
    def interactive(self) -> bool:
        """Whether a person looks at it."""
        return self.rich.is_terminal

    def say(self, text: str = "") -> None:
        """Print one line; never folded, so that addresses and commands can be copied."""
        self.rich.print(text, soft_wrap=True, highlight=False)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "") -> None:
        """Print a table; columns after the first are aligned to the right."""
        table = Table(title=title or None, box=None, pad_edge=False, title_justify="left")
        for index, column in enumerate(columns):
            table.add_column(column, justify="right" if index else "left", no_wrap=True)
        for row in rows:
            table.add_row(*map(plain, row))
        self.rich.print(table, soft_wrap=True)


def console(*, stderr: bool = True) -> Terminal:
    """The terminal behind standard error (the default) or standard output, as it is now."""
    return Terminal(_Console(stderr=stderr))


def plain(text: str) -> str:
    """Text from elsewhere, such as a file name or a server's message, made safe to say.

    Its brackets are no markup, and what a terminal would obey (all but line ends) is shown as a replacement.
    """
    return escape(printable(text))


def printable(text: str) -> str:
    """Text without what a terminal would obey, and without bytes that were no text; line ends stay."""
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(char) in _OBEYED and char != "\n" else char
        for char in text
    )


@contextmanager
def progress(description: str, total: float | None) -> Iterator[Callable[[float], None]]:
    """A progress bar on standard error while the block runs; silent without a terminal.

    Args:
        description: What is being done; foreign text is safe.
        total: How much there is to do, in any unit; None if unknown.

    Yields:
        A function that takes how much is done by now.
    """
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    target = _Console(stderr=True)
    with Progress(*columns, console=target, transient=True, disable=not target.is_terminal) as bar:
        task = bar.add_task(description, total=total)
        yield lambda done: bar.update(task, completed=done)
