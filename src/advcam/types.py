"""The nouns that all rooms share: a picture with its labels, its attribution maps, and boxes."""

import json
from contextlib import suppress
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as serialise

from advcam.colours import blend, heat
from advcam.errors import PictureError, RunError, SettingError, one_line
from advcam.untrusted import MOST_PIXELS, parse_json

FloatArray = NDArray[np.float32]
BoxContours = Literal["largest", "all"]

#: Threshold of masks and boxes for AdvCAM with its default settings (docs/defaults.md); plain CAM wants about 0.25.
DEFAULT_THRESHOLD = 0.3
#: Value of a mask where nothing is to be said: left out of every score.
IGNORE = 255
#: A label mask (H, W): 0 background, class number + 1, or IGNORE.
Mask = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Sample:
    """A picture of a data set and what is known about it.

    Args:
        id: Path of the picture relative to the root of its data set, with `/`; unique in the data set.
        path: Where the picture lies.
        labels: Names (or numbers) of the classes that the picture shows; None where nothing is known.
    """

    id: str
    path: Path
    labels: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Box:
    """A box in pixels of the picture, half open: x0 <= x < x1 and y0 <= y < y1.

    Args:
        class_id: Class of the object, counted from 0.
        x0, y0, x1, y1: Left, top, right, bottom.
        score: Highest attribution inside the box, in [0, 1].
    """

    class_id: int
    x0: int
    y0: int
    x1: int
    y1: int
    score: float


@dataclass(frozen=True, eq=False)
class Instance:
    """One object of a picture.

    Args:
        class_id: Its class, counted from 0.
        mask: (H, W), bool, its pixels.
        score: How sure it is, in [0, 1]; what it is made of says which score.
    """

    class_id: int
    mask: NDArray[np.bool_]
    score: float


@dataclass(frozen=True, eq=False)
class Trajectory:
    """The climb of one (picture, class, scale), step by step; t = 0 is the unperturbed picture.

    Args:
        class_id: The class whose score was raised.
        scale: The scale of the picture.
        maps: Class activation maps before any normalisation, flips already joined, (S, h, w).
        scores: Scores of ALL classes before softmax or sigmoid, mean over the flips, (S, K).
        pictures: The perturbed picture, RGB, float, (S, 3, H, W); 0 to 1 where it stays displayable. None
            unless it was asked for.
    """

    class_id: int
    scale: float
    maps: FloatArray
    scores: FloatArray
    pictures: FloatArray | None = None


