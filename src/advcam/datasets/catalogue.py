"""All layouts by name, and finding out which of them a folder holds."""

import difflib
from collections.abc import Callable
from functools import partial
from pathlib import Path

from advcam.datasets.coco import COCO
from advcam.datasets.cub import CUB200
from advcam.datasets.dataset import Dataset
from advcam.datasets.folder import ClassFolders
from advcam.datasets.imagenet import ImageNet
from advcam.datasets.pets import OxfordPets
from advcam.datasets.table import LabelTable
from advcam.datasets.voc import VOC2012
from advcam.datasets.wsol import WSOL
from advcam.errors import DatasetError, SettingError

#: The public layouts first: a folder per class is what any folder looks like at last.
_KINDS: tuple[type[Dataset], ...] = (VOC2012, COCO, CUB200, ImageNet, OxfordPets, WSOL, LabelTable, ClassFolders)
#: Every layout by name, and what it is opened with.
LAYOUTS: dict[str, Callable[[Path], Dataset]] = {
    **{kind.layout: kind for kind in _KINDS},
    "pets-species": partial(OxfordPets, classes="species"),
    "openimages30k": WSOL,
}


def open_dataset(root: Path, layout: str | None = None) -> Dataset:
    """Open a data set.

    Args:
        root: Its root folder.
        layout: Name of the layout; None finds it.

    Raises:
        SettingError: No such layout.
        DatasetError: The root does not exist, or holds no layout that is known, or not the one named.
    """
    if layout is None:
        return LAYOUTS[detect_layout(root)](root)
    if layout not in LAYOUTS:
        near = difflib.get_close_matches(layout, LAYOUTS, n=1)
        advice = f"; did you mean {near[0]!r}?" if near else ""
        raise SettingError(f"there is no layout {layout!r}{advice} (they are {', '.join(LAYOUTS)})")
    try:
        return LAYOUTS[layout](root)
    except DatasetError as error:
        fitting = [name for name in _fitting(root) if name != layout] if root.is_dir() else []
        if not fitting:
            raise
        raise DatasetError(f"{error}; it looks like the layout {fitting[0]!r}") from error


def detect_layout(root: Path) -> str:
    """Name of the layout that a folder holds.

    Raises:
        DatasetError: None fits; the message lists what was looked for.
    """
    if not root.is_dir():
        raise DatasetError(f"{root} is no folder; name the root folder of a data set")
    fitting = _fitting(root)
    if fitting:
        return fitting[0]
    looked_for = "; ".join(f"{kind.layout}: {', '.join(kind.landmarks)}" for kind in _KINDS if kind.landmarks)
    found = ", ".join(sorted(entry.name for entry in root.iterdir())[:8]) or "nothing"
    raise DatasetError(f"{root} holds {found}; no known layout fits (looked for {looked_for})")


def _fitting(root: Path) -> list[str]:
    return [kind.layout for kind in _KINDS if kind.fits(root)]


def describe_layouts() -> list[tuple[str, str, str]]:
    """Name, title and landmarks of each kind of layout, for people."""
    return [(kind.layout, kind.title, ", ".join(kind.landmarks)) for kind in _KINDS]
