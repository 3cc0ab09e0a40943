"""Segmentation networks learnt by several processes: weights and mIoU are those of one."""

from pathlib import Path

import pytest
import torch
from accelerate.state import PartialState
from launched import launched
from safetensors.torch import load_file
from test_segmenter import fit, halves, true_masks

from advcam.datasets.catalogue import open_dataset
from advcam.datasets.synthetic.catalogue import write_dataset
from advcam.errors import SettingError
from advcam.training.loop import TrainingResult

#: Nothing that is drawn at random, and nothing that looks at other pictures.
KINDS = {
    "cross-entropy": {},
    "balanced": {"objective": {"loss": "balanced", "bootstrap": 0.2, "average": 0.5}},
    "cct": {
        "semi": {
            "method": "cct",
            "cct": {"context_masking": 1, "object_masking": 1, "upscale": 1}
            | dict.fromkeys(("vat", "dropout", "cutout", "feature_drop", "feature_noise"), 0),
        }
    },
    "unimatch": {"semi": {"method": "unimatch", "unimatch": {"confidence": 0.3, "dropout": 0.0, "strong_weight": 0.0}}},
}


def all_kinds(root: Path, out: Path) -> dict[str, TrainingResult]:
    """Each kind of training, in this process."""
    PartialState(cpu=True)
    dataset, found = open_dataset(root), {}
    for kind, settings in KINDS.items():
        masked, weak = halves(dataset) if "semi" in settings else (true_masks(dataset, "train"), None)
        weights = {masked.samples[0].id: 3.0} if weak is None else {}
        object.__setattr__(masked, "weights", weights)
        objective = {"frozen_statistics": True} | settings.get("objective", {})
        chosen = {**settings, "objective": objective, "epochs": 2, "batch_size": 3, "lr": 0.01, "optimizer": "sgd"}
        trained = fit(dataset, out / kind, masked, weak, val=true_masks(dataset, "val"), **chosen)
        found[kind] = trained.training
    return found


def refused(root: Path, out: Path) -> str:
    """A batch normalisation that learns, with a picture a process."""
    PartialState(cpu=True)
    dataset = open_dataset(root)
    network = {"head": "smp/deeplabv3plus", "model": "test_resnet", "weights": "random"}
    try:
        fit(dataset, out, true_masks(dataset, "train"), network=network, batch_size=3, drop_last=True)
    except SettingError as error:
        return str(error)
    return "trained"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "folders"
    write_dataset("folders", root, 12)
    return root


def test_two_processes_learn_what_one_learns(root: Path, tmp_path: Path) -> None:
    """Batches of three, and a last one of two: parts of unequal size."""
    (alone,) = launched(1, all_kinds, root, tmp_path / "1")
    both = launched(2, all_kinds, root, tmp_path / "2")
    assert both[0] == both[1]
    for kind in KINDS:
        one, two = (load_file(tmp_path / f"{count}" / kind / "last.safetensors") for count in (1, 2))
        assert one.keys() == two.keys()
        for name in one:
            torch.testing.assert_close(one[name], two[name], rtol=1e-4, atol=1e-5, msg=f"{kind}: {name}")
        for first, second in zip(alone[kind].history, both[0][kind].history, strict=True):
            assert first == pytest.approx(second, rel=1e-3), kind


def test_a_batch_normalisation_counts_the_processes(root: Path, tmp_path: Path) -> None:
    for text in launched(2, refused, root, tmp_path / "run"):
        assert text == (
            "smp/deeplabv3plus has batch normalisations and needs 2 pictures in every pass; with 8 pictures, "
            "batch_size 3, accumulate 1 and 2 processes one has 1; set drop_last=true, fewer processes, or another "
            "batch_size, or take the head deeplabv2"
        )
    assert not (tmp_path / "run").exists()
