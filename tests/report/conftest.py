"""Pictures with made-up maps for the tests of the report."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from advcam.report import ReportPicture, ReportSummary
from advcam.types import Attribution

HEIGHT, WIDTH = 300, 450


def photo(width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    """Smooth colours with some grain, so that it compresses about as a photograph does."""
    y, x = np.mgrid[:height, :width]
    waves = np.stack([np.sin(x / 37), np.cos(y / 23), np.sin((x + y) / 51)], axis=-1) * 90 + 128
    grain = np.random.default_rng(0).normal(0, 6, waves.shape)
    return Image.fromarray(np.clip(waves + grain, 0, 255).astype(np.uint8))


def growing_maps(steps: int) -> NDArray[np.float32]:
    """A disc of heat around the middle that grows from step to step, (steps, 75, 112), each of maximum 1."""
    y, x = np.mgrid[:75, :112]
    distance = np.hypot((y - 37) / 75, (x - 56) / 112)
    maps = np.stack([np.exp(-((distance / (0.1 + 0.02 * t)) ** 2)) for t in range(steps)])
    return maps.astype(np.float32)


@pytest.fixture
def make_picture() -> Callable[..., ReportPicture]:
    """A picture with the given classes, each with a climb of `steps` steps; None: the method has no climb."""

    def make(
        sample_id: str = "cat.jpg",
        names: tuple[str, ...] = ("tabby cat",),
        steps: int | None = 11,
        zero: bool = False,
    ) -> ReportPicture:
        one_class = growing_maps(steps or 1) * (0 if zero else 1)
        maps = np.stack([one_class] * len(names)) if names else np.zeros((0, *one_class.shape), np.float32)
        attribution = Attribution(
            class_ids=tuple(range(len(names))),
            class_names=names,
            maps=maps[:, -1],
            image_size=(HEIGHT, WIDTH),
            scores=np.full(len(names), 5.25, np.float32),
            steps=maps if steps else None,
        )
        mask = attribution.label_mask(0.3)
        scores = np.stack([5.25 + np.arange(steps or 1)] * len(names)) if names else np.zeros((0, steps or 1))
        return ReportPicture(
            sample_id=sample_id,
            picture=photo(),
            attribution=attribution,
            mask=mask,
            mask_names={c + 1: name for c, name in enumerate(names) if (mask == c + 1).any()},
            step_scores=scores.astype(np.float32) if steps else None,
            boxes=attribution.boxes(0.3),
        )

    return make


@pytest.fixture
def summary() -> ReportSummary:
    return ReportSummary(
        title="advcam localize",
        method="AdvCAM",
        facts=[("Classifier", "tf_efficientnet_lite0"), ("Command", "advcam localize photos --out run")],
        pictures_total=300,
        skipped=[],
        threshold=0.3,
    )
