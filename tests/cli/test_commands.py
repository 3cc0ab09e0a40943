"""The command line as users meet it: real photographs, hostile files, bad settings, resume."""

import json
import re
import subprocess
import sys
from io import StringIO
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hostile_files import UNUSABLE, USABLE
from PIL import Image
from rich.console import Console

from advcam.attribution.method import Cost
from advcam.cli.app import run
from advcam.cli.watch import Watch
from advcam.pipeline.localize import Plan

FAST = ["--method", "cam", "--scales", "1"]


def localize(folder: Path, out: Path, *more: str, labels: str | None = None) -> int:
    return run(["localize", str(folder), "--labels", labels or str(folder / "labels.csv"), "--out", str(out), *more])


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    return lines[0]


def test_a_climb_from_photographs_to_everything(photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "run"
    code = localize(photographs, out, "--iterations", "2", "--scales", "0.5", "1", "--json")
    captured = capsys.readouterr()
    assert code == 0
    summary = json.loads(captured.out)
    assert (summary["computed"], summary["skipped"], summary["interrupted"]) == (2, [], False)
    assert "AdvCAM with lite0 in float32: 2 pictures; 6 maps" in captured.err
    mask = np.array(Image.open(out / "masks" / "coffee.png"))
    assert Image.open(out / "masks" / "coffee.png").mode == "P"
    classes = {entry["name"]: entry["number"] for entry in json.loads((out / "classes.json").read_text())}
    assert set(np.unique(mask)) <= {0, classes["espresso"], classes["cup"]}
    boxes = json.loads((out / "boxes.json").read_text())
    assert set(boxes["pictures"]) == {"chelsea.png", "coffee.png"}
    box = boxes["pictures"]["chelsea.png"]["boxes"][0]
    assert 0 <= box["x0"] < box["x1"] <= 180
    assert box["class"] == "Egyptian cat"
    assert (out / "overlays" / "chelsea.jpg").exists()
    page = (out / "report.html").read_text()
    assert "Egyptian cat" in page
    assert "t = 2" in page
    rows = pq.read_table(out / "maps").to_pylist()
    assert sorted(row["sample_id"] for row in rows) == ["chelsea.png", "coffee.png"]


def test_the_same_command_again_computes_nothing(photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert localize(photographs, tmp_path / "run", *FAST) == 0
    capsys.readouterr()
    assert localize(photographs, tmp_path / "run", *FAST, "--quiet", "--json") == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    summary = json.loads(captured.out)
    assert (summary["computed"], summary["already_done"]) == (0, 2)


def test_another_threshold_makes_the_masks_anew_without_computing(photographs: Path, tmp_path: Path):
    out = tmp_path / "run"
    assert localize(photographs, out, *FAST, "--threshold", "0.3") == 0
    wide = np.array(Image.open(out / "masks" / "coffee.png")) > 0
    assert localize(photographs, out, *FAST, "--threshold", "0.7") == 0
    narrow = np.array(Image.open(out / "masks" / "coffee.png")) > 0
    assert json.loads((out / "summary.json").read_text())["computed"] == 0
    assert 0 < narrow.sum() < wide.sum()


def test_a_deleted_mask_and_a_changed_picture_are_made_again(photographs: Path, tmp_path: Path):
    out = tmp_path / "run"
    assert localize(photographs, out, *FAST) == 0
    (out / "masks" / "coffee.png").unlink()
    Image.open(photographs / "chelsea.png").rotate(180).save(photographs / "chelsea.png", compress_level=1)
    assert localize(photographs, out, *FAST) == 0
    assert (out / "masks" / "coffee.png").exists()
    assert json.loads((out / "summary.json").read_text())["computed"] == 1


def test_hostile_pictures_are_named_and_the_good_ones_done(
    hostile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "run"
    assert localize(hostile, out, *FAST, "--json", labels="predicted") == 1
    captured = capsys.readouterr()
    summary = json.loads(captured.out)
    assert {name for name, _ in summary["skipped"]} == set(UNUSABLE)
    assert summary["computed"] == len(USABLE)
    assert "Traceback" not in captured.err
    for name in USABLE:
        assert (out / "masks" / f"{Path(name).stem}.png").exists()
    assert Image.open(out / "masks" / "rotated.png").size == (60, 120)
    report = (out / "report.html").read_text()
    assert all(name in report for name in UNUSABLE)


def test_equal_names_in_different_folders(photographs: Path, tmp_path: Path):
    for breed in ("tabby", "espresso"):
        (tmp_path / "breeds" / breed).mkdir(parents=True)
        Image.open(photographs / "chelsea.png").save(tmp_path / "breeds" / breed / "one.png")
    assert localize(tmp_path / "breeds", tmp_path / "run", *FAST, labels="folders") == 0
    boxes = json.loads((tmp_path / "run" / "boxes.json").read_text())["pictures"]
    assert {name: entry["boxes"][0]["class"] for name, entry in boxes.items()} == {
        "tabby/one.png": "tabby",
        "espresso/one.png": "espresso",
    }
    assert (tmp_path / "run" / "masks" / "tabby" / "one.png").exists()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--iterations", "0"], "iterations (T) is at least 1"),
        (["--step-size", "-1"], "a negative one would be an attack; got -1.0"),
        (["--scales", "0"], "scales are one or more numbers above 0 and at most 8; got [0.0]"),
        (["--method", "gradcm"], "did you mean gradcam"),
        (["--method", "cam", "--iterations", "3"], "iterations is a setting of another method; CAM takes"),
        (["--other-classes", "some"], "one of all, none, logsumexp or a number of classes; got 'some'"),
        (["--threshold", "1.5"], "threshold"),
        (["--model", "resnet50"], "resnet50 needs its weights"),
        (["--model", "resnet5O", "--weights", "random"], "did you mean resnet50"),
        (["--device", "cuda:9"], "no device 'cuda:9' on this machine; there is cpu"),
        (["--itterations", "3"], "Unknown option"),
        (["--iterations", "many"], "--iterations"),
    ],
)
def test_bad_settings_are_one_line(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], words: str
):
    assert localize(photographs, tmp_path / "run", *more) == 2
    assert words in error_line(capsys)
    assert not (tmp_path / "run").exists()


