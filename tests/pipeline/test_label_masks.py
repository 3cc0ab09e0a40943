"""Masks to learn from: which file belongs to a picture, and which number is which class."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from advcam.datasets.catalogue import open_dataset
from advcam.datasets.dataset import Dataset
from advcam.datasets.synthetic.catalogue import write_dataset
from advcam.errors import DatasetError, PictureError, RunError, SettingError
from advcam.pipeline.label_masks import ByHandFirst, TrueMasks, class_numbers, classes_in, with_truth, written_masks
from advcam.store.corrections import Corrections
from advcam.store.masks import write_mask
from advcam.types import Sample

NAMES = ("big cat", "dog")


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Folders of classes whose names hold spaces, two pictures each, one of them of a name with a space."""
    for number, name in enumerate(("big cat", "dog")):
        folder = tmp_path / "data" / name
        folder.mkdir(parents=True)
        for picture in ("1.png", "on a sofa.png"):
            Image.new("RGB", (3, 2), (10 * number, 0, 0)).save(folder / picture)
    return open_dataset(tmp_path / "data")


def samples(dataset: Dataset) -> list[Sample]:
    return list(dataset.samples(dataset.splits[0]))


def write(folder: Path, values: dict[str, list[int]]) -> Path:
    """Masks of one row of three pixels, twice."""
    for name, row in values.items():
        write_mask(folder / f"{name}.png", np.array([row, row], dtype=np.int32))
    return folder


def number(folder: Path, numbers: dict[int, str]) -> None:
    special = [{"number": 0, "name": "background"}, {"number": 255, "name": "ignore"}]
    entries = [{"number": n, "class_id": place, "name": name} for place, (n, name) in enumerate(numbers.items())]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "classes.json").write_text(json.dumps([*special, *entries]))


def test_a_plain_folder_has_the_numbers_of_the_data_set(dataset: Dataset, tmp_path: Path) -> None:
    """Files are found by the path of their picture, spaces included; pictures without one are not learnt."""
    folder = write(tmp_path / "mine", {"big cat/on a sofa": [0, 1, 255], "dog/1": [2, 2, 0]})
    written = written_masks(folder, dataset, samples(dataset), NAMES)
    there = {sample.id: sample for sample in written.of(samples(dataset))}
    assert set(there) == {"big cat/on a sofa.png", "dog/1.png"}
    assert written(there["big cat/on a sofa.png"]).tolist() == [[0, 1, 255]] * 2
    assert written(there["dog/1.png"]).tolist() == [[2, 2, 0]] * 2
    assert written(there["dog/1.png"]).dtype == np.int32


def test_a_run_says_itself_which_number_is_which_class(dataset: Dataset, tmp_path: Path) -> None:
    """By name, in whatever order; the folder of the run, or the one of its masks."""
    folder = write(tmp_path / "pseudo" / "masks", {"big cat/1": [0, 7, 255], "dog/1": [7, 3, 3]})
    number(tmp_path / "pseudo", {7: "big cat", 3: "dog"})
    for named in (tmp_path / "pseudo", folder):
        written = written_masks(named, dataset, samples(dataset), NAMES)
        cat, dog = written.of(samples(dataset))
        assert written(cat).tolist()[0] == [0, 1, 255]
        assert written(dog).tolist()[0] == [1, 2, 2]
    assert written_masks(folder, dataset, samples(dataset), ("dog", "big cat"))(dog).tolist()[0] == [2, 1, 1]
    assert class_numbers(tmp_path / "pseudo") == {7: "big cat", 3: "dog"}
    assert classes_in(tmp_path / "pseudo") == ("dog", "big cat"), "in the order of their numbers"


def test_numbers_beyond_a_byte(dataset: Dataset, tmp_path: Path) -> None:
    """A run of a thousand classes numbers those that it meets, in 16 bits where they are many."""
    write(tmp_path / "pseudo" / "masks", {"big cat/1": [300, 255, 0], "dog/1": [301, 0, 0]})
    number(tmp_path / "pseudo", {300: "big cat"})
    written = written_masks(tmp_path / "pseudo", dataset, samples(dataset), NAMES)
    cat, dog = written.of(samples(dataset))
    assert written(cat).tolist()[0] == [1, 255, 0]
    with pytest.raises(DatasetError, match=r"1\.png holds the value 301, which is no class"):
        written(dog)


@pytest.mark.parametrize("value", [3, 254, 256, 65535])
def test_a_value_that_is_no_class(dataset: Dataset, tmp_path: Path, value: int) -> None:
    folder = write(tmp_path / "mine", {"dog/1": [0, 2, value]})
    written = written_masks(folder, dataset, samples(dataset), NAMES)
    (dog,) = written.of(samples(dataset))
    with pytest.raises(DatasetError) as caught:
        written(dog)
    assert str(caught.value) == (
        f"{folder / 'dog' / '1.png'} holds the value {value}, which is no class; masks hold 0 for the background, 1 .. "
        "for the classes in their order, and 255 for what is undecided"
    )


def test_a_class_that_the_data_set_has_not(dataset: Dataset, tmp_path: Path) -> None:
    write(tmp_path / "pseudo" / "masks", {"dog/1": [0, 1, 1]})
    number(tmp_path / "pseudo", {1: "wolf"})
    with pytest.raises(RunError) as caught:
        written_masks(tmp_path / "pseudo", dataset, samples(dataset), NAMES)
    path = tmp_path / "pseudo" / "classes.json"
    assert str(caught.value) == f"{path} names the class 'wolf'; the data set has big cat, dog"
    many = [f"class {place}" for place in range(200)]
    with pytest.raises(RunError, match=r"class 3, class 4 and 195 more$"):
        written_masks(tmp_path / "pseudo", dataset, samples(dataset), many)


