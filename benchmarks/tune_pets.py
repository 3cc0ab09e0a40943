"""What a labelled handful buys: `advcam tune` on 20 Oxford-IIIT Pet pictures, scored on others, over several seeds.

    python benchmarks/tune_pets.py ROOT --labelled 20 --evaluate 40 --seeds 0 1 2 --budget 22000 --max-side 128

Cats and dogs through groups of ImageNet ids. For each seed 20 pictures of `trainval` and `test` are drawn and searched
on; the others, evenly spread, are scored: foreground and background mIoU in percent of the defaults at 0.4 (fixed),
of the defaults at the threshold that the 20 chose, and of the whole recipe. Both last ones have seen the same 20 masks.
The last line printed is JSON: gains of the recipe over the defaults for each seed, with mean and spread.
"""

import argparse
import json
import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

import advcam
from advcam.attribution.method import Method
from advcam.attribution.registry import create_method
from advcam.cli.tune import Watch
from advcam.datasets.pets import OxfordPets
from advcam.datasets.pictures import read_picture
from advcam.evaluate.segmentation import SeedSweep
from advcam.pipeline.class_match import ClassMatch
from advcam.pipeline.recipe import read_recipe
from advcam.pipeline.tuning.tune import tune_dataset, tune_settings
from advcam.types import DEFAULT_THRESHOLD

GROUPS: dict[str, list[int | str]] = {"cat": list(range(281, 286)), "dog": list(range(151, 269))}


def sweep(dataset: OxfordPets, match: ClassMatch, method: Method, ids: list[str]) -> SeedSweep:
    """Seeds of some pictures at every threshold; every animal is the one foreground class."""
    found = SeedSweep(2)
    for id_ in ids:
        sample, truth = dataset.sample(id_), dataset.mask(id_)
        assert truth is not None
        picture = read_picture(sample.path)
        (result,) = method([picture], [match.targets(picture, sample.labels or ())])
        found.add(np.where((truth > 0) & (truth < 255), 1, truth), result.upsample(), [0])
    return found


def run(seed: int, arguments: argparse.Namespace) -> dict[str, float]:
    """Tune with one seed and score the recipe and the defaults on other pictures."""
    torch.set_num_threads(1)
    dataset, classifier = OxfordPets(arguments.root, classes="species"), advcam.load_classifier()
    side = arguments.max_side
    with tempfile.TemporaryDirectory() as out, Watch(Console(stderr=True, quiet=True)) as watch:
        settings = tune_settings(
            data=arguments.root,
            out=out,
            split="all",
            labelled=arguments.labelled,
            max_side=side,
            max_iterations=arguments.iterations,
            budget=arguments.budget,
            seed=seed,
        )
        tuned = tune_dataset(dataset, classifier, GROUPS, settings, watch)
        recipe = read_recipe(Path(out) / "recipe.yaml")
    others = [id_ for id_ in dataset.ids("all") if id_ not in set(tuned.labelled)]
    chosen = [others[k * len(others) // arguments.evaluate] for k in range(arguments.evaluate)]
    match = ClassMatch(classifier, dataset.class_names, GROUPS)
    plain = sweep(dataset, match, advcam.AdvCAM(classifier, effort="paper", small_iterations=8, max_side=side), chosen)
    better = sweep(dataset, match, create_method("advcam", classifier, **recipe.method.chosen()), chosen)
    found = {
        "fixed": plain.scores(DEFAULT_THRESHOLD).miou,
        "defaults": plain.scores(round(tuned.defaults.threshold, 2)).miou,
        "recipe": better.scores(round(recipe.outputs.threshold, 2)).miou,
    }
    figures = {name: round(100 * value, 2) for name, value in found.items()}
    figures["cross_validated_gain"] = round(100 * tuned.figures["held_out_gain"], 2)
    print(seed, tuned.recommended, recipe.method.chosen(), recipe.outputs.threshold, figures, flush=True)
    return figures | {"passes": tuned.spent}


def main() -> None:
    """All seeds, two at a time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--labelled", type=int, default=20)
    parser.add_argument("--evaluate", type=int, default=40)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--budget", type=float, default=22_000)
    parser.add_argument("--iterations", type=int, default=8)
    parser.add_argument("--max-side", type=int, default=128)
    arguments = parser.parse_args()
    with ProcessPoolExecutor(2) as pool:
        rows = list(pool.map(partial(run, arguments=arguments), arguments.seeds))
    gains = [row["recipe"] - row["fixed"] for row in rows]
    threshold_only = [row["defaults"] - row["fixed"] for row in rows]
    summary = {
        "gain": round(float(np.mean(gains)), 2),
        "spread": round(float(np.std(gains, ddof=1)), 2) if len(gains) > 1 else None,
        "gain_of_threshold_alone": round(float(np.mean(threshold_only)), 2),
        "labelled": arguments.labelled,
        "evaluated": arguments.evaluate,
        "seeds": dict(zip(map(str, arguments.seeds), rows, strict=True)),
    }
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
