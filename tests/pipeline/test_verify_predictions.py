"""`advcam verify` of a run of `advcam predict`: records, masks that are others, overlays."""

from pathlib import Path
from shutil import rmtree

import numpy as np
import pytest
from PIL import Image
from written_segmenter import write_segmenter

from advcam.pipeline.predicting.predict import predict_pictures
from advcam.pipeline.predicting.settings import predict_settings
from advcam.pipeline.verify import verify
from advcam.store.masks import read_mask, write_mask
from advcam.store.predictions import PredictionStore


class Heard:
    """A watcher that counts."""

    def __init__(self) -> None:
        self.totals: dict[str, int] = {}

    def stage(self, name: str, state: str) -> None:
        raise AssertionError("there are no stages")

    def say(self, words: str) -> None:
        raise AssertionError(words)

    def start(self, words: str, total: int) -> None:
        self.totals[words] = total

    def step(self) -> None:
        pass

    def skipped(self, name: str, reason: str) -> None:
        raise AssertionError(reason)


def results(out: Path) -> dict[str, bytes]:
    of_a_session = ("summary.json", "log.jsonl", "metrics.json", "metrics.prom")
    paths = [path for path in out.rglob("*") if path.is_file() and path.name not in of_a_session]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in paths}


def without_records(found: dict[str, bytes]) -> dict[str, bytes]:
    return {name: data for name, data in found.items() if not name.startswith("records/")}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    segmenter = write_segmenter(tmp_path / "trained", ("cat", "cup"), head="linear", model="test_resnet")
    (tmp_path / "pictures").mkdir()
    for number in range(5):
        noise = np.random.default_rng(number).integers(0, 256, (40, 48, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / "pictures" / f"{number}.png")
    settings = predict_settings(
        inputs=(str(tmp_path / "pictures"),),
        segmenter=segmenter,
        out=tmp_path / "run",
        inference={"precision": "float32"},
        shard_pictures=2,
    )
    predict_pictures(settings, Heard())
    return tmp_path / "run"


def test_a_run_that_is_well(out: Path) -> None:
    before, heard = results(out), Heard()
    found = verify(out, heard)
    assert (found.well, found.damaged, found.shards, found.pictures) == (True, [], 3, 5)
    assert heard.totals == {"shards": 3, "masks": 5}
    assert results(out) == before


def test_what_is_damaged_is_made_again(out: Path) -> None:
    before, rows = results(out), {row.sample_id: row for row in PredictionStore(out / "records")}
    shard = out / "records" / PredictionStore(out / "records").names()[2].file
    shard.write_bytes(shard.read_bytes()[:-8])
    other = read_mask(out / "masks" / "1.png")
    other[0, 0] += 1
    write_mask(out / "masks" / "1.png", other)
    (out / "overlays" / "2.jpg").unlink()
    (out / "predictions.json").write_text("{")
    expected = {
        f"records/{shard.name}": "its bytes are not those that were written",
        "masks/1.png": "is not the mask that was written",
        "overlays/2.jpg": "is missing",
    }
    for mend in (False, True):
        found = verify(out, Heard(), mend)
        problems = {damage.path: damage.problem for damage in found.damaged}
        assert problems.pop("predictions.json").startswith("is no valid JSON (Expecting property name")
        assert problems == expected
        assert found.well is mend
    # The row of a picture whose mask was another is one of a later generation.
    assert {row.sample_id: row for row in PredictionStore(out / "records")} == rows
    assert without_records(results(out)) == without_records(before)


def test_records_that_are_gone_are_made_again(out: Path) -> None:
    before, name = results(out), PredictionStore(out / "records").names()[1].file
    (out / "records" / name).unlink()
    for mend in (False, True):
        found = verify(out, Heard(), mend)
        assert [(damage.path, damage.problem) for damage in found.damaged] == [(f"records/{name}", "is missing")]
        assert found.well is mend
    assert results(out) == before
    rmtree(out / "records")
    for mend in (False, True):
        found = verify(out, Heard(), mend)
        assert [(damage.path, damage.problem) for damage in found.damaged] == [
            ("records", "the rows of 5 pictures are missing, the first: 0.png")
        ]
        assert found.well is mend
    assert results(out) == before


@pytest.mark.parametrize("away", ["pictures", "pictures/1.png", "trained"])
def test_nothing_is_changed_while_what_it_needs_is_away(out: Path, away: str) -> None:
    (out / "masks" / "0.png").unlink()
    (out.parent / away).rename(out.parent / "elsewhere")
    before = results(out)
    found = verify(out, Heard())
    assert not found.well
    (damage,) = found.damaged
    assert damage.advice.startswith("nothing is changed, as it cannot be made again now: ")
    assert results(out) == before
    (out.parent / "elsewhere").rename(out.parent / away)
    assert verify(out, Heard()).well
