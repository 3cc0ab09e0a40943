"""`advcam verify`: exactly what is damaged is named, exactly that is made again, and the run is what it was."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from shutil import rmtree

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from advcam import Classifier
from advcam.cli.app import run
from advcam.errors import RunError
from advcam.pipeline.shard_rows import ShardRows
from advcam.store.files import try_lock
from advcam.store.maps import MapStore

COUNT, OF_A_SHARD = 12, 3


class Toy(nn.Module):
    """A convolution, global average pooling, a linear head of three classes."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.features = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU())
            self.head = nn.Linear(8, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.features(inputs).mean(dim=(2, 3)))


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = Classifier.from_module(Toy(), class_names=["a", "b", "c"], name="toy")
    monkeypatch.setattr("advcam.pipeline.localize.load_classifier", lambda *_, **__: classifier)


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished run of four shards; its settings name the pictures relative to this folder."""
    monkeypatch.chdir(tmp_path)
    rows = ["image,labels"]
    Path("pictures").mkdir()
    for n in range(COUNT):
        noise = np.random.default_rng(n).integers(0, 256, (20, 24 + n, 3), dtype=np.uint8)
        Image.fromarray(noise).save(f"pictures/{n:02d}.png")
        rows.append(f"{n:02d}.png,{'a;b' if n % 2 else 'c'}")
    Path("labels.csv").write_text("\n".join(rows) + "\n")
    assert run(command(Path("run"))) == 0
    return Path("run")


def command(out: Path) -> list[str]:
    shards = ["--shard-pictures", str(OF_A_SHARD), "--method", "cam", "--report-pictures", "2", "--quiet"]
    return ["localize", "pictures", "--labels", "labels.csv", "--out", str(out), *shards]


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of the pictures whose maps are made."""
    found: list[str] = []
    add = ShardRows.add

    def noted(self: ShardRows, row: object) -> None:
        found.append(row.sample_id)
        add(self, row)

    monkeypatch.setattr(ShardRows, "add", noted)
    return found


def content(out: Path) -> dict[str, bytes]:
    """All that has to be as it was; the report and the summary tell of the last session."""
    left_out = (".lock", "report.html", "summary.json", "metrics", "log", "advcam")
    paths = [path for path in out.rglob("*") if path.is_file() and not path.name.startswith(left_out)]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in paths}


def shards(out: Path) -> list[Path]:
    return [out / "maps" / name.file for name in MapStore(out / "maps").names()]


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def verified(capsys: pytest.CaptureFixture[str], out: Path, *more: str) -> tuple[int, dict]:
    capsys.readouterr()
    code = run(["verify", str(out), "--json", "--quiet", *more])
    captured = capsys.readouterr()
    return code, json.loads(captured.out) if captured.out else captured.err


def test_a_run_that_is_well(out: Path, capsys: pytest.CaptureFixture[str], computed: list[str]):
    before = content(out)
    for more in ([], ["--dry-run"]):
        code, found = verified(capsys, out, *more)
        assert code == 0
        assert found == {
            "run": "run",
            "shards": 4,
            "pictures": COUNT,
            "files": 2 * COUNT + 5,
            "damaged": [],
            "well": True,
            "unfinished": False,
            "skipped": [],
        }
    assert content(out) == before
    assert computed == []


