"""Shapley values of audio and face."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from avpenet_cli.explanation.scorer import OtherSegments, SegmentNetwork
from avpenet_cli.explanation.shares import MAX_QUIET, modality_shares, quiet_segments
from avpenet_cli.model.architecture import MODALITIES
from avpenet_cli.model.correction_settings import ContextSettings
from avpenet_cli.model.systems.late_fusion import LateFusion
from avpenet_cli.model.systems.settings import LateFusionSettings, SingleModalitySettings
from avpenet_cli.records import Quality, SegmentScore, Status
from avpenet_cli.scoring.network import SegmentTokens
from avpenet_cli.settings import FaceSettings
from tests.support.corrected_networks import corrected_network
from tests.support.networks import seeded_pain_network


def record(number: int, score: float | None, modalities: str = "audio+face", stride_s: float = 3.0) -> SegmentScore:
    status = Status.UNSCORABLE if score is None else Status.SCORED
    start_s = number * stride_s
    used = modalities if score is not None else ""
    return SegmentScore(number, start_s, start_s + 3.0, status, Quality(), score=score, modalities=used)


def tokens_of(number: int, n_faces: int = 4) -> SegmentTokens:
    rng = np.random.default_rng(number)
    audio, faces = (3 * rng.standard_normal((n, 512)).astype(np.float32) for n in (10, n_faces))
    return SegmentTokens(audio, faces, 30 * number, np.arange(n_faces))


def as_arguments(tokens: SegmentTokens) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    assert tokens.audio is not None and tokens.faces is not None and tokens.places is not None
    audio, faces, places = (torch.from_numpy(part)[None] for part in (tokens.audio, tokens.faces, tokens.places))
    return audio, faces, places


LOWEST = tuple(record(number, number / 10) for number in range(4))
"""Of seeded networks all scores are alike: the scores of these say that they are lower."""


@pytest.fixture(scope="module")
def late() -> SegmentNetwork:
    network = seeded_pain_network("late-fusion", LateFusionSettings(may_be_missing=MODALITIES))
    return SegmentNetwork(network, FaceSettings())


def test_of_an_additive_network_each_modality_has_its_own_difference(late: SegmentNetwork) -> None:
    explained = as_arguments(tokens_of(0, n_faces=7))
    shares = modality_shares(late, explained, LOWEST[1:4], tokens_of)
    assert isinstance(late.network, LateFusion)
    with torch.no_grad():
        own = late.network.predictions(*explained[:2])[:, 0]
        quiet = torch.stack([late.network.predictions(*as_arguments(tokens_of(n))[:2])[:, 0] for n in (1, 2, 3)])
    audio, face = ((own - quiet.mean(dim=0)) / 2).tolist()
    assert [shares.audio, shares.face] == pytest.approx([audio, face], abs=1e-5)
    assert shares.quiet == pytest.approx(float(quiet.mean()), abs=1e-5)
    assert abs(shares.audio) > 1e-4 and abs(shares.face) > 1e-4
    assert shares.n_quiet == 3
    assert (shares.quiet_lowest, shares.quiet_highest) == (0.1, 0.3)
    # Without interaction, replacing one modality takes away what it adds, and nothing else.
    replaced = [shares.quiet + shares.face, shares.quiet + shares.audio]
    assert [shares.audio_replaced, shares.face_replaced] == pytest.approx(replaced, abs=1e-5)


def test_segments_that_do_not_score_clearly_lower_are_not_compared_with(late: SegmentNetwork) -> None:
    explained = as_arguments(tokens_of(0))
    score = float(late.score(*explained).detach())
    below = [record(number, score - 3) for number in (1, 2)]
    shares = modality_shares(late, explained, [*below, record(3, score - 0.9)], tokens_of)
    assert "at least 1 point below" in shares.reason and shares.n_quiet == 0
    assert math.isnan(shares.audio) and math.isnan(shares.audio_replaced)
    shares = modality_shares(late, explained, [*below, record(3, score - 1.1)], tokens_of)
    assert shares.reason == "" and shares.quiet_highest == pytest.approx(score - 1.1)


def test_the_shares_add_up_to_the_score_also_where_the_recording_counts() -> None:
    network = corrected_network(ContextSettings(), seeded=True)
    with torch.no_grad():
        audio, faces, places = zip(*(as_arguments(tokens_of(number)) for number in range(6)), strict=True)
        features = network.embed(torch.cat(audio), torch.cat(faces), None, torch.cat(places))
        starts_s = 3.0 * torch.arange(6, dtype=torch.float64)
        scores = network.score_recording(features, starts_s)
    segment = SegmentNetwork(network, FaceSettings(), OtherSegments(features, starts_s, row=4))
    shares = modality_shares(segment, as_arguments(tokens_of(4)), LOWEST[:3], tokens_of)
    assert shares.quiet + shares.audio + shares.face == pytest.approx(float(scores[4]), abs=1e-5)
    alone = float(network.score(*as_arguments(tokens_of(4))[:2]).detach())
    assert abs(alone - float(scores[4])) > 1e-3, "the other segments must count, or this shows nothing"


def test_where_there_is_nothing_to_compare_with_there_is_a_reason(late: SegmentNetwork) -> None:
    audio, faces, places = as_arguments(tokens_of(0))
    single = SegmentNetwork(seeded_pain_network("audio-only", SingleModalitySettings()), FaceSettings())
    for network, tokens, quiet, words in (
        (single, (audio, None, None), LOWEST, "one modality"),
        (late, (audio, None, None), LOWEST, "only audio"),
        (late, (None, faces, places), LOWEST, "only the face"),
        (late, (audio, faces, places), (), "fewer than 3 other segments"),
    ):
        shares = modality_shares(network, tokens, quiet, tokens_of)
        assert words in shares.reason
        assert math.isnan(shares.quiet) and math.isnan(shares.audio) and math.isnan(shares.face)


def numbers(segments: tuple[SegmentScore, ...]) -> tuple[int, ...]:
    return tuple(segment.segment for segment in segments)


def test_quiet_segments_are_the_lowest_tenth_with_both_modalities() -> None:
    records = [record(number, 5 + number / 100) for number in range(60)]
    records[0] = record(0, 0.1, "audio")
    records[1] = record(1, None)
    assert numbers(quiet_segments(records, records[30])) == (2, 3, 4, 5, 6, 7)
    assert numbers(quiet_segments(records, records[3])) == (2, 4, 5, 6, 7, 8)
    assert numbers(quiet_segments(records[:8], records[7])) == (2, 3, 4)
    assert numbers(quiet_segments(records[:5], records[4])) == ()
    assert len(quiet_segments([record(number, 5.0) for number in range(2000)], record(0, 5.0))) == MAX_QUIET


def test_quiet_segments_do_not_overlap_the_explained_one() -> None:
    records = [record(number, 5 + number / 100, stride_s=1.0) for number in range(20)]
    assert numbers(quiet_segments(records, records[3])) == (0, 6, 7)
