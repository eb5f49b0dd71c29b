"""The figure: reasons in the place of what is missing, nothing overlaps, no pixel of a face where none may be."""

from __future__ import annotations

import itertools
import re
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from avpenet_cli.explanation.explained import Attention, ExplainedSegment, ModalityShares, Saliency
from avpenet_cli.explanation.faces import FaceStyle
from avpenet_cli.explanation.figure import DrawnSegment, Heading, draw_segment, write_segment
from avpenet_cli.explanation.maps import band_of, limit_of, token_times_s
from avpenet_cli.report.figures.style import Figure
from avpenet_cli.settings import AudioSettings
from tests.support.explained import (
    drawn_faces,
    explained,
    number_of_colours,
    with_flat_maps,
    without_audio,
    without_faces,
)
from tests.support.explanations import ReadRecording
from tests.support.figures import HOSTILE, boxes_of_text

HEADING = Heading("bed 4/0001.mp4", "avpenet-phantom (sha256 0123456789ab, demonstration)", "demonstration")
PX_PER_PT = 100 / 72


@pytest.fixture(scope="module")
def segment(phantom: ReadRecording) -> ExplainedSegment:
    return explained(phantom.inputs[0])


def text_of(figure: Figure) -> str:
    return " ".join(box[4] for box in boxes_of_text(figure))


def overlapping(figure: Figure) -> list[tuple[str, str]]:
    boxes = [box for box in boxes_of_text(figure) if box[4].strip()]
    return [
        (first[4], second[4])
        for first, second in itertools.combinations(boxes, 2)
        if min(first[2], second[2]) - max(first[0], second[0]) > 0.5
        and min(first[3], second[3]) - max(first[1], second[1]) > 0.5
    ]


def one_face(segment: ExplainedSegment) -> ExplainedSegment:
    assert segment.attention.spatial is not None and segment.saliency.faces is not None
    inputs = segment.inputs
    return replace(
        segment,
        inputs=replace(
            inputs, crops=inputs.crops[:1].astype(np.float32), places=inputs.places[:1], counts=np.array([30])
        ),
        attention=Attention(None, None, segment.attention.spatial[:1], "one token a side: attention cannot vary"),
        saliency=replace(segment.saliency, faces=segment.saliency.faces[:1], shown=(0,)),
    )


def no_maps(segment: ExplainedSegment) -> ExplainedSegment:
    reason = "the network takes acoustic measures of the waveform"
    return replace(
        segment,
        attention=Attention(reason="the network has no attention", spatial_reason="its encoder has no such attention"),
        saliency=Saliency(reason=reason),
        shares=ModalityShares(reason="the recording has no quiet segment"),
        checks=(),
        curves=(),
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda segment: segment,
            [
                "DEMONSTRATION WEIGHTS",
                "spatial attention",
                "Score as the face of frame d is blurred",
                "face (frame d)",
                "not made",
            ],
        ),
        (without_faces, ["No face made this score", "Not drawn: only audio made this score."]),
        (without_audio, ["No audio made this score", "only the face made this score"]),
        (one_face, ["one token a side: attention cannot vary", "mean of 30 frames"]),
        (
            no_maps,
            [
                "acoustic measures",
                "no quiet segment",
                "No check was made.",
                "No spatial attention: its encoder has no",
            ],
        ),
    ],
    ids=["whole", "audio alone", "face alone", "one face", "no maps"],
)
def test_what_is_missing_has_its_reason_and_no_text_overlaps(
    segment: ExplainedSegment, change: Callable[[ExplainedSegment], ExplainedSegment], says: list[str]
) -> None:
    figure = draw_segment(change(segment), HEADING).figure
    written = text_of(figure)
    assert all(words in written for words in says), written
    assert not overlapping(figure)
    view_box = re.search(r'viewBox="([^"]+)"', figure.svg)
    assert view_box is not None
    width, height = (float(side) for side in view_box[1].split()[2:])
    for left, top, right, bottom, text in boxes_of_text(figure):
        assert left > -1 and top > -1 and right < width + 1 and bottom < height + 1, text
    sizes = {float(size) * PX_PER_PT for size in re.findall(r"font[^;\"]*?([\d.]+)px", figure.svg)}
    assert min(sizes) >= 12


