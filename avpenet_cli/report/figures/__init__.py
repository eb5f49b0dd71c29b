"""The figures of a report: inline SVG with a caption and a text alternative, drawn without a display."""

from __future__ import annotations

from avpenet_cli.report.figures.agreement import AgreementLines, bland_altman, scatter
from avpenet_cli.report.figures.classes import class_changes, confusion
from avpenet_cli.report.figures.coverage import balance
from avpenet_cli.report.figures.groups import drift, strata
from avpenet_cli.report.figures.intensity import calibration, error_by_intensity
from avpenet_cli.report.figures.set_aside import risk_coverage
from avpenet_cli.report.figures.spread import distributions, error_histogram, qq
from avpenet_cli.report.figures.style import Figure
from avpenet_cli.report.figures.subjects import subject_strip
from avpenet_cli.report.figures.timeline import Rating, Track
from avpenet_cli.report.figures.trajectories import trajectory

__all__ = [
    "AgreementLines",
    "Figure",
    "Rating",
    "Track",
    "balance",
    "bland_altman",
    "calibration",
    "class_changes",
    "confusion",
    "distributions",
    "drift",
    "error_by_intensity",
    "error_histogram",
    "qq",
    "risk_coverage",
    "scatter",
    "strata",
    "subject_strip",
    "trajectory",
]
