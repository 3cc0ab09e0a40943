"""How a run fares, in numbers: `metrics.json`, and the same in `metrics.prom` for Prometheus.

Both are written every ten seconds at most, and when the session ends. The numbers are of one session and begin at zero
with each, as counters of Prometheus may. `metrics.prom` is in its text format 0.0.4, for the textfile collector of
node_exporter; the label `run` tells the runs of a machine apart.
"""

import json
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TypeAlias, get_args

from advcam.errors import RunError
from advcam.pipeline.flow import queue_depths
from advcam.store.files import write_text
from advcam.store.places import Place
from advcam.store.retries import retries_so_far

METRICS_FILE, PROMETHEUS_FILE = "metrics.json", "metrics.prom"
#: Seconds between two writes.
PERIOD = 10.0
_MINUTE = 60

Counter: TypeAlias = Literal["pictures", "pictures_skipped", "shards", "shard_retries", "shard_failures"]
"""What only grows."""
Gauge: TypeAlias = Literal["pictures_planned", "pictures_already_done", "shards_waiting", "workers"]
"""What goes up and down."""

#: What each number means; the order of both files.
MEANING = {
    "running": "1 while the session lasts, 0 when it has ended; a killed one leaves 1.",
    "start_time_seconds": "Start of the session, seconds since 1970.",
    "update_time_seconds": "When these numbers were written, seconds since 1970.",
    "pictures_planned": "Pictures of the run.",
    "pictures_already_done": "Pictures that earlier sessions finished.",
    "pictures": "Pictures finished in this session.",
    "pictures_skipped": "Pictures left out in this session.",
    "pictures_per_second": "Pictures finished a second since the start of the session.",
    "pictures_per_second_last_minute": "Pictures finished a second in the last 60 seconds.",
    "pictures_read_ahead": "Pictures that this process has read or is reading before their turn.",
    "results_waiting": "Results that this process has still to write.",
    "shards": "Shards finished in this session.",
    "shards_waiting": "Shards that the engine has taken and not brought back.",
    "shard_retries": "Shards done again because a worker died over them.",
    "shard_failures": "Shards that could not be kept, such as on a full disk.",
    "workers": "Workers that finished a shard in the last 10 minutes.",
    "store_retries": "Requests to an object store that this process had to repeat.",
    "resident_memory_bytes": "Memory of this process.",
    "resident_memory_peak_bytes": "Most memory that this process has had.",
}


class Metrics:
    """Counters and gauges of one session, safe to feed from any thread; never the reason that a run ends.

    As a context manager it writes at the end, with `running` 0.

    Args:
        folder: The run directory; in an object store the files are objects.
        clock: Seconds that only grow.

    Attributes:
        lost: Writes that failed, such as on a full disk; the next one tries again.
    """

    def __init__(self, folder: Place, clock: Callable[[], float] = time.monotonic) -> None:
        self.folder, self.lost = folder, 0
        self._clock, self._began, self._start = clock, clock(), time.time()
        self._values: dict[str, int] = dict.fromkeys((*get_args(Counter), *get_args(Gauge)), 0)
        self._seconds: deque[tuple[int, int]] = deque([(-1, 0)])  # second of the session, pictures at its end
        self._lock, self._writing = threading.Lock(), threading.Lock()
        self._written: float | None = None
        self._running = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running = False
        self._write()

    def count(self, name: Counter, by: int = 1) -> None:
        """Add to a counter."""
        with self._lock:
            self._values[name] += by
            if name == "pictures":
                self._note(int(self._clock() - self._began))

    def gauge(self, name: Gauge, value: int) -> None:
        """Set a gauge."""
        with self._lock:
            self._values[name] = value

    def values(self) -> dict[str, int | float | None]:
        """Every number by its name in `MEANING`; None what this system does not say."""
        with self._lock:
            elapsed = self._clock() - self._began
            resident, peak = _memory()
            known = self._values | {
                "running": int(self._running),
                "start_time_seconds": round(self._start, 3),
                "update_time_seconds": round(time.time(), 3),
                "store_retries": retries_so_far(),
                **queue_depths(),
                "pictures_per_second": _rate(self._values["pictures"], elapsed),
                "pictures_per_second_last_minute": self._last_minute(elapsed),
                "resident_memory_bytes": resident,
                "resident_memory_peak_bytes": peak,
            }
        return {name: known[name] for name in MEANING}

    def write_if_due(self) -> None:
        """Write both files, unless that was less than `PERIOD` seconds ago."""
        if self._written is None or self._clock() - self._written >= PERIOD:
            self._write()

    def _write(self) -> None:
        with self._writing:
            self._written = self._clock()
            values = self.values()
            try:
                write_text(self.folder / METRICS_FILE, json.dumps(values, indent=1) + "\n")
                write_text(self.folder / PROMETHEUS_FILE, prometheus_text(values, self.folder.resolve().as_posix()))
            except RunError:
                self.lost += 1

    def _note(self, second: int) -> None:
        """Keep how many pictures there are at the end of a second, for the seconds that a rate looks back to."""
        if self._seconds[-1][0] == second:
            self._seconds.pop()
        self._seconds.append((second, self._values["pictures"]))
        while len(self._seconds) > 1 and self._seconds[1][0] < second - _MINUTE:
            self._seconds.popleft()

    def _last_minute(self, elapsed: float) -> float:
        before = max((mark for mark in self._seconds if mark[0] < elapsed - _MINUTE), default=(-1, 0))
        return _rate(self._values["pictures"] - before[1], min(elapsed, _MINUTE))


def prometheus_text(values: Mapping[str, float | None], run: str) -> str:
    """Numbers in the text format 0.0.4 of Prometheus, each with its meaning and type.

    Args:
        values: By name in `MEANING`; None is left out.
        run: Value of the label `run`.
    """
    label = run.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    lines = []
    for name, value in values.items():
        if value is None:
            continue
        counts = name in (*get_args(Counter), "store_retries")
        metric = f"advcam_{name}_total" if counts else f"advcam_{name}"
        lines.append(f"# HELP {metric} {MEANING[name]}")
        lines.append(f"# TYPE {metric} {'counter' if counts else 'gauge'}")
        lines.append(f'{metric}{{run="{label}"}} {value!r}')
    return "\n".join(lines) + "\n"


def _rate(count: int, seconds: float) -> float:
    """Count by second, in four digits."""
    return float(f"{count / seconds:.4g}") if seconds > 0 else 0.0


def _memory() -> tuple[int | None, int | None]:
    """Resident memory of this process and its peak in bytes; None where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        fields = dict(line.split(":", 1) for line in lines if ":" in line)
        return 1024 * int(fields["VmRSS"].split()[0]), 1024 * int(fields["VmHWM"].split()[0])
    except (OSError, KeyError):
        pass
    if sys.platform == "win32":
        return None, None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return None, peak if sys.platform == "darwin" else 1024 * peak  # kilobytes but on macOS
