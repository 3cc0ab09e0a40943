"""A shard of pictures to masks: pictures that are broken, that kill, that changed; masks that are others."""

import errno
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import decoders
import numpy as np
import pytest
from PIL import Image
from written_segmenter import write_segmenter

import advcam
from advcam.pipeline import shard_rows
from advcam.pipeline.predicting import shard_predictions
from advcam.pipeline.predicting.predict import PredictSummary, predict_pictures
from advcam.pipeline.predicting.settings import PredictSettings, predict_settings
from advcam.pipeline.predicting.shard_predictions import Given, LookTask, PredictTask
from advcam.pipeline.shard_maps import file_bytes
from advcam.pipeline.shard_pictures import pictures_of
from advcam.pipeline.shards import Shard, ShardResult
from advcam.store import files
from advcam.store.masks import read_mask, write_mask
from advcam.store.predictions import PredictionStore
from advcam.types import Sample

NAMES = ("cat", "cup", "tree")


class Heard:
    """Who watches a run, and who hears of a shard."""

    def __init__(self) -> None:
        self.total, self.steps = 0, 0
        self.begun: list[str] = []
        self.done: list[str] = []
        self.reasons: dict[str, str] = {}

    def start(self, words: str, total: int) -> None:
        self.total = total

    def step(self) -> None:
        self.steps += 1

    def skipped(self, name: str, reason: str) -> None:
        self.reasons[name] = reason

    def begins(self, id_: str) -> None:
        self.begun.append(id_)

    def picture_done(self, name: str) -> None:
        self.done.append(name)

    picture_skipped = skipped


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_segmenter(tmp_path_factory.mktemp("run") / "trained", NAMES, head="linear", model="test_resnet")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Five pictures of noise."""
    return paint(tmp_path / "pictures", 5)


def paint(folder: Path, count: int) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        Image.fromarray(rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)).save(folder / f"{number:02d}.png")
    return folder


def settings_of(pictures: Path, segmenter: Path, out: Path, **values: object) -> PredictSettings:
    values = {"inference": {"precision": "float32"}, "shard_pictures": 2, **values}
    return predict_settings(inputs=(str(pictures),), segmenter=segmenter, out=out, **values)


def predicted(pictures: Path, segmenter: Path, out: Path, **values: object) -> PredictSummary:
    return predict_pictures(settings_of(pictures, segmenter, out, **values), Heard())


def contents(out: Path) -> dict[str, bytes]:
    """What a run is for: masks, overlays and lists."""
    found = [*out.rglob("*.png"), *out.rglob("*.jpg"), out / "boxes.json", out / "predictions.json"]
    return {str(path.relative_to(out)): path.read_bytes() for path in found}


def shard_of(pictures: Path, *numbers: int, **values: object) -> Shard:
    samples = tuple(Sample(path.name, path) for path in sorted(pictures.iterdir()))
    chosen = tuple(samples[number] for number in numbers)
    given = tuple(Given(None, sample.id.removesuffix(".png")) for sample in chosen)
    order = tuple(sample.id for sample in chosen)
    return Shard(numbers[0], numbers[-1], chosen, given, order, **values)  # type: ignore[arg-type]


def worked(settings: PredictSettings, shard: Shard) -> tuple[ShardResult, Heard]:
    heard = Heard()
    return PredictTask(settings).load()(shard, heard), heard


def test_shards_of_any_size_give_the_same(pictures: Path, segmenter: Path, tmp_path: Path):
    for size in (1, 2, 64):
        assert predicted(pictures, segmenter, tmp_path / f"{size}", shard_pictures=size).computed == 5
    assert contents(tmp_path / "1") == contents(tmp_path / "2") == contents(tmp_path / "64")
    names = [[(name.first, name.last) for name in stored(tmp_path / size).names()] for size in ("1", "2", "64")]
    assert names == [[(0, 0), (1, 1), (2, 2), (3, 3), (4, 4)], [(0, 1), (2, 3), (4, 4)], [(0, 4)]]


def stored(out: Path) -> PredictionStore:
    return PredictionStore(out / "records")


def test_an_interrupt_leaves_a_piece_that_the_shard_takes_over(
    pictures: Path, segmenter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    predicted(pictures, segmenter, tmp_path / "whole", shard_pictures=4)
    real, calls = shard_predictions.predict, []

    def interrupted(*arguments: object) -> object:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(shard_predictions, "predict", interrupted)
    summary = predicted(pictures, segmenter, tmp_path / "out", shard_pictures=4)
    assert (summary.interrupted, summary.computed) == (True, 3)
    assert [(name.finished, name.first, name.last) for name in stored(tmp_path / "out").names()] == [(False, 0, 3)]
    summary = predicted(pictures, segmenter, tmp_path / "out", shard_pictures=4)
    assert (summary.interrupted, summary.computed, summary.already_done) == (False, 2, 3)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert stored(tmp_path / "out").names() == stored(tmp_path / "whole").names()  # by their content


def test_a_mask_that_is_another_is_made_again(pictures: Path, segmenter: Path, tmp_path: Path):
    out = tmp_path / "out"
    predicted(pictures, segmenter, out)
    before = contents(out)
    write_mask(out / "masks" / "01.png", 3 - read_mask(out / "masks" / "01.png"))
    (out / "masks" / "03.png").write_bytes((out / "masks" / "03.png").read_bytes()[:200])
    (out / "masks" / "04.png").unlink()
    summary = predicted(pictures, segmenter, out)
    assert (summary.computed, summary.already_done) == (3, 2)
    assert contents(out) == before


def test_labels_that_changed_while_a_run_was_killed(
    pictures: Path, segmenter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Its masks were of the new labels already, its records not yet: the old labels find the masks to be others."""
    labels, out = tmp_path / "labels.csv", tmp_path / "out"
    write_labels(labels, "cat")
    predicted(pictures, segmenter, out, labels=str(labels))
    before = contents(out)
    write_labels(labels, "cup")
    with monkeypatch.context() as patch:
        patch.setattr(shard_predictions.ShardRows, "__exit__", lambda *_: sys.exit("killed"))
        with pytest.raises(SystemExit):
            predicted(pictures, segmenter, out, labels=str(labels))
    assert (out / "masks" / "00.png").read_bytes() != before["masks/00.png"]
    write_labels(labels, "cat")
    assert predicted(pictures, segmenter, out, labels=str(labels)).computed > 0
    assert contents(out) == before


