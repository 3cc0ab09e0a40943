"""PASCAL VOC: masks exact, boxes as VOC counts them, palettes and colours of other tools."""

from xml.etree import ElementTree as ET

import numpy as np
import pytest
import supervision as sv
from annotated_pictures import annotated, contents, export, label_masks, round_trip, scene
from hypothesis import given, settings
from PIL import Image

from advcam.colours import voc_palette
from advcam.errors import DatasetError, SettingError
from advcam.export.voc import Voc

NAMES = {1: "cat", 2: "dog's & <friends>", 3: "鳥"}


def pictures(folder):
    return [annotated(np.zeros((5, 4)), folder, "empty.png"), annotated(scene(), folder, "deep/er/it's <one> & 鳥.png")]


@settings(max_examples=60, deadline=None)
@given(mask=label_masks())
def test_masks_come_back(mask):
    found = round_trip(Voc(), mask, NAMES, "deep/a b.png")
    assert (found.mask == mask).all()
    assert found.name == "deep/a b"
    assert found.names == NAMES


def test_254_classes(tmp_path):
    names = {number: f"class {number}" for number in range(1, 255)}
    mask = np.arange(256).reshape(16, 16)
    (found,) = Voc().read(export(Voc(), [annotated(mask, tmp_path)], tmp_path / "out", names), names)
    assert (found.mask == mask).all()


def test_the_files_are_those_of_the_devkit(tmp_path):
    out = export(Voc(), pictures(tmp_path), tmp_path / "out", NAMES)
    picture = pictures(tmp_path)[1]
    with Image.open(out / f"SegmentationClass/{picture.name}.png") as image:
        assert image.mode == "P"
        assert (np.array(image.getpalette()).reshape(-1, 3) == voc_palette()).all()
        assert (np.asarray(image) == picture.mask).all()
    for task in ("Segmentation", "Main"):
        assert (out / f"ImageSets/{task}/trainval.txt").read_text("utf-8") == "empty\ndeep/er/it's <one> & 鳥\n"
    assert "undecided:224,224,192::" in (out / "labelmap.txt").read_text("utf-8")
    root = ET.parse(out / f"Annotations/{picture.name}.xml").getroot()
    assert (root.findtext("folder"), root.findtext("filename")) == ("deep/er", "it's <one> & 鳥.png")
    assert [root.findtext(f"size/{key}") for key in ("width", "height", "depth")] == ["50", "40", "3"]
    numbers = np.asarray(Image.open(out / f"SegmentationObject/{picture.name}.png"))
    assert ((numbers == 255) == (picture.mask == 255)).all()
    assert ((numbers == 0) == (picture.mask == 0)).all()
    objects = root.findall("object")
    assert len(objects) == numbers[numbers < 255].max() == len(picture.objects)
    for number, element in enumerate(objects, 1):
        pixels = numbers == number
        rows, columns = np.nonzero(pixels)
        box = [int(element.findtext(f"bndbox/{key}")) for key in ("xmin", "ymin", "xmax", "ymax")]
        assert box == [columns.min() + 1, rows.min() + 1, columns.max() + 1, rows.max() + 1]
        assert {NAMES[value] for value in picture.mask[pixels]} == {element.findtext("name")}


def test_more_objects_than_a_palette_has_numbers(tmp_path):
    mask = np.zeros((40, 60), dtype=np.int32)
    mask[::2, ::2] = 1
    out = export(Voc(), [annotated(mask, tmp_path)], tmp_path / "out", NAMES)
    numbers = np.asarray(Image.open(out / "SegmentationObject/a.png"))
    assert sorted(np.unique(numbers)) == [number for number in range(602) if number != 255]


def test_supervision_loads_the_boxes(tmp_path):
    made = [annotated(np.zeros((5, 4)), tmp_path / "in", "empty.png"), annotated(scene(), tmp_path / "in", "scene.png")]
    out = export(Voc(), made, tmp_path / "out", NAMES)
    data = sv.DetectionDataset.from_pascal_voc(str(tmp_path / "in"), str(out / "Annotations"))
    (_, _, nothing), (_, _, found) = data
    assert len(nothing) == 0
    assert len(found) == len(made[1].objects)
    boxes = sorted((NAMES[one.class_id + 1], *sides(one.mask)) for one in made[1].objects)
    assert (
        sorted((data.classes[id_], *map(int, box)) for id_, box in zip(found.class_id, found.xyxy, strict=True))
        == boxes
    )


def sides(mask):
    rows, columns = np.nonzero(mask)
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


