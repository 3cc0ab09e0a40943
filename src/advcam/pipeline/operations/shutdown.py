"""Being told to end: SIGTERM from Slurm, Kubernetes, a spot machine or `kill`, treated as Ctrl-C is.

What a run has finished is on disk whatever happens. A clean end adds the work at hand, the lists and the report.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from signal import Signals
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Terminated(KeyboardInterrupt):
    """The process was asked to end by SIGTERM; whoever handles Ctrl-C handles it."""


@dataclass
class Ending:
    """Whether the process was asked to end.

    Args:
        signal: The first signal that asked, None before.
    """

    signal: Signals | None = None

    @property
    def exit_code(self) -> int | None:
        """What a shell expects of a process that a signal ended: 130 (SIGINT), 143 (SIGTERM); None without one."""
        return None if self.signal is None else 128 + self.signal


@contextmanager
def ends_cleanly() -> Iterator[Ending]:
    """While it lasts, the first SIGINT or SIGTERM raises KeyboardInterrupt or `Terminated` in the main thread.

    The same signal a second time ends the process at once, as the system does. One of each counts as one request:
    torchrun sends SIGTERM after the terminal's SIGINT. A signal that the process was started to ignore (a shell's
    background job) stays ignored. In forked processes and in other threads than the main one nothing is changed.

    Yields:
        Which signal came.
    """
    ending = Ending()
    if threading.current_thread() is not threading.main_thread():
        yield ending
        return

    before = {number: signal.getsignal(number) for number in _SIGNALS}
    process = os.getpid()

    def asked(number: int, frame: FrameType | None) -> None:
        if os.getpid() != process:
            signal.signal(number, before[Signals(number)])
            signal.raise_signal(number)
            return
        signal.signal(number, signal.SIG_DFL)
        if ending.signal is not None:
            return
        ending.signal = Signals(number)
        raise Terminated if number == signal.SIGTERM else KeyboardInterrupt

    with handlers_kept():
        for number, handler in before.items():
            if handler not in (None, signal.SIG_IGN):
                signal.signal(number, asked)
        yield ending


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Afterwards, SIGINT and SIGTERM are handled as before; for code that takes them to itself, as `ray.init` does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # None: it was not set from Python, and cannot be set again
                signal.signal(number, handler)
