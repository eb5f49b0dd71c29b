"""Sentences about an explained segment that figure and page share."""

from __future__ import annotations

import math

from avpenet_cli.explanation.explained import ExplainedSegment, Facts, ModalityShares, SanityCheck
from avpenet_cli.phrasing import clock, counted, number, percent
from avpenet_cli.records import FLAG_MEANINGS, Flag, SegmentScore

WARNING = (
    "These maps show what the network used for its score, not what hurts: a map cannot show that a score is right, and "
    "a plausible map is no evidence that it is."
)

STATUS_WORDS = {
    "demonstration": "DEMONSTRATION WEIGHTS: not trained on patients, and not to be used for them.",
    "untrained": "UNTRAINED WEIGHTS: the scores mean nothing and must not be used, nor these maps.",
    "imported": "IMPORTED WEIGHTS: this program has not checked what they were trained on.",
}
"""What a reader must know of weights by their status; nothing of research and validated weights."""

CHECK_NAMES = {
    "randomisation": "randomised weights change the map",
    "deletion": "blanking what is salient changes the score",
    "repetition": "the same map when computed again",
}

NO_AUDIO = (Flag.NO_AUDIO, Flag.UNREADABLE_STREAM)
NO_FACE = (Flag.NO_VIDEO, Flag.NO_FACE, Flag.LOW_FACE_RATE, Flag.UNREADABLE_STREAM)


def heading(record: SegmentScore) -> str:
    """ "segment 3, 0:09.0 to 0:12.0, score 8.01 of 10 (audio+face)"."""
    return (
        f"segment {record.segment}, {clock(record.start_s)} to {clock(record.end_s)}, "
        f"score {number(record.score)} of 10 ({record.modalities})"
    )


def why_absent(record: SegmentScore, flags: tuple[Flag, ...]) -> str:
    """Why a modality made no score, from the segment's flags; empty where they do not say."""
    return "; ".join(FLAG_MEANINGS[flag] for flag in flags if flag in record.flags)


def no_audio(record: SegmentScore) -> str:
    """Sentence in the place of the audio's panels."""
    return _absent("No audio made this score", why_absent(record, NO_AUDIO))


def no_face(record: SegmentScore) -> str:
    """Sentence in the place of the frames."""
    return _absent("No face made this score", why_absent(record, NO_FACE))


def _absent(what: str, why: str) -> str:
    return f"{what}: {why}." if why else f"{what}."


def fact_rows(facts: Facts) -> list[tuple[str, str, str]]:
    """Name, value and meaning of each fact; the reason in the place of a value that was not measured."""
    rows = []

    def add(name: str, value: str, reason: str, meaning: str) -> None:
        rows.append((name, value or f"not measured: {reason or 'no reason was recorded'}", meaning))

    spread = "" if facts.f0_range_hz is None else f" ({facts.f0_range_hz[0]:.0f} to {facts.f0_range_hz[1]:.0f})"
    add(
        "fundamental frequency",
        "" if facts.f0_hz is None else f"{facts.f0_hz:.0f}{spread} Hz",
        facts.audio_reason,
        "median of the voiced frames, and their 10th to 90th percentile",
    )
    add(
        "voiced share",
        "" if facts.voiced_share is None else percent(facts.voiced_share, 0),
        facts.audio_reason,
        "share of the frames that have a fundamental frequency",
    )
    add(
        "level",
        "" if facts.level_dbfs is None else f"{number(facts.level_dbfs, 1)} dBFS",
        facts.audio_reason or "digital silence",
        "of the segment before noise reduction; full scale is 0",
    )
    relative = "median over the crops; compare segments of this patient only"
    for name, value, of in (
        ("brow height", facts.brow, "over the eyes' corners, relative to the distance of the eyes"),
        ("eye opening", facts.eyes, "relative to the width of the eyes"),
        ("mouth opening", facts.mouth, "relative to the width of the mouth"),
    ):
        add(name, "" if value is None else number(value), facts.face_reason, f"{of}; {relative}")
    return rows


def fact_sentences(facts: Facts) -> list[str]:
    """The facts for the figure: values, and each reason once."""
    known: list[str] = []
    reasons: dict[str, list[str]] = {}
    for name, value, _ in fact_rows(facts):
        if value.startswith("not measured: "):
            # Without the remedy, which is on the page.
            reasons.setdefault(value.partition("; ")[0], []).append(name)
        else:
            known.append(f"{name}: {value}")
    return [*known, *(f"{', '.join(names)}: {reason}" for reason, names in reasons.items())]


def verdict(check: SanityCheck) -> str:
    """ "passed", "FAILED" or "not made"."""
    return "not made" if check.passed is None else "passed" if check.passed else "FAILED"


def failure(checks: tuple[SanityCheck, ...]) -> str:
    """What a reader must know before the maps where a check failed; else empty."""
    failed = dict.fromkeys(check.modality for check in checks if check.passed is False)
    maps = f"{' and '.join(failed)} map{'s' if len(failed) > 1 else ''}"
    these = "these maps" if len(failed) > 1 else "this map"
    return f"A sanity check FAILED on the {maps}: do not rely on {these}." if failed else ""


def check_line(check: SanityCheck, frame: str) -> str:
    """ "audio: randomised weights change the map: passed"; the face's checks name the one frame they are of."""
    of = f"face ({frame})" if check.modality == "face" else check.modality
    return f"{of}: {CHECK_NAMES.get(check.name, check.name)}: {verdict(check)}"


def shares_known(shares: ModalityShares) -> bool:
    """Whether any of the shares was computed."""
    return any(math.isfinite(value) for value in (shares.quiet, shares.audio, shares.face))


def share_rows(segment: ExplainedSegment) -> list[tuple[str, float]]:
    """Names and points of the parts of a score, and the score."""
    shares = segment.shares
    quiet = f"{counted(shares.n_quiet, 'lowest score')}"
    score = segment.inputs.record.score
    return [
        (quiet, shares.quiet),
        ("+ audio", shares.audio),
        ("+ face", shares.face),
        ("= score", math.nan if score is None else score),
    ]


def shares_sentence(segment: ExplainedSegment) -> str:
    """Which modality moved the score, in words."""
    shares = segment.shares
    if not shares_known(shares):
        return f"Which modality moved the score was not computed: {shares.reason or 'no reason was recorded'}."
    parts = [
        f"{name} {'+' if value > 0 else ''}{number(value)}"
        for name, value in (("audio", shares.audio), ("face", shares.face))
        if math.isfinite(value)
    ]
    tail = f" {shares.reason[0].upper()}{shares.reason[1:]}." if shares.reason else ""
    return (
        f"Against {counted(shares.n_quiet, 'lowest-scoring segment')} of the same recording, whose score is "
        f"{number(shares.quiet)}, {' and '.join(parts)} points moved the score.{tail}"
    )
