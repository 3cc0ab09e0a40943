"""How much a climb may cost: three schedules of steps, scales and flips, from the measured front of quality over cost.

A step costs as the area of the picture, and the first steps gain most where the plain map is most fragmentary: so the
large scales take few steps and the small ones many (docs/speed.md has the measurements).
"""

from dataclasses import dataclass
from typing import Literal

Effort = Literal["fast", "balanced", "paper"]


@dataclass(frozen=True)
class Schedule:
    """What an effort means.

    Args:
        iterations: T at scales up to 1.
        large_iterations: T at scales above 1.
        scales: Of the working picture.
        flip: Whether the mirrored picture is climbed along.
        step_size: xi.
    """

    iterations: int
    large_iterations: int
    scales: tuple[float, ...]
    flip: bool
    step_size: float


SCHEDULES: dict[Effort, Schedule] = {
    "fast": Schedule(4, 1, (0.5, 1.0, 2.0), flip=False, step_size=0.05),
    "balanced": Schedule(8, 2, (0.5, 1.0, 2.0), flip=False, step_size=0.05),
    "paper": Schedule(8, 8, (0.5, 1.0, 2.0), flip=True, step_size=0.05),
}
