"""The albums of `advcam localize` and `advcam predict`."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np

from advcam.datasets.catalogue import open_dataset
from advcam.datasets.dataset import Dataset
from advcam.datasets.labels import label_samples
from advcam.datasets.pictures import find_pictures
from advcam.errors import SettingError
from advcam.pipeline.album.album import Album, MaskSet
from advcam.pipeline.album.classes import ClassTable
from advcam.pipeline.album.places import found_again
from advcam.pipeline.config import LocalizeSettings, kept_settings
from advcam.pipeline.lost_rows import PREDICTIONS
from advcam.pipeline.predicting.settings import PredictSettings
from advcam.pipeline.targets import evenly, samples_of
from advcam.pseudo.objects import instances
from advcam.store.maps import MapStore
from advcam.types import Instance, Mask, Sample
from advcam.untrusted import read_json

_CLASSES, _MASKS = "classes.json", "masks"
LOCALIZE = "localize"


class LocalizeAlbum(Album):
    """A run of `advcam localize`.

    Raises:
        RunError: Its settings or classes are damaged.
        AdvcamError: Its pictures are not there.
    """

    kind = "localize"

    def __init__(self, folder: Path) -> None:
        self.settings = settings = kept_settings(folder, LocalizeSettings)
        dataset, samples = _pictures(settings, folder)
        path = folder / _CLASSES
        super().__init__(folder, samples, ClassTable.read(path) if path.is_file() else ClassTable())
        self.dataset = dataset
        self.stores = {LOCALIZE: folder / "maps"}
        self.sets = {_MASKS: MaskSet(folder / _MASKS, self.names, self.table)}
        method, model = settings.method, settings.model
        self.facts = [("Method", method.method), ("Classifier", model.model), ("Pictures", f"{len(samples):,}")]

    def threshold_of(self, stage: str) -> float:
        """That of the settings."""
        return self.settings.outputs.threshold

    def labels(self, id_: str) -> tuple[int, ...]:
        """The classes that were explained, where labels do not say it."""
        named = super().labels(id_)
        if named:
            return named
        row = self.maps(LOCALIZE, id_)
        class_ids = () if row is None else row.attribution.class_ids
        return tuple(number for one in class_ids if (number := self.number_of(one)) is not None)

    def own_objects(self, id_: str, mask: Mask) -> tuple[Instance, ...] | None:
        """The connected parts of the mask, each with the mean of its map as score; None where the maps are gone."""
        row = self.maps(LOCALIZE, id_)
        if row is None or mask.shape != tuple(row.attribution.image_size):
            return None
        numbers = {class_id + 1: self.number_of(class_id) for class_id in row.attribution.class_ids}
        of_classes = np.zeros_like(mask)
        for value, number in numbers.items():
            of_classes[mask == number] = value
        found = instances(row.attribution, of_classes)
        return tuple(replace(one, class_id=(numbers[one.class_id + 1] or 1) - 1) for one in found)


class PredictAlbum(Album):
    """A run of `advcam predict`.

    Raises:
        RunError: Its settings or classes are damaged.
        AdvcamError: Its pictures are not there.
    """

    kind = "predict"

    def __init__(self, folder: Path) -> None:
        self.settings = settings = kept_settings(folder, PredictSettings)
        samples = _files(settings.inputs, settings.labels, folder)
        path = folder / _CLASSES
        super().__init__(folder, samples, ClassTable.read(path) if path.is_file() else ClassTable())
        self.sets = {_MASKS: MaskSet(folder / _MASKS, self.names, self.table)}
        self.facts = [("Segmentation network", str(settings.segmenter)), ("Pictures", f"{len(samples):,}")]

    def labels(self, id_: str) -> tuple[int, ...]:
        """The labels, or what the network saw."""
        return super().labels(id_) or tuple(self.confidence(id_))

    def confidence(self, id_: str) -> Mapping[int, float]:
        """The mean probability over the pixels of each class."""
        return self._confidences.get(id_, {})

    @cached_property
    def _confidences(self) -> Mapping[str, Mapping[int, float]]:
        with suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
            pictures = read_json(self.folder / PREDICTIONS)["pictures"]
            return {id_: self._sure(entry["classes"]) for id_, entry in pictures.items()}
        return {}

    def _sure(self, classes: Sequence[Mapping[str, object]]) -> dict[int, float]:
        found = [(self.table.number(str(one["class"])), float(str(one["confidence"]))) for one in classes]
        return {number: sure for number, sure in found if number is not None}


def _pictures(settings: LocalizeSettings, run: Path) -> tuple[Dataset | None, Sequence[Sample]]:
    """The pictures of a localization, without its classifier."""
    if settings.data is None:
        return None, _files(settings.inputs, settings.labels, run)
    root = found_again(settings.data, run)
    dataset = open_dataset(root, settings.layout)
    samples = samples_of(dataset, settings.split or "", root)
    samples = samples if settings.limit is None else evenly(samples, settings.limit)
    if settings.groups is None:
        return dataset, samples
    index = MapStore(run / "maps").index()  # the groups leave pictures out
    return dataset, [sample for sample in samples if sample.id in index]


def _files(inputs: Sequence[str], labels: str | None, run: Path) -> Sequence[Sample]:
    """Pictures as files; those that the labels leave out are left out."""
    own = run.resolve()
    there = [str(found_again(Path(item), run)) for item in inputs]
    found = [sample for sample in find_pictures(there) if own not in sample.path.resolve().parents]
    if not found:
        raise SettingError(f"all pictures lie in {run}, the folder of the run")
    if labels is None or labels == "predicted":
        return [replace(sample, labels=None) for sample in found]
    source = labels if labels == "folders" else str(found_again(Path(labels), run))
    return label_samples(found, source).samples
