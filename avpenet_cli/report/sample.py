"""The check that sample and limit of a report are those that a pack fixed before anyone rated."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from avpenet_cli.errors import SettingsError
from avpenet_cli.phrasing import clock
from avpenet_cli.report.document.review import Notice
from avpenet_cli.report.document.sample import MissingRating, SampleSection, SampleStratum
from avpenet_cli.report.sections import pairs_of
from avpenet_cli.stats.bootstrap import Resampling
from avpenet_cli.stats.estimate import Estimate, absent
from avpenet_cli.stats.pairs import Pairs
from avpenet_cli.study.pack import Pack
from avpenet_cli.study.pairing import Pairing
from avpenet_cli.study.score_tables import scores_digest
from avpenet_cli.study.sheets import quoted
from avpenet_cli.study.tables import Inputs

Indices = NDArray[np.int64]

# Rating programs write times to a frame or a hundredth of a second.
_TOLERANCE_S = 0.05
_MISSING_LISTED = 20
_OTHER_TABLE = "give the tables and ratings of the sample, or leave out --pack"


def match_pack(inputs: Inputs, pack: Pack, limit_points: float | None) -> Indices:
    """The sampled segment of every rating.

    Args:
        inputs: all tables.
        pack: intact.
        limit_points: acceptance limit of the report, points; None without one.

    Returns:
        (ratings,) places in `pack.segments`.

    Raises:
        SettingsError: another limit, another score table, ratings that name another pack or are of no sampled segment.
    """
    if inputs.ratings is None:
        raise SettingsError("--pack without --reference", "a pack is compared with the ratings of its sample")
    if limit_points != pack.limit_points:
        fixed, asked = (
            "no limit" if limit is None else f"a limit of {limit:g} points"
            for limit in (pack.limit_points, limit_points)
        )
        remedy = "leave out --limit" if pack.limit_points is None else f"give --limit {pack.limit_points:g}"
        raise SettingsError(f"the pack fixed {fixed} before the ratings, this report has {asked}", remedy)
    if pack.scores and scores_digest(inputs.scores) != pack.scores_digest:
        given, drawn = (", ".join(file.name for file in files) for files in (inputs.scores.sources, pack.scores))
        raise SettingsError(
            f"{given}: not the scores that were sampled, which were those of {drawn} (digest of all scores)",
            _OTHER_TABLE,
        )
    others = [name for name in inputs.ratings.packs if name != pack.pack_id]
    if others:
        raise SettingsError(
            f"{inputs.ratings.file.name}: ratings name pack {quoted(others[0])}, this one is {pack.pack_id}",
            _OTHER_TABLE,
        )
    return _sampled_segment(inputs.ratings.rows, pack, inputs.ratings.file.name)


def _sampled_segment(rows: pd.DataFrame, pack: Pack, file: str) -> Indices:
    by_recording: dict[str, list[int]] = {}
    for place, segment in enumerate(pack.segments):
        by_recording.setdefault(segment.recording, []).append(place)
    found = np.full(len(rows), -1, dtype=np.int64)
    columns = (rows[name] for name in ("recording", "start_s", "end_s", "line"))
    for row, (recording, start_s, end_s, line) in enumerate(zip(*columns, strict=True)):
        for place in by_recording.get(str(recording), ()):
            segment = pack.segments[place]
            if np.isnan(end_s):
                same = segment.start_s - _TOLERANCE_S <= start_s < segment.end_s
            else:
                distance = max(abs(start_s - segment.start_s), abs(end_s - segment.end_s))
                same = distance <= _TOLERANCE_S
            if same:
                found[row] = place
        if found[row] < 0:
            raise SettingsError(
                f"{file}: the rating in line {line}, of {quoted(str(recording))} at {clock(start_s)}, is of no sampled "
                "segment",
                "keep the ratings of the sample in a table of their own",
            )
    return found


def only_sampled(pairing: Pairing, pack: Pack) -> tuple[Pairing, Indices]:
    """The pairing without references of segments that were not sampled, which ratings of their neighbours may touch.

    Returns:
        The pairing; (segments,) place of each of its segments in `pack.segments`, -1 for those not sampled.

    Raises:
        SettingsError: the score table lacks a sampled segment.
    """
    segments = pairing.segments
    places = {(s.recording, round(s.start_s, 3)): place for place, s in enumerate(pack.segments)}
    keys = zip(segments["recording"].astype(str), segments["start_s"].round(3).tolist(), strict=True)
    sampled = np.array([places.get(key, -1) for key in keys], dtype=np.int64)
    lost = set(range(len(pack.segments))) - set(sampled.tolist())
    if lost:
        first = pack.segments[min(lost)]
        raise SettingsError(
            f"the scores have no segment of {quoted(first.recording)} at {clock(first.start_s)}, which was sampled",
            _OTHER_TABLE,
        )
    outside = sampled < 0
    by_rater = pairing.by_rater.copy()
    by_rater[outside] = np.nan
    kept = segments.assign(
        reference=segments["reference"].where(~outside), n_raters=segments["n_raters"].where(~outside, 0)
    )
    return replace(
        pairing, segments=kept, by_rater=by_rater, unrated_segments=int(kept["reference"].isna().sum())
    ), sampled


def sample_section(
    pack: Pack, inputs: Inputs, pairing: Pairing, of_rating: Indices, of_segment: Indices, resampling: Resampling
) -> SampleSection:
    """What was sampled, what was rated of it, and bias and error with the sample's weights.

    Args:
        pack: intact.
        inputs: all tables.
        pairing: from `only_sampled`.
        of_rating: from `match_pack`.
        of_segment: from `only_sampled`.
        resampling: for the intervals.
    """
    assert inputs.ratings is not None
    raters = pd.DataFrame({"place": of_rating, "rater": inputs.ratings.rows["rater"].astype(str)}).drop_duplicates()
    found = np.bincount(raters["place"].to_numpy(np.int64), minlength=len(pack.segments))
    planned = np.array([len(segment.order) for segment in pack.segments])
    missing = np.flatnonzero(found < planned)
    stratum = np.array([segment.stratum for segment in pack.segments])
    rated = np.bincount(stratum[found > 0], minlength=len(pack.strata))
    probability = np.array([segment.probability for segment in pack.segments])
    segments = pairing.segments.assign(place=of_segment)
    drawn = segments[(segments["status"] == "scored") & (segments["place"] >= 0)]
    has_rating = drawn["reference"].notna().to_numpy()
    weighted_bias = weighted_mae = absent("no pairs")
    if has_rating.any():
        place = drawn["place"].to_numpy(np.int64)
        weight = weights_of_rated(1 / probability[place], stratum[place], has_rating)
        weighted_bias, weighted_mae = weighted_errors(pairs_of(drawn[has_rating]), weight, resampling)
    return SampleSection(
        digest=pack.digest,
        drawn_from=tuple(file.name for file in pack.scores),
        same_files={file.sha256 for file in pack.scores} == {source.sha256 for source in inputs.scores.sources},
        named_by_ratings=inputs.ratings.all_name_packs,
        seed=pack.design.seed,
        stratify=pack.design.stratify,
        allocation=pack.design.allocation,
        limit_points=pack.limit_points,
        limit_source=pack.limit_source,
        subjects=pack.frame.subjects,
        most_of_one_subject=pack.frame.most_of_one_subject,
        strata=tuple(
            SampleStratum(stratum.levels, stratum.segments, stratum.sampled, stratum.fraction, int(n))
            for stratum, n in zip(pack.strata, rated, strict=True)
        ),
        planned=int(planned.sum()),
        found=int(np.minimum(found, planned).sum()),
        unrated_segments=int((found == 0).sum()),
        missing_segments=len(missing),
        missing=tuple(
            MissingRating(
                pack.segments[place].recording, pack.segments[place].start_s, int(planned[place]), int(found[place])
            )
            for place in missing[:_MISSING_LISTED].tolist()
        ),
        equal_fractions=bool(np.ptp(probability) < 1e-6),
        weighted_bias=weighted_bias,
        weighted_mae=weighted_mae,
    )


def weights_of_rated(
    weight: NDArray[np.float64], stratum: Indices, has_rating: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Weights of the rated segments, which stand for those of their stratum that nobody rated.

    They are weighting classes (Oh and Scheuren 1983, in Incomplete Data in Sample Surveys 2, p. 143).

    Args:
        weight: (n,) inverse of the chance of each sampled segment to be drawn.
        stratum: (n,) of each, from 0.
        has_rating: (n,) whether it was rated.

    Returns:
        (rated,) weights, which sum in each stratum with a rating to those of all its sampled segments.
    """
    of_all = np.bincount(stratum, weight)
    of_rated = np.bincount(stratum, weight * has_rating, len(of_all))
    rated = stratum[has_rating]
    adjusted: NDArray[np.float64] = weight[has_rating] * of_all[rated] / of_rated[rated]
    return adjusted


