"""The command itself: into a store that fails it leaves what it leaves in a folder, and goes on there."""

import json
import shutil

import pytest

from advcam.cli.app import run
from advcam.store.retries import retries_so_far

RESULTS = ("masks/", "overlays/", "maps/", "boxes.json", "classes.json", "config.json")


def localize(photographs, out, *more):
    labels = str(photographs / "labels.csv")
    return run(
        ["localize", str(photographs), "--labels", labels, "--method", "cam", "--out", str(out), "--quiet", *more]
    )


def results(objects):
    return {key: content for key, content in objects.items() if key.startswith(RESULTS)}


def in_folder(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def stored(s3, bucket):
    return lambda: {key.removeprefix("run/"): content for key, content in s3.objects(bucket).items()}


def test_the_same_as_in_a_folder_and_the_same_again(s3, bucket, stored, photographs, tmp_path):
    assert localize(photographs, tmp_path / "run") == 0
    before, s3.share = retries_so_far(), 0.1
    assert localize(photographs, f"s3://{bucket}/run") == 0
    s3.share = 0.0
    first, local = stored(), in_folder(tmp_path / "run")
    assert results(first) == results(local)
    assert b"chelsea" in first["report.html"]
    assert retries_so_far() > before
    summary = json.loads(first["summary.json"])
    assert (summary["out"], summary["computed"], summary["already_done"]) == (f"s3://{bucket}/run", 2, 0)
    assert localize(photographs, f"s3://{bucket}/run") == 0
    again = stored()
    assert results(again) == results(first)
    assert json.loads(again["summary.json"])["already_done"] == 2


def test_it_goes_on_after_the_store_was_down(s3, bucket, stored, photographs, tmp_path, capsys):
    assert localize(photographs, tmp_path / "run") == 0
    s3.denied.add("DELETE")  # the first that a run deletes is what it wrote to find out its rights
    assert localize(photographs, f"s3://{bucket}/run") == 2
    assert "the store denies it" in " ".join(capsys.readouterr().err.split())
    s3.denied.clear()
    assert localize(photographs, f"s3://{bucket}/run") == 0
    assert results(stored()) == results(in_folder(tmp_path / "run"))


def test_pictures_that_are_added(s3, bucket, stored, photographs, tmp_path):
    (tmp_path / "first").mkdir()
    shutil.copy(photographs / "chelsea.png", tmp_path / "first")
    shutil.copy(photographs / "labels.csv", tmp_path / "first")
    for out in (tmp_path / "run", f"s3://{bucket}/run"):
        assert localize(tmp_path / "first", out) == 0
        assert localize(photographs, out) == 0
    assert results(stored()) == results(in_folder(tmp_path / "run"))
    assert json.loads(stored()["summary.json"])["already_done"] == 1


def test_a_run_of_other_settings_stays(s3, bucket, stored, photographs, capsys):
    assert localize(photographs, f"s3://{bucket}/run") == 0
    before = stored()
    assert localize(photographs, f"s3://{bucket}/run", "--scales", "1") == 2
    assert f"s3://{bucket}/run holds a run with other settings: scales was" in " ".join(capsys.readouterr().err.split())
    assert stored() == before
