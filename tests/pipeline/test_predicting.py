"""A prediction run on pictures whose masks are known: a network that sees colours, resume, labels, broken files."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from hostile_files import UNUSABLE, USABLE
from PIL import Image
from torch import Tensor, nn

from advcam.errors import LabelError, PictureError, RunError, SettingError
from advcam.pipeline.operations.log import read_log
from advcam.pipeline.predicting import predict as predicting
from advcam.pipeline.predicting import shard_predictions
from advcam.pipeline.predicting.outputs import overlay
from advcam.pipeline.predicting.predict import PredictSummary, predict_pictures
from advcam.pipeline.predicting.settings import predict_settings
from advcam.segment.network import SegmentationNetwork
from advcam.segment.settings import SegmenterSettings
from advcam.segment.trained import Segmenter
from advcam.store.masks import read_mask
from advcam.training.augment import Normalisation

NAMES = ("red", "green", "blue")


class Colours(SegmentationNetwork):
    """Class k + 1 where channel k is the brightest, background where all are dark."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 4, 1), 4, Normalisation((0, 0, 0), (1, 1, 1)), (4,))
        with torch.no_grad():
            self.encoder.weight.zero_()
            self.encoder.weight[1:, :, 0, 0] = 20 * torch.eye(3)
            self.encoder.bias.copy_(torch.tensor([8.0, 0, 0, 0]))
        self.pictures = 0

    def encode(self, inputs: Tensor) -> list[Tensor]:
        self.pictures += 1
        return [self.encoder(inputs)]

    def decode(self, features: list[Tensor]) -> Tensor:
        return features[-1]

    def head_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        return self.named_parameters()


@dataclass
class Heard:
    """What a watcher heard."""

    totals: list[int] = field(default_factory=list)
    steps: int = 0
    reasons: dict[str, str] = field(default_factory=dict)

    def start(self, words: str, total: int) -> None:
        self.totals.append(total)

    def step(self) -> None:
        self.steps += 1

    def skipped(self, name: str, reason: str) -> None:
        self.reasons[name] = reason


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Colours:
    made = Colours()
    segmenter = Segmenter(made, NAMES, SegmenterSettings(), torch.device("cpu"))
    monkeypatch.setattr(predicting, "load_segmenter", lambda _folder, _device: segmenter)
    return made


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """One picture of a red and two blue patches, one of a green patch, one that is all dark."""
    folder = tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    pixels = np.zeros((48, 64, 3), dtype=np.uint8)
    pixels[4:20, 8:40, 0] = 255
    pixels[30:40, 2:12, 2] = 255
    pixels[26:46, 30:60, 2] = 200
    Image.fromarray(pixels).save(folder / "patches.png")
    pixels = np.zeros((32, 40, 3), dtype=np.uint8)
    pixels[10:, :, 1] = 255
    Image.fromarray(pixels).save(folder / "more" / "meadow.png")
    Image.fromarray(np.zeros((32, 32, 3), dtype=np.uint8)).save(folder / "night.png")
    return folder


def predicted(pictures: Path, out: Path, **values: object) -> tuple[PredictSummary, Heard]:
    heard = Heard()
    settings = predict_settings(inputs=(str(pictures),), segmenter=Path("any"), out=out, **values)
    return predict_pictures(settings, heard), heard


