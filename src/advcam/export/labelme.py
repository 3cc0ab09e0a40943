"""LabelMe: a JSON beside each picture, for LabelMe 5.2 and newer, which know masks.

    NAME.jpg     the picture, copied
    NAME.json    its masks
    labels.txt   the labels, for `labelme --labels labels.txt .` and `labelme2voc`

A shape is one object, or what a class has besides its objects: a mask with all its holes, as a PNG of its rectangle.
Undecided pixels (255) are masks of the label `__ignore__`, which LabelMe's own converters make 255 again.

Read back are masks, polygons, rectangles and circles, later shapes over earlier ones; lines and points have no pixels.
A polygon takes the pixels whose centres lie inside.

Specification: github.com/wkentaro/labelme; the corners of a mask are its first and last pixel.
"""

import base64
import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from advcam.export.annotated import AnnotatedPicture, Classes, ImportedMask
from advcam.export.format import Format, Writer
from advcam.export.labelme_shapes import UNDECIDED, read_picture_file
from advcam.export.labels import check_labels
from advcam.export.regions import Region, regions
from advcam.export.tool_files import copy_picture, json_files
from advcam.types import IGNORE

#: The oldest version of LabelMe that reads these files.
_VERSION = "5.2.0"


class LabelMeWriter(Writer):
    """Writes a picture and its JSON."""

    def add(self, picture: AnnotatedPicture) -> None:
        """Copy the picture, and write its shapes."""
        copy = self.folder / copy_picture(picture, self.folder)
        height, width = picture.size
        content: dict[str, Any] = {
            "version": _VERSION,
            "flags": {},
            "shapes": [self._shape(one) for one in regions(picture)],
            "imagePath": copy.name,
            "imageData": None,
            "imageHeight": height,
            "imageWidth": width,
        }
        text = json.dumps(content, ensure_ascii=False)
        copy.with_name(picture.name.rpartition("/")[2] + ".json").write_text(text, encoding="utf-8")

    def finish(self) -> None:
        """The list of labels."""
        labels = [UNDECIDED, "_background_", *self.classes.values()]
        (self.folder / "labels.txt").write_text("\n".join(labels) + "\n", encoding="utf-8")

    def _shape(self, region: Region) -> dict[str, Any]:
        height, width = region.pixels.shape
        png = BytesIO()
        Image.fromarray(region.pixels).save(png, format="PNG", compress_level=4)
        shape: dict[str, Any] = {
            "label": UNDECIDED if region.number == IGNORE else self.classes[region.number],
            "points": [[region.x, region.y], [region.x + width - 1, region.y + height - 1]],
            "group_id": None,
            "description": "",
            "shape_type": "mask",
            "flags": {},
            "mask": base64.b64encode(png.getvalue()).decode("ascii"),
        }
        return shape if region.score is None else shape | {"score": region.score}


class LabelMe(Format):
    """A JSON for each picture."""

    name = "labelme"
    title = "LabelMe"
    summary = "LabelMe 5.2 and newer: copies of the pictures, each with a JSON of masks; polygons are read back as well"

    def check(self, classes: Classes) -> None:
        """Labels are known by their names alone."""
        check_labels(classes, self.title, UNDECIDED)

    def writer(self, folder: Path, classes: Classes) -> LabelMeWriter:
        """What writes the pictures and their JSON."""
        return LabelMeWriter(folder, classes)

    def read(self, folder: Path, classes: Classes) -> Iterator[ImportedMask]:
        """The masks of the JSON files of a folder, those of the folders below it included.

        Args:
            folder: Of the JSON files; or one of them.
            classes: Of the run that the masks go back to.
        """
        for path in json_files(folder, self.title):
            name = path.relative_to(folder).with_suffix("").as_posix() if folder.is_dir() else path.stem
            yield read_picture_file(path, name, classes)
