"""`advcam data` as users meet it: every layout generated and checked, and broken data sets named in words."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from advcam.cli.app import run
from advcam.datasets.synthetic.coco import CROWD, coco_scenes
from advcam.datasets.synthetic.cub import cub_scenes
from advcam.datasets.synthetic.folder import folder_scenes, table_scenes
from advcam.datasets.synthetic.imagenet import imagenet_scenes
from advcam.datasets.synthetic.pets import pet_scenes
from advcam.datasets.synthetic.scenes import Scene
from advcam.datasets.synthetic.voc import voc_scenes
from advcam.datasets.synthetic.wsol import wsol_scenes

PICTURES, SEED = 7, 2
#: Pictures of a list by their place in it, from 1; every third one is held out where a layout splits one list.
EVERY = list(range(1, PICTURES + 1))
THIRD = [number for number in EVERY if number % 3 == 0]
OTHERS = [number for number in EVERY if number % 3]
ODD = [number for number in EVERY if number % 2]
#: Those of VOC with a mask in train; n % 6 = 5 has none.
MASKED = [number for number in OTHERS if number % 6 != 5]
WSOL = {"test": EVERY, "train": EVERY, "val": EVERY, "train-proxy": ODD}

#: What the generators say that they write: pictures of each split.
LISTED: dict[str, dict[str, Sequence[int]]] = {
    "voc2012": {
        "train": MASKED,
        "val": THIRD,
        "trainval": MASKED + THIRD,
        "trainaug": OTHERS,
        "main/train": OTHERS,
        "main/val": THIRD,
        "main/trainval": EVERY,
    },
    "coco": {"val2017": EVERY},
    "cub200": {"train": OTHERS, "test": THIRD},
    "imagenet": {"train": EVERY, "val": EVERY},
    "pets": {"trainval": OTHERS, "test": THIRD, "all": EVERY},
    "wsol": WSOL,
    "openimages30k": WSOL,
    "table": {"train": OTHERS, "val": THIRD},
    "folders": {"train": OTHERS, "val": THIRD},
}
SCENES: dict[str, Callable[[str], Iterator[tuple[str, Scene]]]] = {
    "voc2012": lambda split: voc_scenes(PICTURES, SEED),
    "coco": lambda split: coco_scenes(PICTURES, SEED),
    "cub200": lambda split: cub_scenes(PICTURES, SEED),
    "imagenet": lambda split: imagenet_scenes(split, PICTURES, SEED),
    "pets": lambda split: pet_scenes(PICTURES, SEED),
    "wsol": lambda split: wsol_scenes(split.removesuffix("-proxy"), PICTURES, SEED),
    "openimages30k": lambda split: wsol_scenes(split.removesuffix("-proxy"), PICTURES, SEED),
    "table": lambda split: table_scenes(PICTURES, SEED),
    "folders": lambda split: folder_scenes(PICTURES, SEED),
}


def has_mask(layout: str, split: str, number: int) -> bool:
    if layout == "voc2012":
        return number in MASKED + THIRD
    return layout not in ("imagenet", "wsol") and not (layout == "openimages30k" and split.startswith("train"))


def has_boxes(layout: str, split: str, number: int) -> bool:
    if layout == "imagenet":
        return split == "val" or number in ODD
    return layout not in ("folders", "openimages30k") and not (layout == "wsol" and split.startswith("train"))


def objects(scene: Scene) -> list[int]:
    """Class of each visible object; in COCO many of one class are a crowd, which is no object of its own."""
    times = Counter(instance.class_id for instance in scene.instances)
    return [instance.class_id for instance in scene.instances if times[instance.class_id] < CROWD]


def generate(layout: str, root: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert run(["data", "generate", layout, str(root), "--pictures", str(PICTURES), "--seed", str(SEED)]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith(f"{PICTURES} pictures in the layout {layout} in {root}; ")
    assert captured.err == ""
    return root


def check(root: Path, capsys: pytest.CaptureFixture[str], code: int, *more: str) -> dict:
    assert run(["data", "check", str(root), "--json", *more]) == code
    captured = capsys.readouterr()
    assert captured.err == ""
    content = json.loads(captured.out)
    assert content["fine"] == (code == 0)
    return content


def problems(content: dict) -> dict[str, dict]:
    """Kinds of findings by split, of those that have any."""
    return {name: report["problems"] for name, report in content["splits"].items() if report["problems"]}


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("advcam: ")
    return lines[0]


def test_layouts_lists_what_is_tested_here(capsys: pytest.CaptureFixture[str]):
    assert run(["data", "layouts"]) == 0
    *rows, last = capsys.readouterr().out.splitlines()
    assert {row.split()[0] for row in rows} == set(LISTED) - {"openimages30k"}
    assert "openimages30k is wsol with masks" in last
    assert all(len(row.split("  ")) > 2 for row in rows), "a name, a title and signs"


@pytest.mark.parametrize("layout", LISTED)
def test_a_generated_data_set_is_fine_and_counted(layout: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    content = check(generate(layout, tmp_path / "data", capsys), capsys, 0)
    assert content["root"] == str(tmp_path / "data")
    assert content["layout"] == ("wsol" if layout == "openimages30k" else layout)
    assert set(content["splits"]) == set(LISTED[layout])
    for split, report in content["splits"].items():
        scenes = [scene for _, scene in SCENES[layout](split)]
        listed = {number: scenes[number - 1] for number in LISTED[layout][split]}
        boxed = [scene for number, scene in listed.items() if has_boxes(layout, split, number)]
        assert report["problems"] == {}
        assert report["pictures"] == len(listed)
        assert report["labelled"] == sum(bool(objects(scene)) for scene in listed.values())
        assert report["masks"] == sum(has_mask(layout, split, number) for number in listed)
        assert report["boxed"] == len(boxed)
        assert report["boxes"] == sum(len(objects(scene)) for scene in boxed)
        assert len(report["classes"]) == content["classes"]
        shown = Counter(class_id for scene in listed.values() for class_id in set(objects(scene)))
        assert {place: n for place, n in enumerate(report["classes"].values()) if n} == shown


def test_the_seed_decides_what_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for name, seed in (("one", "1"), ("same", "1"), ("other", "2")):
        assert run(["data", "generate", "folders", str(tmp_path / name), "--pictures", "1", "--seed", seed]) == 0
    one, same, other = ((tmp_path / n / "train/rectangle/1.jpg").read_bytes() for n in ("one", "same", "other"))
    assert one == same != other


def test_species_are_a_reading_of_pets_that_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    root = generate("pets", tmp_path / "data", capsys)
    content = check(root, capsys, 0, "--layout", "pets-species")
    # The cats are Abyssinian and Bombay, n % 4 is 0 and 3, the dogs the two others.
    cats = [number for number in EVERY if number % 4 in (0, 3)]
    assert content["splits"]["all"]["classes"] == {"cat": len(cats), "dog": PICTURES - len(cats)}


def test_the_check_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    root = generate("folders", tmp_path / "data", capsys)
    assert run(["data", "check", str(root)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"folders of classes (folders) in {root}: 4 classes"
    # Picture n shows the class n % 4 of ellipse, rectangle, triangle and wheel.
    assert lines[1] == "  train: 5 pictures, 5 with labels, 5 with masks, 0 boxes in 0"
    assert lines[2] == "    4 classes: ellipse 1, rectangle 2, triangle 1, wheel 1"
    assert lines[-1] == "nothing is missing or broken"


def test_a_missing_picture_is_named_and_the_exit_code_is_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    root = generate("folders", tmp_path / "data", capsys)
    listed = check(root, capsys, 0)["splits"]["train"]["pictures"]
    (root / "train/rectangle/1.jpg").unlink()  # a folder has no list that would miss it
    assert check(root, capsys, 0)["splits"]["train"]["pictures"] == listed - 1
    root = generate("cub200", tmp_path / "cub", capsys)
    picture = next(path for path in (root / "images").rglob("*_0001.jpg"))
    picture.unlink()
    assert problems(check(root, capsys, 1)) == {"train": {"picture missing": {"count": 1, "first": [str(picture)]}}}
    assert run(["data", "check", str(root)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert f"    !! picture missing (1): {picture}" in lines
    assert lines[-1] == "see what is missing or broken above"


def test_a_truncated_xml_is_a_finding_of_its_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    root = generate("voc2012", tmp_path / "data", capsys)
    path = root / "VOCdevkit/VOC2012/Annotations/2007_000003.xml"
    path.write_text(path.read_text()[:200])
    found = problems(check(root, capsys, 1))
    assert set(found) == {"val", "trainval", "main/val", "main/trainval"}
    (words,) = found["val"]["broken annotation"]["first"]
    assert f"{path} is no complete XML" in words


def test_a_mask_with_a_number_of_no_class_is_a_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    root = generate("folders", tmp_path / "data", capsys)
    path = root / "masks/val/wheel/3.png"
    mask = np.array(Image.open(path))
    mask[0, 0] = 5
    Image.fromarray(mask).save(path)
    found = problems(check(root, capsys, 1))
    assert set(found) == {"val"}
    (words,) = found["val"]["broken mask"]["first"]
    assert "3.png holds the number 5; a mask of 4 classes holds 0 to 4 and 255" in words


def test_a_json_that_ends_early_is_a_finding_even_if_it_names_the_classes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    root = generate("coco", tmp_path / "data", capsys)
    path = root / "annotations/instances_val2017.json"
    path.write_text(path.read_text()[:700])
    content = check(root, capsys, 1)
    (words,) = content["splits"]["val2017"]["problems"]["broken list"]["first"]
    assert f"{path} is no complete JSON" in words
    assert content["classes"] == content["splits"]["val2017"]["pictures"] == 0


def test_only_decoding_finds_a_truncated_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    root = generate("table", tmp_path / "data", capsys)
    path = root / "pictures/1.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    check(root, capsys, 0)
    found = problems(check(root, capsys, 1, "--decode"))
    assert list(found) == ["train"]
    assert "1.jpg" in found["train"]["picture unreadable"]["first"][0]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ((), "holds no data set that is known; it holds nothing; looked for voc2012: JPEGImages, "),
        (("notes.txt",), "it holds notes.txt; looked for voc2012: "),
        (("images/1.jpg",), "its pictures have no classes: write a labels.csv with the columns image,labels beside"),
        (("JPEGImages/1.jpg",), "it looks like PASCAL VOC 2012 (voc2012), but Annotations and ImageSets are missing"),
    ],
)
def test_a_root_in_no_known_layout_is_one_line_with_a_hint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], names: tuple[str, ...], words: str
):
    (tmp_path / "root").mkdir()
    for name in names:
        (tmp_path / "root" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "root" / name).write_text("content")
    assert run(["data", "check", str(tmp_path / "root")]) == 2
    assert words in error_line(capsys)


def test_a_root_that_is_absent_or_of_another_layout(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert run(["data", "check", str(tmp_path / "absent")]) == 2
    assert "absent is no folder; name the root folder of a data set" in error_line(capsys)
    root = generate("pets", tmp_path / "data", capsys)
    assert run(["data", "check", str(root), "--layout", "voc"]) == 2
    assert "there is no layout 'voc'; did you mean 'voc2012'?" in error_line(capsys)
    assert run(["data", "check", str(root), "--layout", "coco"]) == 2
    assert "it looks like the layout 'pets'" in error_line(capsys)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("voc", "new"), "nothing is generated for the layout 'voc'; did you mean 'voc2012'?"),
        (("pets", "new", "--pictures", "0"), "the layout pets is generated with 1 to 999999 pictures; got 0"),
        (("wsol", "new", "--pictures", "301"), "the layout wsol is generated with 1 to 300 pictures; got 301"),
        (("pets", "new", "--seed", "-1"), "a seed is a whole number from 0 on; got -1"),
        (("pets", "new", "--pictures", "many"), "--pictures"),
        (("pets", "full"), "full is a file or not empty; name a new folder, nothing is overwritten"),
        (("pets", "full/note.txt"), "note.txt is a file or not empty; name a new folder"),
    ],
)
def test_what_is_not_generated_is_one_line_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "note.txt").write_text("mine")
    layout, place, *more = arguments
    assert run(["data", "generate", layout, str(tmp_path / place), *more]) == 2
    assert words in error_line(capsys)
    assert [path.name for path in sorted(tmp_path.rglob("*"))] == ["full", "note.txt"]
    assert (tmp_path / "full" / "note.txt").read_text() == "mine"
