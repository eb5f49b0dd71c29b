"""What a run of `score`, or a merge of shards, is asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from avpenet_cli.inputs import Inputs
from avpenet_cli.settings import RunSettings
from avpenet_cli.weights import WeightsEntry


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """What the files of an output have beside scores; the same whether one run writes them or a merge of shards.

    Attributes:
        recorded_at: where the recordings' times come from; see `recorded_at.start_times`.
        subjects: a table of recordings and subjects, for a table of subjects.
        baseline: `quiet` for the columns `change` and `change_se`.
        calibration: site.json of `avpenet calibrate`, for the columns `calibrated`, `interval_lo`, `interval_hi` and
            `abstained`.
        csv_bom: begin CSV files with a byte order mark, by which Excel recognises UTF-8.
        embeddings: also write the segments' embeddings to this .parquet file beside `out`; see `scoring.embeddings`.
    """

    recorded_at: str | None = None
    subjects: Path | None = None
    baseline: Literal["quiet"] | None = None
    calibration: Path | None = None
    csv_bom: bool = False
    embeddings: Path | None = None


@dataclass(frozen=True)
class ScoreRequest(OutputOptions):
    """The request for one run.

    Attributes:
        inputs: the recordings, from `inputs.collect`.
        out: the table to write; .csv, .parquet or .jsonl.
        weights: from `weights.find` or `weights.default_entry`.
        settings: how to score.
        pseudonymised: the recordings' names are pseudonyms, so no other name may appear in any output.
        overwrite: start over, whatever `out` and its journal contain.
        prune: drop from `out` what is no longer among the inputs or can no longer be read.
        digests: read every scored file once more, for its SHA-256 in the manifest.
        command: the command line, for the manifest; without paths.
        part_of: all recordings, where `inputs` are one shard of them and may be none: tables are matched to all.
    """

    inputs: Inputs
    out: Path
    weights: WeightsEntry
    settings: RunSettings
    pseudonymised: bool = False
    overwrite: bool = False
    prune: bool = False
    digests: bool = True
    command: str = ""
    part_of: Inputs | None = None

    @property
    def collection(self) -> Inputs:
        """All recordings, whether or not this run scores only one shard of them."""
        return self.part_of or self.inputs


@dataclass(frozen=True)
class MergeRequest(OutputOptions):
    """The request for one merge of shards.

    Attributes:
        out: the table that `score --shard` was given.
        prune: leave out what the table or a shard holds and the plan no longer has, or what can no longer be read.
        command, private_command: the command line, for the manifest; the one of shards with names, the other of shards
            with pseudonyms.
    """

    out: Path
    prune: bool = False
    command: str = ""
    private_command: str = ""
