"""Quality against cost: what each step, scale, weight and option of the climb is worth, on two data sets.

    python benchmarks/effort.py voc2012_sample pets_sample --maps effort-maps --out effort

The folders hold VOCdevkit/VOC2012 (with voc_imagenet_groups.json beside the folder) and Oxford-IIIT Pet with boxes.csv.
The embedded ImageNet classifier never saw a mask or a picture of them. Cost: passes, there or back, of one view at
scale 1 for each (picture, class). Quality: seeds' mIoU in percent at the oracle threshold (best of 101 on these masks),
at the default threshold, and at one chosen on 20 of the pictures and scored on the others (mean over 20 draws).

Writes effort.json, effort.md and effort.png; the last line printed is JSON. Options other than steps are measured on
fewer pictures of each, float32 on all. Records of an earlier run with the same settings are used again.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from effort_climbs import VOC, Pets, Source, Steps, load, record
from effort_plots import table, write_plot

from advcam.attribution.effort import SCHEDULES, steps_below_one
from advcam.evaluate.segmentation import SeedSweep
from advcam.types import DEFAULT_THRESHOLD

SCALES = (0.5, 1.0, 2.0)
LABELLED, DRAWS = 20, 20
FEW = {"voc": 40, "pets": 20}  # pictures on which an option is measured
EVEN: dict[str, object] = {"iterations": 8, "small_iterations": 8, "flip": False}
#: Options by name: settings, T, and what they are to be held against.
OPTIONS: dict[str, tuple[dict[str, object], int]] = {
    "flips": (EVEN | {"flip": True}, 8),
    "momentum 0.5": (EVEN | {"iterations": 4, "momentum": 0.5}, 4),
    "step 0.1": (EVEN | {"iterations": 3, "step_size": 0.1}, 3),
    "stop 0.02": (EVEN | {"stop": 0.02}, 8),
    "size grid 32": (EVEN | {"iterations": 4, "size_grid": 32}, 4),
    "float32": (EVEN | {"iterations": 4, "precision": "float32"}, 4),
}

Row = dict[str, Any]


def quarter(t: int) -> Steps:
    """As the efforts divide their steps: T, and a quarter of it below scale 1."""
    return {0.5: steps_below_one(t), 1.0: t, 2.0: t}


def even(t: int) -> Steps:
    """T at every scale."""
    return dict.fromkeys(SCALES, t)


def passes(steps: Steps, views: int = 1) -> float:
    """Of one view at scale 1."""
    return views * sum((2 * t + 1) * scale**2 for scale, t in steps.items())


def schedules() -> list[tuple[str, Steps, bool]]:
    """What is read off the long record: name, steps, and whether it climbs or only weighs plain maps alike."""
    rows = [(f"even, T = {t}", even(t), True) for t in range(9)]
    rows += [(f"quarter, T = {t}", quarter(t), True) for t in range(9)]
    rows += [(f"plain maps weighed as quarter, T = {t}", quarter(t), False) for t in (2, 4, 8)]
    rows += [(f"without scale 2, T = {t}", {0.5: steps_below_one(t), 1.0: t}, True) for t in (2, 4, 8)]
    rows += [(f"without scale 0.5, T = {t}", {1.0: t, 2.0: t}, True) for t in (2, 4, 8)]
    return rows + [(f"T = {t}, half of it at scale 2", {0.5: t // 4, 1.0: t, 2.0: t // 2}, True) for t in (4, 8)]


def score(source: Source, folder: Path, ids: list[str], steps: Steps, climbed: bool = True) -> Row:
    """mIoU of the seeds, in percent, and the steps that were taken (a climb may stop early)."""
    sweep, taken = SeedSweep(source.num_classes), []
    for id_ in ids:
        truth, class_ids = source.truth(id_)
        kept = load(folder / f"{id_}.npz")
        sweep.add(truth, kept.fused(steps, (truth.shape[0], truth.shape[1]), climbed), class_ids)
        taken.append({scale: min(t, kept.steps_taken(scale)) for scale, t in steps.items()})
    threshold, best = sweep.best()
    return {
        "oracle": 100 * best.miou,
        "threshold": threshold,
        "default": 100 * sweep.scores(DEFAULT_THRESHOLD).miou,
        "validated": validated(sweep),
        "steps": {scale: float(np.mean([one[scale] for one in taken])) for scale in taken[0]},
    }


def correlation(source: Source, folders: tuple[Path, Path], ids: list[str], steps: Steps) -> float:
    """Of the maps under an option with those without it, mean over pictures and classes."""
    found = []
    for id_ in ids:
        size = source.truth(id_)[0].shape
        pair = [load(folder / f"{id_}.npz").fused(steps, (size[0], size[1])) for folder in folders]
        found += [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(*pair, strict=True)]
    return float(np.mean(found))


def validated(sweep: SeedSweep) -> float:
    """Threshold chosen on 20 labelled pictures, mIoU on all others, mean over draws."""
    found = []
    for seed in range(DRAWS):
        order = np.random.default_rng(seed).permutation(len(sweep))
        threshold = sweep.subset(order[:LABELLED]).best()[0]
        found.append(sweep.subset(order[LABELLED:]).scores(threshold).miou)
    return 100 * float(np.mean(found))


def measure(arguments: argparse.Namespace) -> Row:
    """Everything, by data set."""
    sources: tuple[Source, ...] = (VOC(arguments.voc), Pets(arguments.pets))
    found: Row = {"schedules": [], "options": [], "efforts": {name: one.iterations for name, one in SCHEDULES.items()}}
    for source in sources:
        ids, folder = source.ids(arguments.limit or (40 if source.name == "pets" else None)), arguments.maps
        record(source, folder / f"{source.name}-even", EVEN, ids, arguments.workers)
        for name, steps, climbed in schedules():
            row = score(source, folder / f"{source.name}-even", ids, steps, climbed)
            cost = passes(steps if climbed else even(0))
            found["schedules"].append({"data": source.name, "name": name, "passes": cost, **row})
        for name, (settings, t) in OPTIONS.items():
            few = ids if name == "float32" else source.ids(min(len(ids), FEW[source.name]))
            place = folder / f"{source.name}-{name.replace(' ', '-')}"
            record(source, place, settings, few, arguments.workers)
            row = score(source, place, few, quarter(t))
            plain = score(source, folder / f"{source.name}-even", few, quarter(t))
            cost = passes(row["steps"], 2 if settings.get("flip") else 1)
            row |= {"without": plain["oracle"], "passes": cost, "passes_without": passes(quarter(t))}
            row["correlation"] = correlation(source, (place, folder / f"{source.name}-even"), few, quarter(t))
            found["options"].append({"data": source.name, "name": f"{name}, T = {t}", "pictures": len(few), **row})
    return found


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("voc", type=Path)
    parser.add_argument("pets", type=Path)
    parser.add_argument("--maps", type=Path, default=Path("effort-maps"))
    parser.add_argument("--out", type=Path, default=Path("effort"))
    parser.add_argument("--limit", type=int)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    found = measure(arguments)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "effort.json").write_text(json.dumps(found, indent=1))
    (arguments.out / "effort.md").write_text(table(found))
    write_plot(arguments.out / "effort.png", found)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
