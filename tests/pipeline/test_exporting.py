"""Exports of a run: what is in, what is left out, what is replaced, and what a failure leaves behind."""

import errno
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from drawn_run import CLASSES, drawn_mask, write_run
from PIL import Image

from advcam.errors import RunError, SettingError
from advcam.export.catalogue import FORMATS
from advcam.export.parquet import Parquet, ParquetWriter
from advcam.pipeline.album import Album, open_album
from advcam.pipeline.exporting import ExportSummary, Only, export_run
from advcam.pipeline.importing import import_masks

NAMES = ("a b", "été/猫 'x' \"y\"", "train/test.1")
READABLE = [name for name, one in FORMATS.items() if one.readable]


class Heard:
    """Counts steps."""

    def __init__(self) -> None:
        self.total = self.steps = 0

    def start(self, words: str, total: int) -> None:
        self.total, self.steps = total, 0

    def step(self) -> None:
        self.steps += 1


def export(album: Album, name: str, out: Path, only: Only = "all") -> ExportSummary:
    heard = Heard()
    summary = export_run(album, name, out, only, heard)
    assert heard.steps == heard.total == summary.pictures + len(summary.skipped)
    return summary


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def content(folder: Path) -> dict[str, bytes]:
    """The files of an export, but for the times in its marker."""
    return {name: data for name, data in tree(folder).items() if name != "advcam-export.json"}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path, {name: drawn_mask(seed) for seed, name in enumerate(NAMES)})


