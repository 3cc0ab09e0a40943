"""Scores do not depend on how many pictures a shard has, nor on which process scored it, nor on who was first."""

import json
import pickle
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from advcam import Classifier
from advcam.datasets.catalogue import open_dataset
from advcam.datasets.synthetic.catalogue import write_dataset
from advcam.datasets.voc import VOC_CLASSES
from advcam.errors import RunError, SettingError
from advcam.pipeline.evaluation.evaluate import as_json, evaluate
from advcam.pipeline.evaluation.masks import MaskScorer
from advcam.pipeline.evaluation.result import evaluate_settings
from advcam.pipeline.evaluation.scoring import ScoreTask, added_up, open_inputs
from advcam.pipeline.shards import Engine, LocalEngine, Shard, ShardResult, ShardTask, Told
from advcam.store.masks import write_mask


class Steps:
    """Counts what it hears."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def start(self, words: str, total: int) -> None:
        self.heard.append((words, total))

    def step(self) -> None:
        self.heard.append("step")


class Elsewhere:
    """Sends everything through pickle, as to other processes, and has the last shard first."""

    remote = True

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def map(self, task: ShardTask, shards: Iterable[Shard], told: Told) -> Iterator[ShardResult]:
        self.sent.append(pickle.dumps(task))
        work = pickle.loads(self.sent[-1]).load()
        for shard in reversed(list(shards)):
            yield pickle.loads(pickle.dumps(work(pickle.loads(pickle.dumps(shard)), told)))


class Dying(LocalEngine):
    """Its processes die at a picture, or cannot load."""

    def __init__(self, **told: object) -> None:
        super().__init__()
        self.told = told

    def map(self, task: ShardTask, shards: Iterable[Shard], told: Told) -> Iterator[ShardResult]:
        for shard in shards:
            yield ShardResult(shard.first, shard.last, **self.told)


class Toy(nn.Module):
    """A convolution, global average pooling, a linear head over the classes of VOC."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(5)
            self.features, self.head = nn.Sequential(nn.Conv2d(3, 8, 3, 4, 1), nn.ReLU()), nn.Linear(8, 20)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.features(inputs).mean(dim=(2, 3)))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two data sets with blurred maps, moved masks and boxes of all splits; a picture of VOC has no mask."""
    root = tmp_path_factory.mktemp("made")
    for layout in ("voc2012", "cub200"):
        write_dataset(layout, root / layout / "data", pictures=9, seed=3)
        write_predictions(root / layout)
    ids = sorted(open_dataset(root / "voc2012/data").ids("train"))
    next((root / "voc2012/data").rglob(f"SegmentationClass/{ids[1]}.png")).unlink()
    return root


def write_predictions(folder: Path) -> None:
    dataset, results = open_dataset(folder / "data"), []
    for number, sample in enumerate(one for split in dataset.splits[:2] for one in dataset.samples(split)):
        mask = np.roll(dataset.mask(sample.id), 3 + number, (0, 1))
        inside = [(mask == dataset.class_id(label) + 1).astype(np.float32) for label in sample.labels or ()]
        blurred = [np.clip(cv2.GaussianBlur(one, (0, 0), 4), 0, 1) for one in inside]
        path = folder / "maps" / f"{sample.id}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.stack(blurred))
        write_mask(folder / "masks" / f"{sample.id}.png", mask)
        for box in dataset.boxes(sample.id) or ():
            sides = [box.x0, box.y0, box.x1 - box.x0 - number % 5, box.y1 - box.y0]
            results.append({"image_id": sample.id, "category_id": box.class_id + 1, "bbox": sides, "score": 0.5})
    (folder / "results.json").write_text(json.dumps(results))


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small network in place of the catalogue's, asked at few steps."""
    monkeypatch.setattr("advcam.pipeline.evaluation.faithfulness._STEPS", 4)
    classifier = Classifier.from_module(Toy(), class_names=VOC_CLASSES, name="toy")
    monkeypatch.setattr("advcam.pipeline.evaluation.scoring.load_classifier", lambda *_, **__: classifier)


PROTOCOLS: dict[str, tuple[str, dict[str, object]]] = {
    "seeds": ("voc2012/maps", {"threshold": 0.123, "labelled": 2}),
    "seeds of a labelled split": ("voc2012/maps", {"labelled_split": "val"}),
    "masks": ("voc2012/masks", {}),
    "boxes of maps": ("cub200/maps", {"protocol": "localization", "labelled_split": "test"}),
    "boxes of a classifier": ("voc2012/maps", {"protocol": "localization", "model": {"model": "toy"}}),
    "finished boxes": ("voc2012/results.json", {}),
    "pixels": ("voc2012/maps", {"protocol": "pxap"}),
    "faithfulness": ("voc2012/maps", {"protocol": "faithfulness", "model": {"model": "toy"}}),
}


