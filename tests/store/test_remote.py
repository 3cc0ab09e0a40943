"""A place in an object store has the methods of a path, with the same answers, also from a store that fails."""

import os
import pickle
import random
import re
import time
from pathlib import Path, PurePosixPath

import pytest

from advcam.errors import RunError
from advcam.store import remote
from advcam.store.places import place
from advcam.store.remote import PROBE, RemotePath, probe
from advcam.store.retries import TRIES, retries_so_far


def put(where, content):
    """The same for both kinds: a file at a place."""
    if isinstance(where, RemotePath):
        here = Path(os.environ["SCRATCH"], where.name)
        here.write_bytes(content)
        where.upload(here)
    else:
        where.parent.mkdir(parents=True, exist_ok=True)
        where.write_bytes(content)


@pytest.fixture(autouse=True)
def scratch(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("SCRATCH", str(tmp_path_factory.mktemp("scratch")))


def answers(root, key):
    """All that can be asked about a place."""
    where = root / key
    facts = [where.exists(), where.is_file(), where.is_dir(), where.name, where.stem, where.suffix]
    facts += [str(where.relative_to(root)), where.parent == root / PurePosixPath(key).parent]
    facts += [str(where.with_name("z").relative_to(root)), str(where.with_suffix(".z").relative_to(root))]
    if where.is_file():
        with where.open("rb") as file:
            facts += [file.read(1), file.seek(-1, os.SEEK_END), file.read(), where.read_bytes(), where.read_text()]
    for read in (where.read_bytes, lambda: where.open("rb"), lambda: list(where.iterdir())):
        if not where.exists():
            with pytest.raises(FileNotFoundError):
                read()
    if where.is_dir():
        facts += [sorted(entry.name for entry in where.iterdir())]
        facts += [sorted(str(entry.relative_to(root)) for entry in where.iterdir())]
    return facts


def agree(folder, local, seed, steps):
    """Do the same at random in both and ask the same."""
    draw = random.Random(seed)
    keys = ["a/b.json", "maps/x.parquet", "maps/y.parquet", "masks/d/e.png", "masks/d/f.png"]
    put(folder / "here", b"x")
    put(local / "here", b"x")
    for _ in range(steps):
        key = draw.choice(keys)
        if draw.random() < 0.7:
            content = draw.choice("abc").encode() * draw.randrange(1, 5000)
            put(folder / key, content)
            put(local / key, content)
        elif (local / key).exists():
            (folder / key).unlink()
            (local / key).unlink()
            if not any((local / key).parent.iterdir()):
                (local / key).parent.rmdir()  # a store has no empty folders
        for asked in (key, str(PurePosixPath(key).parent), "none"):
            assert answers(folder, asked) == answers(local, asked), asked


def test_the_answers_are_those_of_pathlib(folder, tmp_path):
    agree(folder, tmp_path, seed=0, steps=6)


@pytest.mark.parametrize("faults", [("busy", "broken"), ("cut", "lost")])
def test_they_are_the_same_when_every_tenth_request_fails(s3, folder, tmp_path, faults):
    before, failures = retries_so_far(), s3.failures
    s3.share, s3.faults = 0.1, faults
    agree(folder, tmp_path, seed=1, steps=5)
    retries, failures = retries_so_far() - before, s3.failures - failures
    assert failures > 10
    # aiohttp makes a request again by itself, once, where a connection that was kept open is closed.
    assert retries == failures if "busy" in faults else retries < failures


def test_a_second_opinion_of_what_is_there(s3, bucket, folder):
    put(folder / "a" / "b.png", b"one")
    put(folder / "report.html", b"two")
    assert s3.objects(bucket) == {"runs/one/a/b.png": b"one", "runs/one/report.html": b"two"}
    kinds = [s3.client().head_object(Bucket=bucket, Key=f"runs/one/{key}") for key in ("a/b.png", "report.html")]
    assert [kind["ContentType"] for kind in kinds] == ["image/png", "text/html"]


def test_what_another_process_writes_is_seen(s3, bucket, folder):
    assert not folder.exists()
    put(folder / "a", b"1")
    assert [entry.name for entry in folder.iterdir()] == ["a"]
    s3.client().put_object(Bucket=bucket, Key="runs/one/b", Body=b"2")
    assert [entry.name for entry in folder.iterdir()] == ["a", "b"]
    assert (folder / "b").exists()
    s3.client().put_object(Bucket=bucket, Key="runs/one/a", Body=b"three")
    assert (folder / "a").read_bytes() == b"three"
    s3.client().delete_object(Bucket=bucket, Key="runs/one/a")
    assert not (folder / "a").exists()
    assert [entry.name for entry in folder.iterdir()] == ["b"]


def test_more_entries_than_a_page_of_the_store(s3, bucket, folder, monkeypatch):
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "5")
    for number in range(17):
        s3.client().put_object(Bucket=bucket, Key=f"runs/one/{number:02}", Body=b"")
    requests = s3.requests
    assert [entry.name for entry in folder.iterdir()] == [f"{number:02}" for number in range(17)]
    assert s3.requests - requests >= 4


