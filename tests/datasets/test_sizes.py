"""Sizes from headers, and names that tell classes apart."""

import pytest
from PIL import Image

from advcam.datasets.naming import unique_names
from advcam.datasets.sizes import stored_size
from advcam.errors import DatasetError


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.bmp"])
def test_stored_size(tmp_path, name):
    Image.new("RGB", (30, 20)).save(tmp_path / name)
    assert stored_size(tmp_path / name) == (30, 20)


def test_an_orientation_is_not_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20)).save(tmp_path / "a.jpg", exif=exif)
    assert stored_size(tmp_path / "a.jpg") == (30, 20)


@pytest.mark.parametrize("name", ["missing.jpg", "truncated.jpg", "text.jpg", "bomb.png"])
def test_no_size(hostile, name):
    if name == "truncated.jpg":
        (hostile / name).write_bytes((hostile / name).read_bytes()[:15])
    with pytest.raises(DatasetError, match=rf"the size of .*{name} cannot be read .*; restore the picture$"):
        stored_size(hostile / name)


def test_only_repeated_names_get_their_key():
    assert unique_names(["crane", "tench", "crane"], ["n1", "n2", "n3"]) == ("crane (n1)", "tench", "crane (n3)")
    assert unique_names([], []) == ()
