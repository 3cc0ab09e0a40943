"""YOLO: masks exact for readers that cut and readers that round, boxes, and files of other tools."""

import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import supervision as sv
import yaml
from annotated_pictures import CLASSES, annotated, contents, export, label_masks, round_trip, scene
from hypothesis import given, settings
from PIL import Image

from advcam.errors import DatasetError, SettingError
from advcam.export.yolo import Yolo, YoloBoxes

NAMES = {1: "cat", 7: "no", 300: 'it\'s: "a" {dog} #1 & 鳥'}


def pictures(folder):
    mask = scene()
    mask[mask == 2], mask[mask == 3] = 7, 300
    return [
        annotated(np.zeros((5, 4)), folder, "empty.png"),
        annotated(mask, folder, "scene.PNG"),
        annotated(mask[::-1], folder, "a b/it's 鳥.png"),
    ]


def decided(mask):
    return np.where(mask == 255, 0, mask)


def literal(folder, to_pixels):
    """Class and pixels of each line, and names, as the documentation of the format has them."""
    names = yaml.safe_load((folder / "data.yaml").read_text("utf-8"))["names"]
    found = {}
    for line in (folder / "images.txt").read_text("utf-8").splitlines():
        picture = folder / line.removeprefix("./")
        width, height = Image.open(picture).size
        labels = folder / "labels" / picture.relative_to(folder / "images").with_suffix(".txt")
        found[line] = []
        for row in labels.read_text().splitlines():
            class_, *shares = row.split()
            points = np.array(shares, dtype=float).reshape(-1, 2) * (width, height)
            assert len(points) >= 3
            drawn = np.zeros((height, width), dtype=np.uint8)
            cv2.fillPoly(drawn, [to_pixels(points).astype(np.int32)], 1)
            found[line].append((names[int(class_)], drawn.astype(bool)))
    return found, names


@settings(max_examples=60, deadline=None)
@given(mask=label_masks())
def test_masks_come_back_but_for_undecided_pixels(mask):
    found = round_trip(Yolo(), mask, id_="deep/a b.png")
    assert (found.mask == decided(mask)).all()
    assert found.name == "deep/a b"
    assert found.names == CLASSES


@pytest.mark.parametrize("to_pixels", [np.floor, np.round], ids=["cut", "round"])
def test_a_literal_parser_sees_the_masks(tmp_path, to_pixels):
    made = pictures(tmp_path / "in")
    found, names = literal(export(Yolo(), made, tmp_path / "out", NAMES), to_pixels)
    assert names == dict(enumerate(NAMES.values()))
    assert list(found) == ["./images/empty.png", "./images/scene.png", "./images/a b/it's 鳥.png"]
    for rows, picture in zip(found.values(), made, strict=True):
        assert len(rows) == len(picture.objects)
        seen = np.zeros(picture.size, dtype=int)
        for name, pixels in rows:
            seen[pixels] = {name: number for number, name in NAMES.items()}[name]
        assert (seen == decided(picture.mask)).all()


