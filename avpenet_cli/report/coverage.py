"""How much of the recorded time has a score: nominal = scored + unscorable + undecodable."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from avpenet_cli.records import FLAG_MEANINGS, Flag, Status
from avpenet_cli.report.document.data import CoverageSection, FailedRecording, FlagCount
from avpenet_cli.report.modalities import modality_counts
from avpenet_cli.study.score_tables import Scores

# Sum of the rounding errors of a recording's seconds.
_TOLERANCE_S = 0.1


@dataclass(frozen=True)
class Coverage:
    """Seconds of all recordings and of each.

    Attributes:
        section: of the document.
        by_recording: index recording, failed ones included; nominal_s, scored_s.
    """

    section: CoverageSection
    by_recording: pd.DataFrame


def measure_coverage(scores: Scores) -> Coverage:
    """Seconds from the manifests where all are verified, otherwise from the segments alone."""
    if all(source.manifest_state == "verified" for source in scores.sources):
        coverage = _from_manifests([source.manifest for source in scores.sources if source.manifest])
    else:
        coverage = _from_segments(scores.segments)
    return replace(coverage, section=replace(coverage.section, modalities=modality_counts(scores.segments)))


def _from_manifests(manifests: list[dict[str, Any]]) -> Coverage:
    entries: dict[str, dict[str, Any]] = {}
    for entry in (entry for manifest in manifests for entry in manifest["recordings"]):
        name = entry["recording"]
        # A recording that failed in one run and was scored in another is scored.
        if name not in entries or entries[name]["status"] == Status.FAILED:
            entries[name] = entry
    unscorable: Counter[str] = Counter()
    undecodable_s = 0.0
    failed, rows = [], []
    for name, entry in entries.items():
        if entry["status"] == Status.FAILED:
            failed.append(FailedRecording(name, str(entry.get("reason", "")), str(entry.get("message", ""))))
        balance = entry.get("balance_s")
        if balance is None:
            rows.append((name, 0.0, 0.0))
            continue
        unscorable.update(balance["unscorable_s"])
        undecodable_s += balance["undecodable_s"]
        rows.append((name, balance["nominal_s"], balance["scored_s"]))
    table = pd.DataFrame(rows, columns=["recording", "nominal_s", "scored_s"]).set_index("recording")
    return _coverage("manifest", table, dict(unscorable), undecodable_s, tuple(failed))


def _from_segments(segments: pd.DataFrame) -> Coverage:
    """Seconds that segments cover; what two of them share counts once, as scored if either has a score."""
    covered = _union_s(segments)
    scored = _union_s(segments[segments["status"] == Status.SCORED]).reindex(covered.index, fill_value=0.0)
    table = pd.DataFrame({"nominal_s": covered, "scored_s": scored})
    lost = segments[segments["status"] != Status.SCORED]
    reasons = lost["reason"].fillna("").replace("", "not stated").astype(str)
    by_reason = (lost["end_s"] - lost["start_s"]).groupby(reasons.to_numpy()).sum()
    # Overlapping segments lose some of these seconds twice, and some not at all.
    total, left = float(by_reason.sum()), float((covered - scored).sum())
    unscorable_s = {str(reason): float(seconds) * left / total for reason, seconds in by_reason.items()}
    return _coverage("table", table, unscorable_s, 0.0, ())


def _coverage(
    source: Literal["manifest", "table"],
    by_recording: pd.DataFrame,
    unscorable_s: dict[str, float],
    undecodable_s: float,
    failed: tuple[FailedRecording, ...],
) -> Coverage:
    nominal_s, scored_s = float(by_recording["nominal_s"].sum()), float(by_recording["scored_s"].sum())
    unaccounted_s = nominal_s - scored_s - sum(unscorable_s.values()) - undecodable_s
    names_of_failed = {recording.recording for recording in failed}
    without_score = by_recording.index[by_recording["scored_s"] <= 0]
    section = CoverageSection(
        source=source,
        nominal_s=nominal_s,
        scored_s=scored_s,
        unscorable_s=unscorable_s,
        undecodable_s=undecodable_s,
        failed_recordings=failed,
        unaccounted_s=unaccounted_s,
        balanced=abs(unaccounted_s) <= _TOLERANCE_S * max(1, len(by_recording)),
        share_scored=scored_s / nominal_s if nominal_s else None,
        recordings_without_score=tuple(str(name) for name in without_score if name not in names_of_failed),
        modalities=(),
    )
    return Coverage(section, by_recording)


def _union_s(segments: pd.DataFrame) -> pd.Series[float]:
    """Seconds that the segments of each recording cover, by recording."""
    ordered = segments.sort_values(["recording", "start_s"], kind="stable")
    names = ordered["recording"].astype(str)
    start, end = ordered["start_s"].to_numpy(), ordered["end_s"].to_numpy()
    if not len(ordered):
        return pd.Series(dtype=np.float64)
    # Segments have equal lengths and rising starts, so that only the previous segment's end matters.
    previous_end = np.where(names.to_numpy()[1:] == names.to_numpy()[:-1], end[:-1], -np.inf)
    new_s = end - np.maximum(start, np.concatenate([[-np.inf], previous_end]))
    return pd.Series(np.maximum(new_s, 0.0)).groupby(names.to_numpy(), sort=False).sum()


def flag_counts(segments: pd.DataFrame) -> tuple[FlagCount, ...]:
    """Number of segments with each flag that occurs: flags of this program first, then unknown ones."""
    counts: Counter[str] = Counter()
    for text, number in segments["flags"].fillna("").astype(str).value_counts().items():
        for flag in str(text).split():
            counts[flag] += int(number)
    meanings = {flag.value: FLAG_MEANINGS[flag] for flag in Flag}
    order = [name for name in meanings if counts[name]] + sorted(set(counts) - set(meanings))
    return tuple(
        FlagCount(name, meanings.get(name, "not a flag of this program"), counts[name], counts[name] / len(segments))
        for name in order
    )
