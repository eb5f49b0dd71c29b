"""Masks and missing modalities in the published fusion, and what is particular to the other fusions."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from avpenet_cli.model.architecture import Architecture, Fusion
from avpenet_cli.model.avpenet import AVPENet, average_faces
from avpenet_cli.model.fusion_variants import MEAN_POOLED
from avpenet_cli.model.tokens import mean_by_step, places_of_audio
from tests.support.networks import seeded_network


def network(fusion: Fusion, *may_be_missing: str) -> AVPENet:
    return seeded_network("avpenet", Architecture(fusion=fusion, may_be_missing=may_be_missing))  # type: ignore[arg-type]


@pytest.fixture(scope="module", params=["single", "tokens"])
def fusion(request: pytest.FixtureRequest) -> Fusion:
    variant: Fusion = request.param
    return variant


@pytest.fixture(scope="module")
def tokens() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    return 3 * torch.randn((2, 10, 512), generator=generator), 3 * torch.randn((2, 30, 512), generator=generator)


def test_masked_faces_have_no_effect_even_when_they_are_nan(
    fusion: Fusion, tokens: tuple[torch.Tensor, torch.Tensor]
) -> None:
    audio, faces = tokens
    mask = torch.ones((2, 30), dtype=torch.bool)
    mask[0, ::2] = False
    mask[1, 5:] = False
    garbage = faces.clone()
    garbage[~mask] = torch.nan
    net = network(fusion)
    with torch.inference_mode():
        masked = net.score(audio, garbage, mask)
        for row in range(2):
            removed = net.score(audio[row : row + 1], faces[row : row + 1, mask[row]])
            assert abs(float(masked[row]) - float(removed)) < 1e-5


def test_attention_rows_sum_to_one_and_ignore_masked_faces(tokens: tuple[torch.Tensor, torch.Tensor]) -> None:
    mask = torch.ones((2, 30), dtype=torch.bool)
    mask[:, 20:] = False
    with torch.inference_mode():
        fused = network("tokens").fuse(*tokens, mask)
    assert fused.audio_to_face is not None
    assert fused.face_to_audio is not None
    assert fused.audio_to_face.shape == (2, 8, 10, 30)
    assert fused.face_to_audio.shape == (2, 8, 30, 10)
    assert torch.allclose(fused.audio_to_face.sum(-1), torch.ones(2, 8, 10), atol=1e-5)
    assert float(fused.audio_to_face[..., 20:].max()) == 0.0


def test_scores_do_not_depend_on_the_batch(fusion: Fusion, tokens: tuple[torch.Tensor, torch.Tensor]) -> None:
    net = network(fusion)
    with torch.inference_mode():
        together = net.score(*tokens)
        alone = torch.cat([net.score(tokens[0][row : row + 1], tokens[1][row : row + 1]) for row in (0, 1)])
    assert torch.allclose(together, alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("missing", ["audio", "face"])
def test_missing_modality_is_refused_unless_the_weights_allow_it(
    missing: str, fusion: Fusion, tokens: tuple[torch.Tensor, torch.Tensor]
) -> None:
    audio, faces = (None if missing == "audio" else tokens[0]), (None if missing == "face" else tokens[1])
    with pytest.raises(ValueError, match=f"without {missing}"):
        network(fusion).score(audio, faces)
    zeros = torch.zeros((2, 1, 512))
    lenient = network(fusion, missing)
    with torch.inference_mode():
        score = lenient.score(audio, faces)
        as_zeros = lenient.score(zeros if audio is None else audio, zeros if faces is None else faces)
    assert torch.equal(score, as_zeros)


def test_row_without_any_face_is_a_missing_face(fusion: Fusion, tokens: tuple[torch.Tensor, torch.Tensor]) -> None:
    mask = torch.ones((2, 30), dtype=torch.bool)
    mask[1] = False
    with pytest.raises(ValueError, match="without face"):
        network(fusion).score(*tokens, mask)
    lenient = network(fusion, "face")
    with torch.inference_mode():
        mixed = lenient.score(*tokens, mask)
        faceless = lenient.score(tokens[0][1:], None)
    assert abs(float(mixed[1]) - float(faceless)) < 1e-5


def test_both_modalities_missing_is_refused(fusion: Fusion) -> None:
    with pytest.raises(ValueError, match="nothing to score"):
        network(fusion, "face").score(None, None)
    with pytest.raises(ValueError, match="nothing to score"):
        network(fusion, "audio", "face").score(None, None)


def test_average_face_excludes_masked_images() -> None:
    clip = torch.randn((2, 3, 3, 8, 8))
    mask = torch.tensor([[True, False, True], [False, True, False]])
    mean = average_faces(clip, mask)
    assert mean.shape == (2, 1, 3, 8, 8)
    assert torch.allclose(mean[0, 0], clip[0, [0, 2]].mean(dim=0), atol=1e-6)
    assert torch.allclose(mean[1, 0], clip[1, 1], atol=1e-6)
    assert torch.allclose(average_faces(clip)[0, 0], clip[0].mean(dim=0), atol=1e-6)


@pytest.mark.parametrize("variant", get_args(Fusion))
def test_only_fusions_over_time_depend_on_places(variant: Fusion, tokens: tuple[torch.Tensor, torch.Tensor]) -> None:
    net = network(variant)
    audio, faces = tokens[0], tokens[1][:, :4]
    early, late = torch.tensor([[0, 1, 2, 3]]).expand(2, 4), torch.tensor([[20, 22, 24, 26]]).expand(2, 4)
    with torch.inference_mode():
        differs = not torch.allclose(net.score(audio, faces, None, early), net.score(audio, faces, None, late))
        backwards = not torch.allclose(net.score(audio, faces), net.score(audio.flip(1), faces), atol=1e-4, rtol=0)
    assert differs == backwards == (variant in {"transformer", "bilstm"})


@pytest.mark.parametrize("variant", sorted(MEAN_POOLED))
def test_mean_pooled_fusions_take_one_embedding_a_modality(
    variant: Fusion, tokens: tuple[torch.Tensor, torch.Tensor]
) -> None:
    net = network(variant)
    with torch.inference_mode():
        means = net.score(*(part.mean(dim=1, keepdim=True) for part in tokens))
        assert torch.allclose(net.score(*tokens), means, atol=1e-5, rtol=0)


def test_one_way_attention_has_the_map_of_its_direction_only(tokens: tuple[torch.Tensor, torch.Tensor]) -> None:
    with torch.inference_mode():
        audio_asks, face_asks = network("audio-queries").fuse(*tokens), network("face-queries").fuse(*tokens)
    assert audio_asks.audio_to_face is not None
    assert audio_asks.audio_to_face.shape == (2, 8, 10, 30)
    assert audio_asks.face_to_audio is None
    assert face_asks.face_to_audio is not None
    assert face_asks.face_to_audio.shape == (2, 8, 30, 10)
    assert face_asks.audio_to_face is None


def test_fusions_have_the_parameters_that_they_use() -> None:
    counts = {
        variant: sum(parameter.numel() for parameter in network(variant).fusion.parameters())
        for variant in get_args(Fusion)
    }
    assert counts["single"] == counts["tokens"]
    assert counts["none"] == 4 * 512
    assert counts["concatenation"] < counts["audio-queries"] == counts["face-queries"] < counts["tokens"]
    assert counts["addition"] + 2 * 512 * 512 + 512 == counts["gate"]


def test_audio_tokens_lie_at_the_middle_of_their_share_of_the_segment() -> None:
    assert places_of_audio(10, torch.device("cpu")).tolist() == [1, 4, 7, 10, 13, 16, 19, 22, 25, 28]
    assert places_of_audio(1, torch.device("cpu")).tolist() == [15]


def test_faces_of_a_time_step_are_averaged() -> None:
    values = torch.tensor([[[1.0], [3.0], [5.0], [100.0]]])
    present = torch.tensor([[True, True, True, False]])
    means, has_face = mean_by_step(values, present, torch.tensor([[0, 2, 29, 15]]), 10)
    assert means.flatten().tolist() == [2.0, 0, 0, 0, 0, 0, 0, 0, 0, 5.0]
    assert has_face.flatten().tolist() == [True, *[False] * 8, True]
