"""Monitoring as a library: from score tables to the page and its numbers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from avpenet_cli.errors import SettingsError
from avpenet_cli.monitoring.analysis import MonitorOptions, analyse
from avpenet_cli.monitoring.archive import Files, read_archive
from avpenet_cli.monitoring.document import MonitorDocument
from avpenet_cli.runs.history import NO_LINES, ReadFile, history_path, locked_history, refuse_unusable_history
from avpenet_cli.runs.outputs import refuse_overwriting, refuse_unwritable_file
from avpenet_cli.stats.estimate import to_json
from avpenet_cli.storage import atomic_write, write_json


@dataclass(frozen=True)
class MonitorRequest:
    """What to monitor, and where to write.

    Attributes:
        files: what is read.
        out: the page, ending in .html; the JSON file goes beside it.
        options: what the numbers depend on besides.

    Raises:
        SettingsError: `out` does not end in .html or is an input; one file of embeddings without the other.
        OutputError: a file cannot be written.
    """

    files: Files
    out: Path
    options: MonitorOptions = field(default_factory=MonitorOptions)

    def __post_init__(self) -> None:
        files = self.files
        if self.out.suffix != ".html":
            raise SettingsError(f"--out {self.out}: the monitor is a web page", "end the name in .html")
        if (files.embeddings is None) != (files.baseline_embeddings is None):
            raise SettingsError("--embeddings needs --baseline-embeddings, and the reverse", "give both or neither")
        others = (files.subjects, files.reference, files.embeddings, files.baseline_embeddings)
        tables = [*files.new, *files.baseline]
        manifests = [path.with_suffix(".run.json") for path in tables]
        histories = [history_path(path) for path in tables]
        refuse_overwriting(self.outputs, [*tables, *others, *manifests, *histories])
        for path in self.outputs:
            refuse_unwritable_file(path)

    @property
    def outputs(self) -> tuple[Path, Path]:
        """The page and its numbers."""
        return self.out, self.out.with_suffix(".json")


def run_monitor(request: MonitorRequest) -> MonitorDocument:
    """Read, chart and write the page and its numbers, readable by their owner only.

    Raises:
        SettingsError: a table cannot be read, tables do not belong together, or the baseline is too small.
        EnvironmentUnavailableError, OutputError: a file cannot be written.
    """
    started = datetime.now(UTC)
    refuse_unusable_history(request.out, request.outputs)
    document = analyse(read_archive(request.files), request.options)
    from avpenet_cli.monitoring.page import render

    page_path, json_path = request.outputs
    with locked_history(request.out) as history:
        document = replace(document, history=None if history.head == NO_LINES else history.head)
        page = render(document)
        write_json(json_path, to_json(document))
        with atomic_write(page_path) as file:
            file.write(page.encode("utf-8", "backslashreplace"))
        read = [ReadFile(file.content, file.name, file.sha256, file.scores_digest) for file in document.files]
        history.append("monitor", written=request.outputs, read=read, command=document.command, started=started)
    return document
