"""A shard of pictures to maps: pictures that are broken, that kill, that changed, and a disk that is full."""

from pathlib import Path

import decoders
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from advcam import Classifier
from advcam.attribution.registry import create_method
from advcam.datasets.pictures import read_picture
from advcam.pipeline.config import LocalizeSettings, MethodSettings, localize_settings
from advcam.pipeline.shard_maps import Given, Localizer, file_bytes
from advcam.pipeline.shards import Shard
from advcam.pipeline.targets import Chooser
from advcam.store import files
from advcam.types import Sample


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


class Told:
    """Remembers what is heard."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.done: list[str] = []
        self.skipped: dict[str, str] = {}

    def begins(self, id_: str) -> None:
        self.begun.append(id_)

    def picture_done(self, name: str) -> None:
        self.done.append(name)

    def picture_skipped(self, name: str, reason: str) -> None:
        self.skipped[name] = reason


def paint(path: Path, seed: int) -> Path:
    noise = np.random.default_rng(seed).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


def samples_of(folder: Path, names: str) -> tuple[Sample, ...]:
    paths = [paint(folder / f"{name}.png", seed) for seed, name in enumerate(names.split())]
    return tuple(Sample(path.name, path, ("a",)) for path in paths)


def shard_of(samples: tuple[Sample, ...], **more: object) -> Shard:
    told = tuple(Given([0, 2], False, sample.path.stem) for sample in samples)
    return Shard(0, len(samples) - 1, samples, told, order=tuple(s.id for s in samples), **more)


def localizer(out: Path) -> Localizer:
    classifier = Classifier.from_module(Toy(), class_names=["a", "b", "c"], name="toy")
    settings: LocalizeSettings = localize_settings(out=out, method=MethodSettings(method="cam"))
    return Localizer(settings, create_method("cam", classifier), Chooser(1), decoders.decode)


def test_a_shard_is_one_file_with_masks_and_overlays_beside_it(tmp_path):
    samples, told, work = samples_of(tmp_path, "a b c"), Told(), localizer(tmp_path / "run")
    result = work(shard_of(samples), told)
    assert (result.first, result.last, result.done, result.skipped, result.failed) == (
        0,
        2,
        ("a.png", "b.png", "c.png"),
        (),
        "",
    )
    assert told.begun == told.done == ["a.png", "b.png", "c.png"]
    (name,) = work.store.names()
    assert name.finished
    assert [(r.sample_id, r.file_bytes) for r in work.store] == [(s.id, s.path.stat().st_size) for s in samples]
    assert {path.name for path in (tmp_path / "run" / "masks").iterdir()} == {"a.png", "b.png", "c.png"}
    assert {path.name for path in (tmp_path / "run" / "overlays").iterdir()} == {"a.jpg", "b.jpg", "c.jpg"}


def test_a_broken_picture_is_named_and_left_out(tmp_path):
    samples, told, work = samples_of(tmp_path, "a b c"), Told(), localizer(tmp_path / "run")
    work.decode = read_picture
    samples[1].path.write_bytes(b"no picture")
    result = work(shard_of(samples), told)
    assert result.done == ("a.png", "c.png")
    assert [id_ for id_, _ in result.skipped] == ["b.png"]
    assert told.skipped == dict(result.skipped)
    assert list(work.store.ids()) == ["a.png", "c.png"]
    assert work.store.names()[0].finished


def test_pictures_whose_decoder_dies_are_named_and_the_rest_is_as_ever(tmp_path):
    samples, work = samples_of(tmp_path, "a crash b exit c"), localizer(tmp_path / "run")
    told = Told()
    result = work(shard_of(samples, careful=True), told)
    assert result.done == ("a.png", "b.png", "c.png")
    assert result.failed == ""
    for name in ("crash.png", "exit.png"):
        assert told.skipped[name].startswith(f"{tmp_path / name} brings down the process that decodes it; ")
    plain = localizer(tmp_path / "plain")
    plain(shard_of(tuple(s for s in samples if len(s.id) == 5)), Told())
    for ours, theirs in zip(work.store, plain.store, strict=True):
        assert ours.sample_id == theirs.sample_id
        np.testing.assert_array_equal(ours.attribution.maps, theirs.attribution.maps)


@pytest.mark.parametrize("writes", [0, 1, 5, 9])
def test_a_disk_that_is_full_in_the_middle_fails_the_shard_and_nothing_else(tmp_path, monkeypatch, writes):
    """Of three pictures: mask, overlay, mask, overlay, .. and then the shard."""
    samples, work = samples_of(tmp_path, "a b c d e"), localizer(tmp_path / "run")
    room, sync = [writes], files.os.fsync

    def full(file):
        room[0] -= 1
        if room[0] < 0:
            raise OSError(28, "No space left on device")
        sync(file)

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", full)
        result = work(shard_of(samples), Told())
    assert "No space left on device" in result.failed
    assert "\n" not in result.failed
    assert not work.store.names()
    assert not list((tmp_path / "run").rglob("*.partial"))
    again = work(shard_of(samples), Told())
    assert (again.failed, len(again.done)) == ("", 5)
    assert len(list(work.store)) == 5


def test_an_interrupt_leaves_a_piece_with_what_was_done(tmp_path):
    class Impatient(Told):
        def picture_done(self, name: str) -> None:
            super().picture_done(name)
            if len(self.done) == 2:
                raise KeyboardInterrupt

    samples, work = samples_of(tmp_path, "a b c"), localizer(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        work(shard_of(samples), Impatient())
    (piece,) = work.store.names()
    assert not piece.finished
    assert list(work.store.ids()) == ["a.png", "b.png"]
    rest = shard_of(samples[2:], sources=(piece,))
    work(Shard(0, 2, rest.samples, rest.given, ("a.png", "b.png", "c.png"), (piece,)), Told())
    whole = localizer(tmp_path / "whole")
    whole(shard_of(samples), Told())
    work.store.clean()
    assert work.store.names() == whole.store.names()


def test_a_changed_picture_is_replaced_by_a_later_generation(tmp_path):
    samples, work = samples_of(tmp_path, "a b"), localizer(tmp_path / "run")
    work(shard_of(samples), Told())
    before = work.store.get("a.png")
    Image.new("RGB", (24, 20), (250, 10, 10)).save(samples[0].path)
    work(shard_of(samples[:1], generation=1), Told())
    after = work.store.get("a.png")
    assert after.file_bytes == file_bytes(samples[0]) != before.file_bytes
    assert not np.array_equal(after.attribution.maps, before.attribution.maps)
    assert sorted(work.store.ids()) == ["a.png", "b.png"]


def test_the_size_of_a_file_that_is_gone():
    assert file_bytes(Sample("x", Path("no such file"), ())) == -1
