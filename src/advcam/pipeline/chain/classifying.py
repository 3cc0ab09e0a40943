"""The stage "classify": what the classifier takes each picture for, where Top-1 and Top-5 localization are scored.

predicted/top_classes.csv has the columns image,labels: the five most probable classes, the best first. It is what
`advcam evaluate --top-classes` takes. predicted/records/ is what it is made of.
"""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from advcam.pipeline.chain.localizing import deciding_model, mean_area
from advcam.pipeline.chain.pictures import Pictures
from advcam.pipeline.chain.ranking import RANKINGS, RANKS, RankTask
from advcam.pipeline.chain.settings import ChainSettings
from advcam.pipeline.chain.stage import PASS_PIXELS, Cost, Outcome, Stage, Stepping, Watcher
from advcam.pipeline.config import ModelSettings
from advcam.pipeline.shard_maps import file_bytes
from advcam.pipeline.shards import SHARD_PICTURES, Engine, kept, shards_left
from advcam.store.files import write_text
from advcam.store.shards import ShardStore
from advcam.types import Sample

NAME = "classify"
TABLE = "top_classes.csv"


def classifying_stage(
    settings: ChainSettings,
    pictures: Pictures,
    model: ModelSettings,
    folder: Path,
    after: tuple[str, ...],
    engine: Engine,
) -> Stage:
    """Predicted classes of the pictures that get masks.

    A classifier that was trained here sees them as its training measured it (WSOL: squeezed to 224 x 224), a given one
    as `advcam evaluate --model` shows them to it. It answers among the classes of the data set.
    """
    samples = pictures.masks

    def work(watcher: Watcher) -> Outcome:
        task = RankTask(model, pictures.dataset.class_names, settings.train, folder / "records")
        return classify(task, samples, folder, watcher, engine)

    def cost() -> Cost:
        return Cost(len(samples), len(samples) * mean_area(samples) / PASS_PIXELS)

    return Stage(NAME, folder, {"model": deciding_model(settings, model)}, after, work, cost)


def classify(task: RankTask, samples: Sequence[Sample], folder: Path, watcher: Watcher, engine: Engine) -> Outcome:
    """Write the table; how often the true class is the first, and among the first five.

    Args:
        task: Ranks the classes of the data set.
        samples: The pictures.
        folder: Of the table.
        watcher: Hears of each picture.
        engine: Brings the work to processes.

    Raises:
        RunError: Shards could not be kept; everything else is.
    """
    store = ShardStore(task.folder, RANKINGS)
    store.clean()
    index = store.index()
    done = [index.holds(sample.id, file_bytes(sample)) for sample in samples]
    todo = list(shards_left(samples, SHARD_PICTURES, done, index))
    watcher.start("predicted classes", sum(len(shard.samples) for shard in todo))
    skipped = [one for result in kept(engine.map(task, todo, Stepping(watcher))) for one in result.skipped]
    store.clean()
    store.write_index()
    ranked, unusable = {row.sample_id: row.ranked for row in store}, {id_ for id_, _ in skipped}
    answered = [(one, ranked[one.id]) for one in samples if one.id in ranked and one.id not in unusable]
    return Outcome(_write_table(answered, task.class_names, folder / TABLE), [], skipped)


def _write_table(
    answered: Sequence[tuple[Sample, Sequence[int]]], class_names: Sequence[str], path: Path
) -> list[tuple[str, str]]:
    """The table; its accuracy."""
    text, hits = io.StringIO(), []
    ks = [k for k in (1, RANKS) if k <= len(class_names)]
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["image", "labels"])
    for sample, numbers in answered:
        names = [class_names[number] for number in numbers]
        table.writerow([sample.id, ";".join(names)])
        hits.append([any(name in (sample.labels or ()) for name in names[:k]) for k in ks])
    write_text(path, text.getvalue())
    shares = np.mean(hits, axis=0).tolist() if hits else []
    among = f" among {len(class_names)} classes"
    return [(f"top-{k} accuracy", f"{share:.1%}{among}") for k, share in zip(ks, shares, strict=bool(hits))]
