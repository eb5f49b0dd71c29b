"""Errors keep their kind, text and traceback on the way from a worker process."""

from __future__ import annotations

import pickle

from avpenet_cli.cli.run_end import formatted_traceback
from avpenet_cli.errors import RecordingError, WeightsError
from avpenet_cli.runs.sent_error import SentError


class Unpicklable(Exception):
    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")
        self.lock = lambda: first


def sent(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:
        arrived: SentError = pickle.loads(pickle.dumps(SentError.of(caught)))
    return arrived.restored()


def test_errors_of_this_program_stay_what_they_are() -> None:
    error = sent(RecordingError("empty_file", "it is empty", "copy it again"))
    assert isinstance(error, RecordingError)
    assert (error.code, str(error)) == ("empty_file", "it is empty; copy it again")
    assert isinstance(sent(WeightsError("altered")), WeightsError)


def test_other_errors_keep_their_name_and_where_they_were_raised() -> None:
    error = sent(Unpicklable("Mrs", "Miller"))
    assert type(error).__name__ == "Unpicklable"
    assert "raise error" in formatted_traceback(error)
    assert "Mrs Miller" in formatted_traceback(error)
    private = formatted_traceback(error, with_text=False)
    assert "test_sent_error" in private
    assert "Miller" not in private
