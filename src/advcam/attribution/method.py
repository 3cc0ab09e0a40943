"""From pictures and classes to attributions: what all methods share.

A method says what map a (picture, class) has at one scale. Here the pictures are brought to each scale (`views.py`),
those of equal size are batched (`batching.py`), flips ride along as second views, and the maps of all scales are
resized to one grid, joined (`fusion.py`) and divided by their maximum.
"""

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from advcam.attribution.batching import BatchSize, buckets, is_out_of_memory
from advcam.attribution.fusion import FusedMap, Fusion, Triple
from advcam.attribution.precision import Precision, as_said
from advcam.attribution.response import Network, Record, ScaleMaps
from advcam.attribution.views import MIN_SIDE, RESIZERS, Ahead, Picture, as_images, input_size, working_size
from advcam.errors import LabelError, ModelError, OutOfMemoryError, SettingError
from advcam.types import Attribution

#: Scales of the working picture: half for the whole object, double for its details (chosen in docs/defaults.md).
DEFAULT_SCALES = (0.5, 1.0, 2.0)


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
        """RGB in [0, 1], (..., 3, H, W), to what the network was trained on, on its device, float32 or better."""

    def denormalise(self, inputs: Tensor) -> Tensor:
        """The inverse of `normalise`."""

    def class_id(self, label: str | int) -> int:
        """Number of a class given by name or number."""

    def precision(self, choice: str, exact: bool = False) -> str:
        """The number format that a choice means for this network."""

    def prepared(self, precision: str = "auto", *, exact: bool = False, compiled: bool = False) -> Network:
        """A copy of the network that is fast to run many times."""

    def frozen(self) -> AbstractContextManager[None]:
        """Evaluation mode and no parameter gradients while it lasts; the former state afterwards."""


@dataclass(frozen=True)
class Cost:
    """What a call will cost: maps (picture x class x scale), and passes of one picture at scale 1, there or back."""

    triples: int
    passes: float


@dataclass(frozen=True)
class Batch:
    """N triples of one input size, and the P pictures that they are about.

    Args:
        views: The pictures, normalised, with their V views, (P, V, 3, H, W).
        classes: The class of each triple, (N,).
        pictures: Which of the P pictures each triple is about, N numbers, ascending.
    """

    views: Tensor
    classes: Tensor
    pictures: Sequence[int]


