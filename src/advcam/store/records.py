"""Records of a run in JSON lines, so that a killed one goes on: a line for each picture in each unit of work."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from advcam.errors import RunError, one_line
from advcam.store.places import Place
from advcam.store.remote import RemotePath
from advcam.untrusted import parse_json


class RecordFile:
    """What a run has found out so far, a line for each (unit of work, picture), appended and read back one by one.

    A line that a kill cut short is dropped. Only the places of the lines are held in memory.

    Args:
        path: The file; created unless it exists.

    Raises:
        RunError: The file cannot be opened, holds something else than such lines, or would lie in an object store,
            where nothing can be appended.
    """

    def __init__(self, path: Place) -> None:
        if isinstance(path, RemotePath):
            raise RunError(f"{path} is appended to, which an object store cannot do; choose a folder as --out")
        self.path = path
        self._places: dict[tuple[str, str, str], int] = {}
        try:
            self._file = path.open("a+b")
            self._index()
        except OSError as error:
            raise RunError(f"cannot open {path} ({error.strerror}); choose another --out") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def find(self, unit: str, picture: str, digest: str) -> dict[str, Any] | None:
        """What is known of a picture in one unit of work, None if nothing is, or of other inputs."""
        place = self._places.get((unit, picture, digest))
        if place is None:
            return None
        self._file.seek(place)
        content: dict[str, Any] = json.loads(self._file.readline())["content"]
        return content

    def add(self, unit: str, picture: str, digest: str, content: Mapping[str, Any]) -> dict[str, Any]:
        """Append a line and bring it to the disk; returns its content as `find` would.

        Raises:
            RunError: It cannot be written.
        """
        line = {"unit": unit, "picture": picture, "digest": digest, "content": content}
        text = json.dumps(line, separators=(",", ":"))
        place = self._file.seek(0, os.SEEK_END)
        try:
            self._file.write(text.encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(place)
            raise RunError(f"cannot write {self.path} ({error.strerror or one_line(error)}); make room") from error
        self._places[unit, picture, digest] = place
        written: dict[str, Any] = json.loads(text)["content"]
        return written

    def _index(self) -> None:
        self._file.seek(0)
        place = 0
        for line in self._file:
            if not line.endswith(b"\n"):
                self._file.truncate(place)
                break
            try:
                row = parse_json(line)
                if not isinstance(row["content"], dict):
                    raise TypeError("the content of a line is an object")
                self._places[row["unit"], row["picture"], row["digest"]] = place
            except (ValueError, KeyError, TypeError) as error:
                raise RunError(f"{self.path} is damaged; delete it, and what it held is computed again") from error
            place += len(line)
