"""What a path and a URL name."""

import subprocess
import sys
from pathlib import Path

import pytest

from advcam.errors import SettingError
from advcam.store import places
from advcam.store.places import local_place, place
from advcam.store.remote import RemotePath


def refusal(call, text):
    with pytest.raises(SettingError) as caught:
        call(text)
    return str(caught.value)


@pytest.mark.parametrize("text", ["run", "/a/b", "./a", "C:/run", "a:b/c", "s3/run", "-", "1s3://x"])
def test_paths(text):
    assert place(text) == place(Path(text)) == local_place(text) == Path(text)
    assert isinstance(place(text), Path)


@pytest.mark.parametrize("text", ["file:///a/b%20c", "FILE:///a/b%20c"])
def test_file_urls(text):
    assert place(text) == local_place(text) == Path("/a/b c")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://b/run", "s3://b/run"),
        ("S3://b/a//run/", "s3://b/a/run"),
        ("s3a://b", "s3a://b"),
        (Path("s3://b/r"), "s3://b/r"),
    ],
)
def test_urls_of_stores(text, expected):
    found = place(text)
    assert isinstance(found, RemotePath)
    assert str(found) == expected
    assert place(expected) == place(found) == found
    assert not isinstance(found, Path)


@pytest.mark.parametrize("text", ["ftp://host/run", "http://host/run", "memory://run", "s4://b/run"])
def test_unknown_schemes(text):
    assert refusal(place, text) == f"stores are named by s3://, gs:// or az://, folders by their path; got {text}"


@pytest.mark.parametrize(
    ("scheme", "package", "remedy"),
    [
        ("s3", "s3fs", "pip install 'advcam[s3]'"),
        ("gs", "gcsfs", "pip install gcsfs"),
        ("gcs", "gcsfs", "pip install gcsfs"),
        ("az", "adlfs", "pip install adlfs"),
        ("abfs", "adlfs", "pip install adlfs"),
    ],
)
def test_a_missing_package_is_named_with_its_remedy(monkeypatch, scheme, package, remedy):
    monkeypatch.setattr(places, "find_spec", lambda _: None)
    message = refusal(place, f"{scheme}://b/run")
    assert message == f"{scheme}:// needs the package {package}, which is not installed: {remedy}"


@pytest.mark.parametrize("text", ["s3://", "s3:///run", "s3://b/../c", "s3://b/./c", "s3://..", "s3:///"])
def test_urls_that_name_no_place(text):
    assert refusal(place, text) == f"a place in a store is s3://BUCKET/KEY, without . and ..; got {text}"


def test_credentials_are_no_part_of_a_url_and_are_not_repeated():
    message = refusal(place, "s3://user:hunter2@bucket/run")
    assert message == "credentials are no part of a URL (s3://BUCKET/KEY); set them in the environment"


@pytest.mark.parametrize("text", ["s3://b/run", "gs://b/run", "ftp://b/run"])
def test_what_needs_a_folder_refuses_urls(text):
    assert refusal(local_place, text) == (
        f"this command writes to a local or mounted folder; got {text} (a URL is for advcam localize and predict)"
    )


def test_no_package_of_a_store_is_imported_for_paths():
    code = "import sys; from advcam.store.places import place; place('run'); place('s3://b/k'); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"s3fs", "botocore", "gcsfs", "adlfs"} & set(done.stdout.split())
