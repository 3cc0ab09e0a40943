"""All generators by the name of their layout."""

import difflib
from collections.abc import Callable
from functools import partial
from pathlib import Path

from advcam.datasets.synthetic.coco import write_coco
from advcam.datasets.synthetic.cub import write_cub200
from advcam.datasets.synthetic.folder import write_class_folders, write_label_table
from advcam.datasets.synthetic.imagenet import write_imagenet
from advcam.datasets.synthetic.pets import write_pets
from advcam.datasets.synthetic.voc import write_voc2012
from advcam.datasets.synthetic.wsol import write_wsol
from advcam.errors import SettingError

#: Each takes the root, the number of pictures and the seed.
GENERATORS: dict[str, Callable[[Path, int, int], None]] = {
    "voc2012": write_voc2012,
    "coco": write_coco,
    "cub200": write_cub200,
    "imagenet": write_imagenet,
    "pets": write_pets,
    "wsol": write_wsol,
    "openimages30k": partial(write_wsol, truth="masks"),
    "table": write_label_table,
    "folders": write_class_folders,
}


def write_dataset(layout: str, root: Path, pictures: int = 12, seed: int = 0) -> None:
    """Write a small data set in a layout.

    Args:
        layout: One of `GENERATORS`.
        root: A new or empty folder.
        pictures: How many, at least 1.
        seed: Decides what is drawn.

    Raises:
        SettingError: No such layout, no pictures, or a folder that holds something.
    """
    if layout not in GENERATORS:
        near = difflib.get_close_matches(layout, GENERATORS, n=1)
        advice = f"; did you mean {near[0]!r}?" if near else ""
        raise SettingError(f"nothing is generated for the layout {layout!r}{advice} (known: {', '.join(GENERATORS)})")
    if pictures < 1:
        raise SettingError(f"a data set has at least one picture; got {pictures}")
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise SettingError(f"{root} is not empty; name a new folder, nothing is overwritten")
    GENERATORS[layout](root, pictures, seed)