def test_what_is_damaged_is_named_and_made_again_and_nothing_else(
    out: Path, capsys: pytest.CaptureFixture[str], computed: list[str]
):
    before, files = content(out), shards(out)
    flip(files[0], 100)
    files[2].write_bytes(files[2].read_bytes()[:-20])
    (out / "masks" / "04.png").unlink()
    flip(out / "masks" / "05.png", 60)
    (out / "masks" / "11.png").write_bytes((out / "masks" / "11.png").read_bytes()[:50])
    (out / "overlays" / "10.jpg").write_bytes(b"no picture")
    (out / "boxes.json").write_text('{"pictures": {')
    (out / "summary.json").unlink()
    (out / "maps" / "_index.parquet").write_bytes(b"nothing depends on it")
    damaged = content(out)

    code, found = verified(capsys, out, "--dry-run")
    assert code == 1
    assert content(out) == damaged
    named = {one["path"]: one["problem"] for one in found["damaged"]}
    assert named.keys() == {
        f"maps/{files[0].name}",
        f"maps/{files[2].name}",
        "masks/04.png",
        "masks/05.png",
        "masks/11.png",
        "overlays/10.jpg",
        "boxes.json",
        "summary.json",
    }
    assert named[f"maps/{files[0].name}"] == "its bytes are not those that were written"
    assert named["boxes.json"].startswith("is no valid JSON (Expecting property name")
    assert named["masks/04.png"] == named["summary.json"] == "is missing"
    assert all(one["advice"] == "" for one in found["damaged"])

    code, mended = verified(capsys, out)
    assert code == 0
    assert mended["damaged"] == found["damaged"]
    assert mended["well"]
    assert sorted(computed) == ["00.png", "01.png", "02.png", "06.png", "07.png", "08.png"]
    assert content(out) == before
    assert verified(capsys, out)[1]["damaged"] == []


def test_it_says_so_in_words(out: Path, capsys: pytest.CaptureFixture[str]):
    assert run(["verify", str(out)]) == 0
    looked = "looked at 4 shards, 12 pictures, 29 files:"
    assert capsys.readouterr().out == f"{looked} all is as it was written\n"
    (out / "masks" / "04.png").unlink()
    assert run(["verify", str(out), "--dry-run"]) == 1
    assert capsys.readouterr().out == (
        "masks/04.png: is missing\n"
        "looked at 4 shards, 12 pictures, 28 files: 1 damaged or missing; without --dry-run they are made again\n"
    )
    assert run(["verify", str(out), "--quiet"]) == 0
    assert capsys.readouterr().out == "masks/04.png: is missing\n"


@pytest.mark.parametrize("name", ["config.json", "classes.json"])
def test_what_cannot_be_made_again_stays_and_nothing_is_changed(
    out: Path, capsys: pytest.CaptureFixture[str], computed: list[str], name: str
):
    flip(shards(out)[1], 30)
    (out / name).write_text("{")
    before = content(out)
    code, found = verified(capsys, out)
    assert code == 1
    assert {one["path"]: bool(one["advice"]) for one in found["damaged"]} == {
        f"maps/{shards(out)[1].name}": False,
        name: True,
    }
    assert content(out) == before
    assert computed == []


def test_without_class_numbers_the_masks_are_made_anew_as_the_advice_says(
    out: Path, capsys: pytest.CaptureFixture[str], computed: list[str]
):
    before = content(out)
    (out / "classes.json").unlink()
    code, found = verified(capsys, out)
    assert code == 1
    assert "delete it and masks/ and verify again" in found["damaged"][0]["advice"]
    rmtree(out / "masks")
    assert verified(capsys, out)[0] == 0
    assert computed == []
    assert content(out) == before


@pytest.mark.parametrize("settings", [None, '{"inputs": 3}'])
def test_without_its_settings_a_run_is_mended_by_its_own_command(
    out: Path, capsys: pytest.CaptureFixture[str], computed: list[str], settings: str | None
):
    before, shard = content(out), shards(out)[1]
    shard.write_bytes(shard.read_bytes()[:-20])
    (out / "settings.json").unlink()
    if settings is not None:  # readable JSON, but no settings
        (out / "settings.json").write_text(settings)
    damaged = content(out)
    code, found = verified(capsys, out)
    assert code == 1
    assert "give the command of this run again, which writes it anew" in found["damaged"][-1]["advice"]
    assert content(out) == damaged
    assert run(command(out)) == 2
    assert "advcam verify mends its run" in capsys.readouterr().err
    assert verified(capsys, out)[0] == 0
    assert computed == ["03.png", "04.png", "05.png"]
    assert content(out) == before


