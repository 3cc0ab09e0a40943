"""Which pictures a run works on and which outputs it explains, on a network whose scores are mean colours."""

import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from advcam import Classifier
from advcam.datasets.synthetic.voc import write_voc2012
from advcam.errors import LabelError, SettingError
from advcam.pipeline.config import localize_settings
from advcam.pipeline.targets import Work, find_work

OUTPUTS = ("warm", "crimson", "cold", "sky")
#: Rows are outputs: half of mean red; mean red; mean green; mean blue.
WEIGHTS = [[0.5, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]
COLOURS = {"red": (200, 20, 10), "green": (10, 200, 20), "blue": (20, 10, 200)}


class MeanColour(nn.Module):
    """Scores are linear in the mean colour."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 3, 1, bias=False)
        self.head = nn.Linear(3, len(OUTPUTS), bias=False)
        with torch.no_grad():
            self.features.weight.copy_(torch.eye(3).view(3, 3, 1, 1))
            self.head.weight.copy_(torch.tensor(WEIGHTS))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.features(inputs).mean(dim=(2, 3)))


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier.from_module(MeanColour(), class_names=OUTPUTS, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A table of three plain pictures: red is warm, green and blue are cold, blue is warm, too, and stands twice."""
    for name, colour in COLOURS.items():
        (tmp_path / "data").mkdir(exist_ok=True)
        Image.new("RGB", (40, 30), colour).save(tmp_path / "data" / f"{name}.png")
    rows = ("red.png,warm,train", "blue.png,warm;cold,train", "blue.png,warm;cold,train", "green.png,cold,val")
    (tmp_path / "data" / "labels.csv").write_text("\n".join(["image,labels,split", *rows]) + "\n")
    return tmp_path / "data"


def work(classifier: Classifier, **values: object) -> Work:
    return find_work(localize_settings(**({"out": Path("run")} | values)), classifier)


def groups_file(folder: Path, text: str) -> Path:
    path = folder / "groups.json"
    path.write_text(text)
    return path


def found(chosen: Work) -> dict[str, list[int]]:
    """The outputs to explain by id, as a run asks for them; the estimate of the cost is their number."""
    outputs = {sample.id: chosen.classes(sample, Image.open(sample.path)) for sample in chosen.samples}
    assert {sample.id: chosen.count(sample) for sample in chosen.samples} == {k: len(v) for k, v in outputs.items()}
    return outputs


def test_pictures_with_a_table(classifier: Classifier, data: Path, tmp_path: Path):
    table = tmp_path / "mine.csv"
    table.write_text("image,labels\nred.png,crimson;warm\nblue.png,\ngone.png,sky\n")
    chosen = work(classifier, inputs=(str(data),), labels=str(table))
    assert found(chosen) == {"red.png": [1, 0], "blue.png": []}
    assert chosen.unlabelled == [("green.png", f"{table} has no row for it")]
    assert chosen.warnings == (f"{table}: no picture for 1 row: gone.png",)


def test_labels_of_one_output_count_once(classifier: Classifier, data: Path, tmp_path: Path):
    (tmp_path / "mine.csv").write_text("image,labels\nred.png,crimson;Crimson;1\n")
    chosen = work(classifier, inputs=(str(data / "red.png"),), labels=str(tmp_path / "mine.csv"))
    assert found(chosen) == {"red.png": [1]}


def test_the_classifier_decides_where_labels_are_predicted(classifier: Classifier, data: Path):
    # red (200, 20, 10) scores 100, 200, 20, 10; green (10, 200, 20) scores 5, 10, 200, 20; blue 10, 20, 10, 200
    ranked = {"red.png": [1, 0], "green.png": [2, 3], "blue.png": [3, 1]}
    chosen = work(classifier, inputs=(str(data),), labels="predicted", top=2)
    assert found(chosen) == ranked
    chosen = work(classifier, data=data, split="train", labels="predicted", top=2)
    assert found(chosen) == {name: ranked[name] for name in ("red.png", "blue.png")}


def test_the_folder_of_the_run_is_no_input(classifier: Classifier, data: Path):
    (data / "run" / "overlays").mkdir(parents=True)
    shutil.copy(data / "red.png", data / "run" / "overlays" / "red.png")
    chosen = work(classifier, inputs=(str(data),), labels="predicted", out=data / "run")
    assert {sample.id for sample in chosen.samples} == {"red.png", "green.png", "blue.png"}


def test_a_data_set_brings_its_labels_and_each_picture_once(classifier: Classifier, data: Path):
    chosen = work(classifier, data=data, split="train")
    assert [sample.id for sample in chosen.samples] == ["red.png", "blue.png"]
    assert found(chosen) == {"red.png": [0], "blue.png": [2, 0]}  # classes are in the order of the data set
    assert (chosen.unlabelled, chosen.warnings, chosen.chooser.groups) == ((), (), None)


def test_pictures_of_a_data_set_without_annotation_are_predicted(classifier: Classifier, tmp_path: Path):
    write_voc2012(tmp_path / "data", pictures=1)
    home = tmp_path / "data/VOCdevkit/VOC2012"
    shutil.rmtree(home / "Annotations")
    (home / "Annotations").mkdir()
    (home / "ImageSets/Segmentation/test.txt").write_text("2007_000001\n")
    chosen = work(classifier, data=tmp_path / "data", split="test", top=3)
    picture = Image.open(home / "JPEGImages/2007_000001.jpg")
    assert found(chosen) == {"2007_000001": [p.class_id for p in classifier.predict(picture, 3)]}


def test_groups_stand_for_a_class_by_their_best_output_in_each_picture(classifier: Classifier, data: Path):
    path = groups_file(data.parent, '{"warm": ["warm", "crimson"], "cold": [2, "sky"]}')
    chosen = work(classifier, data=data, split="train", groups=path)
    assert found(chosen) == {"red.png": [1], "blue.png": [3, 1]}


def test_two_classes_that_share_their_output_are_one_target(classifier: Classifier, data: Path):
    path = groups_file(data.parent, '{"warm": ["sky", "warm"], "cold": ["sky"]}')
    chosen = work(classifier, data=data, split="train", groups=path)
    blue = next(sample for sample in chosen.samples if sample.id == "blue.png")
    assert chosen.classes(blue, Image.open(blue.path)) == [3]
    assert chosen.count(blue) == 2, "the cost is known before the picture is read"


def test_a_class_that_the_groups_leave_out_is_named_with_its_pictures(classifier: Classifier, data: Path):
    path = groups_file(data.parent, '{"warm": ["crimson"]}')
    chosen = work(classifier, data=data, split="train", groups=path)
    assert found(chosen) == {"red.png": [1]}
    assert chosen.unlabelled == [("blue.png", f"{path} has no group for cold")]
    assert chosen.warnings == ("skipped 1 picture with a class that the groups leave out",)


def test_a_label_that_the_classifier_lacks_names_its_picture(classifier: Classifier, data: Path):
    text = (data / "labels.csv").read_text()
    (data / "labels.csv").write_text(text.replace("cold", "clod"))
    with pytest.raises(LabelError, match=r"^blue\.png: the classifier has no class 'clod'; did you mean 'cold'"):
        work(classifier, data=data, split="train")


def test_a_typo_in_a_table_names_file_and_line(classifier: Classifier, data: Path, tmp_path: Path):
    table = tmp_path / "mine.csv"
    table.write_text("image,labels\n\nred.png,warm\nblue.png,clod\n")
    with pytest.raises(LabelError) as caught:
        work(classifier, inputs=(str(data),), labels=str(table))
    assert str(caught.value).startswith(f"{table}, line 4, blue.png: the classifier has no class 'clod'; did you mean")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"wrm": [0]}', "the groups name 'wrm', but the data set has: cold, warm"),
        ('{"warm": ["crimsn"]}', "no class 'crimsn'; did you mean 'crimson'"),
        ('{"warm": [4]}', "no class 4;"),
        ('{"warm": ', "cannot be read as JSON groups of classes"),
    ],
)
def test_groups_that_do_not_fit(classifier: Classifier, data: Path, text: str, words: str):
    with pytest.raises(LabelError, match=words):
        work(classifier, data=data, split="train", groups=groups_file(data.parent, text))


