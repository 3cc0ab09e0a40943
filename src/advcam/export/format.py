"""The base of all formats: a folder that is written picture by picture, and masks that are read back from it."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Self

from advcam.export.annotated import AnnotatedPicture, Classes, ImportedMask


class Writer(ABC):
    """Writes one export; a context manager. Files that list all pictures are written when the block ends.

    The folder is a new one that nobody reads yet: the caller gives it its name when it is complete.

    Args:
        folder: Exists and is empty.
        classes: Of all pictures.
    """

    def __init__(self, folder: Path, classes: Classes) -> None:
        self.folder, self.classes = folder, classes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            self.finish()

    @abstractmethod
    def add(self, picture: AnnotatedPicture) -> None:
        """Write one picture.

        Raises:
            SettingError: The format cannot hold it.
            RunError: It cannot be written.
        """

    def finish(self) -> None:  # noqa: B027, formats of one file a picture have nothing to add
        """Write what comes after the last picture."""


class Format(ABC):
    """A format.

    What a format cannot hold is said by `check`, before anything is written.
    """

    #: Name on the command line.
    name: ClassVar[str]
    #: Name for people.
    title: ClassVar[str]
    #: What its users open it with, in one line.
    summary: ClassVar[str]
    #: Whether masks can be read back from it.
    readable: ClassVar[bool] = True
    #: Whether it holds undecided pixels; where it does not, they come back as background.
    undecided: ClassVar[bool] = True

    def check(self, classes: Classes) -> None:  # noqa: B027, most formats hold any classes
        """Raise `SettingError` where the format cannot hold the classes."""

    @abstractmethod
    def writer(self, folder: Path, classes: Classes) -> Writer:
        """What writes into an empty folder."""

    def read(self, folder: Path, classes: Classes) -> Iterator[ImportedMask]:
        """Masks of an export, or of what an annotation tool made of it, picture by picture.

        Args:
            folder: Or file, as the tool gives it.
            classes: Of the run that the masks go back to.

        Raises:
            DatasetError: Files are missing or broken; the message names the file and the place.
        """
        raise NotImplementedError
