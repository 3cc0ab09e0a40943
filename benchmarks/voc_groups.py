"""Seeds on PASCAL VOC 2012 with an ImageNet classifier that was never trained for VOC: CAM against AdvCAM.

    python benchmarks/voc_groups.py ROOT --split train --scales 0.5 1 2 3 --iterations 6 --no-flip [--limit 60]

ROOT holds VOCdevkit/VOC2012. A VOC class is read through its group of ImageNet ids (`--groups`, by default
voc_imagenet_groups.json beside ROOT): of each group the id that scores best in the picture. Pictures with a person are
left out, for ImageNet has no such class. Image labels are the true ones, difficult objects included.

Every step and scale of the climb is recorded in the folder `--maps` and reused when the same settings run again, so one
run gives every T up to `--iterations`, every choice of the scales and both ways to join them. Figures are mIoU in
percent. The last line printed is JSON:

    cam, advcam, gain   at oracle thresholds (best of 101 on the evaluated masks, each method for itself), AdvCAM with
                        T = `--iterations`, both at the same scales, added up
    honest              threshold (and steps, scales, fusion where it says so) chosen on 20 of the pictures, scored on
                        the others, mean and spread over 20 draws
    by_step             oracle mIoU after each step, for all scales, all but one, each one alone, and both fusions
"""

import argparse
import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial, reduce
from itertools import combinations
from operator import add
from pathlib import Path
from typing import NamedTuple

import numpy as np
from voc_climbs import Job, eligible, load, record

from advcam.attribution.fusion import Fusion
from advcam.datasets.voc import VOC2012
from advcam.evaluate.segmentation import SeedSweep
from advcam.types import DEFAULT_THRESHOLD

LABELLED, DRAWS = 20, 20


class Setting(NamedTuple):
    """What is made of the recorded maps: T, the scales, and how they are joined."""

    steps: int
    scales: tuple[float, ...]
    fusion: Fusion


Sweeps = dict[Setting, SeedSweep]


def settings_of(steps: int, scales: tuple[float, ...]) -> list[Setting]:
    """All scales, all but one (both ways joined), and each alone, after every step."""
    subsets = {scales, *combinations(scales, max(len(scales) - 1, 1)), *((scale,) for scale in scales)}
    ways: tuple[Fusion, ...] = ("sum", "geometric")
    ordered = sorted(subsets, key=lambda subset: (-len(subset), subset))
    return [
        Setting(t, subset, way)
        for subset in ordered
        for way in (ways if len(subset) > 1 else ways[:1])
        for t in range(steps + 1)
    ]


def sweeps_of(ids: Sequence[str], job: Job, settings: Sequence[Setting]) -> Sweeps:
    """The threshold sweep of every setting, each picture read once."""
    dataset = VOC2012(job.root)
    found = {setting: SeedSweep(len(dataset.class_names) + 1) for setting in settings}
    for id_ in ids:
        climbs, truth = load(job.file(id_)), dataset.mask(id_)
        assert truth is not None
        for setting, sweep in found.items():
            sweep.add(truth, climbs.fused(*setting), climbs.class_ids)
    return found