def test_masks_boxes_and_areas_are_those_of_the_patches(network: Colours, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    summary, heard = predicted(pictures, out)
    assert (summary.pictures, summary.computed, summary.skipped) == (3, 3, [])
    assert summary.classes == {"red": 1, "green": 1, "blue": 1}
    assert (heard.totals, heard.steps) == ([3], 3)
    expected = np.zeros((48, 64), dtype=int)
    expected[4:20, 8:40], expected[30:40, 2:12], expected[26:46, 30:60] = 1, 3, 3
    assert (read_mask(out / "masks" / "patches.png") == expected).all()
    assert not read_mask(out / "masks" / "night.png").any()
    found = json.loads((out / "predictions.json").read_text())["pictures"]
    assert list(found) == ["more/meadow.png", "night.png", "patches.png"]
    sure = (
        float(torch.tensor([8.0, 20 * 200 / 255, 0, 0]).softmax(0)[1]),
        float(torch.tensor([8.0, 20, 0, 0]).softmax(0)[1]),
    )
    mean = (600 * sure[0] + 100 * sure[1]) / 700
    assert found["patches.png"] == {
        "mask": "masks/patches.png",
        "height": 48,
        "width": 64,
        "classes": [
            {
                "class": "red",
                "class_id": 0,
                "pixels": 512,
                "share": 0.1667,
                "confidence": pytest.approx(sure[1], abs=1e-4),
            },
            {
                "class": "blue",
                "class_id": 2,
                "pixels": 700,
                "share": 0.2279,
                "confidence": pytest.approx(mean, abs=1e-4),
            },
        ],
    }
    assert found["night.png"]["classes"] == []
    boxes = json.loads((out / "boxes.json").read_text())["pictures"]["patches.png"]
    assert (boxes["height"], boxes["width"]) == (48, 64)
    corners = [[box[name] for name in ("class", "x0", "y0", "x1", "y1")] for box in boxes["boxes"]]
    assert corners == [["red", 8, 4, 40, 20], ["blue", 30, 26, 60, 46]]
    assert boxes["boxes"][1]["score"] == pytest.approx(sure[0], abs=1e-4)
    numbers = {entry["name"]: entry["number"] for entry in json.loads((out / "classes.json").read_text())}
    assert numbers == {"background": 0, "ignore": 255, "red": 1, "green": 2, "blue": 3}


def test_the_same_again_predicts_nothing(network: Colours, pictures: Path, tmp_path: Path) -> None:
    predicted(pictures, tmp_path / "out")
    found = [path for path in (tmp_path / "out").rglob("*.json") if path.stem not in ("summary", "metrics")]
    before = {path: path.read_bytes() for path in found}
    network.pictures = 0
    summary, heard = predicted(pictures, tmp_path / "out")
    assert (summary.computed, summary.already_done, network.pictures, heard.steps) == (0, 3, 0, 3)
    assert {path: path.read_bytes() for path in before} == before
    assert summary.classes == {"red": 1, "green": 1, "blue": 1}


def test_what_is_gone_or_changed_is_made_again(network: Colours, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    predicted(pictures, out)
    first = (out / "overlays" / "patches.jpg").read_bytes()
    (out / "overlays" / "patches.jpg").unlink()
    (out / "masks" / "more" / "meadow.png").unlink()
    (out / "masks" / "night.png").write_bytes(b"broken")
    (out / "overlays" / "night.jpg").unlink()
    network.pictures = 0
    summary, _ = predicted(pictures, out)
    assert (summary.computed, summary.already_done, network.pictures) == (2, 1, 2)
    assert (out / "overlays" / "patches.jpg").read_bytes() == first
    assert not read_mask(out / "masks" / "night.png").any()
    Image.fromarray(np.full((40, 30, 3), (255, 0, 0), dtype=np.uint8)).save(pictures / "night.png")
    summary, _ = predicted(pictures, out)
    assert summary.computed == 1
    assert (read_mask(out / "masks" / "night.png") == 1).all()


def test_all_boxes_come_from_the_records(network: Colours, pictures: Path, tmp_path: Path) -> None:
    predicted(pictures, tmp_path / "out")
    summary, _ = predicted(pictures, tmp_path / "out", boxes="all")
    assert summary.computed == 0
    boxes = json.loads((tmp_path / "out" / "boxes.json").read_text())["pictures"]["patches.png"]["boxes"]
    assert [(box["class"], box["x0"]) for box in boxes] == [("red", 8), ("blue", 30), ("blue", 2)]


def test_other_settings_are_another_run(network: Colours, pictures: Path, tmp_path: Path) -> None:
    predicted(pictures, tmp_path / "out")
    with pytest.raises(RunError, match="holds a run with other settings: flip was true, is now false"):
        predicted(pictures, tmp_path / "out", inference={"flip": False})
    with torch.no_grad():
        network.encoder.bias += 1
    with pytest.raises(RunError, match="holds a run with other settings: segmenter was"):
        predicted(pictures, tmp_path / "out")


def test_labels_say_what_a_picture_may_show(network: Colours, pictures: Path, tmp_path: Path) -> None:
    labels, out = tmp_path / "labels.csv", tmp_path / "out"
    labels.write_text("image,labels\npatches.png,red\nmeadow,Blue;green\n")
    summary, _ = predicted(pictures, out, labels=str(labels))
    assert summary.skipped == [("night.png", f"{labels} has no row for it")]
    assert set(np.unique(read_mask(out / "masks" / "patches.png"))) == {0, 1}
    assert summary.classes == {"red": 1, "green": 1}
    labels.write_text("image,labels\npatches.png,blue\nmeadow,blue;green\n")
    summary, _ = predicted(pictures, out, labels=str(labels))
    assert (summary.computed, summary.already_done) == (1, 1)
    assert set(np.unique(read_mask(out / "masks" / "patches.png"))) == {0, 3}
    labels.write_text("image,labels\npatches.png,red\nmeadow,blue;green\n")  # back again: the mask of blue is not it
    predicted(pictures, out, labels=str(labels))
    assert set(np.unique(read_mask(out / "masks" / "patches.png"))) == {0, 1}


def test_an_unknown_label_ends_the_run_before_it_begins(network: Colours, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("image,labels\npatches.png,gren\n")
    with pytest.raises(LabelError, match=r"patches.png: .*'gren'; did you mean 'green'"):
        predicted(pictures, tmp_path / "out", labels=str(tmp_path / "labels.csv"))
    assert not (tmp_path / "out").exists()


def test_unusable_pictures_are_named(network: Colours, hostile: Path, tmp_path: Path) -> None:
    summary, heard = predicted(hostile, tmp_path / "out")
    assert summary.computed == len(USABLE)
    assert set(heard.reasons) == {name for name, _ in summary.skipped} == set(UNUSABLE)
    masks = {path.stem for path in (tmp_path / "out" / "masks").iterdir()}
    assert masks == {Path(name).stem for name in USABLE}
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["computed"] == len(USABLE)


def test_after_an_interrupt_the_same_goes_on(
    network: Colours, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = predicted(pictures, tmp_path / "whole")[0]
    real = shard_predictions.predict
    calls: list[int] = []

    def interrupted(*arguments: object) -> object:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(shard_predictions, "predict", interrupted)
    summary, _ = predicted(pictures, tmp_path / "out")
    assert summary.interrupted
    assert list(json.loads((tmp_path / "out" / "predictions.json").read_text())["pictures"]) == ["more/meadow.png"]
    summary, _ = predicted(pictures, tmp_path / "out")
    assert (summary.interrupted, summary.computed, summary.already_done) == (False, 2, 1)
    log = list(read_log(tmp_path / "out" / "log.jsonl"))
    assert [event["event"] for event in log if event["event"] != "shard done"] == [
        "started",
        "interrupted",
        "ended",
        "started",
        "ended",
    ]
    started = [(event["command"], event["pictures"], event["already_done"]) for event in log if "command" in event]
    assert started == [("predict", 3, 0), ("predict", 3, 1)]
    assert [event["outcome"] for event in log if event["event"] == "ended"] == ["interrupted", "done"]
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["pictures"] == 2
    assert summary.classes == whole.classes
    for path in (tmp_path / "whole").rglob("*.png"):
        assert (tmp_path / "out" / path.relative_to(tmp_path / "whole")).read_bytes() == path.read_bytes()
    for name in ("boxes.json", "predictions.json"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_own_outputs_are_no_inputs(network: Colours, pictures: Path) -> None:
    predicted(pictures, pictures / "out")
    assert predicted(pictures, pictures / "out")[0].pictures == 3
    with pytest.raises(SettingError, match="all pictures lie in"):
        predicted(pictures / "out" / "masks", pictures / "out")


def test_no_pictures(network: Colours, tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="does not exist"):
        predicted(tmp_path / "nothing", tmp_path / "out")
    with pytest.raises(SettingError, match="which pictures"):
        predict_pictures(predict_settings(inputs=(), segmenter=Path("any"), out=tmp_path / "out"), Heard())


def test_settings_out_of_range_are_one_line() -> None:
    with pytest.raises(SettingError, match=r"^tile: Input should be a multiple of 32; got 100$"):
        predict_settings(inputs=("a",), segmenter=Path("s"), out=Path("o"), inference={"tile": 100})


def test_an_overlay_leaves_the_background_as_it_is() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 9, 3), dtype=np.uint8)
    mask = np.zeros((8, 9), dtype=np.int32)
    mask[2:5, 3:6] = 1
    shown = np.asarray(overlay(pixels, mask))
    assert np.array_equal(shown[mask == 0], pixels[mask == 0])
    expected = (pixels[mask == 1] + np.array([128.0, 0.0, 0.0])) / 2
    assert np.abs(shown[mask == 1] - expected).max() <= 0.5
