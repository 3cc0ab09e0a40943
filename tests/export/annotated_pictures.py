"""Pictures with masks for tests of formats, and what formats make of them."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from advcam.export.annotated import AnnotatedPicture
from advcam.pseudo.objects import mask_instances

CLASSES = {1: "cat", 2: "dog's & <friends>", 3: "鳥: yes"}
NUMBERS = (0, 1, 2, 3, 255)


def label_masks(numbers=NUMBERS):
    """Masks of a few pixels a side: holes, parts of one pixel, objects that touch."""
    sizes = st.tuples(st.integers(1, 14), st.integers(1, 14))
    return arrays.arrays(np.int32, sizes, elements=st.sampled_from(numbers))


def annotated(mask, folder, id_="a.png", labels=(), scores=None):
    """A picture of the size of a mask; its objects are the connected parts."""
    path = Path(folder) / id_
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.asarray(mask, dtype=np.int32)
    Image.fromarray(np.zeros((*mask.shape, 3), dtype=np.uint8)).save(path)
    objects = tuple(mask_instances(mask))
    return AnnotatedPicture(id_, id_.rsplit(".", 1)[0], path, mask, objects, labels)


def export(format_, pictures, folder, classes=CLASSES):
    """Write pictures into a new folder."""
    folder = Path(folder)
    folder.mkdir(parents=True)
    format_.check(classes)
    with format_.writer(folder, classes) as writer:
        for picture in pictures:
            writer.add(picture)
    return folder


def round_trip(format_, mask, classes=CLASSES, id_="a.png"):
    """The one mask that comes back."""
    with tempfile.TemporaryDirectory() as folder:
        out = export(format_, [annotated(mask, Path(folder, "in"), id_)], Path(folder, "out"), classes)
        (found,) = format_.read(out, classes)
        return found


def scene():
    """A mask of 40 x 50 pixels: a ring, two parts that touch at a corner, a pixel, a line, and undecided pixels."""
    mask = np.zeros((40, 50), dtype=np.int32)
    mask[3:20, 4:24] = 1
    mask[7:15, 9:19] = 0
    mask[9:12, 11:14] = 2
    mask[22:28, 24:30], mask[28:33, 30:36] = 3, 3
    mask[36, 45] = 2
    mask[1, 30:48] = 1
    mask[34:38, 2:12] = 255
    return mask


def contents(folder):
    """Bytes of each file, by its path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }
