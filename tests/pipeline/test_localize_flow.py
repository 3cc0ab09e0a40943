"""A run that hands several pictures over at once gives what it gives one by one; the plan, and the estimate."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from advcam import Classifier
from advcam.cli.app import run
from advcam.cli.watch import Quiet, duration
from advcam.pipeline import estimate as room
from advcam.pipeline.config import localize_settings
from advcam.pipeline.localize import localize as run_localize
from advcam.pipeline.localize import plan
from advcam.pipeline.shards import LocalEngine, Shard, ShardResult, ShardTask, Told

SIZES = ((40, 40), (64, 48), (64, 48), (48, 64), (64, 48), (90, 50))


class Toy(nn.Module):
    """Two convolutions, global average pooling, a linear head of three classes."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.features = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), nn.Conv2d(6, 8, 3, 2, 1), nn.ReLU())
            self.head = nn.Linear(8, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.features(inputs).mean(dim=(2, 3)))


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> Classifier:
    classifier = Classifier.from_module(Toy(), class_names=["a", "b", "c"], name="toy")
    monkeypatch.setattr("advcam.pipeline.localize.load_classifier", lambda *_, **__: classifier)
    return classifier


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = ["image,labels"]
    (tmp_path / "pictures").mkdir()
    for n, (width, height) in enumerate(SIZES):
        noise = np.random.default_rng(n).integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / "pictures" / f"{n}.png")
        rows.append(f"{n}.png,{'a;b' if n % 2 else 'c'}")
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def localize(folder: Path, out: str, *more: str) -> int:
    source = [str(folder / "pictures"), "--labels", str(folder / "labels.csv")]
    return run(["localize", *source, "--out", str(folder / out), "--scales", "1", "--quiet", *more])


def maps(folder: Path) -> dict[str, bytes]:
    return {row["sample_id"]: row["maps"] for row in pq.read_table(folder / "maps").to_pylist()}


def test_groups_give_what_single_pictures_give(folder: Path, monkeypatch: pytest.MonkeyPatch):
    assert localize(folder, "single", "--report-pictures", "2") == 0
    monkeypatch.setattr("advcam.pipeline.shard_maps._GROUP_OF_A_CPU", 4)
    assert localize(folder, "grouped", "--report-pictures", "2") == 0
    one, many = maps(folder / "single"), maps(folder / "grouped")
    assert one.keys() == many.keys()
    for name, stored in one.items():
        ours, theirs = (np.frombuffer(data, np.float16).astype(float) for data in (stored, many[name]))
        np.testing.assert_allclose(ours, theirs, atol=2e-3)
    assert (folder / "grouped" / "report.html").read_text().count("t = 4") >= 1


def test_a_broken_picture_of_a_group_is_left_out_alone(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("advcam.pipeline.shard_maps._GROUP_OF_A_CPU", 4)
    (folder / "pictures" / "1.png").write_bytes(b"no picture")
    assert localize(folder, "run", "--method", "cam") == 1
    summary = json.loads((folder / "run" / "summary.json").read_text())
    assert [name for name, _ in summary["skipped"]] == ["1.png"]
    assert summary["computed"] == len(SIZES) - 1
    assert len(maps(folder / "run")) == len(SIZES) - 1


def test_a_dry_run_says_what_it_would_do_and_writes_nothing(folder: Path, capsys: pytest.CaptureFixture[str]):
    before = sorted(folder.rglob("*"))
    assert localize(folder, "run", "--dry-run") == 0
    line = capsys.readouterr().out.strip()
    assert line.startswith("AdvCAM with toy in float32: 6 pictures; 9 maps (picture x class x scale), about 81 network")
    assert line.endswith("by a trial on a few of them")
    assert sorted(folder.rglob("*")) == before


def test_a_dry_run_counts_what_is_done(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert localize(folder, "run", "--method", "cam") == 0
    assert localize(folder, "run", "--method", "cam", "--dry-run", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["pictures"], found["already_done"], found["cost"]["triples"]) == (6, 6, 0)
    assert found["seconds"] is None
    assert localize(folder, "run", "--method", "gradcam", "--dry-run") == 2  # another run's folder


def test_the_estimate_counts_classes_area_and_steps(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """On a clock that each call of the method moves by its passes x area x classes, the estimate is exact."""
    now = [0.0]
    monkeypatch.setattr(room.time, "perf_counter", lambda: now[0])

    def counting(self, pictures, targets, **_):
        work = sum(p.width * p.height * len(ids) for p, ids in zip(pictures, targets, strict=True))
        now[0] += work * sum(self.passes(scale) * scale**2 for scale in self.scales)
        return original(self, pictures, targets)

    original = room.Method.__call__
    monkeypatch.setattr(room.Method, "__call__", counting)
    settings = localize_settings(
        inputs=(str(folder / "pictures"),),
        labels=str(folder / "labels.csv"),
        out=folder / "run",
        method={"scales": (0.5, 1.0), "iterations": 8},
    )
    areas = [w * h * (2 if n % 2 else 1) for n, (w, h) in enumerate(SIZES)]
    expected = sum(areas) * ((2 * 2 + 1) * 0.25 + (2 * 8 + 1))
    assert plan(settings).seconds == pytest.approx(expected, rel=1e-6)


def test_no_estimate_from_pictures_that_cannot_be_read(folder: Path):
    for path in (folder / "pictures").iterdir():
        path.write_bytes(b"no picture")
    settings = localize_settings(
        inputs=(str(folder / "pictures"),), labels=str(folder / "labels.csv"), out=folder / "r"
    )
    assert plan(settings).seconds is None


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 seconds"), (119, "119 seconds"), (121, "2.0 minutes"), (3_600, "60 minutes"), (9_000, "2.5 hours")],
)
def test_durations_in_words(seconds: float, words: str):
    assert duration(seconds) == words


class ToldToEnd(LocalEngine):
    """A cluster whose driver is told to end after two shards."""

    remote = True

    def map(self, task: ShardTask, shards: Iterable[Shard], told: Told) -> Iterator[ShardResult]:
        for number, result in enumerate(super().map(task, shards, told)):
            yield result
            if number == 1:
                raise KeyboardInterrupt


def test_a_run_on_a_cluster_that_is_told_to_end_begins_nothing_more(folder: Path):
    source = {"inputs": (str(folder / "pictures"),), "labels": str(folder / "labels.csv"), "out": folder / "run"}
    settings = localize_settings(**source, method={"method": "cam", "scales": (1.0,)}, shard_pictures=2)
    summary = run_localize(settings, Quiet(), engine=ToldToEnd())
    assert (summary.interrupted, summary.computed) == (True, 4)
    assert json.loads((folder / "run" / "summary.json").read_text())["interrupted"] is True
    assert not (folder / "run" / "boxes.json").exists()
    summary = run_localize(settings, Quiet())
    assert (summary.interrupted, summary.computed, summary.already_done) == (False, 2, 4)
    assert len(json.loads((folder / "run" / "boxes.json").read_text())["pictures"]) == len(SIZES)
