"""Pictures with masks to train a segmentation network with, and a look at all masks before the training starts.

What a picture looks like in an epoch depends on the seed, the epoch and its number alone. Pictures that cannot be read,
or that show no known pixel, are replaced by the next ones of the list, and are remembered.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from advcam.errors import PictureError, SettingError, counted, one_line
from advcam.segment.augment import Pixels, View, cutmix_box, random_view, strong_view
from advcam.segment.masks import MaskProblem, check_mask, count_pixels, first_of
from advcam.training.augment import Normalisation
from advcam.training.classification import Pictures
from advcam.training.order import picture_generator
from advcam.training.targets import label_matrix
from advcam.types import IGNORE, Mask, Sample

#: The mask of a picture, (H, W): 0 background, class number + 1, 255 where nothing is known.
MaskOf = Callable[[Sample], Mask]

#: Times that a crop without any known pixel is drawn again.
_TRIES = 10


@dataclass(frozen=True, eq=False)
class Survey:
    """What the masks of a list of pictures hold.

    Args:
        pixels: Known pixels of each class over all masks without a problem, int64, (C,).
        undecided: Ids of pictures whose mask knows no pixel: nothing is learnt from them.
        problems: What is wrong with masks, one line for each kind; empty where all is well. A training would stop at
            the first of them.
        unreadable: What is wrong with pictures, by id; a training would go on without them.
    """

    pixels: NDArray[np.int64]
    undecided: tuple[str, ...]
    problems: tuple[str, ...]
    unreadable: Mapping[str, str]


class MaskedPictures(Dataset[dict[str, Tensor]]):
    """Pictures with their masks, each a random view; see `advcam.segment.augment.random_view`.

    Args:
        samples: N of them.
        mask_of: The mask of each, of the size of the picture as it is shown.
        num_classes: C, background counted.
        crop: Side of the views in pixels.
        scales: Lowest and highest factor of the size.
        normalise: Of the network; its mean colour is the padding, rounded to bytes.
        seed: Of the training.
        weights: Factor of the loss of pictures, by id; 1 for those that it does not name.

    Raises:
        SettingError: No samples, a crop, scales or classes outside their range, or a negative weight.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        mask_of: MaskOf,
        *,
        num_classes: int,
        crop: int,
        scales: tuple[float, float],
        normalise: Normalisation,
        seed: int,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        _check_settings(samples, num_classes, crop, scales)
        self.pictures = Pictures(samples)
        self.mask_of, self.num_classes, self.crop, self.scales = mask_of, num_classes, crop, scales
        self.normalise, self.fill = normalise, _mean_colour(normalise)
        self.seed, self.epoch = seed, 0
        self.weights = _picture_weights(samples, weights)
        self._undecided = torch.zeros(len(samples), dtype=torch.bool)
        self._undecided.share_memory_()  # type: ignore[no-untyped-call]

    def __len__(self) -> int:
        return len(self.pictures.samples)

    def set_epoch(self, epoch: int) -> None:
        """Told before each epoch, counted from 0."""
        self.epoch = epoch

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """`pictures` (3, crop, crop), `masks` (crop, crop) int64 and `weights` ().

        Raises:
            PictureError: No picture can be read or none has a known pixel; a mask of another size than its picture or
                with classes out of range.
        """
        return self.draw(index, picture_generator(self.seed, self.epoch, index))

    def draw(self, index: int, random: np.random.Generator) -> dict[str, Tensor]:
        """As an item, drawn from another generator."""
        for offset in range(len(self)):
            number = (index + offset) % len(self)
            view = self._decided_view(number, random)
            if view is not None:
                return {
                    "pictures": _normalised(view.pixels, self.normalise),
                    "masks": torch.from_numpy(view.mask).long(),
                    "weights": self.weights[number],
                }
        raise PictureError(self._nothing_left())

    def unreadable(self) -> dict[str, str]:
        """What is wrong with the pictures that could not be read so far, by id."""
        return self.pictures.unreadable()

    def undecided(self) -> tuple[str, ...]:
        """Ids of the pictures whose place another one took, so far, because their view had no known pixel."""
        return tuple(self.pictures.samples[number].id for number in self._undecided.nonzero().flatten().tolist())

    def _decided_view(self, number: int, random: np.random.Generator) -> View | None:
        """A view with a known pixel; None where the picture cannot be read or no try found one."""
        picture = self.pictures.read(number)
        if picture is None:
            return None
        sample = self.pictures.samples[number]
        mask = self.mask_of(sample)
        check_mask(sample, picture.size, mask, self.num_classes)
        for _ in range(_TRIES if (mask != IGNORE).any() else 0):
            view = random_view(picture, mask, self.crop, self.scales, self.fill, random)
            if (view.mask != IGNORE).any():
                return view
        self._undecided[number] = True
        return None

    def _nothing_left(self) -> str:
        broken, blank = self.unreadable(), self.undecided()
        none = f"none of the {len(self)} pictures to train with"
        if not blank:
            return f"{none} can be read; the first: {next(iter(broken.values()))}"
        return (
            f"{none} has a known pixel: {counted(len(blank), 'mask')} with {IGNORE} (ignore) wherever a view fell (the "
            f"first: {blank[0]}), {counted(len(broken), 'picture')} that cannot be read; make masks with a narrower "
            "undecided band"
        )


