"""Exports as they were once checked by hand: what has changed is seen here first.

Texts are held to the byte, PNG to the pixel (their compression is the library's). To write them anew:
`python tests/export/test_golden_exports.py`.
"""

import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from annotated_pictures import annotated, contents, export
from PIL import Image

from advcam.export.coco import Coco, CocoPolygons, CocoResults
from advcam.export.panoptic import Panoptic
from advcam.export.voc import Voc
from advcam.export.yolo import Yolo, YoloBoxes

GOLDEN = Path(__file__).parent / "golden"
FORMATS = [Coco(), CocoPolygons(), CocoResults(), Panoptic(), Voc(), Yolo(), YoloBoxes()]
CLASSES = {1: "cat", 2: 'it\'s a "dog" & 鳥'}
DRAWN = """
................
..111111....2...
..1....1.....2..
..1.22.1........
..1....1...222..
..111111...2?2..
...........222..
????............
"""
NUMBERS = {".": 0, "?": 255, "1": 1, "2": 2}


def drawn():
    return np.array([[NUMBERS[one] for one in row] for row in DRAWN.split()])


def written(format_, folder):
    pictures = [annotated(drawn(), folder / "in", "b/a cat.png", labels=(1, 2))]
    pictures.append(annotated(np.zeros((2, 3)), folder / "in", "nothing.png"))
    return export(format_, pictures, folder / format_.name, CLASSES)


@pytest.mark.parametrize("format_", FORMATS, ids=lambda one: one.name)
def test_exports_are_as_they_were(format_, tmp_path):
    new, old = written(format_, tmp_path), GOLDEN / format_.name
    found, expected = contents(new), contents(old)
    assert found.keys() == expected.keys()
    for name, content in expected.items():
        if name.endswith(".png"):
            with Image.open(new / name) as one, Image.open(old / name) as other:
                assert one.mode == other.mode
                assert one.getpalette() == other.getpalette()
                assert np.array_equal(np.asarray(one), np.asarray(other)), name
        else:
            assert found[name].decode() == content.decode(), name


@pytest.mark.parametrize("format_", [one for one in FORMATS if one.readable], ids=lambda one: one.name)
def test_exports_of_before_are_read(format_):
    found, nothing = format_.read(GOLDEN / format_.name, CLASSES)
    expected = np.where(drawn() == 255, 0, drawn()) if format_.name == "yolo" else drawn()
    assert (found.mask == expected).all()
    assert found.names == CLASSES
    assert not nothing.mask.any()


if __name__ == "__main__":
    for one in FORMATS:
        with tempfile.TemporaryDirectory() as place:
            shutil.rmtree(GOLDEN / one.name, ignore_errors=True)
            shutil.copytree(written(one, Path(place)), GOLDEN / one.name)
            sys.stdout.write(f"{GOLDEN / one.name}\n")
