"""Recorded voices: folders of clips, and phantoms that speak with them. The clips are tones that the test makes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from avpenet_cli.errors import SettingsError
from avpenet_cli.phantom.parameters.recorded_voice_params import recorded_voice_params
from avpenet_cli.phantom.parameters.voice_params import SAMPLE_RATE_HZ, AgeGroup
from avpenet_cli.phantom.scene import draw_scene, render_audio
from avpenet_cli.phantom.subjects import draw_subject
from avpenet_cli.phantom.voice.bank import RecordedVoice, VoiceBank
from avpenet_cli.phantom.voice.non_pain_sounds import non_pain_utterances
from avpenet_cli.phantom.voice.pain_voice import pain_utterances, pain_voice
from avpenet_cli.phantom.voice.recorded import RecordedSpeaker
from avpenet_cli.phantom.voice.speaker import SyntheticSpeaker
from avpenet_cli.phantom.voice.splice import fit_clips, stretched
from avpenet_cli.phantom.voice.utterance import Utterance
from avpenet_cli.phantom.voice.vocality import Vocality, draw_vocality
from tests.conftest import Answer

RATE_HZ = 16_000

# The fundamental frequency tells in a recording which clip was used.
KIND_F0_HZ = {"19": 300.0, "11": 250.0, "18": 200.0, "02": 160.0, "15": 130.0}


def tone(f0_hz: float, seconds: float, harmonics: int = 6) -> np.ndarray:
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    wave = sum(np.sin(2 * np.pi * f0_hz * order * time_s) / order for order in range(1, harmonics + 1))
    return np.asarray(0.3 * wave * np.hanning(time_s.size) ** 0.2)


def save(path: Path, *parts: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.concatenate(parts), RATE_HZ)


def silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * RATE_HZ))


@pytest.fixture(scope="module")
def voices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two contributors of bursts and two devices with cries, in their data sets' layouts."""
    folder = tmp_path_factory.mktemp("voices")
    for contributor in ("000002", "000007"):
        for category, f0_hz in KIND_F0_HZ.items():
            for take in (1, 2):
                part = tone(f0_hz, 0.5 + 0.3 * take)
                save(folder / "bursts" / contributor / f"{category}-{take}.ogg", silence(0.3), part, silence(0.4))
    rng = np.random.default_rng(0)
    cry, weak = tone(450.0, 0.9, 3), 0.3 * tone(420.0, 0.5, 3)
    save(folder / "cries" / "d003_1430029221058_f_26_ti.wav", silence(0.2), cry, silence(0.5), weak, silence(0.1))
    save(folder / "cries" / "d005_1430029221058_m_04_hu.wav", 0.1 * rng.standard_normal(2 * RATE_HZ))
    save(folder / "cries" / "d006_1430029221058_m_72_hu.wav", cry)
    return folder


@pytest.fixture(scope="module")
def bank(voices: Path) -> VoiceBank:
    return VoiceBank([voices])


def vocality_of(age_group: AgeGroup) -> Vocality:
    return draw_vocality(age_group, "female", np.random.default_rng(4))


def speaker_of(bank: VoiceBank, key: str, age_group: AgeGroup = "adult") -> RecordedSpeaker:
    return RecordedSpeaker(bank.voices[key], vocality_of(age_group))


