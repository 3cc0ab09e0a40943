"""The table of the paper on PASCAL VOC: CAM and AdvCAM, each as it is, with local affinity, with a CRF, and with IRN.

    python benchmarks/voc_seeds.py ROOT [--masks train] [--seeds 0 1 2] [--limit N] [--set KEY=VALUE ..] [--out DIR]

ROOT holds VOCdevkit/VOC2012, or any data set of `advcam data layouts` with true masks. For each seed a classifier
learns the image labels of --train (--val gives its mean average precision), the pictures of --masks are localized by
CAM and by AdvCAM and refined, and those that have a mask are scored. Thresholds: oracle (the best on the scored masks),
label-free (agreement with superpixels, no mask seen) and fixed (set beforehand). CRF and IRN start from the label-free
threshold of the scores before them. `pseudo-labels` are the masks of the last refinement as `advcam run` writes them,
with no mask seen.

--limit takes so many pictures of --masks, evenly spread, for a quick run. --set changes settings of the recipe, such
as localize.effort=fast. The work is kept in --out and continued there. The last line printed is JSON: for each row the
mean over the seeds and the spread (highest minus lowest), in per cent.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from advcam.cli.run import ChainWatch
from advcam.pipeline.chain.recipe_file import change, find_recipe, parse_chain
from advcam.pipeline.chain.run import open_chain
from advcam.pipeline.chain.training import trained_model
from advcam.pipeline.recipe import load_yaml

METHODS = {"CAM": "cam", "AdvCAM": "advcam"}
STAGES = {"localize": "", "pseudo": ", pseudo-labels"}


def main() -> None:
    """Run the chains and print the table."""
    arguments = _arguments()
    out = arguments.out or Path(tempfile.mkdtemp(prefix="voc-seeds-"))
    started, results = time.perf_counter(), list[dict[str, dict[str, float]]]()
    for seed in arguments.seeds:
        results.append(_seed(arguments, out / f"seed{seed}", seed))
        print(json.dumps({"seed": seed, "seconds": round(time.perf_counter() - started), **results[-1]}), flush=True)
    rows = {name: _summary([result[name] for result in results]) for name in results[0]}
    print(_table(rows))
    facts = {"seeds": arguments.seeds, "limit": arguments.limit, "overrides": arguments.overrides}
    print(json.dumps({**facts, "seconds": round(time.perf_counter() - started), "rows": rows}))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument(
        "--set", dest="overrides", nargs="*", default=[], help="settings of the recipe, section.key=value"
    )
    parser.add_argument("--recipe", default="voc2012-small", help="where training and refinement are described")
    parser.add_argument("--layout")
    parser.add_argument("--train", default="trainaug")
    parser.add_argument("--val", default="val", help="none holds out a part of --train")
    parser.add_argument("--masks", default="train")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--refine", nargs="*", default=["crf", "irn", "affinity", "affinity+irn", "affinity+crf"])
    parser.add_argument("--methods", nargs="*", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--limit", type=int, help="pictures of --masks, evenly spread")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def _seed(arguments: argparse.Namespace, out: Path, seed: int) -> dict[str, dict[str, float]]:
    """Scores of one seed by row, in per cent."""
    content = load_yaml(find_recipe(arguments.recipe))
    splits = {
        "train": arguments.train,
        "val": None if arguments.val == "none" else arguments.val,
        "masks": arguments.masks,
        "limit": arguments.limit,
    }
    content["data"] = {"root": str(arguments.root), "layout": arguments.layout, **splits}
    content["refine"]["methods"] = arguments.refine
    change(content, [*arguments.overrides, f"train.seed={seed}", f"refine.irn.seed={seed}"])
    trained = _run({**content, "baseline": None}, out, until="train")
    del content["train"]
    model = trained_model(out).model_dump(mode="json", exclude={"device"})
    rows = {"classifier": {name: 100 * value for name, value in trained.items() if name.startswith(("mean", "top"))}}
    for title, method in METHODS.items():
        if title in arguments.methods:
            climb = content.get("localize", {}) if method == "advcam" else {}
            scales = {"scales": content.get("localize", {}).get("scales")}
            own = {**content, "model": model, "baseline": None, "localize": {**scales, **climb, "method": method}}
            _run(own, out / method)
            stages = STAGES | {f"refine-{steps}": f" + {steps.replace('+', ' + ')}" for steps in arguments.refine}
            rows |= {title + what: _scores(out / method, stage) for stage, what in stages.items()}
    return {name: row for name, row in rows.items() if row}


def _run(content: dict[str, Any], out: Path, until: str | None = None) -> dict[str, float]:
    """Carry out a chain; the metrics of its classifier."""
    with (
        open_chain(parse_chain(content, "the benchmark"), out) as chain,
        ChainWatch(Console(stderr=True), False) as bar,
    ):
        chain.run(bar, until=until)
    facts = out / "classifier" / "classifier.json"
    return dict(json.loads(facts.read_text(encoding="utf-8"))["metrics"]) if facts.exists() else {}


def _scores(out: Path, stage: str) -> dict[str, float]:
    """Headline score of a stage at each kind of threshold, and the thresholds; nothing where it was not scored."""
    path = out / "metrics" / stage / "evaluation.json"
    if not path.exists():
        return {}
    result = json.loads(path.read_text(encoding="utf-8"))
    own = [row for row in result["rows"] if row["name"] == "predictions"]
    scores = {row["supervision"]: 100 * row["scores"][result["headline"]] for row in own}
    return scores | {f"threshold_{row['supervision']}": row["threshold"] for row in own if row["threshold"] is not None}


def _summary(figures: Sequence[dict[str, float]]) -> dict[str, float]:
    """Mean and spread of each figure over the seeds."""
    summary = {}
    for name in figures[0]:
        values = [one[name] for one in figures]
        summary[name] = round(sum(values) / len(values), 2)
        summary[f"{name}_spread"] = round(max(values) - min(values), 2)
    return summary


def _table(rows: dict[str, dict[str, float]]) -> str:
    """The rows as text."""
    lines = []
    for name, row in rows.items():
        shown = [f"{k} {v:.1f} (+-{row[f'{k}_spread'] / 2:.1f})" for k, v in row.items() if f"{k}_spread" in row]
        lines.append(f"{name:24}" + "  ".join(one for one in shown if not one.startswith("threshold")))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
