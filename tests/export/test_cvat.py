"""CVAT for images 1.1: what is uploaded to a task, and what CVAT exports."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from annotated_pictures import CLASSES, annotated, contents, export, label_masks, round_trip, scene
from hypothesis import given, settings

from advcam.errors import DatasetError, SettingError
from advcam.export import cvat_xml
from advcam.export.annotated import AnnotatedPicture
from advcam.export.cvat import Cvat

GOLDEN = Path(__file__).parent / "golden" / "cvat"
FORMAT = Cvat()


@settings(max_examples=100, deadline=None)
@given(mask=label_masks())
def test_masks_come_back(mask):
    found = round_trip(FORMAT, mask)
    assert (found.mask == mask).all()
    assert found.name == "a.png"
    assert found.names == {number: CLASSES[number] for number in np.unique(mask).tolist() if number in CLASSES}


def test_what_is_written(tmp_path):
    made = [
        annotated([[1, 1, 255], [0, 2, 0]], tmp_path / "in", 'it\'s <ü>/a "b" & c.png'),
        annotated(np.zeros((4, 3)), tmp_path / "in", "b.png"),
    ]
    assert contents(export(FORMAT, made, tmp_path / "out")) == contents(GOLDEN)


def literal_runs(rows):
    """Lengths of the runs of a text of pixels, the first one of dots."""
    lengths, seen = [0], "."
    for pixel in "".join(rows):
        if pixel != seen:
            lengths.append(0)
            seen = pixel
        lengths[-1] += 1
    return lengths


@pytest.mark.parametrize(
    "rows", [["#"], [".#", "#."], ["##", "##"], ["###", "#.#", "###"], [".#.", "###"], ["#..", ".#.", "..#"]]
)
def test_runs(tmp_path, rows):
    mask = [[int(pixel == "#") for pixel in row] for row in rows]
    text = (export(FORMAT, [annotated(mask, tmp_path)], tmp_path / "out") / "annotations.xml").read_text()
    assert f'rle="{", ".join(map(str, literal_runs(rows)))}"' in text


def test_names_with_dots_are_only_names(tmp_path):
    path = annotated(scene(), tmp_path / "in").path
    out = export(FORMAT, [AnnotatedPicture("../../a.png", "a", path, scene())], tmp_path / "out")
    assert sorted(contents(out)) == ["annotations.xml", "labels.json"]
    assert [found.name for found in FORMAT.read(out, CLASSES)] == ["../../a.png"]


def test_names_without_extension_get_that_of_the_file(tmp_path):
    """CVAT compares names without what follows their last dot."""
    path = annotated(scene(), tmp_path / "in").path
    out = export(FORMAT, [AnnotatedPicture("list/no.7", "a", path, scene())], tmp_path / "out")
    assert [found.name for found in FORMAT.read(out, CLASSES)] == ["list/no.7.png"]


def test_what_cvat_cannot_hold(tmp_path):
    with pytest.raises(SettingError, match="has more than 64 characters"):
        FORMAT.check({1: "x" * 65})
    picture = AnnotatedPicture("a\x01.png", "a", Path("a.png"), scene())
    with pytest.raises(SettingError, match=r"the name of a\.png has control characters, which XML cannot hold"):
        export(FORMAT, [picture], tmp_path / "out")


def test_labels_are_those_that_can_be_pasted(tmp_path):
    labels = json.loads((export(FORMAT, [], tmp_path / "out") / "labels.json").read_text())
    assert [label["name"] for label in labels] == [*CLASSES.values(), "undecided"]
    assert labels[0] == {"name": "cat", "color": "#800000", "attributes": []}


def document(*shapes, size=(4, 6), name="a.png"):
    body = f'<image id="0" name="{name}" width="{size[1]}" height="{size[0]}">{"".join(shapes)}</image>'
    return f'<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>{body}</annotations>'


@pytest.fixture
def read(tmp_path):
    def of(text):
        (tmp_path / "annotations.xml").write_text(text, encoding="utf-8")
        return list(FORMAT.read(tmp_path, CLASSES))

    return of


def drawn(*rows):
    return [[int(pixel == "#") for pixel in row.ljust(6)] for row in [*rows, "", "", "", ""][:4]]


class TestReading:
    def test_an_export_of_cvat(self):
        """A file as CVAT 2 writes it: meta data, attributes below shapes, lines and points, spaces in the runs."""
        found = list(FORMAT.read(Path(__file__).parent / "golden" / "cvat_export.xml", CLASSES))
        assert [(one.name, one.names) for one in found] == [("deep/a.png", {1: "cat", 256: "horse"}), ("b.png", {})]
        assert found[0].mask.tolist() == [[0, 1, 1, 0, 0, 0], [0, 1, 1, 256, 256, 0], [0, 1, 255, 256, 256, 0], [0] * 6]
        assert found[1].mask.tolist() == [[0] * 6] * 4

    @pytest.mark.parametrize(
        ("shape", "rows"),
        [
            ('<mask label="cat" rle="0, 2, 1, 1" left="1" top="2" width="2" height="2"/>', ["", "", ".##", "..#"]),
            ('<mask label="cat" rle="4" left="1" top="2" width="2" height="2"/>', []),
            ('<polygon label="cat" points="1.00,1.00;4.00,1.00;4.00,3.00;1.00,3.00"/>', ["", ".###", ".###"]),
            ('<polygon label="cat" points="0,0;6,0;0,4"/>', ["#####", "####", "##", "#"]),
            ('<box label="cat" xtl="1" ytl="1" xbr="4" ybr="3"/>', ["", ".###", ".###"]),
            ('<box label="cat" xtl="1" ytl="1" xbr="5" ybr="3" rotation="90.0"/>', ["..##"] * 4),
            ('<ellipse label="cat" cx="3" cy="2" rx="1.2" ry="1.2"/>', ["", "..##", "..##"]),
            ('<ellipse label="cat" cx="3" cy="2" rx="3.6" ry="0.6" rotation="90"/>', ["..##"] * 4),
            ('<polyline label="cat" points="0,0;6,0"/><points label="cat" points="1,1"/><tag label="cat"/>', []),
        ],
    )
    def test_whatever_it_was_drawn_with(self, read, shape, rows):
        (found,) = read(document(shape))
        assert found.mask.tolist() == drawn(*rows)

    def test_the_higher_z_order_lies_above(self, read):
        def box(label, left, right, z):
            return f'<box label="{label}" xtl="{left}" ytl="0" xbr="{right}" ybr="1" z_order="{z}"/>'

        (found,) = read(
            document(box("cat", 0, 2, 1), box("undecided", 1, 4, -2), box("鳥: yes", 1, 3, -2), size=(1, 4))
        )
        assert found.mask.tolist() == [[1, 1, 3, 255]]

    def test_archives(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "job.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("annotations.xml", document())
            archive.writestr("images/../../evil.png", b"")
        before = sorted(tmp_path.rglob("*"))
        assert [found.name for found in FORMAT.read(tmp_path / "job.zip", CLASSES)] == ["a.png"]
        assert sorted(tmp_path.rglob("*")) == before

    def test_pictures_come_before_the_file_ends(self, tmp_path, monkeypatch):
        monkeypatch.setattr(cvat_xml, "_CHUNK", 50)
        (tmp_path / "annotations.xml").write_text(document()[: -len("</annotations>")] + "<image")
        found = FORMAT.read(tmp_path, CLASSES)
        assert next(found).name == "a.png"
        with pytest.raises(DatasetError, match=r"annotations\.xml is no complete XML \(.*\); export it again"):
            next(found)


MASK = '<mask label="cat" rle="{}" left="{}" top="{}" width="{}" height="{}"/>'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", r"annotations\.xml is no complete XML"),
        ("<a/>", r'annotations\.xml holds <a>, not pictures; export as "CVAT for images 1\.1"'),
        ("<annotations><track/></annotations>", "holds <track>, not pictures"),
        (
            '<!DOCTYPE x [<!ENTITY y "z">]><annotations>&y;</annotations>',
            "declares the document type 'x'; annotations have",
        ),
        ('<?xml version="1.0" encoding="nonsense"?><annotations/>', "is no complete XML"),
        (document(name=""), r'image 1 \(without a name\): its attribute "name" is missing'),
        (document(size=("x", 4)), r"image 1 \(a\.png\): height is 'x' instead of a whole number; export it again"),
        (document(size=(0, 4)), r"image 1 \(a\.png\): the picture is 4 wide and 0 high; both are whole numbers from 1"),
        (document(size=(10**6, 10**6)), "the picture has 1,000,000,000,000 pixels; the most that is read is"),
        (document("<box/>", "<mask/>"), r"image 1 \(a\.png\), shape 1 \(box None\) has no label; give it one in CVAT"),
        (document(MASK.format("1,x", 0, 0, 1, 1)), r'shape 1 \(mask cat\): its "rle" is no list of whole numbers'),
        (document(MASK.format("", 0, 0, 1, 1)), 'its "rle" is no list of whole numbers'),
        (document(MASK.format("1,2", 0, 0, 2, 2)), "its runs cover 3 of 4 pixels; export it again"),
        (document(MASK.format("5,-1", 0, 0, 2, 2)), 'its "rle" is no list of whole numbers from 0 to 178,000,000'),
        (document(MASK.format(f"{'9' * 4300},{'9' * 4300}", 0, 0, 2, 2)), 'its "rle" is no list of whole numbers'),
        (
            document(MASK.format("1,3", 5, 3, 2, 2)),
            r"a mask of 2 x 2 pixels at \(5, 3\) does not lie inside the picture",
        ),
        (document(MASK.format("1,3", -1, 0, 2, 2)), r"at \(-1, 0\) does not lie inside the picture of 6 x 4 pixels"),
        (document(MASK.format("1,3", 0, 0, 0, 2)), "a mask of 0 x 2 pixels"),
        (document(MASK.format("9" * 5000, 0, 0, 2, 2)), 'its "rle" is no list of whole numbers'),
        (document(MASK.format("1,3", 0, 0, 2, "9" * 30)), "height is '9+' instead of a whole number"),
        (document('<polygon label="cat" points="1,2;3,4"/>'), r'\(polygon cat\): its "points" are no x,y;x,y;x,y'),
        (document('<polygon label="cat" points="1,2;3,4;5"/>'), 'its "points" are no x,y;x,y;x,y'),
        (document('<polygon label="cat" points="1,2;3,4;5,nan"/>'), "'nan' is no place in a picture; export it again"),
        (document('<polygon label="cat" points="0,0;99,0;0,9"/>'), "a polygon lies far outside the picture of 6 x 4"),
        (document('<box label="cat" xtl="1" ytl="1" xbr="1e9" ybr="2"/>'), "'1e9' is no place in a picture"),
        (document('<box label="cat" xtl="1" ytl="1" xbr="2"/>'), "None is no place in a picture"),
        (
            document('<box label="cat" xtl="1" ytl="1" xbr="2" ybr="2" z_order="x"/>'),
            "z_order is 'x' instead of a whole",
        ),
    ],
)
def test_errors_name_file_and_place(read, text, words):
    with pytest.raises(DatasetError, match=words) as caught:
        read(text)
    assert "annotations.xml" in str(caught.value)


def test_files_that_are_none(tmp_path):
    with pytest.raises(DatasetError, match=r"annotations\.xml is missing; name the folder, the \.xml or the \.zip"):
        list(FORMAT.read(tmp_path, CLASSES))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("instances.json", "{}")
    with pytest.raises(
        DatasetError, match=r"a\.zip cannot be read \(.*annotations\.xml.*; export as \"CVAT for images"
    ):
        list(FORMAT.read(tmp_path / "a.zip", CLASSES))
    content = bytearray((tmp_path / "a.zip").read_bytes().replace(b"instances.json", b"annotations.xm"[:14]))
    (tmp_path / "b.zip").write_bytes(bytes(content[:20]) + b"\xff" * 8 + bytes(content[28:]))
    with pytest.raises(DatasetError, match=r"b\.zip cannot be read"):
        list(FORMAT.read(tmp_path / "b.zip", CLASSES))


def test_an_archive_that_would_fill_the_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(cvat_xml, "_CHUNK", 2**14)
    monkeypatch.setattr(cvat_xml, "_MOST_BYTES", 2**16)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("annotations.xml", document("<tag/>" * 2**16))
    assert (tmp_path / "bomb.zip").stat().st_size < 2**13
    monkeypatch.setattr(cvat_xml, "_MOST_SHAPES", 2**20)
    with pytest.raises(DatasetError, match=r"bomb\.zip has more than 65,536 bytes of XML; export fewer pictures"):
        list(FORMAT.read(tmp_path / "bomb.zip", CLASSES))
    monkeypatch.setattr(cvat_xml, "_MOST_SHAPES", 1000)
    with pytest.raises(DatasetError, match=r"bomb\.zip: a\.png has more than 1,000 shapes"):
        list(FORMAT.read(tmp_path / "bomb.zip", CLASSES))
