"""The losses of IRN: class boundaries and displacements, learnt from label masks with gaps.

Ahn, Cho, Kwak, CVPR 2019, as the published code computes them:

    L_B = ( ( mean_{P+bg} -log a + mean_{P+fg} -log a ) / 2 + mean_{P-} -log(1 - a) ) / 2
    L_D = ( mean_{P+fg} |D_i - D_j - (j - i)| + mean_{P+bg} |D_i - D_j| ) / 2
    a   = 1 - max_{k in path(i, j)} B_k

P+ are the pairs nearer than the radius whose labels are known and equal (fg: a class, bg: background), P- those whose
labels are known and differ. The means are over the whole batch, in L_D also over the two coordinates (y, x). 1e-5 is
added in logarithms and denominators, so a kind of pair that a batch does not have adds 0.

A batch that is computed in parts has the same loss if its pairs are counted first: see `PairCounts`. Means of each part
would be another loss: few pairs of a kind in one part would weigh as much as all pairs of that kind in another, and a
part without any would halve what the others learn of it.

Deviation: every pair on the grid counts. The published code leaves out those whose i is nearer than the radius to the
left, right or lower border, so that all offsets have equally many pairs.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from advcam.errors import SettingError
from advcam.refine.irn.pairs import PathMaxima, offsets_within, pair_views
from advcam.refine.irn.paths import Offset
from advcam.types import IGNORE

_EPSILON = 1e-5


class IRNLoss(NamedTuple):
    """The losses of a batch, scalars with gradient.

    Args:
        boundary: L_B.
        displacement: L_D.
        total: Their sum, which is minimised.
    """

    boundary: Tensor
    displacement: Tensor
    total: Tensor


class PairCounts(NamedTuple):
    """What the means of a part are divided by, so that the mean over the parts is the loss of the whole batch.

    Args:
        counts: Pairs in P+bg, P+fg and P- of the whole batch, (3,), as of `pair_counts`.
        share: Weight of this part in the mean over the parts: its share of the pictures, in (0, 1].
    """

    counts: Tensor
    share: float


def pair_counts(labels: Tensor, radius: int = 10) -> Tensor:
    """Pairs in P+bg, P+fg and P-, (3,), int64.

    Args:
        labels: As `irn_loss` takes them, (N, h, w).
        radius: Of the pairs, in cells.

    Raises:
        SettingError: The radius is below 2.
    """
    counts = labels.new_zeros(3, dtype=torch.int64)
    for offset in offsets_within(radius, *labels.shape[1:]):
        counts += _pair_masks(labels, offset).sum(dim=1)
    return counts


def irn_loss(
    edge_logits: Tensor, displacement: Tensor, labels: Tensor, radius: int = 10, whole: PairCounts | None = None
) -> IRNLoss:
    """L_B, L_D and their sum over all pairs of a batch.

    The terms of one offset are in memory at a time: they are computed again in the backward pass. Half precision is
    taken to float32.

    Args:
        edge_logits: B before the sigmoid, (N, 1, h, w).
        displacement: D, (y, x) in cells of the grid, (N, 2, h, w).
        labels: 0 background, class + 1, or 255 where nothing is known, (N, h, w), integers.
        radius: Of the pairs, in cells.
        whole: Of the batch that these pictures are a part of; None: they are all.

    Raises:
        SettingError: The shapes do not fit each other, or the radius is below 2.
    """
    _check(edge_logits, displacement, labels)
    dtype = torch.promote_types(edge_logits.dtype, torch.float32)
    maxima, displacement = PathMaxima(edge_logits.squeeze(1).to(dtype).sigmoid(), radius), displacement.to(dtype)
    sums = labels.new_zeros(3, 2, dtype=dtype)
    for offset in maxima.offsets:
        inputs = (maxima, displacement, labels, offset)
        sums = sums + checkpoint(_pair_sums, *inputs, use_reentrant=False, preserve_rng_state=False)
    counts, share = whole or PairCounts(pair_counts(labels, radius), 1.0)
    sums, counts = sums / share, counts.to(dtype)
    unlikely, distance = sums[:, 0] / (counts + _EPSILON), sums[:2, 1] / (2 * counts[:2] + _EPSILON)
    boundary_loss, displacement_loss = (unlikely[:2].mean() + unlikely[2]) / 2, distance.mean()
    return IRNLoss(boundary_loss, displacement_loss, boundary_loss + displacement_loss)


def _pair_masks(labels: Tensor, offset: Offset) -> Tensor:
    """Which of the P pairs of an offset are P+bg, P+fg and P-, (3, P), bool."""
    first, second = pair_views(labels, offset)
    known, equal = (first != IGNORE) & (second != IGNORE), first == second
    return torch.stack([equal & (first == 0), known & equal & (first != 0), known & ~equal]).flatten(1)


def _pair_sums(maxima: PathMaxima, displacement: Tensor, labels: Tensor, offset: Offset) -> Tensor:
    """Sums over P+bg, P+fg and P- of an offset, (3, 2): of -log of what should be 1, and of the distance in D."""
    masks = _pair_masks(labels, offset)
    highest = maxima.along(offset)
    wanted = torch.where(masks[2].view_as(highest), highest, 1 - highest)
    start, end = pair_views(displacement, offset)
    expected = masks[1].view_as(highest)[:, None] * displacement.new_tensor(offset).view(2, 1, 1)
    distance = (start - end - expected).abs().sum(dim=1)
    terms = torch.stack([-(wanted + _EPSILON).log(), distance], dim=-1)
    return masks.to(terms.dtype) @ terms.view(-1, 2)


def _check(edge_logits: Tensor, displacement: Tensor, labels: Tensor) -> None:
    if labels.ndim != 3 or labels.dtype.is_floating_point:
        raise SettingError(f"labels are (N, h, w) integers; got shape {tuple(labels.shape)} of {labels.dtype}")
    count, height, width = labels.shape
    for name, tensor, channels in (("edge_logits", edge_logits, 1), ("displacement", displacement, 2)):
        expected = (count, channels, height, width)
        if tensor.shape != expected:
            raise SettingError(
                f"labels {tuple(labels.shape)} want {name} of shape {expected}; got {tuple(tensor.shape)}; bring the "
                "labels to the grid of the network with grid_labels"
            )
