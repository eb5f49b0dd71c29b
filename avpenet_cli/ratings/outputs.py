"""The rule for the files that import, join and agreement write."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from avpenet_cli.runs.history import refuse_unusable_history
from avpenet_cli.runs.outputs import refuse_existing, refuse_overwriting, refuse_unwritable_file


def check_outputs(outputs: Sequence[Path], inputs: Iterable[Path | None], *, overwrite: bool) -> None:
    """Check, before anything is read, that files can be written; creates nothing.

    Args:
        outputs: the first is the one that was named with --out, which has the history.
        inputs: what is read; None stands for an input that was not given.
        overwrite: whether existing files may be replaced.

    Raises:
        SettingsError: an output is one of the inputs.
        OutputError: one exists or cannot be written, its history cannot be continued, or it is another command's.
    """
    for output in outputs:
        refuse_unwritable_file(output)
    refuse_overwriting(outputs, inputs)
    refuse_unusable_history(outputs[0], outputs)
    for output in () if overwrite else outputs:
        refuse_existing(output, "choose another name, or give --overwrite")
