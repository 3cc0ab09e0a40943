"""Seeds on PASCAL VOC 2012 with an ImageNet classifier that was never trained for VOC: CAM against AdvCAM.

    python benchmarks/voc_groups.py ROOT --split train --limit 64

ROOT holds VOCdevkit/VOC2012. A VOC class is read through its group of ImageNet ids (`--groups`, by default
voc_imagenet_groups.json beside ROOT): of each group the id that scores best in the picture. Pictures with a person are
left out, for ImageNet has no such class. Image labels are the true ones, difficult objects included.

Every step and scale of the climb is recorded in the folder `--maps` and reused when the same settings run again, so one
run gives every T up to `--iterations` and every subset of the scales. The last line printed is JSON: `cam`, `advcam`
and `gain` are mIoU in percent at oracle thresholds (best of 101 on the evaluated masks, each method for itself);
`honest` chooses T, scales and threshold on 20 of the pictures and scores the others, mean over 20 draws.
"""

import argparse
import json
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
from voc_climbs import Job, eligible, load, record

from advcam.datasets.voc import VOC2012
from advcam.evaluate.segmentation import SeedSweep
from advcam.types import DEFAULT_THRESHOLD

LABELLED, DRAWS = 20, 20

Setting = tuple[int, tuple[float, ...]]


def sweeps(job: Job, dataset: VOC2012, ids: Sequence[str], settings: Sequence[Setting]) -> dict[Setting, SeedSweep]:
    """The threshold sweep of every (steps, scales), each picture read once."""
    found = {setting: SeedSweep(len(dataset.class_names) + 1) for setting in settings}
    for id_ in ids:
        climbs, truth = load(job.file(id_)), dataset.mask(id_)
        assert truth is not None
        for (steps, scales), sweep in found.items():
            sweep.add(truth, climbs.fused(steps, scales), climbs.class_ids)
    return found


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


def honest(found: dict[Setting, SeedSweep], settings: Sequence[Setting]) -> dict[str, float]:
    """Setting and threshold chosen on 20 labelled pictures, mIoU on all others: mean and spread over 20 draws."""
    curves, count = [], len(found[settings[0]])
    for seed in range(DRAWS):
        order = np.random.default_rng(seed).permutation(count)
        chosen, others = order[:LABELLED], order[LABELLED:]
        best = max(settings, key=lambda setting: found[setting].subset(chosen).miou.max())
        threshold = found[best].subset(chosen).best()[0]
        curves.append(found[best].subset(others).scores(threshold).miou)
    return {"miou": percent(float(np.mean(curves))), "spread": percent(float(np.std(curves, ddof=1)))}


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
    return parser.parse_args()


def main() -> None:
    """Climb, sweep every number of steps and every subset of the scales, and print the figures."""
    arguments = parse()
    names = ("iterations", "step_size", "step_norm", "penalty", "mask_threshold", "other_classes", "scales")
    climb = {name: value for name in names if (value := getattr(arguments, name)) is not None}
    dataset = VOC2012(arguments.root)
    groups = arguments.groups or arguments.root.parent / "voc_imagenet_groups.json"
    folder = arguments.maps / "-".join(f"{k}{v}".replace(" ", "") for k, v in climb.items())
    job = Job(arguments.root, groups, folder, climb)
    ids = eligible(dataset, groups, arguments.split, arguments.limit)
    seconds = record(job, ids, arguments.workers)

    scales = tuple(sorted(arguments.scales))
    subsets = [s for size in range(len(scales), 0, -1) for s in combinations(scales, size)]
    settings = [(steps, subset) for subset in subsets for steps in range(arguments.iterations + 1)]
    found = sweeps(job, dataset, ids, settings)
    plain, climbed = (0, scales), (arguments.iterations, scales)
    cam, advcam = oracle(found[plain]), oracle(found[climbed])
    curves = {
        str(subset): [percent(found[t, subset].best()[1].miou) for t in range(arguments.iterations + 1)]
        for subset in subsets
    }
    steps_of_all = [(t, scales) for t in range(arguments.iterations + 1)]
    figures = {
        "cam": cam["miou"],
        "advcam": advcam["miou"],
        "gain": round(advcam["miou"] - cam["miou"], 2),
        "pictures": len(ids),
        "split": arguments.split,
        "settings": climb,
        "cam_oracle": cam,
        "advcam_oracle": advcam,
        "cam_honest": honest(found, [plain]),
        "advcam_honest": honest(found, [climbed]),
        "advcam_honest_steps": honest(found, steps_of_all[1:]),
        "oracle_by_step": curves,
        "seconds": round(seconds),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
