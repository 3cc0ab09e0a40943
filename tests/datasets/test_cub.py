"""CUB-200-2011, hand-written: the id tables, boxes, outlines by the majority of five, and what can be wrong."""

import numpy as np
import pytest
from PIL import Image

from advcam.datasets.cub import CUB200
from advcam.errors import DatasetError, SettingError
from advcam.types import Box

LAYSAN, ANI = "002.Laysan_Albatross/Laysan_1.jpg", "001.Groove_billed_Ani/Ani_1.jpg"
TABLES = {
    "classes.txt": "1 001.Groove_billed_Ani\n2 002.Laysan_Albatross\n3 003.Sooty_Albatross\n",
    "images.txt": f"1 {LAYSAN}\n2 {ANI}\n",
    "image_class_labels.txt": "1 2\n2 1\n",
    "train_test_split.txt": "1 1\n2 0\n",
    "bounding_boxes.txt": "1 60.0 27.0 325.0 304.0\n2 0.0 0.4 1.6 2.3\n",
}


@pytest.fixture
def root(tmp_path):
    """Two pictures of three classes."""
    home = tmp_path / "CUB_200_2011"
    (home / "images").mkdir(parents=True)
    for name, text in TABLES.items():
        (home / name).write_text(text)
    return home


def write_shares(folder, shares, mode="L"):
    path = folder / "segmentations/002.Laysan_Albatross/Laysan_1.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(shares, dtype=np.uint8)).convert(mode).save(path)


def test_tables(root):
    dataset = CUB200(root)
    assert CUB200.fits(root)
    assert dataset.class_names == ("Groove_billed_Ani", "Laysan_Albatross", "Sooty_Albatross")
    assert dataset.splits == ("train", "test")
    assert list(dataset.ids("train")) == [LAYSAN]
    assert list(dataset.ids("test")) == [ANI]
    sample = dataset.sample(LAYSAN)
    assert (sample.id, sample.path, sample.labels) == (LAYSAN, root / "images" / LAYSAN, ("Laysan_Albatross",))
    with pytest.raises(SettingError, match=r"has no split 'val'; its splits are: train, test$"):
        dataset.ids("val")


def test_missing_table(root):
    (root / "bounding_boxes.txt").unlink()
    with pytest.raises(DatasetError, match=r"holds no CUB-200-2011: bounding_boxes\.txt is missing below it$"):
        CUB200(root)


def test_empty_split_and_ids_listed_twice(root):
    (root / "train_test_split.txt").write_text("1 1\n2 1\n1 1\n")
    assert list(CUB200(root).ids("train")) == [LAYSAN, ANI, LAYSAN]
    assert list(CUB200(root).ids("test")) == []


def test_boxes_are_rounded_and_half_open(root):
    # 60 + 325 = 385, 27 + 304 = 331; y = 0.4 and y + height = 2.7 round to 0 and 3, x + width = 1.6 to 2
    assert CUB200(root).boxes(LAYSAN) == (Box(1, 60, 27, 385, 331, 1.0),)
    assert CUB200(root).boxes(ANI) == (Box(0, 0, 0, 2, 3, 1.0),)


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_majority_of_five_makes_the_mask(root, beside, mode):
    write_shares(root.parent if beside else root, [[0, 51, 102], [153, 204, 255], [127, 128, 0]], mode)
    mask = CUB200(root).mask(LAYSAN)
    assert mask.dtype == np.int32
    assert mask.tolist() == [[0, 0, 0], [2, 2, 2], [0, 2, 0]]


def test_no_outline(root):
    assert CUB200(root).mask(LAYSAN) is None


def test_damaged_outline(root):
    write_shares(root, [[0, 255]])
    path = root / "segmentations/002.Laysan_Albatross/Laysan_1.png"
    path.write_bytes(path.read_bytes()[:30])
    with pytest.raises(DatasetError, match=r"Laysan_1\.png cannot be read as a mask .*; restore the file$"):
        CUB200(root).mask(LAYSAN)


