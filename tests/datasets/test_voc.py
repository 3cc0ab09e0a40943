"""PASCAL VOC 2012, hand-written: lists in all spellings, XML, masks, and everything that can be wrong with them."""

import numpy as np
import pytest
from PIL import Image

from advcam.datasets.voc import VOC2012, VOC_CLASSES
from advcam.errors import DatasetError, SettingError
from advcam.types import Box

ID = "2007_000032"


def objekt(name, box=(1, 1, 4, 3), extra="<difficult>0</difficult>"):
    corners = "".join(
        f"<{tag}>{value}</{tag}>" for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    )
    return f"<object><name>{name}</name>{extra}<bndbox>{corners}</bndbox></object>"


def write_xml(root, *objects, id_=ID, size=(10, 8)):
    width, height = size
    text = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>" + "".join(objects)
    (root / f"Annotations/{id_}.xml").write_text(f"<annotation>{text}</annotation>")


def write_list(root, name, *lines):
    path = root / "ImageSets" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines))


def write_mask(root, numbers, folder="SegmentationClass", mode="P"):
    image = Image.fromarray(np.array(numbers, dtype=np.uint8))
    if mode == "P":
        image.putpalette(bytes(range(256)) * 3)
    (root / folder).mkdir(exist_ok=True)
    image.save(root / folder / f"{ID}.png")


@pytest.fixture
def root(tmp_path):
    """An empty VOC2012 folder with a list that holds one picture."""
    home = tmp_path / "VOCdevkit/VOC2012"
    for folder in ("JPEGImages", "Annotations", "ImageSets"):
        (home / folder).mkdir(parents=True)
    write_list(home, "Segmentation/train.txt", ID)
    return home


def test_root_may_be_any_of_three_folders(tmp_path, root):
    for named in (root, root.parent, tmp_path):
        assert VOC2012(named).root == root
        assert VOC2012.fits(named)
    assert not VOC2012.fits(root / "JPEGImages")


def test_no_voc_here(tmp_path):
    with pytest.raises(DatasetError, match=r"holds no PASCAL VOC 2012: JPEGImages is missing below it$"):
        VOC2012(tmp_path)
    with pytest.raises(DatasetError, match=r"is no folder; name the root folder of PASCAL VOC 2012$"):
        VOC2012(tmp_path / "absent")


def test_classes():
    assert len(VOC_CLASSES) == 20
    assert list(VOC_CLASSES) == sorted(VOC_CLASSES)


def test_splits_are_the_lists_on_disk(root):
    assert VOC2012(root).splits == ("train",)
    write_list(root, "Segmentation/train_aug.txt", ID)
    write_list(root, "Main/val.txt", ID)
    write_list(root, "Main/person_val.txt", f"{ID} -1")
    write_list(root, "Segmentation/test.txt", ID)
    assert VOC2012(root).splits == ("train", "test", "trainaug", "main/val")
    with pytest.raises(SettingError, match=r"has no split 'val'; its splits are: train, test, trainaug, main/val$"):
        VOC2012(root).ids("val")


@pytest.mark.parametrize("name", ["trainaug.txt", "train_aug.txt"])
@pytest.mark.parametrize(
    "line",
    [
        "2007_000032",
        "2007000032",
        "  2007_000032  ",
        "/JPEGImages/2007_000032.jpg /SegmentationClassAug/2007_000032.png",
        "JPEGImages/2007_000032.jpg\tSegmentationClass/2007_000032.png",
        "\ufeff2007_000032",
    ],
)
def test_spellings_of_a_line(root, name, line):
    write_list(root, f"Segmentation/{name}", line, "", "2011_003276")
    assert list(VOC2012(root).ids("trainaug")) == ["2007_000032", "2011_003276"]


def test_ids_are_read_line_by_line_and_kept_twice(root):
    write_list(root, "Segmentation/train.txt", ID, ID, "broken")
    ids = VOC2012(root).ids("train")
    assert [next(ids), next(ids)] == [ID, ID]
    with pytest.raises(DatasetError, match=r"line 3"):
        next(ids)


@pytest.mark.parametrize(
    "line",
    [
        "2007_00032",
        "person",
        "2007_000032 1",
        "2007_000032 2007_000032 2007_000032",
        "/JPEGImages/2007_000032.jpg /SegmentationClassAug/2007_000033.png",
        "../../2007_000032.gif",
    ],
)
def test_malformed_line(root, line):
    write_list(root, "Segmentation/train.txt", ID, "", line)
    with pytest.raises(DatasetError) as caught:
        list(VOC2012(root).ids("train"))
    assert str(caught.value) == (
        f"{root}/ImageSets/Segmentation/train.txt, line 3: {line!r} names no picture; a line is an id such as "
        "2007_000032, or the paths of a picture and of its own mask; mend the line"
    )