def f0_of(audio: np.ndarray, rate_hz: int, low_hz: float = 110.0, high_hz: float = 600.0) -> float:
    middle = audio[audio.size // 4 : 3 * audio.size // 4]
    correlation = np.correlate(middle, middle, "full")[middle.size - 1 :]
    lags = np.arange(int(rate_hz / high_hz), int(rate_hz / low_hz) + 1)
    best = correlation[lags].max()
    # The first lag that is nearly as high as the highest, since multiples of the period are as high.
    at = int(np.argmax(correlation[lags] > 0.93 * best))
    while correlation[lags[at] + 1] > correlation[lags[at]]:
        at += 1
    return rate_hz / float(lags[at])


def loudest_db(audio: np.ndarray) -> float:
    return float(20.0 * np.log10(np.abs(audio).max()))


def test_folder_of_folders_is_read_by_speaker_and_kind(bank: VoiceBank) -> None:
    assert set(bank.voices) == {"bursts/000002", "bursts/000007", "cries/d003", "cries/d005"}
    voice = bank.voices["bursts/000002"]
    assert voice.age_group == "adult"
    # Fear (15) is not used.
    assert {kind: len(files) for kind, files in voice.files.items()} == {
        "pain": 2,
        "distress": 2,
        "talk": 2,
        "laugh": 2,
    }


def test_speakers_can_be_held_back(voices: Path) -> None:
    kept = VoiceBank([voices], keep=lambda key: key.startswith("bursts/") and not key.endswith("2"))
    assert set(kept.voices) == {"bursts/000007"}
    assert kept.voice_of(0, "neonate", "female", 1) is None
    with pytest.raises(SettingsError, match="no speaker is left"):
        VoiceBank([voices], keep=lambda key: False)


def test_silence_around_a_clip_is_removed(bank: VoiceBank) -> None:
    lengths_s = sorted(audio.size / RATE_HZ for _, audio in bank.voices["bursts/000002"].clips("pain"))
    assert lengths_s == pytest.approx([0.8, 1.1], abs=0.06)


def test_cries_are_cut_out_of_a_recording_and_noise_is_not_taken_for_one(bank: VoiceBank) -> None:
    voice = bank.voices["cries/d003"]
    ((_, cry),) = voice.clips("cry")
    ((_, whimper),) = voice.clips("whimper")
    assert cry.size / RATE_HZ == pytest.approx(0.9, abs=0.15)
    assert whimper.size / RATE_HZ == pytest.approx(0.5, abs=0.15)
    assert not bank.voices["cries/d005"].is_usable
    # Hence every newborn has the other device's voice.
    for subject in range(3):
        found = bank.voice_of(subject, "neonate", "male", 1)
        assert found is not None
        assert found.key == "cries/d003"


def test_subjects_have_different_speakers_while_there_are_enough(bank: VoiceBank) -> None:
    found = [bank.voice_of(subject, "adult", "female", 3) for subject in range(3)]
    keys = [voice.key for voice in found if voice]
    assert keys[0] != keys[1]
    assert keys[0] == keys[2]


def test_table_of_clips(tmp_path: Path) -> None:
    save(tmp_path / "own" / "a b.wav", tone(300.0, 0.6))
    rows = ["s1,adult,male,moan", "s2,adult,,laugh", "s1,adult,male,cry"]
    lines = ["file,speaker,age_group,sex,kind", *(f"a b.wav,{row}" for row in rows)]
    (tmp_path / "own" / "voices.csv").write_text("\n".join(lines))
    bank = VoiceBank([tmp_path / "own"])
    assert {key: (voice.sex, sorted(voice.files)) for key, voice in bank.voices.items()} == {
        "own/s1": ("male", ["cry", "moan"]),
        "own/s2": (None, ["laugh"]),
    }
    male = [bank.voice_of(subject, "adult", "male", 1) for subject in range(2)]
    assert {voice.key for voice in male if voice} == {"own/s1", "own/s2"}
    female = [bank.voice_of(subject, "adult", "female", 1) for subject in range(2)]
    assert {voice.key for voice in female if voice} == {"own/s2"}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("a.wav,s,adult,,yodel", "line 2: kind is 'yodel'"),
        ("a.wav,s,child,,cry", "line 2: age_group is 'child'"),
        ("b.wav,s,adult,,cry", "line 2: there is no file b.wav"),
        ("a.wav,,adult,,cry", "line 2: no file or no speaker"),
        ("a.wav,s,adult,,cry\na.wav,s,neonate,,cry", "line 3: age group or sex differs"),
    ],
)
def test_invalid_tables_are_refused(tmp_path: Path, row: str, words: str) -> None:
    save(tmp_path / "a.wav", tone(300.0, 0.3))
    (tmp_path / "voices.csv").write_text(f"file,speaker,age_group,sex,kind\n{row}\n")
    with pytest.raises(SettingsError, match=words):
        VoiceBank([tmp_path])


@pytest.mark.parametrize("factor", [0.7, 0.9, 1.2, 1.4])
def test_stretching_changes_the_length_and_not_the_pitch(factor: float) -> None:
    longer = stretched(tone(220.0, 1.0), factor)
    assert longer.size == round(RATE_HZ * factor)
    assert f0_of(longer, RATE_HZ) == pytest.approx(220.0, rel=0.02)


