"""Simulated voices, of pain and of sounds that are not pain."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from collections.abc import Sequence
from functools import lru_cache
from importlib import resources
from typing import Any

import librosa
import numpy as np
import pytest
import scipy.signal

from avpenet_cli.errors import SettingsError
from avpenet_cli.phantom.parameters.voice_params import AgeGroup, Sex, VoiceParams, voice_params
from avpenet_cli.phantom.voice.non_pain_sounds import non_pain_sounds, non_pain_utterances, synthesise_utterances
from avpenet_cli.phantom.voice.pain_voice import (
    PAIN_RATE_HZ,
    SAMPLE_RATE_HZ,
    Utterance,
    Vocality,
    draw_vocality,
    pain_utterances,
    pain_voice,
)
from avpenet_cli.settings import from_dict, to_dict
from tests.support.waveforms import assert_waveform, level_dbfs

GROUPS: tuple[tuple[AgeGroup, Sex], ...] = (("neonate", "male"), ("adult", "female"), ("adult", "male"))
KINDS: tuple[tuple[AgeGroup, str], ...] = (
    ("adult", "talk"),
    ("adult", "cough"),
    ("adult", "laughter"),
    ("neonate", "coo"),
    ("neonate", "hiccup"),
    ("neonate", "cough"),
)


def vocality_of(age_group: AgeGroup, sex: Sex = "male", seed: int = 0, **changed: Any) -> Vocality:
    drawn = draw_vocality(age_group, sex, np.random.default_rng(seed))
    return dataclasses.replace(drawn, **({"vocality": 0.9} | changed))


def steady(pain: float, seconds: float = 20.0) -> np.ndarray:
    return np.full(round(seconds * PAIN_RATE_HZ), pain)


@lru_cache(maxsize=64)
def steady_voice(vocality: Vocality, pain: float, seed: int) -> np.ndarray:
    return pain_voice(vocality, steady(pain), seed)


def sections(audio: np.ndarray, utterances: Sequence[Utterance], kind: str) -> list[np.ndarray]:
    whole = [u for u in utterances if u.kind == kind and (u.start_s + u.length_s) * SAMPLE_RATE_HZ < audio.size]
    return [audio[round(u.start_s * SAMPLE_RATE_HZ) :][: round(u.length_s * SAMPLE_RATE_HZ)] for u in whole]


def f0_hz(audio: np.ndarray, low_hz: float, high_hz: float) -> float:
    slower = scipy.signal.resample_poly(audio.astype(np.float64), 1, 3)
    track = librosa.yin(slower, fmin=low_hz, fmax=high_hz, sr=SAMPLE_RATE_HZ // 3, frame_length=1024)
    return float(np.median(track))


# -------------------------------------------------------------------------------------------- subjects


def test_voices_differ_between_subjects_and_groups() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_vocality(*group, rng) for group in GROUPS * 40]
    for age_group, sex in GROUPS:
        group = [v for v in drawn if (v.age_group, v.sex) == (age_group, sex)]
        assert len({v.f0_hz for v in group}) == len(group)
    male, female = (
        np.mean([v.f0_hz for v in drawn if v.age_group == "adult" and v.sex == sex]) for sex in ("male", "female")
    )
    assert 95 < male < 145 < 170 < female < 235
    assert all(70 < v.tract_length_mm < 90 for v in drawn if v.age_group == "neonate")


def test_few_subjects_are_silent() -> None:
    rng = np.random.default_rng(1)
    for age_group, sex in GROUPS:
        vocalities = [draw_vocality(age_group, sex, rng).vocality for _ in range(300)]
        assert 0.02 < np.mean(np.array(vocalities) == 0.0) < 0.35
        assert min(vocalities) >= 0.0 and max(vocalities) <= 1.0


def test_unknown_age_group_is_refused() -> None:
    with pytest.raises(SettingsError, match="neonate or adult"):
        draw_vocality("child", "female", np.random.default_rng(0))  # type: ignore[arg-type]


# -------------------------------------------------------------------------------------------- the voice of pain


@pytest.mark.parametrize(("age_group", "sex"), GROUPS)
@pytest.mark.parametrize("seconds", [0.1, 7.3, 12.0])
def test_voice_has_the_length_of_the_trajectory_without_clipping(age_group: AgeGroup, sex: Sex, seconds: float) -> None:
    pain = np.linspace(0.0, 10.0, round(seconds * PAIN_RATE_HZ))
    assert_waveform(pain_voice(vocality_of(age_group, sex, loudness_db=2.0, vocality=1.0), pain, 5), seconds)


@pytest.mark.parametrize("seed", range(4))
def test_cry_fundamental_is_in_the_published_range(seed: int) -> None:
    vocality = vocality_of("neonate", "female", seed)
    for pain in (3.0, 10.0):
        cries = sections(steady_voice(vocality, pain, seed), pain_utterances(vocality, steady(pain), seed), "cry")
        assert cries
        # A rough cry can measure an octave low because of its subharmonic.
        assert 350 < np.median([f0_hz(cry, 200, 1200) for cry in cries]) < 600


def test_cry_fundamental_rises_with_pain() -> None:
    medians = []
    for pain in (3.0, 7.0, 10.0):
        measured = []
        for seed in range(4):
            vocality = vocality_of("neonate", "male", seed)
            utterances = pain_utterances(vocality, steady(pain), seed)
            cries = sections(steady_voice(vocality, pain, seed), utterances, "cry")
            measured += [f0_hz(cry, 200, 1200) / vocality.f0_hz for cry in cries]
        medians.append(np.median(measured))
    assert np.all(np.diff(medians) > 0.03), medians


def test_moan_fundamental_rises_with_pain() -> None:
    medians = []
    for pain in (4.5, 7.0, 10.0):
        measured = []
        for seed in range(4):
            vocality = vocality_of("adult", "female", seed)
            utterances = pain_utterances(vocality, steady(pain), seed)
            moans = sections(steady_voice(vocality, pain, seed), utterances, "moan")
            measured += [f0_hz(moan, 100, 800) / vocality.f0_hz for moan in moans]
        medians.append(np.median(measured))
    assert np.all(np.diff(medians) > 0.05), medians


@pytest.mark.parametrize(("age_group", "sex"), GROUPS)
def test_voice_without_pain_is_quiet_breathing(age_group: AgeGroup, sex: Sex) -> None:
    for seed in range(3):
        vocality = vocality_of(age_group, sex, seed, vocality=1.0)
        assert level_dbfs(steady_voice(vocality, 0.0, seed)) < -70
        assert {u.kind for u in pain_utterances(vocality, steady(0.0), seed)} == {"breath_in", "breath_out"}


@pytest.mark.parametrize(("age_group", "sex"), GROUPS)
def test_silent_subject_breathes_quietly(age_group: AgeGroup, sex: Sex) -> None:
    vocality = vocality_of(age_group, sex, vocality=0.0)
    assert level_dbfs(steady_voice(vocality, 10.0, 3)) < -60
    assert {u.kind for u in pain_utterances(vocality, steady(10.0), 3)} == {"breath_in", "breath_out"}


@pytest.mark.parametrize(("age_group", "sex"), GROUPS)
def test_loudness_rises_with_pain(age_group: AgeGroup, sex: Sex) -> None:
    pains = (0.0, 3.0, 4.5, 7.0, 10.0)
    levels = [
        np.mean(
            [10 ** (level_dbfs(steady_voice(vocality_of(age_group, sex, seed), pain, seed)) / 10) for seed in range(3)]
        )
        for pain in pains
    ]
    assert np.all(np.diff(levels) > 0), levels
    assert 10 * np.log10(levels[-1] / levels[2]) > 8


def test_brightness_and_vocal_time_rise_with_pain() -> None:
    # With the same subjects and seeds, the share of power above 2 kHz and the vocal time rise.
    bright, vocal_share = [], []
    for pain in (4.0, 10.0):
        audio = np.concatenate([steady_voice(vocality_of("neonate", "male", seed), pain, seed) for seed in range(3)])
        frequencies_hz, power = scipy.signal.welch(audio, SAMPLE_RATE_HZ, nperseg=4096)
        bright.append(power[frequencies_hz > 2000].sum() / power.sum())
        blocks = np.abs(audio[: audio.size // 4800 * 4800].reshape(-1, 4800)).max(axis=1)
        vocal_share.append(np.mean(blocks > 0.02))
    assert bright[1] > 1.5 * bright[0]
    assert vocal_share[1] > vocal_share[0] + 0.2


def test_sudden_pain_causes_a_long_first_cry() -> None:
    pain = np.concatenate([steady(0.0, 5.0), steady(9.0, 10.0)])
    for seed in range(10):
        utterances = pain_utterances(vocality_of("neonate", seed=seed, vocality=1.0), pain, seed)
        vocal = [u for u in utterances if u.kind not in ("breath_in", "breath_out")]
        assert vocal[0].kind == "first_cry"
        assert 5.0 <= vocal[0].start_s < 8.0
        later = [u.length_s for u in vocal[1:] if u.kind == "cry"]
        assert vocal[0].length_s > max(np.median(later), 1.7)


def test_voice_ends_with_the_pain() -> None:
    pain = np.concatenate([steady(9.0, 10.0), steady(0.0, 10.0)])
    audio = pain_voice(vocality_of("neonate"), pain, 2)
    assert level_dbfs(audio[: 10 * SAMPLE_RATE_HZ]) > -30
    assert level_dbfs(audio[14 * SAMPLE_RATE_HZ :]) < -65


@pytest.mark.parametrize(("age_group", "sex"), GROUPS)
def test_utterances_do_not_overlap(age_group: AgeGroup, sex: Sex) -> None:
    utterances = pain_utterances(vocality_of(age_group, sex), steady(8.0, 60.0), 4)
    ends = np.array([u.start_s + u.length_s for u in utterances])
    starts = np.array([u.start_s for u in utterances])
    assert np.all(starts[1:] >= ends[:-1] - 1e-9)
    assert all(0.0 <= u.mouth_open <= 1.0 for u in utterances)


def test_audio_is_silent_between_utterances() -> None:
    vocality = vocality_of("adult", "female")
    pain = steady(7.0)
    audio = pain_voice(vocality, pain, 6)
    inside = np.zeros(audio.size, bool)
    margin = round(SAMPLE_RATE_HZ / voice_params().synthesis.control_hz)
    for u in pain_utterances(vocality, pain, 6):
        inside[round(u.start_s * SAMPLE_RATE_HZ) :][: round(u.length_s * SAMPLE_RATE_HZ) + margin] = True
    assert audio[inside].any()
    assert not audio[~inside].any()


def test_inspiration_is_noisier_than_a_cry() -> None:
    vocality = vocality_of("neonate")
    utterances = pain_utterances(vocality, steady(8.0), 1)
    audio = steady_voice(vocality, 8.0, 1)
    cry, breath = (
        np.median(
            [librosa.feature.spectral_flatness(y=part, n_fft=2048).mean() for part in sections(audio, utterances, kind)]
        )
        for kind in ("cry", "inspiration")
    )
    assert breath > 5 * cry


def test_same_seed_gives_the_same_voice() -> None:
    vocality, pain = vocality_of("neonate"), np.linspace(0, 10, 100)
    np.testing.assert_array_equal(pain_voice(vocality, pain, 9), pain_voice(vocality, pain, 9))
    assert not np.array_equal(pain_voice(vocality, pain, 9), pain_voice(vocality, pain, 10))
    assert pain_utterances(vocality, pain, 9) == pain_utterances(vocality, pain, 9)


@pytest.mark.slow
def test_audio_is_the_same_in_every_process() -> None:
    program = (
        "import hashlib, numpy as np\n"
        "from avpenet_cli.phantom.room.acoustics import record, site_named\n"
        "from avpenet_cli.phantom.voice.non_pain_sounds import non_pain_sounds\n"
        "from avpenet_cli.phantom.voice.pain_voice import draw_vocality, pain_voice\n"
        "near = pain_voice(draw_vocality('adult', 'male', np.random.default_rng(0)), np.linspace(0, 10, 80), 1)\n"
        "near = near + non_pain_sounds('adult', 8.0, 1, {'talk': 20.0, 'cough': 5.0})\n"
        "print(hashlib.sha256(record(site_named('B'), near, 1).tobytes()).hexdigest())\n"
    )
    digests = {
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    }
    assert len(digests) == 1


@pytest.mark.parametrize(
    "pain", [np.zeros((3, 2)), np.zeros(0), np.array([11.0]), np.array([-0.1]), np.array([np.nan])]
)
def test_impossible_pain_is_refused(pain: np.ndarray) -> None:
    with pytest.raises(SettingsError, match="trajectory"):
        pain_voice(vocality_of("adult"), pain, 0)


# -------------------------------------------------------------------------------------------- not pain


@pytest.mark.parametrize(("age_group", "kind"), KINDS)
def test_every_non_pain_sound_is_audible(age_group: AgeGroup, kind: str) -> None:
    audio = non_pain_sounds(age_group, 12.0, 3, {kind: 40.0})
    assert_waveform(audio, 12.0)
    assert level_dbfs(audio) > -48
    kinds = {u.kind for u in non_pain_utterances(age_group, 12.0, 3, {kind: 40.0})}
    assert kinds <= {kind, "cough_burst", "cough_voice", "laugh_note", "hic"}


def test_laughter_is_a_series_of_notes() -> None:
    starts = np.array([u.start_s for u in non_pain_utterances("adult", 60.0, 1, {"laughter": 10.0})])
    steps = np.diff(starts)
    assert np.mean((steps >= 0.2) & (steps <= 0.225)) > 0.7


def test_talk_has_a_syllabic_rhythm() -> None:
    audio = non_pain_sounds("adult", 20.0, 2, {"talk": 60.0})
    envelope = np.abs(audio).reshape(-1, 480).max(axis=1)
    spectrum = np.abs(np.fft.rfft(envelope - envelope.mean()))
    rates_hz = np.fft.rfftfreq(envelope.size, 0.01)
    syllabic = (rates_hz > 3) & (rates_hz < 8)
    assert spectrum[syllabic].mean() > 3 * spectrum[(rates_hz > 12) & (rates_hz < 40)].mean()


def test_event_rates_are_kept() -> None:
    starts = [u.start_s for u in non_pain_utterances("neonate", 3600.0, 0, {"cough": 2.0, "hiccup": 0.0})]
    coughs = 1 + np.count_nonzero(np.diff(starts) > 1.2)
    assert 80 < coughs < 150
    assert not non_pain_sounds("neonate", 5.0, 0, {"coo": 0.0}).any()


def test_talk_has_the_subjects_fundamental() -> None:
    phrase = [Utterance("talk", 0.5, 2.0, 0.3)]
    high, low = (
        f0_hz(synthesise_utterances(phrase, vocality_of("adult", f0_hz=own_hz), 3.0, 1)[24_000:120_000], 70, 400)
        for own_hz in (220.0, 110.0)
    )
    assert 1.7 < high / low < 2.3


def test_impossible_sounds_are_refused() -> None:
    with pytest.raises(SettingsError, match="talk, cough, laughter"):
        non_pain_sounds("adult", 1.0, 0, {"coo": 1.0})
    with pytest.raises(SettingsError, match="0 or more"):
        non_pain_sounds("adult", 1.0, 0, {"talk": -1.0})
    with pytest.raises(SettingsError, match="negative"):
        non_pain_sounds("adult", -1.0, 0)
    with pytest.raises(SettingsError, match="neonate or adult"):
        non_pain_sounds("child", 1.0, 0)  # type: ignore[arg-type]


# -------------------------------------------------------------------------------------------- the parameters


def test_undefined_names_and_reversed_ranges_are_refused() -> None:
    fields = to_dict(voice_params())
    fields["calls"]["cry"]["melodies"] = {"yodel": 1.0}
    with pytest.raises(SettingsError, match="yodel"):
        from_dict(VoiceParams, fields, "voice.toml")
    fields = to_dict(voice_params())
    fields["subjects"]["neonate"]["f0_hz"] = [500.0, 400.0]
    with pytest.raises(SettingsError, match="must not exceed"):
        from_dict(VoiceParams, fields, "voice.toml")


@pytest.mark.parametrize("file_name", ["voice.toml", "non_pain_sounds.toml", "rooms.toml"])
def test_every_parameter_table_has_a_source_or_reason(file_name: str) -> None:
    text = (resources.files("avpenet_cli.phantom") / "parameters" / file_name).read_text(encoding="utf-8")
    tables = re.split(r"(?m)^(?=\[)", text)[1:]
    undocumented = [table.splitlines()[0] for table in tables if "#" not in table]
    known = ("[calls", "[breaths", "[subjects.adult_male", "[breathing.adult", "[sites")
    assert [name for name in undocumented if not name.startswith(known)] == []
