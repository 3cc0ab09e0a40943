"""Localization with the embedded ImageNet classifier: CAM and AdvCAM in the protocol of wsolevaluation.

    python benchmarks/wsol.py ROOT --layout pets-species --split test --groups groups.json --limit 100
    python benchmarks/wsol.py ROOT --layout wsol --split test

Pictures with boxes of one class, evenly spread. The map is that of the true class (of a group, the output that scores
best in the picture), pictures are worked on at 224 pixels on the longer side. Printed in percent, at oracle thresholds
where the protocol has them (MaxBoxAccV2: one for each IoU; GT-known: IoU 0.5, largest contour), and at a threshold
chosen on 20 other pictures (validated; only with more than 40 pictures). Top-1 asks that the classifier's first class
is right. The last line is JSON.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

import advcam
from advcam.datasets.catalogue import open_dataset
from advcam.datasets.dataset import Dataset
from advcam.datasets.pictures import read_picture
from advcam.evaluate.baselines import centre_box, centre_map, random_map
from advcam.evaluate.localization import MaxBoxAcc
from advcam.evaluate.score_maps import SIZE, score_map
from advcam.pipeline.class_match import ClassMatch, read_groups

LABELLED = 20


def eligible(dataset: Dataset, split: str, limit: int | None) -> list[str]:
    """Pictures with boxes of exactly one class, evenly spread."""
    boxes = {id_: dataset.boxes(id_) or () for id_ in dataset.ids(split)}
    ids = [id_ for id_, found in boxes.items() if len({box.class_id for box in found}) == 1]
    return ids if limit is None or limit >= len(ids) else [ids[k * len(ids) // limit] for k in range(limit)]


def matcher(dataset: Dataset, classifier: advcam.Classifier, groups: Path | None) -> ClassMatch:
    """Groups from a file; a data set whose classes are ImageNet's numbers stands for itself."""
    numbers = {name: [int(name)] for name in dataset.class_names if name.isdecimal()}
    return ClassMatch(classifier, dataset.class_names, read_groups(groups) if groups else numbers)


def figures(accuracy: MaxBoxAcc) -> dict[str, float]:
    """Scores in percent."""
    interval = accuracy.bootstrap()
    found = {
        "max_box_acc_v2": accuracy.max_box_acc_v2,
        "low": interval.low,
        "high": interval.high,
        "gt_known": accuracy.max_box_acc,
        "top1_loc": accuracy.top_loc(1),
        "top5_loc": accuracy.top_loc(5),
    }
    if len(accuracy) > 2 * LABELLED:
        order = np.random.default_rng(0).permutation(len(accuracy))
        threshold = accuracy.subset(order[:LABELLED]).best_threshold
        found["gt_known_validated"] = accuracy.subset(order[LABELLED:]).gt_known(threshold)
    return {name: round(100 * value, 2) for name, value in found.items()}


def add_floors(
    accuracies: dict[str, MaxBoxAcc], truth: Sequence[advcam.Box], size: tuple[int, int], ranked: list[int]
) -> None:
    """What needs no look at the picture."""
    number = len(accuracies["centre"])
    accuracies["centre"].add(score_map(centre_map((SIZE, SIZE))), truth, size, ranked)
    accuracies["random"].add(score_map(random_map((SIZE, SIZE), number)), truth, size, ranked)
    accuracies["whole picture"].add_boxes([centre_box(size, 1.0, truth[0].class_id)], truth, size, ranked)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--layout")
    parser.add_argument("--split", default="test")
    parser.add_argument("--groups", type=Path)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--max-side", type=int, default=SIZE)
    parser.add_argument("--iterations", type=int)
    return parser.parse_args()


def main() -> None:
    """Score CAM, AdvCAM and the floors on the same pictures."""
    arguments, started = parse(), time.perf_counter()
    dataset = open_dataset(arguments.root, arguments.layout)
    classifier = advcam.load_classifier()
    match = matcher(dataset, classifier, arguments.groups)
    t, side = arguments.iterations or 8, arguments.max_side
    methods = {
        "cam": advcam.CAM(classifier, max_side=side),
        "advcam": advcam.AdvCAM(classifier, effort="paper", iterations=t, small_iterations=t, max_side=side),
    }
    accuracies = {name: MaxBoxAcc() for name in (*methods, "centre", "random", "whole picture")}
    right = []
    for id_ in eligible(dataset, arguments.split, arguments.limit):
        sample, truth = dataset.sample(id_), dataset.boxes(id_) or ()
        picture: Image.Image = read_picture(sample.path)
        ranked, size = match.ranked(picture, 5), (picture.height, picture.width)
        # Of two classes (cats and dogs) there are no five to rank; further ranks name no class.
        ranked += [-1] * (5 - len(ranked))
        label = dataset.class_names[truth[0].class_id]
        targets = match.targets(picture, [label])
        right.append(ranked[0] == truth[0].class_id)
        for name, method in methods.items():
            (result,) = method([picture], [targets])
            accuracies[name].add(score_map(result.maps[0]), truth, size, ranked)
        add_floors(accuracies, truth, size, ranked)
    rows = {name: figures(accuracy) for name, accuracy in accuracies.items()}
    gain = round(rows["advcam"]["max_box_acc_v2"] - rows["cam"]["max_box_acc_v2"], 2)
    summary = {"pictures": len(right), "top1_accuracy": round(100 * float(np.mean(right)), 2), "gain_v2": gain}
    print(json.dumps(summary | rows | {"seconds": round(time.perf_counter() - started)}))


if __name__ == "__main__":
    main()
