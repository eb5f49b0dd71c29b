"""Real voices, infant cries and sounds of surroundings, by audio alone."""

from __future__ import annotations

import csv
import wave
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from avpenet_cli.errors import SettingsError
from avpenet_cli.phrasing import plural
from avpenet_cli.settings import WINDOW_S
from weights.recipe.measures.estimates import auc_between, mean, share
from weights.recipe.measures.inputs import Inputs
from weights.recipe.measures.rows import Goal, Row
from weights.recipe.splits import part_of_contributor, part_of_device

MODERATE = 3.0
"""Scores over this are read as moderate or high pain."""

PAIN, DISTRESS, NEUTRAL = "19", "11", "18"
WITHOUT_PAIN = {"02": "Amusement", "07": "Contentment", "13": "Elation", NEUTRAL: "Neutral", "22": "Relief"}
"""Categories of `emogator/` without pain."""

_FIVE = "Amusement, Contentment, Elation, Neutral and Relief together"
_VOICES = {
    "Neutral": Goal("at least", 0.93, "0.72"),
    _FIVE: Goal("at least", 0.88, "0.57"),
    "Distress": Goal("at least", 0.72, "0.50"),
}
_NOISE = "noise (folder of the data)"
_SPEECH = "speech"
"""Group of sounds that is measured apart: speech is a voice."""
_CRIES = Goal("at least", 0.98, "0.82")
_SURROUNDINGS = Goal("below", 0.1, "0.76")
_RATE_HZ = 16_000


def voices(inputs: Inputs) -> list[Row]:
    """Acted pain against other vocal bursts, of contributors who are kept out of training.

    Once with the takes of a contributor and category joined to at least 3 s, and once with the first takes as they
    are, where a clip shorter than half a segment has no score.
    """
    clips = _test_bursts(inputs)
    takes: dict[str, list[Path]] = {}
    for name, path in clips.items():
        takes.setdefault(name.rpartition("-")[0], []).append(path)
    folder = inputs.folder("voices")
    joined = {name: join(paths, folder / f"{name.replace('/', '-')}.wav") for name, paths in takes.items()}
    rows = []
    first = {name: path for name, path in clips.items() if name.endswith("-1")}
    for part, recordings, what in (("voices", joined, "takes joined"), ("first-takes", first, "first takes")):
        scored = inputs.scorer.score(part, recordings)
        rows += _voice_rows(scored.means(), what, scored.notes)
    return rows


def _test_bursts(inputs: Inputs) -> dict[str, Path]:
    """`CONTRIBUTOR/CATEGORY-TAKE` and file of every clip that is used."""
    folder = inputs.data / "emogator"
    people = [path for path in sorted(folder.glob("[0-9]*")) if part_of_contributor(int(path.name)) == "test"]
    categories = (PAIN, DISTRESS, *WITHOUT_PAIN)
    clips = {
        f"{path.parent.name}/{path.stem}": path
        for person in people[:: 4 if inputs.quick else 1]
        for category in categories
        for path in sorted(person.glob(f"{category}-*.ogg"))
    }
    if not clips:
        raise SettingsError(f"{folder} has no vocal bursts of test contributors", "see weights/recipe/README.md")
    return clips


def _voice_rows(means: Mapping[str, float], what: str, notes: str) -> list[Row]:
    contributor = {name: name.partition("/")[0] for name in means}

    def of(*categories: str) -> dict[str, float]:
        return {name: score for name, score in means.items() if name.partition("/")[2][:2] in categories}

    against = {"Neutral": of(NEUTRAL), _FIVE: of(*WITHOUT_PAIN), "Distress": of(DISTRESS)}
    against |= {name: of(category) for category, name in WITHOUT_PAIN.items() if category != NEUTRAL}
    pain = of(PAIN)
    rows = []
    for name, others in against.items():
        people = len({contributor[key] for key in (*pain, *others)})
        rows.append(
            Row(
                f"AUC of Pain over {name}, {what}",
                auc_between(pain, others, contributor),
                f"{plural(people, 'contributor')}; {len(pain)} and {len(others)} recordings",
                "coefficient",
                _VOICES.get(name),
                notes,
            )
        )
    count = plural(len(pain), "recording")
    rows.append(Row(f"mean score of Pain, {what}", mean(list(pain.values())), count, notes=notes))
    return rows


