"""Exporting a score table for another system, from files to files."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from avpenet_cli.errors import SettingsError
from avpenet_cli.export.fhir import fhir_bundle
from avpenet_cli.export.handover import Handover, read_handover, require_subjects
from avpenet_cli.export.redcap import dictionary_path, write_redcap
from avpenet_cli.runs.history import history_path, record_run, refuse_unusable_history
from avpenet_cli.runs.outputs import refuse_overwriting, refuse_unwritable_file
from avpenet_cli.storage import write_json

Target = Literal["fhir", "redcap"]
SUFFIX_OF: dict[Target, str] = {"fhir": ".json", "redcap": ".csv"}


@dataclass(frozen=True)
class ExportRequest:
    """A table to export.

    Attributes:
        scores: the score table, with its manifest beside it.
        target: format.
        out: file to write.
        subjects: table of the recordings' subjects; REDCap needs it.
        allow_demonstration: whether scores of demonstration or untrained weights may be exported, as test data.
        command: that was given, for the history; without folders.

    Raises:
        SettingsError: `out` has another suffix than the format, or an input would be overwritten.
    """

    scores: Path
    target: Target
    out: Path
    subjects: Path | None = None
    allow_demonstration: bool = False
    command: str = ""

    def __post_init__(self) -> None:
        suffix = SUFFIX_OF[self.target]
        if self.out.suffix != suffix:
            raise SettingsError(f"--out {self.out}: not the form of --to {self.target}", f"end the name in {suffix}")
        manifest, history = self.scores.with_suffix(".run.json"), history_path(self.scores)
        refuse_overwriting(self.outputs, [self.scores, manifest, history, self.subjects])

    @property
    def outputs(self) -> tuple[Path, ...]:
        """The files that are written."""
        return (self.out, dictionary_path(self.out)) if self.target == "redcap" else (self.out,)


def run_export(request: ExportRequest) -> Handover:
    """Read the table and write the files, readable by their owner only.

    Returns:
        What was handed on.

    Raises:
        SettingsError: see `read_handover`; REDCap without the subject of every recording.
        OutputError, EnvironmentUnavailableError: a file cannot be written.
    """
    started = datetime.now(UTC)
    for path in request.outputs:
        refuse_unwritable_file(path)
    refuse_unusable_history(request.out, request.outputs)
    handover = read_handover(request.scores, request.subjects, allow_demonstration=request.allow_demonstration)
    if request.target == "fhir":
        write_json(request.out, fhir_bundle(handover))
    else:
        require_subjects(handover, request.subjects, "a record of REDCap is a patient")
        write_redcap(handover, request.out)
    written, read = request.outputs, handover.read
    record_run(request.out, "export", written=written, read=read, command=request.command, started=started)
    return handover
