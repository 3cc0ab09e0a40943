"""The simulated schedule against the engine on Ray, with stand-in shards that sleep for times that are drawn.

    python benchmarks/sizing_engine.py --shards 48 --workers 4 --seconds 2

Sleeping takes no core, so that it can be done on any machine: what is compared is how shards come to workers, not how
fast these are. Both know the same times. Measured is from the first shard's begin to the last one's end; the start of
the cluster is left out. Prints a JSON object for each seed, in seconds: both makespans, with one and with two shards at
hand in the simulation; the sum over the workers, which is the least that it can take; and what the simulation does not
know: `stagger`, from the first worker's first shard to the last one's, and `between`, the mean time of a worker between
two shards.
"""

import argparse
import json
import os
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean

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
        """Sleep; the answer is who did, and when it began and ended."""
        began = time.time()
        time.sleep(self.seconds[shard.first])
        return ShardResult(shard.first, shard.last, answer=[os.getpid(), began, time.time()])


def compare(load: Load, workers: int, seed: int) -> dict[str, float]:
    """Measured and simulated seconds."""
    seconds, _ = shard_seconds(load, np.random.default_rng(seed))
    shards = [Shard(i, i, (Sample(str(i), Path(str(i))),)) for i in range(len(seconds))]
    with ray_engine(RaySettings(workers=workers)) as engine:
        answers = [result.answer for result in engine.map(Sleep(tuple(seconds.tolist())), shards, Unheard())]
    of: dict[int, list[tuple[float, float]]] = {}
    for process, began, ended in sorted(answers, key=lambda answer: answer[1]):
        of.setdefault(process, []).append((began, ended))
    firsts = [turns[0][0] for turns in of.values()]
    between = [later[0] - earlier[1] for turns in of.values() for earlier, later in pairwise(turns)]
    return {
        "seed": seed,
        "shards": len(answers),
        "measured": max(turns[-1][1] for turns in of.values()) - min(firsts),
        "stagger": max(firsts) - min(firsts),
        "between": fmean(between) if between else 0.0,
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
