"""What is kept of the predictions of a run: masks, overlays and a record of each picture, and the files of all.

masks/<picture>.png      0 background, class number
classes.json             the class numbers
boxes.json               boxes in pixels, 0-based, half open, with the highest probability inside as score
predictions.json         for each picture its size and classes: pixels, share of the picture, mean probability
overlays/<picture>.jpg   the picture with its mask over it
records/                 what is known of each picture beside its mask, from which the JSON files are made
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from advcam.colours import blend, voc_palette
from advcam.segment.inference import Prediction
from advcam.store.classes import ClassNumbers
from advcam.store.entries import PictureEntries
from advcam.store.files import write_picture
from advcam.store.masks import read_mask, write_mask
from advcam.store.places import Place
from advcam.store.predictions import ClassArea, PredictionStore, StoredPrediction, mask_digest
from advcam.store.run import RunDirectory
from advcam.types import Attribution, Box, BoxContours, Mask

_OPACITY = 0.5


class PredictionOutputs:
    """Writes the outputs of a run, in any of its processes.

    Args:
        folder: Of the run.
        class_names: Of the network, without the background.
        overlays: Whether overlays are written.

    Raises:
        RunError: The files of the run are damaged.
    """

    def __init__(self, folder: Place, class_names: Sequence[str], overlays: bool) -> None:
        self.run, self.class_names, self.overlays = RunDirectory(folder), tuple(class_names), overlays
        self.store = PredictionStore(folder / "records")
        #: The class numbers of the masks. Whoever runs the run gives them, its other processes read them.
        self.numbers = ClassNumbers(folder / "classes.json", class_names)

    def write_picture(self, name: str, pixels: NDArray[np.uint8], found: Prediction) -> str:
        """Mask and overlay of a picture; the digest of its mask.

        Args:
            name: Of the files.
            pixels: (H, W, 3), RGB.
            found: What was predicted.

        Raises:
            RunError: A file cannot be written.
        """
        mask = self.numbers.mask(found.mask)
        write_mask(self._mask(name), mask)
        if self.overlays:
            self.write_overlay(name, pixels, mask)
        return mask_digest(mask)

    def mask(self, name: str) -> Mask:
        """The mask of a picture, (H, W), in class numbers.

        Raises:
            PictureError: It is gone, or cannot be read.
        """
        return read_mask(self._mask(name))

    def lacks_overlay(self, name: str) -> bool:
        """Whether a picture has no overlay yet, and shall have one."""
        return self.overlays and not self._overlay(name).exists()

    def write_overlay(self, name: str, pixels: NDArray[np.uint8], mask: Mask) -> None:
        """The overlay of a picture (H, W, 3) from its mask (H, W).

        Raises:
            RunError: The overlay cannot be written.
        """
        write_picture(self._overlay(name), overlay(pixels, mask))

    def write_lists(self, rows: Iterable[tuple[str, StoredPrediction]], boxes: BoxContours) -> dict[str, int]:
        """boxes.json and predictions.json; how many pictures show each class, by name.

        Args:
            rows: Of each picture, with the name of its files, in the order of the list.
            boxes: The largest part of each class, or all.

        Raises:
            RunError: A file cannot be written.
        """
        shown: Counter[str] = Counter()
        with (
            PictureEntries(self.run.boxes_file) as box_lists,
            PictureEntries(self.run.folder / "predictions.json") as predictions,
        ):
            for name, row in rows:
                size = {"height": row.image_size[0], "width": row.image_size[1]}
                classes = [self._named(one) for one in row.classes]
                shown.update(one["class"] for one in classes)
                box_lists.add(row.sample_id, size | {"boxes": [self._named(one) for one in _chosen(row.boxes, boxes)]})
                mask = f"{self.run.masks_folder.name}/{name}.png"
                predictions.add(row.sample_id, {"mask": mask, **size, "classes": classes})
        return dict(shown)

    def _named(self, entry: ClassArea | Box) -> dict[str, Any]:
        return {"class": self.class_names[entry.class_id], **asdict(entry)}

    def _mask(self, name: str) -> Place:
        return self.run.masks_folder / f"{name}.png"

    def _overlay(self, name: str) -> Place:
        return self.run.overlays_folder / f"{name}.jpg"


def overlay(pixels: NDArray[np.uint8], mask: Mask) -> Image.Image:
    """A picture (H, W, 3) with the classes of its mask (H, W) in their colours; the background stays as it is."""
    numbers = np.minimum(mask, 255).astype(np.uint8)
    colours = np.asarray(cv2.applyColorMap(numbers, voc_palette()[:, None]), dtype=np.uint8)
    np.copyto(colours, pixels, where=(numbers == 0)[..., None])
    return Image.fromarray(blend(pixels, colours, _OPACITY))


def found_in(prediction: Prediction, class_names: Sequence[str]) -> tuple[tuple[ClassArea, ...], tuple[Box, ...]]:
    """The classes of a mask and their boxes: a class at a time, so that memory stays flat in their number."""
    mask = prediction.mask
    bands = np.array_split(mask, min(len(mask), 16))  # numpy counts in integers of twice the size
    counts = sum(np.bincount(band.ravel(), minlength=len(class_names) + 1) for band in bands)
    areas, boxes = [], []
    for class_id in np.flatnonzero(np.asarray(counts)[1:]).tolist():
        inside = mask == class_id + 1
        pixels, confidence = int(inside.sum()), round(float(prediction.confidence[inside].mean()), 4)
        areas.append(ClassArea(class_id, pixels, round(pixels / mask.size, 4), confidence))
        scores = (prediction.confidence * inside)[None]
        parts = Attribution((class_id,), (class_names[class_id],), scores, mask.shape, np.zeros(1, np.float32))
        boxes += [replace(box, score=round(box.score, 4)) for box in parts.boxes(0.0, "all")]
    return tuple(areas), tuple(boxes)


def _chosen(boxes: Sequence[Box], contours: BoxContours) -> list[Box]:
    """All boxes, or the first of each class, which is the largest."""
    if contours == "all":
        return list(boxes)
    return list({box.class_id: box for box in reversed(boxes)}.values())[::-1]
