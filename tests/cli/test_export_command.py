"""`advcam export`, `import` and `formats` as users meet them: end to end, killed, interrupted, refused."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from drawn_run import drawn_mask, write_run

import advcam
from advcam.cli.app import run
from advcam.datasets.catalogue import open_dataset
from advcam.datasets.synthetic.catalogue import write_dataset
from advcam.evaluate.score_maps import check_score_map, score_map
from advcam.export.catalogue import FORMATS
from advcam.pipeline.album import open_album
from advcam.pipeline.album.skipped import skipped_by_run
from advcam.store.masks import read_mask, write_mask

FAST = ("--method", "cam", "--scales", "1", "--precision", "float32", "--no-overlays", "--quiet")


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    return write_run(tmp_path, {f"p/{number}": drawn_mask(number) for number in range(4)})


def export(folder: Path, name: str, out: Path, *more: str) -> int:
    return run(["export", str(folder), "--format", name, "--out", str(out), *more])


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert (captured.out, len(lines)) == ("", 1)
    assert lines[0].startswith("advcam: ")
    return lines[0]


def test_a_localization_out_and_back(photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Real photographs, real maps: export, paint in the export, import, and export again."""
    folder, out = tmp_path / "run", tmp_path / "out"
    labels = str(photographs / "labels.csv")
    assert run(["localize", str(photographs), "--labels", labels, "--out", str(folder), *FAST]) == 0
    capsys.readouterr()
    assert export(folder, "image-folder", out) == 0
    words = capsys.readouterr().err
    assert "done      2 pictures as image-folder in " in words
    assert f"look into {out}" in words
    lines = [json.loads(line) for line in (out / "metadata.jsonl").read_text().splitlines()]
    names = {line["id"]: line["mask_file_name"] for line in lines}
    classes = {name: int(number) for number, name in json.loads((out / "classes.json").read_text()).items()}
    masks = {id_: read_mask(out / name) for id_, name in names.items()}
    assert set(np.unique(masks["chelsea.png"])) == {0, classes["Egyptian cat"]}
    painted = masks["coffee.png"].copy()
    painted[:40] = classes["cup"]
    write_mask(out / names["coffee.png"], painted)
    assert run(["import", str(out), "--format", "image-folder", "--run", str(folder), "--json"]) == 0
    captured = capsys.readouterr()
    summary = json.loads(captured.out)
    assert (summary["unchanged"], summary["corrected"], summary["unknown"]) == (1, ["coffee.png"], [])
    assert "done      1 mask corrected, 1 unchanged" in captured.err
    assert export(folder, "image-folder", out) == 2
    words = error_line(capsys)
    assert f"{out} was worked on since it was exported: " in words
    assert f"{names['coffee.png']} was written after the export; nothing that was changed there is replaced" in words
    assert words.endswith("bring corrections back by advcam import, then choose another --out, or delete the folder")
    assert export(folder, "image-folder", tmp_path / "again", "--quiet", "--json") == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert json.loads(captured.out)["corrected"] == 1
    assert np.array_equal(read_mask(tmp_path / "again" / names["coffee.png"]), painted)


