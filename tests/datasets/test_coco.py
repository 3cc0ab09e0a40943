"""COCO: hand-made files with the arithmetic visible, generated ones against pycocotools, and broken ones."""

import copy
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import coco as reference_coco

from advcam.datasets import coco
from advcam.datasets.coco import COCO
from advcam.datasets.synthetic.coco import write_coco
from advcam.errors import AdvcamError, DatasetError, SettingError
from advcam.types import Box

SQUARE = [0, 0, 4, 0, 4, 4, 0, 4]


def annotation(id_, image_id, category_id, polygon, **more):
    xs, ys = polygon[::2], polygon[1::2]
    bbox = [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]
    entry = {"id": id_, "image_id": image_id, "category_id": category_id, "segmentation": [polygon], "bbox": bbox}
    return {**entry, "area": bbox[2] * bbox[3], "iscrowd": 0, **more}


def shifted(x, y, polygon=SQUARE):
    return [value + (y if place % 2 else x) for place, value in enumerate(polygon)]


CROWD = {"iscrowd": 1, "segmentation": {"size": [6, 8], "counts": [0, 24, 24]}}
CONTENT = {
    "images": [
        {"id": 7, "file_name": "a.jpg", "width": 8, "height": 6},
        {"id": 5, "file_name": "b.jpg", "width": 8, "height": 6},
        {"id": 6, "file_name": "sub/c.jpg", "width": 8, "height": 6},
    ],
    "annotations": [
        annotation(11, 7, 90, shifted(3, 1, [0, 0, 2, 0, 2, 2, 0, 2])),
        annotation(12, 7, 3, shifted(2, 1)),
        annotation(13, 7, 44, [0, 0, 4, 0, 4, 6, 0, 6], **CROWD),
        annotation(14, 5, 44, SQUARE),
    ],
    "categories": [{"id": 90, "name": "brush"}, {"id": 3, "name": "car"}, {"id": 44, "name": "bottle"}],
}


