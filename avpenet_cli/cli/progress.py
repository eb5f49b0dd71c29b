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
        self._worked = self._lengths = 0.0
        self._counted = 0
        self._current: dict[int, tuple[float, float]] = {}

    def start(self, items: int) -> None:
        """Begin to measure, with this number of items to do."""
        self._started, self._left = self._clock(), items

    def progress(self, done: float, total: float, lane: int = 0) -> None:
        """Note how far the current item of a lane is, in any unit."""
        self._current[lane] = (min(done, total), total)

    def item_done(self, lane: int | None = 0) -> None:
        """Note that the current item of a lane, or one that no lane had to take, is finished."""
        self._left -= 1
        _, length = self._current.pop(lane, (0.0, 0.0)) if lane is not None else (0.0, 0.0)
        if length:
            self._worked += length
            self._lengths += length
            self._counted += 1

    @property
    def remaining_s(self) -> float | None:
        """Seconds until the end; None while there is too little to go by."""
        elapsed_s = self._clock() - self._started
        current = [(done, length) for done, length in self._current.values() if length]
        worked = self._worked + sum(done for done, _ in current)
        lengths = self._lengths + sum(length for _, length in current)
        counted = self._counted + len(current)
        if elapsed_s < _FIRST_ESTIMATE_S or not worked:
            return None
        rest = sum(length - done for done, length in current)
        others = self._left - len(current)
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
    """A bar for all items, one for those in progress, and their names below, cropped to the width.

    Args:
        counted: what the two bars count.
        console: the terminal.
    """

    def __init__(self, counted: tuple[str, str], console: Console) -> None:
        self._remaining = RemainingTime()
        self._names: dict[int, str] = {}
        self._ended: set[int] = set()
        self._lengths: dict[int, tuple[float, float]] = {}
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
        """The bars, and the names while there are any."""
        yield from super().get_renderables()
        if self._names:
            names = ", ".join(self._names[lane] for lane in sorted(self._names))
            yield Text(names, style="dim", no_wrap=True, overflow="ellipsis")

    def begin(self, items: int) -> None:
        """Show the bars, now that the number of items is known."""
        self._remaining.start(items)
        self.reset(self._all, total=items)
        self.start()

    def item_started(self, name: str, lane: int = 0) -> None:
        """Show a name; it must be printable."""
        self._forget_ended()
        self._names[lane] = name
        self.refresh()

    def item_progress(self, done: float, total: float, lane: int = 0) -> None:
        """Move the bar of the items in progress."""
        self._remaining.progress(done, total, lane)
        self._lengths[lane] = (done, total)
        self._show_current()

    def _forget_ended(self) -> None:
        for lane in self._ended:
            self._names.pop(lane, None)
            self._lengths.pop(lane, None)
        self._ended.clear()
        self._show_current()

    def _show_current(self) -> None:
        done = int(sum(done for done, _ in self._lengths.values()))
        total = int(sum(total for _, total in self._lengths.values()))
        self.update(self._current, completed=done, total=total or None)

    def item_done(self, lane: int | None = 0) -> None:
        """Move the bar of all items."""
        self._remaining.item_done(lane)
        if lane is not None:
            self._ended.add(lane)
            # The last one's name stays until the next begins, so that nothing flickers.
            if self._names.keys() - self._ended:
                self._forget_ended()
        self.advance(self._all)
        if self.tasks[0].finished:
            self._names.clear()

    def stop(self) -> None:
        """Leave the bars as they are."""
        self._names.clear()
        super().stop()


@contextmanager
def progress_bar(description: str, total: int, quiet: bool) -> Iterator[Callable[[], None]]:
    """Show a progress bar on a terminal, nothing elsewhere; yields what to call after each item."""
    visible = sys.stderr.isatty() and not quiet
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not visible) as bars:
        task = bars.add_task(description, total=total)
        yield lambda: bars.advance(task)
