"""Tables of labels, hand-written: CSV and Parquet, splits, masks and boxes, and everything that can be wrong."""

import csv
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from advcam.datasets import table_rows
from advcam.datasets.table import LabelTable
from advcam.errors import DatasetError, SettingError
from advcam.types import Box


def write_mask(path, numbers):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(numbers, dtype=np.uint8)).save(path)


def write_csv(root, *rows, header=("image", "labels")):
    with (root / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


def write_parquet(root, **columns):
    pq.write_table(pa.table(columns), root / "labels.parquet")


def test_csv_of_two_columns(tmp_path):
    write_csv(tmp_path, ("b.jpg", "dog; cat ;dog"), (" a/x, y.jpg ", ""), (), ("b2.jpg", "emu"))
    dataset = LabelTable(tmp_path)
    assert LabelTable.fits(tmp_path)
    assert dataset.splits == ("all",)
    assert dataset.class_names == ("cat", "dog", "emu")
    assert list(dataset.ids("all")) == ["b.jpg", "a/x, y.jpg", "b2.jpg"]
    assert [sample.labels for sample in dataset.samples("all")] == [("cat", "dog"), (), ("emu",)]
    sample = dataset.sample("a/x, y.jpg")
    assert (sample.id, sample.path) == ("a/x, y.jpg", tmp_path / "a/x, y.jpg")
    assert dataset.mask("b.jpg") is None
    assert dataset.boxes("b.jpg") is None


def test_csv_with_byte_order_mark_and_other_columns(tmp_path):
    (tmp_path / "labels.csv").write_bytes('\ufeffimage, labels ,author\r\n./a//b.jpg,"ca\nt",Björk\r\n'.encode())
    dataset = LabelTable(tmp_path)
    assert list(dataset.ids("all")) == ["a/b.jpg"]
    assert dataset.sample("a/b.jpg").labels == ("ca\nt",)


@pytest.mark.parametrize(
    "labels",
    [
        pa.array([["dog", " cat", "dog"], [], None]),
        pa.array(["dog;cat", "", None]),
        pa.array(["dog;cat", "", None]).dictionary_encode(),
        pa.array([["dog", "cat"], [], []], pa.large_list(pa.large_string())),
    ],
)
def test_parquet(tmp_path, labels):
    write_parquet(tmp_path, image=["a.jpg", "b.jpg", "c.jpg"], labels=labels, weight=[1.0, 2.0, 3.0])
    dataset = LabelTable(tmp_path)
    assert LabelTable.fits(tmp_path)
    assert dataset.splits == ("all",)
    assert [sample.labels for sample in dataset.samples("all")] == [("cat", "dog"), (), ()]


def test_parquet_is_read_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(table_rows, "_ROWS_AT_ONCE", 3)
    names = [f"{number}.jpg" for number in range(10)]
    write_parquet(tmp_path, image=[*names, ""], labels=["cat"] * 11)
    dataset = LabelTable(tmp_path)
    ids = table_rows.read_rows(tmp_path / "labels.parquet")
    assert [next(ids).image for _ in names] == names
    with pytest.raises(DatasetError, match=r"labels\.parquet, row 11: names no picture; fill in the column image"):
        dataset.ids("all")


def test_splits_masks_and_boxes(tmp_path):
    boxes = json.dumps([["dog", 1, 2, 3, 4], ["cat", 0, 0, 9, 9], ["dog", 5, 5, 6, 6]])
    rows = [
        ("a.jpg", "cat;dog", "train", "truth/a.png", boxes),
        ("b.jpg", "cat", "val", "", "[]"),
        ("c.jpg", "cat", "train", "", ""),
    ]
    write_csv(tmp_path, *rows, header=("image", "labels", "split", "mask", "boxes"))
    write_mask(tmp_path / "truth/a.png", [[0, 1, 2, 255]])
    write_mask(tmp_path / "masks/b.png", [[1, 0]])
    dataset = LabelTable(tmp_path)
    assert dataset.splits == ("train", "val")
    assert list(dataset.ids("train")) == ["a.jpg", "c.jpg"]
    assert list(dataset.ids("val")) == ["b.jpg"]
    assert dataset.boxes("a.jpg") == (Box(1, 1, 2, 3, 4, 1.0), Box(0, 0, 0, 9, 9, 1.0), Box(1, 5, 5, 6, 6, 1.0))
    assert dataset.boxes("b.jpg") == ()
    assert dataset.boxes("c.jpg") is None
    assert dataset.mask("a.jpg").tolist() == [[0, 1, 2, 255]]
    assert dataset.mask("b.jpg").tolist() == [[1, 0]]
    assert dataset.mask("c.jpg") is None


def test_class_list_fixes_the_order(tmp_path):
    write_csv(tmp_path, ("a.jpg", "cat;dog"), ("b.jpg", "cot"))
    (tmp_path / "classes.txt").write_text("dog\nemu\ncat\n")
    dataset = LabelTable(tmp_path)
    assert dataset.class_names == ("dog", "emu", "cat")
    assert dataset.sample("a.jpg").labels == ("dog", "cat")
    with pytest.raises(DatasetError) as caught:
        dataset.sample("b.jpg")
    assert str(caught.value) == (
        f"{tmp_path}/labels.csv, line 3: a table of labels has no class 'cot'; did you mean 'cat'?"
    )


def test_empty_table(tmp_path):
    write_csv(tmp_path)
    dataset = LabelTable(tmp_path)
    assert (dataset.splits, dataset.class_names) == ((), ())
    with pytest.raises(SettingError, match=r"has no split 'all'; its splits are: none$"):
        dataset.ids("all")


def test_no_table_or_two(tmp_path):
    assert not LabelTable.fits(tmp_path)
    with pytest.raises(DatasetError, match=r"holds neither of labels\.csv and labels\.parquet; one of them is need"):
        LabelTable(tmp_path)
    (tmp_path / "labels.csv").touch()
    (tmp_path / "labels.parquet").touch()
    with pytest.raises(DatasetError, match=r"holds both of labels\.csv and labels\.parquet; one of them is needed$"):
        LabelTable(tmp_path)


def test_picture_that_no_row_names(tmp_path):
    write_csv(tmp_path, ("a.jpg", "cat"))
    for call in (LabelTable(tmp_path).sample, LabelTable(tmp_path).mask, LabelTable(tmp_path).boxes):
        with pytest.raises(DatasetError, match=r"labels\.csv has no row for 'b\.jpg'; add one$"):
            call("b.jpg")


@pytest.mark.parametrize("other", [("cat", "", "[]"), ("cat", "b.png", ""), ("dog", "", "")])
def test_rows_that_contradict_each_other(tmp_path, other):
    write_csv(tmp_path, ("a.jpg", "cat", "", ""), ("a.jpg", *other), header=("image", "labels", "mask", "boxes"))
    with pytest.raises(
        DatasetError, match=r"line 3: 'a\.jpg' is listed before with other values; keep one of the rows$"
    ):
        LabelTable(tmp_path).boxes("a.jpg")


def test_rows_twice(tmp_path):
    write_csv(tmp_path, ("a.jpg", "cat;dog"), ("a.jpg", "dog;cat"))
    assert list(LabelTable(tmp_path).ids("all")) == ["a.jpg", "a.jpg"]
    assert LabelTable(tmp_path).sample("a.jpg").labels == ("cat", "dog")
    write_csv(tmp_path, ("a.jpg", "cat;dog"), ("a.jpg", "dog"))
    assert list(LabelTable(tmp_path).ids("all")) == ["a.jpg", "a.jpg"]
    with pytest.raises(DatasetError, match=r"line 3: 'a\.jpg' is listed before with other values; keep one of the"):
        LabelTable(tmp_path).sample("a.jpg")


@pytest.mark.parametrize("name", ["../a.jpg", "/a.jpg", "a/../../b.jpg", "a\\b.jpg", "C:a.jpg"])
@pytest.mark.parametrize("column", ["image", "mask"])
def test_names_that_lead_out_of_the_root(tmp_path, column, name):
    row = {"image": "a.jpg", "labels": "cat", "mask": ""} | {column: name}
    write_csv(tmp_path, ("b.jpg", "cat", ""), tuple(row.values()), header=tuple(row))
    with pytest.raises(DatasetError, match=r"labels\.csv, line 3: an annotation of .* names .*inside the data set$"):
        LabelTable(tmp_path).ids("all")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "",
            r" has no column image; it needs image and labels, and may have split, mask and boxes; its col.*none$",
        ),
        ("image;labels\na.jpg;cat\n", r" has no column image; .* its columns are image;labels$"),
        ("image,split\n", r" has no column labels; .* its columns are image, split$"),
        ("image,labels,image\n", r" has the column image twice; keep one of them$"),
        ("image,labels\na,cat,dog\n", r", line 2: 3 fields, but the header has 2; separate labels by ; and put "),
        ("image,labels\na\n", r", line 2: 1 fields, but the header has 2; "),
        ("image,labels\n ,cat\n", r", line 2: names no picture; fill in the column image or remove the row$"),
        ("image,labels,split\na,cat,x\n\nb,cat,\n", r", line 4: 'b' is in no split; fill in the column split in "),
        ('image,labels\na,"cat\n', r", line 2: not valid CSV \(unexpected end of data\); mend the quotes$"),
        ('image,labels\na,"cat"dog\n', r", line 2: not valid CSV \(.*\); mend the quotes$"),
    ],
)
def test_malformed_csv(tmp_path, text, message):
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(DatasetError, match=rf"labels\.csv{message}"):
        LabelTable(tmp_path).ids("all")


