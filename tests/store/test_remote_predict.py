"""A prediction into an object store that fails now and then: the objects are the files of one into a folder."""

from pathlib import Path

import numpy as np
from PIL import Image
from written_segmenter import write_segmenter

from advcam.pipeline.predicting.predict import PredictSummary, predict_pictures
from advcam.pipeline.predicting.settings import predict_settings
from advcam.store.places import Place

#: What tells of a session, or of the machine.
OWN = ("summary.json", "metrics.json", "metrics.prom", "log.jsonl", ".lock", "settings.json")


class Quiet:
    def start(self, words: str, total: int) -> None:
        pass

    def step(self) -> None:
        pass

    def skipped(self, name: str, reason: str) -> None:
        pass


def predicted(here: Path, out: Place) -> PredictSummary:
    settings = predict_settings(
        inputs=(str(here / "pictures"),),
        segmenter=here / "trained",
        out=out,
        inference={"precision": "float32"},
        shard_pictures=2,
    )
    return predict_pictures(settings, Quiet())


def of_result(contents: dict[str, bytes]) -> dict[str, bytes]:
    """Log files of a store have names of their own."""
    return {name: data for name, data in contents.items() if not name.startswith("log") and name not in OWN}


def test_as_in_a_folder(s3, bucket, folder, tmp_path: Path):
    write_segmenter(tmp_path / "trained", ("cat", "cup"), head="linear", model="test_resnet")
    (tmp_path / "pictures").mkdir()
    rng = np.random.default_rng(0)
    for number in range(5):
        pixels = rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"{number}.png")
    out = tmp_path / "out"
    assert predicted(tmp_path, out).computed == 5
    local = {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}

    s3.share = 0.2
    assert predicted(tmp_path, folder).computed == 5
    s3.client().delete_object(Bucket=bucket, Key="runs/one/masks/3.png")
    s3.client().put_object(Bucket=bucket, Key="runs/one/masks/1.png", Body=b"x")
    summary = predicted(tmp_path, folder)
    s3.share = 0.0
    assert (summary.computed, summary.already_done) == (2, 3)
    stored = {key.removeprefix("runs/one/"): data for key, data in s3.objects(bucket).items()}
    made_again = {key for key in stored if "-g00000001-" in key or "-g1-" in key or key.endswith("_index.parquet")}
    assert len(made_again) == 3
    expected = {name: data for name, data in of_result(local).items() if not name.endswith("_index.parquet")}
    assert {name: data for name, data in of_result(stored).items() if name not in made_again} == expected