def test_list_that_is_no_text(root):
    (root / "ImageSets/Segmentation/train.txt").write_bytes(b"\xff\xfe2007")
    with pytest.raises(DatasetError, match=r"train\.txt is not UTF-8 text; replace it by the data set's own list$"):
        list(VOC2012(root).ids("train"))


def test_empty_split(root):
    write_list(root, "Segmentation/val.txt", "")
    assert list(VOC2012(root).ids("val")) == []
    assert list(VOC2012(root).samples("val")) == []


def test_sample_of_several_objects(root):
    write_xml(root, objekt("sofa"), objekt(" person "), objekt("person"), objekt("cat"))
    sample = VOC2012(root).sample(ID)
    assert (sample.id, sample.path) == (ID, root / "JPEGImages/2007_000032.jpg")
    assert sample.labels == ("cat", "person", "sofa")
    assert not sample.path.exists()  # an absent picture is for the checker to find


def test_difficult_objects_count_unless_left_out(root):
    difficult = "<difficult>1</difficult>"
    write_xml(
        root,
        objekt("dog", (1, 1, 2, 2), difficult),
        objekt("cat", (3, 3, 4, 4), difficult),
        objekt("cat", (5, 5, 6, 6)),
        objekt("bus", (7, 7, 8, 8), extra=""),
    )
    with_all, easy = VOC2012(root), VOC2012(root, difficult=False)
    assert with_all.sample(ID).labels == ("bus", "cat", "dog")
    assert easy.sample(ID).labels == ("bus", "cat")
    assert [(box.class_id, box.x0) for box in with_all.boxes(ID)] == [(11, 0), (7, 2), (7, 4), (5, 6)]
    assert [(box.class_id, box.x0) for box in easy.boxes(ID)] == [(7, 4), (5, 6)]


def test_picture_of_difficult_objects_only_has_no_label(root):
    write_xml(root, objekt("dog", extra="<difficult>1</difficult>"))
    assert VOC2012(root, difficult=False).sample(ID).labels == ()


def test_parts_are_no_objects(root):
    part = "<part><name>head</name><bndbox><xmin>9</xmin><ymin>9</ymin><xmax>1</xmax><ymax>1</ymax></bndbox></part>"
    nested = "<part><object><name>cat</name></object></part>"
    write_xml(root, objekt("person", (1, 1, 10, 8), extra=part + nested))
    assert VOC2012(root).sample(ID).labels == ("person",)
    assert VOC2012(root).boxes(ID) == (Box(14, 0, 0, 10, 8, 1.0),)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ((1, 1, 1, 1), (0, 0, 1, 1)),
        ((1, 1, 10, 8), (0, 0, 10, 8)),
        ((3, 2, 7, 5), (2, 1, 7, 5)),
        # 2.70 is nearest to column 3, that is 2 from zero; 6.4 to column 6
        (("2.70", "2.0", "6.4", "5"), (2, 1, 6, 5)),
    ],
)
def test_boxes_from_one_based_to_half_open(root, written, expected):
    write_xml(root, objekt("cow", written))
    (box,) = VOC2012(root).boxes(ID)
    assert (box.class_id, box.score) == (9, 1.0)
    assert (box.x0, box.y0, box.x1, box.y1) == expected


@pytest.mark.parametrize(
    "box", [(5, 1, 4, 3), (1, 4, 4, 3), (0, 1, 4, 3), (1, 0, 4, 3), (1, 1, 11, 3), (1, 1, 4, 9), (-3, 1, 4, 3)]
)
def test_box_that_is_none_or_leads_out_of_the_picture(root, box):
    write_xml(root, objekt("cat"), objekt("cow", box))
    with pytest.raises(DatasetError) as caught:
        VOC2012(root).boxes(ID)
    assert str(caught.value) == (
        f"{root}/Annotations/{ID}.xml, object 2 (cow): the box xmin {box[0]}, ymin {box[1]}, xmax {box[2]}, ymax "
        f"{box[3]} does not lie inside the picture of 10 x 8 pixels, counted from 1; correct the file"
    )
    assert VOC2012(root).sample(ID).labels == ("cat", "cow")


@pytest.mark.parametrize("value", ["abc", "", "nan", "inf"])
def test_coordinate_that_is_no_number(root, value):
    write_xml(root, objekt("cow", (1, 1, value, 3)))
    message = rf"object 1 \(cow\): bndbox/xmax is '{value}' instead of a number of pixels; correct the file$"
    with pytest.raises(DatasetError, match=message):
        VOC2012(root).boxes(ID)


