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
#: Most pictures of a split whose scenes are not those of another split, too.
_MOST = {"imagenet": 499, "wsol": 300, "openimages30k": 300}


def write_dataset(layout: str, root: Path, pictures: int = 12, seed: int = 0) -> None:
    """Write a small data set in a layout.

    Args:
        layout: One of `GENERATORS`.
        root: A new or empty folder.
        pictures: How many, at least 1, in each split for the layouts whose splits do not share a list.
        seed: Decides what is drawn, at least 0.

    Raises:
        SettingError: No such layout, too few or too many pictures, a negative seed, or a folder that holds something.
    """
    if layout not in GENERATORS:
        near = difflib.get_close_matches(layout, GENERATORS, n=1)
        advice = f"; did you mean {near[0]!r}?" if near else ""
        raise SettingError(f"nothing is generated for the layout {layout!r}{advice} (known: {', '.join(GENERATORS)})")
    most = _MOST.get(layout, 999_999)
    if not 1 <= pictures <= most:
        raise SettingError(f"the layout {layout} is generated with 1 to {most} pictures; got {pictures}")
    if seed < 0:
        raise SettingError(f"a seed is a whole number from 0 on; got {seed}")
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise SettingError(f"{root} is a file or not empty; name a new folder, nothing is overwritten")
    GENERATORS[layout](root, pictures, seed)