def test_the_same_pictures_make_the_same_bytes(tmp_path):
    first, second = (contents(export(Voc(), pictures(tmp_path), tmp_path / name, NAMES)) for name in ("a", "b"))
    assert first == second


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ({300: "cat"}, "holds class numbers up to 254, but the run has 300"),
        ({1: "a:b"}, "cannot hold the name of class 'a:b': labelmap.txt separates by ':'"),
        ({1: "#a"}, "cannot hold the name of class '#a'"),
        ({1: "background"}, "has a background already"),
        ({1: "cat", 2: "cat "}, "is that of another class too"),
        ({1: "a\x07"}, "control characters"),
    ],
)
def test_classes_that_it_cannot_hold(classes, message):
    with pytest.raises(SettingError) as error:
        Voc().check(classes)
    assert message in str(error.value)


def test_a_name_with_control_characters_is_refused(tmp_path):
    with pytest.raises(SettingError, match="its name has control characters"):
        export(Voc(), [annotated(scene(), tmp_path, "a\nb.png")], tmp_path / "out", NAMES)


def tool_folder(folder, image, labels=None):
    (folder / "SegmentationClass").mkdir(parents=True)
    image.save(folder / "SegmentationClass/a.png")
    if labels:
        (folder / "labelmap.txt").write_text(labels, "utf-8")
    return folder


LABELS = "# label:color_rgb:parts:actions\nbackground:0,0,0::\ndog:250,50,83::\nbig: wolf:10,20,30::\n"


def test_colours_of_cvat(tmp_path):
    colours = np.array([[(0, 0, 0), (250, 50, 83), (10, 20, 30), (224, 224, 192)]], dtype=np.uint8)
    (found,) = Voc().read(tool_folder(tmp_path, Image.fromarray(colours), LABELS), {1: "cat", 2: "dog"})
    assert found.mask.tolist() == [[0, 2, 256, 255]]
    assert found.names == {2: "dog", 256: "big: wolf"}


def test_the_label_undecided_may_have_any_colour(tmp_path):
    colours = np.array([[(0, 0, 0), (250, 50, 83), (1, 2, 3)]], dtype=np.uint8)
    (found,) = Voc().read(tool_folder(tmp_path, Image.fromarray(colours), LABELS + "undecided:1,2,3::\n"), {2: "dog"})
    assert found.mask.tolist() == [[0, 2, 255]]


def test_a_palette_counts_by_its_colours_where_there_are_labels(tmp_path):
    image = Image.fromarray(np.array([[5, 6]], dtype=np.uint8))
    image.putpalette([0] * 15 + [250, 50, 83] + [10, 20, 30])
    (found,) = Voc().read(tool_folder(tmp_path, image, LABELS), {1: "cat", 2: "dog"})
    assert found.mask.tolist() == [[2, 256]]


def test_greyscale_holds_lines_of_the_labels(tmp_path):
    image = Image.fromarray(np.array([[0, 1, 2, 255]], dtype=np.uint8))
    (found,) = Voc().read(tool_folder(tmp_path, image, LABELS), {1: "cat", 2: "dog"})
    assert found.mask.tolist() == [[0, 2, 256, 255]]


@pytest.mark.parametrize("mode", ["L", "P", "RGB"])
def test_without_labels_numbers_are_those_of_the_run(tmp_path, mode):
    image = Image.fromarray(np.array([[0, 1, 3, 255]], dtype=np.uint8))
    if mode != "L":
        image.putpalette(voc_palette().tobytes())
    (found,) = Voc().read(tool_folder(tmp_path, image.convert(mode)), NAMES)
    assert found.mask.tolist() == [[0, 1, 3, 255]]
    assert found.names == NAMES


@pytest.mark.parametrize(
    ("mode", "labels", "message"),
    [
        ("RGB", LABELS, "a.png holds the colour #010203, which stands for nothing in labelmap.txt"),
        ("L", None, "a.png holds the number 9, which stands for nothing in labelmap.txt"),
        ("LA", None, "is a picture of mode LA"),
        ("RGB", "cat:1,2:::\n", "labelmap.txt, line 1: 'cat:1,2:::' is no label"),
        ("RGB", "cat:1,2,300::\n", "is no label; a line is name:red,green,blue:parts:actions"),
    ],
)
def test_what_is_broken_is_named(tmp_path, mode, labels, message):
    image = Image.new(mode, (2, 2), {"RGB": (1, 2, 3), "L": 9, "LA": (9, 9)}[mode])
    with pytest.raises(DatasetError) as error:
        list(Voc().read(tool_folder(tmp_path, image, labels), NAMES))
    assert message in str(error.value)


def test_a_folder_without_masks(tmp_path):
    with pytest.raises(DatasetError, match="holds no SegmentationClass with masks as PNG"):
        list(Voc().read(tmp_path, NAMES))
