"""Batches of a data set, read by this process or by workers, with errors that say what to do."""

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

import torch
from accelerate.utils import send_to_device  # type: ignore[import-untyped]
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from advcam.errors import AdvcamError, RunError, one_line
from advcam.training.interrupts import ignore_interrupts
from advcam.training.order import Part


@runtime_checkable
class Augmented(Protocol):
    """A data set whose pictures change from epoch to epoch, by the seed, the epoch and their number alone."""

    def set_epoch(self, epoch: int) -> None:
        """Told before each epoch, counted from 0."""
        ...


def load_parts(
    dataset: Dataset[dict[str, Tensor]], parts: Sequence[Part], workers: int | None, device: torch.device
) -> Iterator[dict[str, Tensor]]:
    """The examples of each part, stacked, on a device.

    Args:
        dataset: Map-style.
        parts: Which examples, in turn.
        workers: Processes that read; None: none for a CPU, up to 8 for a GPU.
        device: Where the network is.

    Raises:
        AdvcamError: Of the data set, with its own message, whichever process met it.
        RunError: A worker process died.
    """
    if workers is None:
        workers = 0 if device.type == "cpu" else min(8, torch.get_num_threads())
    loader = DataLoader(
        dataset,
        batch_sampler=[list(part.indices) for part in parts],
        num_workers=workers,
        worker_init_fn=ignore_interrupts,
        pin_memory=device.type == "cuda",
        generator=torch.Generator(),  # its own, so that the global one is not touched
    )
    try:
        for batch in loader:
            yield send_to_device(batch, device, non_blocking=True)
    except AdvcamError as error:
        # PyTorch puts the whole trace of a worker into the message; what was said stands in its last line.
        last = str(error).strip().splitlines()[-1]
        raise type(error)(last.removeprefix(f"{type(error).__module__}.{type(error).__qualname__}: ")) from error
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise RunError(
            f"a process that reads pictures died ({one_line(error)}); most often shared memory is too small: set "
            "workers to 0, or give the container more (--shm-size)"
        ) from error