class Method(ABC):
    """Base of all attribution methods: call it with pictures and the classes to explain in each.

    Args:
        classifier: The classifier to explain, usually `advcam.load_classifier()`.
        scales: Factors of the working picture; None takes 0.5, 1 and 2, or 1 for a network of fixed input size.
        flip: Whether the mirrored picture takes part.
        fusion: How the maps of the scales are joined: "sum", as IRN and the authors' code do, or "geometric", where a
            position counts by what all scales say of it.
        max_side: Pictures whose longer side is larger are first shrunk to it; 0 keeps every picture as it is.
        size_grid: Inputs are resized to a multiple of it, so that more pictures have the same size and go together.
        precision: What the network computes in: "auto" (what the device is fastest in), "float64", "float32",
            "bfloat16" or "float16". Maps and steps are float32 or better always.
        batch_size: (picture, class) pairs computed at once; None chooses by size and memory.
        compiled: Run the network through torch.compile; for many pictures of one size.

    Raises:
        SettingError: A scale that is not positive, a size or batch below its minimum, an unknown fusion or precision.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str]
    #: Whether one pass of a picture serves all its classes (no class changes the picture).
    one_pass: ClassVar[bool] = True
    #: Whether batch normalisations stay where they are and "auto" is the network's own precision.
    exact: bool = False

    def __init__(
        self,
        classifier: Classifier,
        *,
        scales: Sequence[float] | None = None,
        flip: bool = True,
        fusion: Fusion = "sum",
        max_side: int = 512,
        size_grid: int = 1,
        precision: Precision = "auto",
        batch_size: int | None = None,
        compiled: bool = False,
    ) -> None:
        self.classifier = classifier
        self.scales = self._checked_scales(scales)
        self.flip = flip
        self.fusion: Fusion = fusion
        self.max_side = max_side
        self.size_grid = size_grid
        self.precision = classifier.precision(precision, self.exact)
        self.compiled = compiled
        self.batch = BatchSize(batch_size, classifier.device)
        if fusion not in ("sum", "geometric"):
            raise SettingError(f'fusion is "sum" or "geometric"; got {fusion!r}')
        if max_side and max_side < MIN_SIDE:
            raise SettingError(f"max_side is at least {MIN_SIDE} pixels, or 0 for no limit; got {max_side}")
        if batch_size is not None and batch_size < 1:
            raise SettingError(f"batch_size is at least 1; got {batch_size}")
        if not 1 <= size_grid <= 512:
            raise SettingError(f"size_grid is a number of pixels between 1 and 512; got {size_grid}")

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
            PictureError: A picture of another type or shape, or one picture where a list of some belongs.
            LabelError: A class the classifier does not have, or another number of target lists than pictures.
            ModelError: The classifier answers NaN or infinity.
            OutOfMemoryError: Not even one pair fits into memory.
        """
        images = as_images(pictures)
        class_ids = self._class_ids(images, targets)
        fused = [[self._fused_map(image, c) for c in ids] for image, ids in zip(images, class_ids, strict=True)]
        # A caller may sit in no_grad or inference_mode; a climb needs gradients all the same.
        with (
            torch.inference_mode(False),
            torch.enable_grad(),
            self.classifier.frozen(),
            as_said(self.precision),
        ):
            network = self.classifier.prepared(self.precision, exact=self.exact, compiled=self.compiled)
            with ThreadPoolExecutor(RESIZERS) as pool:
                for scale in self.scales:
                    self._run_scale(network, Ahead(pool, images, self._sizes(images, scale)), fused, scale, record)
        return [self._attribution(image, maps) for image, maps in zip(images, fused, strict=True)]

    @abstractmethod
    def scale_maps(self, network: Network, batch: Batch, scale: float, record: Record) -> ScaleMaps:
        """Maps of N triples at one scale.

        Args:
            network: The classifier's network, prepared.
            batch: The triples.
            scale: The scale (the published variant shortens one).
            record: What to keep of the steps.
        """

    def passes(self, scale: float) -> int:
        """Passes (there or back) of one view for one triple, or picture if `one_pass`, at one scale."""
        return 1

    def brief(self, scale: float) -> "Method":
        """The same method at one scale with as few steps as show how long one takes, to estimate a run."""
        brief = copy.copy(self)
        brief.scales = (scale,)
        return brief

    def cost(self, class_counts: Iterable[int]) -> Cost:
        """Cost of pictures with so many classes each, in passes of one view at scale 1."""
        counts = list(class_counts)
        areas = sum(self.passes(scale) * scale**2 for scale in self.scales) * (2 if self.flip else 1)
        climbed = sum(min(count, 1) for count in counts) if self.one_pass else sum(counts)
        return Cost(sum(counts) * len(self.scales), climbed * areas)

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

    def _sizes(self, images: Sequence[Image.Image], scale: float) -> list[tuple[int, int]]:
        """(width, height) of each picture as the network sees it."""
        fixed = self.classifier.fixed_size
        if fixed is not None:
            return [(fixed[1], fixed[0])] * len(images)
        unit = math.lcm(self.classifier.size_multiple, self.size_grid)
        return [input_size(working_size(image.size, self.max_side), scale, unit) for image in images]

    def _run_scale(
        self, network: Network, ahead: Ahead, fused: list[list[FusedMap]], scale: float, record: Record
    ) -> None:
        # What cannot be divided: a picture with all its classes if one pass serves them, else each class.
        work = [
            (ahead.sizes[i], (i, part))
            for i, maps in enumerate(fused)
            for part in ([maps] if maps and self.one_pass else [[one] for one in maps])
        ]
        for size, bucket in buckets(work):
            ahead.expect(i for i, _ in bucket)
            area, start = size[0] * size[1] * (2 if self.flip else 1), 0
            while start < len(bucket):
                part = bucket[start : start + self.batch.at(area)]
                result = self._attempt(network, ahead, part, scale, record)
                if result is None:
                    self._give_way(len(part), area, size)
                    continue
                self.batch.grow()
                start += len(part)
                for row, maps in enumerate(one for _, several in part for one in several):
                    maps.add(Triple(result, row, scale), self.classifier.denormalise)

    def _attempt(
        self,
        network: Network,
        ahead: Ahead,
        part: Sequence[tuple[int, list[FusedMap]]],
        scale: float,
        record: Record,
    ) -> ScaleMaps | None:
        """The maps of a batch, on the CPU; None where memory ran out."""
        order = list(dict.fromkeys(i for i, _ in part))
        try:
            views = self._views(ahead.get(order))
            classes = torch.tensor([one.class_id for _, several in part for one in several], device=views.device)
            pictures = [order.index(i) for i, several in part for _ in several]
            return self.scale_maps(network, Batch(views, classes, pictures), scale, record).cpu()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        return None  # outside of the handler, where the error no longer holds on to the tensors

    def _give_way(self, pairs: int, area: int, size: tuple[int, int]) -> None:
        """Halve the batch, or give up where there is nothing to halve."""
        device = self.classifier.device
        if device.type == "cuda":
            torch.cuda.empty_cache()
        if pairs == 1:
            raise OutOfMemoryError(
                f"a single picture of {size[0]} x {size[1]} pixels does not fit into the memory of {device}; make it "
                'smaller (max_side, scales), leave the flip away, use precision="bfloat16", or another device'
            )
        self.batch.halve(pairs, area)

    def _views(self, pictures: Tensor) -> Tensor:
        """Pictures (P, 3, H, W), uint8, normalised on the device with their mirror images if asked for."""
        device = self.classifier.device
        # In float64 until it is normalised, as the published code does: a climb amplifies the rounding.
        wide = torch.float32 if device.type == "mps" else torch.float64
        view = self.classifier.normalise(pictures.to(device).to(wide) / 255)
        return torch.stack([view, view.flip(-1)] if self.flip else [view], dim=1)

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
