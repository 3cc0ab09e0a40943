"""A place in an object store, with the part of `pathlib.Path` that a run needs, each request retried.

Object stores keep bytes under keys: a folder is there while something is below it, an object is shown whole or not at
all, and what was written is seen by the next request (S3 since 2020, Google Cloud Storage, Azure). Every method is one
or two requests of fsspec; listings are never cached, since other processes write, too.
"""

import io
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Self, TypeVar

import fsspec  # type: ignore[import-untyped]

from advcam.errors import RunError, one_line
from advcam.store.retries import retried

Result = TypeVar("Result")

_CONNECT_SECONDS, _READ_SECONDS = 5, 15  # a try that gets no answer ends after so long
PROBE = ".probe"
"""How the name of an object begins by which `probe` finds out what is allowed; each probe has its own."""


class RemotePath:
    """A place in an object store.

    It is no `os.PathLike`: what can only open local files refuses it, and makes no folder called "s3:".

    Args:
        scheme: Of the URL, such as s3.
        key: Bucket and key, `bucket/runs/one`.
    """

    __slots__ = ("_key", "scheme")

    def __init__(self, scheme: str, key: str | PurePosixPath) -> None:
        self.scheme, self._key = scheme, PurePosixPath(key)

    def __str__(self) -> str:
        return f"{self.scheme}://{self._key}"

    def __repr__(self) -> str:
        return f"RemotePath({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemotePath) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __lt__(self, other: Self) -> bool:
        return str(self) < str(other)

    def __truediv__(self, key: str | PurePosixPath) -> Self:
        return type(self)(self.scheme, self._key / key)

    @property
    def name(self) -> str:
        """The last part of the key."""
        return self._key.name

    @property
    def stem(self) -> str:
        """The name without its extension."""
        return self._key.stem

    @property
    def suffix(self) -> str:
        """The extension of the name, with its dot."""
        return self._key.suffix

    @property
    def parent(self) -> Self:
        """The folder that it lies in."""
        return type(self)(self.scheme, self._key.parent)

    @property
    def bucket(self) -> str:
        """The first part of the key."""
        return self._key.parts[0]

    def with_name(self, name: str) -> Self:
        """A place beside it."""
        return type(self)(self.scheme, self._key.with_name(name))

    def with_suffix(self, suffix: str) -> Self:
        """The place with another extension."""
        return type(self)(self.scheme, self._key.with_suffix(suffix))

    def relative_to(self, folder: Self) -> PurePosixPath:
        """Its key below a folder.

        Raises:
            ValueError: It is not below.
        """
        return self._key.relative_to(folder._key)

    def as_posix(self) -> str:
        """The URL."""
        return str(self)

    def resolve(self) -> Self:
        """Itself: there are no links."""
        return self

    def exists(self) -> bool:
        """Whether there is an object, or something below it.

        Raises:
            RunError: The store cannot be reached, or denies it; this holds for all methods below.
        """
        return self._info() is not None

    def is_file(self) -> bool:
        """Whether there is an object."""
        info = self._info()
        return info is not None and info["type"] == "file"

    def is_dir(self) -> bool:
        """Whether something is below it."""
        info = self._info()
        return info is not None and info["type"] == "directory"

    def mkdir(self, parents: bool = True, exist_ok: bool = True) -> None:
        """Nothing: folders are there as soon as something is below them."""

    def iterdir(self) -> Iterator[Self]:
        """What lies directly below, in the order of the names.

        Raises:
            FileNotFoundError: Nothing does.
        """
        own = str(self._key)
        if not self.is_dir():  # s3fs looks through the parent otherwise, however much lies there
            raise FileNotFoundError(str(self))
        keys = self._ask(lambda: _filesystem(self.scheme).ls(own, detail=False, refresh=True))
        names = {PurePosixPath(key).name for key in keys if key.strip("/") != own}
        return iter([self / name for name in sorted(names)])

    def open(self, mode: str = "rb") -> BinaryIO:
        """Its bytes as a file in memory.

        Raises:
            FileNotFoundError: There is no object.
            ValueError: It is to be opened for writing, which `store.files.replacing` does.
        """
        if mode != "rb":
            raise ValueError(f"objects are opened with mode rb and written by replacing(); got mode {mode}")
        return io.BytesIO(self.read_bytes())

    def read_bytes(self) -> bytes:
        """Its bytes.

        Raises:
            FileNotFoundError: There is no object.
        """
        content: bytes = self._ask(lambda: _filesystem(self.scheme).cat_file(str(self._key)))
        return content

    def read_text(self, encoding: str = "utf-8") -> str:
        """Its text.

        Raises:
            FileNotFoundError: There is no object.
            UnicodeDecodeError: It is no text.
        """
        return self.read_bytes().decode(encoding)

    def upload(self, source: Path) -> None:
        """Put the content of a local file here, in place of what is here; it appears whole or not at all."""
        try:
            self._ask(lambda: _filesystem(self.scheme).put_file(str(source), str(self._key)))
        except FileNotFoundError as error:
            raise RunError(f"there is no bucket {self.bucket} for {self}; create it, or correct the URL") from error

    def unlink(self, missing_ok: bool = True) -> None:
        """Delete the object; where there is none, nothing happens."""
        try:
            self._ask(lambda: _filesystem(self.scheme).rm_file(str(self._key)))
        except FileNotFoundError:
            if not missing_ok:
                raise

    def _info(self) -> dict[str, Any] | None:
        try:
            info: dict[str, Any] = self._ask(lambda: _filesystem(self.scheme).info(str(self._key), refresh=True))
        except FileNotFoundError:
            return None
        return info

    def _ask(self, request: Callable[[], Result]) -> Result:
        """The result of a request; of the errors that stay, only `FileNotFoundError` passes through as it is."""
        try:
            return retried(request, self)
        except (FileNotFoundError, RunError):
            raise
        except PermissionError as error:
            raise RunError(
                f"{self}: the store denies it ({one_line(error)}); check the credentials, and that they may list, read "
                "and write there"
            ) from error
        except Exception as error:
            raise RunError(
                f"{self}: the store cannot be used ({one_line(error)}); check the URL, the endpoint and the credentials"
            ) from error