@pytest.mark.parametrize("text", ["", "{}", "[3]", '[{"class_id": 0}]', '[{"class_id": 0, "number": "x", "name": 1}]'])
def test_damaged_numbers(dataset: Dataset, tmp_path: Path, text: str) -> None:
    write(tmp_path / "pseudo" / "masks", {"dog/1": [0, 1, 1]})
    (tmp_path / "pseudo" / "classes.json").write_text(text)
    with pytest.raises(RunError, match=r"classes\.json is damaged \(.*\); make the masks again in another folder"):
        written_masks(tmp_path / "pseudo", dataset, samples(dataset), NAMES)
    with pytest.raises(RunError, match=r"classes\.json is damaged"):
        classes_in(tmp_path / "absent")


def test_folders_without_masks(dataset: Dataset, tmp_path: Path) -> None:
    write(tmp_path / "other", {"cow/9": [0, 0, 0]})
    (tmp_path / "empty").mkdir()
    for name in ("other", "empty"):
        with pytest.raises(SettingError) as caught:
            written_masks(tmp_path / name, dataset, samples(dataset), NAMES)
        assert str(caught.value) == (
            f"{tmp_path / name} holds no mask of these 4 pictures; a mask is a PNG named as its picture"
        )


def test_two_files_of_one_picture(dataset: Dataset, tmp_path: Path) -> None:
    folder = write(tmp_path / "mine", {"a/dog/1": [0, 0, 0], "b/dog/1": [0, 0, 0]})
    with pytest.raises(DatasetError, match=r"has two predictions of dog/1\.png: a/dog/1 and b/dog/1; keep one of them"):
        written_masks(folder, dataset, samples(dataset), NAMES)


def test_a_file_that_is_no_mask(dataset: Dataset, tmp_path: Path) -> None:
    folder = write(tmp_path / "mine", {"dog/1": [0, 0, 0]})
    written = written_masks(folder, dataset, samples(dataset), NAMES)
    (dog,) = written.of(samples(dataset))
    (folder / "dog" / "1.png").write_bytes(b"text")
    with pytest.raises(PictureError, match="cannot be read as a mask"):
        written(dog)
    Image.new("RGB", (3, 2)).save(folder / "dog" / "1.png")
    with pytest.raises(PictureError, match="is a picture of mode RGB; masks hold class numbers"):
        written(dog)


def reviewed(dataset: Dataset, run: Path) -> tuple[Path, Corrections]:
    """A run with masks of all four pictures: of one class each, one corrected, one rejected, one accepted."""
    pseudo = run / "pseudo"
    names = ("big cat/1", "big cat/on a sofa", "dog/1", "dog/on a sofa")
    write(pseudo / "masks", {name: [0, 1, 1] for name in names})
    number(pseudo, {1: "big cat", 2: "dog"})
    corrections = Corrections(run)
    corrections.save_mask("dog/1.png", "dog/1", np.full((2, 3), 2, np.int32), 0)
    corrections.set_status("big cat/1.png", "rejected", 0)
    corrections.set_status("big cat/on a sofa.png", "accepted", 0)
    return pseudo, corrections


def test_what_people_said_counts(dataset: Dataset, tmp_path: Path) -> None:
    """A corrected mask is learnt in place of the run's, a rejected picture is not learnt."""
    pseudo, corrections = reviewed(dataset, tmp_path / "run")
    for folder in (pseudo, pseudo / "masks"):
        written = written_masks(folder, dataset, samples(dataset), NAMES)
        there = {sample.id: written(sample).tolist()[0] for sample in written.of(samples(dataset))}
        assert there == {"big cat/on a sofa.png": [0, 1, 1], "dog/1.png": [2, 2, 2], "dog/on a sofa.png": [0, 1, 1]}
        assert written.by_hand == {"dog/1.png"}
    corrections.set_status("dog/1.png", "rejected", 1)
    assert not written_masks(pseudo, dataset, samples(dataset), NAMES).by_hand
    for id_ in ("big cat/on a sofa.png", "dog/on a sofa.png"):
        corrections.set_status(id_, "rejected", corrections.review(id_).revision)
    with pytest.raises(SettingError, match=r"every picture is rejected .*; accept or correct some of them"):
        written_masks(pseudo, dataset, samples(dataset), NAMES)


def test_masks_by_hand_come_before_those_of_a_network(dataset: Dataset, tmp_path: Path) -> None:
    pseudo, _ = reviewed(dataset, tmp_path / "run")
    written = written_masks(pseudo, dataset, samples(dataset), NAMES)
    anew = ByHandFirst(written, lambda _: np.zeros((2, 3), np.int32))
    there = {sample.id: anew(sample).tolist()[0] for sample in written.of(samples(dataset))}
    assert there == {"big cat/on a sofa.png": [0, 0, 0], "dog/1.png": [2, 2, 2], "dog/on a sofa.png": [0, 0, 0]}


def test_true_masks(tmp_path: Path) -> None:
    """VOC has masks of some of the pictures of trainaug."""
    write_dataset("voc2012", tmp_path / "voc", 12)
    voc = open_dataset(tmp_path / "voc")
    everything = list(voc.samples("trainaug"))
    there = with_truth(voc, everything)
    assert 0 < len(there) < len(everything)
    assert (TrueMasks(voc)(there[0]) == voc.mask(there[0].id)).all()
    bare = next(sample for sample in everything if sample not in there)
    with pytest.raises(DatasetError) as caught:
        TrueMasks(voc)(bare)
    assert str(caught.value) == f"{bare.id} has no true mask; leave it out of the list"
