"""Masks back into a run: what is matched, what is refused, and that a refusal changes nothing."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from drawn_run import drawn_mask, write_run

from advcam.errors import DatasetError, LabelError, RunError, SettingError
from advcam.export.annotated import Classes, ImportedMask
from advcam.export.catalogue import FORMATS
from advcam.export.format import Format, Writer
from advcam.pipeline.album import Album, open_album
from advcam.pipeline.exporting import export_run
from advcam.pipeline.importing import ImportSummary, import_masks
from advcam.pipeline.picture_names import PictureNames
from advcam.store.corrections import ConflictError
from advcam.types import IGNORE

MASKS = {"a": drawn_mask(0), "b/a": drawn_mask(1), "c": drawn_mask(2)}
CLASSES = {1: "cat", 2: "dog", 3: "traffic light"}


class Spoken(Format):
    """A format whose files say what a test says."""

    name = "spoken"
    title = "spoken"
    summary = "tests"
    masks: ClassVar[list[ImportedMask]] = []

    def writer(self, folder: Path, classes: Classes) -> Writer:
        raise NotImplementedError

    def read(self, folder: Path, classes: Classes) -> Iterator[ImportedMask]:
        yield from self.masks


class Heard:
    """Counts steps."""

    steps = 0

    def start(self, words: str, total: int) -> None:
        self.steps = 0

    def step(self) -> None:
        self.steps += 1


@pytest.fixture(autouse=True)
def spoken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORMATS, "spoken", Spoken())


@pytest.fixture
def album(tmp_path: Path) -> Album:
    return open_album(write_run(tmp_path, MASKS))


def bring(album: Album, *masks: tuple[str, np.ndarray], names: Classes = CLASSES) -> ImportSummary:
    Spoken.masks = [ImportedMask(name, mask, names) for name, mask in masks]
    return import_masks("spoken", album.folder, album, Heard())


def test_what_differs_is_kept_and_the_rest_counted(album: Album) -> None:
    summary = bring(album, ("a.png", MASKS["a"]), ("b/a.jpg", MASKS["a"]), ("d.png", MASKS["a"]))
    assert (summary.unchanged, summary.corrected, summary.unknown) == (1, ["b/a.png"], ["d.png"])
    assert np.array_equal(album.final_mask("b/a.png"), MASKS["a"])
    assert album.corrections.reviews().keys() == {"b/a.png"}
    again = bring(album, ("b/a", MASKS["a"]))
    assert (again.unchanged, again.corrected) == (1, [])


def test_corrections_meet_later_ones(album: Album) -> None:
    """What a tool has not touched takes nothing back that was corrected in the run since; what it has is said."""
    bring(album, ("a", MASKS["c"]))
    stale = bring(album, ("a", MASKS["a"]), ("b/a", MASKS["c"]))
    assert (stale.unchanged, stale.corrected, stale.replaced) == (1, ["b/a.png"], [])
    assert np.array_equal(album.final_mask("a.png"), MASKS["c"])
    again = bring(album, ("a", drawn_mask(9)))
    assert (again.corrected, again.replaced) == (["a.png"], ["a.png"])
    assert album.corrections.review("a.png").revision == 2


@pytest.mark.parametrize("right", ["voc", "coco", "yolo", "labelme", "cvat", "image-folder", "parquet", "label-studio"])
def test_the_wrong_format_names_the_right_one(
    album: Album, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, right: str
) -> None:
    monkeypatch.delitem(FORMATS, "spoken")
    export_run(album, right, tmp_path / "out", "all", Heard())
    for wrong in ("coco", "voc", "labelme"):
        if wrong == right or (wrong, right) == ("voc", "image-folder"):  # whose masks lie as VOC's may
            continue
        with pytest.raises(DatasetError, match=rf"; this looks like {right}: --format {right}$"):
            import_masks(wrong, tmp_path / "out", album, Heard())
    assert not album.corrections.reviews()


def test_files_that_fit_no_format_get_no_advice(album: Album, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(FORMATS, "spoken")
    (tmp_path / "out").mkdir()
    with pytest.raises(DatasetError) as caught:
        import_masks("coco", tmp_path / "out", album, Heard())
    assert "this looks like" not in str(caught.value)


def test_classes_are_matched_by_name(album: Album) -> None:
    numbers = np.array([0, 1000, 7, 2])
    shown = np.where(MASKS["c"] == IGNORE, IGNORE, numbers[MASKS["c"] % 4])
    summary = bring(album, ("c", shown), names={1000: "CAT ", 7: "Dog", 2: "traffic light", 9: "not shown"})
    assert (summary.unchanged, summary.corrected) == (1, [])


def test_classes_of_one_name_keep_their_numbers(tmp_path: Path) -> None:
    album = open_album(write_run(tmp_path, {"a": drawn_mask(0)}, {1: "crane", 2: "crane", 3: "cat"}))
    summary = bring(album, ("a", drawn_mask(0)), names={1: "crane", 2: "crane", 3: "cat"})
    assert summary.unchanged == 1


def refused(album: Album, error: type[Exception], words: str, *masks: tuple[str, np.ndarray], names: Classes = CLASSES):
    with pytest.raises(error) as caught:
        bring(album, *masks, names=names)
    assert words in str(caught.value)
    assert not (album.folder / "corrected").exists()


def test_what_is_refused_changes_nothing(album: Album) -> None:
    other = drawn_mask(9)
    first, twice, strange = ("a.png", other), ("x/a.png", other), [("d", other), ("e", other)]
    near = {1: "Catt", 2: "dog", 3: "traffic light"}
    words = "the mask of a.png shows the class 'Catt', which the run does not have; did you mean 'cat'?"
    refused(album, LabelError, words, first, names=near)
    words = "shows the class 'zebra', which the run does not have (cat, dog, traffic light)"
    refused(album, LabelError, words, first, names=near | {1: "zebra"})
    words = "the mask of c is 40 x 36, the picture 48 x 36 pixels; export it in the size of the picture"
    refused(album, DatasetError, words, first, ("c", other[:, :40]))
    refused(album, DatasetError, "has two masks of a.png: a.png and x/a.png; keep one of them", first, twice)
    words = f"holds no mask of a picture of {album.folder} (2 of others, d for one); the names there are a.png and the"
    refused(album, DatasetError, words, *strange)
    refused(album, DatasetError, "(0 of others); the names there are a.png and the like")


def test_a_picture_without_a_mask_gets_one_of_its_own_size(album: Album) -> None:
    (album.folder / "masks" / "a.png").unlink()
    refused(album, DatasetError, "the mask of a is 48 x 20, the picture 48 x 36", ("a", MASKS["a"][:20]))
    assert bring(album, ("a", MASKS["a"])).corrected == ["a.png"]


def test_formats_that_cannot_say_undecided_leave_it(album: Album, monkeypatch: pytest.MonkeyPatch) -> None:
    def said(mask: np.ndarray) -> np.ndarray:
        return np.where(mask == IGNORE, 0, mask)

    assert (MASKS["a"] == IGNORE).any()
    monkeypatch.setattr(Spoken, "undecided", False)
    assert bring(album, ("a.png", said(MASKS["a"]))).unchanged == 1
    painted = said(MASKS["a"])
    painted[MASKS["a"] == IGNORE] = 2
    assert bring(album, ("a.png", painted)).corrected == ["a.png"]
    assert np.array_equal(album.final_mask("a.png"), painted)
    monkeypatch.setattr(Spoken, "undecided", True)
    assert bring(album, ("b/a.png", said(MASKS["b/a"]))).corrected == ["b/a.png"]
    assert not (album.final_mask("b/a.png") == IGNORE).any()


def test_folders_and_formats_that_are_not_there(album: Album, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DatasetError, match="none does not exist; name the folder, or the file, that the tool has"):
        import_masks("spoken", tmp_path / "none", album, Heard())
    with pytest.raises(SettingError, match="there is no format 'spokn'; did you mean 'spoken'"):
        import_masks("spokn", tmp_path, album, Heard())
    monkeypatch.setattr(Spoken, "readable", False)
    with pytest.raises(SettingError, match=r"no masks can be read from the format spoken; they can from .*parquet"):
        import_masks("spoken", tmp_path, album, Heard())


def test_somebody_else_was_faster(album: Album, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look at a picture and its change the studio has rejected it."""
    save = album.corrections.save_mask

    def late(id_: str, name: str, mask: np.ndarray, revision: int) -> object:
        album.corrections.set_status(id_, "rejected", revision)
        return save(id_, name, mask, revision)

    monkeypatch.setattr(album.corrections, "save_mask", late)
    with pytest.raises(ConflictError, match=r"a\.png was changed elsewhere meanwhile \(it is rejected now\)"):
        bring(album, ("a", drawn_mask(9)))
    assert album.corrections.review("a.png").status == "rejected"
    assert np.array_equal(album.final_mask("a.png"), MASKS["a"])


