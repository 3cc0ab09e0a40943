"""The log of a run, `log.jsonl`: one JSON object a line, appended to by every session.

The file is opened anew for each line: the line outlives a kill, and a log that was moved away (logrotate) begins again.
Processes of one machine may share a log, since a line is one write in append mode. Network disks do not promise that;
there, one process writes.

Nothing can be appended to an object of a store. There, a session writes objects of a minute each, `log/..jsonl`, whose
names follow each other in time; a kill costs the last minute of the log.
"""

import json
import math
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, cast

from advcam.errors import RunError, one_line
from advcam.store.files import write_text
from advcam.store.places import Place
from advcam.store.remote import RemotePath
from advcam.store.run import JSON

LOG_FILE = "log.jsonl"
#: Seconds of a log that one object of a store holds.
OBJECT_SECONDS = 60.0


class RunLog:
    """Writes what happens to a run; never the reason that it ends.

    As a context manager it also logs how the block ended.

    Args:
        path: Of the log; its folder exists.

    Attributes:
        lost: Events that could not be written: a full disk, a folder that is gone. A line that was cut short stays in
            the file, and the next one begins on a fresh line.
    """

    def __init__(self, path: Place) -> None:
        self.lost = 0
        self._host = socket.gethostname()
        self._lock = threading.Lock()
        self._writer = _Objects(path) if isinstance(path, RemotePath) else _File(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.event("ended", **outcome(error))
        self.flush()

    def event(self, name: str, /, **facts: JSON) -> None:
        """Append a line: time (UTC), event, host, pid, and the facts.

        Args:
            name: Of the event, such as "shard done".
            facts: What belongs to it. Numbers that JSON cannot hold become text ("nan"); the four names that every
                line has stay as they are.
        """
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        always: dict[str, JSON] = {"time": now, "event": name, "host": self._host, "pid": os.getpid()}
        line = json.dumps(_writable(always | facts | always), ensure_ascii=False, default=str) + "\n"
        with self._lock:
            self.lost += self._writer.append(line.encode(errors="backslashreplace"))  # \udc80, as JSON writes it too

    def flush(self) -> None:
        """Write what waits to be written, which in a folder is nothing."""
        with self._lock:
            self.lost += self._writer.flush()


def outcome(error: BaseException | None) -> dict[str, JSON]:
    """How something ended: done, interrupted or failed, with the error."""
    if error is None:
        return {"outcome": "done"}
    how = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
    return {"outcome": how, "type": type(error).__name__, "reason": one_line(error)}


def read_log(path: Place) -> Iterator[dict[str, JSON]]:
    """The events of a log, oldest first; lines that a kill or a full disk cut short are left out.

    Raises:
        RunError: The log cannot be read.
    """
    try:
        for part in _objects(path).iterdir() if isinstance(path, RemotePath) else (path,):
            with part.open("rb") as file:
                yield from filter(None, map(_parsed, file))
    except OSError as error:
        reason = error.strerror or "nothing there"
        raise RunError(f"cannot read {path} ({reason}); the log of a run is RUN/{LOG_FILE}") from error


class _File:
    """A log in a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, line: bytes) -> int:
        """Write a line; how many were lost."""
        try:
            with self.path.open("a+b", buffering=0) as file:
                if not _on_a_fresh_line(cast(BinaryIO, file)):
                    line = b"\n" + line
                return int(file.write(line) != len(line))
        except OSError:
            return 1

    def flush(self) -> int:
        """Nothing waits."""
        return 0


class _Objects:
    """A log in a store."""

    def __init__(self, path: RemotePath) -> None:
        session = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        self.folder, self.session = _objects(path), f"{session}-{os.getpid()}"
        self.count, self.lines = 0, list[bytes]()
        self.written = time.monotonic()

    def append(self, line: bytes) -> int:
        """Keep a line; how many were lost, where it was time to write them."""
        self.lines.append(line)
        return self.flush() if time.monotonic() - self.written >= OBJECT_SECONDS else 0

    def flush(self) -> int:
        """Write what was kept; how many lines were lost."""
        lines, self.lines = self.lines, []
        self.written = time.monotonic()
        if not lines:
            return 0
        try:
            write_text(self.folder / f"{self.session}-{self.count:06d}.jsonl", b"".join(lines).decode())
        except RunError:
            return len(lines)
        self.count += 1
        return 0


def _objects(path: RemotePath) -> RemotePath:
    """Where the objects of a log lie."""
    return path.with_suffix("")


def _parsed(line: bytes) -> dict[str, JSON] | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None


def _on_a_fresh_line(file: BinaryIO) -> bool:
    """Whether the file is empty or ends with a line that is whole."""
    if file.seek(0, os.SEEK_END) == 0:
        return True
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"


def _writable(value: JSON) -> JSON:
    """The value with the floats that JSON lacks as text."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _writable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_writable(item) for item in value]
    return value