def sweeps(ids: Sequence[str], job: Job, settings: Sequence[Setting], workers: int) -> Sweeps:
    """`sweeps_of`, the pictures divided among the workers; their order stays."""
    size = -(-len(ids) // workers)
    shares = [ids[start : start + size] for start in range(0, len(ids), size)]
    with ProcessPoolExecutor(workers) as pool:
        parts = list(pool.map(partial(sweeps_of, job=job, settings=settings), shares))
    return {setting: reduce(add, (part[setting] for part in parts)) for setting in settings}


def oracle(sweep: SeedSweep) -> dict[str, float]:
    """Best mIoU over the thresholds, in percent, with a bootstrap interval and the foreground at that threshold."""
    threshold, scores = sweep.best()
    interval = sweep.bootstrap(threshold)
    return {
        "miou": percent(scores.miou),
        "low": percent(interval.low),
        "high": percent(interval.high),
        "threshold": threshold,
        "precision": percent(scores.foreground_precision),
        "recall": percent(scores.foreground_recall),
        "at_default": percent(sweep.scores(DEFAULT_THRESHOLD).miou),
    }


def honest(found: Sweeps, settings: Sequence[Setting]) -> dict[str, float]:
    """Setting and threshold chosen on 20 labelled pictures, mIoU on all others: mean and spread over 20 draws."""
    scores, count = [], len(found[settings[0]])
    for seed in range(DRAWS):
        order = np.random.default_rng(seed).permutation(count)
        chosen, others = order[:LABELLED], order[LABELLED:]
        best = max(settings, key=lambda setting: found[setting].subset(chosen).miou.max())
        threshold = found[best].subset(chosen).best()[0]
        scores.append(found[best].subset(others).scores(threshold).miou)
    return {"miou": percent(float(np.mean(scores))), "spread": percent(float(np.std(scores, ddof=1)))}


def by_step(found: Sweeps) -> dict[str, list[float]]:
    """Oracle mIoU after each step, by scales and fusion."""
    rows: dict[str, list[float]] = {}
    for setting, sweep in found.items():
        name = " ".join(f"{scale:g}" for scale in setting.scales)
        rows.setdefault(f"{name} {setting.fusion}", []).append(percent(sweep.best()[1].miou))
    return rows


def percent(share: float) -> float:
    """A share in percent with two decimals."""
    return round(100 * share, 2)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--split", default="train")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--groups", type=Path)
    parser.add_argument("--maps", type=Path, default=Path("voc-climbs"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--iterations", type=int, default=6)
    parser.add_argument("--step-size", type=float)
    parser.add_argument("--step-norm")
    parser.add_argument("--penalty", type=float)
    parser.add_argument("--mask-threshold", type=float)
    parser.add_argument("--other-classes", type=lambda text: int(text) if text.isdecimal() else text)
    parser.add_argument("--scales", type=float, nargs="+", default=[0.5, 1.0, 2.0])
    parser.add_argument("--flip", action=argparse.BooleanOptionalAction)
    return parser.parse_args()


def main() -> None:
    """Climb, sweep every number of steps and every subset of the scales, and print the figures."""
    arguments = parse()
    names = ("iterations", "step_size", "step_norm", "penalty", "mask_threshold", "other_classes", "scales", "flip")
    climb = {name: value for name in names if (value := getattr(arguments, name)) is not None}
    dataset = VOC2012(arguments.root)
    groups = arguments.groups or arguments.root.parent / "voc_imagenet_groups.json"
    folder = arguments.maps / "-".join(f"{k}{v}".replace(" ", "") for k, v in climb.items())
    job = Job(arguments.root, groups, folder, climb)
    ids = eligible(dataset, groups, arguments.split, arguments.limit)
    seconds = record(job, ids, arguments.workers)

    scales, steps = tuple(sorted(arguments.scales)), arguments.iterations
    settings = settings_of(steps, scales)
    found = sweeps(ids, job, settings, arguments.workers)
    plain, climbed = Setting(0, scales, "sum"), Setting(steps, scales, "sum")
    cam, advcam = oracle(found[plain]), oracle(found[climbed])
    best_plain = max((s for s in settings if s.steps == 0), key=lambda s: found[s].best()[1].miou)
    figures = {
        "cam": cam["miou"],
        "advcam": advcam["miou"],
        "gain": round(advcam["miou"] - cam["miou"], 2),
        "pictures": len(ids),
        "split": arguments.split,
        "settings": climb,
        "cam_oracle": cam,
        "cam_best_scales_and_fusion": {"setting": best_plain, **oracle(found[best_plain])},
        "advcam_oracle": advcam,
        "cam_honest": honest(found, [plain]),
        "advcam_honest": honest(found, [climbed]),
        "cam_honest_all_chosen": honest(found, [s for s in settings if s.steps == 0]),
        "advcam_honest_all_chosen": honest(found, [s for s in settings if s.steps]),
        "by_step": by_step(found),
        "seconds": round(seconds),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
