"""AdvCAM written out slowly: one (picture, class, scale) at a time, two backward passes, no shortcut.

The oracle of the tests. `published` follows the authors' loop step by step: Grad-CAM with a hook on the features and
the count of positive gradients, then a second forward and backward for the picture. `paper` follows the equations.
Nothing is shared with the package but the toy network.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

MEAN = torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64).view(3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225], dtype=torch.float64).view(3, 1, 1)


class ToyNetwork(nn.Module):
    """Two convolutions, global average pooling, a linear head; float64, weights from a seed."""

    def __init__(self, seed: int = 0, classes: int = 3, bias: bool = False) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.features = nn.Sequential(
                nn.Conv2d(3, 6, 3, stride=2, padding=1),
                nn.ReLU(),
                nn.Conv2d(6, 8, 3, stride=2, padding=1),
                nn.ReLU(),
            )
            self.head = nn.Linear(8, classes, bias=bias)
        self.double()

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.features(inputs).mean(dim=(2, 3)))


@dataclass
class Climb:
    """Maps (S, h, w) and the pairs of pictures (S, 2, 3, H, W) that they were made of."""

    maps: Tensor
    pairs: Tensor


def published(
    network: ToyNetwork, pair: Tensor, label: int, steps: int, xi: float = 0.08, lamda: float = 7.0, tau: float = 0.5
) -> Climb:
    """The authors' loop: `steps` maps, the picture after the last step is not looked at."""
    picture = pair.clone()
    maps: list[Tensor] = []
    pairs: list[Tensor] = []
    for _ in range(steps):
        pairs.append(picture)
        joint = _hooked_grad_cam(network, picture, label)
        maps.append(joint.detach())

        picture = picture.detach().requires_grad_()
        joint = _hooked_grad_cam(network, picture, label)
        score = class_maps(network, picture).relu().mean(dim=(2, 3)).sum(dim=0)
        mask = (joint / joint.max() > tau).double().detach()
        others = sum(score[k] for k in range(len(score)) if k != label)
        objective = score[label] - others - lamda * (mask * (joint - maps[0]).abs()).sum()
        (gradient,) = torch.autograd.grad(objective, picture)
        picture = picture.detach()
        moved = picture + xi * gradient / (gradient.abs().max() + 1e-12)
        picture = torch.clamp(moved, picture.min().item(), picture.max().item())
    return Climb(torch.stack(maps), torch.stack(pairs))


def paper(
    network: ToyNetwork,
    pair: Tensor,
    label: int,
    steps: int,
    xi: float = 0.08,
    lamda: float = 1.0,
    tau: float = 0.5,
    others: str | int = "all",
) -> Climb:
    """x^t = x^{t-1} + xi grad L, steps + 1 maps; the step divided by its maximum, the L1 term by the positions."""
    picture = pair.clone()
    maps: list[Tensor] = []
    pairs: list[Tensor] = []
    for _ in range(steps + 1):
        picture = picture.detach().requires_grad_()
        features = network.features(picture)
        activation = torch.einsum("k,bkhw->bhw", network.head.weight[label], features).relu()
        joint = activation[0] + activation[1].flip(-1)
        maps.append(joint.detach())
        pairs.append(picture.detach())
        objective = -lamda * ((joint.detach() / joint.max() > tau) * (joint - maps[0]).abs()).sum() / joint.numel()
        for logits in network(picture):
            objective = objective + logits[label] - _rivals(logits, label, others)
        (gradient,) = torch.autograd.grad(objective, picture)
        picture = picture.detach() + xi * gradient / (gradient.abs().max() + 1e-12)
    return Climb(torch.stack(maps), torch.stack(pairs))


def _rivals(logits: Tensor, label: int, others: str | int) -> Tensor:
    rivals = torch.cat([logits[:label], logits[label + 1 :]])
    if others == "none":
        return torch.zeros(())
    if others == "logsumexp":
        return rivals.exp().sum().log()
    return rivals.sum() if others == "all" else rivals.sort(descending=True).values[:others].sum()


def class_maps(network: ToyNetwork, pair: Tensor) -> Tensor:
    """S with bias, (2, K, h, w)."""
    bias = network.head.bias
    return functional.conv2d(network.features(pair), network.head.weight[:, :, None, None], bias)


def _hooked_grad_cam(network: ToyNetwork, pair: Tensor, label: int) -> Tensor:
    """Step 2 of the loop: back-propagate sum ReLU(S_c) to the features, weight them, rectify, join the flips."""
    kept: list[Tensor] = []
    features = network.features(pair)
    features = features if features.requires_grad else features.requires_grad_()
    handle = features.register_hook(kept.append)
    maps = functional.conv2d(features, network.head.weight[:, :, None, None], network.head.bias)
    inputs = [features, pair] if pair.requires_grad else [features]
    torch.autograd.grad(maps[:, label].relu().sum(), inputs, retain_graph=True)
    handle.remove()
    (gradient,) = kept
    alpha = gradient.sum(dim=(2, 3), keepdim=True) / (gradient > 0).sum()
    activation = (alpha.detach() * features).sum(dim=1).relu()
    return activation[0] + activation[1].flip(-1)


def pair_of(image: Image.Image, scale: float) -> Tensor:
    """The normalised picture at a scale with its mirror image, (2, 3, H, W)."""
    size = (round(image.width * scale), round(image.height * scale))
    pixels = np.asarray(image.resize(size, Image.Resampling.BICUBIC), dtype=np.float64) / 255
    picture = (torch.from_numpy(pixels).permute(2, 0, 1) - MEAN) / STD
    return torch.stack([picture, picture.flip(-1)])


def published_cam(
    network: ToyNetwork, image: Image.Image, label: int, steps: int, scales: Sequence[float] = (0.5, 1.0, 1.5, 2.0)
) -> Tensor:
    """The authors' `cam` of one class: the multiplier of scale 0.5 leaks to the scales behind it."""
    grid = (math.ceil(image.height / 4), math.ceil(image.width / 4))
    total, multiplier = torch.zeros(grid, dtype=torch.float64), 1
    for scale in scales:
        count = steps
        if scale == 0.5:
            if steps > 10:
                count, multiplier = steps // 2, 2
            elif steps >= 6:
                count = 5
        maps = multiplier * published(network, pair_of(image, scale), label, count).maps.sum(dim=0)
        total += functional.interpolate(maps[None, None], size=grid, mode="bilinear", align_corners=False)[0, 0]
    return total / (total.max() + 1e-5)
