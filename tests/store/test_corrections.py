"""What people say of masks: nothing of two at once is lost, whatever is killed, full, or hostile."""

import json
import multiprocessing
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from advcam.errors import PictureError, RunError
from advcam.store.corrections import ConflictError, Corrections, Review, is_inside
from advcam.types import Mask

ID, NAME = "a b/größe 'x'.jpg", "a b/größe 'x'"


def mask_of(value: int) -> Mask:
    return np.full((4, 6), value, dtype=np.int32)


def test_nothing_is_created_by_looking(tmp_path: Path) -> None:
    corrections = Corrections(tmp_path / "run")
    assert corrections.review(ID) == Review() == Review("open", 0, None)
    assert corrections.reviews() == corrections.masks() == {}
    assert corrections.mask(ID) is None
    assert not (tmp_path / "run").exists()


def test_a_picture_from_open_to_corrected_and_back(tmp_path: Path) -> None:
    corrections = Corrections(tmp_path)
    assert corrections.set_status(ID, "rejected", 0) == Review("rejected", 1)
    saved = corrections.save_mask(ID, NAME, mask_of(300), 1)
    assert saved == Review("corrected", 2, NAME)
    assert corrections.masks() == {ID: tmp_path / "corrected" / "masks" / f"{NAME}.png"}
    assert (corrections.mask(ID) == 300).all()
    assert corrections.set_status(ID, "accepted", 2) == Review("accepted", 3, NAME), "the corrected mask stays"
    assert Corrections(tmp_path).reviews() == {ID: Review("accepted", 3, NAME)}, "another process sees the same"
    assert corrections.discard_mask(ID, 3) == Review("open", 4)
    assert corrections.mask(ID) is None
    assert not list((tmp_path / "corrected" / "masks").rglob("*.png"))


def test_of_two_editors_the_later_one_is_told(tmp_path: Path) -> None:
    here, there = Corrections(tmp_path), Corrections(tmp_path)
    here.save_mask(ID, NAME, mask_of(1), 0)
    for change in (
        lambda: there.save_mask(ID, NAME, mask_of(2), 0),
        lambda: there.set_status(ID, "accepted", 0),
        lambda: there.discard_mask(ID, 0),
    ):
        with pytest.raises(ConflictError) as caught:
            change()
        assert caught.value.review == Review("corrected", 1, NAME)
        assert str(caught.value) == (
            f"{ID} was changed elsewhere meanwhile (it is corrected now); look at it again before you change it"
        )
    assert (there.mask(ID) == 1).all()
    there.save_mask(ID, NAME, mask_of(2), 1)
    assert (here.mask(ID) == 2).all()


def test_threads_change_different_pictures_and_the_same(tmp_path: Path) -> None:
    """Of the changes of one revision exactly one is taken; those of other pictures all are."""
    corrections, taken = Corrections(tmp_path), list[int]()

    def work(number: int) -> None:
        corrections.set_status(f"{number}.jpg", "accepted", 0)
        try:
            corrections.save_mask(ID, NAME, mask_of(number), 0)
            taken.append(number)
        except ConflictError:
            pass

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 1
    assert (corrections.mask(ID) == taken[0]).all()
    reviews = Corrections(tmp_path).reviews()
    assert all(reviews[f"{number}.jpg"].status == "accepted" for number in range(8))


def accept(folder: Path, start: int) -> None:
    corrections = Corrections(folder)
    for number in range(start, start + 20):
        corrections.set_status(f"{number}.jpg", "accepted", 0)


def test_processes_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=accept, args=(tmp_path, start)) for start in (0, 20)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert set(Corrections(tmp_path).reviews()) == {f"{number}.jpg" for number in range(40)}


def test_a_line_that_a_kill_cut_short(tmp_path: Path) -> None:
    """It is as if it had never been written, and the next change is whole."""
    Corrections(tmp_path).set_status("1.jpg", "accepted", 0)
    journal = tmp_path / "corrected" / "reviews.jsonl"
    journal.write_bytes(journal.read_bytes() + b'{"id": "2.jpg", "status": "rej')
    corrections = Corrections(tmp_path)
    assert set(corrections.reviews()) == {"1.jpg"}
    corrections.set_status("3.jpg", "rejected", 0)
    for again in (corrections, Corrections(tmp_path)):
        assert {id_: review.status for id_, review in again.reviews().items()} == {
            "1.jpg": "accepted",
            "3.jpg": "rejected",
        }


