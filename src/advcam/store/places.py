"""Where a run lies: a folder, or a URL of an object store.

Schemes and what they need: `s3` (Amazon S3 and all that speak its protocol: MinIO, Ceph, R2), `gs` (Google Cloud
Storage), `az` (Azure). Endpoint and credentials are those that the store's own tools read from the environment and
their files, never part of a URL.
"""

import re
from importlib.util import find_spec
from pathlib import Path
from typing import TypeAlias
from urllib.parse import unquote, urlsplit

from advcam.errors import SettingError
from advcam.store.remote import RemotePath

Place: TypeAlias = Path | RemotePath
"""A folder or file, here or in an object store; both have the same methods."""

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/{1,2}")  # pathlib makes one slash of two
_PACKAGE = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}
_INSTALL = {"s3fs": "pip install 'advcam[s3]'", "gcsfs": "pip install gcsfs", "adlfs": "pip install adlfs"}


def place(text: str | Place) -> Place:
    """The place that a path or a URL names; asks nobody whether it is there.

    Args:
        text: A path, a URL file://.., or a URL of an object store such as s3://bucket/run.

    Raises:
        SettingError: The scheme is unknown or its package is missing, or the URL names no bucket.
    """
    if isinstance(text, RemotePath):
        return text
    scheme = scheme_of(text)
    if scheme is None:
        return Path(text)
    if scheme == "file":
        return Path(unquote(urlsplit(str(text)).path))
    if scheme not in _PACKAGE:
        raise SettingError(f"stores are named by s3://, gs:// or az://, folders by their path; got {text}")
    if find_spec(_PACKAGE[scheme]) is None:
        package = _PACKAGE[scheme]
        raise SettingError(f"{scheme}:// needs the package {package}, which is not installed: {_INSTALL[package]}")
    key = str(text).partition(":")[2].strip("/")
    if not key or str(text).partition("://")[2].startswith("/") or {".", ".."} & set(key.split("/")):
        raise SettingError(f"a place in a store is {scheme}://BUCKET/KEY, without . and ..; got {text}")
    if "@" in key.split("/")[0]:
        raise SettingError(f"credentials are no part of a URL ({scheme}://BUCKET/KEY); set them in the environment")
    return RemotePath(scheme, key)


def local_place(text: str | Path) -> Path:
    """The folder or file that a path names, for what cannot work in a store.

    Raises:
        SettingError: It is a URL of something else.
    """
    if scheme_of(text) in (None, "file"):
        found = place(text)
        if isinstance(found, Path):
            return found
    raise SettingError(
        f"this command writes to a local or mounted folder; got {text} (a URL is for advcam localize and predict)"
    )


def scheme_of(text: str | Path) -> str | None:
    """The scheme of a URL in lower case, None of a path."""
    found = _URL.match(str(text))
    return found[1].lower() if found else None
