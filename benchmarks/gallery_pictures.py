"""The pictures of docs/gallery.md: photographs of scikit-image that are in the public domain, and drawn pictures.

    advcam run tiny --out tiny && python benchmarks/gallery_pictures.py tiny tiny-data --out docs/images

One sheet a photograph: photograph with boxes, CAM, AdvCAM, masks of both at their default thresholds. Then the drawn
pictures of the run whose pseudo-labels are best and worst. The last line printed is JSON, with the class scores and the
share of the picture that each mask covers.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
from numpy.typing import NDArray
from PIL import Image
from sheet import Row, boxed, heated, masked, painted, save, sheet

import advcam
from advcam.datasets.pictures import read_picture
from advcam.store.masks import read_mask
from advcam.types import DEFAULT_THRESHOLD, IGNORE, Mask

COLUMNS = ("photograph, box", "CAM", "AdvCAM", "mask of CAM", "mask of AdvCAM")
CAM_THRESHOLD = 0.25


def photograph(name: str) -> Image.Image:
    """A photograph of scikit-image, RGB; silhouettes are black on white."""
    pixels = np.asarray(getattr(skimage.data, name)())
    return Image.fromarray(pixels.astype(np.uint8) * 255 if pixels.dtype == np.bool_ else pixels).convert("RGB")


def small_cat() -> Image.Image:
    """The cat, 90 pixels wide, in the sky beside the rocket."""
    scene, cat = photograph("rocket"), photograph("chelsea")
    cat.thumbnail((90, 90))
    scene.paste(cat, (430, 120))
    return scene


#: Name of the sheet: the picture, and the labels that are given.
CASES: dict[str, tuple[Callable[[], Image.Image], list[str]]] = {
    "cat": (lambda: photograph("chelsea"), ["Egyptian cat"]),
    "espresso": (lambda: photograph("coffee"), ["espresso"]),
    "horse": (lambda: photograph("horse"), ["sorrel"]),
    "two-classes": (lambda: photograph("coffee"), ["espresso", "wooden spoon"]),
    "tripod": (lambda: photograph("camera"), ["tripod"]),
    "rocket": (lambda: photograph("rocket"), ["missile"]),
    "shuttle": (lambda: photograph("astronaut"), ["space shuttle"]),
    "helmet": (lambda: photograph("astronaut"), ["crash helmet"]),
    "small": (small_cat, ["Egyptian cat"]),
    "wrong-label": (lambda: photograph("chelsea"), ["espresso"]),
    "many": (lambda: photograph("coins"), ["Petri dish"]),
    "unknown": (lambda: photograph("hubble_deep_field"), ["flatworm"]),
}


def photographs(out: Path) -> dict[str, Any]:
    """Draw a sheet for each case; class scores and covered shares."""
    classifier = advcam.load_classifier()
    methods = (advcam.CAM(classifier), advcam.AdvCAM(classifier))
    found: dict[str, Any] = {}
    for name, (take, labels) in CASES.items():
        picture = take()
        plain, climbed = (method([picture], [labels])[0] for method in methods)
        masks = (plain.label_mask(CAM_THRESHOLD), climbed.label_mask(DEFAULT_THRESHOLD))
        maps = [heated(picture, one.maps.max(axis=0)) for one in (plain, climbed)]
        tiles = (boxed(picture, climbed.boxes()), *maps, *(masked(picture, mask) for mask in masks))
        save(sheet([Row(tiles)], COLUMNS), out / f"gallery-{name}.webp")
        covered = [round(float((mask > 0).mean()), 3) for mask in masks]
        found[name] = {"labels": labels, "scores": np.round(climbed.scores, 1).tolist(), "covered": covered}
    return found


def drawn(run: Path, data: Path, out: Path) -> dict[str, float]:
    """The four best and the four worst pseudo-labels of a run, with the truth; IoU of the pixels that are decided."""
    (voc,) = (path.parent for path in data.glob("**/SegmentationClass"))
    scores: dict[str, float] = {}
    masks: dict[str, tuple[Mask, Mask]] = {}
    for path in sorted((voc / "SegmentationClass").glob("*.png")):
        if (run / "pseudo" / "masks" / path.name).exists():
            masks[path.stem] = read_mask(run / "pseudo" / "masks" / path.name), read_mask(path)
            scores[path.stem] = _iou(*masks[path.stem])
    order = sorted(scores, key=scores.__getitem__, reverse=True)
    for title, names in (("best", order[:4]), ("worst", order[:-5:-1])):
        rows = [[read_picture(voc / "JPEGImages" / f"{name}.jpg") for name in names]]
        rows += [[painted(masks[name][which]) for name in names] for which in (0, 1)]
        words = ("", "pseudo-labels", "truth (white: not scored)")
        captions: list[list[str]] = [[], [f"IoU {100 * scores[name]:.0f}" for name in names], []]
        page = [Row(tiles, name, under) for tiles, name, under in zip(rows, words, captions, strict=True)]
        save(sheet(page, width=140), out / f"gallery-drawn-{title}.webp")
    return {name: round(scores[name], 3) for name in (*order[:4], *order[:-5:-1])}


def _iou(mask: Mask, truth: Mask) -> float:
    """Mean IoU over the classes in truth or mask, background included, where both are decided."""
    known: NDArray[np.bool_] = (mask != IGNORE) & (truth != IGNORE)
    numbers = np.union1d(mask[known], truth[known])
    pairs = [((mask == number) & known, (truth == number) & known) for number in numbers]
    return float(np.mean([(found & true).sum() / (found | true).sum() for found, true in pairs]))


def main() -> None:
    """Draw all sheets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="of advcam run tiny")
    parser.add_argument("data", type=Path, help="the pictures that it drew")
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    arguments = parser.parse_args()
    print(
        json.dumps(
            {"photographs": photographs(arguments.out), "drawn": drawn(arguments.run, arguments.data, arguments.out)}
        )
    )


if __name__ == "__main__":
    main()
