"""Simulates a study to try `avpenet report` with: score tables of two models, ratings, subjects and events.

Run `.venv/bin/python -m examples.make_study --out study` in the repository's root. The tables and manifests have the
form `avpenet score` gives them; the numbers are drawn from a random generator. Nothing in them was measured: no
patient, no rater and no network took part.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from avpenet_cli.pipeline.windows import Window, balance, windows
from avpenet_cli.records import Balance, Flag, Quality, Reason, SegmentScore, Status
from avpenet_cli.settings import WINDOW_S, RunSettings, to_dict
from avpenet_cli.storage import write_json
from avpenet_cli.tables import row, write_table
from avpenet_cli.version import __version__
from avpenet_cli.weights import WeightsDescription

Floats = npt.NDArray[np.float64]

NOTICE = "SIMULATED scores: no recording was scored and nobody was rated; they show how a report looks, nothing else"
RATING_S = 10.0
"""Adults are asked every so many seconds."""
SHORTEST, LONGEST = 5, 60
"""Segments of a recording."""
PROCEDURE = {"neonate": "heel lance", "adult": "cannulation"}
FLAGS = (Flag.LOW_FACE_RATE, Flag.LOW_CONFIDENCE, Flag.SEVERAL_FACES, Flag.LOW_SNR)


@dataclass(frozen=True)
class Model:
    """How a simulated network errs, in points of the 0-10 scale.

    Attributes:
        shrinkage: slope of its scores on the truth, about `centre`.
        subject_sd: of what it adds for one subject throughout.
        noise_sd: of what it adds to one segment; twice as much to a flagged one.
    """

    name: str
    shrinkage: float
    subject_sd: float
    noise_sd: float
    centre: float = 3.8


OLD = Model("simulated", shrinkage=0.72, subject_sd=0.55, noise_sd=0.85)
NEW = Model("simulated-new", shrinkage=0.84, subject_sd=0.45, noise_sd=0.75)


@dataclass(frozen=True)
class Patient:
    """A subject, and how far the subject's own answers lie from the truth in points."""

    subject: str
    age_group: str
    site: str
    sex: str
    month: str
    own_bias: float


@dataclass(frozen=True)
class Course:
    """One simulated recording: its `segments`, as yet without scores, and their latent pain `truth`, 0 to 10."""

    recording: str
    patient: Patient
    nominal_s: float
    length_s: float
    segments: tuple[SegmentScore, ...]
    truth: Floats
    onset_s: float
    done_s: float

    @property
    def start_s(self) -> Floats:
        """(segments,)."""
        return np.array([segment.start_s for segment in self.segments])

    @property
    def end_s(self) -> Floats:
        """(segments,)."""
        return np.array([segment.end_s for segment in self.segments])


