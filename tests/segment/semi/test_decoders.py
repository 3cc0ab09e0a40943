import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from advcam.segment.semi.decoders import AuxiliaryDecoder, SubPixelConvolution

Array = NDArray[np.float64]


def literal_sub_pixel(x: Array, weight: Array, bias: Array) -> Array:
    """By the definition of Shi et al.: value 2i + j of class c at (y, x) goes to row 2y + i, column 2x + j."""
    channels, height, width = x.shape
    out = np.zeros((channels, 2 * height, 2 * width))
    for c in range(channels):
        for row in range(2 * height):
            for column in range(2 * width):
                k = 4 * c + 2 * (row % 2) + column % 2
                value = bias[k] + sum(weight[k, d] * x[d, row // 2, column // 2] for d in range(channels))
                out[c, row, column] = max(0.0, value)
    return out


def test_sub_pixel_convolution_is_the_literal_one() -> None:
    torch.manual_seed(0)
    layer = SubPixelConvolution(3)
    nn.init.normal_(layer.convolution.weight)
    nn.init.normal_(layer.convolution.bias)
    x = torch.randn(2, 3, 4, 5)
    weight, bias = (p.detach().double().numpy() for p in (layer.convolution.weight, layer.convolution.bias))
    for got, one in zip(layer(x).detach(), x, strict=True):
        np.testing.assert_allclose(got, literal_sub_pixel(one.double().numpy(), weight[:, :, 0, 0], bias), atol=1e-5)


@pytest.mark.parametrize("upscale", [1, 2, 4, 8])
def test_size_of_the_logits(upscale: int) -> None:
    assert AuxiliaryDecoder(7, 5, upscale)(torch.randn(2, 7, 3, 4)).shape == (2, 5, 3 * upscale, 4 * upscale)


def test_it_begins_without_a_checkerboard() -> None:
    torch.manual_seed(1)
    logits = AuxiliaryDecoder(6, 4, 4)(torch.randn(2, 6, 3, 3))
    first = logits[..., ::4, ::4]
    torch.testing.assert_close(logits, first.repeat_interleave(4, dim=-1).repeat_interleave(4, dim=-2))
    assert first.std() > 0


def test_without_enlarging_it_is_a_linear_map() -> None:
    decoder, x, y = AuxiliaryDecoder(6, 4, 1), torch.randn(1, 6, 2, 2), torch.randn(1, 6, 2, 2)
    torch.testing.assert_close(decoder(x - 2 * y), decoder(x) - 2 * decoder(y))
    assert (decoder(x) < 0).any()