@pytest.mark.parametrize("length_s", [0.3, 0.9, 1.0, 1.3, 1.9])
def test_clips_fill_the_length_without_clicks(length_s: float) -> None:
    clips = [tone(200.0, 0.9, 1), tone(200.0, 0.7, 1)]
    audio, used = fit_clips(clips, length_s, 1.0, np.random.default_rng(2))
    assert audio.size / SAMPLE_RATE_HZ == pytest.approx(min(length_s, 1.2 * 1.6), abs=0.09)
    assert used == (1 if length_s < 1.2 * 0.9 else 2)
    # Steeper than the sine, higher by a semitone, is a click only.
    steepest = 2 * np.pi * 212.0 / SAMPLE_RATE_HZ * np.abs(audio).max()
    assert np.abs(np.diff(audio)).max() < 1.25 * steepest
    assert max(abs(audio[0]), abs(audio[-1])) < 0.01


def test_pitch_is_shifted_by_semitones() -> None:
    for semitones in (-2.0, 2.0):
        audio, _ = fit_clips([tone(220.0, 0.9)], 0.9, semitones, np.random.default_rng(0))
        assert f0_of(audio, SAMPLE_RATE_HZ) == pytest.approx(220.0 * 2 ** (semitones / 12), rel=0.02)


@pytest.mark.parametrize(("pain", "f0_hz"), [(8.0, KIND_F0_HZ["19"]), (3.0, KIND_F0_HZ["11"])])
def test_strong_pain_has_clips_of_pain_and_weaker_pain_those_of_distress(
    bank: VoiceBank, pain: float, f0_hz: float
) -> None:
    utterance = Utterance("moan", 0.0, 0.8, 0.5)
    audio = speaker_of(bank, "bursts/000002").speak(utterance, np.full(9, pain), np.random.default_rng(1))
    assert abs(12.0 * np.log2(f0_of(audio, SAMPLE_RATE_HZ) / f0_hz)) < 2.1


def test_level_follows_pain_as_that_of_the_synthetic_voice(bank: VoiceBank) -> None:
    def mean_db(speaker: RecordedSpeaker | SyntheticSpeaker, pain: float) -> float:
        levels = [
            loudest_db(speaker.speak(Utterance("moan", 0.0, 0.8, 0.5), np.full(9, pain), np.random.default_rng(seed)))
            for seed in range(6)
        ]
        return float(np.mean(levels))

    for pain in (4.5, 9.0):
        recorded = mean_db(speaker_of(bank, "bursts/000002"), pain)
        assert recorded == pytest.approx(mean_db(SyntheticSpeaker(vocality_of("adult")), pain), abs=4.0)
    assert mean_db(speaker_of(bank, "bursts/000002"), 9.0) > mean_db(speaker_of(bank, "bursts/000002"), 4.5) + 6.0


def test_no_voice_of_pain_without_pain(bank: VoiceBank) -> None:
    used: list[str] = []

    class Watched(RecordedVoice):
        def clips(self, kind: str) -> list[tuple[str, np.ndarray]]:
            used.append(kind)
            return super().clips(kind)

    voice = bank.voices["bursts/000007"]
    speaker = RecordedSpeaker(Watched(voice.key, voice.age_group, None, voice.files), vocality_of("adult"))
    no_pain = np.zeros(150)
    audio = pain_voice(speaker.vocality, no_pain, 3, speaker)
    np.testing.assert_array_equal(audio, pain_voice(speaker.vocality, no_pain, 3))
    rng = np.random.default_rng(0)
    utterances = speaker.arrange(non_pain_utterances("adult", 30.0, 3, {"talk": 12.0, "laughter": 12.0}))
    for utterance in utterances:
        speaker.speak(utterance, np.zeros(2), rng)
    assert {"talk", "laugh"} <= set(used)
    assert not {"pain", "distress", "cry", "moan", "groan", "scream"} & set(used)


def test_a_laugh_is_one_utterance(bank: VoiceBank) -> None:
    notes = [Utterance("laugh_note", 2.0 + 0.21 * n, 0.08, 0.6) for n in range(5)]
    notes += [Utterance("laugh_note", 9.0, 0.08, 0.6)]
    talk = Utterance("talk", 5.0, 1.0, 0.3)
    arranged = speaker_of(bank, "bursts/000002").arrange([*notes[:5], talk, notes[5]])
    assert [(item.kind, item.start_s) for item in arranged] == [("laughter", 2.0), ("talk", 5.0), ("laughter", 9.0)]
    assert arranged[0].length_s == pytest.approx(4 * 0.21 + 0.08)
    # Without clips of laughter, the synthetic voice laughs note by note.
    mute = RecordedSpeaker(RecordedVoice("none", "adult"), vocality_of("adult"))
    assert mute.arrange(notes) == notes


