"""Label Studio: tasks as it takes them, and its exports with all that people draw."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from annotated_pictures import CLASSES, annotated, contents, export, label_masks, round_trip, scene
from hypothesis import given, settings

from advcam.errors import DatasetError, PictureError, SettingError
from advcam.export.annotated import AnnotatedPicture
from advcam.export.brush_rle import encode_brush
from advcam.export.label_studio import LabelStudio
from advcam.export.label_studio_tasks import picture_name

GOLDEN = Path(__file__).parent / "golden" / "label_studio"
FORMAT = LabelStudio()


@settings(max_examples=60, deadline=None)
@given(mask=label_masks())
def test_masks_come_back(mask):
    if mask.any():
        found = round_trip(FORMAT, mask)
        assert (found.mask == mask).all()
        assert found.name == "a.png"
        assert found.names == {number: CLASSES[number] for number in np.unique(mask).tolist() if number in CLASSES}


def test_a_mask_without_a_region_is_passed_over(tmp_path):
    blank = [annotated(np.zeros((3, 4)), tmp_path, name) for name in ("a.png", "b.png")]
    assert list(FORMAT.read(export(FORMAT, blank, tmp_path / "out"), CLASSES)) == []
    assert list(FORMAT.read(export(FORMAT, [], tmp_path / "none"), CLASSES)) == []


def test_what_is_written(tmp_path):
    one = annotated([[1, 1, 255], [0, 2, 0]], tmp_path / "in", "it's 100% <ü>/a b.png")
    written = contents(export(FORMAT, [one, one], tmp_path / "out"))
    assert written.pop("images/it's 100% <ü>/a b.png") == one.path.read_bytes()
    assert written.pop("README.txt").startswith(b"Masks for Label Studio\n")
    assert written == contents(GOLDEN)


def test_the_address_leads_to_the_copy(tmp_path):
    out = export(FORMAT, [annotated(scene(), tmp_path / "in", "a?d=1&b#c/+%41.png")], tmp_path / "out")
    (task,) = json.loads((out / "tasks.json").read_text())
    data = {"image": task["data"]["image"]}
    assert (out / picture_name(data, "")).is_file()


def test_colours_and_names_of_the_labels(tmp_path):
    export(FORMAT, [], tmp_path / "out")
    labels = ET.parse(tmp_path / "out" / "config.xml").getroot().iter("Label")
    assert [label.attrib for label in labels] == [
        {"value": "cat", "background": "#800000"},
        {"value": "dog's & <friends>", "background": "#008000"},
        {"value": "鳥: yes", "background": "#808000"},
        {"value": "undecided", "background": "#e0e0c0"},
    ]


def test_what_a_browser_does_not_show_is_refused(tmp_path):
    picture = AnnotatedPicture("a.tif", "a", tmp_path / "a.tif", np.zeros((2, 2), dtype=np.int32))
    with pytest.raises(SettingError, match=r"runs in a browser, which does not show a\.tif; convert it to PNG or JPEG"):
        export(FORMAT, [picture], tmp_path / "out")


def test_a_picture_that_is_gone(tmp_path):
    picture = annotated(scene(), tmp_path / "in")
    picture.path.unlink()
    with pytest.raises(PictureError, match=r"cannot read .*a\.png \(No such file or directory\)"):
        export(FORMAT, [picture], tmp_path / "out")


@pytest.mark.parametrize("name", ["../a", "/a", "a/../../b", "a\n"])
def test_nothing_is_written_outside(tmp_path, name):
    path = annotated(scene(), tmp_path / "in").path
    picture = AnnotatedPicture("a.png", name, path, scene())
    before = set(tmp_path.rglob("*.png"))
    with pytest.raises((DatasetError, SettingError), match=r"names are paths inside|control characters"):
        export(FORMAT, [picture], tmp_path / "out")
    assert set(tmp_path.rglob("*.png")) == before


def test_classes_that_share_a_name():
    with pytest.raises(SettingError, match="Label Studio knows classes by their names alone"):
        FORMAT.check({1: "crane", 2: "crane"})


def region(value, kind="brushlabels", label="cat", size=(4, 6), **more):
    value = {kind: [label]} | value
    return {"type": kind, "value": value, "original_height": size[0], "original_width": size[1]} | more


def brush(rows, **more):
    mask = np.array(rows, dtype=bool)
    return region({"format": "rle", "rle": encode_brush(mask)}, size=mask.shape, **more)


def task(*results, image="a.png", **more):
    return {"id": 1, "data": {"image": image}, "annotations": [{"id": 7, "result": list(results), **more}]}


@pytest.fixture
def read(tmp_path):
    def of(*tasks):
        path = tmp_path / "export.json"
        path.write_text(tasks[0] if isinstance(tasks[0], str) else json.dumps(tasks))
        return list(FORMAT.read(path, CLASSES))

    return of


class TestReading:
    @pytest.mark.parametrize(
        ("value", "kind", "rows"),
        [
            # Percent of 6 x 4 pixels: from (1, 1) to (4, 3).
            (
                {"x": 100 / 6, "y": 25, "width": 50, "height": 50, "rotation": 0},
                "rectanglelabels",
                ["", ".###", ".###"],
            ),
            ({"x": 100 / 6, "y": 25, "width": 50, "height": 50}, "labels", ["", ".###", ".###"]),
            # A quarter turn to the right around its left upper corner (4, 1): 3 wide becomes 3 high, to the left.
            (
                {"x": 400 / 6, "y": 25, "width": 50, "height": 50, "rotation": 90},
                "rectanglelabels",
                ["", "..##", "..##", "..##"],
            ),
            ({"points": [[0, 0], [50, 0], [50, 75], [0, 75]], "closed": True}, "polygonlabels", ["###", "###", "###"]),
            ({"points": [[0, 0], [100, 0], [0, 100]]}, "polygonlabels", ["#####", "####", "##", "#"]),
            (
                {"x": 50, "y": 50, "radiusX": 100 / 6 * 1.2, "radiusY": 30, "rotation": 0},
                "ellipselabels",
                ["", "..##", "..##"],
            ),
            ({"x": 50, "y": 50, "radiusX": 60, "radiusY": 15, "rotation": 90}, "ellipselabels", ["..##"] * 4),
        ],
    )
    def test_whatever_it_was_drawn_with(self, read, value, kind, rows):
        (found,) = read(task(region(value, kind)))
        expected = [[int(c == "#") for c in row.ljust(6)] for row in [*rows, "", "", ""][:4]]
        assert found.mask.tolist() == expected

    def test_later_regions_lie_above(self, read):
        (found,) = read(
            task(brush([[1, 1, 0]]), brush([[0, 1, 1]], label="undecided"), brush([[0, 0, 1]], label="new"))
        )
        assert found.mask.tolist() == [[1, 255, 256]]
        assert found.names == {1: "cat", 256: "new"}

    def test_the_last_annotation_counts(self, read):
        def one(row, **more):
            return {"result": [brush([row])], **more}

        early, late = {"updated_at": "2026-01-01T10:00:00Z"}, {"updated_at": "2026-01-02T09:00:00Z"}
        skipped = one([1, 1], updated_at="2026-01-03T09:00:00Z", was_cancelled=True)
        for answers in ([one([0, 1], **late), one([1, 0], **early), skipped], [one([1, 0]), one([0, 1])]):
            (found,) = read({"data": {"image": "a.png"}, "annotations": answers, "predictions": [one([1, 1])]})
            assert found.mask.tolist() == [[0, 1]]

    def test_predictions_count_only_before_a_task_was_exported(self, read):
        predicted = {"data": {"image": "a.png"}, "predictions": [{"result": [brush([[1, 0]])]}]}
        assert [found.mask.tolist() for found in read(predicted)] == [[[1, 0]]]
        assert read(predicted | {"annotations": []}) == []
        assert read(predicted | {"annotations": [{"result": []}]}) == []

    def test_what_has_no_pixels_is_not_needed(self, read):
        others = [
            {"type": "choices", "value": {"choices": ["a"]}},
            region({"x": 1, "y": 1, "width": 1}, "keypointlabels"),
        ]
        bare = {"type": "brush", "value": {"rle": [1]}, "original_height": 1, "original_width": 2}
        (found,) = read(task(*others, bare, brush([[1, 0]])))
        assert found.mask.tolist() == [[1, 0]]

    @pytest.mark.parametrize(
        ("image", "name"),
        [
            ("a.png", "a.png"),
            ("sub/100%.png", "sub/100%.png"),
            ("/data/local-files/?d=images/a%20b%26%2B.png", "images/a b&+.png"),
            ("http://host:8080/data/local-files/?x=1&d=a.png", "a.png"),
            ("/data/upload/3/0a1b2c3d-my_cat-1.png", "my_cat-1.png"),
            ("/data/upload/0a1b2c3d-%E9%B3%A5.png", "鳥.png"),
            ("https://host/data/upload/3/plain.png", "plain.png"),
            ("s3://bucket/folder/0a1b2c3d-a.png", "folder/0a1b2c3d-a.png"),
            ("https://host/a/b%20c.png?token=1#x", "a/b c.png"),
        ],
    )
    def test_names_of_pictures(self, read, image, name):
        assert [found.name for found in read(task(brush([[1]]), image=image))] == [name]

    def test_other_names_of_the_data(self, read):
        one = task(brush([[1]]))
        assert [found.name for found in read(one | {"data": {"n": 1, "photo": "/data/upload/1/0a1b2c3d-a.png"}})] == [
            "a.png"
        ]
        assert [found.name for found in read(one | {"data": {"image": "x.png", "picture": "deep/y.png"}})] == [
            "deep/y.png"
        ]

    def test_a_folder_holds_one_file(self, tmp_path, read):
        read(task(brush([[1]])))
        (tmp_path / "advcam-export.json").write_text("{}")
        assert len(list(FORMAT.read(tmp_path, CLASSES))) == 1
        (tmp_path / "other.json").write_text("[]")
        with pytest.raises(DatasetError, match=r"holds 2 \.json files; name the one that Label Studio exported"):
            FORMAT.read(tmp_path, CLASSES)


BOX = {"x": 0, "y": 0, "width": 50, "height": 50}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[", r"export\.json is no complete JSON"),
        ("{}", r'export\.json is no list of tasks; export from Label Studio as "JSON"'),
        ([1], r'export\.json, task 1 has no "data"; export from Label Studio as "JSON", not as JSON-MIN or CSV'),
        ([task(), {"image": "a.png"}], r'export\.json, task 2 has no "data"'),
        ([task() | {"data": {}}], 'task 1: its data has neither "picture" nor "image"'),
        ([task(image="http://[a.png")], r"task 1: 'http://\[a\.png' is no address of a picture"),
        ([task() | {"annotations": 5}], r'task 1 \(a\.png\): "annotations" is a list of objects'),
        ([task() | {"annotations": [{}]}], r'task 1 \(a\.png\): an annotation has no list "result"'),
        (
            [task(region({}, "bitmasklabels"))],
            r"task 1 \(a\.png\), region 1 is of type bitmasklabels, which is not read",
        ),
        (
            [task(brush([[1]]), region(BOX, "rectanglelabels", original_width=None))],
            "region 2: the picture is None wide",
        ),
        ([task(region(BOX, "rectanglelabels", original_width=True))], "region 1: the picture is True wide and 4 high"),
        (
            [task(region(BOX, "rectanglelabels", size=(10**4000, 10**4000)))],
            "both are whole numbers from 1 to 178,000,000",
        ),
        (
            [task(region(BOX, "rectanglelabels", size=(10**6, 10**6)))],
            "the picture has 1,000,000,000,000 pixels; the most",
        ),
        ([task(brush([[1]]), brush([[1, 0]]))], r"different sizes, \[\(1, 1\), \(1, 2\)\]; label it again"),
        (
            [task(region(BOX, "rectanglelabels") | {"value": 3})],
            "region 1 has no value, or belongs to a picture that was turned",
        ),
        (
            [task(region(BOX, "rectanglelabels", image_rotation=90))],
            "picture that was turned; label the picture upright",
        ),
        (
            [task(region(BOX | {"rectanglelabels": []}, "rectanglelabels"))],
            r"region 1 has \[\] as its labels; give each",
        ),
        ([task(region(BOX | {"labels": ["a", "b"]}, "labels"))], r"has \['a', 'b'\] as its labels"),
        ([task(region({"rle": [1, 2]}))], "region 1: the bytes end within the header; draw the region again"),
        ([task(region({"rle": encode_brush(np.ones((9, 9), bool))}))], "the bytes hold 324 values instead of 96"),
        ([task(region({"points": [1, 2]}, "polygonlabels"))], "region 1: its points are no list of pairs"),
        ([task(region({"points": [[1, "2"]]}, "polygonlabels"))], "'2' is no place in a picture, in percent"),
        ([task(region({"points": [[1, 2], [3, 4]]}, "polygonlabels"))], "region 1: a polygon has 4 numbers; it needs"),
        ([task(region({}, "labels"))], "region 1: None is no place in a picture, in percent; draw the region again"),
        ([task(region(BOX | {"x": float("nan")}, "labels"))], "region 1: nan is no place in a picture"),
        ([task(region(BOX | {"x": 1e5}, "labels"))], "a polygon lies far outside the picture of 6 x 4 pixels"),
    ],
)
def test_errors_name_file_and_place(read, content, words):
    with pytest.raises(DatasetError, match=words) as caught:
        read(*([content] if isinstance(content, str) else content))
    assert re.search(r"export\.json", str(caught.value))


def test_a_missing_file(tmp_path):
    with pytest.raises(DatasetError, match=r"a\.json is missing"):
        list(FORMAT.read(tmp_path / "a.json", CLASSES))
    with pytest.raises(
        DatasetError, match=r"holds no \.json file; name the folder or the file of an export of Label Stu"
    ):
        FORMAT.read(tmp_path, CLASSES)