@pytest.fixture(scope="module")
def flat(segment: ExplainedSegment) -> ExplainedSegment:
    """With maps that are the same everywhere, an image of a face has one colour, unless the face is in it."""
    return with_flat_maps(segment)


@pytest.fixture(scope="module")
def shown(flat: ExplainedSegment) -> DrawnSegment:
    return draw_segment(flat, HEADING, "shown")


def test_faces_are_shown_where_they_may_be(shown: DrawnSegment) -> None:
    """So that the tests below would see a face."""
    for text in (shown.svg.decode(), shown.figure.svg):
        assert len(drawn_faces(text)) == 8
        assert all(number_of_colours(image) > 20 for image in drawn_faces(text))


@pytest.mark.parametrize("style", ["landmarks", "none"])
def test_no_pixel_of_a_face_is_in_styles_without(flat: ExplainedSegment, style: FaceStyle) -> None:
    hidden = draw_segment(flat, HEADING, style)
    for text in (hidden.svg.decode(), hidden.figure.svg):
        assert len(drawn_faces(text)) == (8 if style == "landmarks" else 0)
        assert all(number_of_colours(image) == 1 for image in drawn_faces(text))


def test_png_and_svg_are_the_same_for_other_pixels(segment: ExplainedSegment) -> None:
    """Crops without landmarks: what differs is pixels alone."""

    def with_pixels(seed: int) -> ExplainedSegment:
        noise = np.random.default_rng(seed).integers(0, 256, segment.inputs.crops.shape).astype(np.uint8)
        return replace(segment, inputs=replace(segment.inputs, crops=noise))

    first, second = (draw_segment(with_pixels(seed), HEADING, "landmarks") for seed in (1, 2))
    assert first.png == second.png
    assert first.svg == second.svg
    assert first.figure == second.figure


def test_blurred_figure_has_no_detail_in_the_eye_region(flat: ExplainedSegment, shown: DrawnSegment) -> None:
    images = drawn_faces(draw_segment(flat, HEADING, "blurred").figure.svg)
    before = drawn_faces(shown.figure.svg)
    assert len(images) == len(before) == 8
    for blurred, sharp in zip(images, before, strict=True):
        rows = slice(int(0.3 * len(blurred)), int(0.55 * len(blurred)))
        steps, sharp_steps = (np.abs(np.diff(part[rows].astype(int), axis=0)).max() for part in (blurred, sharp))
        assert steps <= 5 < sharp_steps


def test_failed_check_stands_above_the_maps(segment: ExplainedSegment) -> None:
    failed = replace(segment.checks[0], passed=False)
    figure = draw_segment(replace(segment, checks=(failed, *segment.checks[1:])), HEADING, "none").figure
    assert "A sanity check FAILED on the audio map: do not rely on this map." in text_of(figure)


def test_name_is_text_and_is_shortened(segment: ExplainedSegment) -> None:
    drawn = draw_segment(without_faces(segment), replace(HEADING, recording=HOSTILE[1] + HOSTILE[5]), "none")
    assert "<script" not in drawn.figure.svg
    assert not overlapping(drawn.figure)


def test_files_are_private_and_named_by_segment(segment: ExplainedSegment, tmp_path: Path) -> None:
    drawn = draw_segment(without_faces(segment), HEADING, "none")
    for path in write_segment(tmp_path, drawn):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    number = segment.inputs.record.segment
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"segment-{number:04d}.{kind}" for kind in ("png", "svg")
    ]
    assert (tmp_path / f"segment-{number:04d}.png").read_bytes().startswith(b"\x89PNG")


def test_the_colour_scale_ends_where_few_cells_lie_beyond_it() -> None:
    assert limit_of(np.zeros((3, 3), np.float32)) == 0
    assert limit_of(np.eye(20, dtype=np.float32)) == 1


def test_frequencies_are_those_of_the_mel_bands() -> None:
    import librosa

    settings = AudioSettings()
    centres = librosa.mel_frequencies(settings.mel_bands + 2, fmin=settings.mel_low_hz, fmax=settings.mel_high_hz)
    places = [band_of(float(frequency_hz), settings) for frequency_hz in centres[1:-1]]
    assert places == pytest.approx(np.arange(settings.mel_bands), abs=1e-6)


def test_tokens_stand_at_the_encoders_stride() -> None:
    assert token_times_s(10) == pytest.approx(0.32 * np.arange(10))
