"""Class-wise instance masks of IRN: displacements tell objects apart, the random walk gives them their shape.

Ahn, Cho, Kwak, CVPR 2019. Each position follows the displacements to their end. Connected positions with a short
displacement are the centre of an object, and all positions that end there are its group. The maps of the classes,
restricted to one group at a time, walk by themselves and compete for the pixels.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from advcam.errors import SettingError
from advcam.refine.irn.walk import boundary_of, enlarge, random_walk, start_maps, to_grid
from advcam.types import Instance, check_threshold

#: Displacements shorter than it, in cells, belong to a centre.
_CENTRE = 2.5
#: Parts of a mask smaller than this share of the picture score 0.
_FRAGMENT = 0.01
#: Maps that walk at once.
_BATCH = 16


@torch.no_grad()
def instance_masks(
    maps: Tensor,
    class_ids: Sequence[int],
    edge_logits: Tensor,
    displacement: Tensor,
    image_size: tuple[int, int],
    *,
    background: float = 0.25,
    power: float = 1.0,
    radius: int = 5,
    beta: float = 10.0,
    steps: int = 256,
) -> list[Instance]:
    """The objects of each class of a picture.

    Args:
        maps: Class activation maps, each with maximum 1, (C, h', w').
        class_ids: The C classes, counted from 0.
        edge_logits: B before the sigmoid, (h, w) or (1, h, w): a quarter of the picture, rounded up.
        displacement: (2, h, w), (y, x) in cells, the mean displacement subtracted.
        image_size: (H, W) of the picture.
        background: A pixel belongs to an object above it, 0 to 1; values are relative to the highest of the picture.
        power: Of the maps before the walk; IRN's, which AdvCAM changed for semantic masks only.
        radius: Of the walk, in cells.
        beta: Exponent of the affinities.
        steps: Of the walk.

    Returns:
        Connected objects, the highest score first: the highest refined value of an object. Parts below 1 % of the
        picture are there, with score 0.

    Raises:
        SettingError: The shapes do not fit, or a setting is out of its range.
        ModelError: The edge logits hold NaN or infinity.
    """
    check_threshold(background)
    boundary = boundary_of(edge_logits, image_size)
    if len(class_ids) != len(maps) or displacement.shape != (2, *boundary.shape):
        raise SettingError(
            f"instances want a map for each class and displacements {(2, *boundary.shape)}; got {len(maps)} maps for "
            f"{len(class_ids)} classes and displacements {tuple(displacement.shape)}"
        )
    groups = torch.from_numpy(centre_groups(displacement)).to(boundary.device)
    members = torch.stack([groups == group for group in range(int(groups.max()) + 1)])
    starts = (start_maps(to_grid(maps, boundary), boundary, power)[:, None] * members).flatten(0, 1)
    # A class that nothing speaks for in a group walks to zero: left out.
    alive = [index for index, start in enumerate(starts) if start.any()]
    best, winner = boundary.new_zeros(image_size), torch.full(image_size, -1, device=boundary.device)
    for first in range(0, len(alive), _BATCH):
        batch = alive[first : first + _BATCH]
        for index, walked in zip(batch, random_walk(starts[batch], boundary, radius, beta, steps), strict=True):
            value = enlarge(walked[None], image_size)[0]
            winner, best = torch.where(value > best, index, winner), torch.maximum(value, best)
    values = (best / best.max().clamp(min=torch.finfo(best.dtype).tiny)).cpu().numpy()
    owner = np.where(values > background, winner.cpu().numpy(), -1)
    found = [part for i in alive for part in _parts(class_ids[i // len(members)], owner == i, values)]
    return sorted(found, key=lambda part: -part.score)


def follow(displacement: Tensor, steps: int = 300) -> Tensor:
    """Where each position ends if it follows the displacements, p <- p + D(p), bilinear between the positions.

    Args:
        displacement: D, (2, h, w), (y, x) in cells.
        steps: How often; the paper names 100 or more.

    Returns:
        (2, h, w), (y, x), float64, inside the grid.
    """
    field = displacement.cpu().double()
    height, width = field.shape[1:]
    sizes = field.new_tensor((height, width)).view(2, 1, 1)
    axes = torch.arange(height, dtype=field.dtype), torch.arange(width, dtype=field.dtype)
    place = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    for _ in range(steps):
        # grid_sample wants (x, y), with -1 and 1 at the outer borders of the outer cells.
        where = ((2 * place + 1) / sizes - 1).flip(0).movedim(0, -1)[None]
        moved = functional.grid_sample(field[None], where, padding_mode="border", align_corners=False)[0]
        place = (place + moved).clamp(min=0).minimum(sizes - 1)
    return place


def centre_groups(displacement: Tensor) -> NDArray[np.int64]:
    """Number of the object that each position points to, (h, w), from 0 on.

    Positions that end at no centre are one more group, as in the published code.

    Args:
        displacement: (2, h, w), (y, x) in cells.
    """
    short = displacement.cpu().double().norm(dim=0).numpy() < _CENTRE
    _, centres = cv2.connectedComponents(short.astype(np.uint8), connectivity=4)
    rows, columns = follow(displacement).round().long().numpy()
    _, groups = np.unique(centres[rows, columns], return_inverse=True)
    return groups.reshape(short.shape).astype(np.int64)


def _parts(class_id: int, mask: NDArray[np.bool_], values: NDArray[np.floating]) -> list[Instance]:
    """The connected parts of a mask (4 neighbours), each an object of its own."""
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    parts = [labels == label for label in range(1, count)]
    whole = [part.sum() >= _FRAGMENT * mask.size for part in parts]
    return [
        Instance(class_id, part, float(values[part].max()) if large else 0.0)
        for part, large in zip(parts, whole, strict=True)
    ]
