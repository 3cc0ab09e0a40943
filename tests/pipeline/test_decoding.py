"""Pictures at which a process dies: that process alone."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import decoders
import pytest
from PIL import Image

from advcam.errors import PictureError
from advcam.pipeline.decoding import CarefulDecoder


@pytest.fixture
def pictures(tmp_path: Path) -> dict[str, Path]:
    paths = {name: tmp_path / f"{name}.png" for name in ("a", "crash", "b", "exit", "c")}
    for number, path in enumerate(paths.values()):
        Image.new("RGB", (20, 18), (number, 0, 0)).save(path)
    return paths


def test_a_picture_that_brings_the_decoder_down_is_named_and_the_next_one_is_decoded(pictures: dict[str, Path]):
    found = {}
    with CarefulDecoder(decoders.decode) as decode:
        for name, path in pictures.items():
            try:
                found[name] = decode(path).getpixel((0, 0))[0]
            except PictureError as error:
                found[name] = str(error)
    advice = "brings down the process that decodes it; save it with another program, or leave it out"
    assert found == {
        "a": 0,
        "crash": f"{pictures['crash']} {advice}",
        "b": 2,
        "exit": f"{pictures['exit']} {advice}",
        "c": 4,
    }


def test_in_one_process_that_is_not_this_one_from_many_threads(pictures: dict[str, Path]):
    with CarefulDecoder(decoders.process) as decode, ThreadPoolExecutor(3) as pool:
        processes = {picture.width for picture in pool.map(decode, [pictures["a"], pictures["b"]] * 3)}
    assert len(processes) == 1
    assert os.getpid() not in processes


def test_a_broken_picture_is_its_own_error(pictures: dict[str, Path]):
    pictures["a"].write_bytes(b"no picture")
    with CarefulDecoder() as decode:
        with pytest.raises(PictureError, match=r"a\.png"):
            decode(pictures["a"])
        assert decode(pictures["b"]).size == (20, 18)
