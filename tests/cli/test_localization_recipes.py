"""The recipes cub and imagenet from start to end on generated data, by `advcam run` as users type it."""

import json
from pathlib import Path

import pytest

from advcam.cli.app import run
from advcam.datasets.synthetic.wsol import write_wsol
from advcam.pipeline.chain.recipe_file import read_chain, recipe_names

#: A network and a climb of a second in place of the recipe's.
SMALL = ["train.model=test_resnet", "train.weights=random", "train.crop=64", "train.epochs=1", "train.batch_size=8"]
SMALL += ["train.precision=float32", "localize.method=cam", "localize.precision=float32", "outputs.overlays=false"]
SMALL += ["outputs.report_pictures=2", "evaluate.resamples=2"]
WSOL = [name for name in recipe_names() if name.startswith(("cub", "imagenet"))]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train, val and test with a picture of each of four classes; val and test have boxes."""
    root = tmp_path_factory.mktemp("wsol") / "data"
    write_wsol(root, 4)
    return root


@pytest.mark.parametrize("name", ["cub", "imagenet"])
def test_from_labels_to_localization_scores(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert run(["run", name, f"data.root={data}", *SMALL, "--out", str(tmp_path / "run"), "--json", "--quiet"]) == 0
    stages = {stage["name"]: dict(stage["facts"]) for stage in json.loads(capsys.readouterr().out)["stages"]}
    assert list(stages) == ["train", "localize", "localize-labelled", "classify", "threshold", "pseudo", "evaluate"]
    assert "validated: best of 1000 thresholds on 4 labelled pictures" in stages["threshold"]["threshold"]
    assert stages["evaluate"]["localize"].startswith("MaxBoxAccV2 / GT-known Loc / Top-1 Loc ")
    boxes = json.loads((tmp_path / "run" / "pseudo" / "boxes.json").read_text())["pictures"]
    assert all(len(entry["boxes"]) <= 1 for entry in boxes.values()), "one box a picture, that of the largest contour"


def test_the_embedded_classifier_needs_no_training(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a data set with one split, no truth chooses the threshold, and that is said."""
    small = ["localize.method=cam", "localize.scales=[1.0]", "localize.max_side=96", "data.limit=2"]
    given = ["run", "imagenet-embedded", f"data.root={data}", *small, *SMALL[-3:]]
    assert run([*given, "--out", str(tmp_path / "run")]) == 0
    err = capsys.readouterr().err
    assert "train" not in err
    assert all(f"{stage}: to do" in err for stage in ("localize", "classify", "threshold", "pseudo", "evaluate"))
    assert "Top-5 Loc needs five predicted classes" in err, "there are four"
    found = json.loads((tmp_path / "run" / "metrics" / "localize" / "evaluation.json").read_text())
    own = [row["supervision"] for row in found["rows"] if row["name"] == "predictions"]
    assert "validated" not in own
    assert {"oracle", "fixed"} <= set(own)
    assert "no labelled split chose a threshold (data.thresholds=SPLIT): oracle is an upper bound" in err


def test_a_recipe_without_its_training_is_the_embedded_one(data: Path, tmp_path: Path) -> None:
    settings = read_chain("imagenet", [f"data.root={data}", "train=null", "model.model=lite0"])
    assert settings.train is None
    assert settings.data.thresholds == "val"


@pytest.mark.parametrize("name", WSOL)
def test_every_localization_recipe_is_the_protocol(name: str) -> None:
    """Scored on test; a threshold, where boxes choose one, on train-fullsup; one box a picture."""
    settings = read_chain(name, ["data.root=x"])
    assert (settings.data.layout, settings.data.masks, settings.pseudo.boxes) == ("wsol", "test", "largest")
    assert settings.refine.methods == ()
    assert settings.data.thresholds == (None if name == "imagenet-embedded" else "val")


def test_evaluate_takes_the_maps_of_a_labelled_split(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for split in ("val", "test"):
        given = ["localize", "--data", str(data), "--split", split, "--out", str(tmp_path / split), "--quiet"]
        assert run([*given, "--method", "cam", "--scales", "1", "--max-side", "64"]) == 0
    given = ["evaluate", str(tmp_path / "test"), "--data", str(data), "--split", "test", "--json"]
    labelled = ["--labelled-split", "val", "--labelled-predictions", str(tmp_path / "val")]
    capsys.readouterr()
    assert run([*given, *labelled]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    (validated,) = (row for row in rows if row["supervision"] == "validated")
    assert "on 4 labelled pictures, none of them evaluated (split val)" in validated["detail"]
    assert run([*given, "--labelled-predictions", str(tmp_path / "val")]) == 2
    assert "labelled predictions are those of another split; name it with --labelled-split" in capsys.readouterr().err
