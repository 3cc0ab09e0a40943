"""Parquet, image folders and score maps: second readers, round trips, and files that somebody has spoilt."""

import json
from io import BytesIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from annotated_pictures import CLASSES, annotated, export, label_masks, round_trip, scene
from hypothesis import given, settings
from PIL import Image
from pycocotools import mask as rle

from advcam.errors import DatasetError, PictureError, SettingError
from advcam.export.image_folder import ImageFolder
from advcam.export.parquet import Parquet
from advcam.export.score_maps import write_score_map

FORMATS = [Parquet(), ImageFolder()]
EACH = pytest.mark.parametrize("format_", FORMATS, ids=[one.name for one in FORMATS])
#: Words that loaders take for splits, quotes, brackets that globs take for patterns, letters of other scripts.
IDS = ("train/a 'b' \"c\".png", "test/鳥 [1]*.png", "val/validation-2.png")


@EACH
@settings(max_examples=40, deadline=None)
@given(mask=label_masks((0, 1, 2, 255, 256, 65535)))
def test_masks_come_back(format_, mask):
    classes = {1: "cat", 2: "dog", 256: "owl", 65535: "eel"}
    found = round_trip(format_, mask, classes, "a/b c.png")
    assert (found.mask == mask).all()
    assert (found.name, found.names) == ("a/b c.png", classes)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    made = [annotated(np.roll(scene(), 3 * n, 1), folder, id_, (1, 3)) for n, id_ in enumerate(IDS)]
    return [annotated(np.zeros((40, 50)), folder, "empty.png"), *made]


def test_pandas_reads_the_table(pictures, tmp_path):
    table = pd.read_parquet(export(Parquet(), pictures, tmp_path / "out") / "masks.parquet")
    assert list(table["id"]) == [one.id for one in pictures]
    for row, picture in zip(table.itertuples(), pictures, strict=True):
        assert (np.array(Image.open(BytesIO(row.mask))) == picture.mask).all()
        assert (row.height, row.width, row.name) == (40, 50, picture.name)
        assert list(row.labels) == [CLASSES[number] for number in picture.labels]
        for one, wanted in zip(row.objects, picture.objects, strict=True):
            x0, y0, x1, y1 = one["box"]
            assert (one["class"], one["number"]) == (CLASSES[wanted.class_id + 1], wanted.class_id + 1)
            pixels = rle.decode({"size": [row.height, row.width], "counts": one["counts"]}).astype(bool)
            assert (pixels == wanted.mask).all()
            assert pixels[y0:y1, x0:x1].sum() == pixels.sum()
            assert pixels[y0:y1, [x0, x1 - 1]].any(axis=0).all()
            assert pixels[[y0, y1 - 1], x0:x1].any(axis=1).all()


def test_many_rows_are_written_in_groups(pictures, tmp_path):
    out = export(Parquet(), pictures * 75, tmp_path / "out")
    with pq.ParquetFile(out / "masks.parquet") as table:
        assert [table.metadata.row_group(n).num_rows for n in range(table.num_row_groups)] == [256, 44]
    assert len(list(Parquet().read(out, CLASSES))) == 300


