"""The photographs of `advcam demo`, with a label each; all come installed with scikit-image.

`chelsea` and `coffee` are CC0; `motorcycle` is from the Middlebury stereo data set 2014 (Scharstein et al., GCPR).
"""

import csv
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import skimage.data
from numpy.typing import NDArray
from PIL import Image

from advcam.store.files import write_picture, write_text

#: Each photograph: where scikit-image has it, and the ImageNet class that it shows.
PHOTOGRAPHS: dict[str, tuple[Callable[[], NDArray[np.uint8]], str]] = {
    "chelsea": (lambda: skimage.data.chelsea(), "Egyptian cat"),
    "coffee": (lambda: skimage.data.coffee(), "espresso"),
    "motorcycle": (lambda: np.asarray(skimage.data.stereo_motorcycle()[0]), "moped"),
}


def write_photographs(folder: Path) -> Path:
    """Write the photographs and `labels.csv` to a folder, unless they lie there; returns the path of the CSV."""
    rows = [("image", "labels"), *((f"{name}.png", label) for name, (_, label) in PHOTOGRAPHS.items())]
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    for name, (photograph, _) in PHOTOGRAPHS.items():
        if not (folder / f"{name}.png").exists():
            write_picture(folder / f"{name}.png", Image.fromarray(photograph()))
    write_text(folder / "labels.csv", text.getvalue())
    return folder / "labels.csv"
