"""Synthesised surroundings: what an encoder learns not to take for pain."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from weights.recipe.get_surroundings import clips, decode
from weights.recipe.surroundings import SURROUNDINGS, draw_surroundings
from weights.recipe.surroundings_groups import group_of, may_be_pain, split_of


@pytest.mark.parametrize("kind", SURROUNDINGS)
def test_a_kind_is_audible_within_full_scale_and_fixed_by_its_seed(kind: str) -> None:
    first, same, other = (draw_surroundings(kind, 0.7, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.shape == (11_200,)
    assert first.dtype == np.float32
    assert np.isfinite(first).all()
    assert 0.04 < np.abs(first).max() <= 0.951
    np.testing.assert_array_equal(first, same)
    assert np.abs(first - other).max() > 0.01


@pytest.mark.parametrize("rate_hz", [8_000, 48_000])
def test_a_kind_holds_at_other_sampling_rates(rate_hz: int) -> None:
    audio = draw_surroundings("rooster", 0.5, np.random.default_rng(3), rate_hz)
    assert audio.shape == (rate_hz // 2,)
    assert np.isfinite(audio).all()


def test_what_is_out_of_range_is_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="unknown kind 'moo'; known: rooster, dog"):
        draw_surroundings("moo", 1.0, rng)
    with pytest.raises(ValueError, match=r"seconds must be 0\.1 to 600, not 0"):
        draw_surroundings("rain", 0.0, rng)
    with pytest.raises(ValueError, match="rate_hz must be 8000 or more, not 100"):
        draw_surroundings("rain", 1.0, rng, 100)


def test_cries_are_left_out_and_paint_is_not() -> None:
    for name in ("sounds/human-hit-1.ogg", "Human/BabyCry.mp3", "snd/ouch2.wav", "sounds/orc-small-die-2.ogg"):
        assert may_be_pain(name), name
    for name in ("usr/share/tuxpaint/stamps/birds/rooster.ogg", "sounds/paint1.wav", "samples/drum_snare_hard.flac"):
        assert not may_be_pain(name), name


def test_a_files_name_says_its_group() -> None:
    assert group_of("tuxpaint-stamps-default", "stamps/animals/birds/rooster.ogg") == "animals"
    assert group_of("tuxpaint-stamps-default", "stamps/animals/birds/rooster_desc_fr.ogg") == "speech"
    assert group_of("searchandrescue-data", "searchandrescue/sounds/thud_heavy.wav") == "impacts"
    assert group_of("searchandrescue-data", "searchandrescue/sounds/stall.wav") == "machines"
    assert group_of("lincity-ng-data", "sounds/RailTrain1.wav") == "machines"


def test_takes_of_the_same_thing_stand_on_one_side() -> None:
    for stem in ("Dog", "wolf-growl-", "gravel", "engine"):
        assert len({split_of("scratch", f"sounds/{stem}{number}.wav") for number in range(5)}) == 1
    assert {split_of("scratch", f"{stem}.wav") for stem in "abcdefghijklmnopqrst"} == {"train", "test"}


def test_long_recordings_give_three_clips_and_silent_or_short_ones_none(tmp_path: Path) -> None:
    tone = np.sin(np.arange(44_100 * 31) * 0.05)
    soundfile.write(tmp_path / "long.wav", np.stack([tone, tone], 1), 44_100)
    audio = decode(tmp_path / "long.wav")
    assert audio.shape == (16_000 * 31,)
    assert [clip.size for clip in clips(audio)] == [160_000] * 3
    assert clips(audio[:4_000]) == []
    assert clips(np.zeros(16_000, np.float32)) == []
