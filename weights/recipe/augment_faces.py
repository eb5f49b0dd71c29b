"""Augment batches of face crops on any device."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate

from avpenet_cli.settings import FaceSettings


class FaceAugmenter:
    """Random views of crops: mirror, rotation, shift, scale, light, colour, grey, blur, low resolution, noise, covers.

    Args:
        side_px: of the augmented crops.
        device: of the crops.
        seed: of the draws.
    """

    def __init__(self, side_px: int, device: torch.device, seed: int) -> None:
        self.side_px = side_px
        self._device = device
        self._rng = torch.Generator(device).manual_seed(seed)
        settings = FaceSettings()
        self._mean = torch.tensor(settings.pixel_mean, device=device).view(1, 3, 1, 1)
        self._std = torch.tensor(settings.pixel_std, device=device).view(1, 3, 1, 1)

    def plain(self, crops: Tensor) -> Tensor:
        """(n, 3, H, W) uint8 -> (n, 3, side, side) float32, ImageNet-normalised, not augmented."""
        images = crops.float() / 255
        if images.shape[-1] != self.side_px:
            images = interpolate(images, size=self.side_px, mode="bilinear", antialias=True, align_corners=False)
        return (images - self._mean) / self._std

    def __call__(self, crops: Tensor, same: int = 1) -> Tensor:
        """Augment crops.

        Args:
            crops: (n, 3, H, W) uint8 on the device, H and W from one to two times the side.
            same: number of consecutive crops that are augmented alike, as frames of a recording are; divides n.

        Returns:
            (n, 3, side, side) float32, ImageNet-normalised.
        """
        count = len(crops) // same
        moved = self._moved(crops.float() / 255, count, same)
        lit = self._lit(moved, count, same)
        return (self._degraded(lit, count, same) - self._mean) / self._std

    def _draw(self, count: int, same: int, low: float, high: float, *shape: int) -> Tensor:
        values = low + (high - low) * torch.rand((count, *shape), generator=self._rng, device=self._device)
        return values.repeat_interleave(same, 0)

    def _chance(self, count: int, same: int, probability: float) -> Tensor:
        return self._draw(count, same, 0.0, 1.0, 1, 1, 1) < probability

    def _moved(self, images: Tensor, count: int, same: int) -> Tensor:
        angle, scale = self._draw(count, same, -0.22, 0.22), self._draw(count, same, 0.88, 1.14)
        aspect = self._draw(count, same, 0.93, 1.07)
        flip = torch.where(self._draw(count, same, 0.0, 1.0) < 0.5, -1.0, 1.0)
        shift = self._draw(count, same, -0.1, 0.1, 2)
        # Frames of a recording differ a little in their boxes.
        shift = shift + 0.015 * torch.randn(shift.shape, generator=self._rng, device=self._device)
        cosine, sine = torch.cos(angle) / scale, torch.sin(angle) / scale
        transform = torch.stack(
            [flip * cosine * aspect, -sine, shift[:, 0], flip * sine * aspect, cosine, shift[:, 1]], dim=1
        ).view(-1, 2, 3)
        size = [len(images), 3, self.side_px, self.side_px]
        if images.shape[-1] > 1.3 * self.side_px:
            small = round(1.15 * self.side_px)
            images = interpolate(images, size=small, mode="bilinear", antialias=True, align_corners=False)
        return grid_sample(images, affine_grid(transform, size, align_corners=False), align_corners=False)

    def _lit(self, images: Tensor, count: int, same: int) -> Tensor:
        mean = images.mean(dim=(1, 2, 3), keepdim=True)
        lit = mean + self._draw(count, same, 0.65, 1.35, 1, 1, 1) * (images - mean)
        lit = lit * self._draw(count, same, 0.65, 1.35, 1, 1, 1) * self._draw(count, same, 0.85, 1.15, 3, 1, 1)
        grey = lit.mean(dim=1, keepdim=True)
        saturation = self._draw(count, same, 0.3, 1.4, 1, 1, 1)
        saturation = torch.where(self._chance(count, same, 0.15), 0.0, saturation)
        lit = grey + saturation * (lit - grey)
        # A gradient of light across the face.
        line = torch.linspace(-1, 1, self.side_px, device=self._device)
        across, down = self._draw(count, same, -0.3, 0.3, 1, 1, 1), self._draw(count, same, -0.3, 0.3, 1, 1, 1)
        gradient = 1 + across * line.view(1, 1, 1, -1) + down * line.view(1, 1, -1, 1)
        gamma = self._draw(count, same, 0.75, 1.35, 1, 1, 1)
        return (lit * gradient).clamp(1e-4, 1.0) ** gamma

    def _degraded(self, images: Tensor, count: int, same: int) -> Tensor:
        side = self.side_px
        for factor in (2, 3):
            low = interpolate(images, size=side // factor, mode="bilinear", antialias=True, align_corners=False)
            low = interpolate(low, size=side, mode="bilinear", align_corners=False)
            images = torch.where(self._chance(count, same, 0.12), low, images)
        at = torch.arange(side, device=self._device) / side
        centre, half = self._draw(count, same, 0.0, 1.0, 2), self._draw(count, same, 0.06, 0.2, 2)
        across, down = ((at - centre[:, axis, None]).abs() < half[:, axis, None] for axis in (0, 1))
        covered = (across[:, None, :] & down[:, :, None])[:, None] & self._chance(count, same, 0.25)
        images = torch.where(covered, self._draw(count, same, 0.0, 1.0, 3, 1, 1), images)
        noise = torch.randn(images.shape, generator=self._rng, device=self._device)
        return (images + self._draw(count, same, 0.0, 0.06, 1, 1, 1) * noise).clamp(0.0, 1.0)
