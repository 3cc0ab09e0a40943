"""The evaluation protocols: equal to their literal transcription, and how long and how large they are.

    python benchmarks/protocols.py
    python benchmarks/protocols.py --quick

(a) MaxBoxAcc, MaxBoxAccV2 and PxAP of random maps (coarse noise, 4 to 56 positions a side, and maps of few values)
against tests/evaluate/literal.py, at all 1,000 thresholds: the largest deviation of any point of a curve. (b) The
sweep of 101 seed thresholds over random pictures of 375 x 500 with 21 classes and one to three smooth maps each, and
MaxBoxAcc with MaxBoxAccV2 at 1,000 thresholds over smooth maps (noise on 28 x 28 positions) and over noise of single
pixels. Times are processor time of the scores alone, without making the pictures, and per picture of the N given:
nothing is extrapolated. (Processor time, because machines are shared; busy ones still slow the memory down.) Memory is
the peak of the process after N and after 2 N pictures. The last line printed is JSON.
"""

import argparse
import importlib.util
import json
import os
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from advcam.evaluate.localization import MaxBoxAcc
from advcam.evaluate.pxap import PxAP
from advcam.evaluate.score_maps import SIZE, score_map
from advcam.evaluate.segmentation import SeedSweep
from advcam.evaluate.thresholds import BOX_THRESHOLDS
from advcam.types import Box

LITERAL = Path(__file__).parents[1] / "tests" / "evaluate" / "literal.py"
SHAPE = (375, 500)
CLASSES = 21

Judged = tuple[NDArray[np.float64], list[Box], tuple[int, int]]


def literal() -> ModuleType:
    """The protocols written out slowly; the same file that the tests use."""
    spec = importlib.util.spec_from_file_location("literal_protocols", LITERAL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def judged(count: int, cells: tuple[int, ...], seed: int) -> Iterator[Judged]:
    """Score maps of so many positions a side (0: few values), with one to three true boxes in a picture."""
    generator = np.random.default_rng(seed)
    for index in range(count):
        side = cells[index % len(cells)]
        raw = generator.random((side, side)) if side else np.kron(generator.integers(0, 4, (8, 8)), np.ones((28, 28)))
        height, width = (int(length) for length in generator.integers(100, 600, 2))
        boxes = []
        for _ in range(1 + index % 3):
            x0, y0 = int(generator.integers(0, width // 2)), int(generator.integers(0, height // 2))
            x1, y1 = int(generator.integers(x0 + 1, width + 1)), int(generator.integers(y0 + 1, height + 1))
            boxes.append(Box(0, x0, y0, x1, y1, 1.0))
        yield score_map(raw), boxes, (height, width)


def deviation(count: int) -> dict[str, float]:
    """Largest difference between the scores and their literal transcription, over all points of the curves."""
    slow = literal()
    pictures = list(judged(count, (4, 7, 14, 28, 56, 0), seed=1))
    generator = np.random.default_rng(2)
    masks = [generator.random((2, 90, 120)) > 0.7 for _ in pictures]
    fast, pixels = MaxBoxAcc(), PxAP()
    for (scores, boxes, size), (foreground, ignored) in zip(pictures, masks, strict=True):
        fast.add(scores, boxes, size)
        pixels.add(scores, foreground, ignored)
    curve = [slow.box_acc(pictures, tau, 0.5, multi=False) for tau in BOX_THRESHOLDS]
    curves = [[slow.box_acc(pictures, tau, delta, multi=True) for tau in BOX_THRESHOLDS] for delta in (0.3, 0.5, 0.7)]
    pooled = [(scores, [mask[0]], mask[1]) for (scores, _, _), mask in zip(pictures, masks, strict=True)]
    return {
        "MaxBoxAcc": float(np.abs(fast.curve - curve).max()),
        "MaxBoxAccV2": float(np.abs(fast.curves_v2 - curves).max()),
        "PxAP": abs(pixels.value - slow.pxap(pooled, BOX_THRESHOLDS)),
    }


def grown(noise: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Noise at the size of a picture, divided by its maximum."""
    height, width = SHAPE
    smooth = np.asarray(cv2.resize(noise, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.float32)
    smooth /= smooth.max()
    return smooth


def seeds(count: int) -> dict[str, float]:
    """The seed sweep over N and over 2 N pictures."""
    generator = np.random.default_rng(3)
    sweep, seconds, peaks = SeedSweep(CLASSES), 0.0, []
    for index in range(2 * count):
        class_ids = generator.choice(CLASSES - 1, 1 + index % 3, replace=False).tolist()
        maps = np.stack([grown(generator.random((28, 28))) for _ in class_ids])
        truth = np.where(
            maps.max(axis=0) > generator.uniform(0.5, 0.8), np.array(class_ids)[maps.argmax(axis=0)] + 1, 0
        )
        truth[maps[0] < 0.1] = 255
        started = time.process_time()
        sweep.add(truth, maps, class_ids)
        seconds += time.process_time() - started
        if index + 1 in (count, 2 * count):
            peaks.append(peak_memory())
    started = time.process_time()
    sweep.best()
    best = time.process_time() - started
    started = time.process_time()
    sweep.bootstrap(0.4)
    return {
        "pictures": count,
        "cpu_ms_per_picture": 1000 * seconds / (2 * count),
        "cpu_s_oracle_of_2N": best,
        "cpu_s_bootstrap_of_2N": time.process_time() - started,
        "peak_mb_at_N": peaks[0],
        "peak_mb_at_2N": peaks[1],
    }


def boxes(count: int, cells: int) -> dict[str, float]:
    """MaxBoxAcc and MaxBoxAccV2 over N and over 2 N maps."""
    accuracy, seconds, peaks = MaxBoxAcc(), 0.0, []
    for index, (scores, truth, size) in enumerate(judged(2 * count, (cells,), seed=4)):
        started = time.process_time()
        accuracy.add(scores, truth, size)
        seconds += time.process_time() - started
        if index + 1 in (count, 2 * count):
            peaks.append(peak_memory())
    started = time.process_time()
    value = accuracy.max_box_acc_v2
    return {
        "maps": count,
        "cpu_ms_per_map": 1000 * seconds / (2 * count),
        "cpu_s_result_of_2N": time.process_time() - started,
        "peak_mb_at_N": peaks[0],
        "peak_mb_at_2N": peaks[1],
        "MaxBoxAccV2": value,
    }


def peak_memory() -> float:
    """Largest memory of the process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Print deviations, times and memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=1449, help="of the seed sweep")
    parser.add_argument("--maps", type=int, default=200, help="of the boxes, and of the comparison")
    parser.add_argument("--quick", action="store_true", help="20 pictures, 5 maps")
    arguments = parser.parse_args()
    pictures, maps = (20, 5) if arguments.quick else (arguments.pictures, arguments.maps)
    rows: dict[str, object] = {"cpus": os.cpu_count(), "load_at_start": round(os.getloadavg()[0], 1)}
    measures: dict[str, Callable[[], dict[str, float]]] = {
        "seed sweep, 101 thresholds": lambda: seeds(pictures),
        "boxes, smooth maps, 1,000 thresholds": lambda: boxes(maps, 28),
        "boxes, noise maps, 1,000 thresholds": lambda: boxes(max(1, maps // 20), SIZE),
        f"deviation from the literal, {maps} maps": lambda: deviation(maps),
    }
    for name, measure in measures.items():
        rows[name] = measure()
        print(f"{name:40}{rows[name]}", flush=True)
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
