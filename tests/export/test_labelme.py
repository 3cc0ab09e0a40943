"""LabelMe: a JSON beside each picture, and those that people draw."""

import base64
import json
import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from annotated_pictures import CLASSES, annotated, contents, export, label_masks, round_trip, scene
from hypothesis import given, settings
from PIL import Image

from advcam.errors import DatasetError, PictureError, SettingError
from advcam.export.annotated import AnnotatedPicture
from advcam.export.labelme import LabelMe

GOLDEN = Path(__file__).parent / "golden" / "labelme"
FORMAT = LabelMe()


@settings(max_examples=60, deadline=None)
@given(mask=label_masks())
def test_masks_come_back(mask):
    found = round_trip(FORMAT, mask)
    assert (found.mask == mask).all()
    assert found.name == "a"
    assert found.names == {number: CLASSES[number] for number in np.unique(mask).tolist() if number in CLASSES}


def test_what_is_written(tmp_path):
    one = annotated([[1, 1, 255], [0, 2, 0]], tmp_path / "in", "it's 100% <ü>/a b.png")
    written = contents(export(FORMAT, [one], tmp_path / "out"))
    assert written.pop("it's 100% <ü>/a b.png") == one.path.read_bytes()
    assert written.pop("labels.txt").decode() == "__ignore__\n_background_\ncat\ndog's & <friends>\n鳥: yes\n"
    assert list(written) == ["it's 100% <ü>/a b.json"]
    content = json.loads(written["it's 100% <ü>/a b.json"])
    for shape in content["shapes"]:  # the bytes of a PNG are those of its library
        shape["mask"] = np.asarray(Image.open(BytesIO(base64.b64decode(shape["mask"])))).astype(int).tolist()
    assert content == json.loads((GOLDEN / "a b.json").read_text())


def literal_mask(content):
    """As the documentation says: each mask lies between its first and last pixel."""
    mask = np.zeros((content["imageHeight"], content["imageWidth"]), dtype=int)
    numbers = {name: number for number, name in CLASSES.items()} | {"__ignore__": 255}
    for shape in content["shapes"]:
        (x0, y0), (x1, y1) = shape["points"]
        pixels = np.asarray(Image.open(BytesIO(base64.b64decode(shape["mask"]))))
        assert pixels.shape == (y1 - y0 + 1, x1 - x0 + 1)
        for y in range(y0, y1 + 1):
            for x in range(x0, x1 + 1):
                if pixels[y - y0, x - x0]:
                    mask[y, x] = numbers[shape["label"]]
    return mask


def test_masks_lie_where_the_documentation_says(tmp_path):
    out = export(FORMAT, [annotated(scene(), tmp_path / "in")], tmp_path / "out")
    assert (literal_mask(json.loads((out / "a.json").read_text())) == scene()).all()


@pytest.mark.parametrize("name", ["../a", "/a", "a/../../b", "a\n"])
def test_nothing_is_written_outside(tmp_path, name):
    path = annotated(scene(), tmp_path / "in").path
    before = set(tmp_path.rglob("*.*"))
    with pytest.raises((DatasetError, SettingError), match=r"names are paths inside|control characters"):
        export(FORMAT, [AnnotatedPicture("a.png", name, path, scene())], tmp_path / "out")
    assert set(tmp_path.rglob("*.*")) == before


def test_a_picture_that_is_gone(tmp_path):
    picture = annotated(scene(), tmp_path / "in")
    picture.path.unlink()
    with pytest.raises(PictureError, match=r"cannot read .*a\.png \(No such file or directory\)"):
        export(FORMAT, [picture], tmp_path / "out")


def test_classes_that_share_a_name():
    with pytest.raises(SettingError, match=r"LabelMe knows classes by their names alone.*also the label of undecided"):
        FORMAT.check({1: "__ignore__"})


