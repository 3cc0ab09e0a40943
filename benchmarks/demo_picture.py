"""The picture of the README, drawn from the run of `advcam demo`.

    advcam demo --out advcam-demo && python benchmarks/demo_picture.py advcam-demo --out docs/images/demo.png

Columns: photograph with box, class activation map, AdvCAM, mask; one row a photograph, only those in the public domain.
The last line printed is JSON.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from advcam.colours import blend, heat
from advcam.datasets.pictures import read_picture
from advcam.store.maps import MapStore, StoredMaps
from advcam.store.masks import read_mask
from advcam.types import DEFAULT_THRESHOLD

SIZE, GAP, HEADER = (300, 200), 10, 34
COLUMNS = ("photograph and box", "CAM: where the classifier looks", "AdvCAM: after the climb", "mask")
THRESHOLD = DEFAULT_THRESHOLD


def tiles(row: StoredMaps, folder: Path) -> list[Image.Image]:
    """The four pictures of one row, (W, H) = SIZE."""
    photograph = read_picture(folder / "photographs" / row.sample_id)
    steps = row.attribution.steps
    assert steps is not None, "the demo keeps the steps of its pictures"
    boxed = photograph.copy()
    for box in row.attribution.boxes(THRESHOLD):
        corners = (box.x0, box.y0, box.x1 - 1, box.y1 - 1)
        ImageDraw.Draw(boxed).rectangle(corners, outline=(255, 220, 0), width=max(3, boxed.width // 120))
    pixels = np.asarray(photograph)
    heats = [Image.fromarray(heat(steps[0][t])).resize(photograph.size, Image.Resampling.BILINEAR) for t in (0, -1)]
    maps = [Image.fromarray(blend(pixels, np.asarray(colours), 0.5)) for colours in heats]
    mask = read_mask(folder / "run" / "masks" / f"{Path(row.sample_id).stem}.png") > 0
    cut = Image.fromarray(np.where(mask[..., None], pixels, 255 - (255 - pixels) // 5).astype(np.uint8))
    return [tile.resize(SIZE, Image.Resampling.LANCZOS) for tile in (boxed, *maps, cut)]


def main() -> None:
    """Draw and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("demo", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/images/demo.png"))
    parser.add_argument("--names", nargs="+", default=["chelsea", "coffee"], help="the CC0 photographs")
    arguments = parser.parse_args()
    store = MapStore(arguments.demo / "run" / "maps")
    rows = [store.get(f"{name}.png") for name in arguments.names]
    width = len(COLUMNS) * (SIZE[0] + GAP) + GAP
    sheet = Image.new("RGB", (width, HEADER + len(rows) * (SIZE[1] + GAP)), "white")
    for column, words in enumerate(COLUMNS):
        at = (GAP + column * (SIZE[0] + GAP), 8)
        ImageDraw.Draw(sheet).text(at, words, fill=(40, 40, 40), font=ImageFont.load_default(18))
    covered = {}
    for y, row in enumerate(rows):
        for x, tile in enumerate(tiles(row, arguments.demo)):
            sheet.paste(tile, (GAP + x * (SIZE[0] + GAP), HEADER + y * (SIZE[1] + GAP)))
        steps = row.attribution.steps
        if steps is not None:
            covered[row.sample_id] = {
                name: round(float((steps[0][t] > THRESHOLD).mean()), 3) for name, t in (("cam", 0), ("advcam", -1))
            }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(arguments.out, optimize=True)
    print(json.dumps({"out": str(arguments.out), "covered": covered}))


if __name__ == "__main__":
    main()
