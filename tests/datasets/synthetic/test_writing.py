"""Files of generated data sets are whole or absent, and splits of the largest size share no scene."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from advcam.colours import voc_palette
from advcam.datasets.synthetic import imagenet, wsol
from advcam.datasets.synthetic.catalogue import write_dataset
from advcam.datasets.synthetic.writing import write_bytes, write_index_png, write_jpeg, write_lines
from advcam.errors import RunError, SettingError

NUMBERS = np.arange(256).reshape(8, 32)


def test_a_jpeg_is_near_its_picture(tmp_path: Path):
    ramp = np.tile(np.linspace(40, 200, 64), (48, 1)).astype(np.uint8)
    picture = Image.fromarray(np.stack([ramp, ramp[:, ::-1], ramp // 2], axis=-1))
    write_jpeg(tmp_path / "a.jpg", picture)
    with Image.open(tmp_path / "a.jpg") as read:
        assert (read.format, read.size, read.mode) == ("JPEG", (64, 48), "RGB")
        assert np.abs(np.asarray(read, dtype=int) - np.asarray(picture, dtype=int)).mean() < 2


@pytest.mark.parametrize(("palette", "mode"), [(True, "P"), (False, "L")])
def test_numbers_come_back_under_colours_or_grey_levels(tmp_path: Path, palette: bool, mode: str):
    write_index_png(tmp_path / "a.png", NUMBERS, palette=palette)
    with Image.open(tmp_path / "a.png") as read:
        assert read.mode == mode
        np.testing.assert_array_equal(np.asarray(read), NUMBERS)
        colours = np.asarray(read.convert("RGB")).reshape(256, 3)
    np.testing.assert_array_equal(colours, voc_palette() if palette else np.repeat(np.arange(256)[:, None], 3, axis=1))


def test_lines_are_utf8_and_each_has_its_end(tmp_path: Path):
    write_lines(tmp_path / "deep" / "er" / "a.txt", ["Kätzchen 1", "two"])
    assert (tmp_path / "deep" / "er" / "a.txt").read_bytes() == "Kätzchen 1\ntwo\n".encode()
    write_lines(tmp_path / "none.txt", [])
    assert (tmp_path / "none.txt").read_bytes() == b""


@pytest.mark.parametrize(
    "write",
    [
        lambda path: write_jpeg(path, Image.new("RGB", (9, 9))),
        lambda path: write_index_png(path, NUMBERS),
        lambda path: write_lines(path, ["a"]),
    ],
)
def test_a_place_that_cannot_be_written_is_an_error_with_advice(tmp_path: Path, write: Callable[[Path], object]):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunError, match=r"cannot write .*make room, change the permissions or choose another folder"):
        write(tmp_path / "file" / "a")
    (tmp_path / "folder").mkdir()
    with pytest.raises(RunError, match="cannot write"):
        write(tmp_path / "folder")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_file_that_is_not_finished_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
):
    def half(path: Path, content: bytes) -> None:
        with path.open("wb") as file:
            file.write(content[:2])
        raise error

    write_bytes(tmp_path / "a.txt", b"whole")
    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises((RunError, KeyboardInterrupt)) as caught:
        write_bytes(tmp_path / "a.txt", b"new")
    assert "No space left on device" in str(caught.value) or caught.type is KeyboardInterrupt
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a.txt": b"whole"}


SCENES = {"imagenet": imagenet.imagenet_scenes, "wsol": wsol.wsol_scenes}


@pytest.mark.parametrize(
    ("layout", "splits", "most"), [("imagenet", ("train", "val"), 499), ("wsol", ("train", "val", "test"), 300)]
)
def test_splits_of_the_largest_size_share_no_scene(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str, splits: tuple[str, ...], most: int
):
    for room in (imagenet, wsol):
        monkeypatch.setattr(room, "draw_scene", lambda seed, classes: seed)
    seeds = [seed for split in splits for _, seed in SCENES[layout](split, most, 2)]
    assert len(set(seeds)) == len(seeds) == most * len(splits)
    with pytest.raises(SettingError, match=f"{layout} is generated with 1 to {most} pictures; got {most + 1}"):
        write_dataset(layout, tmp_path / "data", pictures=most + 1)
    assert not (tmp_path / "data").exists()
