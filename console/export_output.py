"""Where an export goes: to stdout, or to a file that is there once it is whole."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO


class NotWritten(Exception):
    """Not all was written; the message says why, and is empty where the reader wanted no more."""


@dataclass(frozen=True, slots=True)
class Output:
    """A destination of text in UTF-8, on every machine."""

    file: IO[bytes]
    is_file: bool

    def write(self, text: str) -> None:
        """Write *text* out at once, so that a reader need not wait. Raise NotWritten."""
        try:
            self.file.write(text.encode())
            self.file.flush()
        except BrokenPipeError:
            # Python flushes stdout at its end, and would complain: https://docs.python.org/3/library/signal.html#note-on-sigpipe
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise NotWritten from None
        except OSError as error:
            raise NotWritten(f"Not all could be written: {error.strerror}.") from None


@contextmanager
def stdout() -> Iterator[Output]:
    """Hold stdout inside the block."""
    yield Output(sys.stdout.buffer, is_file=False)


@contextmanager
def file(path: Path) -> Iterator[Output]:
    """Hold a file beside *path*, for this user alone; it takes the name at the end of the block. Raise NotWritten."""
    target = path.resolve()  # a link stays a link
    if target.exists() and not target.is_file():
        raise NotWritten(f"{path} is no file. Remedy: --output with a file's name, or none for stdout")
    try:
        # It is made with the mode 0600.
        part = NamedTemporaryFile(dir=target.parent, prefix=f".{target.name[:100]}.", delete=False)  # noqa: SIM115
    except OSError as error:
        raise NotWritten(f"{path} cannot be written: {error.strerror}.") from None
    try:
        with part:
            yield Output(part.file, is_file=True)
            _store(part.fileno(), path)
        Path(part.name).replace(target)
    finally:
        Path(part.name).unlink(missing_ok=True)


def _store(fd: int, path: Path) -> None:
    """Wait until the disk has the file: a rename would otherwise outlive its content. Raise NotWritten."""
    try:
        os.fsync(fd)
    except OSError as error:
        raise NotWritten(f"{path} cannot be written: {error.strerror}.") from None


@contextmanager
def progressing(*, to_file: bool) -> Iterator[Callable[[int], None]]:
    """Show the progress on stderr inside the block, if that is a terminal where no lookups are shown."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    shown = sys.stderr.isatty() and (to_file or not sys.stdout.isatty())
    parts = (SpinnerColumn(), TextColumn("{task.completed:,} lookups"), TimeElapsedColumn())
    with Progress(*parts, console=Console(stderr=True), transient=True, disable=not shown) as progress:
        task = progress.add_task("export", total=None)
        yield lambda count: progress.advance(task, count)