def weighted_errors(pairs: Pairs, weight: NDArray[np.float64], resampling: Resampling) -> tuple[Estimate, Estimate]:
    """Bias and mean absolute error of the archive, points, from a sample's pairs; intervals by the subject bootstrap.

    Args:
        pairs: of the sample.
        weight: (n,) from `weights_of_rated`; the estimates are ratios of weighted sums (Hajek 1971, in Foundations of
            Statistical Inference, p. 236).
        resampling: for the intervals.
    """
    sums = pairs.per_subject(weight, weight * pairs.difference, weight * np.abs(pairs.difference))
    bias, mae = resampling.of(pairs.n_subjects).estimate(
        lambda total: total[..., 1:] / total[..., :1], sums, ("identity", "log"), pairs.n
    )
    return bias, mae


def sample_notices(section: SampleSection) -> tuple[Notice, ...]:
    """What a reader must know before any number: a stratified sample is not the archive."""
    if section.equal_fractions:
        return ()
    by = (
        f"stratified by {' and '.join(section.stratify)}" if section.stratify else "with like numbers from each patient"
    )
    return (
        Notice(
            "warning",
            f"The rated segments are a sample {by}, in which rare segments are more frequent than in the archive: all "
            "figures that compare scores with ratings, the verdict included, describe this sample, except the weighted "
            "ones under Sample fixed beforehand.",
        ),
    )
