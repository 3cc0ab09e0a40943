"""Predictions made from the truth, and predictions that are wrong on purpose, through the whole evaluation."""

import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from advcam.datasets.catalogue import open_dataset
from advcam.datasets.dataset import Dataset
from advcam.datasets.synthetic.catalogue import write_dataset
from advcam.errors import DatasetError, PictureError, SettingError
from advcam.pipeline.evaluation.evaluate import as_json, evaluate, write_evaluation
from advcam.pipeline.evaluation.result import Evaluation, evaluate_settings
from advcam.store.masks import write_mask
from advcam.types import IGNORE, Attribution


class Silent:
    """Watches nothing."""

    def start(self, words: str, total: int) -> None:
        """Nothing."""

    def step(self) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def voc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "voc"
    write_dataset("voc2012", root, pictures=12, seed=3)
    return root


def true_maps(root: Path, folder: Path, split: str = "train") -> list[str]:
    """A map of 0 and 1 for each label of each picture, as .npy."""
    dataset, names = open_dataset(root), []
    folder.mkdir(parents=True, exist_ok=True)
    for sample in dataset.samples(split):
        mask = dataset.mask(sample.id)
        maps = [(mask == dataset.class_id(label) + 1).astype(np.float32) for label in sample.labels or ()]
        np.save(folder / f"{sample.id}.npy", np.stack(maps))
        names.append(sample.id)
    return names


def run(root: Path, predictions: Path, split: str = "train", **options: object) -> Evaluation:
    settings = evaluate_settings(predictions=predictions, data=root, split=split, resamples=20, **options)
    return evaluate(settings, Silent())


def by_word(result: Evaluation) -> dict[str, float]:
    return {row.supervision: row.scores["miou"] for row in result.rows if row.name == "predictions"}


def test_maps_made_from_the_truth_are_perfect_and_beat_the_floors(voc: Path, tmp_path: Path) -> None:
    names = true_maps(voc, tmp_path / "maps")
    result = run(voc, tmp_path / "maps")
    assert result.pictures == len(names)
    assert by_word(result)["oracle"] == 1
    assert by_word(result)["fixed"] == 1
    floors = [row.scores["miou"] for row in result.rows if row.name != "predictions"]
    assert len(floors) == 3
    assert max(floors) < 1
    assert {row["iou"] for row in result.classes} == {1.0}