def test_an_empty_split_and_an_unknown_one(classifier: Classifier, tmp_path: Path):
    write_voc2012(tmp_path / "data", pictures=1)  # which is in train
    with pytest.raises(SettingError, match=r"the split 'val' of .*data is empty"):
        work(classifier, data=tmp_path / "data", split="val")
    with pytest.raises(SettingError, match="has no split 'tain'; its splits are: train, val, "):
        work(classifier, data=tmp_path / "data", split="tain")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "which pictures. name files, folders or patterns, or a data set with --data ROOT --split NAME"),
        ({"data": "d"}, "a data set is named by --data ROOT --split NAME, without further pictures"),
        ({"data": "d", "split": "train", "inputs": ("a",)}, "without further pictures"),
        ({"data": "d", "split": "train", "labels": "mine.csv"}, "brings its own labels; leave --labels mine.csv away"),
        ({"data": "d", "split": "train", "labels": "predicted", "groups": "g"}, "with --labels predicted leave"),
        ({"inputs": ("a",), "labels": "predicted", "split": "train"}, "--split is for a data set; name it with --data"),
        ({"inputs": ("a",), "labels": "predicted", "layout": "coco"}, "--layout is for a data set"),
        ({"inputs": ("a",), "labels": "predicted", "groups": "absent.json"}, "--groups is for a data set"),
    ],
)
def test_settings_that_would_have_no_effect_are_refused(classifier: Classifier, values: dict, words: str):
    with pytest.raises(SettingError, match=words):
        work(classifier, **values)
