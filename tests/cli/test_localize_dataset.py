"""`advcam localize --data` as users meet it: labels of a data set, groups of outputs, recipes, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from advcam import Classifier
from advcam.cli.app import run
from advcam.datasets.catalogue import open_dataset
from advcam.datasets.synthetic.voc import write_voc2012
from advcam.datasets.voc import VOC_CLASSES
from advcam.errors import counted
from advcam.pipeline.recipe import read_recipe
from advcam.store.maps import MapStore

FAST = ["--method", "cam", "--scales", "1"]


class Toy(nn.Module):
    """Two convolutions, global average pooling, a linear head."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(5)
            self.features = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), nn.Conv2d(6, 8, 3, 2, 1), nn.ReLU())
            self.head = nn.Linear(8, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.features(inputs).mean(dim=(2, 3)))


def put_in_place(monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]) -> Classifier:
    """A small network in place of the catalogue's, for the commands that are used here."""
    classifier = Classifier.from_module(Toy(len(names)), class_names=names, multi_label=True, name="toy")
    for room in ("advcam.pipeline.localize", "advcam.pipeline.evaluation.scoring", "advcam.classifiers.catalogue"):
        monkeypatch.setattr(f"{room}.load_classifier", lambda *_, **__: classifier)
    return classifier


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """Pictures 1, 2, 4 and 7 are in train, 3 and 6 in val."""
    write_voc2012(tmp_path / "data", pictures=7)
    return tmp_path / "data"


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Classifier:
    """A network with the classes of VOC."""
    return put_in_place(monkeypatch, VOC_CLASSES)


def localize(data: Path, out: Path, *more: str, split: str = "train") -> int:
    return run(["localize", "--data", str(data), "--split", split, "--out", str(out), *more])


def summary_of(out: Path) -> dict:
    return json.loads((out / "summary.json").read_text())


def stored_classes(out: Path) -> dict[str, list[str]]:
    """Names of the outputs that were explained, by picture."""
    return {row.sample_id: list(row.attribution.class_names) for row in MapStore(out / "maps")}


def labels_of(data: Path, split: str = "train") -> dict[str, list[str]]:
    return {sample.id: list(sample.labels or ()) for sample in open_dataset(data).samples(split)}


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("advcam: ")
    return lines[0]