def test_csv_that_is_no_text(tmp_path):
    (tmp_path / "labels.csv").write_bytes("image,labels\nä,cat\n".encode("latin-1"))
    with pytest.raises(DatasetError, match=r"labels\.csv is not UTF-8 text; save the table as CSV in UTF-8$"):
        LabelTable(tmp_path).ids("all")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image": ["a"]}, " has no column labels; .* its columns are image$"),
        ({"image": [1], "labels": ["cat"]}, ", row 1: image is 1; it holds text; convert the column$"),
        ({"image": ["a"], "labels": [3]}, ", row 1: labels is 3; it holds text"),
        (
            {"image": ["a", "b"], "labels": [["x"], ["x", None]]},
            r", row 2: labels is \['x', None\]; it holds texts",
        ),
        (
            {"image": ["a"], "labels": [[1]]},
            r", row 1: labels is \[1\]; it holds texts, or one text separated by ;",
        ),
        ({"image": [None], "labels": ["x"]}, ", row 1: names no picture"),
        ({"image": ["a"], "labels": ["x"], "boxes": [[1]]}, r", row 1: boxes is \[1\]; it holds text; convert"),
    ],
)
def test_malformed_parquet(tmp_path, columns, message):
    write_parquet(tmp_path, **columns)
    with pytest.raises(DatasetError, match=rf"labels\.parquet{message}"):
        LabelTable(tmp_path).ids("all")


