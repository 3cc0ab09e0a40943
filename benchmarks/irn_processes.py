"""Whether IRN learns as well when several processes share its training: mIoU of its scores, and its loss.

    python benchmarks/irn_processes.py ROOT [--processes 1 2] [--seeds 0 1 2] [--limit N] [--set KEY=VALUE ..]

ROOT holds VOCdevkit/VOC2012, or any data set of `advcam data layouts` with true masks. A classifier is trained and the
pictures are localized by CAM once. Then IRN is trained on these maps for each seed with each number of processes, by
`torchrun` on this machine, and its scores after the random walk are compared with the true masks at the oracle
threshold (the best on these masks), the label-free one and 0.25. The batch is the same whatever the processes, so a
loss of quality would be the fault of how they share it. The work is kept in --out and continued there. The last line
printed is JSON: for each number of processes mean, lowest and highest over the seeds, in per cent, and the seconds.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from advcam.pipeline.chain.recipe_file import change, find_recipe
from advcam.pipeline.chain.training import trained_model
from advcam.pipeline.recipe import load_yaml


def main() -> None:
    """Train and print."""
    arguments = _arguments()
    out = (arguments.out or Path(tempfile.mkdtemp(prefix="irn-processes-"))).resolve()
    content = _recipe(arguments)
    maps = {**content, "refine": {"methods": []}}
    _run(maps, out / "cam", 1)
    del content["train"]
    content["model"] = trained_model(out / "cam").model_dump(mode="json", exclude={"device"})
    content |= {"maps": str(out / "cam" / "localize"), "refine": {**content["refine"], "methods": ["irn"]}}
    rows = {"CAM": _summary([_scores(out / "cam", "localize")])}
    for processes in arguments.processes:
        found = []
        for seed in arguments.seeds:
            content["refine"]["irn"]["seed"] = seed
            folder = out / f"processes{processes}-seed{seed}"
            seconds = _run(content, folder, processes)
            found.append(_scores(folder, "refine-irn") | {"loss": _loss(folder), "seconds": seconds})
            print(json.dumps({"processes": processes, "seed": seed, **found[-1]}), flush=True)
        rows[f"IRN, {processes}"] = _summary(found)
    for name, row in rows.items():
        print(
            f"{name:10}" + "  ".join(f"{key} {low:.1f} {mean:.1f} {high:.1f}" for key, (mean, low, high) in row.items())
        )
    print(
        json.dumps({"seeds": arguments.seeds, "limit": arguments.limit, "overrides": arguments.overrides, "rows": rows})
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument(
        "--set", dest="overrides", nargs="*", default=[], help="settings of the recipe, section.key=value"
    )
    parser.add_argument("--recipe", default="voc2012-small", help="where training and IRN are described")
    parser.add_argument("--train", default="trainaug")
    parser.add_argument("--masks", default="train")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--limit", type=int, default=48, help="pictures of --masks, evenly spread")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def _recipe(arguments: argparse.Namespace) -> dict[str, Any]:
    content = load_yaml(find_recipe(arguments.recipe))
    splits = {"train": arguments.train, "val": None, "masks": arguments.masks, "limit": arguments.limit}
    content["data"] = {"root": str(arguments.root.resolve()), **splits}
    content["localize"] = {"method": "cam", "scales": content["localize"]["scales"]}
    content["baseline"], content["evaluate"] = None, {"resamples": 2}
    content.pop("segment", None)
    change(content, list(arguments.overrides))
    result: dict[str, Any] = content
    return result


def _run(content: dict[str, Any], out: Path, processes: int) -> float:
    """Carry out a recipe; the seconds it took."""
    recipe = out.with_suffix(".yaml")
    recipe.parent.mkdir(parents=True, exist_ok=True)
    recipe.write_text(yaml.safe_dump(content), encoding="utf-8")
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    started = time.perf_counter()
    subprocess.run([sys.executable, *launch, "-m", "advcam", "run", str(recipe), "--out", str(out)], check=True)
    return round(time.perf_counter() - started, 1)


def _scores(out: Path, stage: str) -> dict[str, float]:
    """mIoU in per cent at each kind of threshold."""
    result = json.loads((out / "metrics" / stage / "evaluation.json").read_text(encoding="utf-8"))
    own = [row for row in result["rows"] if row["name"] == "predictions"]
    return {row["supervision"]: round(100 * row["scores"][result["headline"]], 2) for row in own}


def _loss(out: Path) -> float:
    """IRN's mean loss in its last epoch."""
    record = json.loads((out / "stages" / "refine-irn.json").read_text(encoding="utf-8"))
    return float(dict(record["facts"])["loss"])


def _summary(figures: Sequence[dict[str, float]]) -> dict[str, tuple[float, float, float]]:
    """Mean, lowest and highest of each figure."""
    columns = {name: [one[name] for one in figures] for name in figures[0]}
    return {name: (round(sum(v) / len(v), 2), min(v), max(v)) for name, v in columns.items()}


if __name__ == "__main__":
    main()