def test_a_shard_that_is_gone_is_named_and_made_again(
    out: Path, capsys: pytest.CaptureFixture[str], computed: list[str]
):
    before, gone = content(out), shards(out)[1]
    gone.unlink()
    (out / "masks" / "04.png").unlink()  # unnamed: no row says that it should be there
    expected = [{"path": f"maps/{gone.name}", "problem": "is missing", "advice": ""}]
    code, found = verified(capsys, out, "--dry-run")
    assert (code, found["damaged"], found["shards"], found["pictures"]) == (1, expected, 3, COUNT - OF_A_SHARD)
    assert computed == []
    code, found = verified(capsys, out)
    assert (code, found["damaged"]) == (0, expected)
    assert computed == ["03.png", "04.png", "05.png"]
    assert content(out) == before


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ([], "the rows of 3 pictures are missing, the first: 03.png"),
        (["boxes.json"], "the rows of 3 pictures are missing"),
        (["maps"], "the rows of 12 pictures are missing, the first: 00.png"),
    ],
)
def test_pictures_without_a_row_are_named_where_no_index_names_their_shard(
    out: Path, capsys: pytest.CaptureFixture[str], more: list[str], problem: str
):
    before = content(out)
    shards(out)[1].unlink()
    (out / "maps" / "_index.parquet").unlink()
    if "boxes.json" in more:
        (out / "boxes.json").unlink()
    if "maps" in more:
        rmtree(out / "maps")
    code, found = verified(capsys, out, "--dry-run")
    assert code == 1
    assert found["damaged"][0] == {"path": "maps", "problem": problem, "advice": ""}
    assert verified(capsys, out)[0] == 0
    assert content(out) == before