def test_a_list_that_was_removed_meanwhile(tmp_path: Path) -> None:
    corrections = Corrections(tmp_path)
    corrections.set_status(ID, "accepted", 0)
    (tmp_path / "corrected" / "reviews.jsonl").unlink()
    assert corrections.reviews() == {}
    assert corrections.set_status(ID, "rejected", 0) == Review("rejected", 1)


@pytest.mark.parametrize(
    "entry",
    [
        {"id": "2.jpg", "status": "corrected", "revision": 1, "mask": "../../outside"},
        {"id": "2.jpg", "status": "corrected", "revision": 1, "mask": "/etc/passwd"},
        {"id": "2.jpg", "status": "corrected", "revision": 1, "mask": ""},
        {"id": "2.jpg", "status": "gone", "revision": 1, "mask": None},
        {"id": 2, "status": "open", "revision": 1, "mask": None},
        {"id": "2.jpg", "status": "open", "revision": True, "mask": None},
        {"id": "2.jpg", "status": "open", "revision": 2**53, "mask": None},
        {"id": "2.jpg", "status": "open", "revision": -1, "mask": None},
        {"id": "2.jpg", "status": "corrected", "revision": 1, "mask": "a\0b"},
        {"id": "2.jpg"},
        [1],
    ],
)
def test_lines_that_are_none_of_ours(tmp_path: Path, entry: object) -> None:
    Corrections(tmp_path).set_status("1.jpg", "accepted", 0)
    with (tmp_path / "corrected" / "reviews.jsonl").open("a") as file:
        file.write(json.dumps(entry) + "\n")
    assert set(Corrections(tmp_path).reviews()) == {"1.jpg"}


@pytest.mark.parametrize(("name", "inside"), [("a/b", True), ("a..b", True), ("..", False), ("a/../b", False)])
def test_names_inside(name: str, inside: bool) -> None:
    assert is_inside(name) is inside


def test_a_damaged_mask(tmp_path: Path) -> None:
    corrections = Corrections(tmp_path)
    corrections.save_mask(ID, NAME, mask_of(1), 0)
    corrections.masks()[ID].write_bytes(b"no picture")
    with pytest.raises(PictureError, match="cannot be read as a mask"):
        corrections.mask(ID)


@pytest.mark.parametrize("link", ["corrected", "corrected/masks", "corrected/reviews.jsonl", "corrected/.lock"])
def test_links_out_of_the_run_are_not_written_through(tmp_path: Path, link: str) -> None:
    """A run of somebody else may hold them: a line of the list in a start file of a shell would be a command."""
    run, mine = tmp_path / "run", tmp_path / "mine"
    Corrections(run).set_status(ID, "corrected", 0)
    mine.mkdir()
    (mine / "x.png").write_bytes(b"mine")
    before = mine / "x.png" if "." in link else mine
    path = run / link
    if path.is_dir():
        shutil.copytree(path, mine, dirs_exist_ok=True)
        shutil.rmtree(path)
    elif path.exists():
        (mine / "x.png").write_bytes(path.read_bytes())
        path.unlink()
    path.symlink_to(before)
    there = {one: one.read_bytes() for one in mine.rglob("*") if one.is_file()}
    with pytest.raises(RunError, match="nothing is written there; remove it"):
        Corrections(run).save_mask(ID, "x", mask_of(1), 1)
    assert {one: one.read_bytes() for one in mine.rglob("*") if one.is_file()} == there
    assert not list(mine.glob(".*.partial"))


def test_a_mask_behind_a_link_is_not_removed(tmp_path: Path) -> None:
    run, mine = tmp_path / "run", tmp_path / "mine"
    corrections = Corrections(run)
    corrections.save_mask(ID, "x", mask_of(1), 0)
    (run / "corrected" / "masks").rename(mine)
    (run / "corrected" / "masks").symlink_to(mine)
    with pytest.raises(RunError, match="leads out of"):
        corrections.discard_mask(ID, 1)
    assert (mine / "x.png").exists()
    assert corrections.review(ID) == Review("corrected", 1, "x")


def test_a_run_behind_a_link_is_a_run(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "run")
    Corrections(tmp_path / "link").save_mask(ID, "x", mask_of(1), 0)
    assert (Corrections(tmp_path / "run").mask(ID) == 1).all()


def test_a_run_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "corrected").write_text("a file where the folder should be")
    with pytest.raises(RunError) as caught:
        Corrections(tmp_path).set_status(ID, "accepted", 0)
    assert str(caught.value).startswith(f"cannot keep corrections in {tmp_path / 'corrected'} (")
