"""Work that the processes of a launch share: whose turn it is, all results in order, and a word when one is lost."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, zip_longest
from typing import TypeVar

import torch.distributed
from accelerate.state import PartialState  # type: ignore[import-untyped]
from accelerate.utils import gather_object  # type: ignore[import-untyped]
from torch import nn

from advcam.errors import RunError, one_line

T = TypeVar("T")
_MISSING = object()


def turns(count: int) -> range:
    """Which of so many pieces of work this process does: they are dealt out in turn."""
    state = PartialState()
    return range(state.process_index, count, state.num_processes)


def own_batches(count: int, batch_size: int) -> list[list[int]]:
    """Numbers of the pictures in this process's batches, of all in their order.

    The batches are those of one process, as what a network answers depends, in the last bits, on what it sees at once.

    Args:
        count: Of the pictures.
        batch_size: Pictures a batch.
    """
    batches = [list(range(first, min(first + batch_size, count))) for first in range(0, count, batch_size)]
    return [batches[turn] for turn in turns(len(batches))]


def in_turn(results: Sequence[T]) -> list[T]:
    """The results of all processes in the order of the pieces, in every process; all must call it.

    Args:
        results: One for each of this process's `turns`.
    """
    dealt: list[list[T]] = gather_object([list(results)])
    rounds = zip_longest(*dealt, fillvalue=_MISSING)
    return [result for result in chain.from_iterable(rounds) if result is not _MISSING]  # type: ignore[misc]


def share_buffers(model: nn.Module) -> None:
    """Give all processes the buffers of the main one.

    Gradients keep parameters the same. Statistics of batch normalisations that are not frozen are each process's own
    after a step; those of the main process are what is kept, so all are measured with them.
    """
    if PartialState().num_processes > 1:
        for buffer in model.buffers():
            torch.distributed.broadcast(buffer, src=0)


@contextmanager
def peers() -> Iterator[None]:
    """Say what it means that another process of the launch is gone.

    Raises:
        RunError: In the middle of an exchange the other side closed, or did not come.
    """
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.distributed.DistError) and "gloo" not in str(error):
            raise
        raise RunError(
            f"another process of this launch ended or cannot be reached ({one_line(error)}); its own message says why; "
            "the same command goes on from the last state, with any number of processes"
        ) from error