def cries(inputs: Inputs) -> list[Row]:
    """Real infant cries, of devices that are kept out of training, over sounds of surroundings."""
    paths = sorted((inputs.data / "cries_more").glob("d*.ogg"))
    device = {path.stem: path.name.partition("_")[0] for path in paths}
    tested = {path.stem: path for path in paths if part_of_device(int(device[path.stem][1:])) == "test"}
    if not tested:
        raise SettingsError(
            f"{inputs.data / 'cries_more'} has no cries of test devices", "see weights/recipe/README.md"
        )
    scored = inputs.scorer.score("cries", dict(list(tested.items())[:: 4 if inputs.quick else 1]))
    sounds, group = _surroundings(inputs)
    low = inputs.scorer.score("surroundings", sounds).means()
    high = scored.means()
    devices = plural(len({device[name] for name in high}), "device")
    rows = [Row("mean score of infant cries", mean(list(high.values())), devices, notes=scored.notes)]
    for what, speech, goal in (("sounds of surroundings", False, _CRIES), ("speech", True, None)):
        others = {name: score for name, score in low.items() if (group[name] == _SPEECH) == speech}
        count = f"{devices}, {len(high)} recordings; {plural(len(others), 'sound')}"
        area = auc_between(high, others, device | {name: name for name in others})
        rows.insert(0, Row(f"AUC of infant cries over {what}", area, count, "coefficient", goal))
    return rows


def surroundings(inputs: Inputs) -> list[Row]:
    """Sounds of surroundings other than speech: how many are read as moderate or high pain; and every group."""
    sounds, group = _surroundings(inputs)
    scored = inputs.scorer.score("surroundings", sounds)
    means = scored.means()
    other = np.array([score for name, score in means.items() if group[name] != _SPEECH])
    over, count = share(other > MODERATE), plural(len(other), "sound")
    rows = [
        Row("share of sounds of surroundings scored over 3", over, count, "share", _SURROUNDINGS, scored.notes),
        Row("mean score of sounds of surroundings", mean(other), count),
    ]
    for name in sorted(set(group.values())):
        scores = [score for key, score in means.items() if group[key] == name]
        high = sum(score > MODERATE for score in scores)
        rows.append(
            Row(f"mean score of {name}", mean(scores), plural(len(scores), "sound"), notes=f"{high} scored over 3")
        )
    return rows


def _surroundings(inputs: Inputs) -> tuple[dict[str, Path], dict[str, str]]:
    """File and group of each sound by name; those shorter than a segment are repeated until they fill it.

    `index.csv` has the columns `file`, `group` and `split`; only sounds of the split `test` are used.
    """
    files = {path.stem: path for path in sorted((inputs.data / "noise").glob("*.ogg"))}
    group = dict.fromkeys(files, _NOISE)
    if inputs.surroundings is not None:
        with (inputs.surroundings / "index.csv").open(encoding="utf-8", newline="") as file:
            for line in csv.DictReader(file):
                if line["split"] == "test":
                    name = Path(line["file"]).with_suffix("").as_posix()
                    files[name], group[name] = inputs.surroundings / line["file"], line["group"]
    if not files:
        raise SettingsError(f"{inputs.data / 'noise'} has no .ogg files", "see weights/recipe/README.md")
    folder = inputs.folder("surroundings")
    return {name: join([path], folder / f"{name.replace('/', '-')}.wav") for name, path in files.items()}, group


def join(paths: Sequence[Path], out: Path, least_s: float = WINDOW_S) -> Path:
    """Join recordings, and repeat them until they last `least_s`, as 16-kHz mono WAV. An existing file is kept.

    Returns:
        `out`, or the first of `paths` where nothing can be decoded: scoring it says why.
    """
    if out.exists():
        return out
    samples = np.concatenate([_samples(path) for path in paths])
    if not samples.size:
        return paths[0]
    repeated = np.tile(samples, max(1, int(np.ceil(least_s * _RATE_HZ / samples.size))))
    partial = out.with_suffix(".partial")
    with wave.open(str(partial), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(_RATE_HZ)
        file.writeframes(np.round(np.clip(repeated, -1, 1) * 32_767).astype("<i2").tobytes())
    partial.replace(out)
    return out


def _samples(path: Path) -> NDArray[np.float32]:
    """(samples,) in [-1, 1], 16 kHz, mono; empty where it cannot be decoded."""
    import soundfile

    try:
        channels, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError:
        return np.empty(0, np.float32)
    return np.asarray(soxr.resample(channels.mean(axis=1), rate_hz, _RATE_HZ), np.float32)