def ids(album: Album) -> list[str]:
    return [sample.id for sample in album.samples]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_holds_every_picture(run: Path, tmp_path: Path, name: str) -> None:
    summary = export(open_album(run), name, tmp_path / "out", "all")
    assert (summary.pictures, summary.corrected, summary.rejected, summary.skipped) == (3, 0, 0, [])
    marker = json.loads((tmp_path / "out" / "advcam-export.json").read_text())
    assert marker["advcam_export"] == 1
    assert (marker["format"], marker["run"], marker["pictures"]) == (name, str(run), 3)
    assert marker["classes"] == {"1": "cat", "2": "dog", "3": "traffic light"}
    assert marker["files"] == len(tree(tmp_path / "out"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "photographs", "run"]


@pytest.mark.parametrize("name", READABLE)
def test_there_and_back_changes_nothing(run: Path, tmp_path: Path, name: str) -> None:
    album = open_album(run)
    export(album, name, tmp_path / "out")
    summary = import_masks(name, tmp_path / "out", album, Heard())
    assert (summary.unchanged, summary.corrected, summary.unknown) == (3, [], [])
    assert not (run / "corrected").exists()


@pytest.mark.parametrize("name", READABLE)
def test_corrections_come_back_and_go_out_again(run: Path, tmp_path: Path, name: str) -> None:
    """Another run of the same pictures whose masks were drawn anew: its export corrects the first one."""
    masks = {name: drawn_mask(seed + 10) for seed, name in enumerate(NAMES)}
    masks[NAMES[0]] = drawn_mask(0)  # as before
    other = write_run(tmp_path / "other", masks)
    export(open_album(other), name, tmp_path / "drawn anew")
    album = open_album(run)
    summary = import_masks(name, tmp_path / "drawn anew", album, Heard())
    changed = ids(album)[1:]
    assert (summary.unchanged, summary.corrected, summary.unknown) == (1, changed, [])
    reviews = album.corrections.reviews()
    assert {id_: review.status for id_, review in reviews.items()} == dict.fromkeys(changed, "corrected")
    exported = export(open_album(run), name, tmp_path / "again")
    assert (exported.pictures, exported.corrected) == (3, 2)
    found = {one.name: one.mask for one in FORMATS[name].read(tmp_path / "again", album.classes)}
    wanted = {one.name: one.mask for one in FORMATS[name].read(tmp_path / "drawn anew", album.classes)}
    assert found.keys() == wanted.keys()
    assert all(np.array_equal(found[one], wanted[one]) for one in found)
    assert import_masks(name, tmp_path / "again", album, Heard()).unchanged == 3


def test_rejected_pictures_are_left_out_and_counted(run: Path, tmp_path: Path) -> None:
    album = open_album(run)
    first, second, third = ids(album)
    album.corrections.set_status(first, "rejected", 0)
    album.corrections.set_status(second, "accepted", 0)
    summary = export(album, "parquet", tmp_path / "all")
    assert (summary.pictures, summary.rejected, summary.unreviewed) == (2, 1, 0)
    assert pq.read_table(tmp_path / "all" / "masks.parquet")["id"].to_pylist() == [second, third]
    summary = export(album, "parquet", tmp_path / "accepted", "accepted")
    assert (summary.pictures, summary.rejected, summary.unreviewed) == (1, 1, 1)
    album.corrections.save_mask(third, album.names[third], drawn_mask(9), 0)
    summary = export(album, "parquet", tmp_path / "accepted", "accepted")
    assert (summary.pictures, summary.corrected) == (2, 1)
    row = pq.read_table(tmp_path / "accepted" / "masks.parquet").to_pylist()[-1]
    found = list(Parquet().read(tmp_path / "accepted", album.classes))[-1]
    assert row["id"] == found.name == third
    assert np.array_equal(found.mask, drawn_mask(9))


def test_nothing_left_is_an_error(run: Path, tmp_path: Path) -> None:
    album = open_album(run)
    with pytest.raises(SettingError, match="has nothing to export: 3 are neither accepted nor corrected"):
        export_run(album, "parquet", tmp_path / "out", "accepted", Heard())
    for id_ in ids(album):
        album.corrections.set_status(id_, "rejected", 0)
    with pytest.raises(SettingError, match="has nothing to export: 3 are rejected"):
        export_run(album, "parquet", tmp_path / "out", "all", Heard())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photographs", "run"]


def test_a_run_that_is_half_there(run: Path, tmp_path: Path) -> None:
    """A mask that is not written yet, one that is damaged, one of a class that the run does not know."""
    album = open_album(run)
    first, second, third = ids(album)
    (run / "masks" / f"{album.names[first]}.png").unlink()
    (run / "masks" / f"{album.names[second]}.png").write_bytes(b"\x89PNG")
    summary = export(album, "image-folder", tmp_path / "out")
    assert summary.pictures == 1
    assert dict(summary.skipped)[first] == "the run has no mask of it"
    assert "cannot be read as a mask" in dict(summary.skipped)[second]
    Image.fromarray(np.full((36, 48), 9, dtype=np.uint8)).save(run / "masks" / f"{album.names[first]}.png")
    (tmp_path / "photographs" / third).unlink()
    with pytest.raises(SettingError, match=r"nothing to export: a b\.png: its mask holds the number 9, which is no"):
        export_run(album, "image-folder", tmp_path / "out", "all", Heard())
    assert json.loads((tmp_path / "out" / "advcam-export.json").read_text())["pictures"] == 1, "as it was"


def test_an_earlier_export_is_replaced(run: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    album = open_album(run)
    export(album, "image-folder", tmp_path / "out")
    before = content(tmp_path / "out")
    export(album, "parquet", tmp_path / "out")
    assert set(content(tmp_path / "out")) == {"masks.parquet", "classes.json"}
    export(album, "image-folder", tmp_path / "out")
    assert content(tmp_path / "out") == before


def test_what_is_not_ours_stays(run: Path, tmp_path: Path) -> None:
    album, out = open_album(run), tmp_path / "out"
    refusals = {
        "a file": "is a file; choose another --out, an export takes a folder",
        "letters": "is not empty and holds no export of advcam; choose another --out or empty it",
    }
    (tmp_path / "a file").write_text("dear")
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "letter.txt").write_text("dear")
    before = tree(tmp_path)
    for name, words in refusals.items():
        with pytest.raises(RunError, match=words):
            export_run(album, "parquet", tmp_path / name, "all", Heard())
    with pytest.raises(RunError, match="holds no export of advcam"):
        export_run(album, "parquet", run, "all", Heard())
    assert tree(tmp_path) == before
    export(album, "image-folder", out)
    (out / "advcam-export.json").write_text("[]")
    with pytest.raises(RunError, match=r"advcam-export\.json is damaged"):
        export_run(album, "parquet", out, "all", Heard())


def test_work_in_an_export_is_never_lost(run: Path, tmp_path: Path) -> None:
    """Somebody has painted in it, added a file that is older than the export, or removed one."""
    album, out = open_album(run), tmp_path / "out"
    export(album, "image-folder", out)
    kept = tmp_path / "kept"
    shutil.copytree(out, kept)
    later = (out / "advcam-export.json").stat().st_mtime_ns + 10**9

    def refused(words: str) -> None:
        before = tree(out)
        with pytest.raises(RunError, match=words):
            export_run(album, "image-folder", out, "all", Heard())
        assert tree(out) == before

    os.utime(out / "masks" / "000001.png", ns=(later, later))
    refused(r"000001\.png was written after the export; nothing that was changed there is replaced, imported or")
    os.utime(out / "masks" / "000001.png", ns=(0, 0))
    (out / "notes.txt").write_text("mine")
    os.utime(out / "notes.txt", ns=(0, 0))
    refused("out holds 10 files, the export that it was had 9")
    (out / "notes.txt").unlink()
    export(album, "image-folder", out)


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A disk that is full at the second picture."""
    add = ParquetWriter.add

    def until_full(self: ParquetWriter, picture: object) -> None:
        if self._rows:
            raise OSError(errno.ENOSPC, "No space left on device")
        add(self, picture)

    with monkeypatch.context() as patch:
        patch.setattr(ParquetWriter, "add", until_full)
        yield


def test_a_full_disk_leaves_what_was_there(run: Path, tmp_path: Path, full: None) -> None:
    album = open_album(run)
    export(album, "image-folder", tmp_path / "out")
    before = tree(tmp_path)
    for out in (tmp_path / "out", tmp_path / "new"):
        with pytest.raises(RunError) as caught:
            export_run(album, "parquet", out, "all", Heard())
        assert str(caught.value) == (
            f"cannot write {out} (No space left on device); make room, change the permissions or choose another --out"
        )
    assert tree(tmp_path) == before
    assert not list(tmp_path.glob(".*"))


def test_an_interrupt_leaves_what_was_there(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    album = open_album(run)
    export(album, "image-folder", tmp_path / "out")
    before = tree(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(ParquetWriter, "finish", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            export_run(album, "parquet", tmp_path / "out", "all", Heard())
    assert tree(tmp_path) == before
    export(album, "parquet", tmp_path / "out")


def test_a_kill_between_two_renames(run: Path, tmp_path: Path) -> None:
    """The earlier export was put aside and the new one not yet in its place: the next attempt has it either way."""
    album, out, work = open_album(run), tmp_path / "out", tmp_path / ".out.partial"
    export(album, "image-folder", out)
    before = tree(out)
    (work / "new").mkdir(parents=True)
    (work / "new" / "half.parquet").write_bytes(b"PAR1")
    out.rename(work / "old")
    with pytest.raises(SettingError, match="nothing to export"):
        export_run(album, "parquet", out, "accepted", Heard())
    assert tree(out) == before
    assert not work.exists()


def test_two_exports_into_one_folder(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    album, finish = open_album(run), ParquetWriter.finish

    def while_another_comes(self: ParquetWriter) -> None:
        with pytest.raises(RunError, match=r"another process is exporting to .*out; wait for it or choose another"):
            export_run(album, "image-folder", tmp_path / "out", "all", Heard())
        finish(self)

    monkeypatch.setattr(ParquetWriter, "finish", while_another_comes)
    assert export(album, "parquet", tmp_path / "out").pictures == 3


def test_formats_and_classes_that_do_not_fit(tmp_path: Path) -> None:
    """Numbers beyond 255 are no problem for tables, and one for PASCAL VOC, found before anything is written."""
    classes = {number: f"class {number}" for number in range(1, 301) if number != 255}
    run = write_run(tmp_path, {"a": drawn_mask(0, numbers=(1, 254, 300))}, classes)
    album = open_album(run)
    for name in ("parquet", "image-folder"):
        export(album, name, tmp_path / name)
        (found,) = FORMATS[name].read(tmp_path / name, album.classes)
        assert np.array_equal(found.mask, drawn_mask(0, numbers=(1, 254, 300)))
        assert found.names[300] == "class 300"
    with pytest.raises(SettingError, match="there is no format 'parket'; did you mean 'parquet'"):
        export_run(album, "parket", tmp_path / "out", "all", Heard())
    with pytest.raises(SettingError, match="has no maps; name a run of advcam localize or advcam run"):
        export_run(album, "score-maps", tmp_path / "out", "all", Heard())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", FORMATS)
def test_no_name_leads_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Neither as id nor as name of the files."""
    evil = ["../escaped", "/tmp/escaped", "a/../../escaped", "", "escaped\udcff"]
    crafted = [{field: text} for text in evil for field in ("id", "name")]
    run = write_run(tmp_path, {f"{number:02}": drawn_mask(0) for number in range(len(crafted) + 1)})
    album = open_album(run)
    annotated, changes = album.annotated, dict(zip(ids(album), crafted, strict=False))
    monkeypatch.setattr(album, "annotated", lambda id_: replace(annotated(id_), **changes.get(id_, {})))
    summary = export(album, name, tmp_path / "out")
    assert [id_ for id_, _ in summary.skipped] == list(changes)
    assert not [path for path in tree(tmp_path / "out") if "escaped" in path]
    assert not list(tmp_path.rglob("escaped*"))


def test_objects_and_labels_are_named_by_the_run(run: Path, tmp_path: Path) -> None:
    album = open_album(run)
    export(album, "parquet", tmp_path / "out")
    for row in pq.read_table(tmp_path / "out" / "masks.parquet").to_pylist():
        wanted = [(CLASSES[one.class_id], one.class_id + 1) for one in album.objects(row["id"])]
        assert [(one["class"], one["number"]) for one in row["objects"]] == wanted
        assert (row["height"], row["width"], row["name"]) == (36, 48, album.names[row["id"]])
