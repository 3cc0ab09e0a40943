"""All layouts by name, and finding out which of them a folder holds, or was meant to hold."""

import csv
import difflib
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from advcam import untrusted
from advcam.datasets.coco import COCO
from advcam.datasets.cub import CUB200
from advcam.datasets.dataset import Dataset
from advcam.datasets.folder import ClassFolders
from advcam.datasets.imagenet import ImageNet
from advcam.datasets.pets import OxfordPets
from advcam.datasets.pictures import EXTENSIONS
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
#: What the layouts without landmarks are told by, for people.
_SIGNS = {
    "coco": "annotations/instances_*.json, or annotations.json",
    "wsol": "metadata/*/image_ids.txt",
    "table": "labels.csv or labels.parquet",
    "folders": "a folder of pictures for each class",
}
#: Patterns of what is left of a layout that lacks something; `images` and `classes.txt` are no signs, many have them.
_TRACES = {
    "voc2012": ("JPEGImages", "SegmentationClass", "VOCdevkit", "VOC2012"),
    "coco": ("train20??", "val20??", "test20??"),
    "cub200": ("images.txt", "image_class_labels.txt", "train_test_split.txt", "bounding_boxes.txt"),
    "imagenet": ("ILSVRC", "LOC_*"),
    "pets": ("annotations/trimaps",),
    "wsol": ("metadata",),
}
#: Names of folders that hold pictures of any class.
_CONTAINERS = {"images", "image", "imgs", "img", "jpegimages", "pictures", "photos", "photographs", "data", "dataset"}


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

    Folders that hold nothing but a container of pictures (`images`, `JPEGImages` ..) are no classes: such a root is
    refused, where --layout folders would take it.

    Raises:
        DatasetError: None fits; the message says what is missing of the layout that it looks like, or what was looked
            for.
    """
    if not root.is_dir():
        raise DatasetError(f"{root} is no folder; name the root folder of a data set")
    fitting = _fitting(root)
    if fitting:
        return fitting[0]
    raise DatasetError(
        f"{root} holds no data set that is known; {_incomplete(root) or _unlabelled(root) or _seen(root)}"
    )


def describe_layouts() -> list[tuple[str, str, str]]:
    """Name, title and signs of each kind of layout, for people."""
    return [(kind.layout, kind.title, _SIGNS.get(kind.layout, ", ".join(kind.landmarks))) for kind in _KINDS]


def _fitting(root: Path) -> list[str]:
    fitting = [kind.layout for kind in _KINDS if kind.fits(root)]
    if fitting == ["folders"] and (_incomplete(root) or _only_containers(root)):
        return []
    return fitting


def _incomplete(root: Path) -> str:
    """What is missing of the layout that left the most traces; empty where there are none."""
    traces = {name: sum(any(root.glob(pattern)) for pattern in patterns) for name, patterns in _TRACES.items()}
    kind = max(_KINDS, key=lambda kind: traces.get(kind.layout, 0))
    if not traces.get(kind.layout):
        return ""
    homes = (root, root / "VOC2012", root / "VOCdevkit" / "VOC2012")
    missing = min(([name for name in kind.landmarks if not (home / name).exists()] for home in homes), key=len)
    lacks = " and ".join(missing) or _SIGNS[kind.layout]
    verb = "are" if len(missing) > 1 else "is"
    return f"it looks like {kind.title} ({kind.layout}), but {lacks} {verb} missing below it"


def _only_containers(root: Path) -> bool:
    """Whether every folder that would be a class is one for pictures of any class."""
    try:
        classes = ClassFolders(root)
    except DatasetError:
        return False  # opening it says why
    parents = [root if split == "all" else root / split for split in classes.splits]
    return all(
        name.lower() in _CONTAINERS
        for name in classes.class_names
        if any(_holds_pictures(parent / name) for parent in parents)
    )


def _holds_pictures(folder: Path) -> bool:
    return any(name.lower().endswith(EXTENSIONS) for _, _, names in os.walk(folder) for name in names)


def _unlabelled(root: Path) -> str:
    """What pictures without classes need, and which tables lie there; empty where there are no pictures below."""
    if not _holds_pictures(root):
        return ""
    tables = [f"{path.name} lies there with the columns {_columns(path)}" for path in sorted(root.glob("*.csv"))]
    found = f" ({'; '.join(tables[:3])})" if tables else ""
    return f"its pictures have no classes: write a labels.csv with the columns image,labels beside them{found}"


def _columns(table: Path) -> str:
    try:
        untrusted.check_regular(table)
        with table.open(encoding="utf-8-sig", newline="") as file:
            return ", ".join(next(csv.reader(untrusted.limited_lines(file)), [])) or "none"
    except (OSError, ValueError, csv.Error):
        return "unreadable"


def _seen(root: Path) -> str:
    found = ", ".join(sorted(entry.name for entry in root.iterdir())[:8]) or "nothing"
    looked_for = "; ".join(f"{name}: {signs}" for name, _, signs in describe_layouts())
    return f"it holds {found}; looked for {looked_for}"
