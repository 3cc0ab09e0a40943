"""What a picture and its mask go through before a segmentation network sees them, as functions of a numpy generator.

`random_view` is the weak augmentation that supervised training and the weak view of semi-supervised training share.
`strong_view` and `cutmix_box` are the strong augmentations of ST++ (Yang et al., CVPR 2022) and UniMatch (Yang et al.,
CVPR 2023). They are drawn on the CPU for every picture, so they are few passes over bytes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from advcam.types import IGNORE, Mask

Pixels = NDArray[np.uint8]

#: Probabilities of the strong view: colour jitter, greyscale, blur.
_JITTER, _GREYSCALE, _BLUR = 0.8, 0.2, 0.5
#: Half widths of the ranges that brightness, contrast and saturation (about 1) and hue (about 0, in turns) come from.
_STRENGTH, _HUE = 0.5, 0.25
#: Standard deviation of the blur in pixels.
_SIGMA = (0.1, 2.0)
#: Probability of a CutMix box, its share of the area, and the range of its height over its width.
_CUTMIX, _AREA, _RATIO = 0.5, (0.02, 0.4), (0.3, 1 / 0.3)


@dataclass(frozen=True, eq=False)
class View:
    """A square part of a picture with its mask.

    Args:
        pixels: RGB, uint8, (crop, crop, 3).
        mask: int32, (crop, crop); 255 where it was padded.
        inside: bool, (crop, crop), whether a pixel shows the picture; False where it was padded.
    """

    pixels: Pixels
    mask: Mask
    inside: NDArray[np.bool_]

    def mirrored(self) -> "View":
        """Left and right exchanged."""
        return View(self.pixels[:, ::-1].copy(), self.mask[:, ::-1].copy(), self.inside[:, ::-1].copy())


def random_view(
    picture: Image.Image,
    mask: Mask,
    crop: int,
    scales: tuple[float, float],
    fill: tuple[int, int, int],
    random: np.random.Generator,
) -> View:
    """A random part of the picture at a random size, mirrored half of the time.

    Deviation: published recipes draw the factor from a few steps (DeepLab: 0.5, 0.75, .. 1.5), here it is uniform; and
    they pad on the right and below, here a side that is too short lies at a random place, as in
    `advcam.training.augment`.

    Args:
        picture: Any mode, W x H.
        mask: Of the same size, (H, W).
        crop: Side of the view in pixels.
        scales: Lowest and highest factor of the picture's size; the picture is resized bilinearly (and smoothed where
            it shrinks), the mask to the nearest pixel.
        fill: RGB of the padding, 0 to 255.
        random: Decides.
    """
    factor = random.uniform(*scales)
    mirrored = random.random() < 0.5
    columns, rows = (_Span.draw(length, factor, crop, random) for length in picture.size)
    pixels = np.full((crop, crop, 3), fill, dtype=np.uint8)
    labels = np.full((crop, crop), IGNORE, dtype=np.int32)
    inside = np.zeros((crop, crop), dtype=np.bool_)
    target = (rows.target, columns.target)
    # Only the part that is seen is resized; what lies around it is smoothed in all the same.
    box = (columns.low, rows.low, columns.high, rows.high)
    part = picture.convert("RGB").resize((columns.size, rows.size), Image.Resampling.BILINEAR, box=box)
    pixels[target] = np.asarray(part)
    labels[target] = mask[rows.nearest()][:, columns.nearest()]
    inside[target] = True
    view = View(pixels, labels, inside)
    return view.mirrored() if mirrored else view


def strong_view(pixels: Pixels, random: np.random.Generator) -> Pixels:
    """The same part in other colours: jitter, greyscale and blur, each at random.

    Colour jitter with probability 0.8, greyscale 0.2, Gaussian blur 0.5 with a standard deviation of 0.1 to 2 pixels.
    Where things are does not change, so the mask stays.

    Args:
        pixels: RGB, uint8, (H, W, 3); stays as it is.
        random: Decides.

    Returns:
        RGB, uint8, (H, W, 3).
    """
    if random.random() < _JITTER:
        pixels = colour_jitter(pixels, random)
    if random.random() < _GREYSCALE:
        pixels = saturation(pixels, 0.0)
    if random.random() < _BLUR:
        sigma = random.uniform(*_SIGMA)
        side = 2 * int(np.ceil(3 * sigma)) + 1
        pixels = np.asarray(cv2.GaussianBlur(pixels, (side, side), sigma, borderType=cv2.BORDER_REFLECT_101), np.uint8)
    return pixels


def colour_jitter(pixels: Pixels, random: np.random.Generator) -> Pixels:
    """Brightness, contrast, saturation (factors 0.5 to 1.5) and hue (-0.25 to 0.25 turns), in a random order."""
    changes: list[Callable[[Pixels, float], Pixels]] = [brightness, contrast, saturation, hue]
    amounts = [*random.uniform(1 - _STRENGTH, 1 + _STRENGTH, 3), random.uniform(-_HUE, _HUE)]
    for number in random.permutation(len(changes)):
        pixels = changes[number](pixels, float(amounts[number]))
    return pixels


def brightness(pixels: Pixels, factor: float) -> Pixels:
    """RGB times a factor, (H, W, 3) uint8."""
    return _by_table(pixels, factor * np.arange(256))


def contrast(pixels: Pixels, factor: float) -> Pixels:
    """RGB moved away from (factor above 1) or towards the mean grey of the picture, (H, W, 3) uint8."""
    mean = float(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).mean())
    return _by_table(pixels, factor * np.arange(256) + (1 - factor) * mean)


def saturation(pixels: Pixels, factor: float) -> Pixels:
    """RGB moved away from (factor above 1) or towards the grey of each pixel, (H, W, 3) uint8; 0 is grey."""
    grey = cv2.cvtColor(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return np.asarray(cv2.addWeighted(pixels, factor, grey, 1 - factor, 0), np.uint8)


def hue(pixels: Pixels, turns: float) -> Pixels:
    """Colours turned around the circle of hues by -0.5 to 0.5 turns, (H, W, 3) uint8.

    In bytes of hue, saturation and value, which errs by up to 9 in 255, about as Pillow does; floats take ten times as
    long.
    """
    values = cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV_FULL)
    values[..., 0] += np.uint8(round(turns * 256) % 256)  # a byte is one turn, and overflows as hues do
    return np.asarray(cv2.cvtColor(values, cv2.COLOR_HSV2RGB_FULL), np.uint8)


def cutmix_box(crop: int, random: np.random.Generator) -> NDArray[np.bool_]:
    """The part of a picture that another picture takes, (crop, crop) bool; half of the time there is none.

    Its area is 2 to 40 % of the picture, its height 0.3 to 3.3 times its width. Where a box does not fit, its
    proportions and its place are drawn again, as in UniMatch's code.
    """
    box = np.zeros((crop, crop), dtype=np.bool_)
    if random.random() >= _CUTMIX:
        return box
    area = random.uniform(*_AREA) * crop * crop
    while True:
        ratio = random.uniform(*_RATIO)
        width, height = int(np.sqrt(area / ratio)), int(np.sqrt(area * ratio))
        x, y = (int(place) for place in random.integers(crop, size=2))
        if x + width <= crop and y + height <= crop:
            box[y : y + height, x : x + width] = True
            return box


@dataclass(frozen=True)
class _Span:
    """Which part of one side of a picture is seen, and where it lies in the view.

    Args:
        length: Of the side, in pixels of the picture.
        low, high: The part, in pixels of the picture.
        size: The part, in pixels of the view.
        start: Where it begins in the view.
    """

    length: int
    low: float
    high: float
    size: int
    start: int

    @classmethod
    def draw(cls, length: int, factor: float, crop: int, random: np.random.Generator) -> "_Span":
        resized = max(1, round(length * factor))
        place = int(random.integers(abs(resized - crop), endpoint=True))
        size, start = min(resized, crop), 0 if resized > crop else place
        low = place if resized > crop else 0
        step = length / resized
        return cls(length, low * step, min((low + size) * step, length), size, start)

    @property
    def target(self) -> slice:
        return slice(self.start, self.start + self.size)

    def nearest(self) -> NDArray[np.int64]:
        """The pixel of the picture at the middle of each pixel of the view, (size,)."""
        middles = self.low + (np.arange(self.size) + 0.5) * (self.high - self.low) / self.size
        return middles.astype(np.int64).clip(0, self.length - 1)


def _by_table(pixels: Pixels, table: NDArray[np.floating]) -> Pixels:
    """Each byte replaced by its entry (256,), rounded and kept in 0 to 255."""
    return np.asarray(cv2.LUT(pixels, table.round().clip(0, 255).astype(np.uint8)), np.uint8)
