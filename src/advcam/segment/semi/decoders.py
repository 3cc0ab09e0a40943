"""The auxiliary decoder of CCT: a 1 x 1 convolution, then sub-pixel convolutions that each double the resolution."""

from math import log2

import torch
from torch import Tensor, nn


class AuxiliaryDecoder(nn.Module):
    """Logits of features, finer by a power of two (Ouali, Hudelot, Tami, CVPR 2020).

    The published decoder, which is that of the main network there: a 1 x 1 convolution to the classes, then for each
    doubling a sub-pixel convolution (Shi et al., CVPR 2016) with a ReLU, the last one too, so that logits are not
    negative. With `upscale` 1 there is no ReLU.

    Args:
        in_channels: Of the features.
        num_classes: C.
        upscale: How much finer the logits are than the features: 1, 2, 4, 8, ...
    """

    def __init__(self, in_channels: int, num_classes: int, upscale: int) -> None:
        super().__init__()
        classify = nn.Conv2d(in_channels, num_classes, kernel_size=1, bias=False)
        nn.init.kaiming_normal_(classify.weight, nonlinearity="relu")
        doublings = [SubPixelConvolution(num_classes) for _ in range(int(log2(upscale)))]
        self.layers = nn.Sequential(classify, *doublings)

    def forward(self, features: Tensor) -> Tensor:
        """Logits (N, C, upscale h, upscale w) of features (N, D, h, w)."""
        logits: Tensor = self.layers(features)
        return logits


class SubPixelConvolution(nn.Module):
    """Doubles the resolution: four values for each, made by a 1 x 1 convolution and laid out as 2 x 2 (Shi et al.).

    It starts as nearest enlargement of a 1 x 1 convolution (ICNR: Aitken et al., 2017), so that logits begin without
    a checkerboard. Deviation: the published code leaves PyTorch's random biases, which differ within the 2 x 2; here
    they start at 0.

    Args:
        channels: Of input and output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, 4 * channels, kernel_size=1)
        kernel = nn.init.kaiming_normal_(torch.empty(channels, channels, 1, 1))
        with torch.no_grad():
            self.convolution.weight.copy_(kernel.repeat_interleave(4, dim=0))
        nn.init.zeros_(self.convolution.bias)  # type: ignore[arg-type]

    def forward(self, features: Tensor) -> Tensor:
        """(N, D, 2h, 2w) of (N, D, h, w), not negative."""
        return nn.functional.pixel_shuffle(self.convolution(features).relu(), 2)
