"""The clean scores of an evaluation as `avpenet score` writes them: a score table and its manifest."""

from __future__ import annotations

import datetime
import math
from collections.abc import Hashable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from avpenet_cli.dataset.record import RecordingRecord
from avpenet_cli.dataset.segment_files import SCORABLE
from avpenet_cli.dataset.store import SegmentStore
from avpenet_cli.evaluation.conditions import CLEAN
from avpenet_cli.evaluation.evaluate import Evaluation
from avpenet_cli.evaluation.split import EvaluationSplit
from avpenet_cli.inputs import Recording
from avpenet_cli.pipeline.windows import balance
from avpenet_cli.records import Flag, Modalities, Quality, Reason, RecordingOutcome, SegmentScore, Status
from avpenet_cli.runs.device import device_name
from avpenet_cli.runs.manifest import Manifest, Totals, manifest_path, recording_entry, write_manifest
from avpenet_cli.runs.manifest_entries import StoreEntry, TableEntry, Timing
from avpenet_cli.scoring.network import Network
from avpenet_cli.settings import RunSettings
from avpenet_cli.tables import row, write_table

_Row = Mapping[Hashable, Any]


def write_score_table(
    path: Path,
    store: SegmentStore,
    split: EvaluationSplit,
    network: Network,
    run: RunSettings,
    evaluation: Evaluation,
    mark: str,
) -> None:
    """Write the table and the manifest that certifies it; raises as `write_table` and `write_manifest`.

    Args:
        mark: for the column `weights`.
    """
    description = network.description
    segments_of: dict[str, list[SegmentScore]] = {}
    clean = evaluation.scores[CLEAN.name].tolist()
    for score, segment in zip(clean, evaluation.segments.to_dict("records"), strict=True):
        label = description.label(score) if math.isfinite(score) else ""
        segments_of.setdefault(str(segment["recording"]), []).append(_segment_score(segment, score, label))
    record_of = {recording.recording: recording for recording in store.record.recordings}
    device = device_name(network.device)
    totals, entries = Totals(), []
    for name, segments in segments_of.items():
        outcome = _outcome(segments, record_of[name], device)
        totals.add(outcome)
        entries.append(recording_entry(Recording(Path(name), name, name), outcome, reused=False))
    rows = (row(name, segment, mark) for name, segments in segments_of.items() for segment in segments)
    table = TableEntry(path.name, write_table(path, rows), len(evaluation.segments))
    finished = datetime.datetime.now().astimezone()
    manifest = Manifest.of(
        run,
        description,
        device=device,
        table=table,
        totals=totals.entry(),
        timing=Timing.between(finished - datetime.timedelta(seconds=evaluation.seconds), finished),
        recordings=entries,
        # The report repeats the notice of the weights, so that its page cannot pass for a test.
        warning=split.warning,
    )
    entry = StoreEntry(store.digest, split.split, split.left_out_site)
    write_manifest(manifest_path(path), replace(manifest, store=entry))


def _segment_score(segment: _Row, score: float, label: str) -> SegmentScore:
    scored = math.isfinite(score)
    faces = _optional(segment, "faces")
    # A scorable segment has audio, so that only a face can be missing.
    reason = str(segment["reason"] or "") if segment["status"] != SCORABLE else Reason.NO_FACE.value
    return SegmentScore(
        segment=int(segment["segment"]),
        start_s=float(segment["start_s"]),
        end_s=float(segment["end_s"]),
        status=Status.SCORED if scored else Status.UNSCORABLE,
        quality=Quality(
            face_rate=_optional(segment, "face_rate"),
            face_confidence=_optional(segment, "face_confidence"),
            face_px=_optional(segment, "face_px"),
            faces=None if faces is None else int(faces),
            voiced=_optional(segment, "voiced"),
            snr_db=_optional(segment, "snr_db"),
            level_dbfs=_optional(segment, "level_dbfs"),
        ),
        score=score if scored else None,
        label=label,
        reason="" if scored else reason,
        modalities=Modalities.of(audio=True, face=bool(_optional(segment, "face_rate"))).value if scored else "",
        flags=tuple(Flag(flag) for flag in str(segment["flags"] or "").split()),
    )


def _optional(segment: _Row, name: str) -> float | None:
    value = segment[name]
    return None if value is None or math.isnan(value) else float(value)


def _outcome(segments: list[SegmentScore], recording: RecordingRecord, device: str) -> RecordingOutcome:
    source = {"shard": recording.shard, "recording_sha256": recording.sha256}
    return RecordingOutcome(
        status=Status.SCORED if any(segment.status is Status.SCORED for segment in segments) else Status.UNSCORABLE,
        segments=tuple(segments),
        balance=balance(recording.nominal_s, recording.length_s, segments),
        message=recording.message,
        orientation_deg=recording.orientation_deg,
        facts={"from_store": source, "device": device},
    )
