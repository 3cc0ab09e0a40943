"""Label Studio: tasks with brush masks as predictions, to be looked at, corrected and submitted.

    tasks.json     the tasks: Import
    config.xml     the labels and their colours: Settings > Labeling Interface > Code
    images/        the pictures, served by Label Studio as local files
    README.txt     how to open it

A region is one object, or what a class has besides its objects, with its score. Undecided pixels (255) are regions of
the label "undecided", so they can be seen, decided or drawn.

What comes back is the export "JSON". Of several annotations of a task the last counts, regions over each other count
as they were drawn, the later over the earlier. A task without a region is passed over: its file does not say how large
the picture is.

Specification: labelstud.io/guide/predictions, labelstud.io/tags/brushlabels, labelstud.io/guide/storage (local files).
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

import numpy as np

from advcam.errors import DatasetError, SettingError
from advcam.export.annotated import AnnotatedPicture, Classes, ImportedMask
from advcam.export.brush_rle import encode_brush
from advcam.export.format import Format, Writer
from advcam.export.label_studio_tasks import read_tasks
from advcam.export.labels import UNDECIDED, check_labels, colour
from advcam.export.regions import Region, regions
from advcam.export.tool_files import copy_picture, json_files
from advcam.types import IGNORE

TASKS = "tasks.json"
_BROWSERS_SHOW = (".apng", ".avif", ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".webp")
_README = """\
Masks for Label Studio

1. Start Label Studio so that it may serve the pictures of this folder (FOLDER, wherever it lies):
     export LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true
     export LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT=FOLDER
     label-studio start
2. Create a project. Settings > Labeling Interface > Code: paste config.xml.
3. Settings > Cloud Storage > Add Source Storage > Local files, path FOLDER/images. Save it; do not sync it.
4. Import tasks.json. To begin with the masks: Settings > Annotation > Use predictions to prelabel tasks.
5. Correct and submit. Export as JSON; `advcam import` takes that file.
"""


class LabelStudioWriter(Writer):
    """Writes the tasks one by one."""

    def __init__(self, folder: Path, classes: Classes) -> None:
        super().__init__(folder, classes)
        self._labels = {**classes, IGNORE: UNDECIDED}
        self._tasks = (folder / TASKS).open("w", encoding="utf-8")
        self._before = "[\n"

    def add(self, picture: AnnotatedPicture) -> None:
        """Copy the picture, and write its task."""
        if picture.path.suffix.lower() not in _BROWSERS_SHOW:
            raise SettingError(
                f"Label Studio runs in a browser, which does not show {picture.path.name}; convert it to PNG or JPEG"
            )
        name = copy_picture(picture, self.folder / "images")
        self._tasks.write(self._before + json.dumps(self._task(picture, name), ensure_ascii=False))
        self._before = ",\n"

    def finish(self) -> None:
        """The end of the list, and the files for all pictures."""
        self._tasks.write("\n]\n" if self._before == ",\n" else "[]\n")
        (self.folder / "config.xml").write_text(_config(self._labels), encoding="utf-8")
        (self.folder / "README.txt").write_text(_README, encoding="utf-8")

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            super().__exit__(kind, error, trace)
        finally:
            self._tasks.close()

    def _task(self, picture: AnnotatedPicture, name: str) -> dict[str, Any]:
        found = list(regions(picture))
        scores = [one.score for one in found if one.score is not None]
        prediction: dict[str, Any] = {"model_version": "advcam"}
        if scores:
            prediction["score"] = sum(scores) / len(scores)
        prediction["result"] = [self._result(number, one, picture.size) for number, one in enumerate(found, 1)]
        data = {"image": "/data/local-files/?d=images/" + quote(name), "picture": picture.id}
        return {"data": data, "predictions": [prediction]}

    def _result(self, number: int, region: Region, size: tuple[int, int]) -> dict[str, Any]:
        whole = np.zeros(size, dtype=np.bool_)
        height, width = region.pixels.shape
        whole[region.y : region.y + height, region.x : region.x + width] = region.pixels
        result: dict[str, Any] = {
            "id": f"region-{number}",
            "type": "brushlabels",
            "from_name": "labels",
            "to_name": "image",
            "original_width": size[1],
            "original_height": size[0],
            "image_rotation": 0,
            "value": {"format": "rle", "rle": encode_brush(whole), "brushlabels": [self._labels[region.number]]},
        }
        return result if region.score is None else result | {"score": region.score}


class LabelStudio(Format):
    """Tasks with brush masks."""

    name = "label-studio"
    title = "Label Studio"
    summary = "Label Studio: tasks with brush masks as predictions, labels, pictures; its JSON exports are read back"

    def check(self, classes: Classes) -> None:
        """Labels are known by their names alone."""
        check_labels(classes, self.title)

    def writer(self, folder: Path, classes: Classes) -> LabelStudioWriter:
        """What writes the tasks."""
        return LabelStudioWriter(folder, classes)

    def read(self, folder: Path, classes: Classes) -> Iterator[ImportedMask]:
        """The masks of a JSON export, or of the tasks that were written for Label Studio.

        Args:
            folder: The file, or a folder that holds it alone.
            classes: Of the run that the masks go back to.
        """
        found = json_files(folder, self.title)
        if len(found) > 1:
            raise DatasetError(f"{folder} holds {len(found)} .json files; name the one that Label Studio exported")
        return read_tasks(found[0], classes)


def _config(labels: Mapping[int, str]) -> str:
    """The labelling interface."""
    lines = [f"    <Label value={quoteattr(name)} background={quoteattr(colour(n))}/>" for n, name in labels.items()]
    return "\n".join(
        [
            "<View>",
            '  <Image name="image" value="$image" zoom="true" zoomControl="true"/>',
            '  <BrushLabels name="labels" toName="image">',
            *lines,
            "  </BrushLabels>",
            "</View>\n",
        ]
    )
