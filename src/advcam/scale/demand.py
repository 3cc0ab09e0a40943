"""What a stage asks for each picture: seconds of a worker, bytes and files, from costs that were measured once.

A stage costs a picture passes of its network and seconds besides; both grow with the area of the picture, and the
passes of an attribution method with the number of classes, too.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

from advcam.errors import SettingError
from advcam.pipeline.chain.settings import IrnRefinement
from advcam.pipeline.chain.stage import PASS_PIXELS
from advcam.segment.inference import InferenceSettings
from advcam.segment.settings import SegmenterSettings
from advcam.training.settings import ClassifierSettings

StageName = Literal[
    "train-classifier", "localize", "refine-crf", "refine-affinity", "refine-irn", "train-segmenter", "predict"
]


@dataclass(frozen=True)
class Figures:
    """Costs of a worker: seconds on one thread of a CPU for a picture of 375 x 500, bytes of the same.

    The defaults were measured by benchmarks/sizing.py on VOC 2012 with the embedded network (docs/sizing.md).

    Args:
        pass_seconds: One pass of the attribution method's network, there or back.
        look_seconds: A picture through the segmentation network, there.
        step_seconds: A picture in a step of training: there, and back to inputs and weights; by stage.
        read_seconds: Reading and decoding a picture.
        output_seconds: Mask, overlay and row of the map store: made and encoded.
        crf_seconds: Dense CRF of a picture and its labels.
        affinity_seconds: Local affinity of a picture and its maps.
        walk_seconds: Confident labels (two CRFs), edges and random walk of IRN.
        spread: Standard deviation of a picture's time over its mean.
        picture_bytes: Of a picture's file.
        map_bytes: Of the stored map of one class.
        score_bytes: Of the stored scores of one class after a refinement, at the size of the picture; by stage.
        mask_bytes: Of a mask.
        overlay_bytes: Of an overlay.
        worker_bytes: Peak memory of a worker.
        listed_bytes: Memory for each picture of the process that hands out the shards.
        apart: Whether pictures are read, refined and encoded beside the network, on cores of their own, as with a GPU.
    """

    pass_seconds: float = 0.069
    look_seconds: float = 0.107
    step_seconds: dict[str, float] = field(
        default_factory=lambda: {"train-classifier": 0.38, "refine-irn": 0.53, "train-segmenter": 0.61}
    )
    read_seconds: float = 0.002
    output_seconds: float = 0.072
    crf_seconds: float = 0.61
    affinity_seconds: float = 0.078
    walk_seconds: float = 1.31
    spread: float = 0.46
    picture_bytes: float = 92e3
    map_bytes: float = 20e3
    score_bytes: dict[str, float] = field(
        default_factory=lambda: {"refine-crf": 267e3, "refine-affinity": 257e3, "refine-irn": 299e3}
    )
    mask_bytes: float = 2.6e3
    overlay_bytes: float = 49e3
    worker_bytes: float = 1.67e9
    listed_bytes: float = 1.1e3
    apart: bool = False

    def at_pass(self, seconds: float, *, apart: bool) -> "Figures":
        """The figures of a worker whose passes take so long; what its networks do otherwise scales alike.

        Args:
            seconds: One pass over a picture of 375 x 500.
            apart: See the field.

        Raises:
            SettingError: The seconds are not positive.
        """
        if not 0 < seconds < math.inf:
            raise SettingError(f"seconds of a pass are positive; got {seconds}")
        factor = seconds / self.pass_seconds
        steps = {name: factor * step for name, step in self.step_seconds.items()}
        look = factor * self.look_seconds
        return replace(self, pass_seconds=seconds, look_seconds=look, step_seconds=steps, apart=apart)


@dataclass(frozen=True)
class Job:
    """What is to be done.

    Args:
        pictures: How many.
        passes: Of the attribution method for a picture of this size and so many classes (`Method.cost`).
        classes: Mean number of classes of a picture.
        area: Mean area over 375 x 500 pixels.
        overlays: Whether pictures with their maps over them are written, as they are by default.

    Raises:
        SettingError: A value outside of its range.
    """

    pictures: int
    passes: float
    classes: float = 1.0
    area: float = 1.0
    overlays: bool = True

    def __post_init__(self) -> None:
        if self.pictures < 1:
            raise SettingError(f"pictures is at least 1; got {self.pictures}")
        for name, value in (("passes", self.passes), ("classes", self.classes), ("area", self.area)):
            if not 0 < value < math.inf:
                raise SettingError(f"{name} is positive; got {value}")


@dataclass(frozen=True)
class Demand:
    """What a stage asks for each picture.

    Args:
        seconds: Of a worker, mapping.
        taught_seconds: Of a process, over a whole training.
        epochs: Of the training.
        batch: Pictures of a step of the training, over all processes: more processes have nothing to do.
        read_bytes: From the store.
        files: Objects that are written for it, with their bytes.
        row_bytes: Its row in the shard.
    """

    seconds: float = 0.0
    taught_seconds: float = 0.0
    epochs: int = 1
    batch: int = 1
    read_bytes: float = 0.0
    files: tuple[float, ...] = ()
    row_bytes: float = 0.0


def demand_of(stage: StageName, job: Job, figures: Figures) -> Demand:
    """What a stage asks for each picture of a job."""
    return _DEMANDS[stage](job, figures)


def _localize(job: Job, figures: Figures) -> Demand:
    files = _files(job, figures)
    seconds = _beside(figures, job.area * job.passes * figures.pass_seconds, job.area * figures.output_seconds, job)
    return Demand(seconds, read_bytes=_picture(job, figures), files=files, row_bytes=_maps(job, figures))


def _crf(job: Job, figures: Figures) -> Demand:
    return _refined("refine-crf", job, figures, figures.crf_seconds)


def _affinity(job: Job, figures: Figures) -> Demand:
    return _refined("refine-affinity", job, figures, figures.affinity_seconds)


def _irn(job: Job, figures: Figures) -> Demand:
    settings, mapped = IrnRefinement(), _refined("refine-irn", job, figures, figures.walk_seconds)
    epoch = figures.step_seconds["refine-irn"] * settings.crop**2 / PASS_PIXELS
    read = mapped.read_bytes + settings.epochs * (_picture(job, figures) + job.area * figures.mask_bytes)
    return replace(
        mapped,
        taught_seconds=settings.epochs * epoch,
        epochs=settings.epochs,
        batch=settings.batch_size,
        read_bytes=read,
        files=(job.area * figures.mask_bytes,),
    )


def _predict(job: Job, figures: Figures) -> Demand:
    looks = InferenceSettings()
    passes = sum(scale**2 for scale in looks.scales) * (1 + looks.flip)
    seconds = _beside(figures, job.area * passes * figures.look_seconds, job.area * figures.output_seconds, job)
    return Demand(seconds, read_bytes=_picture(job, figures), files=_files(job, figures))


def _classifier(job: Job, figures: Figures) -> Demand:
    settings = ClassifierSettings()
    epoch = figures.step_seconds["train-classifier"] * settings.side**2 / PASS_PIXELS
    read = settings.epochs * _picture(job, figures)
    taught = settings.epochs * epoch
    return Demand(taught_seconds=taught, epochs=settings.epochs, batch=settings.batch_size, read_bytes=read)


def _segmenter(job: Job, figures: Figures) -> Demand:
    settings = SegmenterSettings()
    epoch = figures.step_seconds["train-segmenter"] * settings.crop**2 / PASS_PIXELS
    read = settings.epochs * (_picture(job, figures) + job.area * figures.mask_bytes)
    taught = settings.epochs * epoch
    return Demand(taught_seconds=taught, epochs=settings.epochs, batch=settings.batch_size, read_bytes=read)


_DEMANDS: dict[StageName, Callable[[Job, Figures], Demand]] = {
    "train-classifier": _classifier,
    "localize": _localize,
    "refine-crf": _crf,
    "refine-affinity": _affinity,
    "refine-irn": _irn,
    "train-segmenter": _segmenter,
    "predict": _predict,
}
#: In the order of a chain.
STAGES: tuple[StageName, ...] = tuple(_DEMANDS)


def _refined(stage: StageName, job: Job, figures: Figures, refining: float) -> Demand:
    """A refinement works on the CPU's core, or on the cores beside a GPU: no other device was measured."""
    read = _picture(job, figures) + _maps(job, figures)
    seconds = job.area * (refining + figures.read_seconds)
    return Demand(seconds, read_bytes=read, row_bytes=job.classes * job.area * figures.score_bytes[stage])


def _beside(figures: Figures, network: float, output: float, job: Job) -> float:
    """One after the other on one core; else the network waits only for what takes longer than itself."""
    read = job.area * figures.read_seconds
    return max(network, read, output) if figures.apart else network + read + output


def _files(job: Job, figures: Figures) -> tuple[float, ...]:
    mask, overlay = job.area * figures.mask_bytes, job.area * figures.overlay_bytes
    return (mask, overlay) if job.overlays else (mask,)


def _picture(job: Job, figures: Figures) -> float:
    return job.area * figures.picture_bytes


def _maps(job: Job, figures: Figures) -> float:
    return job.area * job.classes * figures.map_bytes
