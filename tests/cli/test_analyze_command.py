"""`advcam analyze` as users meet it: figures and tables that fit each other, going on, and errors of one line."""

import csv
import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from advcam import Classifier
from advcam.cli.app import run
from advcam.datasets.catalogue import open_dataset
from advcam.datasets.synthetic.voc import write_voc2012
from advcam.datasets.voc import VOC_CLASSES
from advcam.types import DEFAULT_THRESHOLD

TABLES = ("trajectory", "amplification", "sweeps", "landscape", "curvature")
STEPS, POINTS, LINE_POINTS = 2, 5, 41
#: A climb of two steps on small pictures, under the base setting and with the penalty varied.
FAST = ["--iterations", str(STEPS), "--max-side", "48", "--landscape-pictures", "1"]
FAST += ["--landscape-points", str(POINTS)]
ONE_SWEEP = ["--penalties", "0", "--mask-thresholds", "0.5", "--step-sizes", "0.1"]


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
    """Generated pictures, of which 1, 2 and 4 are in train, and a small network in place of the catalogue's."""
    write_voc2012(tmp_path / "data", pictures=4)
    classifier = Classifier.from_module(Toy(), class_names=VOC_CLASSES, multi_label=True, name="toy")
    monkeypatch.setattr("advcam.pipeline.analyses.dataset.load_classifier", lambda *_, **__: classifier)
    return tmp_path / "data"


