"""What local affinity does to seeds, and what it costs: constants against mIoU and time.

    python benchmarks/local_affinity.py ROOT --limit 60 [--method advcam] [--fixed 0.3]

ROOT holds Oxford-IIIT Pet or PASCAL VOC 2012 (see grouped.py). Maps at the size of the picture, as they are and
averaged with several settings, on one thread. The last line printed is JSON: for each setting mIoU in percent at the
ORACLE threshold (chosen on these masks) with that threshold, at the fixed one, and seconds a picture; `divided` is the
default with each map divided by its new maximum.
"""

import argparse
import json
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from grouped import Known, known_pictures, open_known

from advcam.evaluate.segmentation import SeedSweep
from advcam.refine.local_affinity import AffinitySettings, local_affinity
from advcam.types import FloatArray

DEFAULT = AffinitySettings()
SETTINGS = {
    "default": DEFAULT,
    "as PAMR and PAR: 10 times at full size": replace(DEFAULT, iterations=10, reduction=1),
    **{f"{count} times": replace(DEFAULT, iterations=count) for count in (10, 20, 40, 60)},
    **{f"reduction {by}, 10 times": replace(DEFAULT, reduction=by, iterations=10) for by in (3, 4)},
    **{f"reduction {by}, 20 times": replace(DEFAULT, reduction=by, iterations=20) for by in (3, 4)},
    **{f"bandwidth {width}": replace(DEFAULT, bandwidth=width) for width in (0.2, 0.5)},
    "dilations 1 to 8": replace(DEFAULT, dilations=(1, 2, 4, 8)),
}


def averaged(known: Known, settings: AffinitySettings) -> FloatArray:
    """The maps of a picture at its size, (C, H, W), after the averaging."""
    picture = torch.from_numpy(np.array(known.picture)).permute(2, 0, 1)[None]
    found = local_affinity(picture, torch.from_numpy(known.attribution.upsample())[None], settings)
    return found[0].clamp(0, 1).numpy()


def report(sweep: SeedSweep, fixed: float) -> dict[str, float]:
    """mIoU in percent at the oracle threshold and at the fixed one."""
    threshold, best = sweep.best()
    at_fixed = sweep.scores(fixed).miou
    return {
        "oracle": round(100 * best.miou, 2),
        "oracle_threshold": threshold,
        "fixed": round(100 * at_fixed, 2),
    }


def main() -> None:
    """Score all settings on the same maps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--limit", type=int, default=60)
    parser.add_argument("--method", default="cam")
    parser.add_argument("--fixed", type=float, default=0.3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    classes = len(open_known(arguments.root)[0].class_names)
    sweeps: defaultdict[str, SeedSweep] = defaultdict(lambda: SeedSweep(classes + 1))
    seconds: defaultdict[str, float] = defaultdict(float)
    count = 0
    for known in known_pictures(arguments.root, arguments.method, arguments.limit):
        count += 1
        ids = known.attribution.class_ids
        sweeps["maps as they are"].add(known.truth, known.attribution.upsample().clip(0, 1), ids)
        for name, settings in SETTINGS.items():
            started = time.perf_counter()
            maps = averaged(known, settings)
            seconds[name] += time.perf_counter() - started
            sweeps[name].add(known.truth, maps, ids)
            if name == "default":
                peak = np.maximum(maps.max(axis=(1, 2), keepdims=True), 1e-9)
                sweeps["divided"].add(known.truth, (maps / peak).clip(0, 1), ids)
    figures = {name: {**report(sweep, arguments.fixed), "seconds": 0.0} for name, sweep in sweeps.items()}
    for name, total in seconds.items():
        figures[name]["seconds"] = round(total / count, 3)
    for name, row in figures.items():
        print(f"{name:40} {row}", flush=True)
    print(json.dumps({"pictures": count, "method": arguments.method, "fixed": arguments.fixed, **figures}))


if __name__ == "__main__":
    main()
