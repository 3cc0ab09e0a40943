"""The stage "threshold": the background threshold of the maps, without any mask, or by the truth of a labelled split.

No fixed number fits all data (docs/defaults.md), and everything behind the maps stands on it: the labels that a CRF or
IRN starts from, and the masks. So unless the recipe fixes one, it is chosen: where the recipe names a labelled split
(data.thresholds), the best one there, else by the label-free rule on some pictures.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from advcam import untrusted
from advcam.datasets.catalogue import open_dataset
from advcam.errors import RunError, SettingError, one_line
from advcam.evaluate.selection import LabelFree
from advcam.pipeline.chain.pictures import has_masks
from advcam.pipeline.chain.refining import with_maps
from advcam.pipeline.chain.stage import Outcome, Watcher
from advcam.pipeline.evaluation.labelled import validated_threshold
from advcam.pipeline.evaluation.result import EvaluateSettings, Task
from advcam.pipeline.shards import Engine
from advcam.pipeline.targets import evenly
from advcam.store.files import write_text
from advcam.store.maps import MapStore
from advcam.types import DEFAULT_THRESHOLD, Sample

NAME = "threshold"
#: Pictures that the rule looks at: the choice from a few is noisy, from hundreds it no longer changes.
LOOKED_AT = 200


def label_free_threshold(source: Path, samples: Sequence[Sample], watcher: Watcher) -> tuple[float, str]:
    """The threshold of stored maps or scores by the label-free rule, and how it came about.

    Where the rule finds nothing to hold on to (maps of zeros, pictures of one colour) it is the default.

    Args:
        source: Folder of the map store.
        samples: The pictures.
        watcher: Hears of each.
    """
    rule, chosen = LabelFree(), evenly(samples, LOOKED_AT)
    watcher.start("threshold, without masks", len(chosen))
    for item in with_maps(MapStore(source), chosen, lambda *_: None):
        attribution = item.row.attribution
        if attribution.class_ids and attribution.maps.any():
            rule.add(attribution.maps, item.picture)
        watcher.step()
    try:
        choice = rule.choose()
    except SettingError as error:
        return DEFAULT_THRESHOLD, f"the default, since {one_line(error)}"
    return choice.threshold, choice.detail


def choose_threshold(source: Path, samples: Sequence[Sample], folder: Path, watcher: Watcher) -> Outcome:
    """Choose the threshold of the maps and write it down.

    Args:
        source: Folder of the map store.
        samples: The pictures.
        folder: Of threshold.json.
        watcher: Hears of each picture.
    """
    threshold, detail = label_free_threshold(source, samples, watcher)
    return _kept(folder, threshold, detail)


def validate_threshold(settings: EvaluateSettings, folder: Path, watcher: Watcher, engine: Engine) -> Outcome:
    """Choose the threshold of the maps by the truth of the labelled split and write it down.

    Args:
        settings: See `validated_threshold`.
        folder: Of threshold.json.
        watcher: Hears of each picture.
        engine: Brings the pictures to processes.
    """
    dataset = open_dataset(settings.data, settings.layout)
    labelled = list(dataset.samples(settings.labelled_split or ""))
    task: Task = "segmentation" if has_masks(dataset, labelled) else "localization"
    choice, notes = validated_threshold(dataset, settings, task, watcher, engine)
    return replace(_kept(folder, choice.threshold, f"{choice.supervision}: {choice.detail}"), notes=notes)


def _kept(folder: Path, threshold: float, detail: str) -> Outcome:
    write_text(folder / "threshold.json", json.dumps({"threshold": threshold, "supervision": detail}) + "\n")
    return Outcome([("threshold", f"{threshold:g}, {detail}")])


def read_threshold(folder: Path) -> float:
    """The threshold that was chosen.

    Raises:
        RunError: It was not, or its file is damaged.
    """
    path = folder / "threshold.json"
    try:
        threshold = untrusted.read_json(path)["threshold"]
        if not isinstance(threshold, int | float) or not 0 <= threshold <= 1:
            raise ValueError("a threshold lies between 0 and 1")
        return float(threshold)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} is missing or damaged; do its stage anew: --from {NAME}") from error
