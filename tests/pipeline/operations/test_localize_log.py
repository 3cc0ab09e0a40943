"""What a localization tells of itself: finished, with a broken picture, told to end, and continued."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import advcam
from advcam.cli.watch import Quiet
from advcam.pipeline.config import LocalizeSettings, localize_settings
from advcam.pipeline.localize import localize
from advcam.pipeline.operations.log import read_log
from advcam.pipeline.operations.shutdown import Terminated

PICTURES = 6


class Toy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3, 4, 1), nn.ReLU())
        self.head = nn.Linear(4, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.features(inputs).mean(dim=(2, 3)))


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalizeSettings:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        classifier = advcam.Classifier.from_module(Toy(), class_names=["a", "b"], name="toy")
    monkeypatch.setattr("advcam.pipeline.localize.load_classifier", lambda *_, **__: classifier)
    monkeypatch.setattr("advcam.pipeline.shard_maps.load_classifier", lambda *_, **__: classifier, raising=False)
    for n in range(PICTURES):
        (tmp_path / "a").mkdir(exist_ok=True)
        noise = np.random.default_rng(n).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / "a" / f"{n}.png")
    (tmp_path / "a" / "broken.png").write_bytes(b"no picture")
    return localize_settings(
        inputs=(str(tmp_path / "a"),),
        labels="folders",
        out=tmp_path / "run",
        method={"method": "cam", "scales": (1.0,)},
        shard_pictures=2,
    )


def events(settings: LocalizeSettings) -> list[dict[str, Any]]:
    return [dict(event) for event in read_log(settings.out / "log.jsonl")]


def test_a_run_that_is_done(settings: LocalizeSettings):
    summary = localize(settings, Quiet())
    found = events(settings)
    names = [event["event"] for event in found]
    assert (names[0], names[-1]) == ("started", "ended")
    assert sorted(names[1:-1]) == ["shard done"] * 4 + ["skipped"]
    start, end = found[0], found[-1]
    assert (start["command"], start["pictures"], start["already_done"]) == ("localize", PICTURES + 1, 0)
    assert (start["model"], start["method"], start["version"]) == ("toy", "CAM", advcam.__version__)
    assert [event["shard"] for event in found if event["event"] == "shard done"] == ["0-1", "2-3", "4-5", "6-6"]
    (skip,) = [(event["picture"], event["reason"]) for event in found if event["event"] == "skipped"]
    assert [skip] == summary.skipped
    assert (end["outcome"], end["pictures"], end["pictures_skipped"], end["shards"]) == ("done", PICTURES, 1, 4)
    numbers = json.loads((settings.out / "metrics.json").read_text())
    assert (numbers["pictures_planned"], numbers["pictures"], numbers["pictures_skipped"]) == (
        PICTURES + 1,
        PICTURES,
        1,
    )
    assert (numbers["shards"], numbers["workers"], numbers["running"]) == (4, 1, 0)


def test_a_run_that_is_told_to_end_and_continued(settings: LocalizeSettings):
    class Impatient(Quiet):
        done = 0

        def picture_done(self, name: str) -> None:
            self.done += 1
            if self.done == 3:
                raise Terminated

    assert localize(settings, Impatient()).interrupted
    assert [event["event"] for event in events(settings)][-2:] == ["interrupted", "ended"]
    assert events(settings)[-1]["outcome"] == "interrupted"
    summary = localize(settings, Quiet())
    second = [event["event"] for event in events(settings)].index("ended") + 1
    start = events(settings)[second]
    assert (start["event"], start["already_done"]) == ("started", summary.already_done)
    assert summary.already_done >= 2
    end = events(settings)[-1]
    assert (end["outcome"], end["pictures"]) == ("done", PICTURES - summary.already_done)