class PairedPictures(Dataset[dict[str, Tensor]]):
    """A picture with a true mask beside each picture with a weak label, for semi-supervised training.

    An epoch sees each weak picture once. Strong pictures are dealt from one shuffled pack after another, so that over
    all epochs each is used equally often, whichever list is longer.

    Args:
        strong: Pictures with true masks.
        strong_mask_of: Their masks.
        weak: Pictures with image labels, or without any.
        weak_mask_of: Their pseudo-labels; None: they have none.
        class_names: The K classes, background not counted; C = K + 1.
        crop: Side of the views in pixels.
        scales: Lowest and highest factor of the size.
        normalise: Of the network.
        seed: Of the training.

    Raises:
        SettingError: No samples, or a crop, scales or classes outside their range.
        LabelError: A label of a weak picture names no class.
    """

    def __init__(
        self,
        strong: Sequence[Sample],
        strong_mask_of: MaskOf,
        weak: Sequence[Sample],
        weak_mask_of: MaskOf | None,
        class_names: Sequence[str],
        crop: int,
        scales: tuple[float, float],
        normalise: Normalisation,
        seed: int,
    ) -> None:
        num_classes = len(class_names) + 1
        _check_settings(weak, num_classes, crop, scales)
        self.strong = MaskedPictures(
            strong,
            strong_mask_of,
            num_classes=num_classes,
            crop=crop,
            scales=scales,
            normalise=normalise,
            seed=seed,
        )
        self.weak, self.weak_mask_of = Pictures(weak), weak_mask_of
        self.labels = _possible_classes(weak, class_names)
        self.set_epoch(0)

    def __len__(self) -> int:
        return len(self.labels)

    def set_epoch(self, epoch: int) -> None:
        """Told before each epoch, counted from 0."""
        self.epoch = epoch
        self.partners = _deal(len(self.strong), len(self), self.strong.seed, epoch)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """A strong and a weak picture.

        Returns:
            Of the strong picture, as `MaskedPictures`: `pictures`, `masks`, `weights`. Of the weak one: a random view
            `weak_pictures` (3, crop, crop), its pseudo-label `weak_masks` (crop, crop) int64 (255 where it has none),
            `inside` (crop, crop) bool, False where it was padded, `labels` (C,) bool, the classes that may occur
            (background and its image labels; all of them where it has no label), two strong views of the same crop,
            `strong_pictures_1` and `strong_pictures_2`, and the boxes `cutmix_1` and `cutmix_2` (crop, crop) bool that
            another picture may take in them.

        Raises:
            PictureError: As `MaskedPictures`.
        """
        random = picture_generator(self.strong.seed, self.epoch, index)
        item = self.strong.draw(self.partners[index], random)
        number, view = self._weak_view(index, random)
        normalise = self.strong.normalise
        item |= {
            "weak_pictures": _normalised(view.pixels, normalise),
            "weak_masks": torch.from_numpy(view.mask).long(),
            "inside": torch.from_numpy(view.inside),
            "labels": self.labels[number],
        }
        for name in ("1", "2"):
            item[f"strong_pictures_{name}"] = _normalised(strong_view(view.pixels, random), normalise)
            item[f"cutmix_{name}"] = torch.from_numpy(cutmix_box(self.strong.crop, random))
        return item

    def unreadable(self) -> dict[str, str]:
        """What is wrong with the pictures that could not be read so far, by id."""
        return self.strong.unreadable() | self.weak.unreadable()

    def undecided(self) -> tuple[str, ...]:
        """Ids of the strong pictures whose place another one took, so far, as their view had no known pixel."""
        return self.strong.undecided()

    def _weak_view(self, index: int, random: np.random.Generator) -> tuple[int, View]:
        """The number of the first picture from here on that can be read, and its view."""
        strong = self.strong
        for offset in range(len(self)):
            number = (index + offset) % len(self)
            picture = self.weak.read(number)
            if picture is not None:
                mask = self._weak_mask(number, picture.size)
                return number, random_view(picture, mask, strong.crop, strong.scales, strong.fill, random)
        first = next(iter(self.weak.unreadable().values()))
        raise PictureError(f"none of the {len(self)} weakly labelled pictures can be read; the first: {first}")

    def _weak_mask(self, number: int, size: tuple[int, int]) -> Mask:
        if self.weak_mask_of is None:
            return np.full(size[::-1], IGNORE, dtype=np.int32)
        sample = self.weak.samples[number]
        mask = self.weak_mask_of(sample)
        check_mask(sample, size, mask, self.strong.num_classes)
        return mask


