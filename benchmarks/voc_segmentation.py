"""Segmentation networks from true masks, from pseudo-labels, and from few true masks with many pseudo-labels.

    python benchmarks/voc_segmentation.py ROOT [--val val] [--seeds 0 1 2] [--methods full weak ..] [--out DIR]

ROOT holds VOCdevkit/VOC2012, or any data set of `advcam data layouts` with true masks. Pseudo-labels are made by the
recipe --recipe from the image labels of --all, no mask seen, or are those of --labels, the folder of an `advcam run`.
Each method trains the same network with the same settings, for the same number of steps:

    full        the true masks of --train
    weak        pseudo-labels of the same pictures
    weak-all    pseudo-labels of all pictures of --all
    weak-self   as weak-all, with a round of self-training: as long again for the network that labels them anew
    strong      true masks of --strong pictures of --train, chosen class by class
    cct         these, and pseudo-labels of all other pictures of --all, by CCT
    unimatch    the same by UniMatch

and is scored on --val by mIoU, the weights of the last step. Nothing is chosen on --val.
--set changes settings of the network's training (`segment` of a recipe), --of those of one method alone. The work is
kept in --out and continued there; several processes may share it if they have other methods or seeds. With another
`inference` networks are scored again, not trained again. The last line printed is JSON: mean and spread (highest minus
lowest) over the seeds, in per cent, and ratios to full.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from advcam.cli.run import ChainWatch
from advcam.datasets.catalogue import open_dataset
from advcam.datasets.dataset import Dataset
from advcam.pipeline.chain.lesson import TRUE, lesson
from advcam.pipeline.chain.recipe_file import change, find_recipe, parse_chain
from advcam.pipeline.chain.run import open_chain
from advcam.pipeline.chain.segmenting import segment
from advcam.pipeline.chain.settings import SegmentSettings
from advcam.pipeline.chain.stage import digest
from advcam.pipeline.label_masks import TrueMasks, with_truth
from advcam.pipeline.recipe import load_yaml
from advcam.pipeline.shards import LocalEngine
from advcam.pipeline.targets import samples_of
from advcam.segment.segmenter import MIOU, Masked, validation_miou
from advcam.segment.semi.splits import strong_samples
from advcam.segment.trained import load_segmenter
from advcam.types import Sample

SEMI = ("cct", "unimatch")
METHODS = ("full", "weak", "weak-all", "weak-self", "strong", *SEMI)


def main() -> None:
    """Train and score every method and seed, and print the table."""
    arguments = _arguments()
    out = arguments.out or Path(tempfile.mkdtemp(prefix="voc-segmentation-"))
    dataset = open_dataset(arguments.root, arguments.layout)
    labels = arguments.labels or _label(arguments, out / "labels")
    scores: dict[str, list[float]] = {method: [] for method in arguments.methods}
    for seed in arguments.seeds:
        for method in arguments.methods:
            result = _score(arguments, dataset, labels / "pseudo", method, seed, out / f"{method}-{seed}")
            scores[method].append(result[MIOU])
            print(json.dumps({"method": method, "seed": seed, **result}), flush=True)
    rows = {method: _summary(found) for method, found in scores.items()}
    for method, row in rows.items():
        print(f"{method:10} {row['mean']:5.1f} (+-{row['spread'] / 2:.1f})", flush=True)
    full = rows.get("full", {"mean": 0.0})["mean"]
    ratios = {method: round(row["mean"] / full, 3) for method, row in rows.items() if full}
    facts = {"seeds": arguments.seeds, "steps": arguments.steps, "overrides": arguments.overrides}
    print(json.dumps({**facts, "miou": rows, "to_full": ratios}))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--layout")
    parser.add_argument("--train", default="train", help="split with true masks")
    parser.add_argument("--all", default="trainaug", help="split with image labels, which holds --train")
    parser.add_argument("--val", default="val", help="split that is scored")
    parser.add_argument("--recipe", default="voc2012-small", help="how pseudo-labels are made")
    parser.add_argument("--labels", type=Path, help="an `advcam run` that has made them")
    parser.add_argument("--strong", default="60", help="a number or share of --train")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--set", dest="overrides", nargs="*", default=[], help="key=value of the network's training")
    parser.add_argument("--of", nargs=2, action="append", default=[], metavar=("METHOD", "KEY=VALUE"))
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def _label(arguments: argparse.Namespace, out: Path) -> Path:
    """Pseudo-labels of all pictures, by the recipe."""
    content = load_yaml(find_recipe(arguments.recipe))
    content |= {"baseline": None, "segment": None}
    content["data"] = {"root": str(arguments.root), "layout": arguments.layout, "train": arguments.all}
    change(content, ["refine.methods=[affinity]"])
    with (
        open_chain(parse_chain(content, "the benchmark"), out) as chain,
        ChainWatch(Console(stderr=True), False) as watch,
    ):
        chain.run(watch, until="pseudo")
    return out


def _score(
    arguments: argparse.Namespace, dataset: Dataset, labels: Path, method: str, seed: int, out: Path
) -> dict[str, float]:
    """mIoU of a method, and the seconds that its training took; from the file, where it was scored before."""
    settings = _settings(arguments, method, seed)
    path = out / f"score-{digest(settings.inference.model_dump(mode='json'))[:8]}.json"
    if not path.exists():
        started = time.perf_counter()
        with ChainWatch(Console(stderr=True), False) as watch:
            watch.say(f"{method}, seed {seed}")
            samples = _samples(arguments, dataset, method)
            masks = TRUE if method in ("full", "strong") else labels
            taught = lesson(settings, dataset, samples, masks, dataset.class_names)
            learnt = taught.weak or taught.masked
            batches = -(-len(learnt.samples) // settings.batch_size)
            settings = settings.model_copy(update={"epochs": max(1, round(arguments.steps / batches))})
            segment(settings, taught, dataset.class_names, dataset, out, "cpu", watch, LocalEngine())
        seconds = time.perf_counter() - started
        val = with_truth(dataset, samples_of(dataset, arguments.val, dataset.root))
        found = validation_miou(load_segmenter(out).network, Masked(val, TrueMasks(dataset)), settings.inference)
        path.write_text(json.dumps({MIOU: 100 * found[MIOU], "seconds": round(seconds)}))
    result: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))
    return result


def _samples(arguments: argparse.Namespace, dataset: Dataset, method: str) -> list[Sample]:
    """The pictures that a method may learn."""
    split = arguments.all if method in ("weak-all", "weak-self", *SEMI) else arguments.train
    samples = samples_of(dataset, split, dataset.root)
    if method != "strong":
        return samples
    whole = samples_of(dataset, arguments.all, dataset.root)
    chosen = {sample.id for sample in strong_samples(dataset, whole, arguments.strong, 0)[0]}
    return [sample for sample in samples if sample.id in chosen]


def _settings(arguments: argparse.Namespace, method: str, seed: int) -> SegmentSettings:
    """Of a method: the same for all, but for what makes it one."""
    content: dict[str, Any] = {"seed": seed}
    own: Mapping[str, Sequence[str]] = {"weak-self": ["self_training=1"]} | {
        name: [f"strong='{arguments.strong}'", f"semi.method={name}"] for name in SEMI
    }
    given = [change_ for name, change_ in arguments.of if name == method]
    change(content, [*own.get(method, []), *arguments.overrides, *given])
    return SegmentSettings.model_validate(content)


def _summary(values: Sequence[float]) -> dict[str, float]:
    return {"mean": round(sum(values) / len(values), 2), "spread": round(max(values) - min(values), 2)}


if __name__ == "__main__":
    main()
