"""Find the clips of recorded voices in folders: who speaks, of which age, and what each clip is."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import numpy as np

from avpenet_cli.errors import SettingsError
from avpenet_cli.phantom.parameters.recorded_voice_params import recorded_voice_params
from avpenet_cli.phantom.parameters.voice_params import AgeGroup, Sex
from avpenet_cli.phantom.voice.clips import infant_stretches, loudness_db, trimmed_clip

TABLE = "voices.csv"

_REMEDY = (
    f"give a folder with {TABLE} (columns file, speaker, age_group, kind), with clips of EmoGator or Donate a Cry, "
    "or a folder of such folders"
)
_SUFFIXES = (".ogg", ".opus", ".wav", ".flac", ".mp3")
_BURST = re.compile(r"(\d\d)-\d+")
_CONTRIBUTOR = re.compile(r"\d{6}")
_CRY = re.compile(r"(d\d+)_\d+_([mf])_(\d\d)_\w\w")
_STREAM = 6
"""Stream number of this module, so that equal seeds give independent draws elsewhere."""

# The periodicity of a stretch is that of a cry; an infant's other sounds are trimmed like an adult's.
_INFANT_CRIES = ("cry", "whimper")


@dataclass
class RecordedVoice:
    """Clips of one speaker.

    Attributes:
        key: folder and speaker, such as `emogator/000123`.
        age_group: `neonate` or `adult`.
        sex: `female`, `male`, or None where it is not known.
        files: by kind of clip.
    """

    key: str
    age_group: AgeGroup
    sex: Sex | None = None
    files: dict[str, list[Path]] = field(default_factory=dict)

    def clips(self, kind: str) -> list[tuple[str, np.ndarray]]:
        """Decode the clips of a kind.

        Returns:
            Name of each clip, and (samples,) float32 at 16 kHz, not to be modified; silent clips are left out.

        Raises:
            SettingsError: a clip cannot be decoded.
        """
        if self.age_group == "neonate" and kind in _INFANT_CRIES:
            return self._infant_clips(kind)
        decoded = ((path.name, trimmed_clip(path)) for path in self.files.get(kind, ()))
        return [(name, audio) for name, audio in decoded if audio is not None]

    def _infant_clips(self, kind: str) -> list[tuple[str, np.ndarray]]:
        below_db = recorded_voice_params().stretches.whimper_below_db
        clips = []
        for own in _INFANT_CRIES:
            for path in self.files.get(own, ()):
                stretches = infant_stretches(path)
                levels_db = [loudness_db(stretch) for stretch in stretches]
                for number, (stretch, level_db) in enumerate(zip(stretches, levels_db, strict=True)):
                    # Recordings of cries contain whimpers, too.
                    weak = own == "whimper" or level_db < max(levels_db) + below_db
                    if weak == (kind == "whimper"):
                        clips.append((f"{path.name}:{number}", stretch))
        return clips

    @property
    def is_usable(self) -> bool:
        """Whether a clip of an infant contains a cry; of an adult, that there are clips is taken for granted."""
        if self.age_group == "adult" or not any(kind in self.files for kind in _INFANT_CRIES):
            return True
        return any(infant_stretches(path) for kind in _INFANT_CRIES for path in self.files.get(kind, ()))


class VoiceBank:
    """Recorded voices of one or more folders. Files are decoded when they are needed.

    Args:
        folders: each with `voices.csv`, or laid out as EmoGator (`000123/19-1.ogg`) or Donate a Cry
            (`d012_TIME_SEX_AGE_REASON.ogg`), or with such folders in it.
        keep: whether to use the speaker of a key, such as `emogator/000123`.

    Raises:
        SettingsError: a folder has no voices, a table is not valid, or no speaker is kept.
    """

    def __init__(self, folders: Sequence[Path], keep: Callable[[str], bool] = lambda key: True) -> None:
        self.voices: dict[str, RecordedVoice] = {}
        for folder in folders:
            before = len(self.voices)
            for source in (folder, *_subfolders(folder)):
                for voice in _read_folder(source):
                    if voice.key in self.voices:
                        raise SettingsError(f"{folder}: {voice.key} was read before", "give each folder once")
                    self.voices[voice.key] = voice
                if source == folder and len(self.voices) > before:
                    break
            if len(self.voices) == before:
                raise SettingsError(f"{folder} has no voices", _REMEDY)
        self.voices = {key: self.voices[key] for key in sorted(self.voices) if keep(key)}
        if not self.voices:
            raise SettingsError("no speaker is left of the recorded voices", "give more folders or keep more speakers")

    def voice_of(self, subject: int, age_group: AgeGroup, sex: Sex, seed: int) -> RecordedVoice | None:
        """The speaker of a subject, the same in all recordings; subjects share one only when there are too few.

        Args:
            subject: number of the subject, not negative.
            age_group, sex: the subject's; a speaker of unknown sex serves for both.
            seed: of the phantoms, not negative.

        Returns:
            None where no speaker of the age group has a usable clip.

        Raises:
            SettingsError: a clip cannot be decoded.
        """
        fitting = [voice for voice in self.voices.values() if voice.age_group == age_group and voice.sex in (None, sex)]
        order = np.random.default_rng([_STREAM, seed]).permutation(len(fitting)).tolist()
        for attempt in range(len(fitting)):
            voice: RecordedVoice = fitting[order[(subject + attempt) % len(fitting)]]
            if voice.is_usable:
                return voice
        return None


def _subfolders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise SettingsError(f"there is no folder {folder}", _REMEDY)
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError as error:
        raise SettingsError(f"{folder} cannot be read ({error.strerror})", "check its permissions") from error


def _read_folder(folder: Path) -> Iterator[RecordedVoice]:
    try:
        if (folder / TABLE).is_file():
            yield from _read_table(folder)
            return
        names = sorted(path.name for path in folder.iterdir())
        yield from _read_cries(folder, names)
        for name in names:
            if _CONTRIBUTOR.fullmatch(name):
                yield from _read_contributor(folder, name)
    except OSError as error:
        raise SettingsError(f"{folder} cannot be read ({error.strerror})", "check its permissions") from error


def _read_contributor(folder: Path, name: str) -> Iterator[RecordedVoice]:
    categories = recorded_voice_params().burst_categories
    voice = RecordedVoice(f"{folder.name}/{name}", "adult")
    for path in sorted((folder / name).iterdir()):
        match = _BURST.fullmatch(path.stem)
        if match and path.suffix.lower() in _SUFFIXES and match[1] in categories:
            voice.files.setdefault(categories[match[1]], []).append(path)
    if voice.files:
        yield voice


def _read_cries(folder: Path, names: Sequence[str]) -> Iterator[RecordedVoice]:
    ages = recorded_voice_params().cry_ages
    voices: dict[str, RecordedVoice] = {}
    for name in names:
        path = folder / name
        match = _CRY.fullmatch(path.stem)
        if match and path.suffix.lower() in _SUFFIXES and match[3] in ages:
            # Newborns' cries do not differ by sex, and a device may have recorded several children.
            voice = voices.setdefault(match[1], RecordedVoice(f"{folder.name}/{match[1]}", ages[match[3]]))
            voice.files.setdefault("cry", []).append(path)
    yield from voices.values()


def _read_table(folder: Path) -> Iterator[RecordedVoice]:
    path = folder / TABLE
    voices: dict[str, RecordedVoice] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise SettingsError(f"{path} is not a table ({error})", "save it as CSV in UTF-8") from error
    for line, row in enumerate(rows, start=2):
        voice = _row_voice(row, f"{path}, line {line}", folder)
        known = voices.setdefault(voice.key, voice)
        if (known.age_group, known.sex) != (voice.age_group, voice.sex):
            raise SettingsError(
                f"{path}, line {line}: age group or sex differs from an earlier line of the speaker", "correct it"
            )
        if known is not voice:
            for kind, files in voice.files.items():
                known.files.setdefault(kind, []).extend(files)
    yield from voices.values()


def _row_voice(row: dict[str, str | None], place: str, folder: Path) -> RecordedVoice:
    kinds, age_groups, sexes = recorded_voice_params().kinds, get_args(AgeGroup), ("", *get_args(Sex))
    values = {name: (row.get(name) or "").strip() for name in ("file", "speaker", "age_group", "sex", "kind")}
    for name, allowed in (("kind", kinds), ("age_group", age_groups), ("sex", sexes)):
        if values[name] not in allowed:
            raise SettingsError(
                f"{place}: {name} is {values[name]!r}", f"use one of {', '.join(filter(None, allowed))}"
            )
    if not values["speaker"] or not values["file"]:
        raise SettingsError(f"{place}: no file or no speaker", "fill both columns in")
    file = folder / values["file"]
    if not file.is_file():
        raise SettingsError(f"{place}: there is no file {values['file']}", "paths are relative to the table")
    sex = next((sex for sex in get_args(Sex) if sex == values["sex"]), None)
    age_group: AgeGroup = "neonate" if values["age_group"] == "neonate" else "adult"
    return RecordedVoice(f"{folder.name}/{values['speaker']}", age_group, sex, {values["kind"]: [file]})
