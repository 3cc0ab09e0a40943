"""What `advcam evaluate` refuses: one line on standard error, exit code 2, and nothing half-written."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from evaluated import error_line, evaluate, write_all
from PIL import Image

from advcam.datasets.synthetic.writing import write_index_png


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_all(tmp_path_factory.mktemp("template"))


@pytest.fixture
def made(template: Path, tmp_path: Path) -> Path:
    """Data and predictions that a test may damage."""
    return shutil.copytree(template, tmp_path / "made")


def first_map(made: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    path = min((made / "maps").rglob("*.npy"))
    np.save(path, change(np.load(path)))


def first_mask(made: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    path = min((made / "masks").rglob("*.png"))
    write_index_png(path, change(np.array(Image.open(path))))


def first_result(made: Path, **values: object) -> None:
    results = json.loads((made / "results.json").read_text())
    results[0] |= values
    (made / "results.json").write_text(json.dumps(results))


Harm = Callable[[Path], object]
FAULTS: dict[str, tuple[str, Harm, str]] = {
    "NaN": ("maps", lambda made: first_map(made, lambda one: one * np.nan), "score maps lie in [0, 1] without NaN"),
    "percent": ("maps", lambda made: first_map(made, lambda one: one * 100), "holds values from 0 to 100"),
    "two maps": ("maps", lambda made: first_map(made, lambda one: np.stack([one] * 2)), "holds 2 maps; "),
    "no array": ("maps", lambda made: min((made / "maps").rglob("*.npy")).write_text("no"), "cannot be read as an"),
    "both kinds": ("maps", lambda made: Image.new("L", (9, 9)).save(made / "maps/a.png"), "both .npy maps and .png"),
    "mask size": ("masks", lambda made: first_mask(made, lambda one: one[1:]), "resize it (nearest) to the picture"),
    "mask class": ("masks", lambda made: first_mask(made, lambda one: one + 9), "classes are 0 to 4, and 255"),
    "category": ("results.json", lambda made: first_result(made, category_id=5), "category_id 5 is none of"),
    "box": ("results.json", lambda made: first_result(made, bbox=[999, 0, 9, 9]), "lies outside of a picture"),
    "no score": ("results.json", lambda made: first_result(made, score=None), "score None are not x, y, width"),
    "cut": ("results.json", lambda made: (made / "results.json").write_text('[{"image'), "is no complete JSON"),
}
UNFIT: dict[str, tuple[str, list[str]]] = {
    "images holds neither .npy maps nor .png masks, and is no run of advcam": ("data/images", []),
    "absent does not exist; name a run, a folder of .npy maps": ("absent", []),
    "holds boxes, but the protocol segmentation takes maps or masks": (
        "results.json",
        ["--protocol", "segmentation"],
    ),
    "holds masks, but the protocol faithfulness takes maps": ("masks", ["--protocol", "faithfulness"]),
    "faithfulness asks the classifier: name it with --model": ("maps", ["--protocol", "faithfulness"]),
    "segmentation asks no classifier; leave --model away": ("maps", ["--model", "toy"]),
    "--weights and --class-names belong to a classifier; name it with --model": ("maps", ["--weights", "w"]),
    "segmentation of masks has none; leave --labelled away": ("masks", ["--labelled", "2"]),
    "segmentation of masks has no threshold to be fixed; leave --threshold away": ("masks", ["--threshold", "0.2"]),
    "pxap of maps has no threshold to be fixed": ("maps", ["--protocol", "pxap", "--threshold", "0.2"]),
    "8 labelled pictures were asked for, but only 8": ("maps", ["--labelled", "8"]),
    "threshold: Input should be less than or equal to 1; got 1.5": ("maps", ["--threshold", "1.5"]),
    "--protocol": ("maps", ["--protocol", "boxes"]),
    "--missing": ("maps", ["--missing", "skip"]),
    "there is no layout 'cub'; did you mean 'cub200'?": ("maps", ["--layout", "cub"]),
    "absent.json cannot be read as JSON groups": ("maps", ["--groups", "absent.json"]),
    "leave --top-classes away": ("maps", ["--top-classes", "a.csv"]),
}


def refused(made: Path, capsys: pytest.CaptureFixture[str], name: str, *more: str) -> str:
    """The one line of an evaluation that is refused; what an earlier one has written is still there, and no more."""
    (made / "out").mkdir()
    (made / "out" / "evaluation.json").write_text("of an earlier evaluation")
    assert evaluate(made, name, "--out", str(made / "out"), *more) == 2
    assert [path.name for path in (made / "out").iterdir()] == ["evaluation.json"]
    assert (made / "out" / "evaluation.json").read_text() == "of an earlier evaluation"
    return error_line(capsys)


@pytest.mark.parametrize("fault", FAULTS)
def test_bad_predictions_are_one_line(made: Path, capsys: pytest.CaptureFixture[str], fault: str):
    name, harm, words = FAULTS[fault]
    harm(made)
    assert words in refused(made, capsys, name)


@pytest.mark.parametrize("words", UNFIT)
def test_what_does_not_fit_together_is_one_line(made: Path, capsys: pytest.CaptureFixture[str], words: str):
    name, more = UNFIT[words]
    assert words in refused(made, capsys, name, *more)


def test_a_picture_that_cannot_be_drawn_leaves_nothing_half_written(made: Path, capsys: pytest.CaptureFixture[str]):
    """Masks are scored without their pictures, figures show them."""
    for path in (made / "data" / "images").rglob("*.jpg"):
        path.write_bytes(path.read_bytes()[:500])
    assert evaluate(made, "masks", "--out", str(made / "out")) == 2
    assert "replace or remove it" in error_line(capsys)
    assert not (made / "out").exists()
    assert evaluate(made, "masks", "--quiet") == 0


def test_an_unknown_split_and_bad_places(made: Path, capsys: pytest.CaptureFixture[str]):
    assert evaluate(made, "maps", split="val") == 2
    assert "has no split 'val'; its splits are: train, test" in error_line(capsys)
    assert evaluate(made, "maps", split="test") == 2
    assert "predicts none of the 4 pictures of the split" in error_line(capsys)
    assert evaluate(made, "maps", "--out", str(made / "maps" / "out")) == 2
    assert "is among the predictions, which are read again; choose another --out" in error_line(capsys)
    assert evaluate(made, "maps", "--out", str(made / "results.json")) == 2
    assert "results.json is a file; choose another --out, an evaluation takes a folder" in error_line(capsys)
