"""ImageNet: hand-made files in the layout of the download, and broken ones."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from advcam.datasets.imagenet import ImageNet
from advcam.errors import AdvcamError, DatasetError, SettingError
from advcam.types import Box

MAPPING = "n01440764 tench, Tinca tinca\nn02012849 crane\nn03126707 crane\nn03710721 maillot, tank suit\n"
TENCH = "train/n01440764/n01440764_10026.JPEG"
CRANE = "train/n03126707/n03126707_7.JPEG"
FIRST, SECOND = (f"val/ILSVRC2012_val_0000000{number}.JPEG" for number in (1, 2))
XMLS = "ILSVRC/Annotations/CLS-LOC"
LISTS = "ILSVRC/ImageSets/CLS-LOC"


def xml(*objects, size=(30, 20)):
    """An annotation with objects (synset, xmin, ymin, xmax, ymax)."""
    sides = "".join(f"<{side}>{value}</{side}>" for side, value in zip(("width", "height"), size, strict=True))
    entries = ""
    for name, *corners in objects:
        texts = zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
        box = "".join(f"<{tag}>{text}</{tag}>" for tag, text in texts if text is not None)
        entries += f"<object><name>{name}</name><bndbox>{box}</bndbox></object>"
    return f"<annotation><size>{sides}</size>{entries}</annotation>"


FILES = {
    "LOC_synset_mapping.txt": MAPPING,
    f"{LISTS}/train_cls.txt": "n01440764/n01440764_10026 1\nn03126707/n03126707_7 2\n",
    f"{LISTS}/val.txt": "ILSVRC2012_val_00000001 1\nILSVRC2012_val_00000002 2\n",
    f"{XMLS}/train/n01440764/n01440764_10026.xml": xml(("n01440764", 3, 4, 10, 12)),
    f"{XMLS}/val/ILSVRC2012_val_00000001.xml": xml(("n02012849", 0, 0, 29, 19), ("n02012849", 5, 6, 5, 6)),
    f"{XMLS}/val/ILSVRC2012_val_00000002.xml": xml(("n03710721", 1, 2, 3, 4)),
    "LOC_train_solution.csv": "ImageId,PredictionString\nn01440764_10026,n01440764 3 4 10 12 \n",
    "LOC_val_solution.csv": (
        "ImageId,PredictionString\nILSVRC2012_val_00000002,n03710721 1 2 3 4 \n"
        "ILSVRC2012_val_00000001,n02012849 0 0 29 19 n02012849 5 6 5 6 \n"
    ),
}


def write_files(root, changes):
    """The files with some replaced, or left out where the value is None."""
    for name, text in (FILES | changes).items():
        if text is not None:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    for id_ in (TENCH, CRANE, FIRST, SECOND):
        path = root / "ILSVRC/Data/CLS-LOC" / id_
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (30, 20)).save(path)
    return root


@pytest.fixture
def write(tmp_path):
    return lambda changes=(): write_files(tmp_path, dict(changes))


WITHOUT_XML = dict.fromkeys(name for name in FILES if name.endswith(".xml"))


def refusal(call, *arguments):
    with pytest.raises(DatasetError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


class TestLayout:
    @pytest.mark.parametrize("below", [".", "ILSVRC"])
    def test_root(self, write, below):
        root = write()
        assert ImageNet.fits(root / below)
        data = ImageNet(root / below)
        assert data.splits == ("train", "val")
        assert list(data.ids("train")) == [TENCH, CRANE]
        assert list(data.ids("val")) == [FIRST, SECOND]
        assert data.sample(TENCH).path == root / "ILSVRC/Data/CLS-LOC" / TENCH

    def test_nothing_there(self, tmp_path):
        assert not ImageNet.fits(tmp_path)
        assert "ILSVRC/Data/CLS-LOC is missing below it" in refusal(ImageNet, tmp_path)

    def test_split_without_list_or_pictures_is_not_there(self, write):
        data = ImageNet(write({f"{LISTS}/train_cls.txt": None}))
        assert data.splits == ("val",)
        for call in (data.ids, data.problems):
            with pytest.raises(SettingError, match="no split 'train'; its splits are: val"):
                call("train")

    def test_ids_stream(self, write):
        ids = ImageNet(write({f"{LISTS}/val.txt": b"ILSVRC2012_val_00000001 1\n" * 10_000 + b"\xff\n"})).ids("val")
        assert next(ids) == FIRST
        with pytest.raises(DatasetError, match="is not UTF-8 text"):
            list(ids)


class TestTruth:
    def test_class_names_are_first_names_and_tell_classes_apart(self, write):
        names = ("tench", "crane (n02012849)", "crane (n03126707)", "maillot")
        assert ImageNet(write()).class_names == names

    def test_labels_of_train_are_folders(self, write):
        data = ImageNet(write())
        assert [sample.labels for sample in data.samples("train")] == [("tench",), ("crane (n03126707)",)]

    @pytest.mark.parametrize("changes", [{}, WITHOUT_XML, {"LOC_val_solution.csv": None}])
    def test_labels_and_boxes_of_val(self, write, changes):
        data = ImageNet(write(changes))
        assert [sample.labels for sample in data.samples("val")] == [("crane (n02012849)",), ("maillot",)]
        # Both corners are inside: 0 to 29 are 30 columns.
        assert data.boxes(FIRST) == (Box(1, 0, 0, 30, 20, 1.0), Box(1, 5, 6, 6, 7, 1.0))
        assert data.boxes(SECOND) == (Box(3, 1, 2, 4, 5, 1.0),)

    @pytest.mark.parametrize("changes", [{}, WITHOUT_XML])
    def test_train_pictures_without_boxes(self, write, changes):
        data = ImageNet(write(changes))
        assert data.boxes(TENCH) == (Box(0, 3, 4, 11, 13, 1.0),)
        assert data.boxes(CRANE) is None
        assert data.mask(TENCH) is None

    def test_neither_xml_nor_csv(self, write):
        data = ImageNet(write(WITHOUT_XML | {"LOC_train_solution.csv": None, "LOC_val_solution.csv": None}))
        assert data.boxes(TENCH) is None
        assert data.sample(TENCH).labels == ("tench",)
        assert "has no annotation that tells its class" in refusal(data.sample, FIRST)

    def test_several_classes_in_the_order_of_the_classes(self, write):
        objects = xml(("n03710721", 1, 2, 3, 4), ("n01440764", 1, 2, 3, 4))
        data = ImageNet(write({f"{XMLS}/val/ILSVRC2012_val_00000001.xml": objects}))
        assert data.sample(FIRST).labels == ("tench", "maillot")
        assert [box.class_id for box in data.boxes(FIRST)] == [3, 0]

    @pytest.mark.parametrize("as_xml", [True, False])
    def test_boxes_are_clipped_to_the_picture(self, write, as_xml):
        # A genuine habit: xmax equal to the width.
        changes = {f"{XMLS}/val/ILSVRC2012_val_00000002.xml": xml(("n03710721", -1, 2, 30, 25))}
        row = "ImageId,PredictionString\nILSVRC2012_val_00000002,n03710721 -1 2 30 25"
        data = ImageNet(write(changes if as_xml else WITHOUT_XML | {"LOC_val_solution.csv": row}))
        assert data.boxes(SECOND) == (Box(3, 0, 2, 30, 20, 1.0),)


class TestProblems:
    def test_whole(self, write):
        data = ImageNet(write())
        assert [*data.problems("train"), *data.problems("val")] == []

    @pytest.mark.parametrize("changes", [{}, WITHOUT_XML])
    def test_annotations_and_lists_that_disagree(self, write, changes):
        lists = {
            f"{LISTS}/train_cls.txt": "n03126707/n03126707_7 1\n",
            f"{LISTS}/val.txt": "ILSVRC2012_val_00000001 1\nILSVRC2012_val_00000003 2\n",
        }
        root = write(changes | lists)
        data = ImageNet(root)
        train, val = (root / LISTS / name for name in ("train_cls.txt", "val.txt"))
        assert list(data.problems("train")) == [f"n01440764/n01440764_10026 is annotated, but not listed in {train}"]
        assert list(data.problems("val")) == [
            f"ILSVRC2012_val_00000002 is annotated, but not listed in {val}",
            "ILSVRC2012_val_00000003 has no annotation",
        ]


class TestBroken:
    @pytest.mark.parametrize("line", ["n01440764", "n01440764 ", "n02012849 crane again"])
    def test_mapping(self, write, line):
        data = ImageNet(write({"LOC_synset_mapping.txt": f"{MAPPING}{line}\n"}))
        assert f"{line.strip()!r} is no synset of its own with names" in refusal(lambda: data.class_names)

    def test_unknown_synsets(self, write):
        root = write({f"{XMLS}/val/ILSVRC2012_val_00000001.xml": xml(("n9", 1, 2, 3, 4))})
        data = ImageNet(root)
        text = "is of 'n9', which LOC_synset_mapping.txt does not list; add or remove it"
        for call, id_ in ((data.sample, FIRST), (data.boxes, FIRST), (data.sample, "train/n9/n9_1.JPEG")):
            assert refusal(call, id_) == f"{id_} {text}"
        assert data.sample(SECOND).labels == ("maillot",)

    @pytest.mark.parametrize(
        "id_",
        [
            "train/n01440764_10026.JPEG",
            "val/a/b.JPEG",
            "test/a.JPEG",
            "val/a.jpg",
            "train//secret.JPEG",
            "val//secret.JPEG",
            "ILSVRC2012_val_00000001.JPEG",
        ],
    )
    def test_ids_of_another_form(self, write, id_):
        data = ImageNet(write())
        for call in (data.sample, data.boxes):
            assert f"no picture {id_!r}; ids look like" in refusal(call, id_)

    @pytest.mark.parametrize("name", ["../../etc/passwd", "..\\x", "n1/../../../x"])
    def test_hostile_names(self, write, name):
        data = ImageNet(write({f"{LISTS}/val.txt": f"{name} 1\nILSVRC2012_val_00000002 2\n"}))
        hostile, good = data.ids("val")
        for call in (data.sample, data.boxes):
            assert "names are paths inside the data set" in refusal(call, hostile)
        assert data.sample(good).labels == ("maillot",)

    @pytest.mark.parametrize(
        ("text", "message", "labelled"),
        [
            ("<annotation>", "is no complete XML", False),
            ("", "is no complete XML", False),
            ("<annotation/>", "has no annotation that tells its class", False),
            (xml(("n01440764", 5, 6, 4, 8)), "the box 5, 6, 4, 8 covers no pixel of a picture of 30 x 20", True),
            (xml(("n01440764", 5, 6, 8, 5)), "the box 5, 6, 8, 5 covers no pixel", True),
            (xml(("n01440764", 30, 6, 31, 8)), "the box 30, 6, 31, 8 covers no pixel", True),
            (xml(("n01440764", 1, 2, 3, None)), "the corners of a box are '1, 2, 3, '; whole numbers", True),
            (xml(("n01440764", 1, 2, 3, "4.5")), "the corners of a box are '1, 2, 3, 4.5'; whole numbers", True),
            (xml(("n01440764", 1, 2, 3, "4\n5")), r"'1, 2, 3, 4\n5'; whole numbers", True),
            (xml(("n01440764", 1, 2, 3, "9" * 5000)), "whole numbers are needed", True),
            (xml(("n01440764", 1, 2, 3, 4), size=("", 20)), "has no <size> with width and height", True),
            (xml(("n01440764", 1, 2, 3, 4), size=(30, "9" * 5000)), "has no <size> with width and height", True),
            (xml(("n01440764", 1, 2, 3, 4), size=(0, 0)), "covers no pixel of a picture of 0 x 0", True),
        ],
    )
    def test_xml(self, write, text, message, labelled):
        data = ImageNet(write({f"{XMLS}/val/ILSVRC2012_val_00000001.xml": text}))
        if labelled:
            assert data.sample(FIRST).labels == ("tench",)
            assert message in refusal(data.boxes, FIRST)
        else:
            assert message in refusal(data.sample, FIRST)
        assert data.boxes(SECOND) == (Box(3, 1, 2, 4, 5, 1.0),)

    def test_missing_xml(self, write):
        data = ImageNet(write({f"{XMLS}/val/ILSVRC2012_val_00000001.xml": None}))
        assert data.boxes(FIRST) is None
        assert "restore its XML or CSV line" in refusal(data.sample, FIRST)

    @pytest.mark.parametrize(
        ("row", "message"),
        [
            ("n01440764 1 2 3", "is not a synset and four numbers an object"),
            ("", "has no annotation that tells its class"),
        ],
    )
    def test_row_of_csv(self, write, row, message):
        text = f"ImageId,PredictionString\nILSVRC2012_val_00000001,{row}\nILSVRC2012_val_00000002,n03710721 1 2 3 4\n"
        data = ImageNet(write(WITHOUT_XML | {"LOC_val_solution.csv": text}))
        assert message in refusal(data.sample, FIRST)
        assert data.sample(SECOND).labels == ("maillot",)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "begins with '' and not with ImageId,PredictionString"),
            ("ILSVRC2012_val_00000001,n01440764 1 2 3 4\n", "and not with ImageId,PredictionString"),
            ("ImageId,PredictionString\na,n1 1 2 3 4\na,n1 1 2 3 4\n", "lists 'a' twice"),
            (b"ImageId,PredictionString\n\xff", "is not UTF-8 text"),
        ],
    )
    def test_csv(self, write, text, message):
        data = ImageNet(write(WITHOUT_XML | {"LOC_val_solution.csv": text}))
        assert message in refusal(data.sample, FIRST)

    def test_boxes_of_a_csv_need_the_picture(self, write):
        root = write(WITHOUT_XML)
        (root / "ILSVRC/Data/CLS-LOC" / FIRST).unlink()
        assert "restore the picture" in refusal(ImageNet(root).boxes, FIRST)


def message(call, *arguments):
    """The error of a call, empty where there is none."""
    try:
        call(*arguments)
    except AdvcamError as error:
        return str(error)
    return ""


@settings(max_examples=60, deadline=None, derandomize=True)
@given(draw=st.data())
def test_any_damage_ends_in_one_line(draw, tmp_path_factory):
    name = draw.draw(st.sampled_from(sorted(FILES)))
    content = FILES[name].encode()
    start = draw.draw(st.integers(0, len(content)))
    stop = draw.draw(st.integers(start, len(content)))
    changes = {name: content[:start] + draw.draw(st.binary(max_size=4)) + content[stop:]}
    if not name.endswith(".xml"):
        changes |= draw.draw(st.sampled_from([{}, WITHOUT_XML]))
    data = ImageNet(write_files(tmp_path_factory.mktemp("imagenet"), changes))
    ids = [TENCH, CRANE, FIRST, SECOND]
    for call in [lambda split: ids.extend(data.ids(split)), lambda split: list(data.problems(split))]:
        for split in ("train", "val"):
            assert "\n" not in message(call, split)
    for id_ in ids:
        for call in (data.sample, data.boxes):
            assert "\n" not in message(call, id_)
