"""Climbing while somebody watches: AdvCAM on one picture, every step recorded, ended within a step when told so."""

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from advcam.attribution.advcam import AdvCAM
from advcam.attribution.method import Batch
from advcam.attribution.response import Network, Record, Response, ScaleMaps
from advcam.classifiers.catalogue import EMBEDDED, embedded_file, load_classifier
from advcam.classifiers.classifier import Classifier
from advcam.errors import LabelError, ModelError, SettingError
from advcam.pipeline.album import Album
from advcam.pipeline.album.places import found_again
from advcam.pipeline.config import ModelSettings
from advcam.pipeline.shard_maps import step_scores
from advcam.studio.run_method import kept_localization
from advcam.types import Attribution, FloatArray

#: Names of classes that a search shows.
_SHOWN = 50


@dataclass(frozen=True, eq=False)
class Climbed:
    """A finished climb.

    Args:
        attribution: Maps and steps, in float16 as stores keep them.
        step_scores: Score of each class after each step, (C, S).
    """

    attribution: Attribution
    step_scores: FloatArray | None

    @property
    def bytes(self) -> int:
        """That it takes in memory."""
        steps = self.attribution.steps
        return self.attribution.maps.nbytes + (0 if steps is None else steps.nbytes)


class LiveClassifier:
    """The classifier that live climbs use, loaded when the first one asks.

    Args:
        settings: Which one.
    """

    def __init__(self, settings: ModelSettings) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._loaded: Classifier | None = None

    @property
    def name(self) -> str:
        """For people."""
        weights = self.settings.weights
        return self.settings.model if weights is None else f"{self.settings.model} ({weights.name})"

    def problem(self) -> str:
        """Why it cannot be loaded, so far as can be told without loading it; empty where nothing speaks against it."""
        missing = [path for path in (self.settings.weights, self.settings.class_names) if path and not path.is_file()]
        if missing:
            return f"{missing[0]} is not there; start the studio with --model, --weights and --class-names"
        if self.settings.weights is None:
            if self.settings.model not in EMBEDDED:
                return f"{self.settings.model} needs its weights; start the studio with --weights"
            with suppress(ModelError):
                embedded_file(self.settings.model)
                return ""
            return f"the weights of {self.settings.model} are not installed; start the studio with --model"
        return ""

    def load(self) -> Classifier:
        """The classifier, frozen: several threads may ask it at once.

        Raises:
            AdvcamError: It cannot be loaded.
        """
        with self._lock:
            if self._loaded is None:
                loaded = load_classifier(self.settings.model, **self.settings.model_dump(exclude={"model"}))
                loaded.module.eval()
                loaded.module.requires_grad_(False)
                self._loaded = loaded
            return self._loaded

    def search(self, text: str) -> list[tuple[int, str]]:
        """Classes whose name contains a text, those that begin with it first.

        Raises:
            AdvcamError: The classifier cannot be loaded.
        """
        wanted = text.strip().casefold()
        named = list(enumerate(self.load().class_names))
        found = [(class_id, name) for class_id, name in named if wanted in name.casefold()]
        return sorted(found, key=lambda one: not one[1].casefold().startswith(wanted))[:_SHOWN]

    def check(self, class_ids: Sequence[int]) -> None:
        """Raise `LabelError` unless the classifier has all of these classes."""
        for class_id in class_ids:
            if not 0 <= class_id < len(self.load().class_names):
                raise LabelError(
                    f"the classifier has no class {class_id}; it knows {len(self.load().class_names)} classes, "
                    "numbered from 0"
                )


def climb(
    classifier: Classifier,
    picture: Image.Image,
    class_ids: Sequence[int],
    settings: Mapping[str, Any],
    begin: Callable[[int], None],
    step: Callable[[int], None],
) -> Climbed:
    """Climb some classes of a picture.

    Args:
        classifier: Whose classes.
        picture: Of any size.
        class_ids: The classes.
        settings: Arguments of `AdvCAM`.
        begin: Hears how many passes there will be at most.
        step: Hears of each pass over so many (class, scale) pairs; what it raises ends the climb.

    Raises:
        AdvcamError: See `AdvCAM`.
    """
    method = _WatchedClimb(classifier, **settings)
    method.step = step
    begin(len(class_ids) * sum(method.settings.steps_at(scale) + 1 for scale in method.scales))
    (found,) = method([picture], [list(class_ids)], record="maps")
    scores = step_scores(found)
    steps = None if found.steps is None else _as_stored(found.steps)
    return Climbed(replace(found, trajectories=(), maps=_as_stored(found.maps), steps=steps), scores)


def model_of(album: Album) -> ModelSettings:
    """The classifier whose maps a run has; the embedded one where the run does not say, or has none.

    Its files are looked for in the run first, which may have been moved.
    """
    kept = kept_localization(album)
    settings = ModelSettings() if kept is None else kept.model
    named = {"weights": settings.weights, "class_names": settings.class_names}
    here = {name: _in_run(path, album.folder) for name, path in named.items() if path is not None}
    return settings.model_copy(update={**here, "device": "cpu"})


def _in_run(path: Path, run: Path) -> Path:
    """A file of a classifier, as it leads somewhere from here; as it was where it leads nowhere."""
    trained = run / "classifier" / path.name
    if trained.is_file():
        return trained
    with suppress(SettingError):
        return found_again(path, run)
    return path


def _as_stored(maps: FloatArray) -> FloatArray:
    return maps.astype(np.float16).astype(np.float32)


class _WatchedClimb(AdvCAM):
    """AdvCAM that says how far it is."""

    step: Callable[[int], None]

    def scale_maps(self, network: Network, batch: Batch, scale: float, record: Record) -> ScaleMaps:
        heard = _Heard(network, lambda: self.step(len(batch.classes)))
        return super().scale_maps(heard, batch, scale, record)


class _Heard:
    """A network, and somebody who hears of each pass before it begins."""

    def __init__(self, network: Network, hear: Callable[[], None]) -> None:
        self.network, self.hear = network, hear

    def respond(self, inputs: Tensor) -> Response:
        self.hear()
        return self.network.respond(inputs)


@contextmanager
def core_to_spare() -> Iterator[None]:
    """While it lasts, networks on the CPU use one core less than there are, so that pages are answered beside them."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, (os.cpu_count() or 1) - 1))
    try:
        yield
    finally:
        torch.set_num_threads(before)
