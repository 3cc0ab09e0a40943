"""Pictures with their masks as a Hugging Face image folder, for `datasets.load_dataset` and the Hub.

    images/000001.jpg     the pictures, copied: the loader reads nothing outside of its folder
    masks/000001.png      0 background, class numbers, 255 undecided
    metadata.jsonl        a line a picture: file_name, mask_file_name, id, labels, objects
    classes.json          which name each number has, {"1": "cat"}

Files are numbered, as the loader takes words such as "test" in their names for splits; `id` is the path that the
picture had. `objects` holds lists of one length: `class`, `number`, `bbox` (x, y, width, height in pixels) and `score`.
Specification: huggingface.co/docs/datasets/image_dataset.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from advcam.errors import DatasetError, PictureError, one_line
from advcam.export.annotated import AnnotatedPicture, Classes, ImportedMask
from advcam.export.class_names import check_named, read_class_names, write_class_names
from advcam.export.format import Format, Writer
from advcam.store.masks import mask_bytes
from advcam.store.reading import inside, numbered_lines, read_index_png
from advcam.untrusted import parse_json

METADATA = "metadata.jsonl"


class ImageFolderWriter(Writer):
    """Writes a picture, its mask and its line."""

    def __init__(self, folder: Path, classes: Classes) -> None:
        super().__init__(folder, classes)
        for name in ("images", "masks"):
            (folder / name).mkdir()
        self._lines = (folder / METADATA).open("w", encoding="utf-8")
        self._count = 0

    def add(self, picture: AnnotatedPicture) -> None:
        """Copy the picture, and write the others."""
        number = f"{self._count + 1:06}"
        image, mask = f"images/{number}{picture.path.suffix.lower()}", f"masks/{number}.png"
        try:
            source = picture.path.open("rb")
        except OSError as error:
            raise PictureError(f"cannot read {picture.path} ({error.strerror}); the format holds copies") from error
        with source, (self.folder / image).open("wb") as copy:
            shutil.copyfileobj(source, copy)
        (self.folder / mask).write_bytes(mask_bytes(picture.mask))
        line: dict[str, Any] = {"file_name": image, "mask_file_name": mask, "id": picture.id}
        line |= {"labels": [self.classes[number] for number in picture.labels], "objects": self._objects(picture)}
        self._lines.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._count += 1

    def finish(self) -> None:
        """The names of the classes."""
        write_class_names(self.folder, self.classes)

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._lines.close()
        super().__exit__(kind, error, trace)

    def _objects(self, picture: AnnotatedPicture) -> dict[str, list[Any]]:
        numbers = [one.class_id + 1 for one in picture.objects]
        return {
            "class": [self.classes[number] for number in numbers],
            "number": numbers,
            "bbox": [list(cv2.boundingRect(one.mask.astype(np.uint8))) for one in picture.objects],
            "score": [one.score for one in picture.objects],
        }


class ImageFolder(Format):
    """Pictures, masks, and a table of both."""

    name = "image-folder"
    title = "Hugging Face image folder"
    summary = "datasets.load_dataset and the Hugging Face Hub: copies of the pictures, masks, metadata.jsonl"

    def writer(self, folder: Path, classes: Classes) -> ImageFolderWriter:
        """What writes the folder."""
        return ImageFolderWriter(folder, classes)

    def read(self, folder: Path, classes: Classes) -> Iterator[ImportedMask]:
        """The masks that the lines name.

        Args:
            folder: Of the export.
            classes: Not needed.
        """
        names = read_class_names(folder)
        for where, line in numbered_lines(folder / METADATA):
            id_, path = _parsed(line, where, folder)
            mask = read_index_png(path)
            check_named(mask, names, str(path))
            yield ImportedMask(id_, mask, names)


def _parsed(line: str, where: str, folder: Path) -> tuple[str, Path]:
    """Id of the picture, and where its mask lies."""
    try:
        content = parse_json(line.encode())
    except ValueError as error:
        raise DatasetError(f"{where}: no JSON ({one_line(error)}); it has an object a line") from error
    id_, mask = (content.get(key) if isinstance(content, dict) else None for key in ("id", "mask_file_name"))
    if not isinstance(id_, str) or not isinstance(mask, str):
        raise DatasetError(f'{where}: expected {{"file_name": .., "mask_file_name": .., "id": ..}}; got {line[:80]}')
    return id_, inside(folder, mask)
