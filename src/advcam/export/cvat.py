"""CVAT for images 1.1: masks of objects in one XML file, uploaded to a task that has the pictures.

    annotations.xml    Actions > Upload annotations > CVAT 1.1
    labels.json        the labels and their colours, for a new task or project: Constructor > Raw

A mask is one object, or what a class has besides its objects. CVAT knows pictures by the names they had when the task
was made: the paths below the folder of all pictures, or the ends of them, here with their extensions. Undecided pixels
(255) are masks of the label "undecided", so they can be seen, decided or drawn.

Read back are masks, polygons, boxes and ellipses, painted by z_order; lines, points and tags have no pixels.

Specification: docs.cvat.ai, "CVAT for image: XML annotation version 1.1". A mask is a rectangle of pixels (left, top,
width, height) with the lengths of its runs, row by row, the first one of pixels outside.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from advcam.errors import SettingError
from advcam.export.annotated import AnnotatedPicture, Classes, ImportedMask
from advcam.export.cvat_shapes import read_annotations
from advcam.export.format import Format, Writer
from advcam.export.labels import UNDECIDED, check_labels, colour, holds
from advcam.export.regions import Region, regions
from advcam.types import IGNORE

ANNOTATIONS = "annotations.xml"
_LONGEST_LABEL = 64


class CvatWriter(Writer):
    """Writes the pictures one by one."""

    def __init__(self, folder: Path, classes: Classes) -> None:
        super().__init__(folder, classes)
        self._labels = {**classes, IGNORE: UNDECIDED}
        self._count = 0
        self._file = (folder / ANNOTATIONS).open("w", encoding="utf-8")
        self._file.write(_head(self._labels))

    def add(self, picture: AnnotatedPicture) -> None:
        """Write the masks of a picture."""
        name = picture.file_name
        if not holds(name):
            raise SettingError(
                f"the name of {picture.path} has control characters, which XML cannot hold; rename the file"
            )
        height, width = picture.size
        self._file.write(f'  <image id="{self._count}" name={quoteattr(name)} width="{width}" height="{height}">\n')
        self._file.writelines(self._mask(one) for one in regions(picture))
        self._file.write("  </image>\n")
        self._count += 1

    def finish(self) -> None:
        """The end of the file, and the labels."""
        self._file.write("</annotations>\n")
        labels = [{"name": name, "color": colour(n), "attributes": []} for n, name in self._labels.items()]
        text = json.dumps(labels, ensure_ascii=False, indent=1) + "\n"
        (self.folder / "labels.json").write_text(text, encoding="utf-8")

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            super().__exit__(kind, error, trace)
        finally:
            self._file.close()

    def _mask(self, region: Region) -> str:
        height, width = region.pixels.shape
        return (
            f'    <mask label={quoteattr(self._labels[region.number])} source="auto" occluded="0" '
            f'rle="{_runs(region)}" left="{region.x}" top="{region.y}" width="{width}" height="{height}" '
            'z_order="0"/>\n'
        )


class Cvat(Format):
    """Masks for the tasks of CVAT."""

    name = "cvat"
    title = "CVAT"
    summary = "CVAT (CVAT for images 1.1): masks of objects, labels; its exports are read back"

    def check(self, classes: Classes) -> None:
        """Labels are known by their names alone."""
        check_labels(classes, self.title, longest=_LONGEST_LABEL)

    def writer(self, folder: Path, classes: Classes) -> CvatWriter:
        """What writes the file."""
        return CvatWriter(folder, classes)

    def read(self, folder: Path, classes: Classes) -> Iterator[ImportedMask]:
        """The masks of an export "CVAT for images 1.1".

        Args:
            folder: It holds annotations.xml; or this file; or the .zip that CVAT gives.
            classes: Of the run that the masks go back to.
        """
        return read_annotations(folder / ANNOTATIONS if folder.is_dir() else folder, classes)


def _head(labels: Classes) -> str:
    """The beginning of the file, up to the first picture."""
    entries = "".join(
        f"    <label><name>{escape(name)}</name><color>{colour(number)}</color><type>any</type><attributes/></label>\n"
        for number, name in labels.items()
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n'
        f"  <meta><task><name>advcam</name><mode>annotation</mode><labels>\n{entries}  </labels></task></meta>\n"
    )


def _runs(region: Region) -> str:
    """Lengths of the runs, row by row, the first one of pixels outside."""
    flat = np.concatenate([[False], region.pixels.ravel()])
    places = np.flatnonzero(flat[1:] != flat[:-1])
    return ", ".join(map(str, np.diff(places, prepend=0, append=len(flat) - 1).tolist()))
