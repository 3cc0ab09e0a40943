"""Memory of the process that adds up the parts of an evaluation, for many pictures.

    python benchmarks/evaluate_memory.py PREDICTIONS --data ROOT --split val --protocol localization --pictures 50000

The first shard of the pictures is scored and its part handed back again and again, until there are as many pictures as
asked for; so the pictures are those of the data set and their number is not. Prints a line of JSON: bytes a picture on
their way between processes (packed), kept for it until all are there, and the peak while the table is made.
"""

import argparse
import json
import pickle
import tracemalloc
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from advcam.pipeline.evaluation import evaluate as room
from advcam.pipeline.evaluation.result import Evaluation, evaluate_settings, pair_up
from advcam.pipeline.evaluation.scoring import Scoring, open_inputs
from advcam.pipeline.shards import SHARD_PICTURES, LocalEngine, Shard, ShardResult, ShardTask, Told


class Unwatched:
    """Hears of nothing."""

    def start(self, words: str, total: int) -> None:
        """Nothing."""

    def step(self) -> None:
        """Nothing."""


class Repeating(LocalEngine):
    """Scores the first shard, and hands back its part for each."""

    def map(self, task: ShardTask, shards: Iterable[Shard], told: Told) -> Iterator[ShardResult]:
        """See `Engine.map`."""
        data = b""
        for shard in shards:
            data = data or pickle.dumps(task.load()(shard, told).answer)
            if not tracemalloc.is_tracing():
                self.packed = len(zlib.compress(data, level=1)) / len(shard.samples)
                tracemalloc.start()
            yield ShardResult(shard.first, shard.last, answer=pickle.loads(data))
        self.kept = tracemalloc.get_traced_memory()[0]


def main() -> None:
    """Measure one protocol."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("predictions", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", required=True)
    parser.add_argument("--groups", type=Path)
    parser.add_argument("--protocol", choices=("segmentation", "localization", "pxap"), required=True)
    parser.add_argument("--pictures", type=int, default=50_000)
    given = vars(parser.parse_args())
    count = given.pop("pictures")
    settings = evaluate_settings(**given, missing="intersection", resamples=4)
    inputs = open_inputs(settings)
    pairs = pair_up(inputs.dataset, inputs.predictions, settings)[0][:SHARD_PICTURES]
    many = (pairs * (count // len(pairs) + 1))[: count // SHARD_PICTURES * SHARD_PICTURES]
    engine, result = Repeating(), Evaluation(settings.protocol or "segmentation", "", "", "", "", "")
    room._run(result.task, Scoring(inputs, many, Unwatched(), engine), [], result)
    figures = {
        "protocol": f"{result.task} of {inputs.predictions.kind}",
        "pictures": len(many),
        "packed_bytes_a_picture": round(engine.packed),
        "kept_bytes_a_picture": round(engine.kept / len(many)),
        "peak_megabytes": round(tracemalloc.get_traced_memory()[1] / 1e6),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
