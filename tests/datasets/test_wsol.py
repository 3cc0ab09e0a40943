"""The WSOL benchmark: hand-made metadata with boxes and with masks, and broken ones."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from advcam.datasets.wsol import WSOL
from advcam.errors import AdvcamError, DatasetError, SettingError
from advcam.types import Box

TRAIN = {"image_ids": "t/a.jpg\nt/b.jpg\n", "class_labels": "t/a.jpg,0\nt/b.jpg,2\n", "image_ids_proxy": "t/b.jpg\n"}
BOXES = {
    "image_ids": "v/a.jpg\nv/b.jpg\n",
    "class_labels": "v/a.jpg,1\nv/b.jpg,0\n",
    "image_sizes": "v/a.jpg,30,20\nv/b.jpg,24,16\n",
    "localization": "v/a.jpg,0,0,29,19\nv/b.jpg,3,4,3,4\nv/a.jpg,5,6,10,12\n",
}
MASKS = {
    "image_ids": "o/a.jpg\no/b.jpg\n",
    "class_labels": "o/a.jpg,3\no/b.jpg,2\n",
    "localization": "o/a.jpg,o/a_m0.png,o/a_ignore.png\no/a.jpg,o/a_m1.png,\no/b.jpg,o/b_m0.png,\n",
}
A0 = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]])
A1 = np.array([[0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]])
IGNORED = np.array([[0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 1]])


def write_lists(folder, lists, **changes):
    """The lists with some replaced, or left out where they are None."""
    for name, text in (lists | changes).items():
        if text is not None:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{name}.txt").write_bytes(text if isinstance(text, bytes) else text.encode())


def write_pictures(folder, values=255):
    """Pictures of 4 x 3 pixels and the masks, in grey levels."""
    (folder / "o").mkdir(parents=True, exist_ok=True)
    for name in ("a.jpg", "b.jpg"):
        Image.new("RGB", (4, 3)).save(folder / "o" / name)
    for name, pixels in (("a_m0", A0), ("a_m1", A1), ("a_ignore", IGNORED), ("b_m0", A1)):
        Image.fromarray((pixels * values).astype(np.uint8)).save(folder / "o" / f"{name}.png")


@pytest.fixture
def boxed(tmp_path):
    def write(**changes):
        write_lists(tmp_path / "metadata/CUB/train", TRAIN)
        write_lists(tmp_path / "metadata/CUB/val", BOXES, **changes)
        return tmp_path

    return write


@pytest.fixture
def masked(tmp_path):
    def write(values=255, **changes):
        write_lists(tmp_path / "metadata/OpenImages/test", MASKS, **changes)
        write_pictures(tmp_path / "dataset/OpenImages", values)
        return tmp_path

    return write


def refusal(call, *arguments):
    with pytest.raises(DatasetError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


class TestLayout:
    def test_splits_and_ids(self, boxed):
        data = WSOL(boxed())
        assert data.splits == ("train", "val", "train-proxy")
        assert list(data.ids("train")) == ["t/a.jpg", "t/b.jpg"]
        assert list(data.ids("train-proxy")) == ["t/b.jpg"]
        assert list(data.ids("val")) == ["v/a.jpg", "v/b.jpg"]

    def test_roles_are_names_of_splits(self, boxed, tmp_path):
        data = WSOL(boxed())
        assert list(data.ids("train-weaksup")) == list(data.ids("train"))
        assert list(data.ids("train-fullsup")) == list(data.ids("val"))
        write_lists(tmp_path / "roles/train-fullsup", BOXES)
        renamed = WSOL(tmp_path, metadata=tmp_path / "roles")
        assert renamed.splits == ("train-fullsup",)
        assert list(renamed.ids("val")) == ["v/a.jpg", "v/b.jpg"]
        assert list(renamed.problems("val")) == []

    @pytest.mark.parametrize("split", ["test", "train-fullsup"])
    def test_no_such_split(self, tmp_path, split):
        write_lists(tmp_path / "metadata/train", TRAIN)
        for call in (WSOL(tmp_path).ids, WSOL(tmp_path).problems):
            with pytest.raises(SettingError, match=f"no split '{split}'; its splits are: train, train-proxy"):
                call(split)

    @pytest.mark.parametrize(
        ("folder", "split"), [("metadata", "test"), ("metadata/val", "val"), ("metadata/CUB/val", "val")]
    )
    def test_where_the_metadata_lies(self, tmp_path, folder, split):
        assert not WSOL.fits(tmp_path)
        write_lists(tmp_path / folder, BOXES)
        assert WSOL.fits(tmp_path)
        assert WSOL(tmp_path).splits == (split,)

    def test_metadata_elsewhere(self, tmp_path):
        write_lists(tmp_path / "lists/CUB/val", BOXES)
        (tmp_path / "pictures").mkdir()
        data = WSOL(tmp_path / "pictures", metadata=tmp_path / "lists/CUB")
        assert data.sample("v/a.jpg").path == tmp_path / "pictures/v/a.jpg"

    def test_several_data_sets(self, tmp_path):
        for name in ("CUB", "ILSVRC"):
            write_lists(tmp_path / "metadata" / name / "val", BOXES)
        assert refusal(WSOL, tmp_path) == (
            f"{tmp_path / 'metadata'} describes CUB, ILSVRC; name the folder of one of them as metadata"
        )
        assert WSOL(tmp_path, metadata=tmp_path / "metadata/CUB").splits == ("val",)

    def test_nothing_there(self, tmp_path):
        assert "holds no WSOL metadata: looked for image_ids.txt" in refusal(WSOL, tmp_path)

    @pytest.mark.parametrize("folder", ["dataset/CUB", "images/CUB", "images", "."])
    def test_where_pictures_lie(self, boxed, folder):
        root = boxed()
        (root / "images/CUB").mkdir(parents=True)  # an empty folder must not hide the right one
        (root / folder / "v").mkdir(parents=True)
        (root / folder / "v/b.jpg").touch()
        assert WSOL(root).sample("v/b.jpg").path == root / folder / "v/b.jpg"

    def test_ids_stream(self, boxed):
        ids = WSOL(boxed(image_ids=b"v/a.jpg\n" * 10_000 + b"\xff\n")).ids("val")
        assert next(ids) == "v/a.jpg"
        with pytest.raises(DatasetError, match="is not UTF-8 text"):
            list(ids)


class TestBoxes:
    def test_labels_and_sizes(self, boxed):
        data = WSOL(boxed())
        assert data.class_names == ("0", "1", "2")
        assert [sample.labels for sample in data.samples("val")] == [("1",), ("0",)]
        assert [sample.labels for sample in data.samples("train")] == [("0",), ("2",)]
        assert data.size("v/b.jpg") == (24, 16)

    def test_names_given(self, boxed):
        data = WSOL(boxed(), class_names=["albatross", "auklet"])
        assert data.sample("v/a.jpg").labels == ("auklet",)
        assert "the class of t/b.jpg is '2'; one whole number below 2 is needed" in refusal(data.sample, "t/b.jpg")

    def test_boxes(self, boxed):
        data = WSOL(boxed())
        # Both corners are inside: 0 to 29 are 30 columns. The lines of one picture need not be neighbours.
        assert data.boxes("v/a.jpg") == (Box(1, 0, 0, 30, 20, 1.0), Box(1, 5, 6, 11, 13, 1.0))
        assert data.boxes("v/b.jpg") == (Box(0, 3, 4, 4, 5, 1.0),)
        assert data.boxes("t/a.jpg") is None
        assert data.mask("v/a.jpg") is None

    def test_a_corner_at_the_width_is_kept_for_the_published_evaluator(self, boxed):
        data = WSOL(boxed(localization="v/b.jpg,0,0,24,16\n"))
        assert data.boxes("v/b.jpg") == (Box(0, 0, 0, 25, 17, 1.0),)
        assert data.boxes("v/a.jpg") is None

    @pytest.mark.parametrize("row", ["25,0,25,3", "24,0,24,3", "0,16,2,16", "5,2,4,3", "5,3,6,2", "0,0,3,17"])
    def test_boxes_outside_or_swapped(self, boxed, row):
        data = WSOL(boxed(localization=f"v/b.jpg,{row}\nv/a.jpg,1,2,3,4\n"))
        assert f"v/b.jpg: the box {row} is not inside a picture of 24 x 16, or has" in refusal(data.boxes, "v/b.jpg")
        assert data.boxes("v/a.jpg") == (Box(1, 1, 2, 4, 5, 1.0),)

    @pytest.mark.parametrize("row", ["1,2,3,-4", "1,2,3,4.0", "1,2,3,x", "1,2,,4", "1,2,3," + "9" * 5000])
    def test_boxes_of_other_things(self, boxed, row):
        data = WSOL(boxed(localization=f"v/b.jpg,{row}\n"))
        assert "is not four whole numbers x0,y0,x1,y1; mend localization.txt" in refusal(data.boxes, "v/b.jpg")

    @pytest.mark.parametrize("rest", [",1,2,3", ",1,2,3,4,5", "", ",", ",1,2,3,4\nv/b.jpg,m.png,"])
    def test_lines_of_neither_kind(self, boxed, rest):
        data = WSOL(boxed(localization=f"v/b.jpg{rest}\n"))
        for call in (data.boxes, data.mask):
            assert "the lines of v/b.jpg are not all path,x0,y0,x1,y1 or all" in refusal(call, "v/b.jpg")

    @pytest.mark.parametrize("row", [None, "", "24", "24,16,3", "24,x", "0,16", "24,-1", "9999999,9999999", "9" * 5000])
    def test_no_size(self, boxed, row):
        line = "" if row is None else f"v/b.jpg,{row}\n"
        data = WSOL(boxed(image_sizes=f"v/a.jpg,30,20\n{line}"))
        for call in (data.size, data.boxes):
            assert "image_sizes.txt needs one line v/b.jpg,width,height; correct it" in refusal(call, "v/b.jpg")
        assert data.size("v/a.jpg") == (30, 20)

    def test_two_sizes(self, boxed):
        data = WSOL(boxed(image_sizes="v/b.jpg,24,16\nv/b.jpg,24,17\n"))
        assert "needs one line v/b.jpg" in refusal(data.size, "v/b.jpg")

    @pytest.mark.parametrize("label", ["", "x", "-1", "1.0", "100000", "9" * 5000])
    def test_no_class_number(self, boxed, label):
        data = WSOL(boxed(class_labels=f"v/a.jpg,1\nv/b.jpg,{label}\n"))
        assert data.class_names == ("0", "1", "2")
        for call in (data.sample, data.boxes):
            words = refusal(call, "v/b.jpg")
            assert f"the class of v/b.jpg is {label!r:.100}" in words
            assert words.endswith("; one whole number below 3 is needed")
        assert data.sample("v/a.jpg").labels == ("1",)

    def test_two_classes(self, boxed):
        data = WSOL(boxed(class_labels="v/a.jpg,1\nv/a.jpg,0\n"))
        assert r"is '1\n0'; one whole number" in refusal(data.sample, "v/a.jpg")

    def test_unlabelled_picture(self, boxed):
        data = WSOL(boxed(class_labels="v/a.jpg,1\n"))
        for call in (data.sample, data.size, data.boxes, data.mask):
            assert "has a line of 'v/b.jpg'; add it, or check the id" in refusal(call, "v/b.jpg")

    @pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a/../../b.jpg", "c:/b.jpg", "..\\b.jpg"])
    def test_hostile_paths(self, boxed, name):
        data = WSOL(boxed(image_ids=f"{name}\nv/a.jpg\n", class_labels=f"{name},0\nv/a.jpg,1\n"))
        assert list(data.ids("val")) == [name, "v/a.jpg"]
        assert "names are paths inside the data set" in refusal(data.sample, name)
        assert data.sample("v/a.jpg").labels == ("1",)

    def test_a_picture_in_two_splits_has_the_annotation_of_the_smaller_one(self, boxed, tmp_path):
        write_lists(tmp_path / "metadata/CUB/test", {"image_ids": "v/b.jpg\n", "class_labels": "v/b.jpg,1\n"})
        data = WSOL(boxed())
        assert [*data.ids("val"), *data.ids("test")] == ["v/a.jpg", "v/b.jpg", "v/b.jpg"]
        assert data.sample("v/b.jpg").labels == ("1",)


class TestMasks:
    @pytest.mark.parametrize("values", [1, 255])
    def test_mask(self, masked, values):
        data = WSOL(masked(values))
        # Class 3 is number 4: the union of both masks; 255 in the rest of the ignore region.
        assert data.mask("o/a.jpg").tolist() == [[4, 4, 0, 0], [4, 4, 4, 255], [0, 0, 0, 255]]
        assert data.mask("o/b.jpg").tolist() == [[0, 0, 0, 0], [0, 3, 3, 0], [0, 0, 0, 0]]
        assert data.mask("o/a.jpg").dtype == np.int32
        assert data.boxes("o/a.jpg") is None
        assert data.sample("o/a.jpg").labels == ("3",)
        assert data.size("o/a.jpg") == (4, 3)

    def test_masks_of_one_bit(self, masked):
        root = masked()
        Image.fromarray(A0.astype(bool)).save(root / "dataset/OpenImages/o/b_m0.png")
        assert WSOL(root).mask("o/b.jpg").tolist() == (A0 * 3).tolist()

    def test_empty_masks(self, masked):
        assert not WSOL(masked(values=0)).mask("o/a.jpg").any()

    def test_picture_without_masks(self, masked):
        assert WSOL(masked(localization="o/b.jpg,o/b_m0.png\n")).mask("o/a.jpg") is None

    def test_masks_of_another_size_are_resized_as_the_evaluator_does(self, masked):
        root = masked()
        pixels = np.random.default_rng(0).integers(0, 2, (7, 9)).astype(np.uint8)
        Image.fromarray(pixels * 255).save(root / "dataset/OpenImages/o/b_m0.png")
        expected = cv2.resize((pixels * 255).astype(np.float32), (4, 3), interpolation=cv2.INTER_NEAREST) > 0.5
        assert (WSOL(root).mask("o/b.jpg") == expected * 3).all()

    def test_sizes_listed_go_before_the_picture(self, masked):
        data = WSOL(masked(image_sizes="o/a.jpg,8,6\no/b.jpg,8,6\n"))
        assert data.mask("o/a.jpg").shape == (6, 8)

    @pytest.mark.parametrize("label", [253, 254])
    def test_more_classes_than_a_mask_has_numbers(self, masked, label):
        data = WSOL(masked(class_labels=f"o/a.jpg,{label}\no/b.jpg,0\n"))
        if label == 253:
            assert data.mask("o/a.jpg").max() == 255 == data.mask("o/a.jpg")[1, 3]
            assert (data.mask("o/a.jpg") == 254).sum() == 5
        else:
            assert "is of class 254, but masks number classes up to 253" in refusal(data.mask, "o/a.jpg")
            assert data.mask("o/b.jpg").max() == 1

    def test_ignore_region_in_a_later_line(self, masked):
        text = "o/a.jpg,o/a_m0.png,\no/a.jpg,o/a_m1.png,o/a_ignore.png\n"
        assert "in a line that is not its first one" in refusal(WSOL(masked(localization=text)).mask, "o/a.jpg")

    @pytest.mark.parametrize("name", ["../../a.png", "/etc/passwd"])
    @pytest.mark.parametrize("line", ["o/a.jpg,{},", "o/a.jpg,o/a_m0.png,{}"])
    def test_hostile_paths(self, masked, name, line):
        data = WSOL(masked(localization=line.format(name)))
        assert "names are paths inside the data set" in refusal(data.mask, "o/a.jpg")

    def test_missing_and_damaged_files(self, masked):
        root = masked()
        (root / "dataset/OpenImages/o/a_m1.png").unlink()
        (root / "dataset/OpenImages/o/b_m0.png").write_bytes(b"no png")
        data = WSOL(root)
        assert "a_m1.png is missing" in refusal(data.mask, "o/a.jpg")
        assert "cannot be read as a mask" in refusal(data.mask, "o/b.jpg")
        (root / "dataset/OpenImages/o/a.jpg").unlink()
        assert "restore the picture" in refusal(data.mask, "o/a.jpg")


class TestProblems:
    def test_whole(self, boxed):
        data = WSOL(boxed())
        assert [problem for split in data.splits for problem in data.problems(split)] == []

    @pytest.mark.parametrize("name", ["class_labels", "image_sizes", "localization"])
    def test_lines_missing_and_in_excess(self, boxed, name):
        text = BOXES[name].replace("v/b.jpg", "v/c.jpg")
        root = boxed(**{name: text})
        path = root / "metadata/CUB/val"
        assert list(WSOL(root).problems("train-fullsup")) == [
            f"{path / name}.txt has no line of v/b.jpg",
            f"{path / name}.txt has a line of v/c.jpg, but {path / 'image_ids.txt'} has not",
        ]

    def test_proxy_list_may_leave_pictures_out(self, boxed, tmp_path):
        root = boxed()
        write_lists(tmp_path / "metadata/CUB/train", TRAIN | {"image_ids_proxy": "t/b.jpg\nt/c.jpg\n"})
        path = root / "metadata/CUB/train/class_labels.txt"
        assert list(WSOL(root).problems("train-proxy")) == [f"{path} has no line of t/c.jpg"]


def message(call, *arguments):
    """The error of a call, empty where there is none."""
    try:
        call(*arguments)
    except AdvcamError as error:
        return str(error)
    return ""


@settings(max_examples=100, deadline=None, derandomize=True)
@given(draw=st.data())
def test_any_damage_ends_in_one_line(draw, tmp_path_factory):
    root = tmp_path_factory.mktemp("wsol")
    lists = draw.draw(st.sampled_from([BOXES, MASKS]))
    name = draw.draw(st.sampled_from(sorted(lists)))
    content = lists[name].encode()
    start = draw.draw(st.integers(0, len(content)))
    stop = draw.draw(st.integers(start, len(content)))
    write_lists(root / "metadata/test", lists, **{name: content[:start] + draw.draw(st.binary()) + content[stop:]})
    write_pictures(root)
    data = WSOL(root)
    ids = {"v/a.jpg", "o/a.jpg"}
    for call in (lambda: ids.update(data.ids("test")), lambda: list(data.problems("test")), lambda: data.class_names):
        assert "\n" not in message(call)
    for id_ in ids:
        for call in (data.sample, data.size, data.mask, data.boxes):
            assert "\n" not in message(call, id_)
