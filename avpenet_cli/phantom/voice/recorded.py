"""Say the utterances of a subject with a speaker's recorded clips."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from avpenet_cli.phantom.parameters.recorded_voice_params import KindGroups, recorded_voice_params
from avpenet_cli.phantom.parameters.voice_params import at_pain, non_pain_sound_params, voice_params
from avpenet_cli.phantom.voice.bank import RecordedVoice
from avpenet_cli.phantom.voice.phonation import to_samples
from avpenet_cli.phantom.voice.speaker import SyntheticSpeaker
from avpenet_cli.phantom.voice.splice import fit_clips
from avpenet_cli.phantom.voice.utterance import Utterance, utterance_params
from avpenet_cli.phantom.voice.vocality import Vocality

_LAUGH_NOTE = "laugh_note"
_LAUGHTER = "laughter"


@dataclass
class RecordedSpeaker:
    """A subject who speaks with recorded clips, and with the synthetic voice where there are none.

    Of the fitting clips those that were used least so far come first, so that one object serves one recording.

    Attributes:
        voice: the speaker's clips.
        vocality: the subject's synthetic voice; its loudness holds for the clips, too.
    """

    voice: RecordedVoice
    vocality: Vocality
    _uses: Counter[str] = field(default_factory=Counter)

    def arrange(self, utterances: Sequence[Utterance]) -> Sequence[Utterance]:
        """The utterances with the notes of a laugh joined, since a clip has all of a laugh."""
        interval_s = non_pain_sound_params().rows[_LAUGHTER].interval_s[1]
        notes = [utterance for utterance in utterances if utterance.kind == _LAUGH_NOTE]
        if not notes or not self._clips(recorded_voice_params().fill[_LAUGHTER].weak):
            return utterances
        begins = [True, *(later.start_s - note.start_s > 1.5 * interval_s for note, later in pairwise(notes))]
        first = [index for index, begin in enumerate(begins) if begin]
        laughs = []
        for start, end in zip(first, [*first[1:], len(notes)], strict=True):
            last = notes[end - 1]
            length_s = last.start_s + last.length_s - notes[start].start_s
            laughs.append(replace(notes[start], kind=_LAUGHTER, length_s=length_s))
        others = [utterance for utterance in utterances if utterance.kind != _LAUGH_NOTE]
        return sorted([*others, *laughs], key=lambda utterance: utterance.start_s)

    def speak(self, utterance: Utterance, pain: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Say an utterance, as `Speaker.speak` says; it may end early where the clips are too short.

        Raises:
            SettingsError: a clip cannot be decoded.
        """
        params = recorded_voice_params()
        fill, mean_pain = params.fill.get(utterance.kind), float(pain.mean())
        strong = mean_pain >= params.fit.strong_from_pain
        clips = self._clips(fill.strong if strong else fill.weak) if fill else []
        if not clips:
            return SyntheticSpeaker(self.vocality).speak(utterance, pain, rng)
        order = sorted(rng.permutation(len(clips)).tolist(), key=lambda index: self._uses[clips[index][0]])
        semitones = float(at_pain(params.fit.semitones_at_pain, mean_pain)) if mean_pain > 0.0 else 0.0
        semitones += params.fit.semitones_spread * float(rng.standard_normal())
        semitones = float(np.clip(semitones, *params.fit.semitones))
        audio, used = fit_clips([clips[index][1] for index in order], utterance.length_s, semitones, rng)
        self._uses.update(clips[index][0] for index in order[:used])
        return self._levelled(audio, utterance, pain, rng)

    def _clips(self, groups: KindGroups) -> list[tuple[str, np.ndarray]]:
        """The clips of the first group of which there are any."""
        for group in groups:
            clips = [clip for kind in group for clip in self.voice.clips(kind)]
            if clips:
                return clips
        return []

    def _levelled(
        self, audio: np.ndarray, utterance: Utterance, pain: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Audio of peak 1 at the level of the synthetic voice at the same pain."""
        synthesis = voice_params().synthesis
        if utterance.kind == "talk":
            level_db = np.full(2, rng.uniform(*non_pain_sound_params().talk.level_dbfs))
        else:
            kind = _LAUGH_NOTE if utterance.kind == _LAUGHTER else utterance.kind
            level_db = at_pain(utterance_params(kind).level_dbfs, pain) + utterance.level_db
            level_db += synthesis.utterance_level_spread_db * rng.standard_normal()
        level_db = np.minimum(level_db + self.vocality.loudness_db, synthesis.ceiling_dbfs)
        levelled = audio * to_samples(10.0 ** (level_db / 20.0), audio.size)
        ceiling = 10.0 ** (synthesis.ceiling_dbfs / 20.0)
        peak = float(np.abs(levelled).max(initial=0.0))
        quieter: np.ndarray = levelled * min(1.0, ceiling / max(peak, ceiling))
        return quieter
