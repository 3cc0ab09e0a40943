"""Folders of classes, hand-written: splits, class lists, masks beside them, and everything that can be wrong."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from advcam.datasets.folder import ClassFolders
from advcam.errors import DatasetError, SettingError


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def write_mask(path, numbers, dtype=np.uint8):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(numbers, dtype=dtype)).save(path)


def test_without_splits(tmp_path):
    touch(tmp_path, "dog/2.png", "dog/10.JPG", "cat/deep/er/1.jpg", "cat/3.webp", "cat/notes.txt", "readme.jpg")
    touch(tmp_path, "masks/cat/3.png", ".hidden/1.jpg", "dog/.4.jpg", "dog/.git/5.jpg")
    dataset = ClassFolders(tmp_path)
    assert ClassFolders.fits(tmp_path)
    assert dataset.splits == ("all",)
    assert dataset.class_names == ("cat", "dog")
    assert list(dataset.ids("all")) == ["cat/3.webp", "cat/deep/er/1.jpg", "dog/10.JPG", "dog/2.png"]
    assert [sample.labels for sample in dataset.samples("all")] == [("cat",), ("cat",), ("dog",), ("dog",)]
    sample = dataset.sample("cat/deep/er/1.jpg")
    assert (sample.id, sample.path) == ("cat/deep/er/1.jpg", tmp_path / "cat/deep/er/1.jpg")
    assert dataset.boxes("dog/2.png") is None
    with pytest.raises(SettingError, match=r"has no split 'train'; its splits are: all$"):
        dataset.ids("train")


def test_with_splits_a_class_absent_from_one_and_an_empty_one(tmp_path):
    touch(tmp_path, "train/cat/1.jpg", "train/dog/2.jpg", "val/cat/1.jpg", "masks/train/cat/1.png")
    (tmp_path / "val/dog").mkdir()
    (tmp_path / "test").mkdir()
    dataset = ClassFolders(tmp_path)
    assert dataset.splits == ("train", "val", "test")
    assert dataset.class_names == ("cat", "dog")
    assert list(dataset.ids("train")) == ["train/cat/1.jpg", "train/dog/2.jpg"]
    assert list(dataset.ids("val")) == ["val/cat/1.jpg"]
    assert list(dataset.ids("test")) == []
    assert dataset.sample("val/cat/1.jpg").labels == ("cat",)


def test_class_that_is_named_like_a_split(tmp_path):
    touch(tmp_path, "train/1.jpg", "bus/1.jpg")
    dataset = ClassFolders(tmp_path)
    assert (dataset.splits, dataset.class_names) == (("all",), ("bus", "train"))


def test_folders_beside_splits(tmp_path):
    touch(tmp_path, "train/cat/1.jpg", "validation/cat/1.jpg")
    with pytest.raises(DatasetError) as caught:
        ClassFolders(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path} holds the split train and beside it the folder validation; put the folders of classes into "
        "those of splits, or give the folder of the split another name"
    )


@pytest.mark.parametrize("names", [(), ("1.jpg",), ("masks/1.jpg",), (".cat/1.jpg",), ("train/masks/1.jpg",)])
def test_no_folder_of_a_class(tmp_path, names):
    touch(tmp_path, *names)
    with pytest.raises(DatasetError, match=r"holds no folder of pictures; make one folder for each class$"):
        ClassFolders(tmp_path)


def test_folders_without_pictures_do_not_look_like_the_layout(tmp_path):
    touch(tmp_path, "cat/notes.txt")
    assert not ClassFolders.fits(tmp_path)
    assert not ClassFolders.fits(tmp_path / "absent")


def test_class_list_fixes_the_order(tmp_path):
    touch(tmp_path, "cat/1.jpg", "dog/1.jpg")
    (tmp_path / "classes.txt").write_text("dog\nemu\n\ncat\n")
    dataset = ClassFolders(tmp_path)
    assert dataset.class_names == ("dog", "emu", "cat")
    assert list(dataset.ids("all")) == ["dog/1.jpg", "cat/1.jpg"]
    assert dataset.class_id(dataset.sample("cat/1.jpg").labels[0]) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dog\n", r"/cat is the folder of no class in .*classes\.txt; add its name there$"),
        ("cat\n\ndog\ncat\n", r"classes\.txt, line 4: the class 'cat' is listed before; keep one of the lines$"),
        ("\n", r"classes\.txt names no class; write one name a line or remove the file$"),
    ],
)
def test_broken_class_list(tmp_path, text, message):
    touch(tmp_path, "cat/1.jpg", "dog/1.jpg")
    (tmp_path / "classes.txt").write_text(text)
    dataset = ClassFolders(tmp_path)
    for call in (lambda: dataset.class_names, lambda: dataset.ids("all"), lambda: dataset.sample("dog/1.jpg")):
        with pytest.raises(DatasetError, match=message):
            call()


def test_masks_mirror_the_pictures(tmp_path):
    touch(tmp_path, "train/cat/a.b.jpg", "train/dog/2.jpg")
    write_mask(tmp_path / "masks/train/cat/a.b.png", [[0, 1], [2, 255]])
    dataset = ClassFolders(tmp_path)
    mask = dataset.mask("train/cat/a.b.jpg")
    assert mask.dtype == np.int32
    assert mask.tolist() == [[0, 1], [2, 255]]
    assert dataset.mask("train/dog/2.jpg") is None


@pytest.mark.parametrize(("number", "dtype"), [(3, np.uint8), (254, np.uint8), (256, np.uint16)])
def test_mask_with_a_number_of_no_class(tmp_path, number, dtype):
    touch(tmp_path, "cat/1.jpg", "dog/1.jpg")
    write_mask(tmp_path / "masks/cat/1.png", [[0, number]], dtype)
    message = rf"masks/cat/1\.png holds the number {number}; a mask of 2 classes holds 0 to 2 and 255; correct the"
    with pytest.raises(DatasetError, match=message):
        ClassFolders(tmp_path).mask("cat/1.jpg")


def test_classes_above_255_need_masks_of_16_bits(tmp_path):
    touch(tmp_path, *(f"{number:03d}/1.jpg" for number in range(300)))
    write_mask(tmp_path / "masks/299/1.png", [[0, 300, 255]], np.uint16)
    assert ClassFolders(tmp_path).mask("299/1.jpg").tolist() == [[0, 300, 255]]


@pytest.mark.parametrize("id_", ["cat/../../s.jpg", "/etc/s.jpg", "cat\\..\\..\\s.jpg", "C:s", ""])
def test_ids_that_lead_out_of_the_root(tmp_path, id_):
    touch(tmp_path, "cat/1.jpg")
    for call in (ClassFolders(tmp_path).sample, ClassFolders(tmp_path).mask):
        with pytest.raises(DatasetError, match=r"names are paths inside the data set$"):
            call(id_)


@pytest.mark.parametrize(
    ("files", "id_", "message"),
    [
        (("cat/1.jpg",), "1.jpg", r"has no picture '1\.jpg'; pictures are CLASS/PICTURE$"),
        (("train/cat/1.jpg",), "cat/1.jpg", r"has no picture 'cat/1\.jpg'; pictures are SPLIT/CLASS/PICTURE$"),
        (("train/cat/1.jpg",), "val/cat/1.jpg", r"pictures are SPLIT/CLASS/PICTURE$"),
        (("cat/1.jpg",), "cart/1.jpg", r"^folders of classes has no class 'cart'; did you mean 'cat'\?$"),
    ],
)
def test_ids_of_no_picture(tmp_path, files, id_, message):
    touch(tmp_path, *files)
    with pytest.raises(DatasetError, match=message):
        ClassFolders(tmp_path).sample(id_)


def test_picture_that_is_absent_is_no_error(tmp_path):
    touch(tmp_path, "cat/1.jpg")
    assert ClassFolders(tmp_path).sample("cat/2.jpg").labels == ("cat",)


def test_name_that_is_not_utf_8(tmp_path, monkeypatch):
    touch(tmp_path, "cat/1.jpg")
    dataset = ClassFolders(tmp_path)
    monkeypatch.setattr(os, "walk", lambda folder, onerror: [(folder, [], [os.fsdecode(b"\xff.jpg")])])
    with pytest.raises(DatasetError, match=r"the name b'cat/\\xff\.jpg' below .* is not UTF-8; rename the file$"):
        list(dataset.ids("all"))


def test_folder_that_may_not_be_read(tmp_path, monkeypatch):
    touch(tmp_path, "cat/1.jpg")
    dataset = ClassFolders(tmp_path)

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DatasetError, match=r"/cat cannot be read \(Permission denied\); check its permissions$"):
        list(dataset.ids("all"))


def test_root_that_may_not_be_read(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(DatasetError, match=r" cannot be read \(Permission denied\); check its permissions$"):
        ClassFolders(tmp_path)
