"""What `advcam export` and `advcam import` cost, format by format.

    python benchmarks/exports.py                      2,000 masks of 375 x 500 pixels
    python benchmarks/exports.py --pictures 200 --formats coco voc
    python benchmarks/exports.py --json

The masks are drawn (seed 0): up to four blobs of 20 classes with ragged outlines, holes and a band of undecided pixels,
in the folder of a run of `advcam predict`, so nothing is learnt. For each format: pictures a minute of the export, the
milliseconds of a processor that one takes, megabytes; the same two of reading it back, and the masks that come back as
they were, of all (for YOLO, which has no undecided pixels, but for those). Milliseconds of a processor hardly depend on
what else the machine does.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from advcam.export.catalogue import FORMATS
from advcam.pipeline.album import Album, open_album
from advcam.pipeline.exporting import export_run
from advcam.store.masks import write_mask
from advcam.types import IGNORE, Mask

CLASSES = 20
SIZE = (375, 500)


class Silent:
    """Hears nothing."""

    def start(self, words: str, total: int) -> None:
        """Nothing."""

    def step(self) -> None:
        """Nothing."""


def drawn_mask(rng: np.random.Generator) -> Mask:
    """Blobs of smoothed noise, one class each, with undecided outlines."""
    mask = np.zeros(SIZE, dtype=np.int32)
    for _ in range(int(rng.integers(1, 5))):
        small = rng.random((10, 13), dtype=np.float32)
        field = cv2.resize(small, SIZE[::-1], interpolation=cv2.INTER_CUBIC)
        y, x = rng.integers(0, SIZE[0]), rng.integers(0, SIZE[1])
        window = np.hypot(*(axis - centre for axis, centre in zip(np.indices(SIZE), (y, x), strict=True)))
        score = field - window / 150
        mask[np.abs(score) < 0.02] = IGNORE
        mask[score >= 0.02] = int(rng.integers(1, CLASSES + 1))
    return mask


def draw_run(folder: Path, pictures: int) -> Album:
    """Pictures and masks in the folders of a run of `advcam predict`."""
    rng = np.random.default_rng(0)
    (folder / "photographs").mkdir(parents=True)
    noise = rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    for number in range(pictures):
        picture = Image.fromarray(np.roll(noise, number, axis=1)).resize((50, 38)).resize(SIZE[::-1])
        picture.save(folder / "photographs" / f"{number:06}.jpg")
        write_mask(folder / "run" / "masks" / f"{number:06}.png", drawn_mask(rng))
    names = [{"number": one, "class_id": one - 1, "name": f"class {one}"} for one in range(1, CLASSES + 1)]
    (folder / "run" / "classes.json").write_text(json.dumps(names))
    settings = {"inputs": [str(folder / "photographs")], "segmenter": "drawn", "out": str(folder / "run")}
    (folder / "run" / "settings.json").write_text(json.dumps(settings))
    return open_album(folder / "run")


def measure(album: Album, name: str, out: Path) -> dict[str, Any]:
    """One format."""
    clock = Clock()
    with clock:
        summary = export_run(album, name, out, "all", Silent())
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    row = {"format": name, **clock.rates("written", summary.pictures), "MB": round(size / 1e6, 1)}
    if not FORMATS[name].readable:
        return row
    own = {album.names[id_].rpartition("/")[2]: id_ for id_ in album.names}
    clock, equal, masks = Clock(), 0, FORMATS[name].read(out, album.classes)
    for _ in range(summary.pictures):
        with clock:
            found = next(masks)
        mask = album.final_mask(own[Path(found.name).stem])
        if mask is not None and not FORMATS[name].undecided:
            mask = np.where(mask == IGNORE, 0, mask)
        equal += mask is not None and np.array_equal(found.mask, mask)
    return row | clock.rates("read", summary.pictures) | {"equal": equal, "of": summary.pictures}


class Clock:
    """Adds up the seconds of its blocks, on the wall and of processors."""

    def __init__(self) -> None:
        self.wall = self.processor = 0.0

    def __enter__(self) -> None:
        self.wall -= time.monotonic()
        self.processor -= time.process_time()

    def __exit__(self, *_: object) -> None:
        self.wall += time.monotonic()
        self.processor += time.process_time()

    def rates(self, words: str, pictures: int) -> dict[str, float]:
        """Pictures a minute, and milliseconds of a processor a picture."""
        milliseconds = round(self.processor / pictures * 1000, 1)
        return {f"{words} a minute": round(pictures / self.wall * 60), f"{words} ms": milliseconds}


def main() -> None:
    """Measure every format."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--formats", nargs="+", default=list(FORMATS), choices=list(FORMATS))
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        album = draw_run(Path(folder), asked.pictures)
        for name in asked.formats:
            rows.append(measure(album, name, Path(folder) / "exports" / name))
            print(
                json.dumps(rows[-1]) if asked.json else "  ".join(f"{key} {value}" for key, value in rows[-1].items())
            )
    if not asked.json:
        print(
            f"{os.cpu_count()} cores, {platform.processor() or platform.machine()}, Python {platform.python_version()}"
        )


if __name__ == "__main__":
    main()
