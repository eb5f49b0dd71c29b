"""Progress of a run on a terminal: bars, the time that is left, and the name of the current recording."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

_FIRST_ESTIMATE_S = 5.0
"""How long a run must have worked before its speed means something."""


class RemainingTime:
    """Estimates how long a run still takes, from the seconds of recordings that it has done.

    Recordings that were finished by an earlier run take no time and do not count. Those still to come are taken to be
    as long as those before them.

    Args:
        clock: seconds from any start.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started = clock()
        self._left = 0
        self._worked = self._lengths = self._current = self._current_length = 0.0
        self._counted = 0

    def start(self, items: int) -> None:
        """Begin to measure, with this number of items to do."""
        self._started, self._left = self._clock(), items

    def progress(self, done: float, total: float) -> None:
        """Note how far the current item is, in any unit."""
        self._current, self._current_length = min(done, total), total

    def item_done(self) -> None:
        """Note that the current item is finished."""
        self._left -= 1
        if self._current_length:
            self._worked += self._current_length
            self._lengths += self._current_length
            self._counted += 1
        self._current = self._current_length = 0.0

    @property
    def remaining_s(self) -> float | None:
        """Seconds until the end; None while there is too little to go by."""
        elapsed_s = self._clock() - self._started
        worked, lengths, counted = self._worked + self._current, self._lengths, self._counted
        rest, others = 0.0, self._left
        if self._current_length:
            lengths, counted = lengths + self._current_length, counted + 1
            rest, others = self._current_length - self._current, self._left - 1
        if elapsed_s < _FIRST_ESTIMATE_S or not worked:
            return None
        return (rest + others * lengths / counted) * elapsed_s / worked


class _Times(ProgressColumn):
    """Time since the start, and until the end; beside the bar of all items."""

    max_refresh = 0.5

    def __init__(self, remaining: RemainingTime) -> None:
        super().__init__()
        self._remaining = remaining

    def render(self, task: Task) -> RenderableType:
        if task.id:
            return Text()
        elapsed, left_s = _clock_text(task.elapsed or 0.0), self._remaining.remaining_s
        left = "" if left_s is None or task.finished else f", about {_clock_text(left_s)} left"
        return Text(elapsed + left, style="progress.elapsed", no_wrap=True)


def _clock_text(seconds: float) -> str:
    return str(timedelta(seconds=math.ceil(seconds)))


class RunProgress(Progress):
    """A bar for all items, one for the current item, and the current item's name below, cropped to the width.

    Args:
        counted: what the two bars count.
        console: the terminal.
    """

    def __init__(self, counted: tuple[str, str], console: Console) -> None:
        self._remaining = RemainingTime()
        self._name = ""
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            _Times(self._remaining),
            console=console,
            expand=True,
        )
        self._all = self.add_task(counted[0], total=None)
        self._current = self.add_task(counted[1], total=None)

    def get_renderables(self) -> Iterable[RenderableType]:
        """The bars, and the name while there is one."""
        yield from super().get_renderables()
        if self._name:
            yield Text(self._name, style="dim", no_wrap=True, overflow="ellipsis")

    def begin(self, items: int) -> None:
        """Show the bars, now that the number of items is known."""
        self._remaining.start(items)
        self.reset(self._all, total=items)
        self.start()

    def item_started(self, name: str) -> None:
        """Show a name; it must be printable."""
        self._name = name
        self.update(self._current, completed=0, total=None)
        self.refresh()

    def item_progress(self, done: float, total: float) -> None:
        """Move the bar of the current item."""
        self._remaining.progress(done, total)
        self.update(self._current, completed=int(done), total=int(total) or None)

    def item_done(self) -> None:
        """Move the bar of all items."""
        self._remaining.item_done()
        self.advance(self._all)
        if self.tasks[0].finished:
            self._name = ""

    def stop(self) -> None:
        """Leave the bars as they are."""
        self._name = ""
        super().stop()


@contextmanager
def progress_bar(description: str, total: int, quiet: bool) -> Iterator[Callable[[], None]]:
    """Show a progress bar on a terminal, nothing elsewhere; yields what to call after each item."""
    visible = sys.stderr.isatty() and not quiet
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not visible) as bars:
        task = bars.add_task(description, total=total)
        yield lambda: bars.advance(task)