def test_a_run_inside_the_picture_folder_does_not_eat_its_own_outputs(photographs: Path):
    for _ in range(2):
        assert localize(photographs, photographs / "run", *FAST) == 0
    assert json.loads((photographs / "run" / "summary.json").read_text())["pictures"] == 2


def test_bad_labels_are_one_line(photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (photographs / "labels.csv").write_text("image,labels\nchelsea.png,Egyptian cta\n")
    assert localize(photographs, tmp_path / "run") == 2
    words = error_line(capsys)
    assert words.startswith(
        f"advcam: {photographs / 'labels.csv'}, line 2, chelsea.png: the classifier has no class 'Egyptian cta'; "
        "did you mean 'Egyptian cat'"
    )
    assert words.endswith("; advcam models lite0 lists them")


def test_a_picture_without_a_label_is_a_named_skip(photographs: Path, tmp_path: Path):
    (photographs / "labels.csv").write_text("image,labels\nchelsea.png,tabby\n")
    assert localize(photographs, tmp_path / "run", *FAST) == 1
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["skipped"] == [["coffee.png", f"{photographs / 'labels.csv'} has no row for it"]]


def test_bad_places_are_one_line(photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert localize(photographs / "absent", tmp_path / "run", labels="predicted") == 2
    assert "absent does not exist" in error_line(capsys)
    (tmp_path / "nothing").mkdir()
    assert localize(tmp_path / "nothing", tmp_path / "run", labels="predicted") == 2
    assert "nothing" in error_line(capsys)
    assert localize(photographs, photographs / "labels.csv" / "run") == 2
    assert "choose another --out" in error_line(capsys)
    assert localize(photographs, photographs) == 2
    assert "is not empty and holds no run of advcam" in error_line(capsys)


def test_a_folder_of_another_run_is_refused_with_the_difference(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert localize(photographs, tmp_path / "run", *FAST, "--quiet") == 0
    before = (tmp_path / "run" / "config.json").read_text()
    assert localize(photographs, tmp_path / "run", "--method", "gradcam", "--scales", "1") == 2
    assert 'method was "cam", is now "gradcam"' in error_line(capsys)
    assert (tmp_path / "run" / "config.json").read_text() == before


def test_a_full_disk_is_one_line(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("advcam.store.files.os.fsync", full)
    assert localize(photographs, tmp_path / "run", *FAST, "--quiet") == 2
    assert "No space left on device" in error_line(capsys)
    monkeypatch.undo()
    assert localize(photographs, tmp_path / "run", *FAST, "--quiet") == 0
    assert not list((tmp_path / "run").rglob("*.partial"))


def test_lists(capsys: pytest.CaptureFixture[str]):
    assert run(["methods", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[:2] == ["advcam", "cam"]
    assert run(["models"]) == 0
    assert "lite0" in capsys.readouterr().out
    assert run(["models", "--search", "RESNET50", "--json"]) == 0
    assert {"resnet50", "torchvision/resnet50"} <= set(json.loads(capsys.readouterr().out))


def test_the_bar_says_which_time_is_which():
    """The words are what is tested: no figure stands without its meaning."""
    text = StringIO()
    cost = Cost(triples=12, passes=12.0)
    with Watch(Console(file=text, force_terminal=True, width=120, _environ={"TERM": "dumb"})) as watch:
        watch.announce(Plan(12, 0, cost, "AdvCAM", "lite0", "float32"))
        watch.picture_done("1.jpg")
        assert watch.bar.tasks[0].fields["rate"] == "", "of so few pictures it says little"
        for number in range(2, 13):
            watch.picture_done(f"{number}.jpg")
        rate = watch.bar.tasks[0].fields["rate"]
    assert re.fullmatch(r"[\d.]+ pictures/s", rate)
    line = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", text.getvalue())
    assert re.search(r"12/12 [\d.]+ pictures/s 0:00:0\d so far, 0:00:00 left", line)


def test_the_classes_of_a_classifier(capsys: pytest.CaptureFixture[str]):
    assert run(["models", "lite0", "--json"]) == 0
    names = json.loads(capsys.readouterr().out)
    assert (len(names), names[285]) == (1000, "Egyptian cat")
    assert run(["models", "lite0", "--search", "egyptian"]) == 0
    assert capsys.readouterr().out == " 285 Egyptian cat\n"
    assert run(["models", "lite0", "--search", "qqq"]) == 0
    assert capsys.readouterr().out == "no class of lite0 has 'qqq' in its name\n"
    assert run(["models", "resnet50"]) == 2
    assert "resnet50 brings no weights, so its classes are those of your file (--class-names)" in error_line(capsys)


def test_doctor_says_what_is_missing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    assert run(["doctor"]) == 0
    assert "ok torch " in capsys.readouterr().out
    monkeypatch.setattr("advcam.cli.doctor.PACKAGES", ("no-such-package",))
    assert run(["doctor", "--json"]) == 1
    missing = next(f for f in json.loads(capsys.readouterr().out) if f["what"] == "no-such-package")
    assert missing["remedy"] == "pip install no-such-package"


def test_help_and_an_unknown_command(capsys: pytest.CaptureFixture[str]):
    assert run(["--help"]) == 0
    assert "localize" in capsys.readouterr().out
    assert run(["localise"]) == 2
    assert "localize" in error_line(capsys)


def test_the_help_of_localize_begins_with_what_a_newcomer_needs(capsys: pytest.CaptureFixture[str]):
    assert run(["localize", "--help"]) == 0
    words = capsys.readouterr().out
    titles = re.findall(r"╭─ (.+?) ─", words)
    groups = ["Pictures and labels", "Masks", "Climb", "Classifier", "Work", "Many machines"]
    assert titles == ["Arguments", *groups], "no option is left in a group without a name"
    parts = re.split(r"╭─ .+? ─+╮", words)[2:]
    firsts = [re.findall(r"^│ [ *]*(--[a-z-]+)", part, re.MULTILINE) for part in parts]
    assert firsts[0][:2] == ["--labels", "--out"]
    assert [first[0] for first in firsts[1:5]] == ["--threshold", "--effort", "--model", "--dry-run"]


def test_help_waits_for_nothing_heavy() -> None:
    """The commands are imported without torch, so that --help and a typo are answered at once."""
    code = "import sys, advcam.cli.app; print('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"
