"""How long a run will take: a few of its pictures are worked on, each scale with one step, and the rest is counted.

A climb takes time in proportion to steps, classes and picture area. So one step at each scale on pictures of the run
gives seconds for each (class x area), and the headers of a sample of the pictures say how much of it there is. Classes
are predicted in turn with it; reading and writing happen beside it, so they count only where they take longer.
"""

import io
import time
from collections.abc import Sequence
from statistics import fmean

from PIL import Image

from advcam.attribution.method import Method
from advcam.attribution.views import working_size
from advcam.datasets.pictures import read_picture
from advcam.datasets.sizes import stored_size
from advcam.errors import AdvcamError, DatasetError
from advcam.pipeline.config import OutputSettings
from advcam.pipeline.targets import Work, evenly
from advcam.types import Sample

_HEADERS = 200  # pictures whose size is looked up


def estimate(
    work: Work, samples: Sequence[Sample], method: Method, outputs: OutputSettings, count: int
) -> float | None:
    """Seconds that the pictures will take, from working on `count` of them; None if none of those can be used.

    Args:
        work: The classes.
        samples: The pictures to do.
        method: How.
        outputs: What is written.
        count: Pictures to try, evenly spread; those that cannot be read are left out.
    """
    tried = [one for one in map(_read, evenly(samples, count)) if one is not None]
    if not tried:
        return None
    started = time.perf_counter()
    classes = [work.classes(sample, picture) for sample, picture, _ in tried]
    predicting = (time.perf_counter() - started) / len(tried)
    pictures = [picture for _, picture, _ in tried]
    tried_load = sum(_load(method, picture.size, len(ids)) for picture, ids in zip(pictures, classes, strict=True))
    if not tried_load:
        return None
    try:
        climbing = sum(_seconds_at(method, scale, pictures, classes) for scale in method.scales)
    except AdvcamError:  # a picture or a network that the run itself will report
        return None
    load = fmean(_load(method, _size(sample), work.count(sample)) for sample in evenly(samples, _HEADERS))
    beside = fmean(seconds for _, _, seconds in tried) + _writing(method, pictures[0], classes[0], outputs)
    return len(samples) * max(climbing / tried_load * load + predicting, beside)


def _seconds_at(method: Method, scale: float, pictures: Sequence[Image.Image], classes: list[list[int]]) -> float:
    """Seconds at one scale, from one step there; the first call is not timed, as it makes ready what later ones use."""
    brief = method.brief(scale)
    brief(pictures[:1], classes[:1])
    started = time.perf_counter()
    brief(pictures, classes)
    return (time.perf_counter() - started) * method.passes(scale) / brief.passes(scale)


def _writing(method: Method, picture: Image.Image, classes: list[int], outputs: OutputSettings) -> float:
    """Seconds for mask and overlay of a picture, which are encoded and thrown away."""
    (attribution,) = method.brief(min(method.scales))([picture], [classes])
    started = time.perf_counter()
    mask = Image.fromarray(attribution.label_mask(outputs.threshold).astype("uint8"))
    mask.save(io.BytesIO(), "PNG")
    if outputs.overlays:
        attribution.overlay(picture).save(io.BytesIO(), "JPEG")
    return time.perf_counter() - started


def _read(sample: Sample) -> tuple[Sample, Image.Image, float] | None:
    started = time.perf_counter()
    try:
        return sample, read_picture(sample.path), time.perf_counter() - started
    except AdvcamError:
        return None


def _load(method: Method, size: tuple[int, int], classes: int) -> float:
    """What a climb's time is proportional to: working area times classes (times one if a pass serves them all)."""
    width, height = working_size(size, method.max_side)
    return width * height * (min(classes, 1) if method.one_pass else classes)


def _size(sample: Sample) -> tuple[int, int]:
    try:
        return stored_size(sample.path)
    except DatasetError:
        return 0, 0  # the run will skip it