@pytest.fixture
def load(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets

    datasets.disable_progress_bars()

    def loaded(*arguments, **named):
        found = datasets.load_dataset(*arguments, **named, cache_dir=str(tmp_path / "cache"))
        assert list(found) == ["train"]
        return found["train"]

    return loaded


def test_datasets_opens_an_image_folder(pictures, tmp_path, load):
    out = export(ImageFolder(), pictures, tmp_path / "test")
    found = load("imagefolder", data_dir=str(out))
    assert found["id"] == [one.id for one in pictures]
    for row, picture in zip(found, pictures, strict=True):
        assert (np.array(row["mask"]) == picture.mask).all()
        assert (np.array(row["image"]) == np.array(Image.open(picture.path))).all()
        assert row["labels"] == [CLASSES[number] for number in picture.labels]
        assert row["objects"]["class"] == [CLASSES[one.class_id + 1] for one in picture.objects]
        for (x, y, width, height), one in zip(row["objects"]["bbox"], picture.objects, strict=True):
            assert one.mask[y : y + height, x : x + width].sum() == one.mask.sum()
            assert one.mask[y : y + height, x].any()
            assert one.mask[y + height - 1, x : x + width].any()
        assert len(row["objects"]["score"]) == len(row["objects"]["number"]) == len(picture.objects)


def test_datasets_opens_the_table_and_writes_one_that_is_read(pictures, tmp_path, load):
    import datasets

    out = export(Parquet(), pictures, tmp_path / "out")
    found = load("parquet", data_files=str(out / "masks.parquet")).cast_column("mask", datasets.Image())
    assert all((np.array(row["mask"]) == one.mask).all() for row, one in zip(found, pictures, strict=True))
    found.to_parquet(out / "masks.parquet")
    again = [one.mask for one in Parquet().read(out / "masks.parquet", CLASSES)]
    assert all((mask == one.mask).all() for mask, one in zip(again, pictures, strict=True))


@EACH
def test_files_that_are_missing_or_broken(format_, pictures, tmp_path):
    out = export(format_, pictures, tmp_path / "out")

    def refused(words):
        with pytest.raises(DatasetError, match=words):
            list(format_.read(out, CLASSES))

    names = json.loads((out / "classes.json").read_text())
    for text, words in {
        "{": r"classes\.json cannot be read \(",
        "[]": r"\(it is no object\); it names the classes by their numbers in the masks: ",
        '{"255": "cat"}': r"'255' is no number of a class, 1 to 65535 but not 255",
        '{"-1": "cat"}': r"'-1' is no number of a class",
        '{"1": 2}': "2 is no name of a class",
        json.dumps(dict(list(names.items())[:2])): r"holds the number 3, which classes\.json does not name",
    }.items():
        (out / "classes.json").write_text(text)
        refused(words)
    (out / "classes.json").unlink()
    refused(r"classes\.json cannot be read \(.*No such file")


def test_tables_that_are_none(pictures, tmp_path):
    out = export(Parquet(), pictures, tmp_path / "out")
    png = BytesIO()
    Image.new("RGB", (4, 4)).save(png, "PNG")
    cases = {
        r"cannot be read as a table with the columns id and mask": {"id": ["a"], "other": [b""]},
        r"a row without a text as id or without bytes as mask": {"id": [1], "mask": [b"x"]},
        r"the mask of a in .*masks\.parquet cannot be read as a mask": {"id": ["a"], "mask": [b"GIF"]},
        r"the mask of a in .*masks\.parquet is a picture of mode RGB": {"id": ["a"], "mask": [png.getvalue()]},
    }
    for words, columns in cases.items():
        pq.write_table(pa.table(columns), out / "masks.parquet")
        with pytest.raises(DatasetError, match=words):
            list(Parquet().read(out, CLASSES))
    (out / "masks.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DatasetError, match="name the folder of an export in the format parquet, or its table"):
        list(Parquet().read(out, CLASSES))


def test_lines_that_are_none(pictures, tmp_path):
    out = export(ImageFolder(), pictures, tmp_path / "out")
    cases = {
        "{": r"metadata\.jsonl, line 1: no JSON",
        '{"id": 3, "mask_file_name": "x"}': r"line 1: expected .*; got \{\"id\": 3",
        '{"id": "a", "mask_file_name": "../x.png"}': r"names '\.\./x\.png'; names are paths inside",
        '{"id": "a", "mask_file_name": "/etc/x.png"}': r"names '/etc/x\.png'",
        '{"id": "a", "mask_file_name": "masks/none.png"}': r"none\.png",
    }
    for line, words in cases.items():
        (out / "metadata.jsonl").write_text(line + "\n")
        with pytest.raises(DatasetError, match=words):
            list(ImageFolder().read(out, CLASSES))


def test_a_picture_that_is_gone_leaves_no_trace(pictures, tmp_path):
    gone = annotated(scene(), tmp_path / "in", "gone.png")
    gone.path.unlink()
    (tmp_path / "out").mkdir()
    with ImageFolder().writer(tmp_path / "out", CLASSES) as writer:
        with pytest.raises(PictureError, match=r"cannot read .*gone\.png \(No such file or directory\); the format"):
            writer.add(gone)
        writer.add(pictures[1])
    (found,) = ImageFolder().read(tmp_path / "out", CLASSES)
    assert found.name == pictures[1].id
    assert len(list((tmp_path / "out" / "images").iterdir())) == 1


def test_score_maps_lie_where_the_evaluator_looks(tmp_path):
    scores = np.linspace(0, 1, 224 * 224, dtype=np.float32).reshape(224, 224)
    write_score_map(tmp_path, "val2/995/0.jpeg", scores)
    found = np.load(tmp_path / ("val2/995/0.jpeg" + ".npy"), allow_pickle=False)
    assert found.dtype == np.float32
    assert (found == scores).all()
    for broken in (scores[:200], scores * 2, np.full_like(scores, np.nan)):
        with pytest.raises(SettingError, match=r"score maps are \(224, 224\) with values in \[0, 1\]; got"):
            write_score_map(tmp_path, "a", broken)
    with pytest.raises(DatasetError, match=r"names '\.\./a\.npy'; names are paths inside the data set"):
        write_score_map(tmp_path, "../a", scores)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["val2"]
