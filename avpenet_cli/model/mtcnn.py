"""The three networks of MTCNN (Zhang et al. 2016), with the weights that come with facenet-pytorch.

They are defined here because importing facenet-pytorch loads torchvision and torch's compiler, over a second of CPU
time, and because a third of its time on a CPU goes into pooling and activations that these do faster. Parameters keep
facenet-pytorch's names. First layers have their 10 and 28 channels padded with zeros to 16 and 32, which vector units
like better and which changes no output.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avpenet_cli.errors import EnvironmentUnavailableError

PNET_STRIDE_PX = 2
PNET_CELL_PX = 12
"""P-Net sees an image in cells of 12 x 12 pixels, 2 apart."""
RNET_PX = 24
ONET_PX = 48
"""Side of the images that R-Net and O-Net take."""


class PNet(nn.Module):
    """Proposes faces: applied to a whole image, it judges every cell of 12 x 12 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, kernel_size=3)
        self.prelu1 = nn.PReLU(16)
        self.conv2 = nn.Conv2d(16, 16, kernel_size=3)
        self.prelu2 = nn.PReLU(16)
        self.conv3 = nn.Conv2d(16, 32, kernel_size=3)
        self.prelu3 = nn.PReLU(32)
        self.conv4_1 = nn.Conv2d(32, 2, kernel_size=1)
        self.conv4_2 = nn.Conv2d(32, 4, kernel_size=1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Judge every cell.

        Args:
            images: (n, 3, height, width) float32 in [-1, 1], each side at least 12.

        Returns:
            The probability of a face in each cell, (n, rows, columns), and the cells' features, (n, rows, columns, 32).
        """
        x = _max_pool(self.prelu1(self.conv1(images)), 2)
        x = self.prelu3(self.conv3(self.prelu2(self.conv2(x))))
        features = x.permute(0, 2, 3, 1)
        # A softmax over two classes is the logistic function of the difference of their logits.
        weight, bias = self.conv4_1.weight.flatten(1), self.conv4_1.bias
        assert bias is not None
        return torch.sigmoid(features @ (weight[1] - weight[0]) + (bias[1] - bias[0])), features

    def regress(self, features: Tensor) -> Tensor:
        """How far each face's edges lie from its cell's, in cell sides: features (k, 32) -> (k, 4)."""
        return F.linear(features, self.conv4_2.weight.flatten(1), self.conv4_2.bias)


class RNet(nn.Module):
    """Refines the proposals."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, kernel_size=3)
        self.prelu1 = nn.PReLU(32)
        self.conv2 = nn.Conv2d(32, 48, kernel_size=3)
        self.prelu2 = nn.PReLU(48)
        self.conv3 = nn.Conv2d(48, 64, kernel_size=2)
        self.prelu3 = nn.PReLU(64)
        self.dense4 = nn.Linear(576, 128)
        self.prelu4 = nn.PReLU(128)
        self.dense5_1 = nn.Linear(128, 2)
        self.dense5_2 = nn.Linear(128, 4)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Judge candidates.

        Args:
            images: (n, 3, 24, 24) float32 in [-1, 1].

        Returns:
            The probability of a face, (n,), and how far its edges lie from the image's, in image sides, (n, 4).
        """
        x = _max_pool(self.prelu1(self.conv1(images)), 3)
        x = _max_pool(self.prelu2(self.conv2(x)), 3)
        x = self.prelu3(self.conv3(x))
        x = self.prelu4(self.dense4(_flatten(x)))
        return self.dense5_1(x).softmax(1)[:, 1], self.dense5_2(x)


class ONet(nn.Module):
    """Decides, and places the landmarks."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, kernel_size=3)
        self.prelu1 = nn.PReLU(32)
        self.conv2 = nn.Conv2d(32, 64, kernel_size=3)
        self.prelu2 = nn.PReLU(64)
        self.conv3 = nn.Conv2d(64, 64, kernel_size=3)
        self.prelu3 = nn.PReLU(64)
        self.conv4 = nn.Conv2d(64, 128, kernel_size=2)
        self.prelu4 = nn.PReLU(128)
        self.dense5 = nn.Linear(1152, 256)
        self.prelu5 = nn.PReLU(256)
        self.dense6_1 = nn.Linear(256, 2)
        self.dense6_2 = nn.Linear(256, 4)
        self.dense6_3 = nn.Linear(256, 10)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Judge candidates.

        Args:
            images: (n, 3, 48, 48) float32 in [-1, 1].

        Returns:
            The probability of a face, (n,), how far its edges lie from the image's, in image sides, (n, 4), and the x,
            then the y of eyes, nose and mouth corners, in image sides, (n, 10).
        """
        x = _max_pool(self.prelu1(self.conv1(images)), 3)
        x = _max_pool(self.prelu2(self.conv2(x)), 3)
        x = _max_pool(self.prelu3(self.conv3(x)), 2)
        x = self.prelu4(self.conv4(x))
        x = self.prelu5(self.dense5(_flatten(x)))
        return self.dense6_1(x).softmax(1)[:, 1], self.dense6_2(x), self.dense6_3(x)


def load_networks(device: torch.device) -> tuple[PNet, RNet, ONet]:
    """The networks with facenet-pytorch's weights, without gradients.

    Raises:
        EnvironmentUnavailableError: facenet-pytorch, or a file of its weights, is not there.
    """
    package = importlib.util.find_spec("facenet_pytorch")
    folder = Path(next(iter(package.submodule_search_locations or ()))) / "data" if package else None
    if folder is None or not folder.is_dir():
        raise EnvironmentUnavailableError("the weights of the face detector are missing", "install facenet-pytorch")
    networks = PNet(), RNet(), ONet()
    for network, name in zip(networks, ("pnet.pt", "rnet.pt", "onet.pt"), strict=True):
        _fill(network, torch.load(folder / name, map_location="cpu", weights_only=True))
        network.eval().requires_grad_(False).to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return networks


def _fill(network: nn.Module, weights: dict[str, Tensor]) -> None:
    """Copy weights into parameters of at least their shape, and zero the rest."""
    parameters = dict(network.named_parameters())
    if parameters.keys() != weights.keys():
        raise EnvironmentUnavailableError(
            "the weights of the face detector do not fit", "install the pinned facenet-pytorch"
        )
    with torch.no_grad():
        for name, values in weights.items():
            parameters[name].zero_()[tuple(slice(size) for size in values.shape)] = values


def _flatten(x: Tensor) -> Tensor:
    """(n, channels, height, width) -> (n, width * height * channels), the order in which MTCNN's authors trained."""
    return x.permute(0, 3, 2, 1).flatten(1)


def _max_pool(x: Tensor, size: int) -> Tensor:
    """Maxima over windows of 2 x 2 or 3 x 3 at stride 2; a window may reach over the lower and right edges."""
    if x.device.type != "cpu":
        return F.max_pool2d(x, size, 2, ceil_mode=True)
    # torch's kernel for a CPU also finds each maximum's place, which takes 3 to 6 times as long.
    return _pool_along(_pool_along(x, 2, size), 3, size)


def _pool_along(x: Tensor, dim: int, size: int) -> Tensor:
    before = (slice(None),) * dim
    pairs = x.shape[dim] // 2
    pooled = torch.maximum(x[(*before, slice(0, 2 * pairs, 2))], x[(*before, slice(1, 2 * pairs, 2))])
    if size == 3:
        third = x[(*before, slice(2, None, 2))]
        shared = pooled[(*before, slice(third.shape[dim]))]
        torch.maximum(shared, third, out=shared)
    elif x.shape[dim] % 2:
        pooled = torch.cat([pooled, x[(*before, slice(-1, None))]], dim)
    return pooled
