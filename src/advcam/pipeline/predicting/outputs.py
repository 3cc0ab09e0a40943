"""What is kept of the predictions of a run: masks, overlays and a record of each picture, and the files of all.

masks/<picture>.png      0 background, class number
classes.json             the class numbers
boxes.json               boxes in pixels, 0-based, half open, with the highest probability inside as score
predictions.json         for each picture its size and classes: pixels, share of the picture, mean probability
overlays/<picture>.jpg   the picture with its mask over it
records.jsonl            what is known of each picture beside its mask, from which the JSON files are made
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self

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
from advcam.store.records import RecordFile
from advcam.store.run import RunDirectory, output_names
from advcam.types import Attribution, BoxContours, Mask

_UNIT = "prediction"
_OPACITY = 0.5


class PredictionOutputs:
    """Writes the outputs of a run, as a context manager.

    Args:
        run: Where to.
        ids: Of all pictures.
        class_names: Of the network, without the background.
        overlays: Whether overlays are written.

    Raises:
        RunError: The files of the run are damaged.
    """

    def __init__(self, run: RunDirectory, ids: Sequence[str], class_names: Sequence[str], overlays: bool) -> None:
        self.run, self.class_names, self.overlays = run, tuple(class_names), overlays
        self.names = output_names(ids)
        self.numbers = ClassNumbers(run.folder / "classes.json", class_names)
        self.numbers.extend(())
        self.records = RecordFile(run.folder / "records.jsonl")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.records.__exit__(kind, error, trace)

    def write(self, id_: str, inputs: str, pixels: NDArray[np.uint8], found: Prediction) -> None:
        """Everything of a picture; its record last, so that a kill in between leaves it to be done again.

        Args:
            id_: The picture.
            inputs: Tells its file and labels; see `done`.
            pixels: (H, W, 3), RGB.
            found: What was predicted.

        Raises:
            RunError: A file cannot be written.
        """
        record = _record(found, self.class_names)
        self.numbers.extend(one["class_id"] for one in record["classes"])
        mask = self.numbers.mask(found.mask)
        write_mask(self._mask(id_), mask)
        if self.overlays:
            write_picture(self._overlay(id_), overlay(pixels, mask))
        self.records.add(_UNIT, id_, "", {"inputs": inputs, **record})

    def done(self, id_: str, inputs: str) -> bool:
        """Whether the mask of a picture is there, and was made of these inputs."""
        return self._recorded(id_, inputs) is not None

    def lacks_overlay(self, id_: str) -> bool:
        """Whether a picture that is done has no overlay yet, and shall have one."""
        return self.overlays and not self._overlay(id_).exists()

    def write_overlay(self, id_: str, pixels: NDArray[np.uint8]) -> None:
        """The overlay of a picture that is done, from its mask.

        Raises:
            PictureError: The mask cannot be read.
            RunError: The overlay cannot be written.
        """
        write_picture(self._overlay(id_), overlay(pixels, read_mask(self._mask(id_))))

    def write_lists(self, pictures: Iterable[tuple[str, str]], boxes: BoxContours) -> dict[str, int]:
        """boxes.json and predictions.json of the pictures that are done; how many pictures show each class, by name.

        Args:
            pictures: Id and inputs of each.
            boxes: The largest part of each class, or all.

        Raises:
            RunError: A file cannot be written.
        """
        shown: Counter[str] = Counter()
        with (
            PictureEntries(self.run.boxes_file) as box_lists,
            PictureEntries(self.run.folder / "predictions.json") as predictions,
        ):
            for id_, inputs in pictures:
                record = self._recorded(id_, inputs)
                if record is not None:
                    size = {"height": record["height"], "width": record["width"]}
                    classes = self._named(record["classes"])
                    shown.update(one["class"] for one in classes)
                    box_lists.add(id_, size | {"boxes": self._named(_chosen(record["boxes"], boxes))})
                    mask = f"{self.run.masks_folder.name}/{self.names[id_]}.png"
                    predictions.add(id_, {"mask": mask, **size, "classes": classes})
        return dict(shown)

    def _recorded(self, id_: str, inputs: str) -> dict[str, Any] | None:
        record = self.records.find(_UNIT, id_, "")
        there = record is not None and record["inputs"] == inputs and self._mask(id_).exists()
        return record if there else None

    def _named(self, entries: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        return [{"class": self.class_names[entry["class_id"]], **entry} for entry in entries]

    def _mask(self, id_: str) -> Place:
        return self.run.masks_folder / f"{self.names[id_]}.png"

    def _overlay(self, id_: str) -> Place:
        return self.run.overlays_folder / f"{self.names[id_]}.jpg"


def overlay(pixels: NDArray[np.uint8], mask: Mask) -> Image.Image:
    """A picture (H, W, 3) with the classes of its mask (H, W) in their colours; the background stays as it is."""
    numbers = np.minimum(mask, 255).astype(np.uint8)
    colours = np.asarray(cv2.applyColorMap(numbers, voc_palette()[:, None]), dtype=np.uint8)
    np.copyto(colours, pixels, where=(numbers == 0)[..., None])
    return Image.fromarray(blend(pixels, colours, _OPACITY))


def _record(found: Prediction, class_names: Sequence[str]) -> dict[str, Any]:
    """What is kept of a prediction beside its mask: a class at a time, so that memory stays flat in their number."""
    height, width = found.mask.shape
    bands = np.array_split(found.mask, min(height, 16))  # numpy counts in integers of twice the size
    counts = sum(np.bincount(band.ravel(), minlength=len(class_names) + 1) for band in bands)
    classes, boxes = [], []
    for class_id in np.flatnonzero(np.asarray(counts)[1:]).tolist():
        inside = found.mask == class_id + 1
        pixels, confidence = int(inside.sum()), round(float(found.confidence[inside].mean()), 4)
        share = round(pixels / found.mask.size, 4)
        classes.append({"class_id": class_id, "pixels": pixels, "share": share, "confidence": confidence})
        scores = (found.confidence * inside)[None]
        parts = Attribution((class_id,), (class_names[class_id],), scores, (height, width), np.zeros(1, np.float32))
        boxes += [{**asdict(box), "score": round(box.score, 4)} for box in parts.boxes(0.0, "all")]
    return {"height": height, "width": width, "classes": classes, "boxes": boxes}


def _chosen(boxes: Sequence[Mapping[str, Any]], contours: BoxContours) -> list[Mapping[str, Any]]:
    """All boxes, or the first of each class, which is the largest."""
    if contours == "all":
        return list(boxes)
    return list({box["class_id"]: box for box in reversed(boxes)}.values())[::-1]
