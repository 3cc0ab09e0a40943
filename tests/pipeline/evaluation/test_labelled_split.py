"""The threshold of a labelled split: chosen on its pictures alone, applied to the scored ones, its size stated."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from advcam.datasets.catalogue import open_dataset
from advcam.datasets.dataset import Dataset
from advcam.datasets.synthetic.catalogue import write_dataset
from advcam.datasets.synthetic.wsol import write_wsol
from advcam.errors import DatasetError, SettingError
from advcam.evaluate.localization import box_iou, boxes_from_map, scaled_corners
from advcam.evaluate.score_maps import score_map
from advcam.pipeline.evaluation.evaluate import evaluate
from advcam.pipeline.evaluation.result import Evaluation, Row, evaluate_settings


class Silent:
    """Watches nothing."""

    def start(self, words: str, total: int) -> None:
        """Nothing."""

    def step(self) -> None:
        """Nothing."""


def run(root: Path, predictions: Path, split: str, **options: object) -> Evaluation:
    settings = evaluate_settings(predictions=predictions, data=root, split=split, resamples=2, **options)
    return evaluate(settings, Silent())


def row(result: Evaluation, supervision: str) -> Row:
    (found,) = (one for one in result.rows if one.name == "predictions" and one.supervision == supervision)
    return found


def write_map(folder: Path, name: str, inside: np.ndarray, power: float, blur: float) -> None:
    """A blurred object, whose best threshold moves with the power."""
    one = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), blur) ** power
    path = folder / f"{name.rpartition('.')[0]}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, one / one.max())


def write_maps(dataset: Dataset, folder: Path, split: str, power: float) -> None:
    """Maps of the true boxes of a WSOL split, each with another blur."""
    for number, sample in enumerate(dataset.samples(split)):
        width, height = dataset.size(sample.id)
        inside = np.zeros((height, width))
        for box in dataset.boxes(sample.id) or ():
            inside[box.y0 : box.y1, box.x0 : box.x1] = 1
        write_map(folder, sample.id, inside, power, 4 + 2 * (number % 4))


@pytest.fixture(scope="module")
def wsol(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two data sets in one: maps of val are sharper than those of test, so that their best thresholds differ."""
    root = tmp_path_factory.mktemp("wsol")
    write_wsol(root / "data", 8)
    dataset = open_dataset(root / "data")
    write_maps(dataset, root / "maps", "val", 3.0)
    write_maps(dataset, root / "maps", "test", 1.0)
    return root


def hits_by_hand(dataset: Dataset, folder: Path, split: str, threshold: float) -> int:
    """Pictures that are right at IoU 0.3, 0.5 and 0.7 with any contour, added up, straight from the words."""
    total = 0
    for sample in dataset.samples(split):
        scores = score_map(np.load(folder / f"{sample.id.removesuffix('.jpg')}.npy"))
        width, height = dataset.size(sample.id)
        truth = scaled_corners(dataset.boxes(sample.id) or (), (height, width))
        iou = box_iou(boxes_from_map(scores, threshold), truth).max()
        total += sum(iou >= delta for delta in (0.3, 0.5, 0.7))
    return total


def test_boxes_take_the_best_threshold_of_the_other_split(wsol: Path) -> None:
    dataset = open_dataset(wsol / "data")
    result = run(wsol / "data", wsol / "maps", "test", labelled_split="val")
    validated, oracle = row(result, "validated"), row(result, "oracle")
    assert result.pictures == 8, "none of the scored pictures is spent"
    assert validated.threshold is not None
    highest = hits_by_hand(dataset, wsol / "maps", "val", validated.threshold)
    assert highest == max(hits_by_hand(dataset, wsol / "maps", "val", n / 20) for n in range(20))
    assert highest > hits_by_hand(dataset, wsol / "maps", "val", oracle.threshold or 0.0)
    assert "best of 1000 thresholds on 8 labelled pictures, none of them evaluated (split val)" in validated.detail
    assert oracle.scores["max_box_acc_v2"] > validated.scores["max_box_acc_v2"], "the splits differ on purpose"
    assert oracle.scores["gt_known"] > validated.scores["gt_known"]
    at_it = run(wsol / "data", wsol / "maps", "test", threshold=validated.threshold)
    assert row(at_it, "fixed").scores == validated.scores


