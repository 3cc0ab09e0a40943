"""An analysis of a data set on disk: which pictures are taken, what their classes are, and what cannot be used."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from advcam import Classifier
from advcam.datasets.catalogue import open_dataset
from advcam.datasets.synthetic.scenes import draw_scene
from advcam.datasets.synthetic.voc import write_voc2012
from advcam.datasets.synthetic.writing import write_index_png, write_jpeg
from advcam.datasets.voc import VOC_CLASSES
from advcam.errors import AdvcamError, DatasetError, LabelError, SettingError
from advcam.pipeline.analyses.analyze import AnalysisPlan
from advcam.pipeline.analyses.dataset import analyze_dataset

#: One climb a class of one step on a small picture, and no surroundings.
SMALL = {"method": {"max_side": 32, "flip": False}, "iterations": 1, "landscape_pictures": 0}
SMALL |= {"sweeps": dict.fromkeys(("penalty", "mask_threshold", "step_size", "other_classes"), ())}


class Toy(nn.Module):
    """Two convolutions, global average pooling, a linear head."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(5)
            self.features = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), nn.Conv2d(6, 8, 3, 2, 1), nn.ReLU())
            self.head = nn.Linear(8, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.features(inputs).mean(dim=(2, 3)))


class Watcher:
    """Remembers what it hears."""

    def __init__(self) -> None:
        self.plans: list[AnalysisPlan] = []
        self.done: list[str] = []
        self.skipped: list[tuple[str, str]] = []

    def announce(self, plan: AnalysisPlan) -> None:
        self.plans.append(plan)

    def unit_done(self, picture: str, unit: str, measured: bool) -> None:
        self.done.append(picture)

    def picture_skipped(self, picture: str, reason: str) -> None:
        self.skipped.append((picture, reason))


Named = Callable[..., Classifier]


@pytest.fixture
def name_classes(monkeypatch: pytest.MonkeyPatch) -> Named:
    """Puts a small network with these outputs in place of the catalogue's."""

    def put(*names: str) -> Classifier:
        classifier = Classifier.from_module(Toy(len(names)), class_names=names, name="toy")
        monkeypatch.setattr("advcam.pipeline.analyses.dataset.load_classifier", lambda *_, **__: classifier)
        return classifier

    return put


@pytest.fixture
def drawn_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """The figures have tests of their own."""
    monkeypatch.setattr("advcam.pipeline.analyses.outputs.render", lambda figure, kind: kind.encode())


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """Pictures 1, 2, 4, 7 and 8 are in train."""
    write_voc2012(tmp_path / "data", pictures=8)
    return tmp_path / "data"


def analyze(root: Path, out: Path, split: str = "train", count: int = 20, **more: object) -> tuple[int, Watcher]:
    watcher = Watcher()
    options = {"layout": None, "groups": None} | {k: more.pop(k) for k in ("layout", "groups") if k in more}
    settings = SMALL | {"out": out} | more
    return analyze_dataset(root, split, watcher, count=count, settings=settings, **options), watcher


def climbs(out: Path) -> list[tuple[str, str]]:
    """Picture and class of each climb."""
    with (out / "amplification.csv").open(newline="") as file:
        return [(row["picture"], row["class_name"]) for row in csv.DictReader(file) if row["t"] == "0"]


def claimed(out: Path) -> set[int]:
    """Numbers of the mask, background left out, that the seeds of the first picture claim at any threshold."""
    with (out / "records.jsonl").open() as file:
        seeds = json.loads(file.readline())["content"]["seeds"]
    return {claim for step in seeds for _, claim, pixels in step if any(pixels)} - {0}


def test_every_label_of_every_picture_is_climbed_once(
    voc: Path, tmp_path: Path, name_classes: Named, drawn_quickly: None
):
    name_classes(*VOC_CLASSES)
    skipped, watcher = analyze(voc, tmp_path / "out")
    samples = list(open_dataset(voc).samples("train"))
    assert skipped == 0
    assert climbs(tmp_path / "out") == [(s.id, label) for s in samples for label in s.labels or ()]
    (plan,) = watcher.plans
    assert (plan.pictures, plan.runs, plan.model) == (len(samples), ("base",), "toy")
    facts = json.loads((tmp_path / "out" / "analysis.json").read_text())
    assert facts["num_classes"] == len(VOC_CLASSES) + 1
    assert facts["pictures"] == len(samples) == 5


@pytest.mark.parametrize(("count", "places"), [(1, [0]), (2, [0, 2]), (3, [0, 1, 3]), (5, range(5)), (9, range(5))])
def test_pictures_are_spread_evenly_over_the_split(
    voc: Path, tmp_path: Path, name_classes: Named, drawn_quickly: None, count: int, places: list[int]
):
    """Place k of n of m pictures is k m / n, rounded down."""
    name_classes(*VOC_CLASSES)
    _, watcher = analyze(voc, tmp_path / "out", count=count)
    ids = list(open_dataset(voc).ids("train"))
    assert watcher.done == [ids[place] for place in places]


