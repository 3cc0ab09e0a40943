"""What a picture goes through before a network sees it: published recipes, as functions of a picture and a generator.

Each recipe has a random side for training and a fixed one for measuring. Sizes that a recipe states for its own crop
(VOC 512, WSOL 224) grow and shrink with the crop that is set. Pictures that are smaller than their crop are padded
AFTER normalisation, with zeros: the mean colour of the pictures that the network was pretrained with.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

RecipeName = Literal["voc", "resized-crop", "wsol"]
#: Share of the picture's area, and width over height, that a random resized crop takes.
AREA, ASPECT = (0.3, 1.0), (3 / 4, 4 / 3)
_TRIES = 10
_BICUBIC, _BILINEAR = Image.Resampling.BICUBIC, Image.Resampling.BILINEAR


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of RGB in [0, 1] that a network expects."""

    mean: Sequence[float]
    std: Sequence[float]

    def __call__(self, picture: Image.Image) -> Tensor:
        """A picture as network input, (3, H, W)."""
        pixels = torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1).float() / 255
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (self.mean, self.std))
        return (pixels - mean) / std


@dataclass(frozen=True)
class Recipe:
    """How pictures are prepared.

    Args:
        train: Of (picture, crop, normalisation, generator): (3, crop, crop), random.
        evaluate: Of (picture, crop, normalisation): (3, crop, crop), the whole picture.
        crop: Side in pixels that the recipe was published with.
    """

    train: Callable[[Image.Image, int, Normalisation, np.random.Generator], Tensor]
    evaluate: Callable[[Image.Image, int, Normalisation], Tensor]
    crop: int


@dataclass(frozen=True)
class Preparation:
    """A recipe for one network.

    Args:
        recipe: How pictures are prepared.
        crop: Side of the inputs in pixels.
        normalise: Of the network.
    """

    recipe: Recipe
    crop: int
    normalise: Normalisation

    def train(self, picture: Image.Image, random: np.random.Generator) -> Tensor:
        """A picture to train with, (3, crop, crop)."""
        return self.recipe.train(picture, self.crop, self.normalise, random)

    def evaluate(self, picture: Image.Image) -> Tensor:
        """A picture to measure with, (3, crop, crop)."""
        return self.recipe.evaluate(picture, self.crop, self.normalise)


def voc_train(picture: Image.Image, crop: int, normalise: Normalisation, random: np.random.Generator) -> Tensor:
    """The recipe of IRN and AdvCAM on PASCAL VOC (Ahn, Cho, Kwak, CVPR 2019; jiwoon-ahn/irn).

    The longer side is drawn uniformly from 320 to 640 (bicubic); normalised; flipped half of the time; a random crop of
    512, padded with zeros. With another crop all sizes change in proportion.
    """
    longest = int(random.integers(round(crop * 320 / 512), round(crop * 640 / 512), endpoint=True))
    pixels = flip(normalise(resize_longest(picture, longest)), random)
    return random_crop(pixels, crop, random)


def voc_evaluate(picture: Image.Image, crop: int, normalise: Normalisation) -> Tensor:
    """The whole picture with its longer side at the crop, padded with zeros on the right or below."""
    pixels = normalise(resize_longest(picture, crop))
    canvas = torch.zeros((3, crop, crop))
    canvas[:, : pixels.shape[1], : pixels.shape[2]] = pixels
    return canvas


def resized_crop_train(
    picture: Image.Image, crop: int, normalise: Normalisation, random: np.random.Generator
) -> Tensor:
    """A random part of 30 to 100 % of the picture, resized to the crop (bicubic), flipped half of the time.

    ImageNet's usual recipe takes 8 % and more (Szegedy et al., CVPR 2015); such a part often misses the object that the
    label names.
    """
    box = random_box(*picture.size, random)
    part = picture.convert("RGB").resize((crop, crop), _BICUBIC, box=box)
    return flip(normalise(part), random)


def wsol_train(picture: Image.Image, crop: int, normalise: Normalisation, random: np.random.Generator) -> Tensor:
    """The recipe of the WSOL evaluation (Choe et al., CVPR 2020): 256 x 256 (bilinear), random crop of 224, flip."""
    side = round(crop * 256 / 224)
    pixels = normalise(picture.convert("RGB").resize((side, side), _BILINEAR))
    return flip(random_crop(pixels, crop, random), random)


def squeeze(picture: Image.Image, crop: int, normalise: Normalisation) -> Tensor:
    """The whole picture at the size of the crop (bilinear), its proportions given up; WSOL's evaluation."""
    return normalise(picture.convert("RGB").resize((crop, crop), _BILINEAR))


def resize_longest(picture: Image.Image, side: int) -> Image.Image:
    """The picture with its longer side at `side` (bicubic), at least one pixel on the other."""
    factor = side / max(picture.size)
    width, height = (max(1, round(length * factor)) for length in picture.size)
    return picture.convert("RGB").resize((width, height), _BICUBIC)


def flip(pixels: Tensor, random: np.random.Generator) -> Tensor:
    """Mirrored left to right half of the time, (..., H, W)."""
    return pixels.flip(-1) if random.random() < 0.5 else pixels


def random_crop(pixels: Tensor, crop: int, random: np.random.Generator) -> Tensor:
    """A random part of (3, H, W) as (3, crop, crop); a side that is too short lies at a random place among zeros."""
    canvas = pixels.new_zeros((pixels.shape[0], crop, crop))
    source, target = [slice(None)], [slice(None)]
    for length in pixels.shape[1:]:
        start = int(random.integers(abs(length - crop), endpoint=True))
        size = min(length, crop)
        source.append(slice(start, start + size) if length > crop else slice(0, size))
        target.append(slice(0, size) if length > crop else slice(start, start + size))
    canvas[tuple(target)] = pixels[tuple(source)]
    return canvas


def random_box(width: int, height: int, random: np.random.Generator) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of a part with random area and proportions, as torchvision draws it.

    Where no draw fits, after ten, the largest part in the middle whose proportions are allowed.
    """
    for _ in range(_TRIES):
        area = width * height * random.uniform(*AREA)
        aspect = float(np.exp(random.uniform(*np.log(ASPECT))))
        w, h = round(float(np.sqrt(area * aspect))), round(float(np.sqrt(area / aspect)))
        if 0 < w <= width and 0 < h <= height:
            x, y = (int(random.integers(room, endpoint=True)) for room in (width - w, height - h))
            return x, y, x + w, y + h
    w, h = min(width, round(height * ASPECT[1])), min(height, round(width / ASPECT[0]))
    x, y = (width - w) // 2, (height - h) // 2
    return x, y, x + w, y + h


#: Recipes by name.
RECIPES: dict[RecipeName, Recipe] = {
    "voc": Recipe(voc_train, voc_evaluate, 512),
    "resized-crop": Recipe(resized_crop_train, squeeze, 224),
    "wsol": Recipe(wsol_train, squeeze, 224),
}
