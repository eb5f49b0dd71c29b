"""Where the recorded seconds went: nominal = scored + unscorable + undecodable."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from avpenet_cli.records import FLAG_MEANINGS, Flag, Status
from avpenet_cli.study.score_tables import Scores

# What rounding to milliseconds may add up to, per recording.
_TOLERANCE_S = 0.1


@dataclass(frozen=True)
class Coverage:
    """Seconds of all recordings and of each.

    Attributes:
        source: `manifest` where every table has a verified one, else `table`, which knows nothing outside segments.
        unscorable_s: by reason.
        failed_recordings: recording, reason, message; known from manifests only.
        by_recording: index recording, failed ones included; nominal_s, scored_s.
    """

    source: str
    nominal_s: float
    scored_s: float
    unscorable_s: dict[str, float]
    undecodable_s: float
    failed_recordings: tuple[dict[str, str], ...]
    by_recording: pd.DataFrame

    @property
    def unaccounted_s(self) -> float:
        """What the sum misses."""
        return self.nominal_s - self.scored_s - sum(self.unscorable_s.values()) - self.undecodable_s

    @property
    def balanced(self) -> bool:
        """Does the sum hold?"""
        return abs(self.unaccounted_s) <= _TOLERANCE_S * max(1, len(self.by_recording))

    def plain(self) -> dict[str, Any]:
        """For the document."""
        failed = {one["recording"] for one in self.failed_recordings}
        silent = self.by_recording.index[self.by_recording["scored_s"] <= 0]
        return {
            "source": self.source,
            "nominal_s": self.nominal_s,
            "scored_s": self.scored_s,
            "unscorable_s": self.unscorable_s,
            "undecodable_s": self.undecodable_s,
            "failed_recordings": list(self.failed_recordings),
            "unaccounted_s": self.unaccounted_s,
            "balanced": self.balanced,
            "share_scored": self.scored_s / self.nominal_s if self.nominal_s else None,
            "recordings_without_score": [str(name) for name in silent if name not in failed],
        }


def coverage(scores: Scores) -> Coverage:
    """From the manifests where all are verified, else from the segments alone."""
    if all(source.manifest_state == "verified" for source in scores.sources):
        return _from_manifests([source.manifest for source in scores.sources if source.manifest])
    return _from_segments(scores.segments)


def _from_manifests(manifests: list[dict[str, Any]]) -> Coverage:
    entries: dict[str, dict[str, Any]] = {}
    for one in (entry for manifest in manifests for entry in manifest["recordings"]):
        # What failed in one run and was scored in another is scored.
        if one["recording"] not in entries or entries[one["recording"]]["status"] == Status.FAILED:
            entries[one["recording"]] = one
    unscorable: Counter[str] = Counter()
    undecodable = 0.0
    failed, rows = [], []
    for name, entry in entries.items():
        if entry["status"] == Status.FAILED:
            failed.append({key: str(entry.get(key, "")) for key in ("recording", "reason", "message")})
        balance = entry.get("balance_s") or {
            "nominal_s": 0.0,
            "scored_s": 0.0,
            "unscorable_s": {},
            "undecodable_s": 0.0,
        }
        unscorable.update(balance["unscorable_s"])
        undecodable += balance["undecodable_s"]
        rows.append((name, balance["nominal_s"], balance["scored_s"]))
    table = pd.DataFrame(rows, columns=["recording", "nominal_s", "scored_s"]).set_index("recording")
    return Coverage(
        "manifest",
        float(table["nominal_s"].sum()),
        float(table["scored_s"].sum()),
        dict(unscorable),
        undecodable,
        tuple(failed),
        table,
    )


def _from_segments(segments: pd.DataFrame) -> Coverage:
    """Seconds covered by any segment; what two overlapping ones share counts once, scored if either is."""
    covered = _union_s(segments)
    scored = _union_s(segments[segments["status"] == Status.SCORED]).reindex(covered.index, fill_value=0.0)
    table = pd.DataFrame({"nominal_s": covered, "scored_s": scored})
    lost = segments[segments["status"] != Status.SCORED]
    reasons = lost["reason"].fillna("").replace("", "not stated").astype(str)
    by_reason = (lost["end_s"] - lost["start_s"]).groupby(reasons.to_numpy()).sum()
    # Overlapping segments lose some of these seconds twice, and some not at all.
    total, left = float(by_reason.sum()), float((covered - scored).sum())
    return Coverage(
        "table",
        float(covered.sum()),
        float(scored.sum()),
        {str(reason): float(seconds) * left / total for reason, seconds in by_reason.items()},
        0.0,
        (),
        table,
    )


def _union_s(segments: pd.DataFrame) -> pd.Series[float]:
    ordered = segments.sort_values(["recording", "start_s"], kind="stable")
    names = ordered["recording"].astype(str)
    start, end = ordered["start_s"].to_numpy(), ordered["end_s"].to_numpy()
    if not len(ordered):
        return pd.Series(dtype=np.float64)
    # Segments are at most partly overlapped by the one before: they have one length and rising starts.
    before = np.where(names.to_numpy()[1:] == names.to_numpy()[:-1], end[:-1], -np.inf)
    fresh = end - np.maximum(start, np.concatenate([[-np.inf], before]))
    return pd.Series(np.maximum(fresh, 0.0)).groupby(names.to_numpy(), sort=False).sum()


def flag_counts(segments: pd.DataFrame) -> list[dict[str, Any]]:
    """How many segments carry each flag; flags of the program first, unknown ones after."""
    counts: Counter[str] = Counter()
    for text, number in segments["flags"].fillna("").astype(str).value_counts().items():
        for flag in str(text).split():
            counts[flag] += int(number)
    meanings = {flag.value: FLAG_MEANINGS[flag] for flag in Flag}
    order = [name for name in meanings if counts[name]] + sorted(set(counts) - set(meanings))
    return [
        {
            "flag": name,
            "meaning": meanings.get(name, "not a flag of this program"),
            "segments": counts[name],
            "share": counts[name] / len(segments),
        }
        for name in order
    ]
