"""The simulated schedule against the engine on Ray, with stand-in shards that sleep for times that are drawn.

    python benchmarks/sizing_engine.py --shards 48 --workers 4 --seconds 2

Sleeping takes no core, so that it can be done on any machine: what is compared is how shards come to workers, not how
fast these are. Both know the same times. Measured is from the first shard's begin to the last one's end; the start of
the cluster is left out. Prints a JSON object for each seed: both makespans in seconds, with one and with two shards at
hand in the simulation, and the sum over the workers, which is the least that it can take.
"""

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from advcam.pipeline.shards import Shard, ShardResult, Told, Unheard
from advcam.scale.ray_engine import RaySettings, ray_engine
from advcam.scale.schedule import simulate
from advcam.scale.workload import Cluster, Load, shard_seconds
from advcam.types import Sample


@dataclass(frozen=True)
class Sleep:
    """A stage that sleeps.

    Args:
        seconds: For each shard.
    """

    seconds: tuple[float, ...]

    def load(self) -> "Sleep":
        """Nothing to load."""
        return self

    def __call__(self, shard: Shard, told: Told) -> ShardResult:
        """Sleep; the answer is when it began and ended."""
        began = time.time()
        time.sleep(self.seconds[shard.first])
        return ShardResult(shard.first, shard.last, answer=[began, time.time()])


def compare(load: Load, workers: int, seed: int) -> dict[str, float]:
    """Measured and simulated seconds."""
    seconds, _ = shard_seconds(load, np.random.default_rng(seed))
    shards = [Shard(i, i, (Sample(str(i), Path(str(i))),)) for i in range(len(seconds))]
    with ray_engine(RaySettings(workers=workers)) as engine:
        answers = [result.answer for result in engine.map(Sleep(tuple(seconds.tolist())), shards, Unheard())]
    return {
        "seed": seed,
        "shards": len(answers),
        "measured": max(end for _, end in answers) - min(began for began, _ in answers),
        "one_at_hand": simulate(load, Cluster(workers), seed).makespan,
        "two_at_hand": simulate(load, Cluster(workers, at_hand=2), seed).makespan,
        "least": float(seconds.sum()) / workers,
    }


def main() -> None:
    """Compare for each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=48)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--spread", type=float, default=0.8)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    load = Load(arguments.shards, arguments.seconds, arguments.spread, shard_pictures=1)
    for seed in range(arguments.seeds):
        found = compare(load, arguments.workers, seed)
        print(json.dumps({name: round(value, 2) for name, value in found.items()}), flush=True)


if __name__ == "__main__":
    from sizing_engine import main as importable  # its stage has to have a name that other processes know

    importable()
