"""`advcam predict` as users meet it: a segmenter's folder, real photographs, hostile files, bad input."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hostile_files import UNUSABLE
from PIL import Image
from written_segmenter import write_segmenter

from advcam.cli.app import run

NAMES = ["cat", "cup"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a network that has learnt nothing, in the format of `load_segmenter`."""
    return write_segmenter(tmp_path_factory.mktemp("run") / "trained", NAMES)


def predict(inputs: Path | Sequence[Path], trained: Path, out: Path, *more: str) -> int:
    named = [inputs] if isinstance(inputs, Path) else inputs
    return run(["predict", *map(str, named), "--segmenter", str(trained), "--out", str(out), *more])


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    return lines[0]


def test_photographs(trained: Path, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert predict(photographs, trained, out, "--json") == 0
    captured = capsys.readouterr()
    summary = json.loads(captured.out)
    assert (summary["computed"], summary["skipped"]) == (2, [])
    assert "done      2 pictures predicted in" in captured.err
    assert f"masks in  {out / 'masks'}, boxes.json and predictions.json beside them" in captured.err
    for name in ("chelsea", "coffee"):
        mask = Image.open(out / "masks" / f"{name}.png")
        assert mask.mode == "P"
        assert (
            mask.size == Image.open(photographs / f"{name}.png").size == Image.open(out / f"overlays/{name}.jpg").size
        )
        assert set(np.unique(np.array(mask))) <= {0, 1, 2}
    assert predict(photographs, trained / "segmenter", out, "--quiet", "--json") == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert json.loads(captured.out)["already_done"] == 2


def test_every_option_reaches_the_run(trained: Path, photographs: Path, tmp_path: Path) -> None:
    (photographs / "labels.csv").write_text("image,labels\nchelsea,cat\ncoffee,\n")
    out = tmp_path / "out"
    more = ["--scales", "0.5", "1", "--no-flip", "--max-side", "0", "--tile", "128", "--crf", "--precision", "float32"]
    more += ["--labels", str(photographs / "labels.csv"), "--boxes", "all", "--no-overlays", "--quiet"]
    assert predict(photographs, trained, out, *more) == 0
    config = json.loads((out / "config.json").read_text())
    del config["maps"]["segmenter"]
    expected = {"scales": [0.5, 1.0], "flip": False, "max_side": None, "tile": 128, "crf": True, "precision": "float32"}
    assert config["maps"] == expected
    assert config["outputs"] == {"boxes": "all", "overlays": False}
    assert not (out / "overlays").exists()
    assert set(np.unique(np.array(Image.open(out / "masks" / "chelsea.png")))) <= {0, 1}
    assert not np.array(Image.open(out / "masks" / "coffee.png")).any()


def test_hostile_files_are_named(
    trained: Path, hostile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict(hostile, trained, tmp_path / "out") == 1
    words = capsys.readouterr().err
    for name in UNUSABLE:
        assert f"skipped {name}: " in words
    assert f"{len(UNUSABLE)} skipped (named in summary.json)" in words


def test_nothing_but_broken_files(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.jpg").write_text("no picture")
    assert predict(tmp_path / "broken.jpg", trained, tmp_path / "out") == 1
    assert "found     nothing but background" not in capsys.readouterr().err
    assert json.loads((tmp_path / "out" / "predictions.json").read_text()) == {"pictures": {}}


def damaged(trained: Path, folder: Path) -> Path:
    shutil.copytree(trained / "segmenter", folder)
    (folder / "best.safetensors").write_bytes(b"damaged")
    return folder


def test_what_is_refused(trained: Path, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    (tmp_path / "file").write_text("")
    refused = [
        (photographs, tmp_path / "none", [], "holds no trained segmentation network"),
        (photographs, damaged(trained, tmp_path / "damaged"), [], "does not hold the weights of this network"),
        (photographs / "absent.png", trained, [], "does not exist"),
        (photographs, trained, ["--scales", "0"], "scales: "),
        (photographs, trained, ["--tile", "100"], "tile: Input should be a multiple of 32; got 100"),
        (photographs, trained, ["--max-side", "3"], "max-side: Input should be greater than or equal to 32; got 3"),
        (photographs, trained, ["--labels", "none.csv"], "none.csv does not exist"),
        (photographs, trained, ["--labels", str(photographs / "labels.csv")], "chelsea.png: "),
        (photographs, trained, ["--labels", "predicted"], "labels restrict the classes of a picture"),
        (photographs, trained, ["--device", "cuda:99"], "cuda"),
        (photographs, trained, ["--boxes", "some"], "some"),
        ([], trained, [], "which pictures?"),
    ]
    for inputs, segmenter, more, words in refused:
        assert predict(inputs, segmenter, out, *more) == 2, words
        assert words in error_line(capsys)
        assert not out.exists()
    assert predict(photographs, trained, tmp_path / "file") == 2
    assert "is a file; choose another --out" in error_line(capsys)


def test_a_folder_of_something_else(
    trained: Path, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "letter.txt").write_text("dear")
    assert predict(photographs, trained, tmp_path / "letters") == 2
    assert "is not empty and holds no run of advcam" in error_line(capsys)
    assert [path.name for path in (tmp_path / "letters").iterdir()] == ["letter.txt"]


def test_an_interrupt(
    trained: Path,
    photographs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(*_arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("advcam.pipeline.predicting.shard_predictions.predict", interrupted)
        assert predict(photographs, trained, tmp_path / "out") == 130
    assert "the same command goes on where it stopped" in capsys.readouterr().err
    assert predict(photographs, trained, tmp_path / "out") == 0


def test_bfloat16_is_no_reason_to_fail(trained: Path, photographs: Path, tmp_path: Path) -> None:
    assert predict(photographs / "chelsea.png", trained, tmp_path / "out", "--precision", "bfloat16", "--quiet") == 0
    assert torch.is_grad_enabled()
