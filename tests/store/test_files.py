"""Files that are whole or absent, in a folder and in a store that fails."""

import os
import tempfile
import time

import pytest
from PIL import Image

from advcam.errors import RunError, SettingError
from advcam.store.files import PARTIAL, remove_leftovers, replacing, write_picture, write_text
from advcam.store.retries import TRIES, retries_so_far


@pytest.fixture(params=["local", "remote"])
def place(request, tmp_path):
    return tmp_path / "run" if request.param == "local" else request.getfixturevalue("folder")


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The folder of temporary files, empty."""
    found = tmp_path / "temporary"
    found.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(found))
    return found


def test_the_last_one_stays(place):
    for text in ("one", "two"):
        write_text(place / "a" / "b.json", text)
        assert (place / "a" / "b.json").read_text() == text
    assert [entry.name for entry in (place / "a").iterdir()] == ["b.json"]


def test_nothing_is_there_before_the_end(place):
    path = place / "a.bin"
    with replacing(path) as file:
        file.write(b"x" * 100_000)
        file.flush()
        assert not path.exists()
    assert path.read_bytes() == b"x" * 100_000


@pytest.mark.parametrize("error", [ValueError("on purpose"), KeyboardInterrupt(), RunError("on purpose")])
def test_an_error_leaves_what_was_there_and_nothing_else(place, temporary, error):
    def interrupted():
        with replacing(place / "a.json") as file:
            file.write(b"new")
            raise error

    write_text(place / "a.json", "old")
    with pytest.raises(type(error)) as caught:
        interrupted()
    assert caught.value is error
    assert (place / "a.json").read_text() == "old"
    assert [entry.name for entry in place.iterdir()] == ["a.json"]
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(("name", "kind"), [("a.png", "PNG"), ("a.jpg", "JPEG"), ("a.JPEG", "JPEG")])
def test_pictures(place, name, kind):
    write_picture(place / name, Image.new("RGBA" if kind == "PNG" else "RGB", (8, 6), (255, 0, 0)))
    with (place / name).open("rb") as file, Image.open(file) as picture:
        assert (picture.format, picture.size, picture.convert("RGB").getpixel((3, 3))[0] > 250) == (kind, (8, 6), True)


def test_unknown_kinds_of_pictures(place):
    with pytest.raises(SettingError) as caught:
        write_picture(place / "a.gif", Image.new("RGB", (2, 2)))
    assert str(caught.value) == "pictures are written as .jpg, .jpeg or .png; got a.gif"


def test_leftovers_of_the_dead_go_and_those_of_the_living_stay(tmp_path):
    (tmp_path / f"dead{PARTIAL}").touch()
    with replacing(tmp_path / "living"):
        remove_leftovers(tmp_path)
        (living,) = tmp_path.iterdir()
        assert living.name not in ("living", f"dead{PARTIAL}")


def test_a_store_has_no_leftovers(s3, folder):
    requests = s3.requests
    remove_leftovers(folder)
    assert s3.requests == requests


def test_what_a_failing_store_takes_is_whole(s3, bucket, folder, temporary):
    before = retries_so_far()
    s3.share = 0.3
    texts = {f"{number}.txt": f"{number}" * 1000 for number in range(20)}
    for name, text in texts.items():
        write_text(folder / name, text)
    s3.share = 0.0
    assert {key.rpartition("/")[2]: content.decode() for key, content in s3.objects(bucket).items()} == texts
    assert retries_so_far() > before
    assert list(temporary.iterdir()) == []


def test_a_store_that_fails_for_good_keeps_what_it_has(s3, bucket, folder, temporary):
    write_text(folder / "a.json", "old")
    s3.share, s3.faults = 1.0, ("busy",)
    before, requests, started = retries_so_far(), s3.requests, time.monotonic()
    with pytest.raises(RunError) as caught:
        write_text(folder / "a.json", "new")
    s3.share = 0.0
    assert str(caught.value).startswith(f"{folder}/a.json cannot be reached: [Errno 16] ")
    assert "6 tries" in str(caught.value)
    assert (retries_so_far() - before, s3.requests - requests) == (TRIES - 1, TRIES)
    assert time.monotonic() - started < 10
    assert s3.objects(bucket) == {"runs/one/a.json": b"old"}
    assert list(temporary.iterdir()) == []


def test_a_store_that_is_denied_is_asked_once(s3, folder, temporary):
    s3.denied.add("PUT")
    requests = s3.requests
    with pytest.raises(RunError) as caught:
        write_text(folder / "a.json", "new")
    assert str(caught.value) == (
        f"{folder}/a.json: the store denies it (on purpose); check the credentials, and that they may list, read and "
        "write there"
    )
    assert s3.requests - requests == 1
    assert list(temporary.iterdir()) == []


def test_no_room_for_what_is_not_complete(folder, monkeypatch):
    def full(*_, **__):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(tempfile, "mkdtemp", full)
    with pytest.raises(RunError) as caught:
        write_text(folder / "a.json", "new")
    assert str(caught.value) == (
        f"cannot write {folder}/a.json (No space left on device in {tempfile.gettempdir()}, where it is kept until it "
        "is complete); make room there, or set TMPDIR"
    )


def test_a_name_may_be_as_long_as_names_can_be(tmp_path):
    path = tmp_path / ("a" * 251 + ".txt")
    with replacing(path) as file:
        file.write(b"whole")
    assert [found.name for found in tmp_path.iterdir()] == [path.name]
