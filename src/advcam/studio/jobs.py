"""Heavy work, one piece at a time: what else is asked for waits in a queue."""

import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from advcam.errors import AdvcamError, one_line
from advcam.studio.missing import MissingError

Kind: TypeAlias = Literal["climb", "export"]
State: TypeAlias = Literal["queued", "running", "done", "cancelled", "failed"]

#: Seconds after which a climb that nobody asks about is given up: its page was closed.
FORGOTTEN = 60.0
#: Jobs that may wait.
_WAITING = 20
#: Jobs that are remembered when they have ended.
_REMEMBERED = 200
#: Bytes of results that are kept; the oldest go first.
_MOST_BYTES = 128 * 2**20
_ENDED = ("done", "cancelled", "failed")


class CancelledError(Exception):
    """A job is to end; raised in its own thread, at its next step."""


class QueueFullError(AdvcamError):
    """More is waiting than anybody would wait for."""


@dataclass(eq=False)
class Job:
    """A piece of work. Its own thread counts its steps; others look at it.

    Args:
        kind: "climb" or "export".
        work: Does it. Hears of the job, and calls `step` often.
        size: Bytes of a result in memory.
        clock: Seconds that only grow.

    Attributes:
        id: For addresses.
        state: Where it stands.
        done: Steps that are done.
        total: Steps that there are; 0 while that is not known.
        detail: What happens, or went wrong, in words.
        result: What `work` returned; None before, and when it was dropped for others.
        asked: When somebody last asked about it.
    """

    kind: Kind
    work: Callable[["Job"], Any]
    size: Callable[[Any], int]
    clock: Callable[[], float]
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    state: State = "queued"
    done: int = 0
    total: int = 0
    detail: str = ""
    result: Any = None
    asked: float = 0.0
    _told: threading.Event = field(default_factory=threading.Event)

    def step(self, count: int = 1) -> None:
        """So many steps more are done.

        Raises:
            CancelledError: It is to end.
        """
        self.done += count
        self.check()

    def check(self) -> None:
        """Raise `CancelledError` where it is to end."""
        if self.is_forgotten:
            self.detail = "nobody asked about it any more"
            self._told.set()
        if self._told.is_set():
            raise CancelledError

    def cancel(self) -> None:
        """Let it end at its next step."""
        self._told.set()

    @property
    def is_forgotten(self) -> bool:
        """Whether it is a climb that nobody looks at; exports are files that somebody comes back for."""
        return self.kind == "climb" and self.clock() - self.asked > FORGOTTEN

    @property
    def has_ended(self) -> bool:
        """Whether nothing more comes of it."""
        return self.state in _ENDED


class Jobs:
    """A queue and the one thread that works it off.

    Args:
        clock: Seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._queue: deque[Job] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None

    def submit(self, kind: Kind, work: Callable[[Job], Any], size: Callable[[Any], int] = lambda _: 0) -> Job:
        """Put something into the queue.

        Args:
            kind: "climb" or "export".
            work: Does it; an `AdvcamError` of it becomes the words of the failed job.
            size: Bytes of its result in memory.

        Raises:
            QueueFullError: Too much is waiting.
        """
        with self._changed:
            self._forget()
            if len(self._queue) >= _WAITING or self._closed:
                raise QueueFullError(f"{len(self._queue)} jobs are waiting already; try again when some are done")
            job = Job(kind, work, size, self._clock, asked=self._clock())
            self._jobs[job.id] = job
            self._queue.append(job)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="advcam-job", daemon=True)
                self._thread.start()
            self._changed.notify_all()
        return job

    def get(self, id_: str) -> Job:
        """A job, which now counts as asked about.

        Raises:
            MissingError: There is none, or it ended long ago.
        """
        with self._changed:
            job = self._jobs.get(id_)
            if job is None:
                raise MissingError(f"there is no job {id_!r} here any more; begin it again")
            job.asked = self._clock()
            return job

    def position(self, job: Job) -> int:
        """How many come before it, the running one among them; 0 for one that runs or has ended."""
        with self._changed:
            if job not in self._queue:
                return 0
            return self._queue.index(job) + any(one.state == "running" for one in self._jobs.values())

    def cancel(self, job: Job) -> None:
        """End a job: at once while it waits, at its next step when it runs."""
        with self._changed:
            job.cancel()
            if job in self._queue:
                self._queue.remove(job)
                job.state = "cancelled"

    def close(self, seconds: float = 10.0) -> None:
        """End everything, and wait so many seconds for what runs."""
        with self._changed:
            self._closed = True
            for job in self._jobs.values():
                job.cancel()
            for job in self._queue:
                job.state = "cancelled"
            self._queue.clear()
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(seconds)

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._queue and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                job = self._queue.popleft()
                job.state = "running"
            self._carry_out(job)

    def _carry_out(self, job: Job) -> None:
        """Do one job; whatever it runs into ends it, never the thread."""
        ended: State = "done"
        try:
            job.check()
            job.result = job.work(job)
        except CancelledError:
            ended = "cancelled"
        except AdvcamError as error:
            ended, job.detail = "failed", one_line(error)
        except Exception as error:  # noqa: BLE001, the next job shall have its turn
            ended, job.detail = "failed", f"something went wrong ({type(error).__name__}: {one_line(error)})"
        with self._changed:
            job.state = ended
            self._forget()

    def _forget(self) -> None:
        """Drop the oldest of what has ended, results where they are too many bytes, jobs where they are too many."""
        ended = [job for job in self._jobs.values() if job.has_ended]
        for job in ended[: max(0, len(ended) - _REMEMBERED)]:
            del self._jobs[job.id]
        sizes = [(job, job.size(job.result)) for job in ended if job.result is not None]
        total = sum(size for _, size in sizes)
        for job, size in sizes[:-1]:
            if total <= _MOST_BYTES:
                return
            job.result, job.detail = None, "the result was dropped for later ones; do it again"
            total -= size