def probe(folder: RemotePath) -> None:
    """Find out whether one may list, write, read and delete in a folder, before hours of work depend on it.

    Raises:
        RunError: One of them is not possible.
    """
    trial = folder / f"{PROBE}-{secrets.token_hex(4)}"
    with tempfile.TemporaryDirectory(prefix="advcam-") as here:
        content = Path(here, trial.name)
        content.write_bytes(b"advcam")
        trial.upload(content)
    try:
        names = [entry.name for entry in folder.iterdir()]
        if trial.read_bytes() != b"advcam" or trial.name not in names:
            raise FileNotFoundError
    except FileNotFoundError as error:
        raise RunError(f"{folder}: the store does not show what was just written; a run needs one that does") from error
    trial.unlink()


@lru_cache
def _filesystem_of(scheme: str, process: int) -> Any:  # noqa: ANN401, fsspec has no types
    """One for all threads of a process; a forked one needs its own."""
    if scheme in ("s3", "s3a"):
        limits = {"connect_timeout": _CONNECT_SECONDS, "read_timeout": _READ_SECONDS}
        config = {**limits, "retries": {"total_max_attempts": 1}}
        # An object is read by one request, and a large one sent part by part, with memory for one part of 50 MB.
        own = {"max_concurrency": 1, "config_kwargs": config}
        filesystem = fsspec.filesystem("s3", skip_instance_cache=True, use_listings_cache=False, **own)
        filesystem.retries = 1  # the library's own come on top of botocore's otherwise
        return filesystem
    return fsspec.filesystem(scheme, skip_instance_cache=True, use_listings_cache=False)


def _filesystem(scheme: str) -> Any:  # noqa: ANN401, fsspec has no types
    return _filesystem_of(scheme, os.getpid())
