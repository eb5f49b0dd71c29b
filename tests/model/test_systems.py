"""What is particular to the networks that the paper compares with its own."""

from __future__ import annotations

import torch

from avpenet_cli.model.architecture import Architecture
from avpenet_cli.model.registry import build
from avpenet_cli.model.systems.early_fusion import EarlyFusion
from avpenet_cli.model.systems.late_fusion import LateFusion
from avpenet_cli.model.systems.settings import EarlyFusionSettings, LateFusionSettings, SingleModalitySettings
from tests.support.networks import seeded_pain_network


def test_late_fusion_is_the_mean_of_predictions_of_one_modality_each() -> None:
    network = seeded_pain_network("late-fusion", LateFusionSettings(may_be_missing=("audio", "face")))
    assert isinstance(network, LateFusion)
    generator = torch.Generator().manual_seed(2)
    audio, other = torch.randn((2, 2, 10, 512), generator=generator)
    faces = torch.randn((2, 5, 512), generator=generator)
    with torch.inference_mode():
        both, changed = network.predictions(audio, faces), network.predictions(other, faces)
        assert not torch.allclose(both[0], changed[0])
        assert torch.equal(both[1], changed[1])
        assert torch.allclose(network.score(audio, faces), both.mean(dim=0))
        assert torch.allclose(network.score(None, faces), both[1], atol=1e-6, rtol=0)
        assert torch.allclose(network.score(audio, None), both[0], atol=1e-6, rtol=0)


def test_late_fusion_trains_its_parts_apart() -> None:
    network = seeded_pain_network("late-fusion", LateFusionSettings())
    assert isinstance(network, LateFusion)
    network.predictions(torch.randn((2, 10, 512)), torch.randn((2, 5, 512)))[0].sum().backward()
    trained = {
        name.split(".")[0] for name, p in network.named_parameters() if p.grad is not None and bool(p.grad.any())
    }
    assert trained == {"audio_norm", "audio_head"}


def test_encoders_have_the_names_of_avpenets_so_that_its_weights_fit() -> None:
    with torch.device("meta"):
        expected = {name: part.shape for name, part in build("avpenet", Architecture()).state_dict().items()}
        for name, settings in (
            ("audio-only", SingleModalitySettings()),
            ("face-only", SingleModalitySettings()),
            ("late-fusion", LateFusionSettings()),
        ):
            state = build(name, settings).state_dict()
            encoders = [key for key in state if key.split(".")[0] in {"audio_encoder", "visual_encoder"}]
            assert encoders
            assert all(state[key].shape == expected[key] for key in encoders)


def test_early_fusion_stacks_each_face_on_the_audio_of_its_time() -> None:
    network = seeded_pain_network("early-fusion", EarlyFusionSettings())
    assert isinstance(network, EarlyFusion)
    mel = torch.zeros((1, 1, 128, 300))
    mel[..., 150:180] = 1.0  # the sixth of ten steps
    faces = torch.ones((2, 3, 224, 224)) * torch.tensor([1.0, 2.0]).view(2, 1, 1, 1)
    with torch.inference_mode():
        tokens = network.encode_audio(mel), network.encode_faces(faces)[None]
        volume = network.volume(*tokens, None, torch.tensor([[0, 17]]))
    assert volume.shape == (1, 3, 10, 48, 48)
    face, spectrogram, presence = volume[0].mean(dim=(2, 3))
    torch.testing.assert_close(face, torch.tensor([1.0, 0, 0, 0, 0, 2.0, 0, 0, 0, 0]))
    torch.testing.assert_close(spectrogram, torch.tensor([0.0, 0, 0, 0, 0, 1.0, 0, 0, 0, 0]))
    torch.testing.assert_close(presence, torch.tensor([1.0, 0, 0, 0, 0, 1.0, 0, 0, 0, 0]))
