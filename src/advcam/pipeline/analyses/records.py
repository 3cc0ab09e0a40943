"""What an analysis has measured so far of each (setting, picture); see `advcam.store.records`.

Results are always made of what a line says, whether it was written a moment ago or last week: a resumed analysis
equals an uninterrupted one.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from advcam.types import Mask

Lists = list[list[float]]


@dataclass(frozen=True)
class ClassClimb:
    """One class of one picture over the S steps of one setting; see `advcam.analysis` for the numbers."""

    class_id: int
    class_name: str
    score: list[float]
    rival: list[float]
    discriminative_mean: list[float]
    discriminative_total: list[float]
    non_discriminative_mean: list[float]
    non_discriminative_total: list[float]
    discriminative_positions: int
    non_discriminative_positions: int
    undefined_positions: int


@dataclass(frozen=True)
class Climbs:
    """One picture under one setting: its classes, and the counts of its seeds after each step."""

    classes: list[ClassClimb]
    seeds: list[Any]

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> "Climbs":
        """From a line."""
        return cls([ClassClimb(**one) for one in content["classes"]], content["seeds"])


@dataclass(frozen=True)
class Direction:
    """Loss and score along one direction (`line_*`, (P,)) and on its plane with a random one (`plane_*`, (Q, Q))."""

    length: float
    line_loss: list[float]
    line_score: list[float]
    plane_loss: Lists
    plane_score: Lists


@dataclass(frozen=True)
class ClassLandscape:
    """The surroundings of one picture for one class.

    Args:
        class_id, class_name: The class.
        line, plane: Coordinates of the line (P,) and of both axes of the planes (Q,).
        climb, attack: The two directions; their `length` is the root mean square over the values of the normalised
            picture, before the attack was brought to the length of the climb.
    """

    class_id: int
    class_name: str
    line: list[float]
    plane: list[float]
    climb: Direction
    attack: Direction


@dataclass(frozen=True)
class Landscapes:
    """The surroundings of one picture, a class each."""

    classes: list[ClassLandscape]

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> "Landscapes":
        """From a line."""
        classes = []
        for one in content["classes"]:
            directions = {name: Direction(**one[name]) for name in ("climb", "attack")}
            classes.append(ClassLandscape(**{**one, **directions}))
        return cls(classes)


def inputs_digest(picture: Image.Image, class_ids: Sequence[int], truth: Mask, truth_ids: Sequence[int]) -> str:
    """Tells whether a picture, its classes and its truth are those that a line was measured on."""
    digest = hashlib.sha256(repr((picture.size, tuple(class_ids), tuple(truth_ids), truth.shape)).encode())
    digest.update(picture.tobytes())
    digest.update(np.ascontiguousarray(truth, dtype=np.int32).tobytes())
    return digest.hexdigest()[:16]