@settings(max_examples=40, deadline=None)
@given(mask=label_masks((0, 1)))
def test_boxes_are_those_of_the_objects(mask):
    with tempfile.TemporaryDirectory() as folder:
        picture = annotated(mask, Path(folder, "in"))
        out = export(YoloBoxes(), [picture], Path(folder, "out"))
        rows = [list(map(float, row.split())) for row in (out / "labels/a.txt").read_text().splitlines()]
    height, width = picture.size
    seen = []
    for class_, x, y, wide, high in rows:
        assert class_ == 0
        seen.append([(x - wide / 2) * width, (y - high / 2) * height, (x + wide / 2) * width, (y + high / 2) * height])
    boxes = []
    for one in picture.objects:
        rows, columns = np.nonzero(one.mask)
        boxes.append([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    assert np.allclose(np.array(seen).reshape(-1, 4), np.array(boxes).reshape(-1, 4), atol=1e-3)


def test_supervision_loads_masks_and_boxes(tmp_path):
    made = pictures(tmp_path / "in")[:2]  # it does not look into folders
    out = export(Yolo(), made, tmp_path / "out", NAMES)
    places = [str(out / name) for name in ("images", "labels", "data.yaml")]
    data = sv.DetectionDataset.from_yolo(*places, force_masks=True)
    assert list(data.classes) == list(NAMES.values())
    loaded = {Path(path).stem: found for path, _, found in data}
    for picture in made:
        found, seen = loaded[picture.name], np.zeros(picture.size, dtype=int)
        for pixels, class_id in zip(found.mask if len(found) else [], found.class_id, strict=True):
            seen[pixels] = list(NAMES)[class_id]
        assert (seen == decided(picture.mask)).all()
    boxes = export(YoloBoxes(), made, tmp_path / "boxes", NAMES)
    data = sv.DetectionDataset.from_yolo(*(str(boxes / name) for name in ("images", "labels", "data.yaml")))
    assert {Path(path).stem: len(found) for path, _, found in data} == {"empty": 0, "scene": len(made[1].objects)}


@pytest.mark.parametrize("format_", [Yolo(), YoloBoxes()], ids=lambda one: one.name)
def test_the_same_pictures_make_the_same_bytes(format_, tmp_path):
    first, second = (contents(export(format_, pictures(tmp_path), tmp_path / name, NAMES)) for name in ("a", "b"))
    assert first == second
    assert first["images/empty.png"] == (tmp_path / "empty.png").read_bytes()


def tool_folder(folder, labels="0 0 0 0.5 0 0.5 0.5 0 0.5\n", names="names: [dog, cat]", split="train"):
    for kind in ("images", "labels"):
        (folder / split / kind).mkdir(parents=True)
    Image.new("RGB", (10, 8)).save(folder / split / "images/a.jpg")
    (folder / split / "labels/a.txt").write_text(labels)
    (folder / "data.yaml").write_text(names)
    return folder


def test_splits_scores_and_overlaps_of_tools(tmp_path):
    small = "1 0.1 0.125 0.2 0.125 0.2 0.25 0.9\n"
    (found,) = Yolo().read(tool_folder(tmp_path, small + "0 0 0 0.5 0 0.5 0.5 0 0.5\n"), {1: "cat", 2: "dog"})
    expected = np.zeros((8, 10), dtype=int)
    expected[:5, :6] = 2
    expected[1, 1:3] = expected[2, 2] = 1
    assert (found.mask == expected).all()


def test_classes_txt_names_the_classes_of_label_studio(tmp_path):
    folder = tool_folder(tmp_path, split=".")
    (folder / "data.yaml").unlink()
    (folder / "classes.txt").write_text("big dog\ncat\n")
    (found,) = Yolo().read(folder, {1: "cat"})
    assert found.names == {256: "big dog", 1: "cat"}
    assert sorted(np.unique(found.mask)) == [0, 256]


def test_pictures_that_lie_on_their_side_are_read_as_they_are_seen(tmp_path):
    folder = tool_folder(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (10, 8)).save(folder / "train/images/a.jpg", exif=exif)
    (found,) = Yolo().read(folder, CLASSES)
    assert found.mask.shape == (10, 8)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("\n2 0 0 1 0 1 1\n", "a.txt, line 2: the class '2' is none of the 2 in data.yaml"),
        ("x 0 0 1 0 1 1\n", "line 1: the class 'x' is none of the 2"),
        ("0 0.5 0.5 1 1\n", "line 1: a line of masks is a class and at least 3 points x y; draw polygons, not boxes"),
        ("0 0 0 1 0 1 a\n", "line 1: could not convert string to float: 'a'"),
        ("0 0 0 1 0 1 nan\n", "line 1: a point lies far outside of the picture"),
        ("0 0 0 1 0 1 1e9\n", "line 1: a point lies far outside of the picture"),
    ],
)
def test_what_is_broken_is_named(tmp_path, labels, message):
    with pytest.raises(DatasetError) as error:
        list(Yolo().read(tool_folder(tmp_path, labels), CLASSES))
    assert message in str(error.value)


@pytest.mark.parametrize(
    "names", ["names: 3", "[", "- a", "names: {1: dog}", "names: [[a]]", "names: !!python/name:os.x"]
)
def test_names_that_are_none(tmp_path, names):
    with pytest.raises(DatasetError, match=r"data\.yaml does not name the classes"):
        list(Yolo().read(tool_folder(tmp_path, names=names), CLASSES))


def test_what_is_missing_is_named(tmp_path):
    folder = tool_folder(tmp_path)
    (folder / "train/images/a.jpg").write_bytes(b"no picture")
    with pytest.raises(DatasetError, match=r"a\.jpg cannot be read as a picture"):
        list(Yolo().read(folder, CLASSES))
    (folder / "train/images/a.jpg").unlink()
    with pytest.raises(DatasetError, match=r"there is no picture .*images/a\.jpg or the like"):
        list(Yolo().read(folder, CLASSES))
    (folder / "train/labels/a.txt").unlink()
    with pytest.raises(DatasetError, match="holds no folder `labels` with"):
        list(Yolo().read(folder, CLASSES))


@pytest.mark.parametrize("format_", [Yolo(), YoloBoxes()], ids=lambda one: one.name)
def test_names_that_do_not_tell_the_classes_apart(format_):
    with pytest.raises(SettingError, match="the name of class 1, 'cat', is that of another class too"):
        format_.check({1: "cat", 2: "cat"})
