"""A chain that `torchrun` or `accelerate launch` started in several processes: one works, all train.

The main process carries out the stages. The others wait, and take part in those that train a network; they write
nothing and say nothing.
"""

import os
from collections.abc import Sequence
from datetime import timedelta

from accelerate.state import PartialState  # type: ignore[import-untyped]
from accelerate.utils import broadcast_object_list  # type: ignore[import-untyped]

from advcam.pipeline.chain.stage import Stage, State

#: While the main process does what it does alone, the others wait; by default a group gives up after minutes.
_PATIENCE = timedelta(days=30)


class Processes:
    """The processes of a launch; without one, this process alone.

    Args:
        device: Of the chain; the processes talk as its networks will.
    """

    def __init__(self, device: str) -> None:
        self.launched = int(os.environ.get("WORLD_SIZE", "1")) > 1
        if self.launched:
            PartialState(cpu=device == "cpu", timeout=_PATIENCE)

    @property
    def main(self) -> bool:
        """Whether this process carries out the stages."""
        return not self.launched or bool(PartialState().is_main_process)

    def announce(self, work: bool) -> None:
        """Tell the others whether the stage that comes next in their list is worked at."""
        if self.launched:
            broadcast_object_list([work])

    def follow(self, stages: Sequence[Stage]) -> None:
        """Take part in the stages that train, as the main process announces them."""
        for stage in stages:
            announced: list[bool | None] = [None]
            if broadcast_object_list(announced)[0] and stage.trains:
                stage.work(_Silent())


class _Silent:
    """A watcher that says nothing."""

    def stage(self, name: str, state: State) -> None:
        """Nothing."""

    def say(self, words: str) -> None:
        """Nothing."""

    def start(self, words: str, total: int) -> None:
        """Nothing."""

    def step(self) -> None:
        """Nothing."""
