"""The network of IRN: two small branches on a frozen classifier, one for class boundaries, one for displacements.

Ahn, Cho, Kwak, CVPR 2019. Each branch sees five stage features of the classifier, detached. Each feature goes through a
1x1 convolution, group normalisation, bilinear enlargement where it is coarse, and ReLU. Edges: 32 channels of each at
stride 4, joined (160) to one logit. Displacement: 64, 128, 256, 256 and 256 channels, the last three joined at stride 8
(768) to 256, these joined at stride 4 with the first two (448) to 256, and to (y, x).

Deviations of the published code: any network of timm with stages of stride 2, 4, 8 and two more may be the classifier,
not a ResNet-50 alone. The first stage is brought to stride 4 by a max pooling, which in a ResNet is its own. Pictures
are padded (zeros, the mean colour) to a multiple of the coarsest stride, where AdvCAM pads to 512 x 512: any size goes.
"""

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from advcam.errors import ModelError
from advcam.refine.irn.walk import GRID_STRIDE

_STAGES = 5
_EDGE_CHANNELS = 32
_DISPLACEMENT_CHANNELS = (64, 128, 256, 256, 256)


class IRNetwork(nn.Module):
    """Edge and displacement branches on a classifier, which is borrowed: not trained, not saved, always in evaluation.

    `parameters()` and `state_dict()` hold the branches (and the mean displacement) alone, which is enough to load them
    onto the same classifier again. Moving the network (`to`) moves the classifier too.

    Args:
        backbone: A timm network; it is run in evaluation mode, with its stored statistics, and left in it.

    Raises:
        ModelError: The network does not offer features of five stages.
    """

    mean_displacement: Tensor

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        channels, self._indices, self._multiple = _stages(backbone)
        # In a tuple nn.Module does not see it: no parameter, no entry of the state_dict, nothing to synchronise.
        self._borrowed = (backbone,)
        self.edges = _EdgeBranch(channels)
        self.displacements = _DisplacementBranch(channels)
        self.register_buffer("mean_displacement", torch.zeros(2))
        self.to(next(backbone.parameters()).device)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Edges and displacements of a batch; in evaluation without the mean displacement.

        Args:
            inputs: Normalised pictures, (N, 3, H, W).

        Returns:
            Edge logits (N, 1, h, w) and displacements (N, 2, h, w), (y, x) in cells, with h = H / 4 rounded up.
        """
        edges, displacement = self._answer(self._padded(inputs))
        if not self.training:
            displacement = displacement - self.mean_displacement.view(2, 1, 1)
        return self._cropped(edges, inputs), self._cropped(displacement, inputs)

    @torch.no_grad()
    def infer(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """As `forward` in evaluation, but edge logits are means over each picture and its mirror image.

        The mirror image is that of the padded picture, so its grid is the same; displacements are the picture's own.
        """
        padded = self._padded(inputs)
        edges, displacement = self._answer(torch.cat([padded, padded.flip(-1)]))
        first, second = edges.chunk(2)
        displacement = displacement[: len(inputs)] - self.mean_displacement.view(2, 1, 1)
        return self._cropped((first + second.flip(-1)) / 2, inputs), self._cropped(displacement, inputs)

    @torch.no_grad()
    def measure_mean_displacement(self, pictures: Iterable[Tensor]) -> None:
        """Set the mean displacement that evaluation subtracts, once after training: a constant that L_D cannot see.

        The mean is over the grid of each picture, then over the pictures. Deviation: the pictures are whole, as they
        are evaluated, where the published code takes their upper left 512 x 512 with what it pads.

        Args:
            pictures: Batches of normalised pictures (N, 3, H, W), of any sizes.

        Raises:
            ModelError: There is no picture.
        """
        means = [self._cropped(self._answer(self._padded(batch))[1], batch).mean(dim=(2, 3)) for batch in pictures]
        if not means:
            raise ModelError("the mean displacement is measured on pictures; got none; give those of the training")
        self.mean_displacement.copy_(torch.cat(means).mean(dim=0))

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """Groups for an optimiser: the edge branch, and the displacement branch at 10 times the learning rate."""
        return [
            {"params": list(self.edges.parameters()), "lr": learning_rate},
            {"params": list(self.displacements.parameters()), "lr": 10 * learning_rate},
        ]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Behind `to`, `cuda` and the like."""
        self._borrowed[0]._apply(fn, recurse)  # type: ignore[no-untyped-call]
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def _answer(self, padded: Tensor) -> tuple[Tensor, Tensor]:
        """Edges and displacements of padded pictures, at stride 4."""
        backbone: Any = self._borrowed[0].eval()
        with torch.no_grad():
            inputs = padded.contiguous(memory_format=torch.channels_last)
            features = backbone.forward_intermediates(inputs, indices=self._indices, intermediates_only=True)
            features[0] = functional.max_pool2d(features[0], kernel_size=3, stride=2, padding=1)
        height, width = padded.shape[-2:]
        sizes = [(height // stride, width // stride) for stride in (GRID_STRIDE, 2 * GRID_STRIDE)]
        return self.edges(features, sizes[0]), self.displacements(features, *sizes)

    def _padded(self, inputs: Tensor) -> Tensor:
        right, bottom = -inputs.shape[-1] % self._multiple, -inputs.shape[-2] % self._multiple
        return functional.pad(inputs, (0, right, 0, bottom))

    def _cropped(self, grid: Tensor, inputs: Tensor) -> Tensor:
        height, width = (-(-side // GRID_STRIDE) for side in inputs.shape[-2:])
        return grid[..., :height, :width]


class _Projection(nn.Module):
    """1x1 convolution, group normalisation, enlargement to a size, ReLU."""

    def __init__(self, channels: int, outputs: int, groups: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, outputs, kernel_size=1, bias=False)
        self.normalisation = nn.GroupNorm(groups, outputs)

    def forward(self, feature: Tensor, size: tuple[int, int]) -> Tensor:
        projected = self.normalisation(self.convolution(feature))
        if projected.shape[-2:] != size:
            projected = functional.interpolate(projected, size=size, mode="bilinear", align_corners=False)
        return functional.relu(projected)


class _EdgeBranch(nn.Module):
    """Five features to one logit of a class boundary."""

    def __init__(self, channels: list[int]) -> None:
        super().__init__()
        self.stages = nn.ModuleList(_Projection(count, _EDGE_CHANNELS, groups=4) for count in channels)
        self.logit = nn.Conv2d(_STAGES * _EDGE_CHANNELS, 1, kernel_size=1)

    def forward(self, features: list[Tensor], size: tuple[int, int]) -> Tensor:
        projected = [stage(feature, size) for stage, feature in zip(self.stages, features, strict=True)]
        logits: Tensor = self.logit(torch.cat(projected, dim=1))
        return logits


class _DisplacementBranch(nn.Module):
    """Five features to the displacement (y, x) towards the centre of an object."""

    def __init__(self, channels: list[int]) -> None:
        super().__init__()
        outputs = _DISPLACEMENT_CHANNELS
        self.stages = nn.ModuleList(
            _Projection(count, output, groups=8 if index == 0 else 16)
            for index, (count, output) in enumerate(zip(channels, outputs, strict=True))
        )
        self.coarse = _Projection(sum(outputs[2:]), 256, groups=16)
        self.fine = _Projection(sum(outputs[:2]) + 256, 256, groups=16)
        self.vector = nn.Conv2d(256, 2, kernel_size=1, bias=False)

    def forward(self, features: list[Tensor], size: tuple[int, int], coarse_size: tuple[int, int]) -> Tensor:
        sizes = (size, size, coarse_size, coarse_size, coarse_size)
        projected = [stage(feature, s) for stage, feature, s in zip(self.stages, features, sizes, strict=True)]
        coarse = self.coarse(torch.cat(projected[2:], dim=1), size)
        vectors: Tensor = self.vector(self.fine(torch.cat([*projected[:2], coarse], dim=1), size))
        return vectors


def _stages(backbone: nn.Module) -> tuple[list[int], list[int], int]:
    """Of the last five features of a timm network: channels, their numbers, and the coarsest stride."""
    info = getattr(backbone, "feature_info", None)
    name = type(backbone).__name__
    advice = "take a convolutional network of timm, such as resnet50 with output_stride=16, or lite0"
    if info is None or not hasattr(backbone, "forward_intermediates"):
        raise ModelError(f"IRN stands on features of five stages; {name} offers none (timm: feature_info); {advice}")
    stages = [dict(stage) for stage in (info if isinstance(info, list) else info.get_dicts())]
    strides = [int(stage["reduction"]) for stage in stages][-_STAGES:]
    rising = all(first <= second for first, second in pairwise(strides))
    if strides[:3] != [2, 4, 8] or len(strides) != _STAGES or not rising:
        raise ModelError(
            f"IRN stands on stages of stride 2, 4, 8 and two more; those of {name} are {strides}; {advice}"
        )
    numbers = list(range(len(stages) - _STAGES, len(stages)))
    return [int(stages[number]["num_chs"]) for number in numbers], numbers, strides[-1]
