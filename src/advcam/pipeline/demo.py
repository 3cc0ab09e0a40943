"""The photographs of `advcam demo`: from scikit-image, free to use, with a label each."""

import csv
import io
from pathlib import Path

import skimage.data
from PIL import Image

from advcam.store.files import write_picture, write_text

#: Function of skimage.data and the ImageNet class of each photograph.
PHOTOGRAPHS = {"chelsea": "Egyptian cat", "coffee": "espresso", "rocket": "missile"}


def write_photographs(folder: Path) -> Path:
    """Write the photographs and `labels.csv` to a folder, unless they lie there; returns the path of the CSV."""
    rows = [("image", "labels"), *((f"{name}.png", label) for name, label in PHOTOGRAPHS.items())]
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    for name in PHOTOGRAPHS:
        if not (folder / f"{name}.png").exists():
            write_picture(folder / f"{name}.png", Image.fromarray(getattr(skimage.data, name)()))
    write_text(folder / "labels.csv", text.getvalue())
    return folder / "labels.csv"
