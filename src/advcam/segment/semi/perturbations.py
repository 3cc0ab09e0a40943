"""The perturbations of CCT: seven ways to damage features that a segmentation should survive.

Ouali, Hudelot, Tami, "Semi-Supervised Semantic Segmentation with Cross-Consistency Training", CVPR 2020, section 3.3.
Each function takes features z (N, D, h, w) of the encoder and gives perturbed ones of the same shape. Gradients reach
the features through all of them. What is random is drawn from PyTorch's global generator, for each picture by itself;
the published code draws F-Noise and the threshold of F-Drop once for a whole batch, the paper for one z.
"""

from collections.abc import Callable

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


def feature_noise(features: Tensor, extent: float) -> Tensor:
    """F-Noise: z + z N, with N uniform in [-extent, extent] and as large as z (section 3.3, feature-based)."""
    return features + features * (2 * torch.rand_like(features) - 1) * extent


def feature_drop(features: Tensor, lowest: float, highest: float) -> Tensor:
    """F-Drop: the most active places are set to 0 (section 3.3, feature-based).

    A place is kept where the sum of the magnitudes over its channels is less than γ times the largest sum of its
    picture, γ uniform in [lowest, highest]. The published code sums the features themselves, which are not negative
    there; those of an EfficientNet have both signs, and their sum says nothing of how active a place is.
    """
    activity = features.detach().abs().mean(dim=1, keepdim=True)
    threshold = lowest + (highest - lowest) * torch.rand_like(activity[:, :, :1, :1])
    return features * (activity < threshold * activity.amax(dim=(2, 3), keepdim=True))


def dropout(features: Tensor, rate: float) -> Tensor:
    """Spatial dropout: each channel is 0 with probability `rate`, else divided by 1 - rate (section 3.3, random)."""
    return functional.dropout2d(features, rate)


def mask_context(features: Tensor, foreground: Tensor) -> Tensor:
    """Con-Msk: only predicted objects are kept (section 3.3, prediction-based).

    Args:
        features: (N, D, h, w).
        foreground: (N, H, W) bool, where the main decoder sees an object; any resolution.
    """
    return features * _reduced(foreground, features)


def mask_objects(features: Tensor, foreground: Tensor) -> Tensor:
    """Obj-Msk: all but predicted objects is kept, the complement of `mask_context` (section 3.3, prediction-based)."""
    return features * ~_reduced(foreground, features)


def object_boxes(foreground: Tensor) -> Tensor:
    """Boxes of predicted objects, (M, 5): the number of the picture, left, top, right, bottom.

    An object is a connected component of the foreground, whatever its classes, diagonal neighbours included.
    Components inside holes of others count too, which the published code, by outer contours, leaves out.

    Args:
        foreground: (N, H, W) bool.

    Returns:
        float32 on the device of the foreground; sides are shares of the picture's, in [0, 1]. M is 0 where all is
        background.
    """
    height, width = foreground.shape[1:]
    found = []
    for number, mask in enumerate(foreground.cpu().numpy()):
        _, _, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
        left, top, across, down = statistics[1:, :4].T  # the first component is the background
        sides = (left / width, top / height, (left + across) / width, (top + down) / height)
        found.append(np.stack((np.full(len(left), number), *sides), axis=1))
    return torch.from_numpy(np.concatenate(found).astype(np.float32)).to(foreground.device)


def guided_cutout(features: Tensor, boxes: Tensor, share: float) -> Tensor:
    """G-Cutout: a random crop within the box of each object is set to 0 (section 3.3, prediction-based).

    The crop has `share` of the box's width and height. A place of the features is cut if its centre lies in the crop.
    Deviation: the published code passes over components with up to 50 points of contour; here the crops of small ones
    fall between the places of the features.

    Args:
        features: (N, D, h, w).
        boxes: (M, 5), as of `object_boxes`.
        share: In [0, 1].
    """
    number, corners, ends = boxes[:, 0].long(), boxes[:, 1:3], boxes[:, 3:]
    sides = share * (ends - corners)
    starts = corners + torch.rand_like(corners) * (ends - corners - sides)
    across, down = (
        _within(features.shape[axis], starts[:, column], sides[:, column]) for column, axis in ((0, 3), (1, 2))
    )
    crops = down[:, :, None] * across[:, None, :]
    cut = crops.new_zeros((len(features), *crops.shape[1:])).index_add_(0, number, crops)
    return features * (cut == 0)[:, None]


def virtual_adversarial(features: Tensor, decode: Callable[[Tensor], Tensor], inside: Tensor, radius: float) -> Tensor:
    """I-VAT: z + r, with r the direction in which the prediction changes most (section 3.3, prediction-based).

    r is one step of the power iteration of Miyato et al. (TPAMI 2018) from a random direction d: the gradient of the
    divergence KL(p(z) || p(z + ξ d)) with respect to d, scaled to the L2 norm `radius` over the whole picture.

    Deviation: the published ξ is 1e-6, which is lost to the rounding of float32: that gradient has nothing to do with
    the one in float64, and next to nothing of ε, as its length is divided by itself plus 1e-8. Here r is what the
    gradient tends to for small ξ, JᵀF J d, with J the Jacobian of the logits and F the Fisher information of the
    softmax, diag(p) - p pᵀ.

    Args:
        features: (N, D, h, w).
        decode: Logits (N, C, H, W) of features; the auxiliary decoder that r is meant for.
        inside: (N, H, W) bool, the pixels whose divergence counts.
        radius: L2 norm of r, ε of the paper.
    """
    with torch.enable_grad(), torch.autocast(features.device.type, enabled=False):
        inputs = features.detach().float().requires_grad_()
        logits = decode(inputs)
        probe = torch.zeros_like(logits, requires_grad=True)
        (pulled,) = torch.autograd.grad(logits, inputs, probe, create_graph=True)  # Jᵀ probe, which is linear in it
        start = _normalised(torch.rand_like(inputs) - 0.5)
        (change,) = torch.autograd.grad(pulled, probe, start, retain_graph=True)  # J d
        probabilities = logits.detach().softmax(dim=1)
        change = probabilities * (change - (probabilities * change).sum(dim=1, keepdim=True))  # F J d
        (direction,) = torch.autograd.grad(logits, inputs, inside[:, None] * change)
    return features + radius * _normalised(direction).to(features.dtype)


def _reduced(mask: Tensor, features: Tensor) -> Tensor:
    """A mask (N, H, W) bool at the resolution of the features, (N, 1, h, w) bool, nearest."""
    return functional.interpolate(mask[:, None].float(), features.shape[-2:], mode="nearest-exact") > 0


def _within(length: int, start: Tensor, size: Tensor) -> Tensor:
    """Whether the centres of `length` places in [0, 1] lie in [start, start + size), (M, length), 0 or 1."""
    centres = (torch.arange(length, device=start.device) + 0.5) / length
    return ((centres >= start[:, None]) & (centres < (start + size)[:, None])).float()


def _normalised(direction: Tensor) -> Tensor:
    """With L2 norm 1 over each picture; 0 stays 0."""
    largest = direction.abs().amax(dim=(1, 2, 3), keepdim=True)  # squares of small numbers would be 0
    tiny = torch.finfo(direction.dtype).tiny
    direction = direction / largest.clamp_min(tiny)
    length: Tensor = torch.linalg.vector_norm(direction, dim=(1, 2, 3), keepdim=True)
    return direction / length.clamp_min(tiny)
