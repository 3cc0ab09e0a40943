"""From pictures and classes to attributions: what all methods share.

A method says what map a (picture, class) has at one scale. Here the pictures are brought to each scale, triples of
equal size are batched, flips ride along as second views, and the maps of all scales are resized to one grid, joined
(see `fusion.py`) and divided by their maximum.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from advcam.attribution.fusion import FusedMap, Fusion, Triple
from advcam.attribution.response import Network, Record, ScaleMaps
from advcam.errors import LabelError, ModelError, PictureError, SettingError
from advcam.types import Attribution

Picture = Image.Image | NDArray[np.uint8]

#: Scales of the working picture: half for the whole object, double for its details (chosen in docs/defaults.md).
DEFAULT_SCALES = (0.5, 1.0, 2.0)
#: A picture is never scaled below this side, so that its class map keeps a few positions.
MIN_SIDE = 32


class Classifier(Network, Protocol):
    """What a method needs of a classifier besides its responses; `advcam.Classifier` is the implementation."""

    fixed_size: tuple[int, int] | None
    size_multiple: int
    multi_label: bool

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of its outputs."""

    @property
    def device(self) -> torch.device:
        """Where its weights lie."""

    def normalise(self, pictures: Tensor) -> Tensor:
        """RGB in [0, 1], (..., 3, H, W), to what the network was trained on, in its device and dtype."""

    def denormalise(self, inputs: Tensor) -> Tensor:
        """The inverse of `normalise`."""

    def class_id(self, label: str | int) -> int:
        """Number of a class given by name or number."""

    def frozen(self) -> AbstractContextManager[None]:
        """Evaluation mode and no parameter gradients while it lasts; the former state afterwards."""


@dataclass(frozen=True)
class Cost:
    """What a call will cost: triples, and forward or backward passes of one picture at scale 1."""

    triples: int
    passes: float


