"""A store on this machine for the tests of what lies in one."""

from collections.abc import Iterator
from itertools import count

import pytest
from fake_s3 import FAULTS, FakeS3

from advcam.store import remote, retries
from advcam.store.places import place
from advcam.store.remote import RemotePath

_numbers = count()


@pytest.fixture(autouse=True)
def no_store_was_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an earlier test gave up is not remembered."""
    monkeypatch.setattr(retries, "_given_up", None)


@pytest.fixture(scope="session")
def healthy_s3() -> Iterator[FakeS3]:
    with FakeS3() as store:
        yield store


@pytest.fixture
def s3(healthy_s3: FakeS3, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeS3]:
    """The store of this process, healthy until a test spoils it; waits between tries are short."""
    for name, value in healthy_s3.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(retries, "FIRST_WAIT", 0.002)
    yield healthy_s3
    healthy_s3.share, healthy_s3.delay, healthy_s3.stalled = 0.0, 0.0, 0.0
    healthy_s3.faults = FAULTS
    healthy_s3.denied.clear()


@pytest.fixture
def unknown(s3: FakeS3) -> Iterator[None]:
    """This process has not spoken with the store before, so that its environment counts anew."""
    remote._filesystem_of.cache_clear()
    yield
    remote._filesystem_of.cache_clear()


@pytest.fixture
def bucket(s3: FakeS3) -> str:
    """The name of an empty bucket."""
    name = f"bucket-{next(_numbers)}"
    s3.client().create_bucket(Bucket=name)
    return name


@pytest.fixture
def folder(bucket: str) -> RemotePath:
    """A place in it."""
    found = place(f"s3://{bucket}/runs/one")
    assert isinstance(found, RemotePath)
    return found