def test_a_full_disk_names_the_run(album: Album, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise RunError("cannot write masks (No space left on device)")

    monkeypatch.setattr("advcam.store.corrections.write_mask", full)
    with pytest.raises(RunError, match="No space left on device"):
        bring(album, ("a", drawn_mask(9)))
    assert album.corrections.reviews() == {}


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("train/cat.jpg", "train/cat.jpg"),
        ("train/cat", "train/cat.jpg"),
        ("train/cat.png", "train/cat.jpg"),
        ("dog.1", "val/dog.1.jpg"),
        ("dog.1.jpg", "val/dog.1.jpg"),
        ("/data/upload/train/cat.jpg", "train/cat.jpg"),
        ("C/train/cat", "train/cat.jpg"),
        ("twin.jpg", "twin.jpg"),
        ("twin.png", "twin.png"),
        ("x/twin.png", "twin.png"),
        ("at", None),
        ("dog", None),
        ("val/cat/cat.jpg", None),
        ("../train/cat.jpg", "train/cat.jpg"),
        ("", None),
    ],
)
def test_names_of_pictures(name: str, found: str | None) -> None:
    names = {
        "train/cat.jpg": "train/cat",
        "val/cat.jpg": "val/cat",
        "val/dog.1.jpg": "val/dog.1",
        "twin.jpg": "twin.jpg",
        "twin.png": "twin.png",
    }
    assert PictureNames(names).find(name) == found


def test_names_that_fit_several_pictures() -> None:
    names = PictureNames({"train/cat.jpg": "train/cat", "val/cat.jpg": "val/cat", "t.jpg": "t.jpg", "t.png": "t.png"})
    for name, words in (("cat.jpg", "train/cat.jpg or val/cat.jpg"), ("t", "t.jpg or t.png"), ("t.gif", "t.jpg or")):
        with pytest.raises(DatasetError, match=f"{name} may be {words}"):
            names.find(name)
