"""Progress, log messages and cancellation of a long run: the only interface between the library and its caller."""

from __future__ import annotations

import time

from avpenet_cli.errors import Interrupted

_SIGNAL_S = 0.2
"""Within this a signal to all processes of a job or a service has reached them all."""


class RunCallbacks:
    """Receives what a run reports, and may stop it.

    This base class ignores every report and never stops the run. Subclass it and override what you need; the command
    line overrides all of it with its log and progress bars.
    """

    def info(self, message: str, **fields: object) -> None:
        """Take one line of normal progress; `fields` are the same facts as key and value, for structured logs."""

    def detail(self, message: str, **fields: object) -> None:
        """Take one line that is needed only for diagnosis, such as stage timings."""

    def warning(self, message: str, **fields: object) -> None:
        """Take one line that a person should look at."""

    def error(self, message: str, **fields: object) -> None:
        """Take one line about something that failed, such as a recording; the run continues."""

    def failure(self, error: Exception) -> None:
        """Take the exception behind a recording that failed; the run continues. Its text may hold a patient's name."""

    def set_total(self, total: int) -> None:
        """Note how many recordings or epochs the run has; called once, before the first report."""

    def item_started(self, name: str, lane: int = 0) -> None:
        """Note which recording comes next.

        Args:
            name: the recording's name or pseudonym.
            lane: number of the lane that takes it, where several recordings are in progress at once.
        """

    def progress(self, done: float, total: float, lane: int = 0) -> None:
        """Note the progress of a lane's current recording, or of an epoch.

        Args:
            done: seconds read, batches trained or segments scored so far.
            total: the value of `done` at the end; 0 if it is not known.
            lane: as in `item_started`.
        """

    def item_done(self, lane: int | None = 0) -> None:
        """Note that one more recording or epoch is finished.

        Args:
            lane: as in `item_started`; None for a recording that no lane had to take.
        """

    def should_stop(self) -> bool:
        """Tell whether the run should end now; asked between batches."""
        return False

    def check_stop(self) -> None:
        """Raise when the run should end.

        Raises:
            Interrupted: `should_stop` returned True.
        """
        if self.should_stop():
            raise Interrupted("interrupted")

    def check_stop_of_decoder(self) -> None:
        """As `check_stop`, where a recording looks damaged or cut short: systems that stop a service or a job send the
        signal to its decoders, too, which may have ended before this process hears of it."""
        time.sleep(_SIGNAL_S)
        self.check_stop()


NO_CALLBACKS = RunCallbacks()
