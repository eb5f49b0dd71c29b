"""Simulates a study for trying out `avpenet report`: score tables of two models, ratings, subjects and events.

Run `.venv/bin/python -m examples.make_study --out study` in the repository's root. Tables and manifests have the form
that `avpenet score` gives them; their numbers come from a random number generator, not from patients, raters or a
network.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from avpenet_cli.inputs import Recording
from avpenet_cli.pipeline.windows import Window, balance, windows
from avpenet_cli.records import Balance, Flag, Modalities, Quality, Reason, RecordingOutcome, SegmentScore, Status
from avpenet_cli.runs.host import HostFacts
from avpenet_cli.runs.manifest import Manifest, Totals, recording_entry, weights_mark, write_manifest
from avpenet_cli.runs.manifest_entries import TableEntry, Timing
from avpenet_cli.settings import WINDOW_S, RunSettings
from avpenet_cli.tables import row, write_table
from avpenet_cli.version import __version__
from avpenet_cli.weights import WeightsDescription

Floats = npt.NDArray[np.float64]

NOTICE = "SIMULATED scores: no recording was scored and nobody was rated; they show how a report looks, nothing else"
RATING_S = 10.0
"""Interval between two self-reports of an adult, seconds."""
SHORTEST, LONGEST = 5, 60
"""Number of segments of a recording."""
_NOTHING = Balance(0.0, 0.0, {}, 0.0)
PROCEDURE = {"neonate": "heel lance", "adult": "cannulation"}
FLAGS = (Flag.LOW_FACE_RATE, Flag.LOW_CONFIDENCE, Flag.SEVERAL_FACES, Flag.LOW_SNR)


@dataclass(frozen=True)
class Model:
    """Errors of a simulated network, points of the 0-10 scale.

    Attributes:
        name: of its weights.
        shrinkage: slope of the scores on the true pain, around `centre`.
        subject_sd: SD of an error that is the same in all segments of a subject.
        noise_sd: SD of an error of a segment; twice as large for flagged segments.
        centre: score that is not shrunk.
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
    """A subject; `own_bias` is the mean error of the subject's self-reports, points."""

    subject: str
    age_group: str
    site: str
    sex: str
    month: str
    own_bias: float


@dataclass(frozen=True)
class SimulatedRecording:
    """A simulated recording: `segments` without scores, and their true pain `truth`, (segments,), 0 to 10 points."""

    name: str
    patient: Patient
    nominal_s: float
    length_s: float
    segments: tuple[SegmentScore, ...]
    truth: Floats
    onset_s: float
    done_s: float

    @property
    def start_s(self) -> Floats:
        """(segments,) seconds."""
        return np.array([segment.start_s for segment in self.segments])

    @property
    def end_s(self) -> Floats:
        """(segments,) seconds."""
        return np.array([segment.end_s for segment in self.segments])


