"""The published loop, transcribed: what every figure of `climb.py` is compared with.

One (picture, class, scale) at a time, float32, as obtain_CAM_masking.py of jbeomlee93/AdvCAM computes it: a forward
pass, a backward pass through the whole network for Grad-CAM (gradients of the parameters included, since nothing is
frozen), a second one for the picture. The network keeps its batch normalisations and the layout it was made with.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from advcam.classifiers.classifier import IMAGENET_MEAN, IMAGENET_STD

STEP, PENALTY, THRESHOLD = 0.08, 7.0, 0.5


class PublishedLoop:
    """The loop on a GAP + linear network.

    Args:
        module: Returns class scores (B, K).
        layer: The feature layer, (B, F, h, w).
        head: Its linear head.
        device: Where the module lies.
    """

    def __init__(self, module: nn.Module, layer: nn.Module, head: nn.Linear, device: torch.device) -> None:
        self.module, self.head, self.device = module, head, device
        self.features: Tensor = torch.empty(0)
        self.gradient: Tensor = torch.empty(0)
        layer.register_forward_hook(self._keep)

    def _keep(self, _layer: nn.Module, _inputs: object, output: Tensor) -> None:
        self.features = output
        if output.requires_grad:
            output.register_hook(self._keep_gradient)  # type: ignore[no-untyped-call]

    def _keep_gradient(self, gradient: Tensor) -> None:
        self.gradient = gradient

    def __call__(
        self, picture: Image.Image, classes: Sequence[int], scales: Sequence[float], iterations: int
    ) -> NDArray[np.float32]:
        """Maps of the classes, (C, ceil(H/4), ceil(W/4)), divided by their maxima."""
        grid = (-(-picture.height // 4), -(-picture.width // 4))
        found = []
        for label in classes:
            total = torch.zeros(grid)
            for scale in scales:
                maps = self._climb(self._pair(picture, scale), label, iterations)
                total += functional.interpolate(maps[None, None], size=grid, mode="bilinear")[0, 0].cpu()
            found.append((total / (total.max() + 1e-5)).numpy())
        return np.stack(found)

    def _pair(self, picture: Image.Image, scale: float) -> Tensor:
        size = (round(picture.width * scale), round(picture.height * scale))
        pixels = np.asarray(picture.resize(size, Image.Resampling.BICUBIC), dtype=np.float32) / 255
        mean, std = (np.array(values, dtype=np.float32) for values in (IMAGENET_MEAN, IMAGENET_STD))
        view = torch.from_numpy((pixels - mean) / std).permute(2, 0, 1)
        return torch.stack([view, view.flip(-1)]).to(self.device)

    def _climb(self, pair: Tensor, label: int, iterations: int) -> Tensor:
        total, first = torch.zeros(()), torch.zeros(())
        for t in range(iterations):
            pair = pair.detach().requires_grad_()
            self.module(pair)
            scores = functional.conv2d(self.features, self.head.weight[:, :, None, None]).relu()
            self.module.zero_grad()
            scores[:, label].sum().backward(retain_graph=True)  # type: ignore[no-untyped-call]
            alpha = self.gradient.sum(dim=(2, 3), keepdim=True) / (self.gradient > 0).sum().clamp(min=1)
            cam = (alpha.detach() * self.features).sum(dim=1).relu()
            joint = cam[0] + cam[1].flip(-1)
            if t == 0:
                first = joint.detach()
                total = torch.zeros_like(first)
            total = total + joint.detach()
            means = scores.mean(dim=(2, 3)).sum(dim=0)
            mask = (joint / joint.max().clamp(min=1e-12) > THRESHOLD).detach()
            objective = 2 * means[label] - means.sum() - PENALTY * (mask * (joint - first).abs()).sum()
            self.module.zero_grad()
            pair.grad = None
            objective.backward()  # type: ignore[no-untyped-call]
            assert pair.grad is not None
            moved = pair + STEP * pair.grad / (pair.grad.abs().max() + 1e-12)
            lowest, highest = pair.detach().min().item(), pair.detach().max().item()
            pair = torch.clamp(moved, min=lowest, max=highest)
        return total
