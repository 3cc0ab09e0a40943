"""Scores from the workers of a cluster are those of one process, to the last digit; so are errors."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from advcam.datasets.catalogue import open_dataset
from advcam.datasets.synthetic.catalogue import write_dataset
from advcam.errors import PictureError, RunError
from advcam.pipeline.evaluation.evaluate import as_json, evaluate
from advcam.pipeline.evaluation.result import evaluate_settings
from advcam.pipeline.shards import Engine
from advcam.scale.ray_engine import RayEngine
from advcam.store.masks import write_mask


class Steps:
    """Counts the pictures that it hears of."""

    def __init__(self) -> None:
        self.count = 0

    def start(self, words: str, total: int) -> None:
        """Nothing."""

    def step(self) -> None:
        self.count += 1


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Blurred maps, moved masks, boxes, and outputs of an ImageNet network for each class of VOC."""
    root, results = tmp_path_factory.mktemp("made"), []
    write_dataset("voc2012", root / "data", pictures=9, seed=3)
    dataset = open_dataset(root / "data")
    (root / "maps").mkdir()
    for split in ("train", "val"):
        for number, sample in enumerate(dataset.samples(split)):
            mask = np.roll(dataset.mask(sample.id), 3 + number, (0, 1))
            inside = [(mask == dataset.class_id(label) + 1).astype(np.float32) for label in sample.labels or ()]
            blurred = [np.clip(cv2.GaussianBlur(one, (0, 0), 4), 0, 1) for one in inside]
            np.save(root / "maps" / f"{sample.id}.npy", np.stack(blurred))
            write_mask(root / "masks" / f"{sample.id}.png", mask)
            for box in dataset.boxes(sample.id) or ():
                sides = [box.x0, box.y0, box.x1 - box.x0 - number, box.y1 - box.y0]
                results.append({"image_id": sample.id, "category_id": box.class_id + 1, "bbox": sides, "score": 0.5})
    (root / "results.json").write_text(json.dumps(results))
    (root / "groups.json").write_text(json.dumps({name: [n] for n, name in enumerate(dataset.class_names)}))
    return root


def scored(made: Path, name: str, engine: Engine | None, **options: object) -> tuple[str, int]:
    settings = evaluate_settings(
        predictions=made / name,
        data=made / "data",
        split="train",
        missing="intersection",
        resamples=20,
        **options,
    )
    steps = Steps()
    return as_json(evaluate(settings, steps, engine)), steps.count


@pytest.fixture(autouse=True)
def several_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("advcam.pipeline.evaluation.scoring.SHARD_PICTURES", 2)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("maps", {"labelled_split": "val"}),
        ("masks", {}),
        ("results.json", {}),
        ("maps", {"protocol": "pxap"}),
    ],
)
def test_the_same_to_the_last_digit(made: Path, ray_cluster: RayEngine, name: str, options: dict[str, object]):
    assert scored(made, name, ray_cluster, **options) == scored(made, name, None, **options)


def test_workers_load_the_classifier(made: Path, ray_cluster: RayEngine):
    options = {"protocol": "localization", "model": {"model": "lite0"}, "groups": made / "groups.json"}
    there, here = (scored(made, "maps", engine, **options) for engine in (ray_cluster, None))
    assert there == here
    assert "top5_loc" in json.loads(here[0])["rows"][0]["scores"]


def test_a_bad_picture_ends_it_with_the_same_error(made: Path, ray_cluster: RayEngine, tmp_path: Path):
    ids = sorted(open_dataset(made / "data").ids("train"))
    (tmp_path / "bad").mkdir()
    for number, id_ in enumerate(ids):
        one = np.load(made / "maps" / f"{id_}.npy")
        np.save(tmp_path / "bad" / f"{id_}.npy", one * np.nan if number in (2, 4) else one)
    settings = evaluate_settings(predictions=tmp_path / "bad", data=made / "data", split="train")
    said = []
    for engine in (ray_cluster, None):
        with pytest.raises(PictureError, match=rf"^{ids[2]}: .* score maps lie in \[0, 1\] without NaN") as caught:
            evaluate(settings, Steps(), engine)
        said.append(str(caught.value))
    assert said[0] == said[1]


def test_a_network_that_no_worker_can_load(made: Path, ray_cluster: RayEngine, tmp_path: Path):
    model = {"model": "lite0", "weights": tmp_path / "absent.safetensors"}
    with pytest.raises(RunError, match=r"^pictures 1 to 2 could not be scored: the stage cannot be loaded on"):
        scored(made, "maps", ray_cluster, protocol="localization", model=model, groups=made / "groups.json")
