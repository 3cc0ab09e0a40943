"""A chain that `torchrun` or `accelerate launch` started in several processes: one works, all train.

The main process carries out the stages. The others wait, and take part in those that train a network; they write
nothing and say nothing. What the main process does alone may take days, so nobody waits for it in an exchange of the
group, which ends after minutes: the others look at the launch's store for its next word. As long as it lives it leaves
a sign of life there; one that is silent is given up.
"""

import os
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import cache

from accelerate.state import PartialState  # type: ignore[import-untyped]
from torch.distributed import DistError, PrefixStore, Store, TCPStore  # type: ignore[attr-defined]

from advcam.errors import RunError, one_line
from advcam.pipeline.chain.stage import Stage, State

#: For an exchange within a training: the slowest process reads its pictures, the main one writes a state.
_EXCHANGE = timedelta(minutes=30)
#: Seconds between two signs of life, and between two looks for them.
_BEAT, _LOOK = 10.0, 0.2
#: Seconds without a sign of life after which the main process counts as dead.
_SILENCE = 300.0
#: Seconds that the main process waits at the end for others that have not heard its last word yet.
_FAREWELL = 60.0


class Processes:
    """The processes of a launch; without one, this process alone.

    Args:
        device: Of the chain; the processes talk as its networks will.
    """

    def __init__(self, device: str) -> None:
        self.launched = _launched()
        if self.launched:
            PartialState(cpu=device == "cpu", timeout=_EXCHANGE)
            _board()

    @property
    def main(self) -> bool:
        """Whether this process carries out the stages."""
        return not self.launched or bool(PartialState().is_main_process)

    def announce(self, work: bool) -> None:
        """Tell the others whether the stage that comes next in their list is worked at."""
        if self.launched:
            _board().tell(str(work))

    def follow(self, stages: Sequence[Stage]) -> None:
        """Take part in the stages that train, as the main process announces them.

        Raises:
            RunError: The main process is gone.
        """
        for stage in stages:
            if _board().hear() == str(True) and stage.trains:
                stage.work(_Silent())

    def part(self) -> None:
        """All is done. The main process leaves last, as the store may be its own; it waits for a minute at most."""
        if self.launched:
            _board().part(PartialState().num_processes if self.main else 0)


def by_main(work: Callable[[], None]) -> None:
    """What the main process does alone within a stage that trains; the others wait for as long as it lives.

    Raises:
        RunError: In the others: the main process is gone.
    """
    if not _launched():
        work()
    elif PartialState().is_main_process:
        work()
        _board().tell("done")
    else:
        _board().hear()


class _Board:
    """Words of the main process in the store of the launch, in their order, and its signs of life."""

    def __init__(self) -> None:
        # Of this try: torchrun may start all processes again, on the same store.
        self._prefix = f"advcam/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
        self._store, self._words = self._connected(), 0
        if PartialState().is_main_process:
            threading.Thread(target=self._live, args=(self._connected(),), daemon=True).start()

    def tell(self, word: str) -> None:
        """Put up the next word."""
        self._words += 1
        self._store.set(f"word{self._words}", word)

    def hear(self) -> str:
        """The next word, whenever it comes.

        Raises:
            RunError: The main process, or the store, is gone.
        """
        self._words += 1
        key, beats, heard = f"word{self._words}", -1, time.monotonic()
        try:
            while not self._store.check([key]):
                now = self._store.add("beats", 0)
                if now != beats:
                    beats, heard = now, time.monotonic()
                elif time.monotonic() - heard > _SILENCE:
                    raise RunError(f"the main process gave no sign of life for {_SILENCE:.0f} s; {_GONE}")
                time.sleep(_LOOK)
            return self._store.get(key).decode()
        except DistError as error:
            raise RunError(f"the main process of this launch is gone ({one_line(error)}); {_GONE}") from error

    def part(self, processes: int) -> None:
        """Say that this process needs no further word, and wait until so many have said it."""
        until, left = time.monotonic() + _FAREWELL, self._store.add("left", 1)
        while left < processes and time.monotonic() < until:
            time.sleep(_LOOK)
            left = self._store.add("left", 0)

    def _live(self, store: Store) -> None:
        """A sign of life every few seconds until the process ends."""
        while True:
            try:
                store.add("beats", 1)
            except DistError:  # the store is gone, and with it who would look
                return
            time.sleep(_BEAT)

    def _connected(self) -> Store:
        """A connection of its own to the store by which the processes found each other."""
        host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = TCPStore(host, port, is_master=False, wait_for_workers=False)
        return PrefixStore(self._prefix, store)


_GONE = "its own message says why, and the same command goes on"


def _launched() -> bool:
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


@cache
def _board() -> _Board:
    return _Board()


class _Silent:
    """A watcher that says nothing."""

    def stage(self, name: str, state: State) -> None:
        """Nothing."""

    def say(self, words: str) -> None:
        """Nothing."""

    def skipped(self, name: str, reason: str) -> None:
        """Nothing."""

    def start(self, words: str, total: int) -> None:
        """Nothing."""

    def step(self) -> None:
        """Nothing."""
