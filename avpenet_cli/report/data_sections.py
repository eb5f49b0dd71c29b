"""The document's sections that describe scores, ratings and their matching."""

from __future__ import annotations

import pandas as pd

from avpenet_cli.report.document.data import (
    DistributionSection,
    Headline,
    PairingSection,
    UnmatchedRating,
    UnmatchedRatings,
)
from avpenet_cli.stats.distribution import Distribution, describe
from avpenet_cli.study.pairing import Pairing
from avpenet_cli.study.tables import Inputs

# Unmatched ratings in the JSON file; the page shows the first 20.
_MOST_LISTED = 10_000
# Range of the reference, points, from which on it needs no note.
_WIDE_RANGE_POINTS = 8.0
_ROUNDING_S = 0.01


def headline(segments: pd.DataFrame, rated: pd.DataFrame, inputs: Inputs, n_recordings: int) -> Headline:
    """Counts; `n_recordings` includes those that could not be read."""
    scored = segments["status"] == "scored"
    return Headline(
        n_subjects=int(segments["subject"].nunique()),
        n_recordings=n_recordings,
        n_segments=len(segments),
        n_scored=int(scored.sum()),
        n_pairs=len(rated),
        n_pair_subjects=int(rated["subject"].nunique()),
        n_recordings_scored=int(segments.loc[scored, "recording"].nunique()),
        n_raters=len(inputs.ratings.raters) if inputs.ratings else 0,
        segment_s=float((segments["end_s"] - segments["start_s"]).median()) if len(segments) else None,
    )


def distribution_section(segments: pd.DataFrame, has_ratings: bool) -> DistributionSection:
    """Distributions of the scores and of the references of segments, scored or not."""
    scores = describe(segments.loc[segments["status"] == "scored", "score"].to_numpy())
    if not has_ratings:
        return DistributionSection(scores, None, "")
    reference = describe(segments["reference"].dropna().to_numpy())
    return DistributionSection(scores, reference, _range_note(reference))


def _range_note(reference: Distribution) -> str:
    if not reference.n or reference.max - reference.min >= _WIDE_RANGE_POINTS:
        return ""
    return (
        f"The reference spans {reference.min:.1f} to {reference.max:.1f} of 0 to 10: these results hold for that range "
        "only, and correlations and ICCs are lower than over the whole scale."
    )


def pairing_section(pairing: Pairing, hold_s: float, has_ratings: bool) -> PairingSection:
    """How ratings, subjects and segments were matched."""
    unmatched = pairing.unmatched_ratings
    listed = unmatched.head(_MOST_LISTED)
    return PairingSection(
        hold_s=hold_s,
        rated_segments=int(pairing.segments["reference"].notna().sum()),
        unrated_segments=pairing.unrated_segments if has_ratings else None,
        unrated_recordings=pairing.unrated_recordings if has_ratings else (),
        unmatched_ratings=UnmatchedRatings(
            count=len(unmatched),
            by_reason={str(reason): int(count) for reason, count in unmatched["why"].value_counts().items()},
            listed=tuple(
                UnmatchedRating(int(line), str(recording), float(start_s), str(reason))
                for line, recording, start_s, reason in zip(
                    listed["line"], listed["recording"], listed["start_s"], listed["why"], strict=True
                )
            ),
        ),
        recordings_without_subject=pairing.recordings_without_subject,
        subjects_without_recording=pairing.subjects_without_recording,
        subject_rows_without_scores=pairing.subject_rows_without_scores,
        overlapping_segments=_overlapping(pairing.segments),
    )


def _overlapping(segments: pd.DataFrame) -> bool:
    """Whether successive segments share seconds, as they do with a stride below their length."""
    previous_end_s = segments.groupby("recording", observed=True, sort=False)["end_s"].shift()
    return bool((segments["start_s"] < previous_end_s - _ROUNDING_S).any())
