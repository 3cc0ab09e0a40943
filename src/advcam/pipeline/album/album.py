"""The base of all albums: what the kinds of runs have in common."""

from abc import ABC
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from advcam.datasets.dataset import Dataset
from advcam.errors import AdvcamError, PictureError, RunError, counted
from advcam.export.annotated import AnnotatedPicture
from advcam.pipeline.album.classes import ClassTable
from advcam.pseudo.objects import mask_instances
from advcam.store.corrections import Corrections
from advcam.store.index import id_digest
from advcam.store.maps import MapStore, StoredMaps
from advcam.store.masks import read_mask
from advcam.store.run import OutputNames, output_names
from advcam.types import DEFAULT_THRESHOLD, Box, Instance, Mask, Sample

Kind = Literal["chain", "localize", "predict", "pictures"]


@dataclass(frozen=True)
class MaskSet:
    """Masks of one kind.

    Args:
        folder: Holds NAME.png.
        names: NAME of each picture.
        classes: Of the numbers in the files.
    """

    folder: Path
    names: OutputNames
    classes: ClassTable


class Album(ABC):
    """A run, or a folder of pictures.

    Args:
        folder: Of the run; of the work that is done on a folder of pictures.
        samples: The pictures, as the run lists them.
        classes: Of the masks.

    Attributes:
        kind: Of the run.
        title: What it is, for people.
        facts: Name and value.
        dataset: That the pictures are from; None where they are files alone.
        stores: Folder of the map store of each stage that makes maps, in the order of the stages.
        sets: The masks, those that count first.
        background_power: Of the masks, in place of a threshold.
        band: Of undecided pixels around the threshold of the masks.
        corrections: Of the masks.
    """

    kind: ClassVar[Kind]

    def __init__(self, folder: Path, samples: Sequence[Sample], classes: ClassTable) -> None:
        self.folder, self.samples, self.table = folder, list(samples), classes
        self.title, self.facts = folder.resolve().name, list[tuple[str, str]]()
        self.dataset: Dataset | None = None
        self.stores: dict[str, Path] = {}
        self.sets: dict[str, MaskSet] = {}
        self.background_power: float | None = None
        self.band = 0.0
        self.names = output_names([sample.id for sample in self.samples])
        self.corrections = Corrections(folder)
        self._opened: dict[str, tuple[int, MapStore]] = {}

    @property
    def classes(self) -> Mapping[int, str]:
        """Name of each class by its number in the masks."""
        return self.table.names

    @cached_property
    def places(self) -> Mapping[str, int]:
        """Place of each picture in the list, by its id."""
        return {sample.id: place for place, sample in enumerate(self.samples)}

    def sample(self, id_: str) -> Sample:
        """A picture by its id.

        Raises:
            RunError: The run has no such picture.
        """
        if id_ not in self.places:
            raise RunError(f"{self.folder} has no picture {id_!r}; it has {counted(len(self.samples), 'picture')}")
        return self.samples[self.places[id_]]

    @property
    def map_stages(self) -> tuple[str, ...]:
        """The stages whose maps are there."""
        return tuple(stage for stage, folder in self.stores.items() if folder.is_dir())

    @property
    def mask_sets(self) -> tuple[str, ...]:
        """The sets of masks that are there, those that count first."""
        return tuple(name for name, masks in self.sets.items() if masks.folder.is_dir())

    def threshold_of(self, stage: str) -> float:
        """The threshold that belongs to the maps of a stage."""
        return DEFAULT_THRESHOLD

    @property
    def threshold(self) -> float:
        """The threshold that the masks were made with."""
        return self.threshold_of(next(reversed(self.stores), ""))

    def number_of(self, class_id: int) -> int | None:
        """Number in the masks of an output of the classifier; None where the run has not met it."""
        return self.table.numbers.get(class_id)

    def labels(self, id_: str) -> tuple[int, ...]:
        """Numbers of the classes that a picture is known to show."""
        names = self.sample(id_).labels or ()
        return tuple(dict.fromkeys(number for name in names if (number := self.table.number(name)) is not None))

    def maps(self, stage: str, id_: str) -> StoredMaps | None:
        """The maps of a picture; None where the stage has none of it.

        Raises:
            RunError: They are damaged.
        """
        folder = self.stores.get(stage)
        if folder is None or not folder.is_dir():
            return None
        with suppress(FileNotFoundError):
            store = self._store(stage, folder)
            return store.get(id_) if id_ in store.index() else None
        return None  # it went meanwhile

    def _store(self, stage: str, folder: Path) -> MapStore:
        """The maps of a stage, opened anew where shards came or went since."""
        changed = folder.stat().st_mtime_ns
        if stage not in self._opened or self._opened[stage][0] != changed:
            self._opened[stage] = changed, MapStore(folder)
        return self._opened[stage][1]

    def mask(self, set_: str, id_: str) -> Mask | None:
        """A mask (H, W) as the run wrote it, in the class numbers of the album; None where there is none.

        Raises:
            PictureError: It is damaged.
        """
        masks = self.sets.get(set_)
        path = None if masks is None else masks.folder / f"{masks.names[id_]}.png"
        if masks is None or path is None or not path.is_file():
            return None
        return self.table.renumbered(read_mask(path), masks.classes)

    def own_mask(self, id_: str) -> Mask | None:
        """The mask that the run made of a picture: of the first of its sets that has one."""
        return next((mask for set_ in self.sets if (mask := self.mask(set_, id_)) is not None), None)

    def final_mask(self, id_: str) -> Mask | None:
        """The corrected mask of a picture, or else that of the run."""
        corrected = self.corrections.mask(id_)
        return self.own_mask(id_) if corrected is None else corrected

    def truth(self, id_: str) -> Mask | None:
        """The true mask (H, W); None where there is none, or where its classes are others than those of the run.

        Raises:
            DatasetError: It is broken.
        """
        mask = None if self.dataset is None else self.dataset.mask(id_)
        return None if mask is None or self.dataset is None else self.table.translated(mask, self.dataset.class_names)

    def true_boxes(self, id_: str) -> tuple[Box, ...]:
        """The true boxes, their `class_id` one less than the number of the class in the masks."""
        if self.dataset is None:
            return ()
        names = self.dataset.class_names
        found = [(box, self.table.number(names[box.class_id])) for box in self.dataset.boxes(id_) or ()]
        return tuple(replace(box, class_id=number - 1) for box, number in found if number is not None)

    def boxes(self, id_: str) -> list[Box]:
        """Boxes around the objects of the final mask; `class_id` is the number of the class less one."""
        return [object_box(one) for one in self.objects(id_)]

    def objects(self, id_: str) -> tuple[Instance, ...]:
        """Objects of the final mask, class by class, the largest first; `class_id` is the number less one.

        Those that the run found, unless the mask was corrected: then its connected parts.
        """
        mask = self.final_mask(id_)
        return () if mask is None else self._objects_of(id_, mask)

    def _objects_of(self, id_: str, mask: Mask) -> tuple[Instance, ...]:
        """The objects of a final mask that was read already."""
        own = None if self.corrections.review(id_).mask is not None else self.own_objects(id_, mask)
        if own is not None and all(one.mask.shape == mask.shape for one in own):
            return own
        return tuple(mask_instances(mask))

    def own_objects(self, id_: str, mask: Mask) -> tuple[Instance, ...] | None:
        """The objects that the run made of a picture with its own mask (H, W); None where it made none of any."""
        return None

    def confidence(self, id_: str) -> Mapping[int, float]:
        """How sure the run is of each class of a picture, in [0, 1], by class number; empty where it does not say."""
        return {}

    def annotated(self, id_: str) -> AnnotatedPicture | None:
        """A picture with its final mask and objects, to be handed on; None where it has no mask.

        Raises:
            PictureError: The mask is damaged.
        """
        mask = self.final_mask(id_)
        if mask is None:
            return None
        path = self.sample(id_).path
        return AnnotatedPicture(id_, self.names[id_], path, mask, self._objects_of(id_, mask), self.labels(id_))

    def disagreement(self, id_: str) -> float | None:
        """How much the last maps and the first ones disagree about a picture: 1 - IoU of what they call foreground.

        None where there are not two stages. Doubtful pictures are those that the stages see differently.
        """
        seen: list[np.ndarray] = []
        for stage in self.map_stages:
            with suppress(AdvcamError):
                row = self.maps(stage, id_)
                if row is not None and len(row.attribution.maps):
                    seen.append(row.attribution.label_mask(self.threshold_of(stage)) > 0)
        if len(seen) < 2 or seen[0].shape != seen[-1].shape:
            return None
        union = int((seen[0] | seen[-1]).sum())
        return 1 - int((seen[0] & seen[-1]).sum()) / union if union else 0.0

    def fingerprint(self, id_: str) -> int:
        """Another number when the files of a picture in the run have changed."""
        facts = [str(self.corrections.review(id_))]
        for masks in self.sets.values():
            with suppress(OSError):
                stat = (masks.folder / f"{masks.names[id_]}.png").stat()
                facts.append(f"{stat.st_size} {stat.st_mtime_ns}")
        return id_digest(" ".join(facts))


def object_box(instance: Instance) -> Box:
    """The box around an object.

    Raises:
        PictureError: It has no pixel.
    """
    rows, columns = np.flatnonzero(instance.mask.any(axis=1)), np.flatnonzero(instance.mask.any(axis=0))
    if not len(rows):
        raise PictureError("an object without a pixel has no box; leave it out")
    sides = int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
    return Box(instance.class_id, *sides, instance.score)
