"""The log of a run, `log.jsonl`: one JSON object a line, appended to by every session.

The file is opened anew for each line: the line outlives a kill, and a log that was moved away (logrotate) begins again.
Processes of one machine may share a log, since a line is one write in append mode. Network disks do not promise that;
there, one process writes.
"""

import json
import math
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, cast

from advcam.errors import RunError, one_line
from advcam.store.run import JSON

LOG_FILE = "log.jsonl"


class RunLog:
    """Writes what happens to a run; never the reason that it ends.

    As a context manager it also logs the error that ends the block, an interrupt included.

    Args:
        path: Of the file; its folder exists.

    Attributes:
        lost: Events that could not be written: a full disk, a folder that is gone. A line that was cut short stays in
            the file, and the next one begins on a fresh line.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lost = 0
        self._host = socket.gethostname()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and error is not None:
            self.event("error", type=kind.__name__, reason=one_line(error))

    def event(self, name: str, /, **facts: JSON) -> None:
        """Append a line: time (UTC), event, host, pid, and the facts.

        Args:
            name: Of the event, such as "shard done".
            facts: What belongs to it. Numbers that JSON cannot hold become text ("nan"); the four names that every
                line has stay as they are.
        """
        time = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        always: dict[str, JSON] = {"time": time, "event": name, "host": self._host, "pid": os.getpid()}
        line = json.dumps(_writable(always | facts | always), ensure_ascii=False, default=str) + "\n"
        with self._lock:
            if not self._append(line.encode(errors="backslashreplace")):  # \udc80, as JSON writes it too
                self.lost += 1

    def _append(self, line: bytes) -> bool:
        """Whether the whole line is in the file."""
        try:
            with self.path.open("a+b", buffering=0) as file:
                if not _on_a_fresh_line(cast(BinaryIO, file)):
                    line = b"\n" + line
                return file.write(line) == len(line)
        except OSError:
            return False


def read_log(path: Path) -> Iterator[dict[str, JSON]]:
    """The events of a log, oldest first; lines that a kill or a full disk cut short are left out.

    Raises:
        RunError: The file cannot be read.
    """
    try:
        with path.open("rb") as file:
            for line in file:
                event = _parsed(line)
                if event is not None:
                    yield event
    except OSError as error:
        raise RunError(f"cannot read {path} ({error.strerror}); the log of a run is RUN/{LOG_FILE}") from error


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