def make_study(out: Path, recordings: int = 200, seed: int = 1, segments: float = 25.0, raters: int = 3) -> None:
    """Write `scores.csv`, `scores-new.csv`, their manifests, `ratings.csv`, `subjects.csv` and `events.csv`.

    Nurses rate neonates on NIPS (0 to 7) for every segment; adults rate themselves on NRS every 10 s. One recording has
    no scored segment, about 1 in 20 has no ratings, and one could not be read; a few ratings lie beyond the end of
    their recording or name a recording that is not in the scores.

    Args:
        out: folder, created if missing; existing files are overwritten.
        recordings: number in the score tables, at least 4.
        seed: the same arguments give the same files.
        segments: mean number per recording, 5 to 60; each recording has between 5 and 60.
        raters: number of nurses per neonate, at least 1.

    Raises:
        ValueError: an argument out of its range.
    """
    if recordings < 4 or raters < 1 or not SHORTEST <= segments <= LONGEST:
        raise ValueError("a study has at least 4 recordings, at least 1 rater and 5 to 60 segments per recording")
    out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    patients = [_patient(number, rng) for number in range(max(2, round(recordings * 0.6)))]
    # Every patient has a recording before any has a second one.
    owners = [patients[n] if n < len(patients) else patients[rng.integers(len(patients))] for n in range(recordings)]
    simulated = [_simulate(n, owner, segments, n == recordings // 2, rng) for n, owner in enumerate(owners)]
    _write_scores(out / "scores.csv", simulated, OLD, np.random.default_rng([seed, 1]))
    _write_scores(out / "scores-new.csv", simulated, NEW, np.random.default_rng([seed, 2]))
    columns = ["recording", "subject", "age_group", "site", "sex", "month"]
    events = [
        {"recording": c.name, "time_s": round(time_s, 1), "label": label}
        for c in simulated
        for time_s, label in ((c.onset_s, PROCEDURE[c.patient.age_group]), (c.done_s, "procedure ends"))
    ]
    for name, table in (
        ("ratings.csv", _ratings(simulated, raters, rng)),
        ("subjects.csv", pd.DataFrame([{"recording": c.name, **asdict(c.patient)} for c in simulated])[columns]),
        ("events.csv", pd.DataFrame(events)),
    ):
        table.to_csv(out / name, index=False, lineterminator="\n")


def _patient(number: int, rng: np.random.Generator) -> Patient:
    return Patient(
        subject=f"S{number + 1:04d}",
        age_group=("neonate", "adult")[number % 2],
        site=str(rng.choice(["north", "south", "east"], p=[0.5, 0.3, 0.2])),
        sex=str(rng.choice(["female", "male"])),
        month=f"2026-{rng.integers(3, 9):02d}",
        own_bias=float(rng.normal(0.0, 0.5)),
    )


def _simulate(
    number: int, patient: Patient, mean_segments: float, without_faces: bool, rng: np.random.Generator
) -> SimulatedRecording:
    """Simulate low pain, a procedure and a decline, plus a slow random drift."""
    share = (mean_segments - SHORTEST) / (LONGEST - SHORTEST)
    count = SHORTEST + int(rng.binomial(LONGEST - SHORTEST, rng.beta(0.1 + 4.0 * share, 4.1 - 4.0 * share)))
    length_s = round(count * WINDOW_S + float(rng.uniform(0.0, 2.9)), 1)
    undecodable_s = round(float(rng.uniform(0.5, 6.0)), 1) if rng.random() < 0.03 else 0.0
    run = RunSettings()
    places = windows(length_s, run.stride_s, run.quality.short_tail_share)
    middle_s = np.array([(place.start_s + place.end_s) / 2.0 for place in places])
    onset_s, done_s = length_s * rng.uniform(0.15, 0.35), length_s * rng.uniform(0.4, 0.65)
    calm, peak, fade_s = rng.uniform(0.3, 2.5), rng.uniform(3.0, 10.0), rng.uniform(10.0, 45.0)
    fading = np.exp(-np.maximum(0.0, middle_s - done_s) / fade_s)
    random_drift = rng.normal(0.0, 0.35, count + 1)[: middle_s.size]
    for index in range(1, middle_s.size):
        random_drift[index] += 0.7 * random_drift[index - 1]
    truth = np.clip(np.where(middle_s < onset_s, calm, calm + (peak - calm) * fading) + random_drift, 0.0, 10.0)
    fault_share = 0.06 if patient.site == "east" else 0.03
    segments = []
    for place, pain in zip(places, truth.tolist(), strict=True):
        flags = tuple(flag for flag in FLAGS if rng.random() < fault_share) + (Flag.SHORT_TAIL,) * place.short
        flags += (Flag.TRUNCATED,) * (undecodable_s > 0 and place is places[-1])
        face_visible = not without_faces and bool(rng.random() > fault_share)
        segments.append(_segment(place, pain, flags, face_visible, rng))
    return SimulatedRecording(
        name=f"{patient.site}/rec-{number + 1:04d}.mp4",
        patient=patient,
        nominal_s=round(length_s + undecodable_s, 1),
        length_s=length_s,
        segments=tuple(segments),
        truth=truth,
        onset_s=float(onset_s),
        done_s=float(done_s),
    )


def _segment(
    place: Window, pain: float, flags: tuple[Flag, ...], face_visible: bool, rng: np.random.Generator
) -> SegmentScore:
    """A segment without its score; `face_visible`: whether it has a face."""
    if not face_visible:
        flags = (Flag.NO_FACE, *(flag for flag in flags if flag not in FLAGS[:3]))
    without_face = Quality(
        face_rate=0.0,
        faces=0,
        voiced=rng.uniform(0.0, 0.3) + 0.06 * pain,
        snr_db=rng.uniform(1.0, 4.9) if Flag.LOW_SNR in flags else rng.uniform(8.0, 40.0),
        level_dbfs=rng.uniform(-40.0, -12.0),
    )
    with_face = replace(
        without_face,
        face_rate=rng.uniform(0.2, 0.49) if Flag.LOW_FACE_RATE in flags else rng.uniform(0.6, 1.0),
        face_confidence=rng.uniform(0.7, 0.84) if Flag.LOW_CONFIDENCE in flags else rng.uniform(0.9, 1.0),
        face_px=rng.uniform(80.0, 220.0),
        faces=2 if Flag.SEVERAL_FACES in flags else 1,
    )
    return SegmentScore(
        segment=place.index,
        start_s=place.start_s,
        end_s=place.end_s,
        status=Status.SCORED if face_visible else Status.UNSCORABLE,
        quality=with_face if face_visible else without_face,
        reason="" if face_visible else Reason.NO_FACE.value,
        flags=flags,
    )


def _write_scores(path: Path, simulated: Sequence[SimulatedRecording], model: Model, rng: np.random.Generator) -> None:
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
    subjects = list(dict.fromkeys(recording.patient.subject for recording in simulated))
    effects = dict(zip(subjects, rng.normal(0.0, model.subject_sd, len(subjects)).tolist(), strict=True))
    scored = [_scored(recording, model, effects[recording.patient.subject], weights, rng) for recording in simulated]
    mark = weights_mark(weights)
    rows = [row(c.name, segment, mark) for c, scores in zip(simulated, scored, strict=True) for segment in scores]
    table = TableEntry(path.name, write_table(path, rows), len(rows))
    write_manifest(path.with_suffix(".run.json"), _manifest(simulated, scored, weights, table))


def _scored(
    recording: SimulatedRecording, model: Model, effect: float, weights: WeightsDescription, rng: np.random.Generator
) -> list[SegmentScore]:
    noise_sd = model.noise_sd * np.array(
        [2.0 if set(segment.flags) & set(FLAGS) else 1.0 for segment in recording.segments]
    )
    scores = model.centre + model.shrinkage * (recording.truth - model.centre) + effect + rng.normal(0.0, noise_sd)
    # The networks end in a sigmoid, so that scores stay within the scale.
    scores = np.clip(scores, 0.0, 10.0).round(3)
    return [
        replace(segment, score=score, label=weights.label(score), modalities=Modalities.BOTH.value)
        if segment.status is Status.SCORED
        else segment
        for segment, score in zip(recording.segments, scores.tolist(), strict=True)
    ]


def _manifest(
    simulated: Sequence[SimulatedRecording],
    scored: Sequence[list[SegmentScore]],
    weights: WeightsDescription,
    table: TableEntry,
) -> Manifest:
    """The manifest of a run over the simulated recordings and a file that could not be read."""
    outcomes = [
        (recording.name, _outcome(recording, scores)) for recording, scores in zip(simulated, scored, strict=True)
    ]
    message = "the file is empty; copy it again from its source"
    failed = RecordingOutcome(Status.FAILED, balance=_NOTHING, reason="empty_file", message=message)
    outcomes.append((f"north/rec-{len(simulated) + 1:04d}.mp4", failed))
    totals, entries = Totals(), []
    for name, outcome in outcomes:
        totals.add(outcome)
        entries.append(recording_entry(Recording(Path(name), name, name), outcome, reused=False))
    manifest = Manifest.of(
        RunSettings(),
        weights,
        device="none",
        table=table,
        totals=totals.entry(),
        timing=Timing("2026-10-01T08:00:00+00:00", "2026-10-01T08:00:00+00:00", 0.0),
        recordings=entries,
    )
    software = {"avpenet": __version__, "simulated with": "examples/make_study.py"}
    return replace(manifest, software=software, host=HostFacts("none", 0, None, "none"))


def _outcome(recording: SimulatedRecording, scores: list[SegmentScore]) -> RecordingOutcome:
    has_score = any(segment.status is Status.SCORED for segment in scores)
    return RecordingOutcome(
        Status.SCORED if has_score else Status.UNSCORABLE,
        tuple(scores),
        balance(recording.nominal_s, recording.length_s, scores),
        reason="" if has_score else Reason.NO_FACE.value,
        orientation_deg=0 if has_score else None,
    )


def _ratings(simulated: Sequence[SimulatedRecording], raters: int, rng: np.random.Generator) -> pd.DataFrame:
    biases = rng.normal(0.0, 0.4, raters)
    parts: list[pd.DataFrame] = []
    rated = [recording for number, recording in enumerate(simulated) if number % 20 != 3]
    for recording in rated:
        if recording.patient.age_group == "neonate":
            for nurse, bias in enumerate(biases):
                perceived = recording.truth + bias + rng.normal(0.0, 0.8, recording.truth.size)
                parts.append(
                    _ratings_of(
                        recording.name, recording.start_s, recording.end_s, perceived, f"nurse-{nurse + 1}", "NIPS"
                    )
                )
        else:
            times_s = np.arange(0.0, recording.end_s[-1], RATING_S)
            middle_s = (recording.start_s + recording.end_s) / 2.0
            perceived = np.interp(times_s + RATING_S / 2.0, middle_s, recording.truth)
            perceived += recording.patient.own_bias + rng.normal(0.0, 0.6, times_s.size)
            ends_s = np.minimum(times_s + RATING_S, recording.end_s[-1])
            parts.append(_ratings_of(recording.name, times_s, ends_s, perceived, "self", "NRS"))
    late_s = rated[1].length_s + RATING_S * np.arange(1.0, 4.0)
    parts.append(_ratings_of(rated[1].name, late_s, late_s + RATING_S, np.array([2.0, 1.0, 1.0]), "self", "NRS"))
    unknown_s = np.array([0.0, WINDOW_S])
    parts.append(
        _ratings_of("north/no-such-rec.mp4", unknown_s, unknown_s + WINDOW_S, np.array([4.0, 5.0]), "nurse-1", "NIPS")
    )
    return pd.concat(parts, ignore_index=True)


def _ratings_of(
    recording: str, start_s: Floats, end_s: Floats, perceived: Floats, rater: str, scale: str
) -> pd.DataFrame:
    """Rows of the table of ratings: whole numbers of the scale."""
    highest = {"NIPS": 7, "NRS": 10}[scale]
    value = np.clip(np.round(perceived * highest / 10.0), 0, highest).astype(int)
    times = {"start_s": np.round(start_s, 3), "end_s": np.round(end_s, 3)}
    return pd.DataFrame({"recording": recording, **times, "value": value, "scale": scale, "rater": rater})


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Simulate a study to try `avpenet report` with.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the files")
    parser.add_argument("--recordings", type=int, default=200)
    parser.add_argument("--segments", type=float, default=25.0, help="mean number per recording, 5 to 60")
    parser.add_argument("--raters", type=int, default=3, help="nurses per neonate")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    try:
        make_study(arguments.out, arguments.recordings, arguments.seed, arguments.segments, arguments.raters)
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
