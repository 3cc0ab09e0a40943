"""Batches of (picture, class) pairs of one input size, as large as the memory of the device allows.

Pictures of different sizes are never padded into one batch: padding would change their maps (method.md 7). How many
fit is not known beforehand, since it depends on the network. So it is tried: on a GPU a batch grows as long as memory
is left, and everywhere it is halved when memory runs out, and the work goes on.
"""

from collections.abc import Hashable, Iterator, Sequence
from typing import TypeVar

import torch

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")

#: Pixels of all views of a batch to begin with. On a CPU small pictures gain by going together, large ones do not.
_PIXELS = {"cpu": 400_000}
_PIXELS_ELSEWHERE = 6_400_000
#: Above this share of a GPU's memory a batch does not double any more.
_ROOM_TO_DOUBLE = 0.4


class BatchSize:
    """How many pairs go together.

    Args:
        chosen: By the user; None lets it choose itself.
        device: Where the network runs.
    """

    def __init__(self, chosen: int | None, device: torch.device) -> None:
        self.chosen = chosen
        self.device = device
        self.pixels: float = _PIXELS.get(device.type, _PIXELS_ELSEWHERE) if chosen is None else float("inf")
        self.settled = chosen is not None or device.type != "cuda"

    def at(self, pixels: int) -> int:
        """Pairs at once, where each has so many pixels in all its views."""
        fitting = max(1, int(min(self.pixels / pixels, 1 << 16)))
        return fitting if self.chosen is None else min(fitting, self.chosen)

    def halve(self, pairs: int, pixels: int) -> None:
        """Memory ran out with so many pairs of so many pixels each: never try more than half of that again."""
        self.pixels = max(1, pairs // 2) * pixels
        self.settled = True

    def grow(self) -> None:
        """A batch went well: double the next ones while much memory of a GPU is left."""
        if self.settled:
            return
        used = torch.cuda.max_memory_allocated(self.device)
        room = torch.cuda.get_device_properties(self.device).total_memory
        if used < _ROOM_TO_DOUBLE * room:
            self.pixels *= 2
        else:
            self.settled = True


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the memory of a device, or of the machine, does not suffice."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # The allocator of the CPU has no type of its own for it, nor have the libraries behind a GPU's convolutions.
    words = (
        *("not enough memory", "can't allocate memory", "bad_alloc", "could not create a primitive"),
        *("CUDNN_STATUS_ALLOC_FAILED", "CUBLAS_STATUS_ALLOC_FAILED"),
    )
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)


def buckets(items: Sequence[tuple[Key, Item]]) -> Iterator[tuple[Key, list[Item]]]:
    """Items with equal keys together, in the order in which their keys first come."""
    found: dict[Key, list[Item]] = {}
    for key, item in items:
        found.setdefault(key, []).append(item)
    yield from found.items()
