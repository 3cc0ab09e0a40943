"""A prediction by the actors of a cluster: byte for byte what one process makes."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from written_segmenter import write_segmenter

from advcam.pipeline.predicting.predict import PredictSummary, predict_pictures
from advcam.pipeline.predicting.settings import predict_settings
from advcam.pipeline.shards import Engine
from advcam.scale.ray_engine import RayEngine
from advcam.store.predictions import PredictionStore

NAMES = ("cat", "cup", "tree")


class Heard:
    def __init__(self) -> None:
        self.steps = 0
        self.reasons: dict[str, str] = {}

    def start(self, words: str, total: int) -> None:
        pass

    def step(self) -> None:
        self.steps += 1

    def skipped(self, name: str, reason: str) -> None:
        self.reasons[name] = reason


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network, and seven pictures with labels, of which one is broken."""
    folder = tmp_path_factory.mktemp("here")
    write_segmenter(folder / "trained", NAMES, head="linear", model="test_resnet")
    rng = np.random.default_rng(0)
    for number in range(7):
        path = folder / "pictures" / NAMES[number % 3] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)).save(path)
    (folder / "pictures" / "cup" / "broken.png").write_bytes(b"broken")
    return folder


def predicted(here: Path, out: str, engine: Engine | None) -> tuple[PredictSummary, Heard]:
    heard = Heard()
    settings = predict_settings(
        inputs=(str(here / "pictures"),),
        segmenter=here / "trained",
        out=here / out,
        labels="folders",
        inference={"precision": "float32", "scales": (0.5, 1.0)},
        shard_pictures=2,
    )
    return predict_pictures(settings, heard, engine), heard


def contents(out: Path) -> dict[str, bytes]:
    parts = ("*.png", "*.jpg", "*.parquet", "boxes.json", "predictions.json", "classes.json", "config.json")
    return {str(path.relative_to(out)): path.read_bytes() for part in parts for path in out.rglob(part)}


def test_equal_to_one_process_and_continued_by_it(ray_cluster: RayEngine, here: Path):
    alone, alone_heard = predicted(here, "alone", None)
    summary, heard = predicted(here, "cluster", ray_cluster)
    assert (summary.computed, summary.skipped, summary.classes) == (7, alone.skipped, alone.classes)
    assert heard.reasons == alone_heard.reasons
    assert list(heard.reasons) == ["cup/broken.png"]
    assert contents(here / "cluster") == contents(here / "alone")

    (here / "cluster" / "masks" / "cat" / "3.png").unlink()
    (here / "cluster" / "overlays" / "cup" / "4.jpg").unlink()
    summary, heard = predicted(here, "cluster", ray_cluster)
    assert (summary.computed, summary.already_done, heard.steps) == (1, 6, 7)
    found, expected = contents(here / "cluster"), contents(here / "alone")
    assert {name: found[name] for name in expected if "_index" not in name} == {
        name: data for name, data in expected.items() if "_index" not in name
    }
    generations = sorted(name.generation for name in PredictionStore(here / "cluster" / "records").names())
    assert generations == [0, 0, 0, 0, 1]
    summary, _ = predicted(here, "cluster", None)
    assert (summary.computed, summary.already_done) == (0, 7)
