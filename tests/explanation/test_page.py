"""The page: the warning first, reasons for what is missing, names are text, nothing is loaded from elsewhere."""

from __future__ import annotations

import itertools
import re
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from avpenet_cli.explanation.explained import ExplainedSegment, Explanation
from avpenet_cli.explanation.figure import Heading, draw_segment
from avpenet_cli.explanation.page import render, write_page
from avpenet_cli.explanation.timeline import draw_timeline
from avpenet_cli.explanation.wording import WARNING
from avpenet_cli.records import Quality, SegmentScore, Status
from tests.support.browser import render_in_browser
from tests.support.explained import drawn_faces, explained, number_of_colours, with_flat_maps, without_faces
from tests.support.explanations import ReadRecording
from tests.support.figures import boxes_of_text

HOSTILE = "<script>alert('1')</script>&amp;\"><img src=x onerror=alert(2)>"


def stripped(segment: ExplainedSegment) -> ExplainedSegment:
    """Without the arrays, as the page is given it."""
    return replace(
        segment,
        inputs=replace(segment.inputs, mel=None, waveform=None, crops=segment.inputs.crops[:0]),
        attention=replace(segment.attention, spatial=None),
        saliency=replace(segment.saliency, audio=None, faces=None),
    )


@pytest.fixture(scope="module")
def segments(phantom: ReadRecording) -> tuple[ExplainedSegment, ExplainedSegment]:
    return with_flat_maps(explained(phantom.inputs[0])), without_faces(explained(phantom.inputs[1]))


def explanation_of(segments: tuple[ExplainedSegment, ...], recording: str = "bed 4/0001.mp4") -> Explanation:
    scores = tuple(
        SegmentScore(
            number,
            3.0 * number,
            3.0 * number + 3,
            Status.UNSCORABLE if number == 4 else Status.SCORED,
            Quality(),
            score=None if number == 4 else 4.0 + number / 10,
        )
        for number in range(20)
    )
    return Explanation(
        recording=recording,
        weights="avpenet-phantom (sha256 0123456789ab, demonstration)",
        status="demonstration",
        network="avpenet",
        chosen="the segments that were named",
        scores=scores,
        segments=tuple(map(stripped, segments)),
        unexplained=((4, "the patient's face is in too few frames"),),
        quiet=(7, 8, 9),
        settings={"stride_s": 3.0, "maps": {"face_cells": 8, "deletion_shares": (0.1, 0.5)}},
        software={"torch": "2.0"},
        created="2026-03-04T10:15:00+00:00",
        notices=("What the weights' description says.",),
    )


@pytest.fixture(scope="module")
def page(segments: tuple[ExplainedSegment, ExplainedSegment]) -> str:
    explanation = explanation_of(segments)
    heading = Heading(explanation.recording, explanation.weights, explanation.status)
    figures = {part.inputs.record.segment: draw_segment(part, heading, "landmarks").figure for part in segments}
    return render(explanation, figures)


def test_warning_and_status_come_before_any_figure(page: str) -> None:
    for words in (WARNING, "DEMONSTRATION WEIGHTS: not trained on patients", "No sanity check of these maps failed"):
        assert 0 < page.index(words) < page.index("<figure")


def test_every_part_is_there(page: str) -> None:
    for words in (
        "the patient&#39;s face is in too few frames",
        "only audio made this score",
        "the face mesh is not installed",
        "lowest-scoring segments (7, 8, 9)",
        "maps: face cells",
        "Zeiler and Fergus",
        "What the weights&#39; description says.",
        "score with silence in place of the audio",
        "+4.90",
    ):
        assert words in page
    sections = re.findall(r'<section id="(\w+)"', page)
    assert sections == ["scores", "segments", "unexplained", "methods", "provenance"]
    assert "None" not in page.replace("None of", "")
    assert not re.search(r"\bnan\b", page)


def test_every_figure_has_an_alternative_in_words(page: str) -> None:
    figures = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(figures) == 3
    for figure in figures:
        described = re.search(r'aria-labelledby="(\S+) (\S+)"', figure)
        assert described is not None
        assert all(f'id="{name}"' in figure for name in described.groups())
        text = re.search(r"<desc[^>]*>(.*?)</desc>", figure, re.DOTALL)
        assert text is not None and len(text[1]) > 60


def test_no_pixel_of_a_face_is_on_a_page_of_landmarks(page: str) -> None:
    images = drawn_faces(page)
    assert len(images) == 8
    assert all(number_of_colours(image) == 1 for image in images)


def test_failed_check_is_named_at_the_top(segments: tuple[ExplainedSegment, ExplainedSegment]) -> None:
    failed = replace(segments[0].checks[1], passed=False)
    part = replace(segments[0], checks=(failed,))
    page = render(explanation_of((part, segments[1])), {})
    assert 0 < page.index("A sanity check failed") < page.index("<figure")
    assert page.count("The figure of this segment was not drawn.") == 2


def test_checks_that_could_not_be_made_are_not_passed(segments: tuple[ExplainedSegment, ExplainedSegment]) -> None:
    part = replace(segments[0], checks=(replace(segments[0].checks[0], passed=None),))
    page = render(explanation_of((part,)), {})
    assert "No sanity check of these maps could be made." in page
    assert "No sanity check of these maps failed" not in page


def test_names_never_become_code(segments: tuple[ExplainedSegment, ExplainedSegment], tmp_path: Path) -> None:
    explanation = replace(explanation_of(segments, HOSTILE), weights=HOSTILE, chosen=HOSTILE, notices=(HOSTILE,))
    write_page(tmp_path / "explain.html", replace(explanation, settings={HOSTILE: HOSTILE}), {})
    written = (tmp_path / "explain.html").read_text(encoding="utf-8")
    assert "<script" not in written and "<img" not in written
    assert stat.S_IMODE((tmp_path / "explain.html").stat().st_mode) == 0o600


def test_numbers_of_neighbouring_segments_do_not_overlap(
    segments: tuple[ExplainedSegment, ExplainedSegment],
) -> None:
    explanation = explanation_of(segments)
    scores = tuple(
        replace(explanation.scores[0], segment=number, start_s=3.0 * number, end_s=3.0 * number + 3)
        for number in range(1200)
    )
    parts = tuple(
        replace(segments[1], inputs=replace(segments[1].inputs, record=scores[number])) for number in range(500, 530)
    )
    figure = draw_timeline(replace(explanation, scores=scores, segments=parts))
    boxes = sorted(box for box in boxes_of_text(figure) if box[4].isdigit() and int(box[4]) >= 500)
    assert boxes
    assert all(first[2] <= second[0] for first, second in itertools.pairwise(boxes))


@pytest.mark.slow
def test_a_browser_renders_it_without_errors_requests_or_overflow(page: str, tmp_path: Path) -> None:
    (tmp_path / "explain.html").write_text(page, encoding="utf-8")
    rendering = render_in_browser(tmp_path / "explain.html")
    assert not rendering.messages
    assert all(used <= available for available, used in rendering.widths.items()), rendering.widths
    assert rendering.requested == {"/harness.html", "/explain.html"}