def test_pictures_without_a_mask_or_with_an_unknown_class_are_not_chosen(
    voc: Path, tmp_path: Path, name_classes: Named, drawn_quickly: None
):
    name_classes(*[name for name in VOC_CLASSES if name != "sofa"])
    skipped, watcher = analyze(voc, tmp_path / "out", split="trainaug")  # picture 5 is there and has no mask
    dataset = open_dataset(voc)
    without_sofa = [s.id for s in dataset.samples("trainaug") if "sofa" not in (s.labels or ())]
    assert skipped == 0
    assert watcher.done == [id_ for id_ in without_sofa if id_ != "2007_000005"]
    assert "2007_000005" in without_sofa


def test_groups_tell_which_output_is_climbed_and_which_class_is_scored(
    tmp_path: Path, name_classes: Named, drawn_quickly: None
):
    """The outputs stand in another order than the classes, and one of them for two classes of a picture."""
    scene = draw_scene(1, (0, 1))
    assert scene.class_ids == (0, 1)
    write_jpeg(tmp_path / "data" / "a.jpg", scene.picture)
    write_index_png(tmp_path / "data" / "masks" / "a.png", scene.label_mask)
    (tmp_path / "data" / "labels.csv").write_text("image,labels\na.jpg,apple;bean\n")
    name_classes("nothing", "both", "green")
    groups = tmp_path / "groups.json"

    groups.write_text('{"apple": ["green"], "bean": ["both"]}')
    analyze(tmp_path / "data", tmp_path / "two", split="all", groups=groups)
    assert climbs(tmp_path / "two") == [("a.jpg", "green"), ("a.jpg", "both")]
    assert claimed(tmp_path / "two") == {1, 2}, "as the mask numbers apple and bean; the outputs would be 3 and 2"

    groups.write_text('{"apple": ["both"], "bean": ["both"]}')
    analyze(tmp_path / "data", tmp_path / "one", split="all", groups=groups)
    assert climbs(tmp_path / "one") == [("a.jpg", "both")]
    assert claimed(tmp_path / "one") == {1}, "the first of the two classes keeps the output"


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda home: home.joinpath("JPEGImages/2007_000002.jpg").write_bytes(b""), "2007_000002.jpg"),
        (lambda home: home.joinpath("JPEGImages/2007_000002.jpg").write_text("no picture"), "2007_000002.jpg"),
        (
            lambda home: Image.new("P", (80, 90)).save(home / "SegmentationClass/2007_000002.png"),
            "the truth has the shape (90, 80), the picture (96, 80)",
        ),
    ],
)
def test_a_picture_that_cannot_be_used_is_skipped_by_name(
    voc: Path,
    tmp_path: Path,
    name_classes: Named,
    drawn_quickly: None,
    harm: Callable[[Path], object],
    words: str,
):
    name_classes(*VOC_CLASSES)
    harm(voc / "VOCdevkit" / "VOC2012")
    skipped, watcher = analyze(voc, tmp_path / "out")
    assert skipped == 1
    ((id_, reason),) = watcher.skipped
    assert id_ == "2007_000002"
    assert words in reason
    facts = json.loads((tmp_path / "out" / "analysis.json").read_text())
    assert facts["pictures"] == 4
    assert facts["skipped"] == [[id_, reason]]
    assert id_ not in {picture for picture, _ in climbs(tmp_path / "out")}


def test_a_picture_that_is_absent_is_not_chosen(voc: Path, tmp_path: Path, name_classes: Named, drawn_quickly: None):
    name_classes(*VOC_CLASSES)
    (voc / "VOCdevkit/VOC2012/JPEGImages/2007_000001.jpg").unlink()
    skipped, watcher = analyze(voc, tmp_path / "out", count=1)
    assert (skipped, watcher.done) == (0, ["2007_000002"])


def test_only_unreadable_pictures_are_an_error(voc: Path, tmp_path: Path, name_classes: Named):
    name_classes(*VOC_CLASSES)
    for path in (voc / "VOCdevkit/VOC2012/JPEGImages").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DatasetError, match=r"no picture could be analysed; the first was left out because: .*jpg"):
        analyze(voc, tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"count": 0}, SettingError, "an analysis takes at least one picture; got 0"),
        ({"split": "tain"}, SettingError, "has no split 'tain'; its splits are: train, val, "),
        ({"layout": "coco"}, DatasetError, "it looks like the layout 'voc2012'"),
        ({"groups": Path("absent.json")}, LabelError, "absent.json cannot be read as JSON groups"),
        ({"iterations": 0}, SettingError, "iterations (T) is at least 1"),
        ({"landscape_points": 6}, SettingError, "landscape-points is odd, so that the picture itself is a point"),
        ({"sweeps": {"penalty": (-1,)}}, SettingError, "penalty (lambda) is finite and not negative; got -1"),
    ],
)
def test_what_does_not_fit_is_said_before_anything_is_written(
    voc: Path, tmp_path: Path, name_classes: Named, changes: dict, error: type[AdvcamError], words: str
):
    name_classes(*VOC_CLASSES)
    with pytest.raises(error) as caught:
        analyze(voc, tmp_path / "out", **changes)
    assert words in str(caught.value)
    assert "Value error" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_split_without_masks_or_known_classes_is_an_error(voc: Path, tmp_path: Path, name_classes: Named):
    name_classes("something", "else")
    with pytest.raises(DatasetError, match=r"no picture of the split 'train' has a mask and classes that the classifi"):
        analyze(voc, tmp_path / "out")
    assert not (tmp_path / "out").exists()
