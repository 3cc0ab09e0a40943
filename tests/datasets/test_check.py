"""The check of a data set: a whole one is fine, and each thing that is broken is one finding, named and counted."""

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from advcam.datasets.catalogue import open_dataset
from advcam.datasets.check import NAMED, Findings, SplitReport, check_dataset, check_split
from advcam.datasets.synthetic.catalogue import GENERATORS, write_dataset
from advcam.datasets.synthetic.coco import write_coco
from advcam.errors import DatasetError
from advcam.types import Sample

VOC = "VOCdevkit/VOC2012"
DOES_NOT_FIT = "annotations and pictures do not fit together"


def check(root: Path, layout: str | None = None, decode: bool = False) -> dict[str, SplitReport]:
    return check_dataset(open_dataset(root, layout), decode)


def problems(reports: dict[str, SplitReport], split: str) -> dict[str, int]:
    return dict(reports[split].problems.counts)


def named(reports: dict[str, SplitReport], split: str, kind: str) -> str:
    return "; ".join(reports[split].problems.named[kind])


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize("layout", [*GENERATORS, "pets-species"])
@pytest.mark.parametrize("decode", [False, True])
def test_whole_data_sets_are_fine_and_counted(tmp_path: Path, layout: str, decode: bool):
    write_dataset(layout.removesuffix("-species"), tmp_path / "data", pictures=12)
    dataset = open_dataset(tmp_path / "data", layout)
    reports = check_dataset(dataset, decode)
    assert set(reports) == set(dataset.splits)
    for split, report in reports.items():
        assert report.problems.counts == {}
        samples = list(dataset.samples(split))
        boxes = [dataset.boxes(sample.id) for sample in samples]
        assert report.pictures == len(samples)
        assert report.labelled == sum(bool(sample.labels) for sample in samples)
        assert report.masks == sum(dataset.mask(sample.id) is not None for sample in samples)
        assert report.boxed == sum(found is not None for found in boxes)
        assert report.boxes == sum(len(found or ()) for found in boxes)
        assert list(report.classes) == list(dataset.class_names)
        shown = Counter(label for sample in samples for label in sample.labels or ())
        assert {name: count for name, count in report.classes.items() if count} == shown


def test_counts_of_a_small_voc_by_hand(tmp_path: Path):
    # Pictures 1, 2, 4 are in train, 3 in val, 5 only in trainaug and the main lists, without a mask. Picture n shows
    # number n % 4 of aeroplane, cat, person, sofa, and the next one unless n % 3 is 1; picture 1 shows a bottle, too.
    write_dataset("voc2012", tmp_path / "data", pictures=5)
    reports = check(tmp_path / "data")
    counts = {split: (report.pictures, report.masks) for split, report in reports.items()}
    assert counts == {
        "train": (3, 3),
        "val": (1, 1),
        "trainval": (4, 4),
        "trainaug": (4, 3),
        "main/train": (4, 3),
        "main/val": (1, 1),
        "main/trainval": (5, 4),
    }
    present = {name: count for name, count in reports["train"].classes.items() if count}
    # 1: cat, bottle; 2: person, sofa; 4: aeroplane
    assert present == {"aeroplane": 1, "bottle": 1, "cat": 1, "person": 1, "sofa": 1}
    assert reports["train"].notes.counts["class without a picture"] == 15
    assert reports["val"].classes["sofa"] == reports["val"].classes["aeroplane"] == 1  # 3: sofa, aeroplane


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """The folder VOC2012; pictures 1 and 2 are in train, 3 in val."""
    write_dataset("voc2012", tmp_path / "data", pictures=4)
    return tmp_path / "data" / VOC