def make_study(out: Path, recordings: int = 200, seed: int = 1, segments: float = 25.0, raters: int = 3) -> None:
    """Write `scores.csv`, `scores-new.csv`, their manifests, `ratings.csv`, `subjects.csv` and `events.csv`.

    Neonates are rated by nurses on NIPS (0 to 7) for every segment, adults rate themselves on NRS every 10 s. One
    recording has no scored segment, about one in twenty no ratings, one more could not be read at all; a few ratings
    lie past their recording's end or name a recording that is not in the scores.

    Args:
        out: folder, made where absent; files in it are written over.
        recordings: in the score tables, at least 4.
        seed: the same arguments give the same files.
        segments: mean number per recording, 5 to 60; each recording has between 5 and 60.
        raters: nurses per neonate, at least 1.

    Raises:
        ValueError: an argument out of its range.
    """
    if recordings < 4 or raters < 1 or not SHORTEST <= segments <= LONGEST:
        raise ValueError("a study has at least 4 recordings, at least 1 rater and 5 to 60 segments per recording")
    out.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(seed)
    patients = [_patient(number, draw) for number in range(max(2, round(recordings * 0.6)))]
    # Everyone has one recording before anyone has a second.
    owners = [patients[n] if n < len(patients) else patients[draw.integers(len(patients))] for n in range(recordings)]
    courses = [_course(n, owner, segments, n == recordings // 2, draw) for n, owner in enumerate(owners)]
    _write_scores(out / "scores.csv", courses, OLD, np.random.default_rng([seed, 1]))
    _write_scores(out / "scores-new.csv", courses, NEW, np.random.default_rng([seed, 2]))
    columns = ["recording", "subject", "age_group", "site", "sex", "month"]
    events = [
        {"recording": c.recording, "time_s": round(time_s, 1), "label": label}
        for c in courses
        for time_s, label in ((c.onset_s, PROCEDURE[c.patient.age_group]), (c.done_s, "procedure ends"))
    ]
    for name, table in (
        ("ratings.csv", _ratings(courses, raters, draw)),
        ("subjects.csv", pd.DataFrame([{"recording": c.recording, **asdict(c.patient)} for c in courses])[columns]),
        ("events.csv", pd.DataFrame(events)),
    ):
        table.to_csv(out / name, index=False, lineterminator="\n")


def _patient(number: int, draw: np.random.Generator) -> Patient:
    return Patient(
        subject=f"S{number + 1:04d}",
        age_group=("neonate", "adult")[number % 2],
        site=str(draw.choice(["north", "south", "east"], p=[0.5, 0.3, 0.2])),
        sex=str(draw.choice(["female", "male"])),
        month=f"2026-{draw.integers(3, 9):02d}",
        own_bias=float(draw.normal(0.0, 0.5)),
    )


def _course(number: int, patient: Patient, mean_segments: float, faceless: bool, draw: np.random.Generator) -> Course:
    """Calm, a procedure that hurts more or less, and a decline; slow wandering on top of it all."""
    share = (mean_segments - SHORTEST) / (LONGEST - SHORTEST)
    count = SHORTEST + int(draw.binomial(LONGEST - SHORTEST, draw.beta(0.1 + 4.0 * share, 4.1 - 4.0 * share)))
    length_s = round(count * WINDOW_S + float(draw.uniform(0.0, 2.9)), 1)
    undecodable_s = round(float(draw.uniform(0.5, 6.0)), 1) if draw.random() < 0.03 else 0.0
    run = RunSettings()
    places = windows(length_s, run.stride_s, run.quality.short_tail_share)
    middle_s = np.array([(place.start_s + place.end_s) / 2.0 for place in places])
    onset_s, done_s = length_s * draw.uniform(0.15, 0.35), length_s * draw.uniform(0.4, 0.65)
    calm, peak, fade_s = draw.uniform(0.3, 2.5), draw.uniform(3.0, 10.0), draw.uniform(10.0, 45.0)
    fading = np.exp(-np.maximum(0.0, middle_s - done_s) / fade_s)
    wandering = draw.normal(0.0, 0.35, count + 1)[: middle_s.size]
    for index in range(1, middle_s.size):
        wandering[index] += 0.7 * wandering[index - 1]
    truth = np.clip(np.where(middle_s < onset_s, calm, calm + (peak - calm) * fading) + wandering, 0.0, 10.0)
    decode_error = 0.06 if patient.site == "east" else 0.03
    segments = []
    for place, pain in zip(places, truth.tolist(), strict=True):
        flags = tuple(flag for flag in FLAGS if draw.random() < decode_error) + (Flag.SHORT_TAIL,) * place.short
        flags += (Flag.TRUNCATED,) * (undecodable_s > 0 and place is places[-1])
        seen = not faceless and bool(draw.random() > decode_error)
        segments.append(_segment(place, pain, flags, seen, draw))
    return Course(
        recording=f"{patient.site}/rec-{number + 1:04d}.mp4",
        patient=patient,
        nominal_s=round(length_s + undecodable_s, 1),
        length_s=length_s,
        segments=tuple(segments),
        truth=truth,
        onset_s=float(onset_s),
        done_s=float(done_s),
    )


def _segment(
    place: Window, pain: float, flags: tuple[Flag, ...], seen: bool, draw: np.random.Generator
) -> SegmentScore:
    """A segment without its score; `seen`: with a face in it."""
    if not seen:
        flags = (Flag.NO_FACE, *(flag for flag in flags if flag not in FLAGS[:3]))
    sound = Quality(
        face_rate=0.0,
        faces=0,
        voiced=draw.uniform(0.0, 0.3) + 0.06 * pain,
        snr_db=draw.uniform(1.0, 4.9) if Flag.LOW_SNR in flags else draw.uniform(8.0, 40.0),
        level_dbfs=draw.uniform(-40.0, -12.0),
    )
    both = replace(
        sound,
        face_rate=draw.uniform(0.2, 0.49) if Flag.LOW_FACE_RATE in flags else draw.uniform(0.6, 1.0),
        face_confidence=draw.uniform(0.7, 0.84) if Flag.LOW_CONFIDENCE in flags else draw.uniform(0.9, 1.0),
        face_px=draw.uniform(80.0, 220.0),
        faces=2 if Flag.SEVERAL_FACES in flags else 1,
    )
    return SegmentScore(
        segment=place.index,
        start_s=place.start_s,
        end_s=place.end_s,
        status=Status.SCORED if seen else Status.UNSCORABLE,
        quality=both if seen else sound,
        reason="" if seen else Reason.NO_FACE.value,
        flags=flags,
    )


def _write_scores(path: Path, courses: Sequence[Course], model: Model, draw: np.random.Generator) -> None:
    weights = WeightsDescription(
        name=model.name,
        status="demonstration",
        intended_use="Showing what `avpenet report` makes of a study.",
        not_intended_use="Anything else: no network made these scores.",
        training_data="none",
        licence="MIT",
        created_with="examples/make_study.py",
        notice=NOTICE,
    )
    subjects = list(dict.fromkeys(course.patient.subject for course in courses))
    effects = dict(zip(subjects, draw.normal(0.0, model.subject_sd, len(subjects)).tolist(), strict=True))
    scored = [_scored(course, model, effects[course.patient.subject], weights, draw) for course in courses]
    mark = f"{weights.name}@{weights.digest[:12]} (demonstration: not for patients)"
    rows = [row(c.recording, segment, mark) for c, its in zip(courses, scored, strict=True) for segment in its]
    table = {"file": path.name, "sha256": write_table(path, rows), "rows": len(rows)}
    write_json(path.with_suffix(".run.json"), _manifest(courses, scored, weights, table))


def _scored(
    course: Course, model: Model, effect: float, weights: WeightsDescription, draw: np.random.Generator
) -> list[SegmentScore]:
    noise_sd = model.noise_sd * np.array(
        [2.0 if set(segment.flags) & set(FLAGS) else 1.0 for segment in course.segments]
    )
    scores = model.centre + model.shrinkage * (course.truth - model.centre) + effect + draw.normal(0.0, noise_sd)
    # The networks end in a sigmoid: nothing leaves the scale.
    scores = np.clip(scores, 0.0, 10.0).round(3)
    return [
        replace(segment, score=score, label=weights.label(score)) if segment.status is Status.SCORED else segment
        for segment, score in zip(course.segments, scores.tolist(), strict=True)
    ]


def _manifest(
    courses: Sequence[Course], scored: Sequence[list[SegmentScore]], weights: WeightsDescription, table: dict[str, Any]
) -> dict[str, Any]:
    """As `scoring.manifest` makes it, but for what a simulation does not have; that room needs torch."""
    balances = [balance(c.nominal_s, c.length_s, its) for c, its in zip(courses, scored, strict=True)]
    counts = [Counter(segment.status.value for segment in its) for its in scored]
    entries = [
        _entry(course.recording, "scored" if count["scored"] else "unscorable", count, seconds)
        for course, count, seconds in zip(courses, counts, balances, strict=True)
    ]
    unread = _entry(f"north/rec-{len(courses) + 1:04d}.mp4", "failed", Counter(), Balance(0.0, 0.0, {}, 0.0))
    unread |= {"reason": "empty_file", "message": "the file is empty; copy it again from its source"}
    lost_s: Counter[str] = Counter()
    for seconds in balances:
        lost_s.update(seconds.unscorable_s)
    entries.append(unread)
    plain = to_dict(weights)
    return {
        "manifest_version": 1,
        "notice": weights.notice,
        "software": {"avpenet": __version__, "simulated with": "examples/make_study.py"},
        "device": "none",
        "preprocessing": plain.pop("preprocessing"),
        "weights": plain | {"digest": weights.digest},
        "settings": to_dict(RunSettings()),
        "table": table,
        "totals": {
            "recordings": dict(Counter(entry["status"] for entry in entries)),
            "segments": dict(sum(counts, Counter())),
            "seconds": {
                "nominal": round(sum(b.nominal_s for b in balances), 3),
                "scored": round(sum(b.scored_s for b in balances), 3),
                "undecodable": round(sum(b.undecodable_s for b in balances), 3),
                "unscorable": {reason: round(seconds, 3) for reason, seconds in lost_s.items()},
            },
        },
        "timing": {"finished": "2026-10-01T08:00:00+00:00", "seconds": 0.0},
        "recordings": entries,
    }


def _entry(recording: str, status: str, segments: Counter[str], seconds: Balance) -> dict[str, Any]:
    return {
        "recording": recording,
        "status": status,
        "reason": Reason.NO_FACE.value if status == "unscorable" else "",
        "message": "",
        "orientation_deg": 0 if status == "scored" else None,
        "segments": dict(segments),
        "balance_s": asdict(seconds),
        "streams": {},
        "stage_s": {},
        "from_earlier_run": False,
    }


def _ratings(courses: Sequence[Course], raters: int, draw: np.random.Generator) -> pd.DataFrame:
    biases = draw.normal(0.0, 0.4, raters)
    parts: list[pd.DataFrame] = []
    rated = [course for number, course in enumerate(courses) if number % 20 != 3]
    for course in rated:
        if course.patient.age_group == "neonate":
            for nurse, bias in enumerate(biases):
                felt = course.truth + bias + draw.normal(0.0, 0.8, course.truth.size)
                parts.append(_rated(course.recording, course.start_s, course.end_s, felt, f"nurse-{nurse + 1}", "NIPS"))
        else:
            asked_s = np.arange(0.0, course.end_s[-1], RATING_S)
            middle_s = (course.start_s + course.end_s) / 2.0
            felt = np.interp(asked_s + RATING_S / 2.0, middle_s, course.truth)
            felt += course.patient.own_bias + draw.normal(0.0, 0.6, asked_s.size)
            ends_s = np.minimum(asked_s + RATING_S, course.end_s[-1])
            parts.append(_rated(course.recording, asked_s, ends_s, felt, "self", "NRS"))
    late_s = rated[1].length_s + RATING_S * np.arange(1.0, 4.0)
    parts.append(_rated(rated[1].recording, late_s, late_s + RATING_S, np.array([2.0, 1.0, 1.0]), "self", "NRS"))
    lone_s = np.array([0.0, WINDOW_S])
    parts.append(_rated("north/no-such-rec.mp4", lone_s, lone_s + WINDOW_S, np.array([4.0, 5.0]), "nurse-1", "NIPS"))
    return pd.concat(parts, ignore_index=True)


def _rated(recording: str, start_s: Floats, end_s: Floats, felt: Floats, rater: str, scale: str) -> pd.DataFrame:
    """What a rater notes: whole numbers of the scale, its ends included."""
    highest = {"NIPS": 7, "NRS": 10}[scale]
    value = np.clip(np.round(felt * highest / 10.0), 0, highest).astype(int)
    times = {"start_s": np.round(start_s, 3), "end_s": np.round(end_s, 3)}
    return pd.DataFrame({"recording": recording, **times, "value": value, "scale": scale, "rater": rater})


def main() -> None:
    """Make the study the command line asks for."""
    parser = argparse.ArgumentParser(description="Simulate a study to try `avpenet report` with.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the files")
    parser.add_argument("--recordings", type=int, default=200)
    parser.add_argument("--segments", type=float, default=25.0, help="mean number per recording, 5 to 60")
    parser.add_argument("--raters", type=int, default=3, help="nurses per neonate")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    try:
        make_study(given.out, given.recordings, given.seed, given.segments, given.raters)
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