def test_a_large_object_goes_in_parts(s3, bucket, folder, tmp_path):
    size, requests = 101 * 2**20, s3.requests
    with (tmp_path / "large").open("wb") as file:
        file.seek(size - 1)
        file.write(b"x")
    (folder / "large").upload(tmp_path / "large")
    assert s3.requests - requests > 3
    assert s3.client().head_object(Bucket=bucket, Key="runs/one/large")["ContentLength"] == size


def test_what_each_method_costs(s3, folder, tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    requests = []
    for ask in (
        lambda: (folder / "a").upload(tmp_path / "a"),
        lambda: (folder / "a").read_bytes(),
        lambda: (folder / "a").exists(),
        lambda: (folder / "none").exists(),
        lambda: list(folder.iterdir()),
        lambda: (folder / "a").unlink(),
    ):
        before = s3.requests
        ask()
        requests.append(s3.requests - before)
    assert requests == [1, 1, 1, 2, 3, 1]


def test_places_are_values(s3, folder):
    other = pickle.loads(pickle.dumps(folder))
    assert other == folder
    assert len({other, folder, folder / "a", folder / "a"}) == 2
    assert sorted([folder / "b", folder / "a"]) == [folder / "a", folder / "b"]
    assert folder != str(folder)
    with pytest.raises(TypeError):
        os.fspath(folder)


def test_writing_is_not_opening(folder):
    with pytest.raises(ValueError) as caught:
        folder.open("wb")
    assert str(caught.value) == "objects are opened with mode rb and written by replacing(); got mode wb"


class TestProbe:
    def refusal(self, folder):
        with pytest.raises(RunError) as caught:
            probe(folder)
        return re.sub(rf"{re.escape(PROBE)}-[0-9a-f]{{8}}", "PROBE", str(caught.value))

    def test_leaves_nothing(self, s3, bucket, folder):
        probe(folder)
        assert s3.objects(bucket) == {}

    def test_no_bucket(self, s3):
        assert self.refusal(place("s3://no-such-bucket/run")) == (
            "there is no bucket no-such-bucket for s3://no-such-bucket/run/PROBE; create it, or correct the URL"
        )
        assert "no-such-bucket" not in [entry["Name"] for entry in s3.client().list_buckets()["Buckets"]]

    def test_wrong_key(self, unknown, folder, monkeypatch):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "stolen")
        before = retries_so_far()
        assert self.refusal(folder) == (
            f"{folder}/PROBE: the store denies it (on purpose); check the credentials, and that they may list, read "
            "and write there"
        )
        assert retries_so_far() == before

    def test_no_key(self, unknown, folder, monkeypatch, tmp_path):
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("HOME", str(tmp_path))
        assert self.refusal(folder) == (
            f"{folder}/PROBE: the store cannot be used (Unable to locate credentials); check the URL, the endpoint and "
            "the credentials"
        )

    def test_nobody_there(self, unknown, folder, monkeypatch):
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        before = retries_so_far()
        assert self.refusal(folder).startswith(
            f'{folder}/PROBE cannot be reached: Could not connect to the endpoint URL: "http://127.0.0.1:9/'
        )
        assert retries_so_far() - before == TRIES - 1

    def test_others_probe_at_the_same_time(self, s3, folder, monkeypatch):
        """Each has an object of its own, so that none deletes what another one looks for."""
        upload = RemotePath.upload

        def disturbed(path, source):
            upload(path, source)
            monkeypatch.setattr(RemotePath, "upload", upload)
            probe(folder)

        monkeypatch.setattr(RemotePath, "upload", disturbed)
        probe(folder)
        assert not folder.exists()

    @pytest.mark.parametrize("method", ["PUT", "GET", "DELETE"])
    def test_what_is_denied_is_found_out(self, s3, folder, method):
        s3.denied.add(method)
        with pytest.raises(RunError, match="the store denies it"):
            probe(folder)


def test_a_slow_store_only_takes_longer(s3, folder):
    s3.delay = 0.05
    started = time.monotonic()
    put(folder / "a", b"1")
    assert (folder / "a").read_bytes() == b"1"
    assert time.monotonic() - started > 0.1


def test_a_request_that_stalls_is_given_up_and_made_again(unknown, s3, folder, monkeypatch):
    monkeypatch.setattr(remote, "_READ_SECONDS", 0.15)
    s3.stalled, s3.stall = 0.3, 0.4
    before = retries_so_far()
    for number in range(4):
        put(folder / f"{number}", b"1")
        assert (folder / f"{number}").read_bytes() == b"1"
    assert retries_so_far() > before