Break = Callable[[Path], object]
VOC_FAULTS: dict[str, tuple[Break, str, str]] = {
    "a box with swapped corners": (
        lambda home: edit(home / "Annotations/2007_000002.xml", "<xmax>", "<xmax>-"),
        "broken boxes",
        "does not lie inside the picture",
    ),
    "a box that is no number": (
        lambda home: edit(home / "Annotations/2007_000002.xml", "<ymin>", "<ymin>ten"),
        "broken boxes",
        "instead of a number of pixels",
    ),
    "an unknown class": (
        lambda home: edit(home / "Annotations/2007_000002.xml", "<name>person", "<name>preson"),
        "broken annotation",
        "no class 'preson'; did you mean 'person'",
    ),
    "an XML that ends early": (
        lambda home: edit(home / "Annotations/2007_000002.xml", "</annotation>", ""),
        "broken annotation",
        "2007_000002.xml is no complete XML",
    ),
    "an absent XML": (
        lambda home: (home / "Annotations/2007_000002.xml").unlink(),
        "broken annotation",
        "2007_000002.xml is missing",
    ),
    "an absent picture": (
        lambda home: (home / "JPEGImages/2007_000002.jpg").unlink(),
        "picture missing",
        "2007_000002.jpg",
    ),
    "a picture without content": (
        lambda home: (home / "JPEGImages/2007_000002.jpg").write_bytes(b""),
        "picture unreadable",
        "2007_000002.jpg",
    ),
    "a text in place of a picture": (
        lambda home: (home / "JPEGImages/2007_000002.jpg").write_text("no picture"),
        "picture unreadable",
        "2007_000002.jpg",
    ),
    "a mask of another size": (
        lambda home: Image.new("P", (80, 90)).save(home / "SegmentationClass/2007_000002.png"),
        "mask of another size than its picture",
        "2007_000002: mask 80 x 90, picture 80 x 96",
    ),
    "a mask with a number of no class": (
        lambda home: Image.new("L", (80, 96), 21).save(home / "SegmentationClass/2007_000002.png"),
        "broken mask",
        "holds the number 21; a mask of 20 classes holds 0 to 20 and 255",
    ),
    "a mask in colours": (
        lambda home: Image.new("RGB", (80, 96)).save(home / "SegmentationClass/2007_000002.png"),
        "broken mask",
        "is a picture of mode RGB",
    ),
    "an id that stands there twice": (
        lambda home: edit(home / "ImageSets/Segmentation/train.txt", "2007_000002\n", "2007_000002\n2007_000002\n"),
        "duplicate id",
        "2007_000002",
    ),
    "a line that names no picture": (
        lambda home: (home / "ImageSets/Segmentation/train.txt").write_text("2007_000001\nnonsense\n2007_000002\n"),
        "broken list",
        "train.txt, line 2: 'nonsense' names no picture",
    ),
    "a list that is not text": (
        lambda home: (home / "ImageSets/Segmentation/train.txt").write_bytes(b"\xff\xfe"),
        "broken list",
        "is not UTF-8 text",
    ),
}


@pytest.mark.parametrize("fault", VOC_FAULTS)
def test_one_broken_thing_is_one_finding_of_the_split_that_has_it(voc: Path, fault: str):
    breaking, kind, words = VOC_FAULTS[fault]
    breaking(voc)
    reports = check(voc)
    assert problems(reports, "train") == {kind: 1}
    assert words in named(reports, "train", kind)
    assert problems(reports, "val") == {}


def test_a_broken_list_is_read_up_to_where_it_breaks(voc: Path):
    (voc / "ImageSets/Segmentation/train.txt").write_text("2007_000001\nnonsense\n2007_000002\n")
    assert check(voc)["train"].pictures == 1


def test_only_a_whole_look_finds_a_truncated_picture(voc: Path):
    path = voc / "JPEGImages/2007_000002.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    assert problems(check(voc), "train") == {}
    reports = check(voc, decode=True)
    assert problems(reports, "train") == {"picture unreadable": 1}
    assert named(reports, "train", "picture unreadable").count("2007_000002.jpg") == 1


def test_sizes_are_those_that_a_person_sees(voc: Path):
    path = voc / "JPEGImages/2007_000002.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(path).rotate(90, expand=True).save(path, exif=exif)
    assert Image.open(path).size == (96, 80)
    assert problems(check(voc), "train") == {}


def test_a_box_beyond_its_picture_is_found_where_the_annotation_says_another_size(voc: Path):
    path = voc / "Annotations/2007_000002.xml"
    edit(path, "<width>80", "<width>800")
    edit(path, "<xmax>", "<xmax>1")  # 1xx
    reports = check(voc)
    assert problems(reports, "train") == {"box outside of its picture": 1}
    assert "in 80 x 96" in named(reports, "train", "box outside of its picture")


def test_what_may_be_meant_so_is_a_note(voc: Path):
    Image.new("P", (80, 96)).save(voc / "SegmentationClass/2007_000002.png")
    edit(voc / "ImageSets/Segmentation/val.txt", "2007_000003\n", "2007_000003\n2007_000001\n")
    (voc / "ImageSets/Segmentation/trainaug.txt").write_text("")
    reports = check(voc)
    assert all(not report.problems.counts for report in reports.values())
    assert reports["train"].notes.named["mask without an object"] == ["2007_000002"]
    assert reports["train"].notes.named["classes of mask and image labels differ"] == ["2007_000002: person, sofa"]
    assert reports["val"].notes.named["also in split train"] == ["2007_000001"]
    assert reports["trainaug"].notes.named["empty split"] == ["trainaug"]


def test_every_split_that_lists_a_broken_picture_reports_it_and_it_is_looked_at_once(
    voc: Path, monkeypatch: pytest.MonkeyPatch
):
    (voc / "JPEGImages/2007_000003.jpg").unlink()
    dataset = open_dataset(voc)
    looked_at: Counter[str] = Counter()
    read = dataset.sample

    def counting(id_: str) -> Sample:
        looked_at[id_] += 1
        return read(id_)

    monkeypatch.setattr(dataset, "sample", counting)
    reports = check_dataset(dataset)
    listing = {split for split in dataset.splits if "2007_000003" in set(dataset.ids(split))}
    assert listing == {"val", "trainval", "main/val", "main/trainval"}
    assert {split for split, report in reports.items() if report.problems.counts} == listing
    assert set(looked_at.values()) == {1}
    assert len(looked_at) == 4


