"""Many recordings: what is done is skipped, what fails is noted, and the run goes on."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from avpenet_cli.errors import AvpenetError, RecordingError
from avpenet_cli.inputs import Recording
from avpenet_cli.media.probe import check_file
from avpenet_cli.pipeline.evidence import Progress
from avpenet_cli.records import RecordingOutcome
from avpenet_cli.runs.journal import Journal
from avpenet_cli.scoring.scorer import Scorer, failed


@dataclass(frozen=True)
class Finished:
    """One recording dealt with. `reused` when an earlier run had done it; `error` for --debug."""

    recording: Recording
    outcome: RecordingOutcome
    reused: bool = False
    error: Exception | None = None


def score_all(
    recordings: Sequence[Recording], scorer: Scorer, journal: Journal, progress: Progress
) -> Iterator[Finished]:
    """Deal with every recording, in order; each is in the journal before it is yielded.

    Raises:
        Interrupted: on request; what was yielded before is safe.
        AvpenetError: the journal cannot be written.
    """
    for recording in recordings:
        facts: os.stat_result | None = None
        try:
            if recording.problem:
                raise RecordingError("no_recordings", recording.problem, "")
            facts = check_file(recording.path)
            known = journal.finished(recording, facts)
            if known is not None:
                yield Finished(recording, known, reused=True)
                continue
            finished = Finished(recording, scorer.score(recording.path, progress))
        except RecordingError as error:
            finished = Finished(recording, failed(error), error=error)
        except AvpenetError:
            raise
        except Exception as error:  # one recording must not end a night's run; --debug shows the traceback
            finished = Finished(recording, failed(unexpected(error, "scored")), error=error)
        journal.note(recording, facts, finished.outcome)
        yield finished


def unexpected(error: Exception, done: str) -> RecordingError:
    """A mistake of the program's, or of the memory's, as the failure of the recording at which it happened.

    Args:
        done: what could not be done with the recording, such as `scored`.
    """
    # An exception's text may hold the path, and the path a patient's name.
    memory = isinstance(error, MemoryError) or "out of memory" in str(error).lower()
    code = "out_of_memory" if memory else "internal_error"
    remedy = "use a smaller --batch-size" if memory and done == "scored" else "report it, with what --debug prints"
    return RecordingError(code, f"could not be {done} ({type(error).__name__})", remedy)
