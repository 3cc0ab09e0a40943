"""`variant="published"` against a file that the authors' own script wrote.

golden/coffee.npz holds what jbeomlee93/AdvCAM, obtain_CAM_masking.py, computed in float32 on a CPU with 4 iterations
and its other constants as published, on EfficientNet-Lite0 with 20 rows of its ImageNet head and no bias. The picture
is scikit-image's `coffee` (CC0, by Rachel Michetti).
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from advcam import AdvCAM, Classifier, load_classifier
from advcam.classifiers.classifier import IMAGENET_MEAN, IMAGENET_STD

GOLDEN = Path(__file__).parent / "golden" / "coffee.npz"


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN) as file:
        return {name: file[name] for name in file}


def test_published_variant_reproduces_the_authors_script(golden: dict[str, np.ndarray]) -> None:
    module = load_classifier("lite0").module
    rows = module.get_parameter("classifier.weight").detach()[torch.from_numpy(golden["head_imagenet_ids"])]
    head = nn.Linear(rows.shape[1], rows.shape[0], bias=False)
    head.weight.data.copy_(rows)
    module.set_submodule("classifier", head)
    classifier = Classifier.from_module(module, mean=IMAGENET_MEAN, std=IMAGENET_STD)

    method = AdvCAM(classifier, variant="published", iterations=4)
    (result,) = method([Image.fromarray(golden["image"])], [golden["labels"].tolist()])

    assert result.maps.shape == golden["cam_T4"].shape
    for ours, theirs in zip(result.maps, golden["cam_T4"], strict=True):
        assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] >= 0.9999
        assert np.abs(ours - theirs).mean() <= 1e-3
