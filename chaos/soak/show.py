"""The display of a run: on a terminal a bar, elsewhere a line every half minute."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from chaos.soak.sample import Sample

LINE_EVERY = 30.0  # seconds


@contextmanager
def showing(console: Console, seconds: float) -> Iterator[Callable[[Sample], None]]:
    """Hold a display inside the block; yield the function that shows a sample."""
    if not console.is_terminal:
        yield _Lines(console).show
        return
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("starting", total=seconds)

        def show(sample: Sample) -> None:
            progress.update(task, completed=min(sample.at, seconds), description=_words(sample, sep="\n"))

        yield show


class _Lines:
    """A display without a terminal: a line now and then."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._next = 0.0

    def show(self, sample: Sample) -> None:
        """Print a line, if it is time for one."""
        if sample.at >= self._next:
            self._next = sample.at + LINE_EVERY
            self._console.print(_words(sample, sep="; "), soft_wrap=True, highlight=False)


def _words(sample: Sample, *, sep: str) -> str:
    memory = ", ".join(f"{name} {mb:.0f}" for name, mb in sample.memory.items())
    jobs = sample.tables["jobs"]
    return sep.join([
        f"{sample.at:5.0f} s: {sample.finished:,} lookups ended, {sample.open:,} open",
        f"MB: {memory}",
        f"jobs: {jobs.total / 2**20:.1f} MiB, {jobs.dead:,} dead rows; {sample.connections} connections",
    ])  # fmt: skip
