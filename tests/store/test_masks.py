"""Masks, pictures and texts on disk: exact, and whole or absent."""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from advcam.colours import voc_palette
from advcam.errors import PictureError, RunError, SettingError
from advcam.store import files
from advcam.store.files import remove_leftovers, replacing, try_lock, write_picture, write_text
from advcam.store.masks import read_mask, write_mask

SHAPES = arrays.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    mask=st.sampled_from([255, 65535]).flatmap(
        lambda top: arrays.arrays(np.int64, SHAPES, elements=st.integers(0, top))
    )
)
def test_round_trip(mask):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a/b/mask.png"
        write_mask(path, mask)
        read = read_mask(path)
    assert read.dtype == np.int32
    assert (read == mask).all()


def test_small_numbers_are_a_palette_in_voc_colours(tmp_path):
    write_mask(tmp_path / "m.png", np.array([[0, 1], [15, 255]]))
    with Image.open(tmp_path / "m.png") as image:
        assert image.mode == "P"
        assert (np.asarray(image.convert("RGB")).reshape(-1, 3) == voc_palette()[[0, 1, 15, 255]]).all()


def test_large_numbers_are_16_bit_grey(tmp_path):
    write_mask(tmp_path / "m.png", np.array([[0, 256]], dtype=np.int32))
    with Image.open(tmp_path / "m.png") as image:
        assert image.format == "PNG"
        assert image.mode.startswith("I")


@pytest.mark.parametrize(("value", "span"), [(-1, "-1 to 0"), (65536, "0 to 65536")])
def test_numbers_out_of_range(tmp_path, value, span):
    with pytest.raises(SettingError) as caught:
        write_mask(tmp_path / "m.png", np.array([[0, value]]))
    assert str(caught.value) == f"a mask holds class numbers from 0 to 65535; got {span}"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("mask", [np.zeros((2, 2)), np.zeros((1, 2, 2), int), np.zeros((0, 2), int)])
def test_not_a_mask(tmp_path, mask):
    with pytest.raises(SettingError) as caught:
        write_mask(tmp_path / "m.png", mask)
    assert str(caught.value) == (f"a mask is an (H, W) array of integers; got shape {mask.shape} of {mask.dtype}")


def test_colour_picture_is_no_mask(tmp_path):
    path = tmp_path / "m.png"
    Image.new("RGB", (4, 4)).save(path)
    with pytest.raises(PictureError) as caught:
        read_mask(path)
    assert str(caught.value) == (
        f"{path} is a picture of mode RGB; masks hold class numbers, in a palette or greyscale PNG"
    )


@pytest.mark.parametrize("length", [0, 20, 80])
def test_damaged_mask(tmp_path, length):
    path = tmp_path / "m.png"
    write_mask(path, np.random.default_rng(0).integers(0, 255, (40, 40)))
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(PictureError, match=r"cannot be read as a mask .*; write it again$"):
        read_mask(path)


@pytest.mark.parametrize("top", [200, 60000])
def test_any_damaged_byte_gives_a_mask_or_one_line(tmp_path, top):
    path = tmp_path / "m.png"
    write_mask(path, np.random.default_rng(0).integers(0, top, (6, 6)))
    content = path.read_bytes()
    refusals = []
    for place in range(len(content)):
        for damaged in (content[:place], content[:place] + b"\0" + content[place + 1 :]):
            path.write_bytes(damaged)
            try:
                assert read_mask(path).ndim == 2
            except PictureError as error:
                refusals.append(str(error))
    assert len(refusals) > len(content)
    assert not [text for text in refusals if "\n" in text]


def test_missing_mask(tmp_path):
    with pytest.raises(PictureError, match="No such file"):
        read_mask(tmp_path / "m.png")


def test_path_below_a_file(tmp_path):
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "m.png"
    with pytest.raises(RunError) as caught:
        write_mask(path, np.zeros((2, 2), int))
    assert str(caught.value) == (
        f"cannot write {path} (File exists); make room, change the permissions or choose another --out"
    )


def test_full_disk_leaves_the_old_file_and_no_partial(tmp_path, monkeypatch):
    path = tmp_path / "m.png"
    write_mask(path, np.ones((2, 2), int))

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(RunError) as caught:
        write_mask(path, np.zeros((2, 2), int))
    assert str(caught.value) == (
        f"cannot write {path} (No space left on device); make room, change the permissions or choose another --out"
    )
    assert list(tmp_path.iterdir()) == [path]
    assert (read_mask(path) == 1).all()


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_interrupted_writing_leaves_nothing(tmp_path, error):
    def write():
        with replacing(tmp_path / "a.txt") as file:
            file.write(b"half")
            raise error

    with pytest.raises(error):
        write()
    assert not list(tmp_path.iterdir())


def test_leftovers_of_the_dead_go_and_those_of_the_living_stay(tmp_path):
    code = (
        "import os, sys; from pathlib import Path; from advcam.store.files import replacing\n"
        "with replacing(Path(sys.argv[1])) as file: file.write(b'half'); os._exit(1)"
    )
    assert subprocess.run([sys.executable, "-c", code, tmp_path / "dead.txt"], check=False).returncode == 1
    (dead,) = tmp_path.iterdir()
    assert dead.name.endswith(".partial")
    with replacing(tmp_path / "alive.txt") as file:
        remove_leftovers(tmp_path)
        (alive,) = tmp_path.iterdir()
        assert alive.name.endswith(".partial")
        assert alive != dead
        file.write(b"whole")
    assert (tmp_path / "alive.txt").read_bytes() == b"whole"


def test_leftovers_are_locked_as_network_disks_need_it(tmp_path, monkeypatch):
    def network_disk(file, _):
        if not file.writable():
            raise OSError(9, "Bad file descriptor")
        raise BlockingIOError

    (tmp_path / "a.txt.partial").touch()
    monkeypatch.setattr(files.fcntl, "flock", network_disk)
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt.partial"]


def test_disk_without_locks_counts_as_unlocked(tmp_path, monkeypatch):
    def unsupported(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(files.fcntl, "flock", unsupported)
    with (tmp_path / "a").open("wb") as file:
        assert try_lock(file)


def test_text(tmp_path):
    write_text(tmp_path / "a/b.txt", "Grüße\n")
    assert (tmp_path / "a/b.txt").read_bytes() == "Grüße\n".encode()


@pytest.mark.parametrize(("name", "kind"), [("a.jpg", "JPEG"), ("a.JPEG", "JPEG"), ("a.png", "PNG")])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_picture(tmp_path, name, kind, mode):
    write_picture(tmp_path / name, Image.new("RGB", (20, 10), (200, 100, 50)).convert(mode))
    with Image.open(tmp_path / name) as image:
        assert (image.format, image.size) == (kind, (20, 10))
        expected = np.array(Image.new("RGB", (1, 1), (200, 100, 50)).convert(mode).convert("RGB"))
        assert np.abs(np.asarray(image.convert("RGB")).astype(int) - expected).max() <= 3


def test_picture_of_another_kind(tmp_path):
    with pytest.raises(SettingError, match=r"^pictures are written as .jpg, .jpeg or .png; got a.gif$"):
        write_picture(tmp_path / "a.gif", Image.new("RGB", (20, 10)))
    assert not list(tmp_path.iterdir())


def test_jpeg_that_is_too_large_to_encode(tmp_path):
    with pytest.raises(RunError, match=r"^cannot write .*a\.jpg \("):
        write_picture(tmp_path / "a.jpg", Image.new("RGB", (70_000, 1)))
    assert not list(tmp_path.iterdir())
