"""COCO instances and results: exact, as pycocotools and supervision read them."""

import contextlib
import io
import json
from dataclasses import replace

import numpy as np
import pytest
import supervision as sv
from annotated_pictures import CLASSES, annotated, contents, export, label_masks, round_trip, scene
from hypothesis import given, settings
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from advcam.errors import DatasetError, SettingError
from advcam.export.coco import Coco, CocoPolygons, CocoResults

INSTANCES = pytest.mark.parametrize("format_", [Coco(), CocoPolygons()], ids=lambda one: one.name)


def coco_of(path):
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(path)


def pictures(folder):
    return [
        annotated(np.zeros((30, 20)), folder, "empty.png"),
        annotated(scene(), folder, "deep/er/scene.png", labels=(1, 3)),
        annotated(scene()[::-1], folder, "it's “quoted” & ünï.png"),
    ]


@INSTANCES
@settings(max_examples=60, deadline=None)
@given(mask=label_masks())
def test_masks_come_back(format_, mask):
    found = round_trip(format_, mask)
    assert (found.mask == mask).all()
    assert found.name == "a.png"
    assert found.names == CLASSES


@INSTANCES
def test_pycocotools_sees_the_masks(format_, tmp_path):
    made = pictures(tmp_path)
    coco = coco_of(export(format_, made, tmp_path / "out") / "annotations/instances_default.json")
    for id_, picture in enumerate(made, 1):
        assert coco.imgs[id_]["file_name"] == picture.id
        height, width = picture.size
        seen = np.zeros((height, width), dtype=int)
        annotations = coco.imgToAnns[id_]
        for entry in annotations:
            pixels = coco.annToMask(entry).astype(bool)
            assert entry["area"] == pixels.sum()
            rows, columns = np.nonzero(pixels)
            x, y = columns.min(), rows.min()
            assert entry["bbox"] == [x, y, columns.max() + 1 - x, rows.max() + 1 - y]
            seen[pixels] = entry["category_id"]
            assert entry["iscrowd"] == (entry["category_id"] == 255)
        assert (seen == picture.mask).all()
        assert sum(not entry["iscrowd"] for entry in annotations) == len(picture.objects)
    assert {one["id"]: one["name"] for one in coco.cats.values()} == {**CLASSES, 255: "undecided"}


def test_undecided_pixels_are_a_crowd_of_a_category_of_their_own(tmp_path):
    coco = coco_of(export(Coco(), pictures(tmp_path), tmp_path / "out") / "annotations/instances_default.json")
    crowds = [(entry["image_id"], entry["category_id"]) for entry in coco.anns.values() if entry["iscrowd"]]
    assert crowds == [(2, 255), (3, 255)]
    decided = [annotated(np.ones((3, 4)), tmp_path, "decided.png")]
    coco = coco_of(export(Coco(), decided, tmp_path / "decided") / "annotations/instances_default.json")
    assert list(coco.cats) == [1, 2, 3]


@INSTANCES
def test_ids_without_an_extension_get_that_of_their_file(format_, tmp_path):
    """As those of PASCAL VOC; trainers look for the file."""
    made = annotated(scene(), tmp_path, "JPEGImages/2007_000032.jpg")
    made = replace(made, id="2007_000032", name="2007_000032")
    assert made.file_name == "2007_000032.jpg"
    out = export(format_, [made], tmp_path / "out")
    assert coco_of(out / "annotations/instances_default.json").imgs[1]["file_name"] == "2007_000032.jpg"
    (found,) = format_.read(out, CLASSES)
    assert found.name == "2007_000032.jpg"


@INSTANCES
def test_results_against_the_instances_have_an_ap_of_1(format_, tmp_path):
    made = pictures(tmp_path)
    truth = coco_of(export(format_, made, tmp_path / "out") / "annotations/instances_default.json")
    results = json.loads((export(CocoResults(), made, tmp_path / "results") / "results.json").read_text("utf-8"))
    assert {entry["file_name"] for entry in results} == {picture.id for picture in made[1:]}
    for kind in ("segm", "bbox"):
        with contextlib.redirect_stdout(io.StringIO()):
            scores = COCOeval(truth, truth.loadRes(results), kind)
            scores.evaluate()
            scores.accumulate()
            scores.summarize()
        assert scores.stats[0] == pytest.approx(1), kind