def test_the_labels_of_the_split_are_explained(
    voc: Path, tmp_path: Path, toy: Classifier, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "run"
    assert localize(voc, out, *FAST, "--json") == 0
    captured = capsys.readouterr()
    labels = labels_of(voc)
    assert json.loads(captured.out) == summary_of(out)
    assert summary_of(out)["computed"] == summary_of(out)["pictures"] == len(labels) == 4
    assert f"CAM with toy in float32: 4 pictures; {sum(map(len, labels.values()))} maps" in captured.err
    assert stored_classes(out) == labels
    for id_ in labels:
        with Image.open(voc / f"VOCdevkit/VOC2012/JPEGImages/{id_}.jpg") as picture:
            assert Image.open(out / "masks" / f"{id_}.png").size == picture.size
    assert "of the split train" in (out / "report.html").read_text()


def test_another_split_joins_the_same_run(voc: Path, tmp_path: Path, toy: Classifier):
    out = tmp_path / "run"
    assert localize(voc, out, *FAST) == 0
    assert localize(voc, out, *FAST, split="trainval") == 0
    summary = summary_of(out)
    assert (summary["pictures"], summary["already_done"], summary["computed"]) == (6, 4, 2)
    assert stored_classes(out) == labels_of(voc, "trainval")


def test_a_changed_label_is_computed_anew(voc: Path, tmp_path: Path, toy: Classifier):
    assert localize(voc, tmp_path / "run", *FAST) == 0
    path = voc / "VOCdevkit/VOC2012/Annotations/2007_000004.xml"
    path.write_text(path.read_text().replace("aeroplane", "boat"))  # picture 4 shows class 4 % 4 of the generated
    assert localize(voc, tmp_path / "run", *FAST) == 0
    assert summary_of(tmp_path / "run")["computed"] == 1
    assert stored_classes(tmp_path / "run")["2007_000004"] == ["boat"]


def test_predicted_labels_are_the_classifiers_and_the_report_says_so(voc: Path, tmp_path: Path, toy: Classifier):
    out = tmp_path / "run"
    assert localize(voc, out, *FAST, "--labels", "predicted", "--top", "2") == 0
    expected = {}
    for id_ in labels_of(voc):
        picture = Image.open(voc / f"VOCdevkit/VOC2012/JPEGImages/{id_}.jpg")
        expected[id_] = [VOC_CLASSES[prediction.class_id] for prediction in toy.predict(picture, 2)]
    assert stored_classes(out) == expected
    report = (out / "report.html").read_text()
    assert "predicted" in report
    assert "of the split train" not in report


def test_predicted_and_given_labels_do_not_share_a_run(
    voc: Path, tmp_path: Path, toy: Classifier, capsys: pytest.CaptureFixture[str]
):
    assert localize(voc, tmp_path / "run", *FAST, "--quiet") == 0
    assert localize(voc, tmp_path / "run", *FAST, "--quiet", "--labels", "predicted") == 2
    assert 'labels was absent, is now "predicted"; choose another --out' in error_line(capsys)
    assert stored_classes(tmp_path / "run") == labels_of(voc)


def test_groups_of_a_classifier_with_other_classes(voc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Each class of VOC has two outputs; the one that scores better in the whole picture is explained."""
    outputs = tuple(f"{kind} {name}" for name in VOC_CLASSES for kind in ("old", "new"))
    classifier = put_in_place(monkeypatch, outputs)
    groups = tmp_path / "groups.json"
    groups.write_text(json.dumps({name: [f"old {name}", f"new {name}"] for name in VOC_CLASSES}))
    out = tmp_path / "run"
    assert localize(voc, out, *FAST, "--groups", str(groups)) == 0
    expected = {}
    for id_, labels in labels_of(voc).items():
        picture = Image.open(voc / f"VOCdevkit/VOC2012/JPEGImages/{id_}.jpg")
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None] / 255
        with torch.no_grad():
            scores = classifier.module(classifier.normalise(pixels))[0]
        pairs = [(2 * VOC_CLASSES.index(label), 2 * VOC_CLASSES.index(label) + 1) for label in labels]
        expected[id_] = [outputs[max(pair, key=lambda number: float(scores[number]))] for pair in pairs]
    assert stored_classes(out) == expected
    assert run(["evaluate", str(out), "--data", str(voc), "--split", "train", "--groups", str(groups), "--quiet"]) == 0


def test_a_class_without_a_group_is_a_named_skip(
    voc: Path, tmp_path: Path, toy: Classifier, capsys: pytest.CaptureFixture[str]
):
    groups = tmp_path / "groups.json"
    groups.write_text(json.dumps({name: [name] for name in VOC_CLASSES if name != "sofa"}))
    assert localize(voc, tmp_path / "run", *FAST, "--groups", str(groups)) == 1
    sofas = [id_ for id_, labels in labels_of(voc).items() if "sofa" in labels]
    assert summary_of(tmp_path / "run")["skipped"] == [[id_, f"{groups} has no group for sofa"] for id_ in sofas]
    assert set(stored_classes(tmp_path / "run")) == set(labels_of(voc)) - set(sofas)
    assert f"skipped {counted(len(sofas), 'picture')} with a class that the groups leave out" in capsys.readouterr().err
    assert f"{groups} has no group for sofa" in (tmp_path / "run" / "report.html").read_text()


def test_a_picture_that_cannot_be_read_is_a_named_skip(voc: Path, tmp_path: Path, toy: Classifier):
    (voc / "VOCdevkit/VOC2012/JPEGImages/2007_000002.jpg").write_bytes(b"")
    assert localize(voc, tmp_path / "run", *FAST) == 1
    ((id_, reason),) = summary_of(tmp_path / "run")["skipped"]
    assert id_ == "2007_000002"
    assert "2007_000002.jpg" in reason
    assert summary_of(tmp_path / "run")["computed"] == 3


def test_a_recipe_of_tune_sets_the_run_and_options_go_before_it(voc: Path, tmp_path: Path, toy: Classifier):
    tuned = ["tune", str(voc), "--split", "train", "--out", str(tmp_path / "tuned"), "--quiet", "--folds", "2"]
    small = ["--max-trials", "1", "--max-iterations", "2", "--scales", "0.5", "1", "--max-side", "48"]
    assert run([*tuned, *small]) == 0
    path = tmp_path / "tuned" / "recipe.yaml"
    recipe = read_recipe(path)
    assert localize(voc, tmp_path / "a", "--recipe", str(path), split="val") == 0
    config = json.loads((tmp_path / "a" / "config.json").read_text())
    chosen = recipe.method.model_dump(mode="json", exclude_unset=True)
    assert {key: config["maps"][key] for key in chosen} == chosen
    assert config["outputs"]["threshold"] == recipe.outputs.threshold
    assert recipe.chosen is not None
    beforehand = "no mask of these pictures was looked at"
    report = (tmp_path / "a" / "report.html").read_text()
    assert f"{recipe.outputs.threshold:g}, {recipe.chosen.supervision}" in report
    assert beforehand not in report
    given = ["--recipe", str(path), "--max-side", "64", "--scales", "1", "--threshold", "0.9"]
    assert localize(voc, tmp_path / "b", *given, split="val") == 0
    config = json.loads((tmp_path / "b" / "config.json").read_text())
    other = chosen | {"max_side": 64, "scales": [1.0]}
    assert {key: config["maps"][key] for key in other} == other
    assert config["outputs"]["threshold"] == 0.9
    assert f"0.9, set beforehand; {beforehand}" in (tmp_path / "b" / "report.html").read_text()


def test_pictures_that_chose_the_recipe_are_named_as_seen(voc: Path, tmp_path: Path, toy: Classifier):
    labelled = ("2007_000001", "2007_000004", "2007_000003")  # two of train, one of val
    chosen = {"supervision": "validated on 3 labelled pictures", "labelled": labelled}
    (tmp_path / "mine.yaml").write_text(json.dumps({"method": {"method": "cam"}, "chosen": chosen}))
    recipe = ["--recipe", str(tmp_path / "mine.yaml"), "--scales", "1"]
    assert set(labelled[:2]) <= set(open_dataset(voc).ids("train"))
    assert localize(voc, tmp_path / "train", *recipe) == 0
    (warning,) = summary_of(tmp_path / "train")["warnings"]
    assert warning == (
        "the masks of 2 pictures of this run chose the settings of the recipe: no score on them counts as unseen"
    )
    assert warning in (tmp_path / "train" / "report.html").read_text()
    assert localize(voc, tmp_path / "val", *recipe, split="val") == 0
    assert "the masks of 1 picture of this run" in summary_of(tmp_path / "val")["warnings"][0]
    assert localize(voc, tmp_path / "without", *FAST) == 0
    assert summary_of(tmp_path / "without")["warnings"] == []


def test_a_run_says_how_its_scales_are_joined(voc: Path, tmp_path: Path, toy: Classifier):
    several = ["--method", "cam", "--scales", "0.5", "1"]
    for more, word in (((), "sum"), (("--fusion", "geometric"), "geometric")):
        assert localize(voc, tmp_path / word, *several, *more) == 0
        assert f"0.5, 1 with flips ({word})" in (tmp_path / word / "report.html").read_text()
    config = json.loads((tmp_path / "geometric" / "config.json").read_text())
    assert config["maps"]["fusion"] == "geometric"
    assert localize(voc, tmp_path / "geometric", *several) == 2  # other maps are another run


def test_outputs_of_a_recipe_hold_unless_they_are_given(voc: Path, tmp_path: Path, toy: Classifier):
    (tmp_path / "mine.yaml").write_text("method:\n  method: cam\noutputs:\n  boxes: all\n  overlays: false\n")
    mine = ["--recipe", str(tmp_path / "mine.yaml"), "--scales", "1"]
    assert localize(voc, tmp_path / "run", *mine, split="val") == 0
    outputs = json.loads((tmp_path / "run" / "config.json").read_text())["outputs"]
    assert (outputs["boxes"], outputs["overlays"]) == ("all", False)
    assert not (tmp_path / "run" / "overlays").exists()
    assert localize(voc, tmp_path / "run", *mine, "--boxes", "largest", "--overlays", split="val") == 0
    outputs = json.loads((tmp_path / "run" / "config.json").read_text())["outputs"]
    assert (outputs["boxes"], outputs["overlays"]) == ("largest", True)
    assert len(list((tmp_path / "run" / "overlays").iterdir())) == len(labels_of(voc, "val"))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["photos"], "a data set is named by --data ROOT --split NAME, without further pictures"),
        (["--split", "tain"], "has no split 'tain'; its splits are: train, val, trainval"),
        (["--layout", "voc"], "there is no layout 'voc'; did you mean 'voc2012'?"),
        (["--layout", "coco"], "it looks like the layout 'voc2012'"),
        (["--labels", "labels.csv"], "a data set brings its own labels; leave --labels labels.csv away"),
        (["--groups", "absent.json"], "absent.json cannot be read as JSON groups of classes"),
        (["--groups", "unknown.json"], "the groups name 'katze', but the data set has: aeroplane, bicycle, "),
        (["--groups", "absent.json", "--labels", "predicted"], "with --labels predicted leave --groups away"),
        (["--recipe", "absent.yaml"], "cannot read the recipe absent.yaml"),
        (["--recipe", "unknown.json"], "unknown.json, katze: Extra inputs are not permitted; got a list"),
        (["--data", "absent"], "absent is no folder; name the root folder of a data set"),
    ],
)
def test_what_does_not_fit_is_one_line_and_nothing_is_written(
    voc: Path,
    tmp_path: Path,
    toy: Classifier,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    words: str,
):
    monkeypatch.chdir(tmp_path)
    Path("unknown.json").write_text('{"katze": ["cat"]}')
    given = {"--data": str(voc), "--split": "train"}
    named = [part for option, value in given.items() if option not in more for part in (option, value)]
    assert run(["localize", *named, "--out", "run", *more]) == 2
    assert words in error_line(capsys)
    assert not Path("run").exists()


def test_a_data_set_without_a_split_and_a_split_without_a_data_set(
    voc: Path, tmp_path: Path, toy: Classifier, capsys: pytest.CaptureFixture[str]
):
    assert run(["localize", "--data", str(voc), "--out", str(tmp_path / "run")]) == 2
    assert "a data set is named by --data ROOT --split NAME" in error_line(capsys)
    pictures = str(voc / "VOCdevkit/VOC2012/JPEGImages")
    assert run(["localize", pictures, "--labels", "predicted", "--split", "val", "--out", str(tmp_path / "run")]) == 2
    assert "--split is for a data set; name it with --data ROOT, or leave --split away" in error_line(capsys)
    assert not (tmp_path / "run").exists()
