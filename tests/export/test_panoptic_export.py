"""COCO panoptic: exact, background and undecided pixels included, against a literal decoder of the specification."""

import json

import numpy as np
import pytest
from annotated_pictures import CLASSES, annotated, contents, export, label_masks, round_trip, scene
from hypothesis import given, settings
from PIL import Image

from advcam.errors import DatasetError, SettingError
from advcam.export.panoptic import Panoptic


def pictures(folder):
    return [annotated(np.zeros((5, 4)), folder, "empty.png"), annotated(scene(), folder, "deep/er/鳥 & scene.png")]


@settings(max_examples=60, deadline=None)
@given(mask=label_masks())
def test_masks_come_back(mask):
    found = round_trip(Panoptic(), mask, id_="deep/a b.png")
    assert (found.mask == mask).all()
    assert found.name == "deep/a b.png"
    assert found.names == CLASSES


def test_hundreds_of_segments(tmp_path):
    mask = np.zeros((40, 60), dtype=np.int32)
    mask[::2, ::2] = np.arange(600).reshape(20, 30) % 3 + 1
    out = export(Panoptic(), [annotated(mask, tmp_path)], tmp_path / "out")
    assert (
        len(json.loads((out / "annotations/panoptic_default.json").read_text())["annotations"][0]["segments_info"])
        == 601
    )
    (found,) = Panoptic().read(out, CLASSES)
    assert (found.mask == mask).all()


def test_a_literal_decoder_finds_each_segment(tmp_path):
    made = pictures(tmp_path)
    out = export(Panoptic(), made, tmp_path / "out")
    content = json.loads((out / "annotations/panoptic_default.json").read_text("utf-8"))
    categories = {one["id"]: one for one in content["categories"]}
    assert categories[4] == {"id": 4, "name": "background", "supercategory": "", "isthing": 0}
    assert {id_: one["name"] for id_, one in categories.items() if one["isthing"]} == CLASSES
    assert [one["file_name"] for one in content["images"]] == [picture.id for picture in made]
    for image, annotation, picture in zip(content["images"], content["annotations"], made, strict=True):
        assert annotation["image_id"] == image["id"]
        colours = np.asarray(Image.open(out / "annotations/panoptic_default" / annotation["file_name"])).astype(int)
        ids = colours[..., 0] + colours[..., 1] * 256 + colours[..., 2] * 256**2
        seen = np.where(ids == 0, 255, -1)
        assert len({one["id"] for one in annotation["segments_info"]}) == len(annotation["segments_info"])
        for segment in annotation["segments_info"]:
            pixels = ids == segment["id"]
            rows, columns = np.nonzero(pixels)
            x, y = columns.min(), rows.min()
            assert segment["area"] == pixels.sum()
            assert segment["iscrowd"] == 0
            assert segment["bbox"] == [x, y, columns.max() + 1 - x, rows.max() + 1 - y]
            seen[pixels] = segment["category_id"] % 4
        assert (seen == picture.mask).all()


def test_the_same_pictures_make_the_same_bytes(tmp_path):
    first, second = (contents(export(Panoptic(), pictures(tmp_path), tmp_path / name)) for name in ("a", "b"))
    assert first == second


def written(folder, segments, colour=(2, 1, 0), categories=None):
    """As the COCO data set has it: panoptic_val.json with panoptic_val/000.png."""
    (folder / "annotations/panoptic_val").mkdir(parents=True)
    Image.new("RGB", (3, 2), colour).save(folder / "annotations/panoptic_val/000.png")
    content = {
        "images": [{"id": 9, "file_name": "000.jpg"}],
        "categories": categories
        or [{"id": 18, "name": "dog", "isthing": 1}, {"id": 200, "name": "grass", "isthing": 0}],
        "annotations": [{"image_id": 9, "file_name": "000.png", "segments_info": segments}],
    }
    (folder / "annotations/panoptic_val.json").write_text(json.dumps(content))


def test_cocos_own_files_are_read(tmp_path):
    written(tmp_path, [{"id": 258, "category_id": 200}])
    (found,) = Panoptic().read(tmp_path, {1: "cat", 2: "dog"})
    assert found.name == "000.jpg"
    assert found.mask.tolist() == [[256] * 3] * 2
    assert found.names == {2: "dog", 256: "grass"}


@pytest.mark.parametrize(
    ("segments", "message"),
    [
        ([], "000.png holds the segment 258, which stands for nothing in its JSON"),
        (None, "panoptic_val.json, annotation 1: a segment has an id from 1 to 16777215"),
        ([{"id": 258, "category_id": 3}], 'one is {"id": 258, "category_id": 3}'),
        ([{"id": "a", "category_id": 18}], "annotation 1: a segment has an id"),
    ],
)
def test_what_is_broken_is_named(tmp_path, segments, message):
    written(tmp_path, segments)
    with pytest.raises(DatasetError) as error:
        list(Panoptic().read(tmp_path, CLASSES))
    assert message in str(error.value)


def test_files_that_are_no_panoptic_export(tmp_path):
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(DatasetError, match="has no list 'categories' of objects"):
        list(Panoptic().read(tmp_path, CLASSES))
    written(tmp_path, [])
    (tmp_path / "annotations/panoptic_val/000.png").unlink()
    with pytest.raises(DatasetError, match=r"000\.png is missing"):
        list(Panoptic().read(tmp_path, CLASSES))
    Image.new("L", (3, 2)).save(tmp_path / "annotations/panoptic_val/000.png")
    with pytest.raises(DatasetError, match="is a picture of mode L; panoptic PNGs hold ids as RGB"):
        list(Panoptic().read(tmp_path, CLASSES))


@pytest.mark.parametrize(
    ("classes", "message"),
    [({1: "background"}, "has a background already"), ({1: "cat", 2: "cat"}, "is that of another class too")],
)
def test_classes_that_it_cannot_hold(classes, message):
    with pytest.raises(SettingError, match=message):
        Panoptic().check(classes)


def test_names_stay_inside(tmp_path):
    written(tmp_path, [])
    path = tmp_path / "annotations/panoptic_val.json"
    path.write_text(path.read_text().replace("000.png", "../../000.png"))
    with pytest.raises(DatasetError, match="names are paths inside the data set"):
        list(Panoptic().read(tmp_path, CLASSES))