def write_labels(path: Path, label: str) -> None:
    path.write_text("image,labels\n" + "".join(f"{number:02d}.png,{label}\n" for number in range(5)))


def test_a_deadly_picture_is_named_after_a_death(
    pictures: Path, segmenter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(shard_predictions, "pictures_of", partial(pictures_of, decode=decoders.decode))
    (pictures / "02.png").rename(pictures / "02crash.png")
    shard = replace(shard_of(pictures, 1, 2, 3), careful=True)
    result, heard = worked(settings_of(pictures, segmenter, tmp_path / "out"), shard)
    assert (result.done, result.failed) == (("01.png", "03.png"), "")
    assert heard.begun == ["01.png", "02crash.png", "03.png"]
    assert list(heard.reasons) == ["02crash.png"]
    assert "brings down the process that decodes it" in heard.reasons["02crash.png"]
    assert list(stored(tmp_path / "out").ids()) == ["01.png", "03.png"]


def test_the_session_after_a_death_is_careful(
    pictures: Path, segmenter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out, seen = tmp_path / "out", []
    real = shard_predictions.pictures_of

    def watched(shard: Shard, *rest: object) -> object:
        seen.append(shard.careful)
        return real(shard, *rest)  # type: ignore[arg-type]

    predicted(pictures, segmenter, out)
    (out / "masks" / "04.png").unlink()
    (out / ".working").touch()
    monkeypatch.setattr(shard_predictions, "pictures_of", watched)
    predicted(pictures, segmenter, out)
    (out / "masks" / "04.png").unlink()
    predicted(pictures, segmenter, out)
    assert seen == [True, False]


def test_a_full_disk_ends_the_run_and_keeps_what_was_written(
    pictures: Path, segmenter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    real = files.os.fsync
    full = {"masks": False}

    def fsync(number: int) -> None:
        if full["masks"] and "masks" in str(Path(f"/proc/self/fd/{number}").readlink()):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(number)

    settings = settings_of(pictures, segmenter, tmp_path / "out")
    assert worked(settings, shard_of(pictures, 0, 1))[0].failed == ""
    monkeypatch.setattr(files.os, "fsync", fsync)
    full["masks"] = True
    result, _ = worked(settings, shard_of(pictures, 2, 3))
    assert result.failed.startswith(f"cannot write {tmp_path / 'out' / 'masks' / '02.png'} (No space left on device)")
    assert list(stored(tmp_path / "out").ids()) == ["00.png", "01.png"]


def test_a_minute_of_work_is_the_most_that_a_kill_costs(
    pictures: Path, segmenter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(shard_rows, "FLUSH_SECONDS", -1.0)
    written: list[tuple[bool, int]] = []
    real = PredictionStore.write

    def write(self: PredictionStore, rows: list[object], *places: int, finished: bool = True, generation: int = 0):
        written.append((finished, len(rows)))
        return real(self, rows, *places, finished=finished, generation=generation)  # type: ignore[arg-type]

    monkeypatch.setattr(PredictionStore, "write", write)
    worked(settings_of(pictures, segmenter, tmp_path / "out"), shard_of(pictures, 0, 1, 2))
    assert written == [(False, 1), (False, 2), (False, 3), (True, 3)]
    assert [name.finished for name in stored(tmp_path / "out").names()] == [True]


def test_a_picture_that_broke_since_keeps_its_mask_but_is_named(pictures: Path, segmenter: Path, tmp_path: Path):
    out = tmp_path / "out"
    predicted(pictures, segmenter, out)
    (out / "overlays" / "02.jpg").unlink()
    size = file_bytes(Sample("02.png", pictures / "02.png"))
    (pictures / "02.png").write_bytes(b"x" * size)
    summary = predicted(pictures, segmenter, out)
    assert [name for name, _ in summary.skipped] == ["02.png"]
    assert (summary.computed, summary.already_done) == (0, 4)
    assert (out / "masks" / "02.png").exists()


def test_a_look_says_what_is_lost(pictures: Path, segmenter: Path, tmp_path: Path):
    out = tmp_path / "out"
    predicted(pictures, segmenter, out, shard_pictures=64)
    (out / "masks" / "01.png").unlink()
    (out / "overlays" / "02.jpg").unlink()
    shard = replace(shard_of(pictures, 0, 1, 2), sources=tuple(stored(out).names()), given=("00", "01", "02"))
    heard = Heard()
    result = LookTask(out, NAMES, overlays=True).load()(shard, heard)
    assert (result.done, result.answer, heard.done) == (("00.png", "02.png"), ("01.png",), ["00.png", "02.png"])
    assert (out / "overlays" / "02.jpg").exists()
    (out / "overlays" / "02.jpg").unlink()
    LookTask(out, NAMES, overlays=False).load()(shard, heard)
    assert not (out / "overlays" / "02.jpg").exists()


def test_more_classes_than_fit_a_palette_are_numbered_before_the_work(pictures: Path, tmp_path: Path):
    many = write_segmenter(tmp_path / "many", [f"class {n}" for n in range(300)], head="linear", model="test_resnet")
    for size in (1, 64):
        predicted(pictures, many, tmp_path / f"{size}", shard_pictures=size)
    assert contents(tmp_path / "1") == contents(tmp_path / "64")
    assert len({*map(bytes, [(tmp_path / f"{size}" / "classes.json").read_bytes() for size in (1, 64)])}) == 1


def test_killed_runs_end_as_if_nothing_had_happened(segmenter: Path, tmp_path: Path):
    pictures = paint(tmp_path / "pictures", 24)
    predicted(pictures, segmenter, tmp_path / "whole", shard_pictures=64)
    out = tmp_path / "out"
    script = (
        "import sys, torch; torch.set_num_threads(1)\n"
        "from advcam.pipeline import shard_rows; shard_rows.FLUSH_SECONDS = 0.1\n"
        "from advcam.pipeline.predicting import predict, settings, shard_predictions\n"
        "class Quiet:\n"
        "    def start(self, words, total): pass\n"
        "    def step(self): import time; time.sleep(0.05)\n"
        "    def skipped(self, name, reason): pass\n"
        "s = settings.predict_settings(inputs=(sys.argv[1],), segmenter=sys.argv[2], out=sys.argv[3],\n"
        "    inference={'precision': 'float32'})\n"
        "predict.predict_pictures(s, Quiet())\n"
    )
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(advcam.__file__).parents[1])}
    process = subprocess.Popen([sys.executable, "-c", script, pictures, segmenter, out], env=environment)
    deadline = time.monotonic() + 240
    while len(list((out / "masks").glob("*.png"))) < 10:
        assert process.poll() is None, "the run ended before it was killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (out / ".working").exists()
    kept = len(list(stored(out).ids()))
    assert 0 < kept < 24
    summary = predicted(pictures, segmenter, out, shard_pictures=64)
    assert (summary.computed, summary.already_done) == (24 - kept, kept)
    assert contents(out) == contents(tmp_path / "whole")
    assert stored(out).names() == stored(tmp_path / "whole").names()
    assert not list(out.rglob("*.partial"))
