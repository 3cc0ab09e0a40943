"""The log of a chain: a line for its start, each stage and its end. The stages of maps keep logs of their own."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import advcam
from advcam.pipeline.chain.stage import Stage, State, Watcher
from advcam.pipeline.operations.log import LOG_FILE, RunLog


@contextmanager
def logged(out: Path, stages: Sequence[Stage], watcher: Watcher) -> Iterator[Watcher]:
    """While it lasts, what happens to a chain is logged.

    Args:
        out: The run directory.
        stages: That are to be carried out.
        watcher: Hears of everything.

    Yields:
        The watcher, with the log beside it.
    """
    with RunLog(out / LOG_FILE) as log:
        log.event("started", command="run", version=advcam.__version__, stages=[stage.name for stage in stages])
        yield _Logging(watcher, log)


class _Logging:
    """Hands on what it hears, and logs the stages."""

    def __init__(self, watcher: Watcher, log: RunLog) -> None:
        self.watcher, self.log = watcher, log

    def stage(self, name: str, state: State) -> None:
        """Logged."""
        self.log.event("stage", stage=name, state=state)
        self.watcher.stage(name, state)

    def say(self, words: str) -> None:
        """Handed on."""
        self.watcher.say(words)

    def skipped(self, name: str, reason: str) -> None:
        """Handed on."""
        self.watcher.skipped(name, reason)

    def start(self, words: str, total: int) -> None:
        """Handed on."""
        self.watcher.start(words, total)

    def step(self) -> None:
        """Handed on."""
        self.watcher.step()
