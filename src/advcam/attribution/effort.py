"""How much a climb may cost: three choices of steps and flips, from the measured front of quality over cost.

The first steps gain most, so half of them reach most of the height. And since maps are added up, a scale weighs the
more the more steps it takes: a size below the picture's own, which says roughly where the whole object is, serves best
with a small weight, so it takes a quarter of the steps (docs/speed.md has the measurements).
"""

from dataclasses import dataclass
from typing import Literal

Effort = Literal["fast", "balanced", "paper"]


@dataclass(frozen=True)
class Schedule:
    """What an effort means.

    Args:
        iterations: T at scale 1 and above.
        flip: Whether the mirrored picture is climbed along.
    """

    iterations: int
    flip: bool


SCHEDULES: dict[Effort, Schedule] = {
    "fast": Schedule(2, flip=False),
    "balanced": Schedule(4, flip=False),
    "paper": Schedule(8, flip=True),
}


def steps_below_one(iterations: int) -> int:
    """Steps at scales below 1, where T are taken at the others; 0 adds the plain map."""
    return iterations // 4
