"""What is read again of a segment is what made its score."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from tests.support.explanations import ReadRecording

TOLERANCE = 0.002
"""Points; scores are rounded to a thousandth, and the scoring network is folded and fused."""


def test_the_inputs_that_are_read_again_give_the_score(phantom: ReadRecording) -> None:
    assert len(phantom.inputs) == len(phantom.outcome.segments) == 2
    for inputs in phantom.inputs:
        with torch.no_grad():
            audio, faces, places = phantom.network.tokens(inputs)
            score = float(phantom.network.score(audio, faces, places))
        assert score == pytest.approx(inputs.record.score, abs=TOLERANCE)
        kept = phantom.tokens(inputs.record.segment)
        assert kept.places is not None and places is not None
        assert kept.places.tolist() == places[0].tolist()
        assert audio is not None and faces is not None
        assert audio[0].numpy() == pytest.approx(kept.audio, abs=1e-3)
        assert faces[0].numpy() == pytest.approx(kept.faces, abs=1e-3)


def test_gradients_reach_both_inputs(phantom: ReadRecording) -> None:
    inputs, network = phantom.inputs[0], phantom.network
    audio, faces = network.audio(inputs), network.faces(inputs)
    assert audio is not None and faces is not None
    faces = faces[:2].requires_grad_()
    audio.requires_grad_()
    two = dataclasses.replace(inputs, crops=inputs.crops[:2], places=inputs.places[:2])
    tokens = network.network.encode_audio(audio), network.encode_faces(faces, two), network.places(two)
    network.score(*tokens).sum().backward()
    assert audio.grad is not None and bool(audio.grad.abs().sum() > 0)
    assert faces.grad is not None and bool(faces.grad.abs().sum() > 0)
