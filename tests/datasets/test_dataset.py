"""The base of data sets, on the smallest one that can be written."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from advcam.datasets.dataset import Dataset
from advcam.errors import DatasetError, SettingError
from advcam.types import Sample


class Birds(Dataset):
    """Two splits of one picture each."""

    layout, title, landmarks = "birds", "Birds", ("pictures", "lists/birds.txt")
    class_names = ("robin", "wren", "owl")
    splits = ("day", "night")

    def ids(self, split: str) -> Iterator[str]:
        self.check_split(split)
        return iter(["a", "b"] if split == "day" else ["c"])

    def sample(self, id_: str) -> Sample:
        return Sample(id_, self.root / "pictures" / id_, ("owl" if id_ == "c" else "wren",))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "birds.txt").write_text("a\nb\nc\n")
    return tmp_path


def test_a_root_is_told_by_all_of_its_landmarks(root: Path):
    assert Birds.fits(root)
    Birds(root)
    (root / "lists" / "birds.txt").unlink()
    assert not Birds.fits(root)
    with pytest.raises(DatasetError, match=re.escape(f"{root} holds no Birds: lists/birds.txt is missing below it")):
        Birds(root)


def test_a_root_that_is_no_folder(tmp_path: Path):
    (tmp_path / "file").write_text("")
    for name in ("file", "absent"):
        with pytest.raises(DatasetError, match=f"{name} is no folder; name the root folder of Birds"):
            Birds(tmp_path / name)


def test_a_layout_without_landmarks_fits_nothing_by_them(root: Path):
    class Anything(Birds):
        landmarks = ()

    assert not Anything.fits(root)


def test_samples_follow_the_ids_and_are_read_one_by_one(root: Path):
    asked: list[str] = []

    class Counted(Birds):
        def sample(self, id_: str) -> Sample:
            asked.append(id_)
            return super().sample(id_)

    samples = Counted(root).samples("day")
    assert next(samples).id == "a"
    assert asked == ["a"]
    assert [sample.id for sample in samples] == ["b"]


def test_truth_is_none_and_problems_are_none_unless_a_layout_says_otherwise(root: Path):
    birds = Birds(root)
    assert birds.mask("a") is None
    assert birds.boxes("a") is None
    assert list(birds.problems("night")) == []


def test_an_unknown_split_is_answered_with_those_there_are(root: Path):
    birds = Birds(root)
    for ask in (birds.check_split, birds.ids, lambda split: list(birds.samples(split)), birds.problems):
        with pytest.raises(SettingError, match="has no split 'dusk'; its splits are: day, night"):
            ask("dusk")


def test_without_any_split_the_answer_is_none(root: Path):
    class Empty(Birds):
        splits = ()

    with pytest.raises(SettingError, match="its splits are: none"):
        Empty(root).check_split("day")


def test_classes_count_from_zero_and_a_typo_is_answered_with_the_nearest(root: Path):
    birds = Birds(root)
    assert [birds.class_id(name) for name in birds.class_names] == [0, 1, 2]
    with pytest.raises(DatasetError, match=re.escape("Birds has no class 'robbin'; did you mean 'robin'?")):
        birds.class_id("robbin")
    with pytest.raises(DatasetError, match=r"Birds has no class 'xyz'$"):
        birds.class_id("xyz")
