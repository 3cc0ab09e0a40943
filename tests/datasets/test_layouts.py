"""Finding out which layout a folder holds, and what a folder lacks that holds none."""

import re
import shutil
from pathlib import Path

import pytest

from advcam.datasets.catalogue import LAYOUTS, describe_layouts, detect_layout, open_dataset
from advcam.datasets.synthetic.catalogue import GENERATORS, write_dataset
from advcam.errors import DatasetError, SettingError

#: What detection calls a generated layout; openimages30k is WSOL metadata with masks.
DETECTED = {name: "wsol" if name == "openimages30k" else name for name in GENERATORS}


def refusal(root: Path) -> str:
    with pytest.raises(DatasetError) as caught:
        detect_layout(root)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("layout", GENERATORS)
def test_every_generated_layout_is_found_and_opened(tmp_path: Path, layout: str):
    write_dataset(layout, tmp_path / "data", pictures=4)
    assert detect_layout(tmp_path / "data") == DETECTED[layout]
    assert open_dataset(tmp_path / "data").layout == DETECTED[layout]
    dataset = open_dataset(tmp_path / "data", layout)
    assert sum(1 for split in dataset.splits for _ in dataset.samples(split)) >= 4


def test_every_layout_by_name_is_described_and_generated_or_a_reading_of_another():
    described = [name for name, _, signs in describe_layouts() if signs]
    assert set(described) == set(LAYOUTS) - {"pets-species", "openimages30k"}
    assert set(GENERATORS) == set(LAYOUTS) - {"pets-species"}


def test_pets_are_read_as_species_by_name(tmp_path: Path):
    write_dataset("pets", tmp_path / "data")
    assert open_dataset(tmp_path / "data", "pets-species").class_names == ("cat", "dog")


def test_an_unknown_layout_is_answered_with_the_nearest(tmp_path: Path):
    with pytest.raises(SettingError, match=r"there is no layout 'voc'.*; did you mean 'voc2012'\? .*openimages30k"):
        open_dataset(tmp_path, "voc")


def test_another_layout_than_the_one_named_is_said(tmp_path: Path):
    write_dataset("pets", tmp_path / "data", pictures=2)
    with pytest.raises(DatasetError, match=r"holds no PASCAL VOC 2012: .* it looks like the layout 'pets'"):
        open_dataset(tmp_path / "data", "voc2012")


@pytest.mark.parametrize("layout", ["voc2012", "folders", None])
def test_a_root_that_does_not_exist(tmp_path: Path, layout: str | None):
    with pytest.raises(DatasetError, match="absent is no folder; name the root folder of"):
        open_dataset(tmp_path / "absent", layout)


@pytest.mark.parametrize(
    ("layout", "removed", "words"),
    [
        ("voc2012", "VOCdevkit/VOC2012/ImageSets", "PASCAL VOC 2012 (voc2012), but ImageSets is missing"),
        ("voc2012", "VOCdevkit/VOC2012/Annotations", "PASCAL VOC 2012 (voc2012), but Annotations is missing"),
        ("coco", "annotations", "MS COCO (coco), but annotations/instances_*.json, or annotations.json is missing"),
        ("cub200", "classes.txt", "CUB-200-2011 (cub200), but classes.txt is missing"),
        ("imagenet", "LOC_synset_mapping.txt", "(imagenet), but LOC_synset_mapping.txt is missing"),
        ("imagenet", "ILSVRC", "(imagenet), but ILSVRC/Data/CLS-LOC is missing"),
        ("pets", "images", "Oxford-IIIT Pet (pets), but images is missing"),
        ("wsol", "metadata/SHAPES/*/image_ids*.txt", "(wsol), but metadata/*/image_ids.txt is missing"),
    ],
)
def test_a_layout_that_lacks_something_is_named_with_it(tmp_path: Path, layout: str, removed: str, words: str):
    write_dataset(layout, tmp_path / "data", pictures=4)
    for path in (tmp_path / "data").glob(removed):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert words in refusal(tmp_path / "data")


def test_voc_without_its_lists_is_refused_at_its_own_folder_too(tmp_path: Path):
    write_dataset("voc2012", tmp_path / "data", pictures=4)
    home = tmp_path / "data" / "VOCdevkit" / "VOC2012"
    shutil.rmtree(home / "ImageSets")
    assert "but ImageSets is missing below it" in refusal(home)


@pytest.mark.parametrize("name", ["images", "JPEGImages", "pictures", "Photos"])
def test_a_folder_of_pictures_of_any_class_is_no_class(tmp_path: Path, name: str):
    write_dataset("folders", tmp_path / "source", pictures=4)
    shutil.copytree(tmp_path / "source" / "train", tmp_path / "data" / name)
    words = refusal(tmp_path / "data")
    if name != "JPEGImages":  # which is a sign of VOC
        assert "its pictures have no classes: write a labels.csv with the columns image,labels beside them" in words
    assert open_dataset(tmp_path / "data", "folders").class_names == (name,)