@pytest.fixture
def write(tmp_path):
    def to_disk(content=CONTENT, name="annotations/instances_val2017.json"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return tmp_path

    return to_disk


def changed(*places, value):
    """The content with one entry replaced, or removed where the value is Ellipsis."""
    content = copy.deepcopy(CONTENT)
    entry = content
    for place in places[:-1]:
        entry = entry[place]
    if value is ...:
        del entry[places[-1]]
    else:
        entry[places[-1]] = value
    return content


def refusal(call, *arguments):
    with pytest.raises(DatasetError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


class TestLayout:
    def test_splits_and_ids(self, write):
        write(name="annotations/instances_train2014.json")
        root = write()
        (root / "annotations" / "captions_val2017.json").write_text("{}")
        data = COCO(root)
        assert data.splits == ("train2014", "val2017")
        assert list(data.ids("val2017")) == ["val2017/a.jpg", "val2017/b.jpg", "val2017/sub/c.jpg"]
        assert [sample.id for sample in data.samples("train2014")] == [
            "train2014/a.jpg",
            "train2014/b.jpg",
            "train2014/sub/c.jpg",
        ]

    @pytest.mark.parametrize("folder", ["val2017", "images/val2017", "images", "."])
    def test_where_pictures_lie(self, write, folder):
        root = write()
        for name in ("images", "val2017"):  # empty folders must not hide the right one
            (root / name).mkdir()
        (root / folder / "sub").mkdir(parents=True)
        (root / folder / "sub" / "c.jpg").touch()
        assert COCO(root).sample("val2017/sub/c.jpg").path == root / folder / "sub" / "c.jpg"

    def test_absent_picture_is_named_where_it_should_be(self, write):
        root = write()
        (root / "images").mkdir()
        assert COCO(root).sample("val2017/a.jpg").path == root / "images" / "a.jpg"

    @pytest.mark.parametrize("name", ["annotations.json", "_annotations.coco.json"])
    def test_own_file(self, write, name):
        root = write(name=name)
        assert COCO.fits(root)
        data = COCO(root)
        assert data.splits == ("all",)
        assert data.sample("all/a.jpg").path == root / "a.jpg"

    def test_nothing_there(self, tmp_path):
        assert not COCO.fits(tmp_path)
        assert refusal(COCO, tmp_path) == (
            f"{tmp_path} holds no MS COCO: annotations/instances_*.json, annotations.json and _annotations.coco.json "
            "are missing below it"
        )

    def test_no_such_split_or_picture(self, write):
        data = COCO(write())
        for call in (data.ids, data.problems):
            with pytest.raises(SettingError, match="no split 'val'; its splits are: val2017"):
                call("val")
        for id_ in ("a.jpg", "train2017/a.jpg", "val2017/x.jpg", "val2017"):
            assert f"no picture {id_!r}; an id is a split and a file name" in refusal(data.sample, id_)

    def test_one_split_is_read_once_and_held_alone(self, write, monkeypatch):
        write(name="annotations/instances_train.json")
        reads = []
        read = coco.read_index
        monkeypatch.setattr(coco, "read_index", lambda path: reads.append(path.stem) or read(path))
        data = COCO(write(name="annotations/instances_val.json"))
        for split in ("train", "train", "val", "train"):
            for id_ in data.ids(split):
                data.sample(id_), data.mask(id_), data.boxes(id_)
        assert reads == ["instances_train", "instances_val", "instances_train"]


class TestTruth:
    def test_classes_by_ascending_category(self, write):
        assert COCO(write()).class_names == ("car", "bottle", "brush")

    def test_repeated_names_get_their_id(self, write):
        data = COCO(write(changed("categories", 0, "name", value="car")))
        assert data.class_names == ("car (3)", "bottle", "car (90)")

    def test_labels_are_in_the_order_of_the_classes(self, write):
        categories = [{"id": id_, "name": f"c{id_}"} for id_ in range(1, 41)]
        annotations = [annotation(id_, 7, id_, SQUARE) for id_ in (34, 9, 40, 1, 17)]
        data = COCO(write(CONTENT | {"categories": categories, "annotations": annotations}))
        assert data.sample("val2017/a.jpg").labels == ("c1", "c9", "c17", "c34", "c40")

    def test_labels(self, write):
        root = write()
        data, crowded = COCO(root), COCO(root, crowd_labels=True)
        assert data.sample("val2017/a.jpg").labels == ("car", "brush")
        assert crowded.sample("val2017/a.jpg").labels == ("car", "bottle", "brush")
        assert data.sample("val2017/sub/c.jpg").labels == crowded.sample("val2017/sub/c.jpg").labels == ()

    def test_mask(self, write):
        # brush (3) is 2 x 2 at (3, 1) and listed first, but lies over car (1), 4 x 4 at (2, 1); crowd is x < 4.
        expected = [
            [255, 255, 255, 255, 0, 0, 0, 0],
            [255, 255, 1, 3, 3, 1, 0, 0],
            [255, 255, 1, 3, 3, 1, 0, 0],
            [255, 255, 1, 1, 1, 1, 0, 0],
            [255, 255, 1, 1, 1, 1, 0, 0],
            [255, 255, 255, 255, 0, 0, 0, 0],
        ]
        mask = COCO(write()).mask("val2017/a.jpg")
        assert mask.tolist() == expected
        assert mask.dtype == np.int32

    def test_picture_without_annotation(self, write):
        data = COCO(write())
        assert data.mask("val2017/sub/c.jpg").tolist() == np.zeros((6, 8)).tolist()
        assert data.boxes("val2017/sub/c.jpg") == ()

    def test_split_without_annotation(self, write):
        data = COCO(write(changed("annotations", value=[])))
        assert [sample.labels for sample in data.samples("val2017")] == [(), (), ()]
        assert data.mask("val2017/a.jpg").shape == (6, 8)

    def test_split_without_pictures(self, write):
        data = COCO(write(CONTENT | {"images": [], "annotations": []}))
        assert list(data.ids("val2017")) == []

    @pytest.mark.parametrize("nothing", [[], None, ...])
    def test_detection_data_has_no_masks(self, write, nothing):
        content = copy.deepcopy(CONTENT)
        for entry in content["annotations"]:
            entry["segmentation"] = nothing
            if nothing is ...:
                del entry["segmentation"]
        data = COCO(write(content))
        assert data.mask("val2017/a.jpg") is None
        assert len(data.boxes("val2017/a.jpg")) == 2

    def test_boxes_of_instances(self, write):
        assert COCO(write()).boxes("val2017/a.jpg") == (Box(2, 3, 1, 5, 3, 1.0), Box(0, 2, 1, 6, 5, 1.0))

    @pytest.mark.parametrize(
        ("bbox", "corners"),
        [
            ([1.2, 2.9, 3.1, 0.05], (1, 2, 5, 3)),  # 1.2 to 4.3, 2.9 to 2.95
            ([0.1, 0, 0.9, 6], (0, 0, 1, 6)),  # 0.1 + 0.9
            ([-1, -0.5, 20, 20], (0, 0, 8, 6)),
            ([2.5, 3.5, 0, 0], (2, 3, 3, 4)),  # genuine: two boxes of train2017 have no height
        ],
    )
    def test_boxes_widen_to_whole_pixels_inside_the_picture(self, write, bbox, corners):
        data = COCO(write(changed("annotations", 3, "bbox", value=bbox)))
        assert data.boxes("val2017/b.jpg") == (Box(1, *corners, 1.0),)

    def test_iscrowd_may_be_absent(self, write):
        data = COCO(write(changed("annotations", 3, "iscrowd", value=...)))
        assert data.sample("val2017/b.jpg").labels == ("bottle",)


def test_generated_masks_and_boxes_as_pycocotools_reads_them(tmp_path, capsys):
    write_coco(tmp_path, pictures=24)
    reference = reference_coco.COCO(str(tmp_path / "annotations" / "instances_val2017.json"))
    data = COCO(tmp_path)
    numbers = {category: number for number, category in enumerate(sorted(reference.getCatIds()))}
    kinds = set()
    for image_id, id_ in zip(reference.imgs, data.ids("val2017"), strict=True):
        expected = np.zeros_like(data.mask(id_))
        boxes = []
        for entry in sorted(reference.imgToAnns[image_id], key=lambda entry: -entry["iscrowd"]):
            pixels = reference.annToMask(entry).astype(bool)
            expected[pixels] = 255 if entry["iscrowd"] else numbers[entry["category_id"]] + 1
            kinds.add((type(entry["segmentation"]).__name__, entry["iscrowd"]))
            if not entry["iscrowd"]:
                x, y, width, height = entry["bbox"]
                boxes.append(Box(numbers[entry["category_id"]], x, y, x + width, y + height, 1.0))
        assert (data.mask(id_) == expected).all()
        assert list(data.boxes(id_)) == boxes
    assert kinds == {("list", 0), ("dict", 0), ("dict", 1)}


class TestBroken:
    @pytest.mark.parametrize("length", [0, 1, 40, 400, -1])
    def test_json_that_ends_early(self, write, length):
        data = COCO(write(json.dumps(CONTENT)[:length]))
        for call in (data.ids, data.problems):
            assert "is no complete JSON" in refusal(call, "val2017")
        assert "is no complete JSON" in refusal(data.sample, "val2017/a.jpg")

    @pytest.mark.parametrize("key", ["images", "annotations", "categories"])
    @pytest.mark.parametrize("value", [..., None, {}, 3, [1], [[]]])
    def test_lists_missing(self, write, key, value):
        assert f"has no list {key!r} of objects" in refusal(COCO(write(changed(key, value=value))).ids, "val2017")

    @pytest.mark.parametrize("text", ["[]", "3", "null"])
    def test_other_json(self, write, text):
        assert "has no list 'categories' of objects" in refusal(COCO(write(text)).ids, "val2017")

    @pytest.mark.parametrize(
        ("places", "value", "text"),
        [
            (("images", 0, "id"), ..., "a picture needs an id and a file_name"),
            (("images", 0, "id"), [1], "a picture needs an id and a file_name"),
            (("images", 0, "file_name"), ..., "a picture needs an id and a file_name"),
            (("images", 0, "file_name"), "", "a picture needs an id and a file_name"),
            (("categories", 0, "id"), ..., "a category needs a name and an integer id of its own"),
            (("categories", 0, "id"), 3, "a category needs a name and an integer id of its own"),
            (("categories", 0, "name"), ..., "a category needs a name and an integer id of its own"),
        ],
    )
    def test_what_breaks_the_split(self, write, places, value, text):
        assert text in refusal(COCO(write(changed(*places, value=value))).ids, "val2017")

    @pytest.mark.parametrize(
        ("places", "value", "calls", "text"),
        [
            (("category_id",), ..., ("sample", "mask", "boxes"), "annotation 14: there is no category null"),
            (("category_id",), 4, ("sample", "mask", "boxes"), "there is no category 4; add it"),
            (("category_id",), [3], ("sample", "mask", "boxes"), r"there is no category \[3\]"),
            (("iscrowd",), 2, ("sample", "mask", "boxes"), "iscrowd is 2; make it 0 or 1"),
            (("iscrowd",), None, ("sample", "mask", "boxes"), "iscrowd is null"),
            (("id",), ..., ("sample", "mask", "boxes"), "picture 'b.jpg' has an annotation without id"),
            (("id",), 12, ("sample", "mask", "boxes"), "picture 'b.jpg' has the annotation 12, an id that"),
            (("bbox",), ..., ("boxes",), "the bbox null is not x, y, width, height"),
            (("bbox",), [1, 2, 3], ("boxes",), "is not x, y, width, height"),
            (("bbox",), [1, 2, 3, "4"], ("boxes",), "is not x, y, width, height"),
            (("bbox",), [1, 2, 3, float("nan")], ("boxes",), "is not x, y, width, height"),
            (("bbox",), [1, 2, 3, 10**400], ("boxes",), "is not x, y, width, height"),
            (("bbox",), [1, 2, 3, -1], ("boxes",), "covers no pixel of a picture of 8 x 6"),
            (("bbox",), [8, 2, 3, 3], ("boxes",), "covers no pixel of a picture of 8 x 6"),
            (("segmentation",), ..., ("mask",), "neither polygons nor run lengths"),
            (("segmentation",), [[1, 2, 3, 4]], ("mask",), "at least 3 points"),
            (("segmentation",), {"size": [8, 6], "counts": [48]}, ("mask",), r"annotation 14: run lengths of size"),
        ],
    )
    def test_what_breaks_one_picture(self, write, places, value, calls, text):
        data = COCO(write(changed("annotations", 3, *places, value=value)))
        assert list(data.ids("val2017")) == ["val2017/a.jpg", "val2017/b.jpg", "val2017/sub/c.jpg"]
        for call in ("sample", "mask", "boxes"):
            if call in calls:
                with pytest.raises(DatasetError, match=text):
                    getattr(data, call)("val2017/b.jpg")
            else:
                getattr(data, call)("val2017/b.jpg")
        assert data.mask("val2017/sub/c.jpg").shape == (6, 8)

    @pytest.mark.parametrize("value", [..., None, 0, -8, 8.5, "8", True, 10**6, 10**400])
    def test_no_size(self, write, value):
        data = COCO(write(changed("images", 1, "width", value=value)))
        for call in (data.mask, data.boxes):
            assert "picture 'b.jpg' has width" in refusal(call, "val2017/b.jpg")
        assert data.sample("val2017/b.jpg").labels == ("bottle",)

    def test_picture_too_large_to_decode(self, write):
        content = changed("images", 1, value={"id": 5, "file_name": "b.jpg", "width": 99_999, "height": 99_999})
        assert "has width 99999 and height 99999" in refusal(COCO(write(content)).mask, "val2017/b.jpg")

    def test_two_pictures_with_one_id(self, write):
        data = COCO(write(changed("images", 1, "id", value=7)))
        for name in ("a.jpg", "b.jpg"):
            assert f"{name!r} has the id 7, which the file gives to two" in refusal(data.sample, f"val2017/{name}")
        assert data.sample("val2017/sub/c.jpg").labels == ()

    def test_one_file_name_twice(self, write):
        data = COCO(write(changed("images", 1, "file_name", value="a.jpg")))
        assert list(data.ids("val2017")) == ["val2017/a.jpg", "val2017/sub/c.jpg"]
        assert "picture 'a.jpg' is listed twice" in refusal(data.sample, "val2017/a.jpg")

    def test_one_annotation_id_in_two_pictures(self, write):
        data = COCO(write(changed("annotations", 3, "id", value=11)))
        for name in ("a.jpg", "b.jpg"):
            assert "an id that the file uses twice; mend the file" in refusal(data.boxes, f"val2017/{name}")

    @pytest.mark.parametrize(
        ("owner", "shown"), [(99, "99"), (..., "null"), ([7], r"[7]"), ("x" * 200, f'"{"x" * 76}...')]
    )
    def test_orphans(self, write, owner, shown):
        root = write(changed("annotations", 3, "image_id", value=owner))
        data = COCO(root)
        path = root / "annotations" / "instances_val2017.json"
        assert list(data.problems("val2017")) == [
            f"{path}: annotation 14 is of picture {shown}, which the file does not list"
        ]
        assert data.sample("val2017/b.jpg").labels == ()

    def test_whole_file_has_no_problems(self, write):
        assert list(COCO(write()).problems("val2017")) == []

    @pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a/../../b.jpg", "c:/b.jpg", "..\\b.jpg"])
    def test_hostile_file_names(self, write, name):
        data = COCO(write(changed("images", 1, "file_name", value=name)))
        assert f"val2017/{name}" in list(data.ids("val2017"))
        assert "names are paths inside the data set" in refusal(data.sample, f"val2017/{name}")
        assert data.sample("val2017/a.jpg").labels == ("car", "brush")

    def test_other_categories_in_another_split(self, write):
        write(changed("categories", 0, "name", value="a much longer name"), "annotations/instances_train.json")
        data = COCO(write())
        assert "instances_train.json has other categories" in refusal(data.ids, "train")
        assert data.sample("val2017/b.jpg").labels == ("bottle",)

    @pytest.mark.parametrize("classes", [254, 255])
    def test_more_classes_than_a_mask_has_numbers(self, write, classes):
        categories = [{"id": id_, "name": f"c{id_}"} for id_ in range(1, classes + 1)]
        data = COCO(write(CONTENT | {"categories": categories}))
        assert data.sample("val2017/b.jpg").labels == ("c44",)
        if classes == 254:
            assert data.mask("val2017/b.jpg").max() == 44
        else:
            assert "has 255 categories, but a mask numbers at most 254" in refusal(data.mask, "val2017/b.jpg")


def message(call, *arguments):
    """The error of a call, empty where there is none."""
    try:
        call(*arguments)
    except AdvcamError as error:
        return str(error)
    return ""


JUNK = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just([]) | st.just({})


@settings(max_examples=200, deadline=None, derandomize=True)
@given(draw=st.data())
def test_any_damage_ends_in_one_line(draw, tmp_path_factory):
    content = copy.deepcopy(CONTENT)
    for _ in range(draw.draw(st.integers(1, 3))):
        entry = draw.draw(st.sampled_from(content[draw.draw(st.sampled_from(sorted(CONTENT)))]))
        entry[draw.draw(st.sampled_from(sorted(entry)))] = draw.draw(JUNK)
    root = tmp_path_factory.mktemp("coco")
    (root / "annotations.json").write_text(json.dumps(content))
    data = COCO(root)
    ids = []
    for call in (lambda: ids.extend(data.ids("all")), lambda: list(data.problems("all"))):
        assert "\n" not in message(call)
    assert len(ids) == len(set(ids))
    for id_ in ids:
        for call in (data.sample, data.mask, data.boxes):
            assert "\n" not in message(call, id_)