def test_the_scored_split_decides_nothing(wsol: Path, tmp_path: Path) -> None:
    """Other maps of test, another oracle, the same validated threshold; predictions may lie apart."""
    dataset = open_dataset(wsol / "data")
    write_maps(dataset, tmp_path / "maps", "test", 6.0)
    first = run(wsol / "data", wsol / "maps", "test", labelled_split="val")
    other = run(
        wsol / "data", tmp_path / "maps", "test", labelled_split="train-fullsup", labelled_predictions=wsol / "maps"
    )
    assert row(other, "validated").threshold == row(first, "validated").threshold
    assert row(other, "oracle").threshold != row(first, "oracle").threshold


def test_masks_take_the_best_threshold_of_the_other_split(tmp_path: Path) -> None:
    write_dataset("voc2012", tmp_path / "data", pictures=12, seed=3)
    dataset = open_dataset(tmp_path / "data")
    for split, power in (("val", 3.0), ("train", 1.0)):
        for sample in dataset.samples(split):
            mask = dataset.mask(sample.id)
            maps = []
            for label in sample.labels or ():
                inside = (mask == dataset.class_id(label) + 1).astype(np.float32)
                maps.append(np.clip(cv2.GaussianBlur(inside, (0, 0), 6), 0, 1) ** power)
            (tmp_path / "maps").mkdir(exist_ok=True)
            np.save(tmp_path / "maps" / f"{sample.id}.npy", np.stack(maps))
    chosen = row(run(tmp_path / "data", tmp_path / "maps", "train", labelled_split="val"), "validated")
    on_val = row(run(tmp_path / "data", tmp_path / "maps", "val"), "oracle")
    assert chosen.threshold == on_val.threshold
    count = len(list(dataset.samples("val")))
    assert chosen.detail == f"best of 101 thresholds on {count} labelled pictures, none of them evaluated (split val)"


def test_pictures_that_are_not_predicted_are_told(wsol: Path, tmp_path: Path) -> None:
    dataset = open_dataset(wsol / "data")
    write_maps(dataset, tmp_path / "maps", "val", 1.0)
    gone = next(iter(dataset.ids("val")))
    (tmp_path / "maps" / gone).with_suffix(".npy").unlink()
    options = {"labelled_split": "val", "labelled_predictions": tmp_path / "maps"}
    with pytest.raises(DatasetError, match="1 of 8 pictures are not predicted"):
        run(wsol / "data", wsol / "maps", "test", **options)
    result = run(wsol / "data", wsol / "maps", "test", missing="intersection", **options)
    assert "on 7 labelled pictures" in row(result, "validated").detail
    assert f"split val: 1 of 8 pictures of the split are not predicted and left out: {gone}" in result.notes


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"labelled_split": "test"}, "the splits 'test' and 'test' share 8 pictures (first: test/0/0000.jpg); a "),
        ({"labelled_split": "dev"}, "has no split 'dev'; its splits are"),
        ({"labelled_split": "val", "labelled": 2}, "leave --labelled away"),
        ({"labelled_predictions": Path("maps")}, "name it with --labelled-split"),
        ({"labelled_split": "val", "protocol": "faithfulness"}, "has none; leave --labelled-split away"),
    ],
)
def test_what_does_not_go_together(wsol: Path, options: dict[str, object], words: str) -> None:
    with pytest.raises(SettingError) as caught:
        run(wsol / "data", wsol / "maps", "test", **options)
    assert words in str(caught.value)


def test_a_split_without_truth_chooses_nothing(wsol: Path, tmp_path: Path) -> None:
    dataset = open_dataset(wsol / "data")
    for sample in dataset.samples("train"):
        write_map(tmp_path / "maps", sample.id, np.pad(np.ones((20, 20)), 20), 1.0, 3.0)
    with pytest.raises(DatasetError, match="no predicted picture of the split 'train' has boxes of exactly one class"):
        run(wsol / "data", wsol / "maps", "test", labelled_split="train", labelled_predictions=tmp_path / "maps")
