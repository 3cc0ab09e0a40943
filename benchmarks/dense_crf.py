"""The dense CRF against pydensecrf: labels, marginals and time.

    python benchmarks/dense_crf.py ROOT --pictures 6
    python benchmarks/dense_crf.py

ROOT holds VOC in its own layout; without it the photographs of scikit-image serve, at 375 x 500. A picture of noise,
375 x 500, comes last: its bilateral lattice is the largest that there is. Each has 21 labels, in blocks of 25 pixels
with every fifth pixel wrong, and the constants of IRN. Both sides start from the picture and the energies, and take
turns in one process, so that other work on the machine slows both; each picture's time is the median of its turns. Ours
is timed on one thread, as pydensecrf runs, and on all threads of torch. A ratio is their time over ours.

The last line printed is JSON. `label_agreement` and `marginal_difference` are the worst of all pictures; `time_ratio`
is the worst and `time_ratio_median` the median of the natural ones, `time_ratio_noise` that of the noise, all on one
thread; the same with `_all_threads`. Torch waits for all its threads after every step: on an idle machine more threads
are faster, but where other work holds a core they are several times slower than one.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import numpy as np
import skimage.data
import torch
from numpy.typing import NDArray
from PIL import Image
from pydensecrf.densecrf import DenseCRF2D
from torch import Tensor

from advcam.refine.dense_crf import IRN_LABELS, dense_crf, label_unary

LABELS = 21
SIZE = (375, 500)
PHOTOGRAPHS = ("chelsea", "coffee", "astronaut", "rocket", "cat", "retina")
Picture = NDArray[np.uint8]


def pictures(root: Path | None, count: int) -> Iterator[tuple[str, Picture]]:
    """Names and pictures (H, W, 3): natural ones, spread evenly over the data set, and the noise."""
    if root is None:
        for name in PHOTOGRAPHS[:count]:
            picture = Image.fromarray(getattr(skimage.data, name)()).resize(SIZE[::-1], Image.Resampling.BOX)
            yield name, np.array(picture)
    else:
        paths = sorted(root.rglob("JPEGImages/*.jpg"))
        for path in paths[:: max(1, len(paths) // count)][:count]:
            yield path.stem, np.array(Image.open(path).convert("RGB"))
    yield "noise", np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


def energies(height: int, width: int) -> Tensor:
    """Of labels in blocks of 25 pixels, every fifth pixel drawn anew, (1, 21, H, W)."""
    generator = np.random.default_rng(0)
    coarse = generator.integers(0, LABELS, (height // 25 + 1, width // 25 + 1))
    blocks = np.kron(coarse, np.ones((25, 25), dtype=np.int64))[:height, :width]
    wrong = generator.random((height, width)) < 0.2
    labels = np.where(wrong, generator.integers(0, LABELS, (height, width)), blocks)
    return label_unary(torch.from_numpy(labels)[None], LABELS)


def theirs(picture: Picture, unary: NDArray[np.float32]) -> Tensor:
    """Marginals (21, H, W) of pydensecrf."""
    height, width, _ = picture.shape
    field = DenseCRF2D(width, height, LABELS)
    field.setUnaryEnergy(unary)
    field.addPairwiseGaussian(sxy=IRN_LABELS.gaussian_sxy, compat=IRN_LABELS.gaussian_weight)
    field.addPairwiseBilateral(
        sxy=IRN_LABELS.bilateral_sxy,
        srgb=IRN_LABELS.bilateral_srgb,
        rgbim=picture,
        compat=IRN_LABELS.bilateral_weight,
    )
    return torch.from_numpy(np.array(field.inference(IRN_LABELS.iterations))).view(LABELS, height, width)


def timed(function: Callable[[], Tensor], threads: int) -> tuple[float, Tensor]:
    """Seconds on the wall, and what came out."""
    torch.set_num_threads(threads)
    started = time.perf_counter()
    result = function()
    return time.perf_counter() - started, result


def compare(picture: Picture, repeat: int, threads: int) -> dict[str, float]:
    """Agreement and median seconds of both sides on one picture."""
    unary = energies(*picture.shape[:2])
    flat = np.ascontiguousarray(unary[0].reshape(LABELS, -1).numpy())
    batch = torch.from_numpy(picture).permute(2, 0, 1)[None]
    turns = []
    for _ in range(repeat):
        their_seconds, reference = timed(lambda: theirs(picture, flat), 1)
        seconds_one, marginals = timed(lambda: dense_crf(batch, unary)[0], 1)
        seconds_all, _ = timed(lambda: dense_crf(batch, unary)[0], threads)
        turns.append((their_seconds, seconds_one, seconds_all))
    seconds, one, every = (median(column) for column in zip(*turns, strict=True))
    return {
        "labels": float((marginals.argmax(0) == reference.argmax(0)).double().mean()),
        "difference": float((marginals - reference).abs().max()),
        "theirs": seconds,
        "one": one,
        "all": every,
    }


def main() -> None:
    """Compare on each picture, print the table, and the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, nargs="?")
    parser.add_argument("--pictures", type=int, default=6)
    parser.add_argument("--repeat", type=int, default=5)
    arguments = parser.parse_args()
    threads = torch.get_num_threads()
    print(
        f"{'picture':12} {'size':>9} {'labels':>8} {'marginals':>9}   seconds: pydensecrf, 1 thread, {threads} threads"
    )
    rows: dict[str, dict[str, float]] = {}
    for name, picture in pictures(arguments.root, arguments.pictures):
        row = rows[name] = compare(picture, arguments.repeat, threads)
        size = f"{picture.shape[0]}x{picture.shape[1]}"
        seconds = "  ".join(f"{row[side]:6.3f}" for side in ("theirs", "one", "all"))
        print(f"{name:12} {size:>9} {row['labels']:8.5f} {row['difference']:9.1e}   {seconds}", flush=True)
    figures: dict[str, float] = {
        "label_agreement": min(row["labels"] for row in rows.values()),
        "marginal_difference": max(row["difference"] for row in rows.values()),
    }
    noise = rows.pop("noise")
    for side, ending in (("one", ""), ("all", "_all_threads")):
        ratios = [row["theirs"] / row[side] for row in rows.values()]
        figures[f"time_ratio{ending}"] = min(ratios)
        figures[f"time_ratio_median{ending}"] = median(ratios)
        figures[f"time_ratio_noise{ending}"] = noise["theirs"] / noise[side]
    print(json.dumps({key: round(value, 6) for key, value in figures.items()} | {"threads": threads}))


if __name__ == "__main__":
    main()
