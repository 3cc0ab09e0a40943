"""Faithfulness of maps on disk: the scores written out pixel by pixel, which output is asked, and who is left out."""

import json
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from advcam import Classifier
from advcam.datasets.catalogue import open_dataset
from advcam.datasets.synthetic.folder import SHAPE_CLASSES, write_class_folders, write_label_table
from advcam.errors import AdvcamError, DatasetError, LabelError, SettingError
from advcam.evaluate.baselines import centre_map, random_map
from advcam.pipeline.evaluation.evaluate import evaluate
from advcam.pipeline.evaluation.result import Evaluation, evaluate_settings

STEPS, SEED = 56, 3


class Toy(nn.Module):
    """One convolution, global average pooling, a linear head with steep scores; remembers what its copies have seen."""

    sizes: ClassVar[set[tuple[int, ...]]] = set()

    def __init__(self, outputs: int) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(5)
            self.features = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU())
            self.head = nn.Linear(8, outputs)
        with torch.no_grad():
            self.head.weight.mul_(8)

    def forward(self, inputs: Tensor) -> Tensor:
        self.sizes.add(tuple(inputs.shape[-2:]))
        return self.head(self.features(inputs).mean(dim=(2, 3)))


class Watcher:
    """Remembers what it hears."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def start(self, words: str, total: int) -> None:
        self.heard.append((words, total))

    def step(self) -> None:
        self.heard.append("step")


def put_in_place(
    monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...] = SHAPE_CLASSES, multi_label: bool = False
) -> Classifier:
    """A small network in place of the catalogue's."""
    classifier = Classifier.from_module(Toy(len(names)), class_names=names, multi_label=multi_label)
    monkeypatch.setattr("advcam.pipeline.evaluation.scoring.load_classifier", lambda *_, **__: classifier)
    return classifier


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Pictures 1, 2, 4 and 5 are in train, of which 5 shows nothing; 3 shows two classes and is in val."""
    write_label_table(tmp_path / "data", pictures=5)
    return tmp_path


def write_maps(folder: Path, split: str, size: tuple[int, int] = (80, 96)) -> None:
    """Noise without ties for each label of each picture."""
    random = np.random.default_rng(0)
    for sample in open_dataset(folder / "data").samples(split):
        path = folder / "maps" / f"{sample.id}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, random.random((len(sample.labels or ()), *size)).astype(np.float32))


def run(folder: Path, split: str, watcher: Watcher | None = None, **more: object) -> Evaluation:
    named = {"predictions": folder / "maps", "data": folder / "data", "split": split, "model": {"model": "toy"}}
    settings = evaluate_settings(**(named | {"protocol": "faithfulness", "seed": SEED, "resamples": 50} | more))
    return evaluate(settings, watcher or Watcher())


def literal(classifier: Classifier, pixels: NDArray[np.float32], one: NDArray[np.float32], target: int) -> list[float]:
    """Insertion, deletion, drop and increase of one map, (H, W), on a picture, (H, W, 3), one picture at a time."""

    def probability(picture: NDArray[np.float32]) -> float:
        inputs = classifier.normalise(torch.from_numpy(picture).permute(2, 0, 1)[None])
        with torch.no_grad():
            scores = classifier.module(inputs)[0].double()
        return float((scores.sigmoid() if classifier.multi_label else scores.softmax(dim=0))[target])

    def area(start: NDArray[np.float32], end: NDArray[np.float32]) -> float:
        order = np.argsort(-one.ravel(), kind="stable")
        picture, total, before = start.copy(), 0.0, probability(start)
        for step in range(STEPS):
            first, last = (order.size * s // STEPS for s in (step, step + 1))
            picture.reshape(-1, 3)[order[first:last]] = end.reshape(-1, 3)[order[first:last]]
            after = probability(picture)
            total += (before + after) / 2 * (last - first) / order.size
            before = after
        return total

    blurred = cv2.GaussianBlur(pixels, (11, 11), 5, borderType=cv2.BORDER_REPLICATE)
    blank = np.broadcast_to(np.float32([0.485, 0.456, 0.406]), pixels.shape)
    whole, masked = probability(pixels), probability(pixels * one[..., None])
    return [area(blurred, pixels), area(pixels, blank), max(0, whole - masked) / whole, float(masked > whole)]


@pytest.mark.parametrize(("multi_label", "size"), [(False, (80, 96)), (True, (20, 24))])
def test_scores_are_the_definition_on_the_maps_and_on_the_floors(
    table: Path, monkeypatch: pytest.MonkeyPatch, multi_label: bool, size: tuple[int, int]
):
    """Maps of another size than the picture are brought to it, bilinear."""
    classifier = put_in_place(monkeypatch, multi_label=multi_label)
    write_maps(table, "train", size)
    result = run(table, "train")
    expected: dict[str, list[list[float]]] = {"predictions": [], "centre": [], "random": []}
    for number, sample in enumerate(sorted(open_dataset(table / "data").samples("train"), key=lambda s: s.id)):
        pixels = np.array(Image.open(sample.path), dtype=np.float32) / 255
        for label, own in zip(sample.labels or (), np.load(table / "maps" / f"{sample.id}.npy"), strict=True):
            maps = (cv2.resize(own, (96, 80)), centre_map((80, 96)), random_map((80, 96), SEED + number))
            for values, one in zip(expected.values(), maps, strict=True):
                values.append(literal(classifier, pixels, one, SHAPE_CLASSES.index(label)))
    assert [row.name for row in result.rows] == list(expected)
    for row in result.rows:
        found = [row.scores[name] for name in ("insertion", "deletion", "average_drop", "average_increase")]
        assert found == pytest.approx(np.mean(expected[row.name], axis=0), abs=1e-5)
        assert row.low <= row.scores["insertion"] <= row.high
        assert (row.supervision, row.threshold) == ("none", None)
    insertions = [one[0] for values in expected.values() for one in values]
    assert max(insertions) - min(insertions) > 0.01, "the areas differ, so an area of another map would be seen"


def test_a_picture_that_shows_nothing_is_left_out_and_said(table: Path, monkeypatch: pytest.MonkeyPatch):
    put_in_place(monkeypatch)
    write_maps(table, "train")
    watcher = Watcher()
    result = run(table, "train", watcher)
    assert result.pictures == 3
    assert result.headline == "insertion"
    assert "1 pictures have no map and are left out: pictures/5.jpg" in result.notes
    assert watcher.heard == [("faithfulness", 4), *["step"] * 4]


def test_a_split_in_which_no_picture_shows_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    put_in_place(monkeypatch)
    write_label_table(tmp_path / "data", pictures=1)
    text = (tmp_path / "data" / "labels.csv").read_text()
    (tmp_path / "data" / "classes.txt").write_text("\n".join(SHAPE_CLASSES))
    (tmp_path / "data" / "labels.csv").write_text(text.replace(",rectangle,", ",,"))
    write_maps(tmp_path, "train")
    with pytest.raises(DatasetError, match="no picture of the split 'train' has a map, so there is nothing to ask for"):
        run(tmp_path, "train")


def test_one_map_alone_has_an_interval_of_no_width_and_two_classes_count_each(
    table: Path, monkeypatch: pytest.MonkeyPatch
):
    put_in_place(monkeypatch)
    write_maps(table, "val")
    two = run(table, "val").rows[0]
    assert two.low < two.high, "picture 3 shows two classes, and each map is a value of its own"
    (table / "data" / "labels.csv").write_text("image,labels\npictures/1.jpg,rectangle\n")
    (table / "data" / "classes.txt").write_text("\n".join(SHAPE_CLASSES))
    write_maps(table, "all")
    one = run(table, "all").rows[0]
    assert one.low == one.high == pytest.approx(one.scores["insertion"])


def test_groups_ask_the_output_that_scores_best_in_the_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Whichever of two outputs is named, the group of both gives the better one's scores."""
    classifier = put_in_place(monkeypatch, names=("a", "b", "c"))
    write_class_folders(tmp_path / "data", pictures=1)
    write_maps(tmp_path, "train")
    (sample,) = open_dataset(tmp_path / "data").samples("train")
    pixels = torch.from_numpy(np.array(Image.open(sample.path))).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        scores = classifier.module(classifier.normalise(pixels))[0]
    best = max("ab", key=lambda name: scores["abc".index(name)])
    rows = {}
    for members in (["a", "b"], ["a"], ["b"]):
        (tmp_path / "groups.json").write_text(json.dumps({"rectangle": members}))
        rows["".join(members)] = run(tmp_path, "train", groups=tmp_path / "groups.json").rows
    assert rows["ab"] == rows[best]
    assert rows["a"] != rows["b"]