def test_a_split_by_itself_is_the_report_of_the_whole_check(voc: Path):
    (voc / "JPEGImages/2007_000003.jpg").unlink()
    assert check_split(open_dataset(voc), "val") == check(voc)["val"]


def test_only_the_first_few_of_a_kind_are_named(tmp_path: Path):
    write_dataset("folders", tmp_path / "data", pictures=30)
    shutil.rmtree(tmp_path / "data" / "val")
    for path in (tmp_path / "data" / "train").rglob("*.jpg"):
        path.write_bytes(b"")
    report = check(tmp_path / "data")["train"]
    assert report.problems.counts == {"picture unreadable": 20}
    assert len(report.problems.named["picture unreadable"]) == NAMED


def test_findings_count_each_kind_by_itself():
    findings = Findings()
    for number in range(NAMED + 2):
        findings.add("a", str(number))
    findings.add("b", "x")
    assert findings.counts == {"a": NAMED + 2, "b": 1}
    assert findings.named == {"a": [str(number) for number in range(NAMED)], "b": ["x"]}


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    write_coco(tmp_path / "data", pictures=6, split="train2017")
    write_coco(tmp_path / "data", pictures=4, seed=1, split="val2017")
    return tmp_path / "data"


def rewrite(path: Path, change: Callable[[dict], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_a_json_that_ends_early_is_a_finding_and_the_other_split_is_checked(coco: Path):
    path = coco / "annotations/instances_train2017.json"
    path.write_text(path.read_text()[:-100])
    reports = check(coco)
    assert problems(reports, "train2017") == {"broken list": 1}
    assert "instances_train2017.json is no complete JSON" in named(reports, "train2017", "broken list")
    assert problems(reports, "val2017") == {}
    assert reports["val2017"].pictures == 4


def test_a_json_that_ends_early_and_has_the_classes_breaks_every_split(coco: Path):
    path = coco / "annotations/instances_val2017.json"  # the smaller one
    path.write_text(path.read_text()[:100])
    reports = check(coco)
    assert all(problems(reports, split) == {"broken list": 1} for split in reports)


def test_annotations_of_absent_pictures_and_absent_annotations(coco: Path):
    def change(content: dict) -> None:
        content["annotations"][0]["image_id"] = 12345

    rewrite(coco / "annotations/instances_val2017.json", change)
    (coco / "val2017" / "000000000285.jpg").unlink()
    reports = check(coco)
    assert problems(reports, "val2017") == {DOES_NOT_FIT: 1, "picture missing": 1}
    assert "12345" in named(reports, "val2017", DOES_NOT_FIT)
    assert "000000000285.jpg" in named(reports, "val2017", "picture missing")


def test_an_unknown_category_and_a_box_without_a_pixel(coco: Path):
    def change(content: dict) -> None:
        content["annotations"][0]["category_id"] = 2
        content["annotations"][-1]["bbox"][2] = 0

    rewrite(coco / "annotations/instances_val2017.json", change)
    reports = check(coco)
    assert problems(reports, "val2017") == {"broken annotation": 1, "broken boxes": 1}
    assert "there is no category 2" in named(reports, "val2017", "broken annotation")


def test_lists_of_wsol_that_do_not_fit_together(tmp_path: Path):
    write_dataset("wsol", tmp_path / "data", pictures=4)
    folder = tmp_path / "data/metadata/SHAPES/val"
    edit(folder / "class_labels.txt", "val/1/0001.jpg,1\n", "")
    edit(folder / "localization.txt", "val/2/0002.jpg,", "val/2/9999.jpg,")
    reports = check(tmp_path / "data")
    found = problems(reports, "val")
    assert found["broken annotation"] == 1  # without its class
    assert found[DOES_NOT_FIT] == 3
    assert "localization.txt has a line of val/2/9999.jpg" in named(reports, "val", DOES_NOT_FIT)


def test_a_table_row_twice_is_a_duplicate_id(tmp_path: Path):
    write_dataset("table", tmp_path / "data", pictures=4)
    rows = (tmp_path / "data" / "labels.csv").read_text().splitlines(keepends=True)
    (tmp_path / "data" / "labels.csv").write_text("".join([*rows, rows[1]]))
    reports = check(tmp_path / "data")
    assert problems(reports, "train") == {"duplicate id": 1}
    assert reports["train"].pictures == 3


def test_a_data_set_without_lists_is_refused(voc: Path):
    shutil.rmtree(voc / "ImageSets")
    (voc / "ImageSets").mkdir()
    with pytest.raises(DatasetError, match="holds no list of a split of PASCAL VOC 2012; add its lists"):
        check(voc)