def test_supervision_loads_pictures_without_objects_too(tmp_path):
    made = pictures(tmp_path / "in")
    out = export(Coco(), made, tmp_path / "out")
    data = sv.DetectionDataset.from_coco(
        str(tmp_path / "in"), str(out / "annotations/instances_default.json"), force_masks=True
    )
    assert list(data.classes) == [*CLASSES.values(), "undecided"]
    assert len(data) == 3
    for (_, _, detections), picture in zip(data, made, strict=True):
        decided = detections[detections.data["iscrowd"] == 0] if len(detections) else detections
        assert len(decided) == len(picture.objects)
        seen = np.zeros(picture.size, dtype=int)
        for pixels, class_id in zip(decided.mask if len(decided) else [], decided.class_id, strict=True):
            seen[pixels] = class_id + 1
        assert (seen == np.where(picture.mask == 255, 0, picture.mask)).all()


def test_no_class_no_picture(tmp_path):
    out = export(Coco(), [], tmp_path / "out", {})
    assert coco_of(out / "annotations/instances_default.json").dataset == {
        "annotations": [],
        "images": [],
        "categories": [],
    }
    assert json.loads((export(CocoResults(), [], tmp_path / "results") / "results.json").read_text()) == []


@pytest.mark.parametrize("format_", [Coco(), CocoPolygons(), CocoResults()], ids=lambda one: one.name)
def test_the_same_pictures_make_the_same_bytes(format_, tmp_path):
    first, second = (contents(export(format_, pictures(tmp_path), tmp_path / name)) for name in ("a", "b"))
    assert first == second


NAMED = ({"id": 7, "name": "dog"}, {"id": 0, "name": "cat"}, {"id": 9, "name": "undecided"})


def written(folder, annotations, categories=NAMED):
    content = {
        "images": [{"id": 4, "file_name": "x.jpg", "width": 6, "height": 4}],
        "categories": list(categories),
        "annotations": [
            {"id": number, "image_id": 4, "category_id": 7, "iscrowd": 0} | entry
            for number, entry in enumerate(annotations, 1)
        ],
    }
    (folder / "annotations").mkdir()
    path = folder / "annotations/instances_default.json"
    path.write_text(json.dumps(content))
    return path


SQUARE = {"segmentation": [[0, 0, 3, 0, 3, 3, 0, 3]]}


def test_what_tools_write_is_read(tmp_path):
    runs = {"size": [4, 6], "counts": [0, 1, 23]}
    undecided = {"segmentation": {"size": [4, 6], "counts": [0, 24]}, "category_id": 9}
    small = {"segmentation": [[1, 1, 2, 1, 2, 2, 1, 2], [4, 0, 5, 0, 5, 1, 4, 1]], "category_id": 0}
    path = written(tmp_path, [small, SQUARE, {"segmentation": runs, "iscrowd": 1}, undecided])
    for where in (tmp_path, path):
        (found,) = Coco().read(where, {1: "cat", 2: "dog"})
        assert found.name == "x.jpg"
        assert found.names == {1: "cat", 2: "dog"}
        assert found.mask.tolist() == [
            [2, 2, 2, 255, 1, 255],
            [2, 1, 2, 255, 255, 255],
            [2, 2, 2, 255, 255, 255],
            [255] * 6,
        ]


def test_classes_that_the_run_has_not_get_numbers_of_their_own(tmp_path):
    written(tmp_path, [SQUARE], [{"id": 7, "name": "wolf"}, {"id": 3, "name": "background"}])
    (found,) = Coco().read(tmp_path, {300: "cat"})
    assert found.names == {301: "wolf"}
    assert sorted(np.unique(found.mask)) == [0, 301]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            {"segmentation": []},
            "instances_default.json, annotation 1: the segmentation is neither polygons nor run lengths",
        ),
        ({"segmentation": [[0, 0, 1, 1]]}, "annotation 1: a polygon has 4 numbers"),
        ({"segmentation": {"size": [9, 9], "counts": [81]}}, "annotation 1: run lengths of size [9, 9]"),
        ({**SQUARE, "category_id": 5}, "annotation 1: there is no category 5"),
    ],
)
def test_what_is_broken_is_named(tmp_path, entry, message):
    written(tmp_path, [entry])
    with pytest.raises(DatasetError) as error:
        list(Coco().read(tmp_path, CLASSES))
    assert message in str(error.value)


def test_a_folder_without_annotations(tmp_path):
    (tmp_path / "advcam-export.json").write_text("{}")
    with pytest.raises(DatasetError, match=r"holds no annotations/instances\*.json and no other JSON"):
        list(Coco().read(tmp_path, CLASSES))


@pytest.mark.parametrize("format_", [Coco(), CocoPolygons(), CocoResults()], ids=lambda one: one.name)
def test_names_that_do_not_tell_the_classes_apart(format_):
    with pytest.raises(SettingError, match="the name of class 1, 'cat', is that of another class too"):
        format_.check({1: "cat", 2: "cat"})