@dataclass(frozen=True, eq=False)
class Attribution:
    """Where a classifier looks in one picture: one map for each class asked for.

    A map is divided by its own maximum, so its values are in [0, 1] and its maximum is 1. The map of a class
    that nothing speaks for is all zero: it stays all zero (never NaN), has no box, and claims no pixel.

    Args:
        class_ids: The C classes, counted from 0.
        class_names: Their names.
        maps: (C, h, w), float32, at about a quarter of the working resolution.
        image_size: (H, W) of the picture.
        scores: Class scores of the unperturbed picture before softmax or sigmoid, (C,).
        steps: Map after each step of a climb, normalised as `maps`, (C, S, h, w): the first is the plain
            class activation map, the last equals `maps`. None unless the trajectory was recorded.
        trajectories: Everything about each (class, scale) climb; empty unless it was recorded.
    """

    class_ids: tuple[int, ...]
    class_names: tuple[str, ...]
    maps: FloatArray
    image_size: tuple[int, int]
    scores: FloatArray
    steps: FloatArray | None = None
    trajectories: tuple[Trajectory, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        expected = (len(self.class_ids), *self.maps.shape[1:])
        if self.maps.ndim != 3 or self.maps.shape != expected or len(self.class_names) != len(self.class_ids):
            raise SettingError(
                f"an Attribution takes one (h, w) map and one name for each class; got {len(self.class_ids)} "
                f"classes, {len(self.class_names)} names and maps of shape {self.maps.shape}"
            )

    def upsample(self) -> FloatArray:
        """The maps at the size of the picture, (C, H, W), bilinear, values in [0, 1]."""
        height, width = self.image_size
        resized = [cv2.resize(m, (width, height), interpolation=cv2.INTER_LINEAR) for m in self.maps]
        return np.stack(resized) if resized else np.zeros((0, height, width), dtype=np.float32)

    def label_mask(self, threshold: float = DEFAULT_THRESHOLD) -> NDArray[np.int32]:
        """One class a pixel, (H, W): 0 is background, class_id + 1 the class with the highest map there.

        The background competes as a constant map of value `threshold` and wins ties (protocols of IRN and
        AdvCAM, seeds).

        Args:
            threshold: Background value, 0 to 1.

        Raises:
            SettingError: The threshold is outside [0, 1].
        """
        check_threshold(threshold)
        if not self.class_ids:
            return np.zeros(self.image_size, dtype=np.int32)
        maps = self.upsample()
        winner = np.array(self.class_ids, dtype=np.int32)[maps.argmax(axis=0)] + 1
        return np.where(maps.max(axis=0) > threshold, winner, 0).astype(np.int32)

    def boxes(self, threshold: float = DEFAULT_THRESHOLD, contours: BoxContours = "largest") -> list[Box]:
        """Boxes around what lies above a threshold, per class, in pixels of the picture.

        Args:
            threshold: Pixels with a map value above it belong to the object, 0 to 1.
            contours: "largest" gives the one contour with the largest area, "all" every outer contour,
                largest first.

        Raises:
            SettingError: The threshold is outside [0, 1], or `contours` is neither of the two words.
        """
        check_threshold(threshold)
        if contours not in ("largest", "all"):
            raise SettingError(f'contours is "largest" or "all", not {contours!r}')
        found: list[Box] = []
        for class_id, class_map in zip(self.class_ids, self.upsample(), strict=True):
            boxes = _contour_boxes(class_id, class_map, threshold)
            found += boxes[:1] if contours == "largest" else boxes
        return found

    def overlay(self, picture: Image.Image, class_id: int | None = None, opacity: float = 0.5) -> Image.Image:
        """The picture with the map of one class over it (blue 0, red 1).

        Args:
            picture: The picture that was explained, at any size.
            class_id: The class; None takes, at each pixel, the largest value over all classes.
            opacity: Of the colours, 0 to 1.

        Raises:
            SettingError: The class has no map here.
        """
        if class_id is not None and class_id not in self.class_ids:
            raise SettingError(f"no map of class {class_id} here; the classes are {list(self.class_ids)}")
        maps = self.maps if class_id is None else self.maps[self.class_ids.index(class_id), None]
        combined = maps.max(axis=0) if len(maps) else np.zeros((1, 1), dtype=np.float32)
        rgb = picture.convert("RGB")
        resized = cv2.resize(combined, rgb.size, interpolation=cv2.INTER_LINEAR).astype(np.float32)
        return Image.fromarray(blend(np.asarray(rgb), heat(resized), opacity))

    def save(self, path: str | PathLike[str]) -> None:
        """Write maps, scores, steps and names to one safetensors file (the trajectories are not kept).

        The file is written under a temporary name and renamed: on any error `path` stays as it was.

        Raises:
            RunError: The file cannot be written: no space, no permission, no such folder.
        """
        arrays = {"maps": self.maps, "scores": self.scores}
        if self.steps is not None:
            arrays["steps"] = self.steps
        facts = {
            "class_ids": self.class_ids,
            "class_names": self.class_names,
            "image_size": self.image_size,
        }
        contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        content = serialise(contiguous, metadata={"advcam": json.dumps(facts, default=int)})
        partial = Path(path).with_name(Path(path).name + ".partial")
        try:
            partial.write_bytes(content)
            partial.replace(path)
        except OSError as error:
            raise RunError(
                f"cannot write {path} ({error.strerror or one_line(error)}); make room, change the "
                "permissions or choose another path"
            ) from error
        finally:
            with suppress(OSError):
                partial.unlink()

    @classmethod
    def load(cls, path: str | PathLike[str]) -> "Attribution":
        """Read what `save` wrote.

        Raises:
            PictureError: There is no such file, it cannot be read, is damaged or was not written by
                `Attribution.save`.
        """
        try:
            with safe_open(path, framework="numpy") as file:
                facts = parse_json((file.metadata() or {})["advcam"].encode())
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, not a dict
            height, width = facts["image_size"]
            return checked_stored(
                cls(
                    tuple(facts["class_ids"]),
                    tuple(facts["class_names"]),
                    arrays["maps"],
                    (height, width),
                    arrays["scores"],
                    arrays.get("steps"),
                )
            )
        except FileNotFoundError as error:
            raise PictureError(f"there is no file {path}; give one that Attribution.save wrote") from error
        except OSError as error:
            raise PictureError(
                f"cannot read {path} ({error.strerror or one_line(error)}); give a file that Attribution.save wrote"
            ) from error
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise PictureError(f"{path} was not written by Attribution.save, or is damaged") from error


def checked_stored(attribution: Attribution) -> Attribution:
    """An attribution that was read from a file, which may hold anything.

    Raises:
        ValueError: Its classes, shapes or values are none that an attribution has, or its picture is larger than any.
    """
    count, sides = len(attribution.class_ids), attribution.image_size
    whole = all(type(number) is int for number in (*attribution.class_ids, *sides))
    if not whole or min((0, *attribution.class_ids)) < 0 or not all(type(n) is str for n in attribution.class_names):
        raise ValueError("classes are whole numbers from 0 on, with names")
    if min(sides) < 1 or sides[0] * sides[1] > MOST_PIXELS:
        raise ValueError(f"a picture of {sides[1]} x {sides[0]} pixels")
    if 0 in attribution.maps.shape[1:] or attribution.scores.shape != (count,):
        raise ValueError("maps without a pixel, or another number of scores than of classes")
    steps = attribution.steps
    if steps is not None and (steps.ndim != 4 or (steps.shape[0], *steps.shape[2:]) != attribution.maps.shape):
        raise ValueError(f"steps of shape {steps.shape} for maps of shape {attribution.maps.shape}")
    if not np.isfinite(attribution.maps).all():
        raise ValueError("maps with values that are no numbers")
    return attribution


def check_threshold(threshold: float) -> None:
    """Raise `SettingError` unless a threshold on normalised maps lies in [0, 1]."""
    if not 0 <= threshold <= 1:
        raise SettingError(f"a threshold on maps lies between 0 and 1; got {threshold}")


def _contour_boxes(class_id: int, class_map: FloatArray, threshold: float) -> list[Box]:
    """Boxes of the outer contours of `class_map > threshold`, the largest area first."""
    binary = (class_map > threshold).astype(np.uint8)
    contours, _ = cv2.findContours(binary, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    boxes = []
    for contour in sorted(contours, key=cv2.contourArea, reverse=True):
        x, y, width, height = cv2.boundingRect(contour)
        score = float(class_map[y : y + height, x : x + width].max())
        boxes.append(Box(class_id, x, y, x + width, y + height, score))
    return boxes
