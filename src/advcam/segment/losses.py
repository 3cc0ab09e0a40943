"""Losses of segmentation: cross-entropy over the pixels that are known, plain and balanced.

The loss of a picture is a mean over its own known pixels, 0 where it has none, and that of a batch a mean over ALL its
pictures. So a loss does not depend on how a batch is cut into passes. Deviation: PyTorch, and with it most published
code, takes one mean over the known pixels of the whole batch, in which a picture with few of them hardly counts.
"""

import torch
from torch import Tensor
from torch.nn import functional

from advcam.errors import SettingError
from advcam.types import IGNORE


def cross_entropy(logits: Tensor, masks: Tensor, weights: Tensor | None = None, bootstrap: float = 0.0) -> Tensor:
    """Mean of -log p of the labelled class over the known pixels.

    Args:
        logits: Scores before the softmax, (N, C, h, w); enlarged to the masks (bilinear, corners not aligned) and
            computed in float32.
        masks: 0 background, class number + 1, or 255 where nothing is known, (N, H, W), int64.
        weights: Factor of each picture's loss, (N,); None: 1. They are not divided by their sum.
        bootstrap: Share b of the target that is the network's own answer z = argmax p, in [0, 1]:
            -(1 - b) log p_label - b log p_z. This is hard bootstrapping (Reed et al., "Training Deep Neural Networks on
            Noisy Labels with Bootstrapping", ICLR workshop 2015, equation 7, with beta = 1 - b; they take 0.2). The
            choice of z has no gradient.

    Returns:
        Mean over all pictures, ().

    Raises:
        SettingError: Shapes that do not fit each other, or a bootstrap outside [0, 1].
    """
    losses, known = _pixel_losses(logits, masks, bootstrap)
    return _mean(_known_mean(losses, known), weights)


def balanced_cross_entropy(
    logits: Tensor, masks: Tensor, weights: Tensor | None = None, bootstrap: float = 0.0
) -> Tensor:
    """The mean over the background pixels plus the mean over the foreground pixels, of each picture.

    Balanced seeding loss of DSRG (Huang et al., "Weakly-Supervised Semantic Segmentation Network with Deep Seeded
    Region Growing", CVPR 2018, equation 1). A kind of pixel that a picture does not show adds 0.

    Args:
        logits: As `cross_entropy` takes them, (N, C, h, w).
        masks: (N, H, W), int64.
        weights: Factor of each picture's loss, (N,); None: 1.
        bootstrap: As in `cross_entropy`. A pixel is background or foreground by its label alone.

    Returns:
        Mean over all pictures, ().

    Raises:
        SettingError: Shapes that do not fit each other, or a bootstrap outside [0, 1].
    """
    losses, known = _pixel_losses(logits, masks, bootstrap)
    background = masks == 0
    return _mean(_known_mean(losses, known & background) + _known_mean(losses, known & ~background), weights)


def _pixel_losses(logits: Tensor, masks: Tensor, bootstrap: float) -> tuple[Tensor, Tensor]:
    """The loss of each pixel, 0 where it is not known, and whether it is known, (N, H, W) both."""
    _check(logits, masks, bootstrap)
    # Outside of autocast, which would take the enlarging back to half precision.
    with torch.autocast(logits.device.type, enabled=False):
        scores = logits.to(torch.promote_types(logits.dtype, torch.float32))
        if scores.shape[2:] != masks.shape[1:]:
            scores = functional.interpolate(scores, size=masks.shape[1:], mode="bilinear", align_corners=False)
        known = masks != IGNORE
        if not bootstrap:
            return functional.cross_entropy(scores, masks, ignore_index=IGNORE, reduction="none"), known
        log_probabilities = functional.log_softmax(scores, dim=1)
        labelled = functional.nll_loss(log_probabilities, masks, ignore_index=IGNORE, reduction="none")
        own = -log_probabilities.amax(dim=1)
        return torch.where(known, (1 - bootstrap) * labelled + bootstrap * own, 0), known


def _known_mean(losses: Tensor, chosen: Tensor) -> Tensor:
    """Mean of (N, H, W) over the chosen pixels of each picture, (N,); 0 where there are none."""
    sums = torch.where(chosen, losses, 0).sum(dim=(1, 2))
    return sums / chosen.sum(dim=(1, 2)).clamp(min=1)


def _mean(losses: Tensor, weights: Tensor | None) -> Tensor:
    """Mean over pictures, (N,) to ()."""
    return losses.mean() if weights is None else (losses * weights).mean()


def _check(logits: Tensor, masks: Tensor, bootstrap: float) -> None:
    if logits.ndim != 4 or masks.ndim != 3 or len(logits) != len(masks) or masks.dtype != torch.int64:
        raise SettingError(
            f"a loss takes logits (N, C, h, w) and masks (N, H, W) of int64; got {tuple(logits.shape)} and "
            f"{tuple(masks.shape)} of {masks.dtype}"
        )
    if not 0 <= bootstrap <= 1:
        raise SettingError(f"bootstrap is a share of the target, 0 to 1; got {bootstrap}")
