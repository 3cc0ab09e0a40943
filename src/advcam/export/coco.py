"""COCO: instances with run lengths or polygons, and results.

    annotations/instances_default.json  `coco` (run lengths) and `coco-polygons`; exact to the pixel with pycocotools
    results.json                        `coco-results`: [{image_id, category_id, bbox, score, segmentation}, ..]

Pictures count from 1 in the order of the export, those without an object included. `file_name` is the path of the
picture; it stands in results too, to find the id that another file gives to the picture. Categories have the numbers of
the classes. Polygons of COCO have no holes: a hole is joined to the outline by a slit of no width, and pycocotools
rasterises it to the hole. Undecided pixels are a crowd region (`iscrowd` 1), which trainers leave out, of a category
255, "undecided", that is there where such pixels are.
Specification: cocodataset.org/#format-data and #format-results.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from advcam.errors import DatasetError
from advcam.export.annotated import AnnotatedPicture, Classes, ImportedMask
from advcam.export.coco_files import (
    Entry,
    ListFile,
    annotation_files,
    area,
    bounds,
    category_entries,
    image_entry,
)
from advcam.export.contours import trace_slit
from advcam.export.format import Format, Writer
from advcam.export.labels import UNDECIDED, check_labels
from advcam.export.numbering import names_by_number, number_names
from advcam.export.regions import Region, regions
from advcam.store.coco_index import CocoIndex, CocoPicture, read_index, short
from advcam.store.masks import run_lengths
from advcam.store.segmentation import paint, segment_pixels
from advcam.types import IGNORE

INSTANCES = "annotations/instances_default.json"
RESULTS = "results.json"
#: Decimals of scores.
_DECIMALS = 4


class InstancesWriter(Writer):
    """Writes annotations as they come; pictures and categories follow them in the file.

    Args:
        folder: As `Writer`.
        classes: As `Writer`.
        segment: Makes the segmentation of a region of a picture of (H, W) pixels.
    """

    def __init__(self, folder: Path, classes: Classes, segment: Callable[[Region, tuple[int, int]], object]) -> None:
        super().__init__(folder, classes)
        self._file = ListFile(folder / INSTANCES, "annotations")
        self._segment = segment
        self._categories = dict(classes)
        self._images: list[Entry] = []
        self._count = 0

    def add(self, picture: AnnotatedPicture) -> None:
        """Write the objects of a picture."""
        self._images.append(image_entry(picture, len(self._images) + 1))
        self._file.extend(self._entry(region, picture) for region in regions(picture))

    def finish(self) -> None:
        """Write the pictures and the categories."""
        self._file.end(images=self._images, categories=category_entries(self._categories))

    def _entry(self, region: Region, picture: AnnotatedPicture) -> Entry:
        self._count += 1
        entry = {"id": self._count, "image_id": len(self._images), "category_id": region.number, "bbox": bounds(region)}
        entry |= {"area": area(region), "iscrowd": int(region.number == IGNORE)}
        entry["segmentation"] = self._segment(region, picture.size)
        if region.number == IGNORE:
            self._categories[IGNORE] = UNDECIDED
        return entry if region.score is None else {**entry, "score": round(region.score, _DECIMALS)}


class ResultsWriter(Writer):
    """Writes results as they come."""

    def __init__(self, folder: Path, classes: Classes) -> None:
        super().__init__(folder, classes)
        self._file = ListFile(folder / RESULTS)
        self._pictures = 0

    def add(self, picture: AnnotatedPicture) -> None:
        """Write the objects of a picture."""
        self._pictures += 1
        self._file.extend(self._entry(region, picture) for region in regions(picture) if region.number != IGNORE)

    def finish(self) -> None:
        """End the list."""
        self._file.end()

    def _entry(self, region: Region, picture: AnnotatedPicture) -> Entry:
        return {
            "image_id": self._pictures,
            "file_name": picture.file_name,
            "category_id": region.number,
            "bbox": bounds(region),
            "score": 1.0 if region.score is None else round(region.score, _DECIMALS),
            "segmentation": as_runs(region, picture.size),
        }


class Coco(Format):
    """Instances with run lengths."""

    name = "coco"
    title = "COCO instances"
    summary = "pycocotools, Detectron2, MMDetection, FiftyOne and most trainers; masks as run lengths"

    def check(self, classes: Classes) -> None:
        """Names that do not tell the classes apart."""
        check_labels(classes, self.title)

    def writer(self, folder: Path, classes: Classes) -> Writer:
        """What writes the instances."""
        return InstancesWriter(folder, classes, as_runs)

    def read(self, folder: Path, classes: Classes) -> Iterator[ImportedMask]:
        """Masks of every instances file of a folder, or of one file, in the order of its pictures.

        Polygons and run lengths are read. Of objects that overlap the smaller lies above. `iscrowd` is not looked at:
        tools set it for every mask of run lengths.
        """
        for path in annotation_files(folder, "instances"):
            index = read_index(path)
            numbers = number_names((name for _, name in index.categories), classes)
            categories = {id_: numbers[name] for id_, name in index.categories}
            names = names_by_number(numbers)
            for name in index.pictures:
                width, height = index.size(name)
                parts = _parts(index, index.picture(name), categories, (height, width))
                yield ImportedMask(name, paint(parts, (height, width)), names)


class CocoPolygons(Coco):
    """Instances with polygons."""

    name = "coco-polygons"
    title = "COCO instances, polygons"
    summary = "tools that read no run lengths; holes are joined to the outline by a slit"

    def writer(self, folder: Path, classes: Classes) -> Writer:
        """What writes the instances."""
        return InstancesWriter(folder, classes, as_polygons)


class CocoResults(Format):
    """Results."""

    name = "coco-results"
    title = "COCO results"
    summary = "COCOeval: objects with their scores"
    readable = False

    def check(self, classes: Classes) -> None:
        """Names that do not tell the classes apart."""
        check_labels(classes, self.title)

    def writer(self, folder: Path, classes: Classes) -> Writer:
        """What writes the results."""
        return ResultsWriter(folder, classes)


def as_runs(region: Region, size: tuple[int, int]) -> object:
    """The compressed run lengths of a region of a picture of (H, W) pixels."""
    height, width = region.pixels.shape
    canvas = np.zeros(size, dtype=np.bool_, order="F")
    canvas[region.y : region.y + height, region.x : region.x + width] = region.pixels
    return run_lengths(canvas)


def as_polygons(region: Region, _size: tuple[int, int]) -> object:
    """The parts of a region as polygons [x, y, x, y, ..] along the edges of its pixels."""
    return [np.add(ring, (region.x, region.y)).astype(np.int32).ravel().tolist() for ring in trace_slit(region.pixels)]


def _parts(
    index: CocoIndex, picture: CocoPicture, categories: Mapping[int, int], size: tuple[int, int]
) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    """Number in the mask and pixels of each annotation of a picture of (H, W) pixels."""
    for annotation in picture.annotations:
        where = f"{index.path}, annotation {short(annotation.id)}"
        category = annotation.category
        if type(category) is not int or category not in categories:
            raise DatasetError(f"{where}: there is no category {short(category)}; add it to the categories")
        yield categories[category], segment_pixels(annotation.segmentation, *size, where)
