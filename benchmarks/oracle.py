"""`variant="published"` against the output of the authors' own script.

    python benchmarks/oracle.py FILE.npz --iterations 4
    python benchmarks/oracle.py FILE.npz --iterations 27

FILE.npz holds `image`, `head_imagenet_ids`, `labels`, `cam_T4`, `cam_T27`, `high_res_T4`, `high_res_T27` as the
authors' obtain_CAM_masking.py wrote them with EfficientNet-Lite0 and a head of 20 ImageNet rows without bias. The last
line printed is JSON: over the classes, the smallest correlation and the largest mean absolute difference of `cam`, and
the same for our upsampled maps against `high_res`.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

import advcam
from advcam.classifiers.classifier import IMAGENET_MEAN, IMAGENET_STD


def oracle_classifier(imagenet_ids: NDArray[np.integer]) -> advcam.Classifier:
    """The oracle's network: Lite0 with some rows of its ImageNet head, no bias, ImageNet mean and std."""
    module = advcam.load_classifier("lite0").module
    weight = module.get_parameter("classifier.weight").detach()[torch.as_tensor(imagenet_ids)]
    head = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    head.weight.data.copy_(weight)
    module.set_submodule("classifier", head)
    return advcam.Classifier.from_module(module, mean=IMAGENET_MEAN, std=IMAGENET_STD, name="oracle")


def compare(ours: NDArray[np.floating], theirs: NDArray[np.floating], suffix: str = "") -> dict[str, float]:
    """Worst class: correlation and mean absolute difference."""
    correlations = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(ours, theirs, strict=True)]
    differences = [np.abs(a - b).mean() for a, b in zip(ours, theirs, strict=True)]
    return {
        f"correlation{suffix}": float(min(correlations)),
        f"mean_abs_diff{suffix}": float(max(differences)),
    }


def main() -> None:
    """Run the published variant on one oracle file and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--iterations", type=int, choices=(4, 27), default=4)
    arguments = parser.parse_args()
    oracle = np.load(arguments.file)
    method = advcam.AdvCAM(
        oracle_classifier(oracle["head_imagenet_ids"]), variant="published", iterations=arguments.iterations
    )
    started = time.perf_counter()
    (result,) = method([Image.fromarray(oracle["image"])], [oracle["labels"].tolist()])
    figures: dict[str, object] = {"file": arguments.file.name, "iterations": arguments.iterations}
    figures |= compare(result.maps, oracle[f"cam_T{arguments.iterations}"])
    figures |= compare(result.upsample(), oracle[f"high_res_T{arguments.iterations}"], "_high_res")
    figures |= {"seconds": round(time.perf_counter() - started, 1), "threads": torch.get_num_threads()}
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
