"""Data for tests of the figures, a gallery of all of them, and the text that a figure contains."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np

from avpenet_cli.report.figures import (
    AgreementLines,
    Figure,
    Rating,
    Track,
    balance,
    bland_altman,
    calibration,
    class_changes,
    confusion,
    distributions,
    drift,
    error_by_intensity,
    error_histogram,
    qq,
    risk_coverage,
    scatter,
    strata,
    subject_strip,
    trajectory,
)
from avpenet_cli.report.figures.style import FloatArray
from avpenet_cli.report.figures.wording import text_width_in

SVG = "{http://www.w3.org/2000/svg}"
NAN = math.nan
UNKNOWN = (NAN, NAN)
NOTHING = AgreementLines(NAN, UNKNOWN, NAN, NAN, UNKNOWN, UNKNOWN)
LINES = AgreementLines(0.3, (0.1, 0.5), -1.7, 2.3, (-2.0, -1.4), (2.0, 2.6))
CLASSES = ("low", "moderate", "high")
HOSTILE = (
    "a/$x_1$ and $y^2$.mp4",
    "<script>alert(1)</script> & \"quoted\" 'name' --> ]]>",
    "emoji \U0001f600 and 张伟和李娜",
    "שלום עולם",
    "half \udc80 a pair, \x00\x07 controls,\nand \u202e a turn",
    "x" * 300,
    "",
)


def pairs(size: int, seed: int = 0) -> tuple[FloatArray, FloatArray]:
    random = np.random.default_rng(seed)
    reference = np.round(random.uniform(0, 7, size)) * 10 / 7
    return np.clip(reference * 0.8 + 1 + random.normal(0, 1, size), 0, 10), reference


def track(segments: int, seed: int = 0) -> Track:
    random = np.random.default_rng(seed)
    start = 3.0 * np.arange(segments)
    score = np.clip(4 + 3 * np.sin(start / 40) + random.normal(0, 0.5, segments), 0, 10)
    reference = np.round(score)
    score[segments // 3 : segments // 2] = NAN
    return Track(start, start + 3, score, score - 0.5, score + 0.5, reference)


def gallery() -> list[Figure]:
    """Every figure for a study of medium size."""
    model, reference = pairs(600)
    many_model, many_reference = pairs(5000)
    d = model - reference
    names = [f"ward {index} subject" for index in range(700)]
    some, spread, sizes = np.linspace(-1.8, 1.4, 700), np.full(700, 0.6), np.full(700, 12)
    bins = [(f"{low} to {low + 2}", 1.1, 0.9, 1.3, -0.2, 140.0) for low in range(0, 10, 2)]
    levels = ["neonate", "adult", "a very long name of a ward that nobody could fit"]
    rows = [("age_group", level, -0.12, -0.4, 0.15, 0.9, 40.0) for level in levels]
    return [
        bland_altman(model, reference, against="mean", limits=replace(LINES, trend=(1.0, -0.2)), delta=2.2),
        bland_altman(
            many_model,
            many_reference,
            against="reference",
            limits=replace(LINES, trend_limits=(1, -0.2, 0.8, 0.02)),
            delta=2,
        ),
        scatter(model, reference),
        scatter(many_model, many_reference, name="scatter-many"),
        error_histogram(d),
        qq(d),
        error_by_intensity(bins),
        risk_coverage([(f"measure_{n}", [(s / 20, 1.2 - n * s / 100) for s in range(19)]) for n in range(6)], 1.2),
        confusion([[1200, 130, 2], [40, 900, 77], [0, 12, 300]], CLASSES),
        class_changes([[1234567, 3, 2], [0, 0, 0], [0, 12, 300]], CLASSES),
        calibration(
            [(0.5 + index, 0.6 + index, 0.4 + index, 0.8 + index, 30.0) for index in range(9)],
            intercept=0.1,
            slope=1.02,
        ),
        subject_strip(names[:7], some[:7], spread[:7], sizes[:7], bias=0.3, loa=(-1.7, 2.3), name="strip-few"),
        subject_strip(names[:60], some[:60], spread[:60], sizes[:60], bias=0.3, loa=(-1.7, 2.3), name="strip-named"),
        subject_strip(names, some, spread, sizes, bias=0.3, loa=(-1.7, 2.3)),
        trajectory(
            "one.mp4",
            track(40),
            ratings=[Rating(f"nurse-{who}", 10.0 * at, 10.0 * at + 10, 4.0) for who in range(3) for at in range(12)],
            events=[(24.0, "heel lance"), (70.0, "procedure ends")],
        ),
        trajectory("long.mp4", track(4000), events=[(300.0 * index, f"event {index}") for index in range(40)]),
        balance([("scored", 14000.0), ("no face", 812.0), ("no video", 3.0), ("could not be decoded at all", 0.4)]),
        distributions(model, reference),
        distributions(model, None, name="distributions-alone"),
        strata([*rows, ("site", "west", NAN, NAN, NAN, NAN, 4.0)]),
        drift([(f"2026-{month:02d}", 0.1 * month, 0.0, 1.3, 0.9, 120.0) for month in range(1, 13)]),
        drift([(f"batch {index} of the ward", 0.1, 0.0, 0.3, 0.9, 120.0) for index in range(48)], name="drift-many"),
    ]


def boxes_of_text(figure: Figure) -> list[tuple[float, float, float, float, str]]:
    """Left, top, right, bottom of every line of level text, in the svg's units."""
    boxes = []
    for element in ET.fromstring(figure.svg).iter(f"{SVG}text"):
        text, style = element.text or "", element.attrib["style"]
        turned = element.get("transform", "")
        if turned.startswith("rotate"):
            continue
        moved = re.match(r"translate\(([-\d.]+) ([-\d.]+)\)", turned)
        x, y = (float(moved[1]), float(moved[2])) if moved else (float(element.attrib["x"]), float(element.attrib["y"]))
        size = re.search(r"([\d.]+)px", style)
        assert size is not None
        bold = 1.12 if "bold" in style or "700" in style else 1.0
        width = text_width_in(text, float(size[1])) * 72 * bold
        anchor = 0.5 if "anchor:middle" in style else 1.0 if "anchor:end" in style else 0.0
        left = x - anchor * width
        boxes.append((left, y - 0.72 * float(size[1]), left + width, y, text))
    return boxes
