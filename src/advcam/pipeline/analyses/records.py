"""What an analysis has measured so far: a line of JSON for each (setting, picture), so that a killed one goes on.

Results are always made of what a line says, whether it was written a moment ago or last week: a resumed analysis
equals an uninterrupted one.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from PIL import Image

from advcam.errors import RunError, one_line
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


class RecordFile:
    """The lines of an analysis, appended one by one and read back by (unit, picture).

    A line that a kill cut short is dropped. Only the places of the lines are held in memory.

    Args:
        path: The file; created unless it exists.

    Raises:
        RunError: The file cannot be opened, or holds something else than lines of an analysis.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._places: dict[tuple[str, str, str], int] = {}
        try:
            self._file = path.open("a+b")
            self._index()
        except OSError as error:
            raise RunError(f"cannot open {path} ({error.strerror}); choose another --out") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def find(self, unit: str, picture: str, digest: str) -> dict[str, Any] | None:
        """What was measured of a picture in one unit of work, None if nothing was, or of other inputs."""
        place = self._places.get((unit, picture, digest))
        if place is None:
            return None
        self._file.seek(place)
        content: dict[str, Any] = json.loads(self._file.readline())["content"]
        return content

    def add(self, unit: str, picture: str, digest: str, record: Climbs | Landscapes) -> dict[str, Any]:
        """Append a line and bring it to the disk; returns its content as `find` would.

        Raises:
            RunError: It cannot be written.
        """
        line = {"unit": unit, "picture": picture, "digest": digest, "content": asdict(record)}
        text = json.dumps(line, separators=(",", ":"))
        place = self._file.seek(0, os.SEEK_END)
        try:
            self._file.write(text.encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(place)
            raise RunError(f"cannot write {self.path} ({error.strerror or one_line(error)}); make room") from error
        self._places[unit, picture, digest] = place
        content: dict[str, Any] = json.loads(text)["content"]
        return content

    def _index(self) -> None:
        self._file.seek(0)
        place = 0
        for line in self._file:
            if not line.endswith(b"\n"):
                self._file.truncate(place)
                break
            try:
                row = json.loads(line)
                self._places[row["unit"], row["picture"], row["digest"]] = place
            except (ValueError, KeyError, TypeError) as error:
                raise RunError(f"{self.path} is damaged; delete it, and what it held is measured again") from error
            place += len(line)


def inputs_digest(picture: Image.Image, class_ids: Sequence[int], truth: Mask, truth_ids: Sequence[int]) -> str:
    """Tells whether a picture, its classes and its truth are those that a line was measured on."""
    digest = hashlib.sha256(repr((picture.size, tuple(class_ids), tuple(truth_ids), truth.shape)).encode())
    digest.update(picture.tobytes())
    digest.update(np.ascontiguousarray(truth, dtype=np.int32).tobytes())
    return digest.hexdigest()[:16]