@pytest.mark.parametrize(
    ("table", "text", "call", "message"),
    [
        ("train_test_split.txt", "1 1\n\n2\n", "ids", "train_test_split.txt, line 3: '2' has 1 fields; expected ima"),
        ("train_test_split.txt", "1 2\n", "ids", "train_test_split.txt, line 1: is-training is '2'; it is 1 or 0; "),
        ("train_test_split.txt", "3 1\n", "ids", "train_test_split.txt, line 1: images.txt has no image 3; restore"),
        ("images.txt", "1 a b\n", "ids", "images.txt, line 1: '1 a b' has 3 fields; expected image-id image-name; "),
        ("images.txt", f"1 {LAYSAN}\n1 {ANI}\n", "ids", "images.txt, line 2: image 1 is listed before with other valu"),
        ("images.txt", f"1 {ANI}\n", "sample", f"images.txt lists no picture {LAYSAN!r}; name one of its pictures"),
        ("classes.txt", "1 001.A\n3 003.B\n", "sample", "classes.txt, line 2: 3 003.B is not class 2; a line is NUMB"),
        ("classes.txt", "1 002.A\n", "sample", "classes.txt, line 1: 1 002.A is not class 1; "),
        ("classes.txt", "1 A\n", "sample", "classes.txt, line 1: 1 A is not class 1; "),
        ("image_class_labels.txt", "2 1\n", "sample", "image_class_labels.txt, image 1: the class is missing; classe"),
        ("image_class_labels.txt", "1 4\n", "mask", "image_class_labels.txt, image 1: the class is 4; classes.txt has"),
        ("image_class_labels.txt", "1 x\n", "boxes", "image_class_labels.txt, image 1: the class is x; classes.txt h"),
        ("image_class_labels.txt", "1 0\n", "sample", "image_class_labels.txt, image 1: the class is 0; classes.txt "),
        (
            *("image_class_labels.txt", "1 3\n", "sample"),
            f"image_class_labels.txt, image 1: the class is 003.Sooty_Albatross, but the picture is {LAYSAN}; correct",
        ),
        ("bounding_boxes.txt", "2 1 1 1 1\n", "boxes", "bounding_boxes.txt has no line for image 1; restore the file"),
        ("bounding_boxes.txt", "1 1 1 1\n", "boxes", "bounding_boxes.txt, line 1: '1 1 1 1' has 4 fields; expected "),
        ("bounding_boxes.txt", "1 1 1 a 1\n", "boxes", "bounding_boxes.txt, image 1: 1 1 a 1 is no x y width height "),
        ("bounding_boxes.txt", "1 1 1 nan 1\n", "boxes", "bounding_boxes.txt, image 1: 1 1 nan 1 is no x y width"),
        ("bounding_boxes.txt", "1 -1 1 9 1\n", "boxes", "bounding_boxes.txt, image 1: -1 1 9 1 is no x y width"),
        ("bounding_boxes.txt", "1 1 1 0.3 9\n", "boxes", "bounding_boxes.txt, image 1: the box 1 1 0.3 9 holds no pi"),
        ("bounding_boxes.txt", "1 1 1 9 -2\n", "boxes", "bounding_boxes.txt, image 1: the box 1 1 9 -2 holds no pi"),
    ],
)
def test_broken_tables(root, table, text, call, message):
    (root / table).write_text(text)
    dataset = CUB200(root)
    with pytest.raises(DatasetError) as caught:
        list(dataset.ids("train")) if call == "ids" else getattr(dataset, call)(LAYSAN)
    assert str(caught.value).startswith(f"{root}/{message}")


def test_a_broken_label_is_an_error_of_that_picture_alone(root):
    (root / "image_class_labels.txt").write_text("1 2\n2 9\n")
    assert CUB200(root).sample(LAYSAN).labels == ("Laysan_Albatross",)
    with pytest.raises(DatasetError, match=r"image 2: the class is 9"):
        CUB200(root).sample(ANI)


def test_picture_outside_of_the_root(root):
    name = "002.Laysan_Albatross/../../../secret.jpg"
    (root / "images.txt").write_text(f"1 {name}\n")
    for call in (CUB200(root).sample, CUB200(root).mask):
        with pytest.raises(DatasetError, match=r"names are paths inside the data set$"):
            call(name)


def test_table_that_vanished_or_is_a_folder(root):
    dataset = CUB200(root)
    (root / "images.txt").unlink()
    with pytest.raises(DatasetError, match=r"images\.txt is missing; restore it or name another root folder$"):
        dataset.sample(LAYSAN)
    (root / "images.txt").mkdir()
    with pytest.raises(DatasetError, match=r"images\.txt cannot be read \(Is a directory\); check its permissions$"):
        dataset.sample(LAYSAN)
