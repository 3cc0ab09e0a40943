"""What a format of annotation tools takes and gives: pictures with label masks, objects and classes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from advcam.types import Instance, Mask

#: Name of each class by its number in the masks: 1 to 65535 but not 255, in order; 0 is the background.
Classes: TypeAlias = Mapping[int, str]


@dataclass(frozen=True, eq=False)
class AnnotatedPicture:
    """A picture with what is known of its pixels.

    Args:
        id: Path of the picture relative to the folder of all pictures, with `/`.
        name: Of its files in an export, with `/`, without extension; unique among the pictures.
        path: Where the picture lies.
        mask: (H, W): 0 background, class numbers, 255 undecided.
        objects: Its objects, the largest of a class first; `class_id` is the number of the class in the mask less one.
        labels: Numbers of the classes that it is known to show, with or without a pixel in the mask.
    """

    id: str
    name: str
    path: Path
    mask: Mask
    objects: tuple[Instance, ...] = ()
    labels: tuple[int, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the picture."""
        height, width = self.mask.shape
        return height, width

    @property
    def file_name(self) -> str:
        """Path of the picture file: its id, with the extension that the ids of some data sets lack."""
        return self.id if self.id.endswith(self.path.suffix) else self.id + self.path.suffix


@dataclass(frozen=True, eq=False)
class ImportedMask:
    """A mask that a format's files hold.

    Args:
        name: Of the picture in the files: its file name or path, with or without extension, with `/`.
        mask: (H, W): 0 background, numbers of the classes of `names`, 255 undecided.
        names: Name of each class by its number in this mask, as the files have them.
    """

    name: str
    mask: Mask
    names: Classes