def scored(made: Path, name: str, engine: Engine | None = None, **more: object) -> tuple[str, Steps]:
    where, options = PROTOCOLS[name]
    predictions, steps = made / where, Steps()
    settings = evaluate_settings(
        predictions=predictions,
        data=predictions.parent / "data",
        split="train",
        missing="intersection",
        resamples=5,
        **options,
        **more,
    )
    return as_json(evaluate(settings, steps, engine)), steps


@pytest.mark.parametrize("name", PROTOCOLS)
def test_shards_of_any_size_on_any_engine_give_the_same(made: Path, name: str, monkeypatch: pytest.MonkeyPatch):
    found = []
    for pictures, engine in ((64, None), (1, None), (3, None), (2, Elsewhere())):
        monkeypatch.setattr("advcam.pipeline.evaluation.scoring.SHARD_PICTURES", pictures)
        text, steps = scored(made, name, engine)
        found.append((text, steps.heard))
    assert all(one == found[0] for one in found)
    totals = sum(total for _, total in (one for one in found[0][1] if one != "step"))
    assert found[0][1].count("step") == totals > 4


@pytest.mark.parametrize("name", ["seeds", "boxes of a classifier"])
def test_neither_data_nor_network_is_sent(made: Path, name: str):
    engine = Elsewhere()
    scored(made, name, engine)
    assert max(map(len, engine.sent)) < 5000


def test_another_seed_draws_other_chance_maps(made: Path):
    """The floor is drawn by the place of a picture, so that shards of any size draw the same; but it is drawn."""
    rows = [json.loads(scored(made, "seeds", seed=seed)[0])["rows"][-1] for seed in (0, 1)]
    assert rows[0]["name"] == rows[1]["name"] == "random"
    assert rows[0]["scores"] != rows[1]["scores"]


@pytest.mark.parametrize("pictures", [1, 64])
@pytest.mark.parametrize("elsewhere", [False, True])
def test_the_first_bad_picture_of_the_list_ends_it_with_its_own_error(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pictures: int, elsewhere: bool
):
    monkeypatch.setattr("advcam.pipeline.evaluation.scoring.SHARD_PICTURES", pictures)
    data, small = made / "voc2012/data", np.zeros((7, 7), np.int32)
    dataset = open_dataset(data)
    ids = sorted(dataset.ids("train"))
    for number, id_ in enumerate(ids):
        truth = dataset.mask(id_)
        write_mask(tmp_path / f"{id_}.png", small if number in (2, 4) or truth is None else truth)
    settings = evaluate_settings(predictions=tmp_path, data=data, split="train")
    steps = Steps()
    with pytest.raises(SettingError, match=rf"^{ids[2]}: a prediction is a mask of integers at the size of the truth"):
        evaluate(settings, steps, Elsewhere() if elsewhere else None)
    if not elsewhere:
        assert steps.heard == [("masks", len(ids)), *["step"] * 2]


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"failed": "no network"}, r"^pictures 1 to 5 could not be scored: no network$"),
        ({"skipped": (("a", "2 processes died"),)}, r"^a could not be scored: 2 processes died$"),
    ],
)
def test_no_score_comes_of_some_of_the_pictures(made: Path, told: dict[str, object], words: str):
    with pytest.raises(RunError, match=words):
        scored(made, "masks", Dying(**told))


def test_a_task_opens_what_it_was_given_in_this_process_and_anew_in_another(made: Path):
    settings = evaluate_settings(
        predictions=made / "voc2012/masks", data=made / "voc2012/data", split="train", missing="intersection"
    )
    inputs = open_inputs(settings)
    task = ScoreTask(inputs, MaskScorer)
    assert task.load().scorer.inputs is inputs
    sent = pickle.loads(pickle.dumps(task)).load().scorer.inputs
    assert sent is not inputs
    assert sent.settings == settings


@given(st.lists(st.text(max_size=3), min_size=1, max_size=40))
def test_parts_are_added_in_their_order(parts: list[str]):
    assert added_up(iter(parts)) == "".join(parts)


def test_no_part_is_copied_more_often_than_the_logarithm():
    class Counted(str):
        copied = 0

        def __add__(self, other: str) -> "Counted":
            Counted.copied += len(self) + len(other)
            return Counted(str(self) + str(other))

    assert len(added_up(Counted("x") for _ in range(1000))) == 1000
    assert Counted.copied < 1000 * 12
