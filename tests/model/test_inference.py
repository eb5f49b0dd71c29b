"""Optimised networks score as the original does; Monte Carlo dropout is reproducible and has no side effects."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from avpenet_cli.model import onednn
from avpenet_cli.model.architecture import Architecture
from avpenet_cli.model.avpenet import AVPENet
from avpenet_cli.model.encoders import ieee_convolutions
from avpenet_cli.model.inference import CPU_FACE_MICRO_BATCH, MC_PASSES_AT_ONCE, mc_scores, optimise_for_inference
from tests.support.networks import seeded_network


@pytest.fixture(scope="module")
def plain() -> AVPENet:
    return seeded_network("avpenet", Architecture())


@pytest.fixture(scope="module")
def fast(plain: AVPENet) -> AVPENet:
    return optimise_for_inference(plain, "cpu", "float32")


@pytest.fixture(scope="module")
def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return torch.rand((1, 1, 128, 300), generator=generator), torch.randn((4, 3, 224, 224), generator=generator)


@pytest.fixture(scope="module")
def tokens(fast: AVPENet, inputs: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.inference_mode():
        return fast.encode_audio(inputs[0]), fast.encode_faces(inputs[1]).unsqueeze(0)


def test_optimised_scores_differ_by_less_than_a_ten_thousandth(
    plain: AVPENet,
    fast: AVPENet,
    inputs: tuple[torch.Tensor, torch.Tensor],
    tokens: tuple[torch.Tensor, torch.Tensor],
) -> None:
    with torch.inference_mode():
        expected = plain(inputs[0], inputs[1].unsqueeze(0))
        assert float((fast.score(*tokens) - expected).abs().max()) < 1e-4
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fast.modules())
    assert not any(module.training for module in fast.modules())
    assert not any(parameter.requires_grad for parameter in fast.parameters())
    assert any(isinstance(module, nn.BatchNorm2d) for module in plain.modules()), "the original was changed"


def test_bfloat16_encoders_give_a_float32_score_near_the_float32_one(
    plain: AVPENet, inputs: tuple[torch.Tensor, torch.Tensor], tokens: tuple[torch.Tensor, torch.Tensor]
) -> None:
    reduced = optimise_for_inference(plain, "cpu", "bfloat16")
    assert reduced.visual_encoder.conv1.weight.dtype == torch.bfloat16
    assert reduced.head.fc1.weight.dtype == torch.float32
    with torch.inference_mode():
        score = reduced.score(reduced.encode_audio(inputs[0]), reduced.encode_faces(inputs[1]).unsqueeze(0))
        assert score.dtype == torch.float32
        assert abs(float(score) - float(plain.score(*tokens))) < 0.1


def test_images_of_other_sizes_are_encoded_by_weights_in_the_order_for_their_size(plain: AVPENet) -> None:
    """In the order for another size, weights would be put in order anew for each batch, which takes far longer."""
    if not onednn.is_available(torch.device("cpu")):
        pytest.skip("this CPU has no fused convolutions")
    generator = torch.Generator().manual_seed(5)
    network = optimise_for_inference(plain, "cpu", "float32")
    first = network.audio_encoder.conv1
    assert isinstance(first, onednn.FusedConvolution)
    kept = []
    with torch.inference_mode():
        for frames in (200, 300, 190, 200, 100, 100):
            audio = torch.rand((1, 1, 128, frames), generator=generator)
            tokens = network.encode_audio(audio)
            torch.testing.assert_close(tokens, plain.encode_audio(audio), rtol=1e-3, atol=1e-3)
            kept.append([width for _, width in first.other_weights])
        # Only the last sizes, for every one takes as much memory as the encoder.
        assert kept == [[200], [200], [200, 190], [200, 190], [190, 100], [190, 100]]
        faces = torch.randn((3, 3, 64, 64), generator=generator)
        expected = plain.encode_faces(faces)
        torch.testing.assert_close(network.encode_faces(faces), expected, rtol=1e-3, atol=1e-3)
        assert torch.equal(network.encode_faces(faces[:1]), network.encode_faces(faces)[:1])


def test_micro_batch_does_not_change_embeddings(fast: AVPENet, inputs: tuple[torch.Tensor, torch.Tensor]) -> None:
    assert fast.face_micro_batch == CPU_FACE_MICRO_BATCH
    with torch.inference_mode():
        whole = fast.encode_faces(inputs[1])
        try:
            fast.face_micro_batch = 1
            one_by_one = fast.encode_faces(inputs[1])
        finally:
            fast.face_micro_batch = CPU_FACE_MICRO_BATCH
        assert torch.equal(whole, one_by_one)
        audio = fast.encode_audio(inputs[0])
        assert abs(float(fast.score(audio, whole[None])) - float(fast.score(audio, one_by_one[None]))) < 1e-5


def test_monte_carlo_depends_on_its_seed_only(fast: AVPENet, tokens: tuple[torch.Tensor, torch.Tensor]) -> None:
    torch.manual_seed(1)
    first = mc_scores(fast, *tokens, None, samples=20, seed=9)
    torch.rand(1000)
    state = torch.get_rng_state()
    assert torch.equal(mc_scores(fast, *tokens, None, samples=20, seed=9), first)
    assert torch.equal(torch.get_rng_state(), state), "the state of torch's generator changed"
    assert not torch.equal(mc_scores(fast, *tokens, None, samples=20, seed=10), first)


def test_monte_carlo_varies_within_range_and_restores_the_model(
    plain: AVPENet, tokens: tuple[torch.Tensor, torch.Tensor]
) -> None:
    with torch.inference_mode():
        before = plain.score(*tokens)
    statistics = {name: buffer.clone() for name, buffer in plain.named_buffers()}
    samples = mc_scores(plain, *tokens, torch.tensor([[True, True, True, False]]), samples=50, seed=1)
    assert samples.shape == (50,)
    assert bool(((samples >= 0) & (samples <= 10)).all())
    assert float(samples.std()) > 1e-3
    assert not any(module.training for module in plain.modules())
    assert all(torch.equal(buffer, statistics[name]) for name, buffer in plain.named_buffers())
    with torch.inference_mode():
        assert torch.equal(plain.score(*tokens), before)


def test_monte_carlo_runs_more_passes_than_fit_in_a_batch(
    fast: AVPENet, tokens: tuple[torch.Tensor, torch.Tensor]
) -> None:
    samples = mc_scores(fast, *tokens, None, samples=MC_PASSES_AT_ONCE + 3, seed=1)
    assert samples.shape == (MC_PASSES_AT_ONCE + 3,)
    assert len(samples.unique()) > MC_PASSES_AT_ONCE


def test_monte_carlo_refuses_zero_samples_and_several_segments(
    fast: AVPENet, tokens: tuple[torch.Tensor, torch.Tensor]
) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        mc_scores(fast, *tokens, None, samples=0, seed=1)
    with pytest.raises(ValueError, match="one segment"):
        mc_scores(fast, tokens[0].expand(2, -1, -1), tokens[1].expand(2, -1, -1), None, samples=2, seed=1)


def test_model_is_back_in_evaluation_mode_after_a_failed_monte_carlo(
    fast: AVPENet, tokens: tuple[torch.Tensor, torch.Tensor]
) -> None:
    with pytest.raises(ValueError, match="without face"):
        mc_scores(fast, tokens[0], None, None, samples=2, seed=1)
    assert not any(module.training for module in fast.modules())


def test_tf32_is_off_only_inside_gpu_convolutions() -> None:
    before = torch.backends.cudnn.allow_tf32
    with ieee_convolutions(torch.device("cuda")):
        assert not torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.allow_tf32 == before