def test_a_mending_that_is_interrupted_leaves_a_run_that_is_not_finished(
    out: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    before = content(out)
    flip(shards(out)[0], 100)
    add = ShardRows.add

    def interrupted(self: ShardRows, row: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ShardRows, "add", interrupted)
    with pytest.raises(SystemExit, match="130"):
        run(["verify", str(out), "--quiet"])
    monkeypatch.setattr(ShardRows, "add", add)
    capsys.readouterr()
    assert run(["verify", str(out)]) == 0
    assert capsys.readouterr().out.startswith("the run is not finished: the command that made it goes on with it\n")
    assert run(command(out)) == 0
    assert content(out) == before
    assert not verified(capsys, out)[1]["unfinished"]


def test_a_run_that_was_interrupted_is_no_damaged_one(out: Path, capsys: pytest.CaptureFixture[str]):
    shards(out)[3].unlink()
    for name in ("boxes.json", "summary.json", "maps/_index.parquet"):
        (out / name).unlink()
    assert verified(capsys, out)[0] == 0  # killed before its end: nothing lists its pictures
    (out / "boxes.json").write_text('{"pictures": {"00.png": {}}}')
    (out / "summary.json").write_text(json.dumps({"pictures": COUNT, "skipped": [], "interrupted": True}))
    code, found = verified(capsys, out)
    assert (code, found["unfinished"]) == (0, True)


@pytest.mark.parametrize("damaged", ["shard", "mask", "boxes.json"])
@pytest.mark.parametrize(
    ("away", "obstacle"),
    [
        ("pictures", "pictures does not exist"),
        ("pictures/01.png", "1 picture of the run cannot be found, the first: 01.png; put what is missing back"),
        ("labels.csv", "labels.csv"),
    ],
)
def test_nothing_is_changed_while_the_pictures_are_away(
    out: Path, capsys: pytest.CaptureFixture[str], away: str, obstacle: str, damaged: str
):
    whole, shard = content(out), shards(out)[0]
    path = {"shard": shard, "mask": out / "masks" / "01.png"}.get(damaged, out / damaged)
    path.write_bytes(path.read_bytes()[:-20])
    Path(away).rename("elsewhere")
    before = content(out)
    for _ in range(2):
        code, found = verified(capsys, out)
        assert code == 1
        (damage,) = found["damaged"]
        assert damage["path"] == path.relative_to(out).as_posix()
        assert damage["advice"].startswith("nothing is changed, as it cannot be made again now: ")
        assert obstacle in damage["advice"]
        assert content(out) == before
    Path("elsewhere").rename(away)
    assert verified(capsys, out)[0] == 0
    assert content(out) == whole


def test_nothing_is_changed_where_the_classifier_is_another(
    out: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    other = Toy()
    torch.nn.init.ones_(other.head.weight)
    classifier = Classifier.from_module(other, class_names=["a", "b", "c"], name="toy")
    monkeypatch.setattr("advcam.pipeline.localize.load_classifier", lambda *_, **__: classifier)
    flip(shards(out)[0], 100)
    before = content(out)
    code, found = verified(capsys, out)
    assert code == 1
    assert "run holds a run with other settings" in found["damaged"][0]["advice"]
    assert content(out) == before


def test_what_is_damaged_is_said_before_anything_fails(
    out: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    def fails(*_: object, **__: object) -> None:
        raise RunError("the disk is full")

    monkeypatch.setattr("advcam.pipeline.verify.localize", fails)
    shard = shards(out)[0]
    flip(shard, 100)
    capsys.readouterr()
    assert run(["verify", str(out), "--quiet"]) == 2
    said = capsys.readouterr()
    assert said.out == f"maps/{shard.name}: its bytes are not those that were written\n"
    assert "the disk is full" in said.err
    code, found = verified(capsys, out, "--dry-run")
    assert code == 1
    assert [(one["path"], one["problem"]) for one in found["damaged"]] == [(f"maps/{shard.name}", "is missing")]


def test_a_shard_of_another_version_is_left_alone(out: Path, capsys: pytest.CaptureFixture[str]):
    store = MapStore(out / "maps")
    rows = list(store.read(store.names()[0]))
    store.format = replace(store.format, version="9")
    store.write(rows, 0, 2, generation=1)
    before = content(out)
    code, found = verified(capsys, out)
    assert code == 1
    assert "has format 9" in found["damaged"][0]["problem"]
    assert found["damaged"][0]["advice"]
    assert content(out) == before


def test_a_picture_that_is_gone_is_named(out: Path, capsys: pytest.CaptureFixture[str]):
    flip(shards(out)[0], 100)
    Path("pictures/01.png").write_bytes(b"no picture any more")
    code, found = verified(capsys, out)
    assert code == 1
    assert [id_ for id_, _ in found["skipped"]] == ["01.png"]
    assert sorted(MapStore(out / "maps").ids()) == [f"{n:02d}.png" for n in range(COUNT) if n != 1]


def test_what_dead_processes_left_goes(out: Path, capsys: pytest.CaptureFixture[str]):
    before, store = content(out), MapStore(out / "maps")
    store.write(list(store.read(store.names()[0]))[:2], 0, 2, finished=False)
    (out / "maps" / "part-1.parquet.host-1-2.partial").touch()
    (out / "masks" / "00.png.host-1-2.partial").touch()
    assert verified(capsys, out, "--dry-run")[0] == 0
    assert content(out) != before
    assert verified(capsys, out)[0] == 0
    assert content(out) == before


def test_while_another_process_works(out: Path, capsys: pytest.CaptureFixture[str]):
    with (out / ".lock").open("ab") as lock:
        assert try_lock(lock)
        code, words = verified(capsys, out)
        assert code == 2
        assert "another process is working in run; wait for it, or look with --dry-run" in words
        assert verified(capsys, out, "--dry-run")[0] == 0


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch, lambda path: None])
def test_what_is_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str], make: Callable[[Path], None]):
    make(tmp_path / "x")
    for more in ([], ["--dry-run"]):
        code, words = verified(capsys, tmp_path / "x", *more)
        assert code == 2
        assert "holds no run of advcam: neither recipe.yaml nor config.json" in " ".join(words.split())
    assert not list((tmp_path / "x").rglob("*"))