def survey_masks(samples: Sequence[Sample], mask_of: MaskOf, num_classes: int) -> Survey:
    """Read every mask once and say all that is wrong with them, before hours are spent.

    Pictures are not decoded: of one that ends early only the training finds out, and replaces it.

    Args:
        samples: Pictures.
        mask_of: Their masks.
        num_classes: C, background counted.
    """
    pixels = np.zeros(num_classes, dtype=np.int64)
    undecided, unreadable = list[str](), dict[str, str]()
    problems: dict[str, list[str]] = defaultdict(list)
    for sample in samples:
        look = count_pixels(sample, mask_of, num_classes)
        if isinstance(look, PictureError):
            unreadable[sample.id] = one_line(look)
        elif isinstance(look, MaskProblem):
            problems[look.kind].append(look.case)
        elif look.any():
            pixels += look
        else:
            undecided.append(sample.id)
    lines = tuple(f"{counted(len(cases), 'mask')} {kind}: {first_of(cases)}" for kind, cases in problems.items())
    return Survey(pixels, tuple(undecided), lines, unreadable)


def _check_settings(samples: Sequence[Sample], num_classes: int, crop: int, scales: tuple[float, float]) -> None:
    if not samples:
        raise SettingError("no pictures to train with; name pictures and their masks")
    if not 2 <= num_classes <= IGNORE:
        raise SettingError(
            f"masks tell 2 to {IGNORE} classes apart, background counted ({IGNORE} means ignore); got {num_classes}"
        )
    if crop < 1:
        raise SettingError(f"crop is a side in pixels, at least 1; got {crop}")
    if not 0 < scales[0] <= scales[1] < np.inf:
        raise SettingError(f"scales are a lowest and a highest factor above 0; got {scales[0]:g} and {scales[1]:g}")


def _picture_weights(samples: Sequence[Sample], weights: Mapping[str, float] | None) -> Tensor:
    """The weight of each picture, (N,) float32."""
    values = [1.0 if weights is None else weights.get(sample.id, 1.0) for sample in samples]
    wrong = [f"{sample.id}: {value}" for sample, value in zip(samples, values, strict=True) if not 0 <= value < np.inf]
    if wrong:
        raise SettingError(f"the weight of a picture is finite and not negative; got {first_of(wrong)}")
    return torch.tensor(values, dtype=torch.float32)


def _possible_classes(samples: Sequence[Sample], class_names: Sequence[str]) -> Tensor:
    """Which classes may occur in each picture, (N, C) bool: background and its labels, or all where it has none."""
    known = label_matrix([replace(sample, labels=sample.labels or ()) for sample in samples], class_names).bool()
    possible = torch.cat([torch.ones((len(samples), 1), dtype=torch.bool), known], dim=1)
    possible[torch.tensor([sample.labels is None for sample in samples])] = True
    return possible


def _deal(cards: int, hands: int, seed: int, epoch: int) -> list[int]:
    """Which of the strong pictures each weak one gets in an epoch, from packs that go on where the last epoch ended."""
    first, last = epoch * hands, (epoch + 1) * hands
    packs = range(first // cards, (last - 1) // cards + 1)
    # A weak picture's number is below `hands`, so no picture draws from these generators.
    dealt = np.concatenate([picture_generator(seed, pack, hands).permutation(cards) for pack in packs])
    return [int(card) for card in dealt[first - packs[0] * cards :][:hands]]


def _normalised(pixels: Pixels, normalise: Normalisation) -> Tensor:
    return normalise(Image.fromarray(pixels))


def _mean_colour(normalise: Normalisation) -> tuple[int, int, int]:
    """The colour that becomes about 0, in bytes."""
    red, green, blue = (round(255 * value) for value in normalise.mean)
    return red, green, blue
