"""A folder of pictures for each class, with or without a level of splits and with masks beside them.

    ROOT/train/cat/1.jpg         or  ROOT/cat/1.jpg
    ROOT/masks/train/cat/1.png   or  ROOT/masks/cat/1.png
    ROOT/classes.txt

Splits, masks and classes.txt may be left out.
"""

import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath

from advcam.datasets.dataset import Dataset
from advcam.datasets.lists import read_class_names
from advcam.datasets.pictures import EXTENSIONS
from advcam.datasets.truth import mirrored_mask
from advcam.errors import DatasetError
from advcam.store.reading import inside
from advcam.types import Mask, Sample

_SPLITS = ("train", "val", "test")
_MASKS = "masks"


class ClassFolders(Dataset):
    """Pictures in folders that are named after their class.

    A folder `train`, `val` or `test` that holds no picture of its own is a split, and the folders in it are the
    classes. Without such a folder the folders of the root are the classes, and the only split is `all`. What is hidden
    (a dot in front) and the folder `masks` of the root are left out; deeper folders belong to their class.

    An id is the path of a picture below the root, such as train/cat/1.jpg. The mask of a picture lies in `masks` under
    its path with the ending .png (so 1.jpg and 1.jpeg of a folder share one): a palette or greyscale PNG of 0 for
    background, class number + 1, and 255 to be ignored.

    Classes are sorted by name, unless ROOT/classes.txt fixes their order, one name a line; a class there may have no
    folder.

    Args:
        root: The folder that holds the folders.

    Raises:
        DatasetError: There is no folder of pictures below the root, or folders of classes lie beside those of splits.
    """

    layout = "folders"
    title = "folders of classes"
    landmarks = ()

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        if not any(_folders(parent) for parent in self._parents.values()):
            raise DatasetError(f"{root} holds no folder of pictures; make one folder for each class")

    @classmethod
    def fits(cls, root: Path) -> bool:
        """Whether some folder below a root holds a picture. Nearly every other layout fits too: ask this one last."""
        return root.is_dir() and any(next(_pictures(folder), None) for folder in _folders(root))

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the folders, sorted, or those of classes.txt.

        Raises:
            DatasetError: classes.txt is broken, or a folder is not among its names.
        """
        return self._class_names

    @property
    def splits(self) -> tuple[str, ...]:
        """Those of `train`, `val` and `test` that have a folder, else `all`."""
        return tuple(self._parents)

    def ids(self, split: str) -> Iterator[str]:
        """Paths of the pictures of a split below the root, by class and then by name.

        Raises:
            SettingError: There is no such split.
            DatasetError: A folder cannot be read, is of no class, or a name is not UTF-8.
        """
        self.check_split(split)
        folders = sorted(_folders(self._parents[split]), key=lambda folder: self.class_id(folder.name))
        return (_relative(path, self.root) for folder in folders for path in _pictures(folder))

    def sample(self, id_: str) -> Sample:
        """One picture with the class of its folder.

        Raises:
            DatasetError: The id leads out of the root, or into no folder of a class.
        """
        path = inside(self.root, id_)
        parts = PurePosixPath(id_).parts
        depth = 0 if self.splits == ("all",) else 1
        if len(parts) < depth + 2 or (depth and parts[0] not in self.splits):
            shape = "SPLIT/CLASS/PICTURE" if depth else "CLASS/PICTURE"
            raise DatasetError(f"{self.root} has no picture {id_!r}; pictures are {shape}")
        return Sample(id_, path, (self.class_names[self.class_id(parts[depth])],))

    def mask(self, id_: str) -> Mask | None:
        """Label mask (H, W): 0 background, class number + 1, 255 ignore; None where `masks` has none.

        Raises:
            DatasetError: It cannot be read, or holds a number of no class.
        """
        return mirrored_mask(self.root, id_, len(self.class_names))

    @cached_property
    def _parents(self) -> dict[str, Path]:
        """Where the folders of the classes lie, by split."""
        splits = {name: self.root / name for name in _SPLITS if _is_split(self.root / name)}
        strangers = [folder.name for folder in _folders(self.root) if folder.name not in splits]
        if splits and strangers:
            raise DatasetError(
                f"{self.root} holds the split {next(iter(splits))} and beside it the folder {strangers[0]}; put the "
                "folders of classes into those of splits, or give the folder of the split another name"
            )
        return splits or {"all": self.root}

    @cached_property
    def _class_names(self) -> tuple[str, ...]:
        found = {folder.name: folder for parent in self._parents.values() for folder in _folders(parent)}
        listed = self.root / "classes.txt"
        if not listed.exists():
            return tuple(sorted(found))
        names = read_class_names(listed)
        strangers = sorted(set(found) - set(names))
        if strangers:
            raise DatasetError(f"{found[strangers[0]]} is the folder of no class in {listed}; add its name there")
        return names


def _folders(parent: Path) -> list[Path]:
    """The visible folders in a folder, by name; `masks` is none of them."""
    return [path for path in _entries(parent) if path.is_dir() and path.name != _MASKS]


def _is_split(folder: Path) -> bool:
    return folder.is_dir() and not any(_is_picture(path.name) for path in _entries(folder))


def _entries(folder: Path) -> list[Path]:
    """What is visible in a folder, by name."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise _unreadable(error) from error


def _pictures(folder: Path) -> Iterator[Path]:
    """The visible pictures in a folder and below, in the order of their names; the folders after the files."""
    for where, folders, files in os.walk(folder, onerror=_refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(where, name) for name in sorted(files) if _is_picture(name))


def _is_picture(name: str) -> bool:
    return not name.startswith(".") and name.lower().endswith(EXTENSIONS)


def _relative(path: Path, root: Path) -> str:
    name = path.relative_to(root).as_posix()
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise DatasetError(f"the name {os.fsencode(name)!r} below {root} is not UTF-8; rename the file") from error
    return name


def _refuse(error: OSError) -> None:
    raise _unreadable(error) from error


def _unreadable(error: OSError) -> DatasetError:
    return DatasetError(f"{error.filename} cannot be read ({error.strerror}); check its permissions")
