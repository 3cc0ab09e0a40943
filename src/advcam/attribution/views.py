"""From pictures to what a network sees: the working size, the size at a scale, and pixels, made ready ahead."""

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from advcam.errors import PictureError

Picture = Image.Image | NDArray[np.uint8]

#: A picture is never scaled below this side, so that its class map keeps a few positions.
MIN_SIDE = 32
#: Threads that resize pictures beside the network: enough for a GPU, none that a laptop would notice.
RESIZERS = min(4, os.cpu_count() or 1)


def working_size(size: tuple[int, int], max_side: int) -> tuple[int, int]:
    """(width, height) after shrinking a picture so that its longer side is at most `max_side` (0: no limit)."""
    if not max_side or max(size) <= max_side:
        return size
    factor = max_side / max(size)
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def input_size(working: tuple[int, int], scale: float, unit: int) -> tuple[int, int]:
    """(width, height) at a scale, each a multiple of `unit` and at least `MIN_SIDE`."""
    least = -(-MIN_SIDE // unit) * unit
    width, height = (max(least, round(side * scale / unit) * unit) for side in working)
    return width, height


def pixels(image: Image.Image, size: tuple[int, int]) -> Tensor:
    """A picture at a size, (3, H, W), uint8, on the CPU: a quarter of the bytes that a device would be sent else."""
    resized = image if image.size == size else image.resize(size, Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(resized)).permute(2, 0, 1)


def as_image(picture: Picture) -> Image.Image:
    """A picture as an RGB image.

    Raises:
        PictureError: Neither a PIL image nor a uint8 array (H, W, 3) or (H, W).
    """
    if isinstance(picture, Image.Image):
        return picture.convert("RGB")
    if isinstance(picture, np.ndarray) and picture.dtype == np.uint8 and _is_rgb_or_grey(picture.shape):
        return Image.fromarray(picture).convert("RGB")
    shape = getattr(picture, "shape", None)
    kind = type(picture).__name__ + (f" of {getattr(picture, 'dtype', '')} {tuple(shape)}" if shape is not None else "")
    raise PictureError(f"a picture is a PIL image or a uint8 array (H, W, 3) or (H, W); got {kind}")


def as_images(pictures: Sequence[Picture]) -> list[Image.Image]:
    """Pictures as RGB images.

    Raises:
        PictureError: One picture instead of several, or one of another kind.
    """
    if isinstance(pictures, Image.Image) or (isinstance(pictures, np.ndarray) and _is_rgb_or_grey(pictures.shape)):
        raise PictureError(
            "pictures are a list, with a list of classes for each, as in attribute([picture], [['cat']])"
        )
    return [as_image(picture) for picture in pictures]


class Ahead:
    """Pictures at one scale, resized by other threads while the network is busy with those before.

    Args:
        pool: The threads.
        images: The pictures.
        sizes: (width, height) of each.
    """

    def __init__(self, pool: ThreadPoolExecutor, images: Sequence[Image.Image], sizes: list[tuple[int, int]]) -> None:
        self.pool = pool
        self.images = images
        self.sizes = sizes
        self.order: list[int] = []
        self.ready: dict[int, Future[Tensor]] = {}

    def expect(self, order: Iterable[int]) -> None:
        """These will be asked for, in this order."""
        self.order = list(dict.fromkeys(order))
        self.ready = {}

    def get(self, wanted: Sequence[int]) -> Tensor:
        """Pictures of one size, (P, 3, H, W), uint8; as many again are begun, all others are forgotten."""
        start = self.order.index(wanted[0])
        near = self.order[start : start + 2 * len(wanted)]
        self.ready = {i: self.ready.get(i) or self._begin(i) for i in near}
        return torch.stack([self.ready[i].result() for i in wanted])

    def _begin(self, i: int) -> "Future[Tensor]":
        return self.pool.submit(pixels, self.images[i], self.sizes[i])


def _is_rgb_or_grey(shape: tuple[int, ...]) -> bool:
    return len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)