def test_large_pictures_are_asked_at_224_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    classifier = put_in_place(monkeypatch)
    write_class_folders(tmp_path / "data", pictures=1)
    path = tmp_path / "data/train/rectangle/1.jpg"
    Image.open(path).resize((672, 336)).save(path)
    write_maps(tmp_path, "train")
    classifier.module.sizes.clear()
    run(tmp_path, "train")
    assert classifier.module.sizes == {(112, 224)}


def test_the_network_is_left_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    module = put_in_place(monkeypatch).module
    before = module.training
    write_class_folders(tmp_path / "data", pictures=1)
    write_maps(tmp_path, "train")
    run(tmp_path, "train")
    assert module.training == before
    assert all(parameter.requires_grad and parameter.grad is None for parameter in module.parameters())


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"model": None}, SettingError, r"faithfulness asks the classifier: name it with --model \(and --weights\)"),
        ({"labelled": 1}, SettingError, "faithfulness of maps has none; leave --labelled away"),
        ({"threshold": 0.3}, SettingError, "faithfulness of maps has no threshold to be fixed"),
        ({"groups": "absent.json"}, LabelError, "cannot be read as JSON groups of classes"),
    ],
)
def test_what_does_not_fit(
    table: Path, monkeypatch: pytest.MonkeyPatch, changes: dict, error: type[AdvcamError], words: str
):
    put_in_place(monkeypatch)
    write_maps(table, "train")
    with pytest.raises(error, match=words):
        run(table, "train", **changes)


def test_a_class_that_the_classifier_lacks_names_the_picture(table: Path, monkeypatch: pytest.MonkeyPatch):
    put_in_place(monkeypatch, names=("ellipse", "triangle", "wheel"))
    write_maps(table, "train")
    with pytest.raises(LabelError, match=r"^pictures/1\.jpg: the classifier has no class 'rectangle'"):
        run(table, "train")