def test_object_without_a_box_and_picture_without_a_size(root):
    write_xml(root, "<object><name>cow</name></object>")
    with pytest.raises(DatasetError, match=r"object 1 \(cow\): bndbox/xmin is '' instead of a number of pixels"):
        VOC2012(root).boxes(ID)
    (root / f"Annotations/{ID}.xml").write_text(f"<annotation>{objekt('cow')}</annotation>")
    with pytest.raises(DatasetError, match=r"<size>: size/width is '' instead of a number of pixels"):
        VOC2012(root).boxes(ID)


def test_unknown_class(root):
    write_xml(root, objekt("tvmonitr"))
    with pytest.raises(DatasetError) as caught:
        VOC2012(root).sample(ID)
    assert str(caught.value) == (
        f"{root}/Annotations/{ID}.xml, object 1 (tvmonitr): PASCAL VOC 2012 has no class 'tvmonitr'; "
        "did you mean 'tvmonitor'?"
    )
    write_xml(root, "<object></object>")
    with pytest.raises(DatasetError, match=r"object 1 \(without a name\): PASCAL VOC 2012 has no class ''$"):
        VOC2012(root).boxes(ID)


def test_difficult_that_is_no_mark(root):
    write_xml(root, objekt("cow", extra="<difficult>yes</difficult>"))
    with pytest.raises(DatasetError, match=r"object 1 \(cow\): <difficult> is 'yes'; it is 0 or 1; correct the file$"):
        VOC2012(root).sample(ID)


def test_broken_and_missing_xml(root):
    with pytest.raises(DatasetError, match=rf"{ID}\.xml is missing; restore it"):
        VOC2012(root).sample(ID)
    (root / f"Annotations/{ID}.xml").write_text("<annotation><object>")
    with pytest.raises(DatasetError, match=r"is no complete XML"):
        VOC2012(root).sample(ID)
    (root / f"Annotations/{ID}.xml").write_text("<html></html>")
    with pytest.raises(DatasetError, match=r"holds <html> instead of <annotation>; restore the file$"):
        VOC2012(root).boxes(ID)


def test_test_pictures_have_no_annotation(root):
    write_list(root, "Segmentation/test.txt", "2008_000006")
    dataset = VOC2012(root)
    assert dataset.sample("2008_000006").labels is None
    assert dataset.boxes("2008_000006") is None
    assert dataset.mask("2008_000006") is None
    with pytest.raises(DatasetError, match=r"is missing"):
        dataset.sample("2008_000007")
    write_xml(root, objekt("cow"), id_="2008_000006")
    assert dataset.sample("2008_000006").labels == ("cow",)


def test_masks_of_sbd_come_first_and_a_missing_mask_is_none(root):
    dataset = VOC2012(root)
    assert dataset.mask(ID) is None
    write_mask(root, [[0, 20, 255]])
    mask = dataset.mask(ID)
    assert mask.dtype == np.int32
    assert mask.tolist() == [[0, 20, 255]]
    (root / "SegmentationClassAug").mkdir()
    assert dataset.mask(ID).tolist() == [[0, 20, 255]]
    write_mask(root, [[0, 0, 20]], "SegmentationClassAug", mode="L")
    assert dataset.mask(ID).tolist() == [[0, 0, 20]]


@pytest.mark.parametrize("number", [21, 254])
def test_number_of_no_class_in_a_mask(root, number):
    write_mask(root, [[0, 1], [number, 255]])
    with pytest.raises(DatasetError) as caught:
        VOC2012(root).mask(ID)
    assert str(caught.value) == (
        f"{root}/SegmentationClass/{ID}.png holds the number {number}; a mask of 20 classes holds 0 to 20 and 255; "
        "correct the mask"
    )


def test_mask_that_is_a_picture_or_damaged(root):
    (root / "SegmentationClass").mkdir()
    path = root / f"SegmentationClass/{ID}.png"
    Image.new("RGB", (3, 3)).save(path)
    with pytest.raises(DatasetError, match=r"is a picture of mode RGB; a mask holds numbers"):
        VOC2012(root).mask(ID)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DatasetError, match=r"cannot be read as a mask"):
        VOC2012(root).mask(ID)


@pytest.mark.parametrize("call", ["sample", "mask", "boxes"])
def test_id_that_leads_out_of_the_root(root, call):
    with pytest.raises(DatasetError, match=r"names are paths inside the data set$"):
        getattr(VOC2012(root), call)("../../secret")
