"""In which order the pictures of an epoch are seen, and all randomness of a training, from the seed alone.

Nothing here has a state: what an epoch, a step or a picture draws depends on the seed and on its number. So a training
that was killed goes on as if it had not been, with any number of worker processes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# The first number of each seed tells what it is for: seeds that differ in trailing zeros alone would be the same.
_ORDER, _PICTURE, _STEP = 1, 2, 3


@dataclass(frozen=True)
class Part:
    """What one process computes in one pass.

    Args:
        indices: Numbers of the pictures.
        weight: Share of this part in the mean over the step, times the number of parts: 1 where all are equally large.
    """

    indices: tuple[int, ...]
    weight: float


def picture_generator(seed: int, epoch: int, index: int) -> np.random.Generator:
    """Randomness of one picture in one epoch, for its augmentation."""
    return np.random.default_rng((_PICTURE, seed, epoch, index))


def step_seed(seed: int, step: int, process: int) -> int:
    """Seed of what a network draws in one step (dropout); the processes draw differently."""
    return int(np.random.SeedSequence((_STEP, seed, step, process)).generate_state(1, np.uint64)[0] >> 1)


def epoch_batches(count: int, batch_size: int, seed: int, epoch: int, drop_last: bool) -> list[tuple[int, ...]]:
    """The pictures of each step of an epoch, each picture once, in a random order.

    Args:
        count: Number of pictures.
        batch_size: Pictures a step.
        seed: Of the training.
        epoch: Counted from 0.
        drop_last: Leave out the last batch where it is smaller than the others.
    """
    order = np.random.default_rng((_ORDER, seed, epoch)).permutation(count).tolist()
    batches = [tuple(order[start : start + batch_size]) for start in range(0, count, batch_size)]
    return batches[: count // batch_size] if drop_last else batches


def split_batch(batch: Sequence[int], passes: int, process: int, processes: int) -> list[Part]:
    """The passes that one process makes of a batch.

    The mean of weighted losses over all passes and processes is the mean over the batch, also where it cannot be
    divided evenly. A pass that is left without a picture sees one with weight 0: all processes have to go along.

    Args:
        batch: Numbers of the pictures of a step.
        passes: Into how many passes each process divides its share.
        process: Number of this process.
        processes: How many there are.
    """
    parts = passes * processes
    shares = [tuple(batch[number::parts]) for number in range(process, parts, processes)]
    return [Part(share or tuple(batch[:1]), len(share) * parts / len(batch)) for share in shares]
