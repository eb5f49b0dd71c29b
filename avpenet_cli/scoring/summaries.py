"""What became of each recording, and of each subject, in one row."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import add

from avpenet_cli.records import THIN_EVIDENCE, Modalities, RecordingOutcome, SegmentScore, Status
from avpenet_cli.tables import Column, Row

TO_DO = "to do"
"""Status of a recording that an interrupted run had not reached."""

_COUNTS = (
    Column("segments", "integer", "number of segments"),
    Column("unscorable", "integer", "of these, without a score"),
    Column("low", "integer", "with label `low`"),
    Column("moderate", "integer", "with label `moderate`"),
    Column("high", "integer", "with label `high`"),
    Column("audio_face", "integer", "scored from audio and face"),
    Column("audio", "integer", "scored from the audio alone"),
    Column("face", "integer", "scored from the face alone"),
)
_SECONDS = (
    Column("nominal_s", "float", "length by the header or by what decodes, whichever is longer, s"),
    Column("scored_s", "float", "seconds that a scored segment covers"),
    Column("unscorable_s", "float", "seconds that decode and have no score"),
    Column("undecodable_s", "float", "seconds that do not decode"),
)
_PEAK = Column("peak", "float", "highest score")
_SCORES = (
    Column("mean", "float", "mean score of the scored segments"),
    Column("minutes_above_low", "float", "minutes with a score above the lower cut point: `moderate` or `high`"),
    Column("minutes_above_moderate", "float", "minutes with a score above the upper cut point: `high`"),
    Column("low_quality_share", "float", "share of the scored segments with a flag of thin evidence"),
)

RECORDING_COLUMNS: tuple[Column, ...] = (
    Column("recording", "text", "as in the score table"),
    Column("status", "text", f"`scored`, `unscorable` or `failed`; in a partial table also `{TO_DO}`"),
    Column("reason", "text", "why it failed, one word"),
    Column("message", "text", "the same in a sentence; also what a decoder reported about a recording that was scored"),
    Column("recorded_at", "text", "when it started, as in the score table"),
    Column("orientation_deg", "integer", "clockwise rotation under which the patient's face was found"),
    *_SECONDS,
    Column("unscorable_reasons", "text", "why seconds have no score, the most frequent reason first"),
    *_COUNTS,
    _PEAK,
    Column("peak_start_s", "float", "where the segment with the highest score starts, s"),
    *_SCORES,
)
"""Columns of `OUT.recordings.csv`."""

SUBJECT_COLUMNS: tuple[Column, ...] = (
    Column("subject", "text", "as in the table given with `--subjects`"),
    Column("recordings", "integer", "number of recordings, whatever became of them"),
    Column("failed", "integer", "of these, not read"),
    Column("to_do", "integer", "of these, not reached by an interrupted run"),
    *_SECONDS,
    *_COUNTS,
    _PEAK,
    Column("peak_recording", "text", "the recording with the highest score"),
    *_SCORES,
)
"""Columns of `OUT.subjects.csv`."""


@dataclass
class Summary:
    """Sums over one recording, or over all of a subject.

    Args:
        cut_points: upper ends of the classes low and moderate, points.
    """

    cut_points: tuple[float, float]
    statuses: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=dict)
    unscorable_s: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    labels: Counter[str] = field(default_factory=Counter)
    modalities: Counter[str] = field(default_factory=Counter)
    segments: int = 0
    scored: int = 0
    thin: int = 0
    total: float = 0.0
    above_s: list[float] = field(default_factory=lambda: [0.0, 0.0])
    peak: tuple[float, float, str] | None = None

    def add(self, recording: str, outcome: RecordingOutcome | None) -> None:
        """Count a recording; without an outcome it is still to do."""
        self.statuses[outcome.status.value if outcome else TO_DO] += 1
        if outcome is None:
            return
        if outcome.balance is not None:
            balance = outcome.balance
            lost_s = sum(balance.unscorable_s.values())
            for column, value in zip(
                _SECONDS, (balance.nominal_s, balance.scored_s, lost_s, balance.undecodable_s), strict=True
            ):
                self.seconds[column.name] = self.seconds.get(column.name, 0.0) + value
            for reason, seconds in balance.unscorable_s.items():
                self.unscorable_s[reason] += seconds
        self.segments += len(outcome.segments)
        # A pass for each sum and no call for each segment: a large archive has millions.
        found = [(segment, segment.score) for segment in outcome.segments if segment.score is not None]
        if not found:
            return
        scores = [score for _, score in found]
        self.scored += len(scores)
        self.total = reduce(add, scores, self.total)
        self.labels.update([segment.label for segment, _ in found])
        self.modalities.update([segment.modalities for segment, _ in found])
        self.thin += sum([not THIN_EVIDENCE.isdisjoint(segment.flags) for segment, _ in found if segment.flags])
        own_s = [
            seconds
            for seconds, segment in zip(_own_seconds(outcome.segments), outcome.segments, strict=True)
            if segment.score is not None
        ]
        for place, cut_point in enumerate(self.cut_points):
            above_s = [seconds for seconds, score in zip(own_s, scores, strict=True) if score > cut_point]
            self.above_s[place] = reduce(add, above_s, self.above_s[place])
        highest = max(scores)
        if self.peak is None or highest > self.peak[0]:
            self.peak = (highest, found[scores.index(highest)][0].start_s, recording)

    def values(self) -> Row:
        """The columns that both tables have, and where the peak is."""
        counts: Row = {
            "segments": self.segments,
            "unscorable": self.segments - self.scored,
            **{label: self.labels[label] for label in ("low", "moderate", "high")},
            "audio_face": self.modalities[Modalities.BOTH],
            "audio": self.modalities[Modalities.AUDIO],
            "face": self.modalities[Modalities.FACE],
        }
        scored = self.scored or None
        return {
            **{column.name: self.seconds.get(column.name) for column in _SECONDS},
            **(counts if self.statuses.keys() - {TO_DO} else dict.fromkeys(counts)),
            "peak": self.peak[0] if self.peak else None,
            "peak_start_s": self.peak[1] if self.peak else None,
            "peak_recording": self.peak[2] if self.peak else "",
            "mean": self.total / scored if scored else None,
            "minutes_above_low": self.above_s[0] / 60 if scored else None,
            "minutes_above_moderate": self.above_s[1] / 60 if scored else None,
            "low_quality_share": self.thin / scored if scored else None,
        }


def _own_seconds(segments: Sequence[SegmentScore]) -> list[float]:
    """The seconds of each segment until the next one starts: where segments overlap, no second counts twice."""
    starts = [segment.start_s for segment in segments]
    return [
        (segment.end_s if segment.end_s < following else following) - segment.start_s
        for segment, following in zip(segments, [*starts[1:], math.inf], strict=True)
    ]


def recording_row(
    recording: str, outcome: RecordingOutcome | None, recorded_at: str, cut_points: tuple[float, float]
) -> Row:
    """A row of `RECORDING_COLUMNS`."""
    summary = Summary(cut_points)
    summary.add(recording, outcome)
    reasons = sorted(summary.unscorable_s, key=lambda reason: (-summary.unscorable_s[reason], reason))
    return {
        "recording": recording,
        "status": outcome.status.value if outcome else TO_DO,
        "reason": outcome.reason if outcome else "",
        "message": outcome.message if outcome else "",
        "recorded_at": recorded_at,
        "orientation_deg": outcome.orientation_deg if outcome else None,
        "unscorable_reasons": " ".join(reasons),
        **summary.values(),
    }


def subject_row(subject: str, summary: Summary) -> Row:
    """A row of `SUBJECT_COLUMNS`."""
    return {
        "subject": subject,
        "recordings": sum(summary.statuses.values()),
        "failed": summary.statuses[Status.FAILED.value],
        "to_do": summary.statuses[TO_DO],
        **summary.values(),
    }