def png(rows, mode="L"):
    file = BytesIO()
    Image.fromarray(np.array(rows, dtype=np.uint8)).convert(mode).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def bomb():
    """A PNG whose header promises 60,000 x 60,000 pixels."""
    content = bytearray(base64.b64decode(png([[1]])))
    content[16:24] = struct.pack(">II", 60_000, 60_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return base64.b64encode(content).decode()


def shape(points, kind="polygon", label="cat", **more):
    return {"label": label, "points": points, "shape_type": kind, "group_id": None, "flags": {}} | more


def document(*shapes, size=(4, 6), **more):
    return {"version": "5.5.0", "shapes": list(shapes), "imageHeight": size[0], "imageWidth": size[1]} | more


@pytest.fixture
def read(tmp_path):
    def of(content, name="deep/a.json"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return list(FORMAT.read(tmp_path, CLASSES))

    return of


class TestReading:
    @pytest.mark.parametrize(
        ("drawn", "rows"),
        [
            (shape([[1, 1], [4, 1], [4, 3], [1, 3]]), ["", ".###", ".###"]),
            ({"label": "cat", "points": [[0, 0], [6, 0], [0, 4]]}, ["#####", "####", "##", "#"]),
            (shape([[4, 3], [1, 1]], "rectangle"), ["", ".###", ".###"]),
            (
                shape([[3, -0.5], [5.4, 2], [3, 4.5], [0.6, 2]], "oriented_rectangle"),
                ["..##", ".####", ".####", "..##"],
            ),
            (shape([[3, 2], [3, 3.2]], "circle"), ["", "..##", "..##"]),
            (shape([[1, 2], [2, 3]], "mask", mask=png([[0, 1], [255, 0]])), ["", "", "..#", ".#"]),
            (shape([[1.0, 2.0], [2.0, 2.0]], "mask", mask=png([[255, 0]], "1")), ["", "", ".#"]),
            (shape([[0, 0], [6, 4]], "line"), []),
            (shape([[1, 1]], "point"), []),
        ],
    )
    def test_whatever_it_was_drawn_with(self, read, drawn, rows):
        (found,) = read(document(drawn))
        assert found.mask.tolist() == [[int(p == "#") for p in row.ljust(6)] for row in [*rows, "", "", "", ""][:4]]
        assert found.name == "deep/a"

    def test_later_shapes_lie_above(self, read):
        drawn = [("cat", 0, 4), ("__ignore__", 1, 4), ("horse", 2, 3), ("_background_", 3, 4)]
        shapes = [shape([[left, 0], [right, 1]], "rectangle", label) for label, left, right in drawn]
        (found,) = read(document(*shapes, size=(1, 5)))
        assert found.mask.tolist() == [[1, 255, 256, 0, 0]]
        assert found.names == {1: "cat", 256: "horse"}

    def test_files_of_a_folder_in_order_and_one_alone(self, read, tmp_path):
        for name in ("b.json", "a.json", "advcam-export.json"):
            found = read(document(), name)
        assert [one.name for one in found] == ["a", "b"]
        assert [one.name for one in FORMAT.read(tmp_path / "b.json", CLASSES)] == ["b"]


def mask(text, x=0, y=0):
    return document(shape([[x, y], [x, y]], "mask", mask=text))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", r"a\.json is no complete JSON"),
        ("[]", r'a\.json has no list "shapes", so LabelMe did not write it; take it out of the folder'),
        ({"shapes": [1]}, 'has no list "shapes"'),
        (
            {"shapes": []},
            r"a\.json: the picture is None wide and None high; both are whole numbers from 1 to 178,000,000",
        ),
        (document(size=(10**4000, 10**4000)), "both are whole numbers from 1 to 178,000,000"),
        (document(size=(10**6, 10**6)), "the picture has 1,000,000,000,000 pixels; the most that is read is"),
        (document(shape([[0, 0]] * 3), shape([], label="")), "shape 2 has no label; give it one in LabelMe"),
        (document(shape([])), r"a\.json, shape 1 \(cat, polygon\): its points are no list of pairs; draw it again"),
        (document(shape([[1, 2, 3]])), "its points are no list of pairs"),
        (document(shape([[1, "2"]])), "'2' is no place in a picture; draw it again"),
        (document(shape([[1, float("inf")]])), "inf is no place in a picture"),
        (document(shape([[1, 2], [3, 4]])), "a polygon has 4 numbers; it needs x and y of at least 3 points"),
        (document(shape([[0, 0], [99, 0], [0, 9]])), "a polygon lies far outside the picture of 6 x 4 pixels"),
        (document(shape([[1, 2], [3, 4], [5, 6]], "circle")), r"\(cat, circle\) has 3 points instead of 2"),
        (document(shape([[1, 2]], "rectangle")), r"\(cat, rectangle\) has 1 points instead of 2"),
        (mask(None), r'shape 1 \(cat, mask\) has no text in its entry "mask"'),
        (mask("%%%"), "its mask is no PNG of its pixels .*; draw it again"),
        (mask(base64.b64encode(b"GIF89a").decode()), "its mask is no PNG of its pixels"),
        (mask(bomb()), r"its mask is no PNG of its pixels \(.*60,?000.* pixels.*\); draw it again"),
        (mask(png([[1] * 7])), r"its mask is no PNG of its pixels \(7 x 1 pixels are more than the picture has\)"),
        (mask(png([[1]], "RGB")), r"\(a picture of mode RGB instead of greyscale\)"),
        (
            mask(png([[1, 1]]), 5, 3),
            r"a mask of 2 x 1 pixels at \(5, 3\) does not lie inside the picture of 6 x 4 pixels",
        ),
        (mask(png([[1]]), -1, 0), r"a mask of 1 x 1 pixels at \(-1, 0\) does not lie inside the picture"),
    ],
)
def test_errors_name_file_and_place(read, content, words):
    with pytest.raises(DatasetError, match=words) as caught:
        read(content)
    assert "a.json" in str(caught.value)


def test_a_folder_without_files(tmp_path):
    with pytest.raises(
        DatasetError, match=r"holds no \.json file; name the folder or the file of an export of LabelMe"
    ):
        list(FORMAT.read(tmp_path, CLASSES))
    with pytest.raises(DatasetError, match=r"x\.json is missing"):
        list(FORMAT.read(tmp_path / "x.json", CLASSES))
