"""Scenes of coloured shapes on a textured ground: pictures whose masks and boxes are known exactly.

Each class has a colour and a shape of its own, so that a small network can learn it. Objects may overlap: the later one
covers the earlier one, and an instance mask holds what is visible.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from advcam.colours import voc_palette
from advcam.types import Box, Mask

_SHAPES = ("ellipse", "rectangle", "triangle", "ring")


@dataclass(frozen=True, eq=False)
class Instance:
    """One visible object: its class, counted from 0, and its visible pixels, (H, W) bool."""

    class_id: int
    pixels: NDArray[np.bool_]

    @property
    def box(self) -> Box:
        """The tight box of its visible pixels."""
        rows, columns = np.flatnonzero(self.pixels.any(axis=1)), np.flatnonzero(self.pixels.any(axis=0))
        return Box(self.class_id, int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1, 1.0)


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture and its visible objects, in the order they were drawn."""

    picture: Image.Image
    instances: tuple[Instance, ...]

    @property
    def label_mask(self) -> Mask:
        """(H, W): 0 background, class number + 1."""
        mask = np.zeros((self.picture.height, self.picture.width), dtype=np.int32)
        for instance in self.instances:
            mask[instance.pixels] = instance.class_id + 1
        return mask

    @property
    def class_ids(self) -> tuple[int, ...]:
        """The classes that are visible, ascending."""
        return tuple(sorted({instance.class_id for instance in self.instances}))


def draw_scene(seed: int, class_ids: tuple[int, ...], size: tuple[int, int] = (96, 80)) -> Scene:
    """Draw one object for each class id given (repeat an id for several objects of a class).

    Args:
        seed: Decides everything else.
        class_ids: Classes to draw, in order; an object hidden by later ones is left out of the instances.
        size: (width, height) of the picture.
    """
    random = np.random.default_rng(seed)
    width, height = size
    canvas = _ground(random, width, height)
    owner = np.full((height, width), -1, dtype=np.int32)
    for number, class_id in enumerate(class_ids):
        stencil = _stencil(random, class_id, width, height)
        owner[stencil] = number
        canvas[stencil] = _colour(class_id) + random.normal(0, 8, (int(stencil.sum()), 3))
    visible = [Instance(class_id, owner == number) for number, class_id in enumerate(class_ids)]
    picture = Image.fromarray(np.clip(canvas, 0, 255).astype(np.uint8))
    return Scene(picture, tuple(instance for instance in visible if instance.pixels.any()))


def _ground(random: np.random.Generator, width: int, height: int) -> NDArray[np.float64]:
    """Smooth grey noise, (H, W, 3)."""
    coarse = random.uniform(70, 150, (6, 6, 1)) + random.normal(0, 6, (6, 6, 3))
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.float64)


def _colour(class_id: int) -> NDArray[np.float64]:
    """A bright colour of the class, (3,)."""
    return np.asarray(voc_palette()[1 + class_id % 20] * 0.6 + 90, dtype=np.float64)


def _stencil(random: np.random.Generator, class_id: int, width: int, height: int) -> NDArray[np.bool_]:
    """Where the shape of a class lies, (H, W)."""
    reach_x, reach_y = (int(side * random.uniform(0.14, 0.26)) for side in (width, height))
    x = int(random.integers(reach_x + 1, width - reach_x - 1))
    y = int(random.integers(reach_y + 1, height - reach_y - 1))
    stencil = np.zeros((height, width), dtype=np.uint8)
    shape = _SHAPES[class_id % len(_SHAPES)]
    if shape == "rectangle":
        cv2.rectangle(stencil, (x - reach_x, y - reach_y), (x + reach_x, y + reach_y), 1, -1)
    elif shape == "triangle":
        corners = np.array([[x, y - reach_y], [x - reach_x, y + reach_y], [x + reach_x, y + reach_y]])
        cv2.fillPoly(stencil, [corners], 1)
    else:
        cv2.ellipse(stencil, (x, y), (reach_x, reach_y), 0, 0, 360, 1, -1)
    if shape == "ring":
        cv2.ellipse(stencil, (x, y), (max(1, reach_x // 3), max(1, reach_y // 3)), 0, 0, 360, 0, -1)
    return stencil.astype(bool)
