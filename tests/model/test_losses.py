"""The training loss equals the paper's and works for batches without comparable pairs."""

from __future__ import annotations

import json

import pytest
import torch

from avpenet_cli.model.losses import LossSettings, composite_loss
from tests.golden import seeded
from tests.support.networks import GOLDEN


def test_loss_and_its_terms_equal_the_published_ones() -> None:
    prediction, truth = (torch.from_numpy(values) for values in seeded.pairs(1))
    golden = json.loads((GOLDEN / "front-seed1.json").read_text())["loss"]
    terms = composite_loss(prediction, truth, LossSettings())
    assert float(terms.total) == pytest.approx(golden["total"], abs=1e-5)
    assert float(terms.mse) == pytest.approx(golden["mse"], abs=1e-5)
    assert float(terms.ordinal) == pytest.approx(golden["ordinal"], abs=1e-5)
    assert float(terms.boundary) == pytest.approx(golden["smooth"], abs=1e-5)


def test_ordinal_term_is_zero_and_differentiable_without_comparable_pairs() -> None:
    prediction = torch.tensor([2.0, 4.0, 9.5], requires_grad=True)
    terms = composite_loss(prediction, torch.tensor([5.0, 5.1, 5.2]), LossSettings())
    assert float(terms.ordinal.detach()) == 0.0
    terms.total.backward()
    assert prediction.grad is not None
    assert bool(prediction.grad.isfinite().all())


def test_reversed_order_costs_more_than_the_right_order() -> None:
    truth = torch.tensor([2.0, 8.0])
    right = composite_loss(torch.tensor([3.0, 7.0]), truth, LossSettings())
    reversed_order = composite_loss(torch.tensor([7.0, 3.0]), truth, LossSettings())
    assert float(right.ordinal) == 0.0
    assert float(reversed_order.ordinal) == pytest.approx((0.5 + 4.0) ** 2)


@pytest.mark.parametrize("shapes", [((3,), (2,)), ((2, 1), (2, 1)), ((0,), (0,))])
def test_shapes_that_would_broadcast_are_refused(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match=r"must be \(B,\)"):
        composite_loss(torch.zeros(shapes[0]), torch.zeros(shapes[1]), LossSettings())
