"""The stage that explains pictures: a shard of them to maps in the store, and to masks and overlays beside it."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from PIL import Image

from advcam.attribution.method import Method
from advcam.attribution.registry import create_method
from advcam.attribution.response import Record
from advcam.classifiers.catalogue import load_classifier
from advcam.classifiers.classifier import Classifier
from advcam.datasets.pictures import read_picture
from advcam.errors import ModelError, PictureError
from advcam.pipeline.attempt import Attempt
from advcam.pipeline.config import LocalizeSettings
from advcam.pipeline.decoding import Decoder
from advcam.pipeline.flow import WriteBehind
from advcam.pipeline.outputs import Outputs
from advcam.pipeline.shard_pictures import pictures_of
from advcam.pipeline.shard_rows import ShardRows
from advcam.pipeline.shards import Shard, ShardResult, Told
from advcam.pipeline.targets import Chooser
from advcam.store.maps import MapStore, StoredMaps
from advcam.types import Attribution, FloatArray, Sample

#: Pictures handed over together: on a CPU they gain nothing by it, on a GPU those of one size fill a batch.
_GROUP_OF_A_CPU, _GROUP = 1, 64


@dataclass(frozen=True)
class Given:
    """What is known of a picture beforehand; a value of `Shard.given`.

    Args:
        classes: Outputs of the classifier to explain; None where only the picture decides.
        recorded: Whether the report shows its climb.
        name: Of its output files.
    """

    classes: list[int] | None
    recorded: bool
    name: str


class LocalizeTask:
    """The stage as it is sent to a process.

    Args:
        settings: Of the run.
        chooser: Chooses the classes of pictures that come without.
        method: What `load` would make of the settings, if it is at hand; another process makes its own.
    """

    def __init__(self, settings: LocalizeSettings, chooser: Chooser, method: Method | None = None) -> None:
        self.settings, self.chooser, self.method = settings, chooser, method

    def __getstate__(self) -> dict[str, Any]:
        return {"settings": self.settings, "chooser": self.chooser, "method": None}

    def load(self) -> "Localizer":
        """See `ShardTask.load`."""
        method = self.method
        if method is None:
            model = self.settings.model
            classifier = load_classifier(model.model, **model.model_dump(exclude={"model"}))
            method = create_method(self.settings.method.method, classifier, **self.settings.method.chosen())
        return Localizer(self.settings, method, self.chooser)


@dataclass(frozen=True)
class _Read:
    """A picture that is being read."""

    sample: Sample
    given: Given
    picture: Future[Image.Image]


class Localizer:
    """Explains the pictures of shards.

    Args:
        settings: Of the run.
        method: How.
        chooser: Chooses the classes of pictures that come without.
        decode: Reads a picture.
    """

    def __init__(
        self, settings: LocalizeSettings, method: Method, chooser: Chooser, decode: Decoder = read_picture
    ) -> None:
        self.settings, self.chooser, self.decode = settings, chooser, decode
        self.method, self.classifier = method, cast(Classifier, method.classifier)
        self.store = MapStore(settings.out / "maps")
        self.outputs = Outputs(settings.out, settings.outputs, self.classifier.class_names)
        on_cpu = self.classifier.device.type == "cpu"
        self.group = _GROUP_OF_A_CPU if on_cpu else _GROUP

    def __call__(self, shard: Shard, told: Told) -> ShardResult:
        """See `ShardTask`. An interrupt leaves the finished pictures in a piece."""
        return _ShardOfMaps(self, shard, told).run()


class _ShardOfMaps:
    """A shard that is being worked on."""

    def __init__(self, localizer: Localizer, shard: Shard, told: Told) -> None:
        self.localizer, self.shard, self.attempt = localizer, shard, Attempt(shard, told)
        self.outputs = localizer.outputs
        self.rows = ShardRows(localizer.store, shard)

    def run(self) -> ShardResult:
        """Work through the pictures and write the shard."""
        with self.attempt, self.rows, WriteBehind() as self.writer, ExitStack() as stack:
            for group in self._groups(stack):
                self._compute(group)
        return self.attempt.result()

    def _groups(self, stack: ExitStack) -> Iterator[list[_Read]]:
        """The pictures, read ahead, in groups as the device likes them."""
        size = 1 if self.shard.careful else self.localizer.group
        group: list[_Read] = []
        for one in pictures_of(self.shard, 2 * size, stack, self.localizer.decode):
            group.append(_Read(*one))
            if len(group) == size:
                yield group
                group = []
        if group:
            yield group

    def _compute(self, group: Sequence[_Read]) -> None:
        """Explain the pictures of a group together; where one of them fails, each alone."""
        for record, part in _by(group, lambda one: one.given.recorded):
            for one in part:
                self.attempt.begins(one.sample.id)
            try:
                results = self._explain(part, "maps" if record else "none")
            except (PictureError, ModelError) as error:
                if len(part) > 1:
                    for one in part:
                        self._compute([one])
                    continue
                self.attempt.skip(part[0].sample.id, error)
                continue
            for one, attribution in zip(part, results, strict=True):
                self.writer.submit(self._keep, one, one.picture.result(), attribution)
                self.attempt.done(one.sample.id)

    def _explain(self, part: Sequence[_Read], record: Record) -> list[Attribution]:
        pictures = [one.picture.result() for one in part]
        chooser, classifier = self.localizer.chooser, self.localizer.classifier
        classes = [
            chooser.choose(classifier, one.sample, picture) if one.given.classes is None else one.given.classes
            for one, picture in zip(part, pictures, strict=True)
        ]
        return self.localizer.method(pictures, classes, record=record)

    def _keep(self, one: _Read, picture: Image.Image, attribution: Attribution) -> None:
        # As the store will give it back, so that a resumed run is equal to an uninterrupted one.
        attribution = replace(attribution, maps=attribution.maps.astype(np.float16).astype(np.float32))
        self.outputs.write_picture(one.given.name, picture, attribution)
        sample = one.sample
        self.rows.add(StoredMaps(sample.id, file_bytes(sample), attribution, step_scores(attribution)))


def _by(group: Sequence[_Read], question: Callable[[_Read], bool]) -> list[tuple[bool, list[_Read]]]:
    """The group in two parts by the answer, without empty ones."""
    parts = [(answer, [one for one in group if question(one) is answer]) for answer in (True, False)]
    return [part for part in parts if part[1]]


def step_scores(attribution: Attribution) -> FloatArray | None:
    """Score of each class after each step at the scale nearest to 1, (C, S); a shorter climb waits at its end."""
    if not attribution.trajectories or attribution.steps is None:
        return None
    length, rows = attribution.steps.shape[1], []
    for class_id in attribution.class_ids:
        own = [t for t in attribution.trajectories if t.class_id == class_id]
        nearest = min(own, key=lambda t: abs(t.scale - 1))
        scores = nearest.scores[:, class_id]
        rows.append(np.pad(scores, (0, length - len(scores)), mode="edge"))
    return np.stack(rows).astype(np.float32)


def file_bytes(sample: Sample) -> int:
    """Size of a picture's file in bytes; -1 where it cannot be told."""
    try:
        return sample.path.stat().st_size
    except OSError:
        return -1
