"""Pictures, and networks that note what they are asked; for tests of what a climb costs."""

from typing import ClassVar

import literal
import numpy as np
import torch
from literal import ToyNetwork
from PIL import Image
from torch import Tensor

from advcam import Classifier
from advcam.attribution.response import Response
from advcam.attribution.settings import ClimbSettings

CLASSES = 5
#: A network, its pictures with a class of each, and a step, whose maps change by less and less. With lambda = 1, where
#: every position is masked, the penalty costs what a step earns: the gradient that is left is rounding, and no two
#: computations agree on it. So lambda is smaller here.
SEED, STEPS, XI, LAMBDA = 1, 8, 0.3, 0.5
CLIMB = ClimbSettings(iterations=STEPS, step_size=XI, penalty=LAMBDA)
TRIPLES = [(0, 1), (1, 0), (1, 2), (2, 4), (2, 0)]


def picture(width: int = 72, height: int = 64, seed: int = 0) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def pairs(count: int, scale: float = 0.5) -> Tensor:
    """So many pictures, normalised, with their mirror images, (P, 2, 3, H, W)."""
    return torch.stack([literal.pair_of(picture(seed=seed), scale) for seed in range(count)])


class Counted:
    """Notes how many triples each pass is about, of two views each."""

    def __init__(self, seed: int = 0) -> None:
        self.module = ToyNetwork(seed, classes=CLASSES, bias=True)
        self.classifier = Classifier.from_module(self.module)
        self.passes: list[int] = []

    def respond(self, inputs: Tensor) -> Response:
        self.passes.append(len(inputs) // 2)
        return self.classifier.respond(inputs)


class Sizes(ToyNetwork):
    """Notes the shapes of what it and its copies are asked."""

    seen: ClassVar[list[tuple[int, ...]]] = []

    def forward(self, inputs: Tensor) -> Tensor:
        self.seen.append(tuple(inputs.shape))
        return super().forward(inputs)
