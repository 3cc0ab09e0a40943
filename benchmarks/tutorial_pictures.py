"""The pictures of docs/tutorial.md, from the folder in which its commands were given.

    python benchmarks/tutorial_pictures.py WALK --out docs/images

Only the two photographs of the demo that are CC0 are shown (the cat, the cup), and drawn pictures.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from pycocotools.mask import decode
from sheet import Row, boxed, heated, masked, painted, save, sheet

from advcam.datasets.pictures import read_picture
from advcam.store.maps import MapStore, StoredMaps
from advcam.store.masks import read_mask
from advcam.types import DEFAULT_THRESHOLD

THRESHOLDS = (0.15, 0.3, 0.5, 0.7)
_LINES = ((255, 60, 60), (60, 220, 60), (255, 220, 0))


class Walk:
    """The folder of somebody who followed the tutorial."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.photographs = folder / "advcam-demo" / "photographs"
        (self.drawn,) = folder.glob("tiny-data/**/VOC2012")
        (self.more,) = folder.glob("more/**/VOC2012")

    def photograph(self, name: str) -> Image.Image:
        """A photograph of the demo."""
        return read_picture(self.photographs / f"{name}.png")

    def stored(self, run: str, name: str) -> StoredMaps:
        """The maps of a picture."""
        return MapStore(self.folder / run / "maps").get(name)

    def demo(self) -> Image.Image:
        """Photograph, map, mask, box: what the demo leaves."""
        rows = []
        for name, label in (("chelsea", "Egyptian cat"), ("coffee", "espresso")):
            picture, row = self.photograph(name), self.stored("advcam-demo/run", f"{name}.png")
            mask = read_mask(self.folder / "advcam-demo" / "run" / "masks" / f"{name}.png")
            boxes = row.attribution.boxes(DEFAULT_THRESHOLD)
            rows.append(
                Row(
                    (picture, heated(picture, row.attribution.maps[0]), masked(picture, mask), boxed(picture, boxes)),
                    label,
                )
            )
        return sheet(rows, ("photograph", "map", "mask", "box"))

    def methods(self) -> Image.Image:
        """CAM against AdvCAM, each at its own threshold."""
        rows = []
        for name in ("chelsea", "coffee"):
            picture = self.photograph(name)
            found = [self.stored(run, f"{name}.png").attribution for run in ("run-cam", "advcam-demo/run")]
            maps = [heated(picture, one.maps[0]) for one in found]
            masks = [
                masked(picture, read_mask(self.folder / run / "masks" / f"{name}.png"))
                for run in ("run-cam", "advcam-demo/run")
            ]
            rows.append(Row((maps[0], maps[1], masks[0], masks[1])))
        return sheet(rows, ("CAM", "AdvCAM", "mask of CAM", "mask of AdvCAM"))

    def labels(self) -> Image.Image:
        """A picture with two labels: a map for each, and one mask."""
        picture = read_picture(self.folder / "photos" / "space" / "astronaut.png")
        found = self.stored("run", "space/astronaut.png").attribution
        maps = [heated(picture, class_map) for class_map in found.maps]
        mask = masked(picture, found.label_mask(DEFAULT_THRESHOLD))
        return sheet([Row((picture, *maps, mask))], ("astronaut.png", *found.class_names, "mask"))

    def threshold(self) -> Image.Image:
        """Masks at some thresholds."""
        picture = self.photograph("chelsea")
        found = self.stored("run", "cat.png").attribution
        masks = [found.label_mask(threshold) for threshold in THRESHOLDS]
        shares = [f"{100 * float((mask > 0).mean()):.0f} % of the picture" for mask in masks]
        columns = [f"threshold {threshold:g}" for threshold in THRESHOLDS]
        return sheet([Row([masked(picture, mask) for mask in masks], captions=shares)], columns)

    def export(self) -> Image.Image:
        """Outlines and boxes of the COCO file, read by pycocotools."""
        coco = json.loads((self.folder / "coco" / "annotations" / "instances.json").read_text())
        names = {one["id"]: one["name"] for one in coco["categories"]}
        tiles, words = [], []
        for image in coco["images"]:
            picture = read_picture(self.folder / "photos" / image["file_name"])
            here = [one for one in coco["annotations"] if one["image_id"] == image["id"]]
            pixels = np.asarray(picture).copy()
            for annotation, colour in zip(here, _LINES * len(here), strict=False):
                mask = decode(annotation["segmentation"])
                contours, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
                cv2.drawContours(pixels, contours, -1, colour, 4)
                x, y, width, height = (round(side) for side in annotation["bbox"])
                cv2.rectangle(pixels, (x, y), (x + width - 1, y + height - 1), colour, 1)
            picture = Image.fromarray(pixels)
            tiles.append(picture)
            words.append(", ".join(dict.fromkeys(names[one["category_id"]] for one in here)))
        return sheet([Row(tiles, captions=words)], width=320)

    def train(self) -> Image.Image:
        """The stages of the chain on four drawn pictures."""
        names = self._drawn_names()

        def masks(folder: Path) -> list[Image.Image]:
            return [_painted(folder / f"{name}.png") for name in names]

        pictures = [read_picture(self.drawn / "JPEGImages" / f"{name}.jpg") for name in names]
        rows = [Row(pictures, "drawn picture"), *(self._maps(run, names, pictures) for run in ("baseline", "localize"))]
        rows += [
            Row(masks(self.folder / "tiny" / "pseudo" / "masks"), "pseudo-label"),
            Row(masks(self.drawn / "SegmentationClass"), "truth"),
        ]
        return sheet(rows, width=120)

    def predict(self) -> Image.Image:
        """New drawn pictures, the masks of the network, the truth."""
        names = sorted(path.stem for path in (self.more / "SegmentationClass").glob("*.png"))[:5]
        pictures = [read_picture(self.more / "JPEGImages" / f"{name}.jpg") for name in names]
        found, truth = self.folder / "predicted" / "masks", self.more / "SegmentationClass"
        rows = (
            Row(pictures, "new picture, no label"),
            Row([_painted(found / f"{name}.png") for name in names], "mask of the network"),
            Row([_painted(truth / f"{name}.png") for name in names], "truth"),
        )
        return sheet(rows, width=120)

    def _drawn_names(self) -> Sequence[str]:
        """Four pictures with truth and pseudo-label, evenly spread."""
        there = {path.stem for path in (self.folder / "tiny" / "pseudo" / "masks").glob("*.png")}
        names = sorted(path.stem for path in (self.drawn / "SegmentationClass").glob("*.png") if path.stem in there)
        return names[:: max(1, len(names) // 4)][:4]

    def _maps(self, stage: str, names: Sequence[str], pictures: Sequence[Image.Image]) -> Row:
        store = MapStore(self.folder / "tiny" / stage / "maps")
        tiles = [
            heated(picture, store.get(name).attribution.maps.max(axis=0), opacity=0.6)
            for name, picture in zip(names, pictures, strict=True)
        ]
        return Row(tiles, {"baseline": "CAM", "localize": "AdvCAM"}[stage])


def _painted(path: Path) -> Image.Image:
    return painted(read_mask(path))


def main() -> None:
    """Draw all sheets, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("walk", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    arguments = parser.parse_args()
    walk = Walk(arguments.walk)
    sheets: tuple[Callable[[], Image.Image], ...] = (
        walk.demo,
        walk.methods,
        walk.labels,
        walk.threshold,
        walk.export,
        walk.train,
        walk.predict,
    )
    for draw in sheets:
        save(draw(), arguments.out / f"tutorial-{draw.__name__}.webp")
    print(json.dumps({"sheets": [draw.__name__ for draw in sheets]}))


if __name__ == "__main__":
    main()