def test_what_the_run_itself_skipped_is_no_failure_of_the_export(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(photographs, tmp_path / "mine")
    (tmp_path / "mine" / "coffee.png").write_bytes(b"no picture")
    folder, labels = tmp_path / "run", str(tmp_path / "mine" / "labels.csv")
    assert run(["localize", str(tmp_path / "mine"), "--labels", labels, "--out", str(folder), *FAST]) == 1
    ((id_, reason),) = json.loads((folder / "summary.json").read_text())["skipped"]
    assert id_ == "coffee.png"
    capsys.readouterr()
    for name in ("coco", "score-maps"):
        assert export(folder, name, tmp_path / name) == 0
        err = capsys.readouterr().err
        assert f"left out  coffee.png: skipped by localize: {reason}\n" in err
        assert "left out: 1 that the run had skipped\n" in err
        marker = json.loads((tmp_path / name / "advcam-export.json").read_text())
        assert (marker["unmade"], marker["skipped"]) == ([[id_, f"skipped by localize: {reason}"]], [])
    (folder / "masks" / "chelsea.png").unlink()
    assert export(folder, "coco", tmp_path / "none") == 2
    assert "chelsea.png: the run has no mask of it" in error_line(capsys), "what is gone is another matter"


def test_a_stage_of_a_chain_that_skipped_a_picture_is_named(tmp_path: Path) -> None:
    stages = tmp_path / "run" / "stages"
    stages.mkdir(parents=True)
    for number, (name, reason) in enumerate([("localize", "truncated"), ("pseudo", "it has no maps")]):
        record = {"name": name, "fingerprint": "", "done": True, "skipped": [["1.jpg", reason]], "facts": []}
        (stages / f"{name}.json").write_text(json.dumps(record))
        os.utime(stages / f"{name}.json", (number, number))
    (stages / "evaluate.json").write_text("{")
    album = SimpleNamespace(kind="chain", folder=tmp_path / "run")
    assert skipped_by_run(album) == {"1.jpg": "skipped by localize: truncated"}


def test_score_maps_for_the_evaluator_of_wsolevaluation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Files where its loader looks for them, the image id with its extension and .npy, as its check wants them."""
    write_dataset("wsol", tmp_path / "data", 6)
    dataset, folder, out = open_dataset(tmp_path / "data"), tmp_path / "run", tmp_path / "maps"
    split = next(iter(dataset.splits))
    (tmp_path / "groups.json").write_text(json.dumps({name: [n] for n, name in enumerate(dataset.class_names)}))
    groups = ["--groups", str(tmp_path / "groups.json")]
    source = ["--data", str(tmp_path / "data"), "--split", split]
    assert run(["localize", *source, *groups, "--out", str(folder), *FAST]) == 0
    capsys.readouterr()
    assert export(folder, "score-maps", out) == 0
    listed = (tmp_path / "data" / "metadata" / "DATASET").parent.rglob(f"{split}/image_ids.txt")
    ids = next(listed).read_text().split()
    album = open_album(folder)
    for id_ in ids:
        scores = np.load(out / f"{id_}.npy")
        assert scores.dtype == np.float32
        assert scores.min() == 0
        assert scores.max() == 1 or not scores.any(), "of a class that nothing speaks for all is 0"
        (raw,) = album.maps("localize", id_).attribution.maps
        assert np.abs(check_score_map(scores) - score_map(raw)).max() < 1e-6
    assert len(list(out.rglob("*.npy"))) == len(ids)


def test_several_classes_have_no_score_map(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, labels = tmp_path / "run", str(photographs / "labels.csv")
    assert run(["localize", str(photographs), "--labels", labels, "--out", str(folder), *FAST]) == 0
    capsys.readouterr()
    assert export(folder, "score-maps", tmp_path / "out") == 1
    words = capsys.readouterr().err
    assert "left out  coffee.png: it has maps of 2 classes; the evaluator knows pictures of one class" in words
    assert "1 picture as score-maps in" in words
    assert "left out: 1 that could not be exported" in words


def test_a_run_that_is_being_written(drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in (0, 2):
        (drawn / "masks" / "p" / f"{number}.png").unlink()
    assert export(drawn, "parquet", tmp_path / "out") == 1
    words = capsys.readouterr().err
    assert "left out  p/0.png, p/2.png: the run has no mask of it" in words
    shutil.rmtree(drawn / "masks")
    assert export(drawn, "parquet", tmp_path / "none") == 2
    assert "has nothing to export: p/0.png: the run has no mask of it" in error_line(capsys)
    (drawn / "settings.json").unlink()
    assert export(drawn, "parquet", tmp_path / "none") == 2
    assert "holds no run of advcam" in error_line(capsys)
    assert not (tmp_path / "none").exists()


def test_unknown_pictures_are_named(drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    masks = {f"p/{number}": drawn_mask(number) for number in range(3)} | {"q\x1b[31m": drawn_mask(8)}
    other = write_run(tmp_path / "other", masks)
    assert export(other, "parquet", tmp_path / "out", "--quiet") == 0
    assert run(["import", str(tmp_path / "out"), "--format", "parquet", "--run", str(drawn)]) == 1
    words = capsys.readouterr().err
    assert r"unknown   q\x1b[31m.png: the run has no such picture" in words
    assert "done      0 masks corrected, 3 unchanged, 1 picture unknown" in words


def test_what_is_refused(drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "letter.txt").write_text("dear")
    refused = [
        (["export", str(drawn), "--format", "vco", "--out", "x"], "there is no format 'vco'; did you mean 'voc'?"),
        (["export", str(drawn), "--out", "x"], "--format"),
        (["export", str(tmp_path / "none"), "--format", "voc", "--out", "x"], "none does not exist; name the --out of"),
        (["export", str(drawn), "--format", "voc", "--out", str(tmp_path / "letters")], "holds no export of advcam"),
        (["export", str(drawn), "--format", "voc", "--out", "s3://bucket/x"], "local or mounted folder"),
        (["export", str(drawn), "--format", "voc", "--out", "x", "--only", "good"], "good"),
        (
            ["import", "none", "--format", "voc", "--run", str(drawn)],
            "none does not exist; name the folder, or the file",
        ),
        (
            ["import", str(tmp_path / "letters"), "--format", "parquet", "--run", str(drawn)],
            "classes.json cannot be read",
        ),
    ]
    before = sorted(tmp_path.rglob("*"))
    for arguments, words in refused:
        assert run(arguments) == 2, words
        assert words in error_line(capsys)
    assert sorted(tmp_path.rglob("*")) == before
    assert not Path("x").exists()


def test_formats_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["formats"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [*FORMATS, "score-maps"]
    assert all(line[15:43].strip() and line[43:] for line in lines)
    assert run(["formats", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [*FORMATS, "score-maps"]


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_ended_in_the_middle(tmp_path: Path, sent: signal.Signals) -> None:
    """Nothing half-written lies in the place of the export, and the same command again succeeds."""
    folder = write_run(tmp_path, {f"{number:03}": drawn_mask(number, (60, 80)) for number in range(120)})
    out, work = tmp_path / "out", tmp_path / ".out.partial"
    assert export(folder, "parquet", out, "--quiet") == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    command = [sys.executable, "-m", "advcam", "export", str(folder), "--format", "image-folder", "--out", str(out)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(advcam.__file__).parents[1])}
    process = subprocess.Popen(
        command,
        env=environment,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while len(list((work / "new" / "masks").glob("*.png"))) < 20:
        assert process.poll() is None, "the export ended before it was ended"
        time.sleep(0.001)
    process.send_signal(sent)
    assert process.wait(60) == (130 if sent is signal.SIGINT else -sent)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert work.exists() == (sent is signal.SIGKILL)
    assert export(folder, "image-folder", out, "--quiet") == 0
    assert len(list((out / "masks").iterdir())) == 120
    assert not work.exists()
