"""Localizing and refining on a cluster: the same shards, masks and boxes as in one process, and the same words."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import skimage.data
import torch
from PIL import Image

from advcam.cli.app import run
from advcam.datasets.synthetic.catalogue import write_dataset
from advcam.scale.ray_engine import RayEngine
from advcam.store.maps import MapStore

FAST = ["--labels", "predicted", "--method", "cam", "--scales", "1", "--max-side", "96", "--precision", "float32"]
RAY = ["--engine", "ray", "--workers", "2"]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As an actor of one core has it: sums of several threads round differently."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    for name in ("chelsea", "coffee", "astronaut", "rocket"):
        Image.fromarray(getattr(skimage.data, name)()).resize((120, 90)).save(folder / f"{name}.png")
    (folder / "broken.jpg").write_bytes(b"no picture")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_the_same_as_in_one_process(
    ray_cluster: RayEngine, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    asked = ["localize", str(photographs), *FAST, "--shard-pictures", "2", "--json"]
    assert run([*asked, "--out", str(tmp_path / "here"), "--quiet"]) == 1
    here = json.loads(capsys.readouterr().out)
    assert run([*asked, "--out", str(tmp_path / "there"), *RAY]) == 1
    captured = capsys.readouterr()
    there = json.loads(captured.out)
    for key in ("pictures", "computed", "already_done", "skipped", "interrupted"):
        assert here[key] == there[key]
    assert "5/5" in captured.err.replace(" ", "")
    assert "skipped broken.jpg" in captured.err
    stores = [MapStore(tmp_path / name / "maps") for name in ("here", "there")]
    assert [name.file for name in stores[0].names()] == [name.file for name in stores[1].names()]
    assert [(name.first, name.last) for name in stores[0].names()] == [(0, 1), (2, 3), (4, 4)]
    for part in ("masks", "overlays"):
        assert contents(tmp_path / "here" / part) == contents(tmp_path / "there" / part)
    for name in ("boxes.json", "classes.json"):
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()

    # What is missing is done again, by the other engine, and nothing else.
    first = stores[1].names()[0]
    (tmp_path / "there" / "maps" / first.file).unlink()
    (tmp_path / "there" / "masks" / "rocket.png").unlink()
    assert run([*asked, "--out", str(tmp_path / "there"), "--quiet"]) == 1
    assert json.loads(capsys.readouterr().out)["computed"] == first.last - first.first
    assert contents(tmp_path / "here" / "masks") == contents(tmp_path / "there" / "masks")
    assert [name.file for name in MapStore(tmp_path / "there" / "maps").names()] == [n.file for n in stores[0].names()]


def test_a_refinement_is_the_same(ray_cluster: RayEngine, tmp_path: Path):
    write_dataset("folders", tmp_path / "data", 6, 0)
    shutil.rmtree(tmp_path / "data" / "masks")  # nothing is scored
    data = ["--data", str(tmp_path / "data"), "--split", "train"]
    assert run(["localize", *data, *FAST, "--out", str(tmp_path / "maps"), "--quiet"]) == 0
    asked = ["refine", str(tmp_path / "maps"), *data, "--method", "crf", "--quiet"]
    assert run([*asked, "--out", str(tmp_path / "here")]) == 0
    assert run([*asked, "--out", str(tmp_path / "there"), *RAY]) == 0
    here, there = (MapStore(tmp_path / name / "refined" / "crf" / "maps").names() for name in ("here", "there"))
    assert here == there != []


def test_words_of_options_that_do_not_go_together(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    asked = ["localize", str(photographs), *FAST, "--out", str(tmp_path / "run"), "--quiet"]
    assert run([*asked, "--workers", "2"]) == 2
    assert "--workers is for --engine ray; add it, or leave the option away" in capsys.readouterr().err
    assert run([*asked, "--engine", "ray", "--workers", "0"]) == 2
    assert "their cores (--workers, --worker-cpus) are 1 or more" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "run").exists()
