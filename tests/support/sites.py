"""Small calibrations, made by hand."""

from __future__ import annotations

from avpenet_cli.calibration.site import (
    KIND,
    SITE_VERSION,
    Abstention,
    Accuracy,
    BandPoint,
    ConformalInterval,
    CrossFit,
    Curve,
    FitSettings,
    FittedOn,
    FittedWeights,
    InputFile,
    Knot,
    RiskAtThreshold,
    SiteCalibration,
    sealed,
)
from avpenet_cli.settings import RESULTS_VERSION
from avpenet_cli.stats.estimate import Estimate, absent

MARK = "avpenet-phantom@0123456789ab demonstration"


def curve(group: str = "", half_width: float = 1.5, shift: float = 1.0) -> Curve:
    """From 1 to 9 points by `shift` upwards, with a kink in the middle."""
    accuracy = Accuracy(Estimate(1.2, (1.0, 1.4), 30), absent("made by hand"), Estimate(0.9, (0.8, 1.0), 30))
    return Curve(
        group,
        (Knot(1.0, 1.0 + shift), Knot(5.0, 5.0), Knot(9.0, 9.0)),
        (BandPoint(1.0, Estimate(1.0 + shift, (0.5, 2.5), 30)),),
        30,
        CrossFit(accuracy, accuracy, Estimate(-0.1, (-0.2, -0.05), 30), "better"),
        ConformalInterval(half_width, 30, 2 * half_width - 0.3, 0.93),
    )


def abstention() -> Abstention:
    """Answers where `score_sd` is at most 0.5 points."""
    point = RiskAtThreshold(0.5, 0.6, 28, 0.8, 0.95, accepted=True)
    return Abstention("score_sd", "at most", 0.5, "mean absolute error", 1.0, None, 0.95, 0.6, (point,))


def site(*groups: Curve, abstains: bool = False, mark: str = MARK) -> SiteCalibration:
    """A sealed calibration with a pooled curve and these of groups."""
    return sealed(
        SiteCalibration(
            kind=KIND,
            format_version=SITE_VERSION,
            created="2026-11-27T13:00:00+00:00",
            software="0.1.0",
            command="avpenet calibrate [1 input]",
            weights=FittedWeights(mark, "avpenet-phantom", "0123456789ab", "demonstration", demonstration=True),
            settings=FitSettings("monotone", "age_group" if groups else "", 0.9, 10.0, 10, 1000, 42),
            fitted_on=FittedOn(
                30, 40, 400, 10, 2, ("NRS",), 1, 1.0, 9.0, 0.0, 10.0, 3.0, "", "", (),
                (InputFile("scores", "scores.csv", "0" * 64, 410),),
            ),
            curves=(curve(), *groups),
            abstention=abstention() if abstains else None,
            notices=(),
            results_version=RESULTS_VERSION,
        )
    )  # fmt: skip