class Method(ABC):
    """Base of all attribution methods: call it with pictures and the classes to explain in each.

    Args:
        classifier: The classifier to explain, usually `advcam.load_classifier()`.
        scales: Factors of the working picture; None takes 0.5, 1 and 2, or 1 for a network of fixed input size.
        flip: Whether the mirrored picture takes part.
        fusion: How the maps of the scales are joined: "sum", as IRN and the authors' code do, or "geometric", where a
            position counts by what all scales say of it.
        max_side: Pictures whose longer side is larger are first shrunk to it; 0 keeps every picture as it is.
        batch_size: (picture, class) pairs computed at once; None chooses 4 on the CPU and 16 elsewhere.

    Raises:
        SettingError: A scale that is not positive, a size or batch below its minimum, an unknown fusion.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str]

    def __init__(
        self,
        classifier: Classifier,
        *,
        scales: Sequence[float] | None = None,
        flip: bool = True,
        fusion: Fusion = "sum",
        max_side: int = 512,
        batch_size: int | None = None,
    ) -> None:
        self.classifier = classifier
        self.scales = self._checked_scales(scales)
        self.flip = flip
        self.fusion: Fusion = fusion
        self.max_side = max_side
        default_batch = 4 if classifier.device.type == "cpu" else 16
        self.batch_size = default_batch if batch_size is None else batch_size
        if fusion not in ("sum", "geometric"):
            raise SettingError(f'fusion is "sum" or "geometric"; got {fusion!r}')
        if max_side and max_side < MIN_SIDE:
            raise SettingError(f"max_side is at least {MIN_SIDE} pixels, or 0 for no limit; got {max_side}")
        if self.batch_size < 1:
            raise SettingError(f"batch_size is at least 1; got {batch_size}")

    def __call__(
        self,
        pictures: Sequence[Picture],
        targets: Sequence[Sequence[int | str]],
        *,
        record: Record = "none",
    ) -> list[Attribution]:
        """Explain pictures of any sizes.

        Args:
            pictures: N pictures: PIL images, or uint8 arrays (H, W, 3) RGB or (H, W) grey.
            targets: For each picture the classes to explain, by number or name; an empty list gives an empty
                Attribution.
            record: "maps" keeps map and scores of each step, "all" the perturbed pictures too.

        Returns:
            One Attribution for each picture, its classes in the order of the targets, each once.

        Raises:
            PictureError: A picture of another type or shape.
            LabelError: A class the classifier does not have, or another number of target lists than pictures.
            ModelError: The classifier answers NaN or infinity.
        """
        images = [_as_image(picture) for picture in pictures]
        class_ids = self._class_ids(images, targets)
        fused = [[self._fused_map(image, c) for c in ids] for image, ids in zip(images, class_ids, strict=True)]
        # A caller may sit in no_grad or inference_mode; a climb needs gradients all the same.
        with torch.inference_mode(False), torch.enable_grad(), self.classifier.frozen():
            for scale in self.scales:
                self._run_scale(images, fused, scale, record)
        return [self._attribution(image, maps) for image, maps in zip(images, fused, strict=True)]

    @abstractmethod
    def scale_maps(self, views: Tensor, classes: Tensor, scale: float, record: Record) -> ScaleMaps:
        """Maps of N triples at one scale.

        Args:
            views: The normalised picture of each triple with its V views, all of one size, (N, V, 3, H, W).
            classes: The class of each triple, (N,).
            scale: The scale (the published variant shortens one).
            record: What to keep of the steps.
        """

    def passes(self, scale: float) -> int:
        """Network passes (forward or backward) of one view for one triple at one scale, for announcing the cost."""
        return 1

    def cost(self, class_counts: Iterable[int]) -> Cost:
        """Cost of pictures with so many classes each, in passes of one view at scale 1."""
        triples = sum(class_counts)
        areas = sum(self.passes(scale) * scale**2 for scale in self.scales) * (2 if self.flip else 1)
        return Cost(triples * len(self.scales), triples * areas)

    def map_weight(self) -> float:
        """Weight of every map in the sum over scales (the published variant's leaked multiplier)."""
        return 1.0

    def epsilon(self) -> float:
        """Added to the maximum in the final division (the published variant)."""
        return 0.0

    def _checked_scales(self, scales: Sequence[float] | None) -> tuple[float, ...]:
        fixed = self.classifier.fixed_size
        chosen = tuple(scales) if scales is not None else (DEFAULT_SCALES if fixed is None else (1.0,))
        if not chosen or any(not 0 < scale <= 8 or not math.isfinite(scale) for scale in chosen):
            raise SettingError(f"scales are one or more numbers above 0 and at most 8; got {list(chosen)}")
        if len(set(chosen)) < len(chosen):
            raise SettingError(f"each scale once; got {list(chosen)}")
        if fixed is not None and chosen != (1.0,):
            raise SettingError(
                f"this network takes {fixed[0]} x {fixed[1]} pixels only, so scales must be 1; got {list(chosen)} "
                "(a timm vision transformer loaded by name, or with dynamic_img_size=True, takes any size)"
            )
        return chosen

    def _class_ids(self, images: Sequence[Image.Image], targets: Sequence[Sequence[int | str]]) -> list[list[int]]:
        if len(images) != len(targets):
            raise LabelError(f"one list of classes for each picture; got {len(targets)} for {len(images)} pictures")
        if any(isinstance(labels, str) for labels in targets):
            raise LabelError('the classes of a picture are a list, as in [["tabby"]]; got a bare text')
        return [list(dict.fromkeys(self.classifier.class_id(c) for c in labels)) for labels in targets]

    def _fused_map(self, image: Image.Image, class_id: int) -> FusedMap:
        width, height = working_size(image.size, self.max_side)
        return FusedMap(class_id, (math.ceil(height / 4), math.ceil(width / 4)), self.fusion, self.map_weight())

    def _run_scale(
        self, images: Sequence[Image.Image], fused: list[list[FusedMap]], scale: float, record: Record
    ) -> None:
        triples = [(i, maps) for i, per_image in enumerate(fused) for maps in per_image]
        sizes = [self._input_size(image, scale) for image in images]
        for batch in _batches(triples, sizes, self.batch_size):
            of_picture = {i: self._views(images[i], sizes[i]) for i, _ in batch}
            views = torch.stack([of_picture[i] for i, _ in batch])
            classes = torch.tensor([maps.class_id for _, maps in batch], device=views.device)
            result = self.scale_maps(views, classes, scale, record)
            for n, (_, maps) in enumerate(batch):
                maps.add(Triple(result, n, scale), self.classifier.denormalise)

    def _input_size(self, image: Image.Image, scale: float) -> tuple[int, int]:
        """(width, height) that the network sees."""
        if self.classifier.fixed_size is not None:
            return self.classifier.fixed_size[1], self.classifier.fixed_size[0]
        unit = self.classifier.size_multiple
        width, height = (
            max(MIN_SIDE, unit, round(side * scale / unit) * unit) for side in working_size(image.size, self.max_side)
        )
        return width, height

    def _views(self, image: Image.Image, size: tuple[int, int]) -> Tensor:
        """The picture at a size, normalised, with its mirror image if asked for, (V, 3, H, W)."""
        resized = image if image.size == size else image.resize(size, Image.Resampling.BICUBIC)
        # In float64 until it is normalised, as the published code does: a climb amplifies the rounding.
        pixels = torch.from_numpy(np.array(resized)).permute(2, 0, 1).double() / 255
        view = self.classifier.normalise(pixels)
        return torch.stack([view, view.flip(-1)] if self.flip else [view])

    def _attribution(self, image: Image.Image, fused: Sequence[FusedMap]) -> Attribution:
        grid = working_size(image.size, self.max_side)
        empty = np.zeros((0, math.ceil(grid[1] / 4), math.ceil(grid[0] / 4)), dtype=np.float32)
        normalised = [maps.normalised(self.epsilon()) for maps in fused]
        if any(not np.isfinite(result).all() for result in normalised):
            raise ModelError(
                "the classifier answers NaN or infinity for this picture; check its weights and input range"
            )
        steps = [maps.steps(self.epsilon()) for maps in fused]
        return Attribution(
            class_ids=tuple(maps.class_id for maps in fused),
            class_names=tuple(self.classifier.class_names[maps.class_id] for maps in fused),
            maps=np.stack(normalised) if fused else empty,
            image_size=(image.height, image.width),
            scores=np.array([maps.score for maps in fused], dtype=np.float32),
            steps=np.stack([s for s in steps if s is not None]) if fused and steps[0] is not None else None,
            trajectories=tuple(trajectory for maps in fused for trajectory in maps.trajectories),
        )


def working_size(size: tuple[int, int], max_side: int) -> tuple[int, int]:
    """(width, height) after shrinking a picture so that its longer side is at most `max_side` (0: no limit)."""
    if not max_side or max(size) <= max_side:
        return size
    factor = max_side / max(size)
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def _batches(
    triples: Sequence[tuple[int, FusedMap]], sizes: Sequence[tuple[int, int]], batch_size: int
) -> Iterator[list[tuple[int, FusedMap]]]:
    """Triples of equal input size, at most `batch_size` at once: padding would change their means (method.md 7)."""
    buckets: dict[tuple[int, int], list[tuple[int, FusedMap]]] = {}
    for triple in triples:
        buckets.setdefault(sizes[triple[0]], []).append(triple)
    for bucket in buckets.values():
        for start in range(0, len(bucket), batch_size):
            yield bucket[start : start + batch_size]


def _is_rgb_or_grey(shape: tuple[int, ...]) -> bool:
    return len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)


def _as_image(picture: Picture) -> Image.Image:
    if isinstance(picture, Image.Image):
        return picture.convert("RGB")
    if isinstance(picture, np.ndarray) and picture.dtype == np.uint8 and _is_rgb_or_grey(picture.shape):
        return Image.fromarray(picture).convert("RGB")
    shape = getattr(picture, "shape", None)
    kind = type(picture).__name__ + (f" of {getattr(picture, 'dtype', '')} {tuple(shape)}" if shape is not None else "")
    raise PictureError(f"a picture is a PIL image or a uint8 array (H, W, 3) or (H, W); got {kind}")
