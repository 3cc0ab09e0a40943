"""The stages of a chain by an engine whose work goes through another process's eyes: pickled there and back."""

import pickle
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from chains import Heard, content, files

from advcam.datasets.synthetic.catalogue import write_dataset
from advcam.datasets.synthetic.wsol import write_wsol
from advcam.pipeline.chain.recipe_file import change, parse_chain
from advcam.pipeline.chain.run import open_chain
from advcam.pipeline.chain.settings import ChainSettings
from advcam.pipeline.shards import Engine, Shard, ShardResult, ShardTask, Told, Unheard

SEGMENT = {
    "network": {"head": "linear", "model": "test_resnet", "weights": "random"},
    "objective": {"frozen_statistics": False},
    "crop": 64,
    "epochs": 1,
    "batch_size": 4,
    "precision": "float32",
    "inference": {"flip": False, "precision": "float32"},
    "self_training": 1,
}


class Sent:
    """Loads each stage from its pickled form, works on pickled shards in turned order, and says which stages it saw."""

    remote = True

    def __init__(self) -> None:
        self.stages: list[str] = []

    def map(self, task: ShardTask, shards: Iterable[Shard], told: Told) -> Iterator[ShardResult]:
        waiting = [pickle.dumps(shard) for shard in shards]
        if not waiting:
            return
        self.stages.append(type(task).__name__)
        work = pickle.loads(pickle.dumps(task)).load()
        for shard in reversed(waiting):
            result = pickle.loads(pickle.dumps(work(pickle.loads(shard), Unheard())))
            for id_ in result.done:
                told.picture_done(id_)
            for id_, reason in result.skipped:
                told.picture_skipped(id_, reason)
            yield result


def run(made: ChainSettings, out: Path, engine: Engine | None) -> Heard:
    heard = Heard()
    with open_chain(made, out, engine=engine) as chain:
        chain.run(heard)
    return heard


def compare(made: ChainSettings, folder: Path, parts: tuple[str, ...]) -> list[str]:
    """The stages that the engine saw; what they left is what one process leaves."""
    engine = Sent()
    run(made, folder / "alone", None)
    run(made, folder / "sent", engine)
    for part in parts:
        alone = files(folder / "alone", f"{part}/**/*")
        assert alone, part
        assert files(folder / "sent", f"{part}/**/*") == alone, part
    return engine.stages


def test_irn_and_a_segmentation_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("filing", "refining"):
        monkeypatch.setattr(f"advcam.pipeline.chain.{module}.SHARD_PICTURES", 3)
    write_dataset("folders", tmp_path / "data", 12)
    made = content(tmp_path / "data") | {"segment": SEGMENT}
    change(made, ["refine.methods=[irn]", "refine.irn.instances=true"])
    parts = ("refined/irn/labels", "refined/irn/instances", "refined/irn/maps", "segmenter/round-1/masks")
    seen = compare(parse_chain(made, "toy.yaml"), tmp_path, (*parts, "predictions/masks", "pseudo"))
    assert [name for name in seen if name in ("FilesOfMaps", "RefineTask", "MaskTask")] == [
        "FilesOfMaps",
        "RefineTask",
        "FilesOfMaps",
        "MaskTask",
        "MaskTask",
    ]


def test_top_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("advcam.pipeline.chain.classifying.SHARD_PICTURES", 2)
    write_wsol(tmp_path / "data", 5)
    made = content(tmp_path / "data", train="train", val="val", masks="test")
    assert "RankTask" in compare(parse_chain(made, "toy.yaml"), tmp_path, ("predicted",))
