"""An interrupt (Ctrl-C, SIGTERM) waits for the end of a step, so that the state is whole when the training leaves."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """What came while interrupts are held.

    Args:
        before: What each signal did until now.
    """

    def __init__(self, before: dict[signal.Signals, Any]) -> None:
        self._before, self._came = before, list[signal.Signals]()

    @property
    def asked(self) -> bool:
        """Whether this process was asked to leave."""
        return bool(self._came)

    def note(self, number: int, _frame: FrameType | None) -> None:
        """Keep a signal for later; the same one again acts at once."""
        # Not another one: after a terminal's SIGINT torchrun sends SIGTERM.
        self._came.append(signal.Signals(number))
        signal.signal(number, self._before[signal.Signals(number)])

    def release(self) -> None:
        """Let signals do what they did."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def deliver(self) -> None:
        """Let the signals that came do what they would have done."""
        for number in self._came:
            signal.raise_signal(number)


@contextmanager
def held_interrupts() -> Iterator[Interrupts]:
    """While it lasts, the first Ctrl-C or SIGTERM is noted, and acts at the end; the same a second time acts at once.

    Where the block ends by an error, that error is what is told. Other threads than the main one hear no signals, and
    what is ignored stays so.
    """
    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        found = {number: signal.getsignal(number) for number in _SIGNALS}
        before = {number: handler for number, handler in found.items() if handler not in (None, signal.SIG_IGN)}
    interrupts = Interrupts(before)
    for number in before:
        signal.signal(number, interrupts.note)
    try:
        yield interrupts
    finally:
        interrupts.release()
    interrupts.deliver()


def ignore_interrupts(_worker: int) -> None:
    """For a process that reads pictures: a terminal and torchrun interrupt it too, and its batch is still awaited."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
