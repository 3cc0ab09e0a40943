"""The rooms of the store at a URL: the same answers as in a folder."""

import json
import threading

import numpy as np
import pytest

from advcam.errors import PictureError, RunError
from advcam.store import remote
from advcam.store.classes import ClassNumbers
from advcam.store.entries import PictureEntries
from advcam.store.masks import read_mask, write_mask
from advcam.store.places import place
from advcam.store.records import RecordFile
from advcam.store.run import RunDirectory

SETTINGS = {"maps": {"method": "advcam", "steps": 30}, "outputs": {"threshold": 0.3}}
OTHER_MAPS = {"maps": {"method": "cam", "steps": 30}, "outputs": {"threshold": 0.3}}
OTHER_OUTPUTS = {"maps": {"method": "advcam", "steps": 30}, "outputs": {"threshold": 0.4}}


def refusal(folder, settings=SETTINGS):
    with pytest.raises(RunError) as caught:
        RunDirectory.open(folder, settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def start(folder, settings=SETTINGS):
    with RunDirectory.open(folder, settings) as run:
        return run


class TestRun:
    @pytest.mark.parametrize("share", [0.0, 0.2])
    def test_continued_by_the_same_settings_alone(self, s3, bucket, folder, tmp_path, share):
        s3.share = share
        assert not start(folder).outputs_changed
        assert start(folder, OTHER_OUTPUTS).outputs_changed
        with RunDirectory.open(folder, OTHER_OUTPUTS) as run:
            run.record_outputs()
        assert not start(folder, OTHER_OUTPUTS).outputs_changed
        message = refusal(folder, OTHER_MAPS)
        s3.share = 0.0
        start(tmp_path / "run", OTHER_OUTPUTS)
        assert message == refusal(tmp_path / "run", OTHER_MAPS).replace(str(tmp_path / "run"), str(folder))
        local = (tmp_path / "run" / "config.json").read_bytes()
        assert s3.objects(bucket) == {"runs/one/config.json": local}

    def test_a_run_may_be_a_whole_bucket(self, s3, bucket):
        start(place(f"s3://{bucket}"))
        start(place(f"s3://{bucket}/"))
        assert list(s3.objects(bucket)) == ["config.json"]

    def test_what_is_no_run_stays_untouched(self, s3, bucket, folder):
        s3.client().put_object(Bucket=bucket, Key="runs/one/holiday.jpg", Body=b"x")
        assert refusal(folder) == (
            f"{folder} is not empty and holds no run of advcam; choose another --out or empty it"
        )
        assert refusal(folder / "holiday.jpg") == (
            f"{folder}/holiday.jpg is a file; choose another --out, a run takes a folder"
        )
        assert s3.objects(bucket) == {"runs/one/holiday.jpg": b"x"}

    def test_a_damaged_config(self, s3, bucket, folder):
        s3.client().put_object(Bucket=bucket, Key="runs/one/config.json", Body=b"{")
        assert refusal(folder).startswith(f"{folder}/config.json is damaged or not of this version of advcam (")

    def test_killed_while_probing(self, s3, bucket, folder):
        left = f"runs/one/{remote.PROBE}-0123abcd"
        s3.client().put_object(Bucket=bucket, Key=left, Body=b"advcam")
        start(folder)
        assert list(s3.objects(bucket)) == [left, "runs/one/config.json"]

    def test_a_bucket_that_may_only_be_read_is_refused_before_the_work(self, s3, bucket, folder):
        s3.denied |= {"PUT", "POST"}
        assert "the store denies it" in refusal(folder)
        s3.denied.clear()
        assert s3.objects(bucket) == {}

    def test_no_bucket(self, s3):
        assert refusal(place("s3://no-such-bucket/run")).startswith("there is no bucket no-such-bucket for ")

    def test_a_store_that_is_down(self, s3, folder):
        s3.share, s3.faults = 1.0, ("cut",)
        assert f"{folder} cannot be reached: " in refusal(folder)

    def test_another_process_begins_at_the_same_moment(self, s3, bucket, folder, monkeypatch):
        exists = remote.RemotePath.exists

        def late(path):
            answer = exists(path)
            if path.name == "config.json" and not answer:
                monkeypatch.setattr(remote.RemotePath, "exists", exists)
                with RunDirectory.open(folder, SETTINGS) as run:
                    write_mask(run.masks_folder / "0.png", np.ones((4, 4), np.uint8))
            return answer

        monkeypatch.setattr(remote.RemotePath, "exists", late)
        assert not start(folder).outputs_changed
        assert list(s3.objects(bucket)) == ["runs/one/config.json", "runs/one/masks/0.png"]

    def test_two_at_once_write_the_same(self, s3, bucket, folder):
        """There is no lock: both go on, and nothing of either is lost."""
        s3.share, errors = 0.1, []

        def work(numbers):
            try:
                with RunDirectory.open(folder, SETTINGS) as run:
                    for number in numbers:
                        write_mask(run.masks_folder / f"{number}.png", np.full((4, 4), number))
            except RunError as error:
                errors.append(error)

        threads = [threading.Thread(target=work, args=(order,)) for order in (range(8), range(8)[::-1])]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        s3.share = 0.0
        assert not errors
        assert list(s3.objects(bucket)) == ["runs/one/config.json", *(f"runs/one/masks/{n}.png" for n in range(8))]
        assert all((read_mask(folder / "masks" / f"{n}.png") == n).all() for n in range(8))

    def test_outputs_of_a_run_that_is_closed(self, folder):
        run = start(folder)
        with pytest.raises(RunError, match="is not open for writing"):
            run.record_outputs()


@pytest.mark.parametrize("top", [255, 256, 65535])
def test_masks(s3, bucket, folder, tmp_path, top):
    mask = np.arange(12, dtype=np.int32).reshape(3, 4)
    mask[0, 0] = top
    for path in (folder / "masks" / "a.png", tmp_path / "a.png"):
        write_mask(path, mask)
        assert np.array_equal(read_mask(path), mask)
    assert s3.objects(bucket) == {"runs/one/masks/a.png": (tmp_path / "a.png").read_bytes()}


def test_masks_that_are_none(s3, bucket, folder):
    s3.client().put_object(Bucket=bucket, Key="runs/one/a.png", Body=b"no picture")
    for name in ("a.png", "none.png"):
        with pytest.raises(PictureError) as caught:
            read_mask(folder / name)
        assert str(caught.value).startswith(f"{folder}/{name} cannot be read as a mask (")


def test_a_mask_is_not_damaged_because_the_store_is_away(s3, folder):
    write_mask(folder / "a.png", np.ones((4, 4), np.uint8))
    s3.share, s3.faults = 1.0, ("busy",)
    with pytest.raises(RunError, match="cannot be reached"):
        read_mask(folder / "a.png")


def test_class_numbers(s3, bucket, folder, tmp_path):
    names = [f"class {number}" for number in range(300)]
    for path in (folder / "classes.json", tmp_path / "classes.json"):
        ClassNumbers(path, names).extend([7, 3])
        again = ClassNumbers(path, names)
        again.extend([3, 250])
        assert again.numbers == {7: 1, 3: 2, 250: 3}
    assert s3.objects(bucket) == {"runs/one/classes.json": (tmp_path / "classes.json").read_bytes()}


def test_entries(folder):
    with PictureEntries(folder / "boxes.json") as entries:
        entries.add("a.jpg", {"boxes": []})
    assert json.loads((folder / "boxes.json").read_text()) == {"pictures": {"a.jpg": {"boxes": []}}}
    with pytest.raises(ValueError), PictureEntries(folder / "boxes.json") as entries:
        raise ValueError
    assert json.loads((folder / "boxes.json").read_text()) == {"pictures": {"a.jpg": {"boxes": []}}}


def test_records_are_refused(folder):
    with pytest.raises(RunError) as caught:
        RecordFile(folder / "records.jsonl")
    assert str(caught.value) == (
        f"{folder}/records.jsonl is appended to, which an object store cannot do; choose a folder as --out"
    )
