"""What is left to be done of a chain, and about how long it takes."""

import time
from dataclasses import dataclass

import torch

from advcam.pipeline.chain.localizing import load_untrained
from advcam.pipeline.chain.stage import State
from advcam.pipeline.config import ModelSettings


@dataclass(frozen=True)
class PlannedStage:
    """What is to be done of a stage.

    Args:
        name: Of the stage.
        state: Where it stands.
        pictures: That it looks at; 0 where it is done.
        passes: Of the network, over a picture of 375 x 500, there or back.
        seconds: About; by one pass that was timed.
    """

    name: str
    state: State
    pictures: int = 0
    passes: float = 0.0
    seconds: float = 0.0


def seconds_of_a_pass(model: ModelSettings) -> float:
    """Time of one pass of a network over a picture of 375 x 500, the median of three, after one to warm up."""
    network = load_untrained(model).prepared()
    inputs, times = torch.zeros((1, 3, 375, 500), device=model.device), []
    with torch.no_grad():
        for _ in range(4):
            started = time.perf_counter()
            network.respond(inputs).scores.sum().item()
            times.append(time.perf_counter() - started)
    return sorted(times[1:])[1]
