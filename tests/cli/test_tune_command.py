"""`advcam tune` as users meet it: a generated data set, a recipe, resume, errors of one line."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from advcam import Classifier
from advcam.cli.app import run
from advcam.datasets.synthetic.voc import write_voc2012
from advcam.datasets.voc import VOC_CLASSES
from advcam.pipeline.recipe import read_recipe


class Toy(nn.Module):
    """Two convolutions, global average pooling, a linear head over the 20 classes."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(5)
            self.features = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), nn.Conv2d(6, 8, 3, 2, 1), nn.ReLU())
            self.head = nn.Linear(8, len(VOC_CLASSES))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.features(inputs).mean(dim=(2, 3)))


@pytest.fixture
def voc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Six generated pictures, four of them with masks in `train`, and a small network in place of the catalogue's."""
    write_voc2012(tmp_path / "data", pictures=7)
    classifier = Classifier.from_module(Toy(), class_names=VOC_CLASSES, multi_label=True, name="toy")
    monkeypatch.setattr("advcam.classifiers.catalogue.load_classifier", lambda *_, **__: classifier)
    return tmp_path / "data"


def tune(data: Path, out: Path, *more: str, folds: int = 2, trials: int = 2) -> int:
    fast = ["--max-side", "48", "--max-iterations", "2", "--scales", "0.5", "1"]
    counts = ["--folds", str(folds), "--max-trials", str(trials)]
    return run(["tune", str(data), "--out", str(out), *fast, *counts, *more])


def test_from_a_data_set_to_a_recipe(voc: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert tune(voc, tmp_path / "out", "--split", "trainaug", "--json") == 0
    captured = capsys.readouterr()
    content = json.loads(captured.out)
    assert content == json.loads((tmp_path / "out" / "tune.json").read_text())
    assert [trial["number"] for trial in content["trials"]] == [0, 1]
    assert "AdvCAM with toy on 4 labelled pictures" in captured.err
    assert "left out 1 picture without a mask" in captured.err  # picture 5 is in trainaug and has none
    assert "slightly optimistic" in captured.err
    recipe = read_recipe(tmp_path / "out" / "recipe.yaml")
    assert recipe.chosen.split == "trainaug"
    assert recipe.chosen.model == "toy"
    assert recipe.chosen.recommended == content["recommended"]
    assert recipe.method.max_side == 48


def test_the_same_command_goes_on_and_says_so(voc: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert tune(voc, tmp_path / "out", "--split", "train", "--quiet", trials=1) == 0
    assert capsys.readouterr().err == ""
    assert tune(voc, tmp_path / "out", "--split", "train") == 0
    assert "1 trials already done" in capsys.readouterr().err
    assert len((tmp_path / "out" / "trials.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ((), "which pictures? name --split"),
        (("--split", "tain"), "no split 'tain'; its splits are: train, "),
        (("--split", "train", "--budget", "10"), "budget of 10 passes does not hold the defaults on 4 pictures"),
        (("--split", "train", "--layout", "voc"), "did you mean 'voc2012'?"),
        (("--ids", "absent.txt"), "absent.txt is missing"),
        (("--split", "train", "--budgett", "1"), "Unknown option"),
    ],
)
def test_bad_settings_are_one_line(
    voc: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], words: str
):
    assert tune(voc, tmp_path / "out", *more) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert words in lines[0]
    assert not (tmp_path / "out").exists()


def test_too_few_pictures_for_the_folds(voc: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert tune(voc, tmp_path / "out", "--split", "train", folds=9) == 2
    assert "9 folds take at least 9 labelled pictures" in capsys.readouterr().err
