"""The validated threshold of a labelled split: chosen where nothing is evaluated, as train-fullsup in WSOL.

Choe et al., CVPR 2020 (arXiv 2001.07437): train-weaksup has image labels, train-fullsup has boxes or masks and chooses
thresholds, test is scored. One threshold is chosen for all IoUs, since one has to be used; MaxBoxAccV2 itself takes
the best of each IoU on the scored split.
"""

from dataclasses import replace

from advcam.datasets.dataset import Dataset
from advcam.datasets.sizes import stored_size
from advcam.errors import DatasetError, SettingError, counted
from advcam.evaluate.localization import MaxBoxAcc
from advcam.evaluate.score_maps import score_map
from advcam.evaluate.segmentation import SeedSweep
from advcam.evaluate.selection import ThresholdChoice, choose_validated
from advcam.evaluate.thresholds import SEED_THRESHOLDS
from advcam.pipeline.class_match import read_groups
from advcam.pipeline.evaluation.boxes import class_map
from advcam.pipeline.evaluation.masks import at_size
from advcam.pipeline.evaluation.predictions import open_predictions
from advcam.pipeline.evaluation.result import EvaluateSettings, Pair, Task, Watcher, naming, pair_up
from advcam.pipeline.evaluation.scoring import Inputs, Scoring
from advcam.pipeline.shards import Engine


class LabelledBoxScorer:
    """Boxes at every threshold, without floors."""

    def __init__(self, inputs: Inputs) -> None:
        self.inputs = inputs

    def part(self) -> MaxBoxAcc:
        """See `Scorer`."""
        return MaxBoxAcc()

    def add(self, part: MaxBoxAcc, pair: Pair, place: int) -> None:
        """See `Scorer`; pictures without boxes of exactly one class choose nothing."""
        boxes = self.inputs.dataset.boxes(pair.sample.id) or ()
        if len({box.class_id for box in boxes}) == 1:
            with naming(pair.sample.id):
                width, height = stored_size(pair.sample.path)
                own = class_map(self.inputs.predictions, pair, boxes[0].class_id)
                part.add(score_map(own), boxes, (height, width))


class LabelledSeedScorer:
    """Seeds at every threshold, without floors."""

    def __init__(self, inputs: Inputs) -> None:
        self.inputs = inputs

    def part(self) -> SeedSweep:
        """See `Scorer`."""
        return SeedSweep(len(self.inputs.dataset.class_names) + 1, SEED_THRESHOLDS)

    def add(self, part: SeedSweep, pair: Pair, place: int) -> None:
        """See `Scorer`; pictures without a mask choose nothing."""
        truth = self.inputs.dataset.mask(pair.sample.id)
        if truth is not None:
            with naming(pair.sample.id):
                class_ids, maps = self.inputs.predictions.maps(pair.name, pair.sample)
                part.add(truth, at_size(maps, truth.shape), class_ids)


def validated_threshold(
    dataset: Dataset, settings: EvaluateSettings, task: Task, watcher: Watcher, engine: Engine
) -> tuple[ThresholdChoice, list[str]]:
    """The threshold with the highest score on the labelled split, and notes about its pictures.

    Args:
        dataset: Of both splits.
        settings: `labelled_split` and `labelled_predictions`; maps of the split are asked for.
        task: "localization": the mean of the curves of MaxBoxAccV2 is highest; "segmentation": the mIoU.
        watcher: Hears of each picture.
        engine: Brings the pictures to processes.

    Raises:
        AdvcamError: The split is not there, has no truth, is not predicted by maps, or shares pictures with the scored
            one.
    """
    split = settings.labelled_split or ""
    _check_apart(dataset, split, settings.split)
    where = settings.labelled_predictions or settings.predictions
    groups = read_groups(settings.groups) if settings.groups else None
    predictions = open_predictions(where, dataset, groups)
    asked = settings.model_copy(update={"split": split, "predictions": where})
    pairs, notes = pair_up(dataset, predictions, asked)
    choose = _choose_by_boxes if task == "localization" else _choose_by_masks
    choice = choose(Scoring(Inputs(asked, dataset, predictions), pairs, watcher, engine))
    return replace(choice, detail=f"{choice.detail} (split {split})"), [f"split {split}: {note}" for note in notes]


def _check_apart(dataset: Dataset, labelled: str, scored: str) -> None:
    """Raise `SettingError` where a picture would choose the threshold that it is scored at."""
    shared = sorted(set(dataset.ids(labelled)) & set(dataset.ids(scored)))
    if shared:
        raise SettingError(
            f"the splits {labelled!r} and {scored!r} share {counted(len(shared), 'picture')} (first: {shared[0]}); a "
            "validated threshold is chosen on pictures that are not scored: name another split"
        )


def _choose_by_boxes(scoring: Scoring) -> ThresholdChoice:
    accuracy = scoring.run("boxes of the labelled pictures", LabelledBoxScorer)
    if not len(accuracy):
        split = scoring.inputs.settings.split
        raise DatasetError(f"no predicted picture of the split {split!r} has boxes of exactly one class; name another")
    return choose_validated(accuracy.curves_v2.mean(axis=0), accuracy.thresholds.tolist(), len(accuracy))


def _choose_by_masks(scoring: Scoring) -> ThresholdChoice:
    sweep = scoring.run("seeds of the labelled pictures", LabelledSeedScorer)
    if not len(sweep):
        split = scoring.inputs.settings.split
        raise DatasetError(f"no predicted picture of the split {split!r} has a mask; name another")
    return choose_validated(sweep.miou, sweep.thresholds.tolist(), len(sweep))
