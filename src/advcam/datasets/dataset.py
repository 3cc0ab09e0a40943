"""The base of all data sets: a root folder in its public layout, read picture by picture.

A data set names its splits, lists the ids of a split, and turns one id into a `Sample` (path and image labels), a
label mask and boxes. Everything is read when it is asked for, so a data set of a million pictures costs nothing to
open, and a picture that is broken is an error of that picture alone.
"""

import difflib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from advcam.errors import DatasetError, SettingError
from advcam.types import Box, Mask, Sample


class Dataset(ABC):
    """Pictures, image labels and truth below a root folder.

    A layout is a subclass. Class numbers count from 0 in the order of `class_names`; in masks they are one more, since
    0 is background.

    Args:
        root: The folder that holds the public layout.

    Raises:
        DatasetError: The root does not exist or does not hold this layout.
    """

    #: Name on the command line, such as "voc2012".
    layout: ClassVar[str]
    #: Name for people.
    title: ClassVar[str]
    #: Files or folders below the root, all of which must be there; they tell the layouts apart.
    landmarks: ClassVar[tuple[str, ...]]

    def __init__(self, root: Path) -> None:
        self.root = root
        if not root.is_dir():
            raise DatasetError(f"{root} is no folder; name the root folder of {self.title}")
        missing = [name for name in self.landmarks if not (root / name).exists()]
        if missing:
            raise DatasetError(f"{root} holds no {self.title}: {missing[0]} is missing below it")

    @classmethod
    def fits(cls, root: Path) -> bool:
        """Whether a folder looks like this layout."""
        return bool(cls.landmarks) and all((root / name).exists() for name in cls.landmarks)

    @property
    @abstractmethod
    def class_names(self) -> tuple[str, ...]:
        """Names of all classes of the data set, background left out."""

    @property
    @abstractmethod
    def splits(self) -> tuple[str, ...]:
        """Names of the splits that are on disk."""

    @abstractmethod
    def ids(self, split: str) -> Iterator[str]:
        """Ids of the pictures of a split, in the order of its list.

        Raises:
            DatasetError: There is no such split, or its list is broken.
        """

    @abstractmethod
    def sample(self, id_: str) -> Sample:
        """One picture with its image labels, in the order of `class_names`.

        Raises:
            DatasetError: Its annotation is broken or missing.
        """

    def mask(self, id_: str) -> Mask | None:
        """Label mask (H, W): 0 background, class number + 1, 255 ignore; None where the picture has none.

        Raises:
            DatasetError: It cannot be read, or holds numbers that the data set has no class for.
        """
        return None

    def boxes(self, id_: str) -> tuple[Box, ...] | None:
        """True boxes in pixels, 0-based and half open; None where the picture has no annotation of boxes.

        Raises:
            DatasetError: The annotation is broken.
        """
        return None

    def problems(self, split: str) -> Iterator[str]:
        """What does not fit together in the lists of a split, in words, such as annotations of absent pictures."""
        self.check_split(split)
        return iter(())

    def samples(self, split: str) -> Iterator[Sample]:
        """The samples of a split, one after the other."""
        return (self.sample(id_) for id_ in self.ids(split))

    def class_id(self, name: str) -> int:
        """Number of a class, counted from 0.

        Raises:
            DatasetError: No such class; the nearest name is suggested.
        """
        if name not in self._class_ids:
            near = difflib.get_close_matches(name, self.class_names, n=1)
            advice = f"; did you mean {near[0]!r}?" if near else ""
            raise DatasetError(f"{self.title} has no class {name!r}{advice}")
        return self._class_ids[name]

    def check_split(self, split: str) -> None:
        """Raise `SettingError` unless the split is on disk."""
        if split not in self.splits:
            there = ", ".join(self.splits) or "none"
            raise SettingError(f"{self.root} has no split {split!r}; its splits are: {there}")

    @cached_property
    def _class_ids(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.class_names)}
