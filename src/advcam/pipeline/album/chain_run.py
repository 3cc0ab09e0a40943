"""The album of `advcam run`, `segment` and `refine`."""

import csv
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from advcam.errors import AdvcamError
from advcam.pipeline.album.album import Album, MaskSet
from advcam.pipeline.album.classes import ClassTable
from advcam.pipeline.album.places import found_again
from advcam.pipeline.chain.lesson import CONFIDENCE
from advcam.pipeline.chain.localizing import BASELINE, NAME
from advcam.pipeline.chain.pictures import read_pictures, with_test
from advcam.pipeline.chain.recipe_file import RECIPE, read_chain
from advcam.pipeline.chain.stage import read_record
from advcam.pipeline.chain.thresholding import NAME as THRESHOLD
from advcam.pipeline.chain.thresholding import read_threshold
from advcam.store.run import output_names
from advcam.store.segmentation import segment_pixels
from advcam.types import DEFAULT_THRESHOLD, Instance, Mask, Sample
from advcam.untrusted import read_json

PSEUDO, PREDICTIONS = "pseudo", "predictions"


class ChainAlbum(Album):
    """A run of a recipe: the pictures that get masks first, then the others that the segmentation network was shown.

    Raises:
        RunError: Its classes are damaged.
        AdvcamError: Its recipe cannot be read, or its pictures are not there.
    """

    kind = "chain"

    def __init__(self, folder: Path) -> None:
        self.settings = settings = read_chain(str(folder / RECIPE))
        data = settings.data.model_copy(update={"root": found_again(settings.data.root, folder)})
        pictures = read_pictures(data, learn=False)
        pictures = pictures if settings.segment is None else with_test(pictures)
        listed = {sample.id: sample for sample in (*pictures.masks, *pictures.test)}
        super().__init__(folder, list(listed.values()), _classes(folder, pictures.dataset.class_names))
        self.dataset = pictures.dataset
        self.background_power, self.band = settings.pseudo.background_power, settings.pseudo.band
        self.stores = {BASELINE: folder / BASELINE / "maps"} if settings.baseline and settings.maps is None else {}
        maps = folder / NAME if settings.maps is None else found_again(settings.maps, folder)
        self.stores[NAME] = maps / "maps"
        for method in settings.refine.methods:
            self.stores[f"refine-{method}"] = folder / "refined" / method / "maps"
        self.sets = {
            PSEUDO: self._set(PSEUDO, pictures.masks),
            PREDICTIONS: self._set(PREDICTIONS, pictures.test),
        }
        title = pictures.dataset.title
        self.facts = [("Data", f"{title}, {data.root.name}"), ("Pictures", f"{len(self.samples):,}")]

    def _set(self, name: str, samples: Sequence[Sample]) -> MaskSet:
        ids = [sample.id for sample in samples]
        path = self.folder / name / "classes.json"
        table = ClassTable.read(path) if path.is_file() else self.table
        return MaskSet(self.folder / name / "masks", output_names(ids), table)

    def threshold_of(self, stage: str) -> float:
        """That of the masks for the maps that they are made of; else that of the maps, 0.5 for a CRF."""
        made_of = f"refine-{self.settings.refine.methods[-1]}" if self.settings.refine.methods else NAME
        if stage == made_of and self._of_masks is not None:
            return self._of_masks
        if stage.endswith("crf"):
            return 0.5
        if self.settings.threshold is not None:
            return self.settings.threshold
        with suppress(AdvcamError):
            return read_threshold(self.folder / THRESHOLD)
        return DEFAULT_THRESHOLD

    @cached_property
    def _of_masks(self) -> float | None:
        """The threshold that the record of the masks names."""
        with suppress(AdvcamError, ValueError, KeyError):
            return float(dict(read_record(self.folder / "stages" / f"{PSEUDO}.json").facts)["threshold"])
        return None

    def confidence(self, id_: str) -> Mapping[int, float]:
        """That of the pseudo-labels."""
        return self._confidences.get(id_, {})

    @cached_property
    def _confidences(self) -> Mapping[str, Mapping[int, float]]:
        found: dict[str, dict[int, float]] = {}
        path = self.folder / PSEUDO / CONFIDENCE
        with (
            suppress(OSError, ValueError, LookupError, TypeError, AttributeError, csv.Error),
            path.open(encoding="utf-8", newline="") as file,
        ):
            for row in csv.DictReader(file):
                number = self.table.number(row["class"])
                if number is not None:
                    found.setdefault(row["image"], {})[number] = float(row["confidence"])
        return found

    def own_objects(self, id_: str, mask: Mask) -> tuple[Instance, ...] | None:
        """Those of instances.json."""
        entries = self._instances.get(id_)
        if entries is None:
            return None
        with suppress(LookupError, TypeError, ValueError, AttributeError, AdvcamError):  # the mask tells its parts
            return tuple(one for entry in entries if (one := self._object(entry, mask)) is not None)
        return None

    @cached_property
    def _instances(self) -> Mapping[str, list[Mapping[str, object]]]:
        with suppress(OSError, ValueError, LookupError, TypeError):
            return dict(read_json(self.folder / PSEUDO / "instances.json")["pictures"])
        return {}

    def _object(self, entry: Mapping[str, object], mask: Mask) -> Instance | None:
        number = self.table.number(str(entry["class"]))
        if number is None:
            return None
        height, width = mask.shape
        pixels = segment_pixels(entry["segmentation"], height, width, "pseudo/instances.json")
        return Instance(number - 1, pixels, float(str(entry["score"])))


def _classes(folder: Path, class_names: tuple[str, ...]) -> ClassTable:
    """The classes of the pseudo-labels, or else of the predictions, or of the data set."""
    for name in (PSEUDO, PREDICTIONS):
        path = folder / name / "classes.json"
        if path.is_file():
            return ClassTable.read(path)
    return ClassTable.of(class_names)
