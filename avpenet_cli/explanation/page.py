"""The page of an explanation: a single HTML file that loads nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from avpenet_cli.explanation.explained import ExplainedSegment, Explanation
from avpenet_cli.explanation.figure import FACE_WORDS
from avpenet_cli.explanation.maps import token_times_s
from avpenet_cli.explanation.timeline import draw_timeline
from avpenet_cli.explanation.wording import (
    CHECK_NAMES,
    STATUS_WORDS,
    WARNING,
    fact_rows,
    failure,
    heading,
    share_rows,
    shares_known,
    shares_sentence,
    verdict,
)
from avpenet_cli.phrasing import number, percent
from avpenet_cli.records import FLAG_MEANINGS
from avpenet_cli.report.document.review import Level, Notice
from avpenet_cli.report.figures.style import Figure
from avpenet_cli.report.page import PAGE_TEMPLATE, Section, page_environment
from avpenet_cli.stats.bootstrap import LEVEL
from avpenet_cli.storage import atomic_write
from avpenet_cli.version import __version__

KIND = "explanation"
"""Of the page, in its head; `explanation.css` is its style beside the report's."""

_DANGEROUS = ("demonstration", "untrained")


@dataclass(frozen=True)
class PageDocument:
    """What the frame of the page needs."""

    title: str
    created: str
    software: dict[str, str]
    notices: tuple[Notice, ...]


def write_page(path: Path, explanation: Explanation, figures: Mapping[int, Figure]) -> None:
    """Write the page, readable by its owner only.

    Args:
        path: of the HTML file, which is replaced.
        explanation: its segments may be without arrays.
        figures: of `draw_segment`, by number of the segment; a missing one is left out.

    Raises:
        EnvironmentUnavailableError, OutputError: the file cannot be written.
    """
    page = render(explanation, figures)
    with atomic_write(path) as file:
        file.write(page.encode("utf-8", "backslashreplace"))


def render(explanation: Explanation, figures: Mapping[int, Figure]) -> str:
    """The whole page.

    Args:
        explanation: its segments may be without arrays.
        figures: of `draw_segment`, by number of the segment.

    Returns:
        HTML without scripts and without fonts or images from elsewhere; names and other text are escaped.
    """
    named = {f"segment_{segment:04d}": figure for segment, figure in figures.items()}
    named["timeline"] = draw_timeline(explanation)
    environment = page_environment(KIND, LEVEL, "avpenet_cli.explanation", "avpenet_cli.report")
    environment.globals.update(
        heading=heading,
        failure=failure,
        fact_rows=fact_rows,
        verdict=verdict,
        check_names=CHECK_NAMES,
        shares_sentence=shares_sentence,
        number_rows=number_rows,
        face_words=FACE_WORDS,
        setting_rows=lambda: list(_flat(explanation.settings)),
    )
    return environment.get_template(PAGE_TEMPLATE).render(
        doc=PageDocument(
            title=f"Explanation of {explanation.recording}",
            created=explanation.created,
            software={"avpenet": __version__} | explanation.software,
            notices=_notices(explanation),
        ),
        explanation=explanation,
        failed=[part for part in explanation.segments if failure(part.checks)],
        warning=WARNING,
        figures=named,
        sections=_sections(explanation),
    )


def _sections(explanation: Explanation) -> list[Section]:
    candidates = (
        ("scores", "Scores of the recording", True),
        ("segments", "Explained segments", bool(explanation.segments)),
        ("unexplained", "Chosen segments without a score", bool(explanation.unexplained)),
        ("methods", "Methods and sources", True),
        ("provenance", "Provenance", True),
    )
    return [Section(name, title) for name, title, present in candidates if present]


def _notices(explanation: Explanation) -> tuple[Notice, ...]:
    words = STATUS_WORDS.get(explanation.status)
    notices = []
    if words:
        level: Level = "danger" if explanation.status in _DANGEROUS else "warning"
        notices.append(Notice(level, words))
    return (*notices, *(Notice("warning", text) for text in explanation.notices))


def number_rows(segment: ExplainedSegment) -> list[tuple[str, str, str]]:
    """Name, value and meaning of each number of a segment, the facts apart.

    A value that is missing begins with "not computed".
    """
    record, attention, saliency = segment.inputs.record, segment.attention, segment.saliency
    rows = [("score", number(record.score), "points of the 0-10 scale")]
    if record.score_lo is not None and record.score_hi is not None:
        rows.append(("interval", f"{number(record.score_lo)} to {number(record.score_hi)}", "Monte Carlo dropout"))
    flags = "; ".join(FLAG_MEANINGS[flag] for flag in record.flags)
    rows.append(("quality flags", ", ".join(record.flags) or "none", flags))
    if attention.audio is not None:
        weights = attention.audio
        peak = int(weights.argmax())
        when = f"around {token_times_s(len(weights))[peak]:.1f} s of the segment"
        meaning = f"largest weight of the faces' attention, {when}; equal weights would be {percent(1 / len(weights))}"
        rows.append(("attention to the audio", percent(float(weights[peak])), meaning))
    if attention.faces is not None:
        weights = attention.faces
        meaning = f"largest weight of the audio's attention; equal weights would be {percent(1 / len(weights))}"
        rows.append(("attention to a frame", percent(float(weights.max())), meaning))
    if attention.audio is None or attention.faces is None:
        rows.append(("attention", f"not computed: {attention.reason or 'no reason was recorded'}", ""))
    if shares_known(segment.shares):
        meanings = (
            "score with both modalities replaced by those of the lowest-scoring segments",
            "Shapley value",
            "Shapley value",
        )
        rows += [
            (name, number(value, signed=name.startswith("+")), meaning)
            for (name, value), meaning in zip(share_rows(segment)[:3], meanings, strict=True)
        ]
        shares = segment.shares
        spread = f"{number(shares.quiet_lowest)} to {number(shares.quiet_highest)}"
        rows.append(("scores of these segments", spread, "lowest and highest"))
        rows.append(("score with their audio", number(shares.audio_replaced), "and the segment's own face"))
        rows.append(("score with their face", number(shares.face_replaced), "and the segment's own audio"))
    else:
        rows.append(
            ("shares of the modalities", f"not computed: {segment.shares.reason or 'no reason was recorded'}", "")
        )
    for curve in segment.curves:
        what = "silence in place of the audio"
        if curve.modality == "face":
            what = "a blurred face in every frame"
        rows.append((f"score with {what}", number(curve.blank), "what saliency and deletion move towards"))
    if saliency.reason:
        rows.append(("saliency", f"not computed: {saliency.reason}", ""))
    return rows


def _flat(settings: Mapping[str, object], before: str = "") -> Iterator[tuple[str, str]]:
    """Settings within settings, each with its whole name in words."""
    for name, value in settings.items():
        label = f"{before}{name.replace('_', ' ')}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{label}: ")
        elif isinstance(value, (list, tuple)):
            yield label, ", ".join(str(item) for item in value) or "none"
        else:
            yield label, "not set" if value is None else str(value)