@pytest.fixture
def drawn_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than measuring a toy; one test draws for real."""
    monkeypatch.setattr("advcam.pipeline.analyses.outputs.render", lambda figure, kind: kind.encode())


def analyze(data: Path, out: Path, *more: str, split: str = "train") -> int:
    return run(["analyze", str(data), "--split", split, "--out", str(out), *FAST, *more])


def read(out: Path, name: str) -> list[dict[str, str]]:
    with (out / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def climbs_of(data: Path) -> list[tuple[str, str]]:
    return [(s.id, label) for s in open_dataset(data).samples("train") for label in s.labels or ()]


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("advcam: ")
    return lines[0]


def test_figures_and_tables_are_there_and_open(voc: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "out"
    assert analyze(voc, out, *ONE_SWEEP) == 0
    captured = capsys.readouterr()
    assert captured.out == f"figures and tables in {out}\n"
    plan, *units = captured.err.splitlines()
    runs = ("base", "penalty=0.0", "step_size=0.1", "other_classes=none")  # tau is 0.5 in the base run
    assert plan == f"AdvCAM with toy: 3 pictures under 4 settings ({', '.join(runs)}), landscapes of 1"
    assert len(units) == 3 * len(runs) + 1
    facts = json.loads((out / "analysis.json").read_text())
    assert tuple(facts["runs"]) == runs
    figures = {path.stem for path in (out / "figures").iterdir()}
    assert figures == set(facts["figures"])
    assert figures == {"trajectory", "sweeps", "regularisers", "amplification", "landscape", "lines"}
    for name in figures:
        with Image.open(out / "figures" / f"{name}.png") as picture:
            assert picture.convert("L").getextrema()[0] < 128, "something is drawn"
        assert (out / "figures" / f"{name}.pdf").read_bytes().startswith(b"%PDF")
    assert all(read(out, name) for name in TABLES)
    assert not list(out.rglob("*.partial"))


def test_tables_are_consistent_with_the_data_and_each_other(voc: Path, tmp_path: Path, drawn_quickly: None):
    out = tmp_path / "out"
    assert analyze(voc, out, *ONE_SWEEP, "--quiet") == 0
    trajectory, amplification, sweeps = (read(out, name) for name in ("trajectory", "amplification", "sweeps"))
    runs = list(json.loads((out / "analysis.json").read_text())["runs"])
    assert [(row["run"], int(row["t"])) for row in trajectory] == [(r, t) for r in runs for t in range(STEPS + 1)]
    climbs = climbs_of(voc)
    for row in trajectory:
        assert (int(row["pictures"]), int(row["climbs"])) == (3, len(climbs))
        assert float(row["oracle_miou"]) >= float(row["fixed_miou"])
        own = [one for one in amplification if (one["run"], one["t"]) == (row["run"], row["t"])]
        assert [(one["picture"], one["class_name"]) for one in own] == climbs
        mean = sum(float(one["score"]) for one in own) / len(own)
        assert float(row["score"]) == pytest.approx(mean)
        assert float(row["fixed_threshold"]) == DEFAULT_THRESHOLD
    at_end = {row["run"]: row for row in trajectory if int(row["t"]) == STEPS}
    seeds = [name for name in trajectory[0] if name.startswith(("fixed_", "oracle_"))]
    for row in sweeps:
        twin = at_end[row["run"]]
        if row["parameter"] == "iterations":
            twin = next(one for one in trajectory if (one["run"], one["t"]) == ("base", row["value"]))
        assert [row[name] for name in seeds] == [twin[name] for name in seeds]
    assert {row["parameter"] for row in sweeps} >= {"iterations", "penalty", "step_size"}
    # The climb raises the score of its class, which is what it is for.
    assert float(at_end["base"]["score"]) > float(trajectory[0]["score"])


def test_landscapes_have_every_point_of_the_first_picture(voc: Path, tmp_path: Path, drawn_quickly: None):
    out = tmp_path / "out"
    assert analyze(voc, out, "--no-sweep", "--quiet") == 0
    landscape, curvature = read(out, "landscape"), read(out, "curvature")
    first = climbs_of(voc)[0][0]
    labels = [label for id_, label in climbs_of(voc) if id_ == first]
    assert len(landscape) == len(labels) * 2 * (POINTS**2 + LINE_POINTS)
    assert [(row["picture"], row["class_name"], row["direction"]) for row in curvature] == [
        (first, label, direction) for label in labels for direction in ("climb", "attack")
    ]
    for label in labels:
        at_picture = {row["score"] for row in landscape if row["class_name"] == label and row["a"] == row["b"] == "0.0"}
        assert len({round(float(score), 4) for score in at_picture}) == 1, "both planes hold the picture itself"
    assert not (out / "figures" / "regularisers.png").exists(), "nothing was varied"


def test_the_same_command_goes_on_and_a_picture_more_is_measured(
    voc: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], drawn_quickly: None
):
    out = tmp_path / "out"
    more = ("--no-sweep", "--landscape-pictures", "0")
    plain = ["analyze", str(voc), "--split", "train", "--out", str(out), *FAST[:4], *more]
    assert run([*plain, "--pictures", "1"]) == 0
    capsys.readouterr()
    assert run(plain) == 0
    first, second, third = (sample.id for sample in open_dataset(voc).samples("train"))
    assert capsys.readouterr().err.splitlines()[1:] == [
        f"1: {first} base (measured before)",
        f"2: {second} base",
        f"3: {third} base",
    ]


def test_quiet_says_nothing(voc: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], drawn_quickly: None):
    assert analyze(voc, tmp_path / "out", "--no-sweep", "--pictures", "1", "--quiet") == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_a_picture_that_cannot_be_read_is_named_and_the_exit_code_is_1(
    voc: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], drawn_quickly: None
):
    (voc / "VOCdevkit/VOC2012/JPEGImages/2007_000002.jpg").write_bytes(b"")
    assert analyze(voc, tmp_path / "out", "--no-sweep") == 1
    err = capsys.readouterr().err
    assert "skipped 2007_000002: " in err
    assert "Traceback" not in err
    assert {picture for picture, _ in climbs_of(voc)} - {"2007_000002"} == {
        row["picture"] for row in read(tmp_path / "out", "amplification")
    }


def test_another_base_setting_is_refused_in_the_same_folder(
    voc: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], drawn_quickly: None
):
    assert analyze(voc, tmp_path / "out", "--no-sweep", "--quiet", "--pictures", "1") == 0
    before = (tmp_path / "out" / "config.json").read_text()
    assert analyze(voc, tmp_path / "out", "--no-sweep", "--quiet", "--seed", "3") == 2
    assert "holds a run with other settings: view.seed was 0, is now 3; choose another --out" in error_line(capsys)
    assert (tmp_path / "out" / "config.json").read_text() == before


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--pictures", "0"], "an analysis takes at least one picture; got 0"),
        (["--scales", "0"], "scales are one or more numbers above 0 and at most 8; got [0.0]"),
        (["--penalties", "-1"], "penalty (lambda) is finite and not negative; got -1.0"),
        (["--mask-thresholds", "0.5", "2"], "mask_threshold (tau) lies in [0, 1]; got 2.0"),
        (["--step-sizes", "fast"], '--step-sizes: unable to convert "fast" into float'),
        (["--layout", "voc"], "there is no layout 'voc'; did you mean 'voc2012'?"),
        (["--groups", "absent.json"], "absent.json cannot be read as JSON groups of classes"),
        (["--threshold", "0.3"], "Unknown option"),
    ],
)
def test_bad_settings_are_one_line(
    voc: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], words: str
):
    assert analyze(voc, tmp_path / "out", *more) == 2
    assert words in error_line(capsys)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--split", "tain"], "has no split 'tain'; its splits are: train, val, "),
        (["--split", "train", "--iterations", "0"], "iterations (T) is at least 1; for no climb use CAM; got 0"),
        (["--split", "train", "--landscape-points", "6"], "advcam: landscape-points is odd, so that the picture"),
        (["--split", "train", "--landscape-pictures", "-1"], "landscape-pictures: Input should be greater than or eq"),
        (["--split", "train", "--max-side", "-4"], "max_side is at least 32 pixels, or 0 for no limit; got -4"),
        ([], "--split"),
    ],
)
def test_settings_of_the_base_run_that_are_bad_are_one_line(
    voc: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
):
    assert run(["analyze", str(voc), "--out", str(tmp_path / "out"), *arguments]) == 2
    assert words in error_line(capsys)
    assert not (tmp_path / "out").exists()
