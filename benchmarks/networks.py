"""Networks of other families through `Classifier.from_module`, one line each: what was found and that a climb works.

    python benchmarks/networks.py

Random weights (seed 0): this shows that the adapter fits, not what the networks know. The last line printed is JSON.
"""

import json
import time
from collections.abc import Callable

import numpy as np
import timm
import torch
import torchvision
from PIL import Image
from torch import nn

import advcam

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "timm resnet50": lambda: timm.create_model("resnet50"),
    "timm resnet50, output stride 16": lambda: timm.create_model("resnet50", output_stride=16),
    "timm vit_small_patch16_224": lambda: timm.create_model("vit_small_patch16_224", dynamic_img_size=True),
    "torchvision vgg16": lambda: torchvision.models.vgg16(),
    "torchvision densenet121": lambda: torchvision.models.densenet121(),
    "torchvision swin_t": lambda: torchvision.models.swin_t(),
}


def main() -> None:
    """Adapt and climb each network for two steps on one picture of 224 pixels."""
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8))
    rows = {}
    for name, build in NETWORKS.items():
        torch.manual_seed(0)
        started = time.perf_counter()
        classifier = advcam.Classifier.from_module(build())
        (result,) = advcam.AdvCAM(classifier, iterations=2, scales=(1,))([picture], [[7]], record="maps")
        scores = result.trajectories[0].scores[:, 7]
        facts = classifier.describe()
        rows[name] = {
            **{key: facts[key] for key in ("class map", "feature layer", "input")},
            "map": result.trajectories[0].maps.shape[1:],
            "score_rises": bool(scores[-1] > scores[0]),
            "seconds": round(time.perf_counter() - started, 1),
        }
        print(f"{name:34}{rows[name]}")
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
