"""The pictures of docs/method.md, from two photographs of scikit-image that are CC0 (the cat, the cup).

    python benchmarks/method_pictures.py --out docs/images

Embedded EfficientNet-Lite0, longer side as it is, no flips. The last line printed is JSON: what the captions say.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
from numpy.typing import NDArray
from PIL import Image
from sheet import Row, cut_out, heated, masked, save, sheet

import advcam

STEPS = (0, 1, 2, 4, 8)
PENALTIES = (0.0, 1.0, 4.0)
SCALES = (0.5, 1.0, 2.0)
THRESHOLDS = (0.1, 0.2, 0.3, 0.5, 0.7)
#: Half of the largest value: what the regulariser holds.
HELD = 0.5


class Pictures:
    """What all sheets share: the classifier and two photographs."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.classifier = advcam.load_classifier()
        pictures = (Image.fromarray(getattr(skimage.data, name)()) for name in ("chelsea", "coffee"))
        self.cat, self.cup = pictures

    def plain(self) -> dict[str, Any]:
        """What a class activation map is: a coarse grid, smoothed, cut at a threshold."""
        labels = [["Egyptian cat"]]
        (found,) = advcam.CAM(self.classifier, scales=(1,))([self.cat], labels)
        (climbed,) = advcam.AdvCAM(self.classifier, scales=(1,), iterations=1)([self.cat], labels, record="maps")
        grid = climbed.trajectories[0].maps[0]  # before the first step: the plain map at the network's own positions
        mask = found.label_mask(0.25)
        tiles = (
            self.cat,
            heated(self.cat, grid / grid.max(), smooth=False),
            heated(self.cat, found.maps[0]),
            masked(self.cat, mask),
            cut_out(self.cat, mask),
        )
        columns = ("photograph", f"CAM, {grid.shape[1]} x {grid.shape[0]} places", "made smooth")
        save(
            sheet([Row(tiles)], (*columns, "above 0.25", "what the mask keeps")),
            self.out / "method-cam.webp",
        )
        return {"grid": grid.shape}

    def climb(self) -> dict[str, Any]:
        """One climb: the picture at some steps, what was changed, and the sum of the maps."""
        attribute = advcam.AdvCAM(self.classifier, scales=(1,), iterations=STEPS[-1])
        (found,) = attribute([self.cat], [["Egyptian cat"]], record="all")
        (way,) = found.trajectories
        assert found.steps is not None
        assert way.pictures is not None
        start = way.pictures[0]
        scores = way.scores[:, way.class_id]
        rows = (
            Row([_picture(way.pictures[t]) for t in STEPS], "the picture"),
            Row(
                [_picture(0.5 + 50 * (way.pictures[t] - start)) for t in STEPS],
                "what was changed, times 50",
            ),
            Row([heated(self.cat, way.maps[t] / way.maps[t].max()) for t in STEPS], "its map"),
            Row([heated(self.cat, found.steps[0][t]) for t in STEPS], "the sum of the maps so far"),
        )
        columns = [f"step {t}: score {scores[t]:.1f}" for t in STEPS]
        save(sheet(rows, columns), self.out / "method-climb.webp")
        change = [float(np.abs(way.pictures[t] - start).mean()) for t in STEPS]
        covered = [float((found.steps[0][t] > 0.3).mean()) for t in STEPS]
        return {"scores": scores[list(STEPS)].tolist(), "mean_change": change, "covered_above_0.3": covered}

    def regulariser(self) -> dict[str, Any]:
        """The same climb without the regulariser and with two weights of it: what grows, and by how much."""
        rows, growth = [], {}
        for penalty in PENALTIES:
            attribute = advcam.AdvCAM(self.classifier, scales=(1,), iterations=STEPS[-1], penalty=penalty)
            (found,) = attribute([self.cup], [["espresso"]], record="maps")
            maps = found.trajectories[0].maps
            inside = maps[0] > HELD * maps[0].max()
            times = [[float(m[part].mean() / maps[0][part].mean()) for m in maps] for part in (inside, ~inside)]
            growth[penalty] = {"inside": times[0][-1], "outside": times[1][-1]}
            word = "without the regulariser" if penalty == 0 else f"lambda = {penalty:g}"
            highest = max(float(m.max()) for m in maps)
            tiles = [heated(self.cup, maps[t] / highest) for t in STEPS]
            said = [f"in x {times[0][t]:.1f}, out x {times[1][t]:.1f}" for t in STEPS]
            rows.append(Row(tiles, word, said))
        save(sheet(rows, [f"map of step {t}" for t in STEPS]), self.out / "method-regulariser.webp")
        return {"growth": growth}

    def scales(self) -> dict[str, Any]:
        """Maps of single scales, and the two ways to join them."""
        methods = [advcam.AdvCAM(self.classifier, scales=(scale,)) for scale in SCALES]
        methods += [advcam.AdvCAM(self.classifier, scales=SCALES)]
        methods += [advcam.AdvCAM(self.classifier, scales=SCALES, fusion="geometric")]
        tiles = [heated(self.cup, method([self.cup], [["espresso"]])[0].maps[0]) for method in methods]
        columns = [*(f"scale {scale:g}" for scale in SCALES), "all three: sum", "all three: geometric"]
        save(sheet([Row(tiles)], columns), self.out / "method-scales.webp")
        return {}

    def thresholds(self) -> dict[str, Any]:
        """The masks of both methods at some thresholds."""
        rows, covered = [], {}
        for name, method in (("CAM", advcam.CAM), ("AdvCAM", advcam.AdvCAM)):
            (found,) = method(self.classifier)([self.cat], [["Egyptian cat"]])
            masks: list[NDArray[np.int32]] = [found.label_mask(threshold) for threshold in THRESHOLDS]
            shares = [float((mask > 0).mean()) for mask in masks]
            covered[name] = shares
            said = [f"{100 * share:.0f} % of the picture" for share in shares]
            rows.append(Row([masked(self.cat, mask) for mask in masks], name, said))
        save(sheet(rows, [f"threshold {t:g}" for t in THRESHOLDS]), self.out / "method-threshold.webp")
        return {"covered": covered}


def _picture(pixels: NDArray[np.floating]) -> Image.Image:
    """(3, h, w), 0 to 1, as a picture."""
    return Image.fromarray((np.clip(pixels, 0, 1).transpose(1, 2, 0) * 255).astype(np.uint8))


def main() -> None:
    """Draw all sheets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    pictures = Pictures(parser.parse_args().out)
    sheets = (pictures.plain, pictures.climb, pictures.regulariser, pictures.scales, pictures.thresholds)
    print(json.dumps({draw.__name__: draw() for draw in sheets}))


if __name__ == "__main__":
    main()