def test_damaged_parquet(tmp_path):
    write_parquet(tmp_path, image=[f"{number}.jpg" for number in range(50)], labels=["cat"] * 50)
    path = tmp_path / "labels.parquet"
    content = path.read_bytes()
    for damaged in (b"", b"PAR1", content[:-30], content[: len(content) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(DatasetError, match=r"labels\.parquet cannot be read \(.+\); restore the table or chec"):
            LabelTable(tmp_path).ids("all")


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("cat 1 2 3 4", r"boxes is no JSON list of \[class, x0, y0, x1, y1\]; correct the cell$"),
        ('{"cat": [1, 2, 3, 4]}', r"boxes is no JSON list"),
        ("[" * 200000, r"not valid CSV \(field larger than field limit \(131072\)\); mend the quotes$"),
        ("[" * 100000, r"boxes is no JSON list"),
        ('["cat", 1, 2, 3, 4]', r'the box "cat" is not \[class, x0, y0, x1, y1\]; correct it$'),
        ('[["cat", 1, 2, 3]]', r'the box \["cat", 1, 2, 3\] is not \[class, x0, y0, x1, y1\]; correct it$'),
        ("[[0, 1, 2, 3, 4]]", r"the box \[0, 1, 2, 3, 4\] is not \[class"),
        (
            '[["cat", 1, 2, 3, 4.5]]',
            r"the box .* is not 0 <= x0 < x1 and 0 <= y0 < y1 in whole pixels; correct it$",
        ),
        ('[["cat", 1, 2, 3, NaN]]', r"the box .* in whole pixels"),
        ('[["cat", 0, 0, true, true]]', r"the box .* in whole pixels"),
        ('[["cat", 3, 2, 3, 4]]', r"the box .* is not 0 <= x0 < x1"),
        ('[["cat", 1, 5, 3, 4]]', r"the box .* is not 0 <= x0 < x1"),
        ('[["cat", -1, 2, 3, 4]]', r"the box .* is not 0 <= x0 < x1"),
        ('[["cats", 1, 2, 3, 4]]', r"a table of labels has no class 'cats'; did you mean 'cat'\?$"),
    ],
)
def test_malformed_boxes(tmp_path, cell, message):
    write_csv(tmp_path, ("b.jpg", "cat", ""), ("a.jpg", "cat", cell), header=("image", "labels", "boxes"))
    dataset = LabelTable(tmp_path)
    with pytest.raises(DatasetError, match=rf"labels\.csv, line 3: ({message})"):
        dataset.boxes("a.jpg")


def test_mask_that_is_named_but_absent(tmp_path):
    write_csv(tmp_path, ("a.jpg", "cat", "truth/a.png"), header=("image", "labels", "mask"))
    with pytest.raises(DatasetError, match=r"truth/a\.png is missing; restore it"):
        LabelTable(tmp_path).mask("a.jpg")


def test_mask_with_a_number_of_no_class(tmp_path):
    write_csv(tmp_path, ("a.jpg", "cat"))
    write_mask(tmp_path / "masks/a.png", [[0, 2]])
    with pytest.raises(DatasetError, match=r"holds the number 2; a mask of 1 classes holds 0 to 1 and 255"):
        LabelTable(tmp_path).mask("a.jpg")


@pytest.mark.parametrize("name", ["labels.csv", "labels.parquet"])
def test_table_that_vanished(tmp_path, name):
    (tmp_path / name).touch()
    dataset = LabelTable(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(DatasetError, match=rf"{name} cannot be read \(.*No such file .*\); restore the table or check"):
        dataset.ids("all")


def test_parquet_text_that_is_not_utf_8(tmp_path):
    write_parquet(tmp_path, image=pa.array([b"\xff.jpg"]).view(pa.string()), labels=["cat"])
    with pytest.raises(DatasetError, match=r"labels\.parquet cannot be read \(.+\); restore the table or check its"):
        LabelTable(tmp_path).ids("all")
