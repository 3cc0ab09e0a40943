"""The validated threshold of a labelled split: chosen where nothing is evaluated, as train-fullsup in WSOL.

Choe et al., CVPR 2020 (arXiv 2001.07437): train-weaksup has image labels, train-fullsup has boxes or masks and chooses
thresholds, test is scored. One threshold is chosen for all IoUs, since one has to be used; MaxBoxAccV2 itself takes
the best of each IoU on the scored split.
"""

from collections.abc import Sequence
from dataclasses import replace

from advcam.datasets.dataset import Dataset
from advcam.datasets.sizes import stored_size
from advcam.errors import DatasetError, SettingError, counted
from advcam.evaluate.localization import MaxBoxAcc
from advcam.evaluate.score_maps import score_map
from advcam.evaluate.segmentation import SeedSweep
from advcam.evaluate.selection import ThresholdChoice, choose_validated
from advcam.evaluate.thresholds import SEED_THRESHOLDS
from advcam.pipeline.class_match import Groups
from advcam.pipeline.evaluation.boxes import class_map
from advcam.pipeline.evaluation.masks import at_size
from advcam.pipeline.evaluation.predictions import Predictions, open_predictions
from advcam.pipeline.evaluation.result import EvaluateSettings, Pair, Task, Watcher, naming, pair_up


def validated_threshold(
    dataset: Dataset, settings: EvaluateSettings, task: Task, watcher: Watcher, groups: Groups | None = None
) -> tuple[ThresholdChoice, list[str]]:
    """The threshold with the highest score on the labelled split, and notes about its pictures.

    Args:
        dataset: Of both splits.
        settings: `labelled_split` and `labelled_predictions`; maps of the split are asked for.
        task: "localization": the mean of the curves of MaxBoxAccV2 is highest; "segmentation": the mIoU.
        watcher: Hears of each picture.
        groups: Classes of the classifier behind a run, where they are not those of the data set.

    Raises:
        AdvcamError: The split is not there, has no truth, is not predicted by maps, or shares pictures with the scored
            one.
    """
    split = settings.labelled_split or ""
    _check_apart(dataset, split, settings.split)
    where = settings.labelled_predictions or settings.predictions
    predictions = open_predictions(where, dataset, groups)
    pairs, notes = pair_up(dataset, predictions, settings.model_copy(update={"split": split, "predictions": where}))
    choose = _choose_by_boxes if task == "localization" else _choose_by_masks
    choice = choose(dataset, predictions, pairs, split, watcher)
    return replace(choice, detail=f"{choice.detail} (split {split})"), [f"split {split}: {note}" for note in notes]


def _check_apart(dataset: Dataset, labelled: str, scored: str) -> None:
    """Raise `SettingError` where a picture would choose the threshold that it is scored at."""
    shared = sorted(set(dataset.ids(labelled)) & set(dataset.ids(scored)))
    if shared:
        raise SettingError(
            f"the splits {labelled!r} and {scored!r} share {counted(len(shared), 'picture')} (first: {shared[0]}); a "
            "validated threshold is chosen on pictures that are not scored: name another split"
        )


def _choose_by_boxes(
    dataset: Dataset, predictions: Predictions, pairs: Sequence[Pair], split: str, watcher: Watcher
) -> ThresholdChoice:
    watcher.start("boxes of the labelled pictures", len(pairs))
    accuracy = MaxBoxAcc()
    for pair in pairs:
        boxes = dataset.boxes(pair.sample.id) or ()
        if len({box.class_id for box in boxes}) == 1:
            with naming(pair.sample.id):
                width, height = stored_size(pair.sample.path)
                scores = score_map(class_map(predictions, pair, boxes[0].class_id))
                accuracy.add(scores, boxes, (height, width))
        watcher.step()
    if not len(accuracy):
        raise DatasetError(f"no predicted picture of the split {split!r} has boxes of exactly one class; name another")
    return choose_validated(accuracy.curves_v2.mean(axis=0), accuracy.thresholds.tolist(), len(accuracy))


def _choose_by_masks(
    dataset: Dataset, predictions: Predictions, pairs: Sequence[Pair], split: str, watcher: Watcher
) -> ThresholdChoice:
    watcher.start("seeds of the labelled pictures", len(pairs))
    sweep = SeedSweep(len(dataset.class_names) + 1, SEED_THRESHOLDS)
    for pair in pairs:
        truth = dataset.mask(pair.sample.id)
        if truth is not None:
            with naming(pair.sample.id):
                class_ids, maps = predictions.maps(pair.name, pair.sample)
                sweep.add(truth, at_size(maps, truth.shape), class_ids)
        watcher.step()
    if not len(sweep):
        raise DatasetError(f"no predicted picture of the split {split!r} has a mask; name another")
    return choose_validated(sweep.miou, sweep.thresholds.tolist(), len(sweep))
