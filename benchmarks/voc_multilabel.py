"""Which other-class term and penalty suit a multi-label classifier: seeds on PASCAL VOC 2012 with a linear probe.

    python benchmarks/voc_multilabel.py VOCdevkit/VOC2012 --limit 24

A 20-class head without bias is fitted (multi-label soft margin, features of EfficientNet-Lite0 frozen, image labels of
ImageSets/Main/train.txt) and CAM and AdvCAM with several settings are scored on evenly spread pictures of
ImageSets/Segmentation/val.txt: mIoU over the classes that occur, at the oracle threshold (chosen on these masks) and at
0.4. A probe, not a fine-tuned network: it compares settings on one classifier. The last line printed is JSON.
"""

import argparse
import json
import time
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

import advcam

CLASSES = (  # noqa: SIM905, twenty quoted words read worse
    "aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person pottedplant sheep "
    "sofa train tvmonitor"
).split()
THRESHOLDS = np.round(np.arange(0.1, 0.91, 0.02), 2)
SETTINGS: dict[str, dict[str, object]] = {
    "no other classes, no penalty": {"other_classes": "none", "penalty": 0.0},
    "no other classes": {"other_classes": "none"},
    "logsumexp": {"other_classes": "logsumexp"},
    "1 strongest": {"other_classes": 1},
    "all": {"other_classes": "all"},
}


def labels(root: Path, name: str) -> list[int]:
    """Classes in the XML of a picture, difficult objects included (as its mask has them)."""
    tree = ET.parse(root / "Annotations" / f"{name}.xml")
    return sorted({CLASSES.index(str(node.findtext("name"))) for node in tree.getroot().findall("object")})


def names(root: Path, subset: str) -> list[str]:
    """Picture ids of a list below ImageSets."""
    return (root / "ImageSets" / f"{subset}.txt").read_text().split()


def picture(root: Path, name: str) -> Image.Image:
    """The photograph."""
    return Image.open(root / "JPEGImages" / f"{name}.jpg").convert("RGB")


def fit_probe(root: Path) -> advcam.Classifier:
    """Lite0 with a 20-class head fitted on the image labels of the training list."""
    classifier = advcam.load_classifier()
    features, targets = [], []
    for name in names(root, "Main/train"):
        pixels = torch.from_numpy(np.array(picture(root, name))).permute(2, 0, 1)[None].float() / 255
        with torch.no_grad(), classifier.frozen():
            features.append(classifier.module.forward_features(classifier.normalise(pixels)).mean(dim=(2, 3))[0])  # type: ignore[operator]
        targets.append(torch.zeros(20).index_fill(0, torch.tensor(labels(root, name)), 1.0))
    torch.manual_seed(0)
    head = nn.Linear(1280, 20, bias=False)
    optimizer = torch.optim.AdamW(head.parameters(), lr=3e-3, weight_decay=0.1)
    inputs, wanted = torch.stack(features), torch.stack(targets)
    for _ in range(300):
        optimizer.zero_grad()
        nn.functional.multilabel_soft_margin_loss(head(inputs), wanted).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    classifier.module.set_submodule("classifier", head)
    return advcam.Classifier.from_module(classifier.module, class_names=CLASSES, multi_label=True, name="lite0 probe")


def score(method: advcam.CAM | advcam.AdvCAM, root: Path, chosen: list[str]) -> dict[str, float]:
    """Seed mIoU in percent at the oracle threshold and at 0.4."""
    confusion = np.zeros((len(THRESHOLDS), 21, 21))
    for name in chosen:
        truth = np.asarray(Image.open(root / "SegmentationClass" / f"{name}.png"))
        (result,) = method([picture(root, name)], [labels(root, name)])
        for counts, threshold in zip(confusion, THRESHOLDS, strict=True):
            seed = result.label_mask(float(threshold))
            valid = truth != 255
            counts += np.bincount(21 * truth[valid].astype(int) + seed[valid], minlength=441).reshape(21, 21)
    curve = np.array([miou(counts) for counts in confusion])
    fixed = curve[np.argmin(np.abs(THRESHOLDS - 0.4))]
    return {
        "oracle": round(float(curve.max()), 2),
        "oracle_threshold": float(THRESHOLDS[curve.argmax()]),
        "fixed": round(float(fixed), 2),
    }


def miou(counts: NDArray[np.floating]) -> float:
    """Mean IoU over the classes in truth or prediction, percent."""
    union = counts.sum(axis=0) + counts.sum(axis=1) - np.diag(counts)
    return float(100 * (np.diag(counts)[union > 0] / union[union > 0]).mean())


def main() -> None:
    """Fit the probe, score CAM and each setting of AdvCAM."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--limit", type=int, default=24)
    parser.add_argument("--iterations", type=int, default=8)
    parser.add_argument("--scales", type=float, nargs="+", default=[0.5, 1.0])
    arguments = parser.parse_args()
    every = names(arguments.root, "Segmentation/val")
    chosen = [every[i * len(every) // arguments.limit] for i in range(arguments.limit)]
    started = time.perf_counter()
    classifier = fit_probe(arguments.root)
    rows = {"CAM": score(advcam.CAM(classifier, scales=arguments.scales), arguments.root, chosen)}
    for words, settings in SETTINGS.items():
        method = advcam.AdvCAM(
            classifier,
            effort="paper",
            iterations=arguments.iterations,
            small_iterations=arguments.iterations,
            scales=arguments.scales,
            **settings,  # type: ignore[arg-type]
        )
        rows[words] = score(method, arguments.root, chosen)
        print(words, rows[words], flush=True)
    print(json.dumps({"pictures": len(chosen), "seconds": round(time.perf_counter() - started), **rows}))


if __name__ == "__main__":
    main()