def test_the_oracle_is_never_below_a_threshold_that_was_chosen_otherwise(voc: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for name in true_maps(voc, tmp_path / "maps"):
        maps = np.load(tmp_path / "maps" / f"{name}.npy")
        noisy = 0.6 * maps + 0.4 * random.random(maps.shape)
        np.save(tmp_path / "maps" / f"{name}.npy", noisy)
    scores = by_word(run(voc, tmp_path / "maps", labelled=2))
    assert set(scores) == {"oracle", "validated", "fixed", "label-free"}
    assert scores["oracle"] == max(scores.values())


def test_labelled_pictures_are_left_out_of_the_scores(voc: Path, tmp_path: Path) -> None:
    names = true_maps(voc, tmp_path / "maps")
    result = run(voc, tmp_path / "maps", labelled=2)
    assert result.pictures == len(names) - 2
    assert len(result.picture_scores) == len(names) - 2
    with pytest.raises(DatasetError, match="some must be left to be scored"):
        run(voc, tmp_path / "maps", labelled=len(names))


def test_a_subset_is_refused_unless_the_intersection_is_asked_for(voc: Path, tmp_path: Path) -> None:
    names = true_maps(voc, tmp_path / "maps")
    (tmp_path / "maps" / f"{names[0]}.npy").unlink()
    with pytest.raises(DatasetError, match=f"1 of {len(names)} pictures are not predicted .first: {names[0]}."):
        run(voc, tmp_path / "maps")
    result = run(voc, tmp_path / "maps", missing="intersection")
    assert result.pictures == len(names) - 1
    assert any(names[0] in note for note in result.notes)


def test_broken_maps_name_their_picture(voc: Path, tmp_path: Path) -> None:
    names = true_maps(voc, tmp_path / "maps")
    path = tmp_path / "maps" / f"{names[0]}.npy"
    good = np.load(path)
    for bad in (good * 2, np.full_like(good, np.nan), good - 1):
        np.save(path, bad)
        with pytest.raises(PictureError, match=names[0]):
            run(voc, tmp_path / "maps")
    path.write_bytes(b"no array")
    with pytest.raises(PictureError, match="cannot be read"):
        run(voc, tmp_path / "maps")


def test_true_masks_are_perfect_and_an_empty_prediction_keeps_the_background(voc: Path, tmp_path: Path) -> None:
    dataset = open_dataset(voc)
    for sample in dataset.samples("train"):
        write_mask(tmp_path / "true" / f"{sample.id}.png", dataset.mask(sample.id))
        write_mask(tmp_path / "empty" / f"{sample.id}.png", np.zeros_like(dataset.mask(sample.id)))
    (perfect,) = run(voc, tmp_path / "true").rows
    assert perfect.scores["miou"] == 1
    assert perfect.scores["boundary_iou"] == 1
    (empty,) = run(voc, tmp_path / "empty").rows
    assert empty.scores["recall"] == 0
    assert 0 < empty.scores["miou"] < 0.5


def confused(dataset: Dataset, masks: dict[str, NDArray[np.int32]]) -> Counter[tuple[str, str]]:
    """Pixels by names of the true and the predicted class, counted one after the other."""
    names, found = ("background", *dataset.class_names), Counter[tuple[str, str]]()
    for id_, mask in masks.items():
        truth = dataset.mask(id_)
        assert truth is not None
        for true, claimed in zip(truth.ravel().tolist(), mask.ravel().tolist(), strict=True):
            if true != IGNORE:
                found[names[true], names[0 if claimed == IGNORE else claimed]] += 1
    return found


def by_names(result: Evaluation) -> Counter[tuple[str, str]]:
    names = [str(row["name"]) for row in result.classes]
    return Counter({(names[true], names[claimed]): pixels for true, claimed, pixels in result.confusion})


def test_which_class_was_taken_for_which(voc: Path, tmp_path: Path) -> None:
    """Of maps at the fixed threshold and of the masks made of them, against pixels that are counted one by one."""
    random, dataset, masks = np.random.default_rng(0), open_dataset(voc), {}
    for name in true_maps(voc, tmp_path / "maps"):
        maps = (np.load(tmp_path / "maps" / f"{name}.npy") + random.random()) / 2
        maps = np.maximum(maps, 0.9 * random.random(maps.shape)).astype(np.float32)
        np.save(tmp_path / "maps" / f"{name}.npy", maps)
        numbers = tuple(dataset.class_id(label) for label in dataset.sample(name).labels or ())
        size = (maps.shape[1], maps.shape[2])
        made = Attribution(numbers, ("",) * len(numbers), maps, size, np.ones(len(numbers), np.float32))
        masks[name] = made.label_mask(0.6)
    expected = confused(dataset, masks)
    assert len(expected) > 10
    result = run(voc, tmp_path / "maps", threshold=0.6)
    assert by_names(result) == expected
    row = {str(one["name"]): one for one in result.classes}["background"]
    right, missed = (
        expected["background", "background"],
        sum(n for (true, _), n in expected.items() if true == "background"),
    )
    assert row["recall"] == right / missed
    for name, mask in masks.items():
        mask[0] = IGNORE  # undecided counts as background
        write_mask(tmp_path / "masks" / f"{name}.png", mask)
    assert by_names(run(voc, tmp_path / "masks")) == confused(dataset, masks)


def test_boxes_of_true_masks_are_right_on_pets(tmp_path: Path) -> None:
    root = tmp_path / "pets"
    write_dataset("pets", root, pictures=9, seed=1)
    dataset = open_dataset(root)
    for sample in dataset.samples("all"):
        mask = dataset.mask(sample.id)
        (tmp_path / "maps").mkdir(exist_ok=True)
        np.save(tmp_path / "maps" / f"{sample.id}.npy", (mask > 0).astype(np.float32))
    result = run(root, tmp_path / "maps", split="all", protocol="localization")
    oracle = next(row for row in result.rows if row.name == "predictions" and row.supervision == "oracle")
    assert oracle.scores["max_box_acc_v2"] == 1
    assert oracle.scores["gt_known"] == 1
    assert any("Top-1 and Top-5 Loc need the predicted classes" in note for note in result.notes)
    assert run(root, tmp_path / "maps", split="all", protocol="pxap").rows[0].scores["pxap"] > 0.9


def test_json_has_no_nan_and_is_written_whole(voc: Path, tmp_path: Path) -> None:
    true_maps(voc, tmp_path / "maps")
    result = run(voc, tmp_path / "maps")
    result.picture_scores["odd"] = math.nan
    content = json.loads(write_evaluation(result, tmp_path / "out").read_text())
    assert content["picture_scores"]["odd"] is None
    assert content == json.loads(as_json(result))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["evaluation.json"]


def test_what_cannot_be_evaluated_is_said(voc: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="no split 'tain'"):
        run(voc, tmp_path, split="tain")
    with pytest.raises(SettingError, match=r"neither \.npy maps nor \.png masks"):
        run(voc, tmp_path)
    true_maps(voc, tmp_path / "maps")
    with pytest.raises(SettingError, match="name it with --model"):
        run(voc, tmp_path / "maps", protocol="faithfulness")