def test_tables_beside_pictures_without_classes_are_named_with_their_columns(tmp_path: Path):
    write_dataset("folders", tmp_path / "source", pictures=4)
    shutil.copytree(tmp_path / "source" / "train", tmp_path / "data" / "images")
    (tmp_path / "data" / "index.csv").write_text("image,imagenet_id,author\na.jpg,3,somebody\n")
    (tmp_path / "data" / "odd.csv").write_bytes(b"\xff\xfe")
    assert refusal(tmp_path / "data").endswith(
        "(index.csv lies there with the columns image, imagenet_id, author; odd.csv lies there with the columns "
        "unreadable)"
    )
    (tmp_path / "data" / "labels.csv").write_text("image,labels\nimages/a.jpg,cat\n")
    assert detect_layout(tmp_path / "data") == "table"


def test_pictures_in_the_root_itself_have_no_classes(tmp_path: Path):
    write_dataset("folders", tmp_path / "data", pictures=4)
    assert "its pictures have no classes" in refusal(tmp_path / "data" / "train" / "ellipse")


def test_splits_of_containers_are_no_classes_either(tmp_path: Path):
    write_dataset("folders", tmp_path / "source", pictures=4)
    for split in ("train", "val"):
        shutil.copytree(tmp_path / "source" / "train" / "ellipse", tmp_path / "data" / split / "images")
        (tmp_path / "data" / split / "labels").mkdir()
    assert "its pictures have no classes" in refusal(tmp_path / "data")


def test_a_container_beside_real_classes_is_a_class(tmp_path: Path):
    write_dataset("folders", tmp_path / "source", pictures=4)
    for name in ("cat", "images"):
        shutil.copytree(tmp_path / "source" / "train" / "ellipse", tmp_path / "data" / name)
    assert detect_layout(tmp_path / "data") == "folders"


def test_an_order_of_classes_is_no_sign_of_another_layout(tmp_path: Path):
    write_dataset("folders", tmp_path / "data", pictures=8)
    (tmp_path / "data" / "classes.txt").write_text("wheel\ntriangle\nrectangle\nellipse\n")
    assert detect_layout(tmp_path / "data") == "folders"


def test_folders_that_contradict_themselves_are_found_and_refused_with_the_reason(tmp_path: Path):
    write_dataset("folders", tmp_path / "data", pictures=4)
    shutil.copytree(tmp_path / "data" / "train" / "ellipse", tmp_path / "data" / "cat")
    with pytest.raises(DatasetError, match="holds the split train and beside it the folder cat"):
        open_dataset(tmp_path / "data")


def test_a_root_of_something_else_lists_what_was_looked_for(tmp_path: Path):
    assert "it holds nothing; looked for voc2012: JPEGImages, Annotations, ImageSets; coco: " in refusal(tmp_path)
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "table.xlsx").write_text("")
    words = refusal(tmp_path)
    assert "it holds notes.txt, table.xlsx; looked for" in words
    assert all(f"{name}: " in words for name, _, _ in describe_layouts())


@pytest.mark.parametrize(
    ("layout", "options", "words"),
    [
        ("vocs2012", {}, "did you mean 'voc2012'"),
        ("voc2012", {"pictures": 0}, "1 to 999999 pictures; got 0"),
        ("wsol", {"pictures": 301}, "1 to 300 pictures; got 301"),
        ("coco", {"seed": -1}, "a seed is a whole number from 0 on; got -1"),
    ],
)
def test_what_cannot_be_generated(tmp_path: Path, layout: str, options: dict[str, int], words: str):
    with pytest.raises(SettingError, match=re.escape(words)):
        write_dataset(layout, tmp_path / "data", **options)
    assert not (tmp_path / "data").exists()


def test_nothing_is_overwritten_by_a_generator(tmp_path: Path):
    (tmp_path / "data").mkdir()
    write_dataset("pets", tmp_path / "data", pictures=1)
    (tmp_path / "file").write_text("mine")
    for name in ("data", "file"):
        with pytest.raises(SettingError, match=f"{name} is a file or not empty; name a new folder"):
            write_dataset("pets", tmp_path / name)
    assert (tmp_path / "file").read_text() == "mine"


def test_the_seed_of_a_generator_decides_everything(tmp_path: Path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_dataset("table", tmp_path / name, pictures=2, seed=seed)
    a, b, c = ((tmp_path / name / "pictures" / "1.jpg").read_bytes() for name in "abc")
    assert a == b != c