def test_missing_kinds_have_the_synthetic_voice(bank: VoiceBank) -> None:
    cough = Utterance("cough_burst", 0.0, 0.3, 0.6)
    for utterance in (cough, Utterance("coo", 0.0, 0.5, 0.2)):
        recorded = speaker_of(bank, "cries/d003", "neonate")
        audio = recorded.speak(utterance, np.zeros(2), np.random.default_rng(5))
        synthetic = SyntheticSpeaker(recorded.vocality).speak(utterance, np.zeros(2), np.random.default_rng(5))
        np.testing.assert_array_equal(audio, synthetic)


def test_clips_alternate(bank: VoiceBank) -> None:
    speaker = speaker_of(bank, "bursts/000002")
    rng = np.random.default_rng(0)
    for _ in range(4):
        speaker.speak(Utterance("moan", 0.0, 0.5, 0.5), np.full(6, 8.0), rng)
    assert sorted(speaker._uses.values()) == [2, 2]


def test_recordings_repeat_with_the_seed(bank: VoiceBank) -> None:
    vocality, pain = replace(vocality_of("adult"), vocality=1.0), np.full(40, 9.0)
    assert any(utterance.kind in ("moan", "groan", "cry_out") for utterance in pain_utterances(vocality, pain, 3))

    def voice() -> np.ndarray:
        return pain_voice(vocality, pain, 3, RecordedSpeaker(bank.voices["bursts/000002"], vocality))

    np.testing.assert_array_equal(voice(), voice())
    assert not np.array_equal(voice(), pain_voice(vocality, pain, 3))
    scene = draw_scene(draw_subject(1, 5, "adult"), 6.0, 9, (160, 120), 5.0)
    assert render_audio(scene, speaker_of(bank, "bursts/000002")).size == 6 * SAMPLE_RATE_HZ


def test_every_voiced_utterance_of_pain_can_be_filled() -> None:
    from avpenet_cli.phantom.parameters.voice_params import voice_params

    def mixed() -> Iterable[str]:
        for breathing in voice_params().breathing.values():
            yield from (*breathing.mix, *breathing.onset_mix)

    calls = {kind for kind in mixed() if kind in voice_params().calls}
    assert calls <= set(recorded_voice_params().fill)


def test_broken_clip_is_named(tmp_path: Path) -> None:
    path = tmp_path / "bursts" / "000001" / "19-1.ogg"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"OggS is not all of it")
    with pytest.raises(SettingsError, match=r"19-1\.ogg cannot be read as audio"):
        VoiceBank([tmp_path]).voices["bursts/000001"].clips("pain")


@pytest.mark.slow
def test_phantoms_speak_with_the_voices_of_a_folder(
    voices: Path, tmp_path: Path, avpenet_here: Callable[..., Answer]
) -> None:
    out = tmp_path / "set"
    options = ("--size", "96x96", "--fps", 1, "--minutes", 0.1, "-q", "--jobs", 1)
    answer = avpenet_here("phantom", "make", "--out", out, "--subjects", 1, "--voices", voices, *options)
    assert answer.code == 0, answer.err
    assert json.loads((out / "phantoms.json").read_text())["order"]["voices"] == [voices.name]
    assert (out / "P0001-01.mp4").is_file()
    other = avpenet_here("phantom", "make", "--out", out, "--subjects", 1, *options)
    assert other.code == 2
    assert "holds other phantoms: order.voices" in other.err


@pytest.mark.parametrize("name", ["absent", "empty"])
def test_folder_without_voices_is_refused_before_anything_is_made(
    tmp_path: Path, avpenet_here: Callable[..., Answer], name: str
) -> None:
    (tmp_path / "empty").mkdir()
    out = tmp_path / "out"
    answer = avpenet_here("phantom", "make", "--out", out, "--subjects", 1, "-q", "--voices", tmp_path / name)
    assert answer.code == 2
    assert ("there is no folder" if name == "absent" else "has no voices") in answer.err
    assert len(answer.err.splitlines()) == 1
    assert not out.exists()
