"""A segmentation network in the form that torch.export traces once for pictures of every size."""

import copy

import torch
from timm.layers.conv2d_same import Conv2dSame
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.nn import functional

from advcam.errors import ModelError, one_line
from advcam.segment.network import SegmentationNetwork

INPUT, OUTPUT = "pictures", "probabilities"
#: Pictures that are traced, and their (H, W): odd and unequal, so that nothing is equal or a multiple by chance.
_TRACED_COUNT, _TRACED_SIZE = 2, (97, 129)
#: Below it torch.export asks whether features of one pixel broadcast. What it traces holds for smaller pictures too.
_LEAST_SIDE = 64


class PictureNetwork(nn.Module):
    """A network from pictures to probabilities, with all that lies between: normalisation, padding, enlarging.

    Args:
        network: On any device; copied to the CPU, in float32.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: SegmentationNetwork) -> None:
        super().__init__()
        self.network = _traceable(network)
        mean, std = network.normalisation.mean, network.normalisation.std
        self.register_buffer("mean", torch.tensor(list(mean), dtype=torch.float32).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(list(std), dtype=torch.float32).view(1, 3, 1, 1))

    def forward(self, pictures: Tensor) -> Tensor:
        """Probabilities (N, C, H, W) of RGB pictures (N, 3, H, W) in [0, 1].

        `SegmentationNetwork.forward` pads if a side is no multiple; a graph has no such choice and always pads by what
        is missing, be it nothing.
        """
        height, width = pictures.shape[-2:]
        multiple = self.network.multiple
        whole = (_next_multiple(height, multiple), _next_multiple(width, multiple))
        inputs = (pictures - self.mean) / self.std
        if multiple > 1:
            inputs = _cut(functional.pad(inputs, (0, multiple - 1, 0, multiple - 1)), *whole)
        scores = self.network.decode(self.network.encode(inputs))
        full = functional.interpolate(scores, size=whole, mode="bilinear", align_corners=False)
        return _cut(full, height, width).softmax(dim=1) if multiple > 1 else full.softmax(dim=1)


class PaddedConv2d(nn.Conv2d):
    """timm's Conv2dSame, TensorFlow's padding, in arithmetic that stays short when it is traced.

    TensorFlow pads i pixels by span - (i - 1) mod stride, half of it (rounded down) in front, where the span is the
    kernel's length less one. Here the sum is always the span: the zeros more at the end are met by no step of the
    kernel.
    """

    def forward(self, inputs: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', ceil(H / stride), ceil(W / stride))."""
        pads: list[int] = []
        for axis in (1, 0):  # the last axis comes first
            span = (self.kernel_size[axis] - 1) * self.dilation[axis]
            missing = span - (inputs.shape[2 + axis] - 1) % self.stride[axis]
            before = (missing if self.stride[axis] <= span + 1 else max(0, missing)) // 2
            pads += [before, span - before]
        padded = functional.pad(inputs, pads)
        return functional.conv2d(padded, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


def trace(network: SegmentationNetwork, size: tuple[int, int] | None = None) -> ExportedProgram:
    """Trace a network: `pictures` (N, 3, H, W) to `probabilities` (N, C, H, W), with any N.

    Args:
        network: It is copied.
        size: (H, W) of the only pictures that the program takes; None: any.

    Raises:
        ModelError: torch.export does not get through.
    """
    module = PictureNetwork(network).eval()
    free = {0: Dim("batch")}
    if size is None:
        free |= {2: Dim("height", min=_LEAST_SIDE), 3: Dim("width", min=_LEAST_SIDE)}
    shape = (_TRACED_COUNT, 3, *(size or _TRACED_SIZE))
    pictures = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad():
            return torch.export.export(module, (pictures,), dynamic_shapes={INPUT: free}, strict=False)
    except (RuntimeError, ValueError, TypeError, AttributeError, AssertionError, LookupError) as error:
        raise ModelError(f"torch.export does not get through {type(network).__name__}: {one_line(error)}") from error


def _traceable(network: SegmentationNetwork) -> SegmentationNetwork:
    """A copy whose layers are those that torch.export gets through quickly; its answers stay the same."""
    copied = copy.deepcopy(network).to(device="cpu", dtype=torch.float32)
    copied = copied.to(memory_format=torch.contiguous_format)
    for layer in copied.modules():
        if isinstance(layer, Conv2dSame):
            layer.__class__ = PaddedConv2d  # type: ignore[assignment]  # the same parameters, another forward
        if getattr(layer, "inplace", False) is True:
            layer.inplace = False  # type: ignore[assignment]
    copied.eval().requires_grad_(False)
    return copied


def _cut(values: Tensor, height: int, width: int) -> Tensor:
    """The upper left part; a slice would have torch.export ask whether the part is smaller than the whole."""
    return values.index_select(-2, torch.arange(height)).index_select(-1, torch.arange(width))


def _next_multiple(side: int, multiple: int) -> int:
    return side if multiple == 1 else (side + multiple - 1) // multiple * multiple
