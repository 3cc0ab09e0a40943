"""The stages of the segmentation network, from label masks to masks of other pictures.

"segment" trains it, "predict" shows it the test pictures, "evaluate-segment" scores what it made of them, and "export"
writes it as ONNX.

segmenter/  predictions/masks/  predictions/classes.json  metrics-test/  onnx/model.onnx
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from advcam.datasets.dataset import Dataset
from advcam.errors import SettingError
from advcam.pipeline.chain.carding import write_model_card
from advcam.pipeline.chain.labelling import NAME as PSEUDO
from advcam.pipeline.chain.lesson import CONFIDENCE, TRUE, lesson
from advcam.pipeline.chain.localizing import mean_area
from advcam.pipeline.chain.pictures import Pictures, has_masks, test_split
from advcam.pipeline.chain.scoring import Scored, score_all
from advcam.pipeline.chain.segmenting import predict_all, segment, write_onnx
from advcam.pipeline.chain.settings import ChainSettings, SegmentSettings
from advcam.pipeline.chain.stage import PASS_PIXELS, Cost, Outcome, Stage, Watcher, digest, picture_digest, read_record
from advcam.pipeline.label_masks import classes_in, corrections_of
from advcam.pipeline.shards import Engine
from advcam.pipeline.targets import evenly
from advcam.segment.export import check_installed
from advcam.segment.trained import load_segmenter
from advcam.store.run import JSON

SEGMENT, PREDICT, EXPORT = "segment", "predict", "export"
EVALUATE = f"evaluate-{SEGMENT}"
#: The network as ONNX, and how many pictures it is compared with PyTorch on.
ONNX, COMPARED = "model.onnx", 10
#: Folder of the scores of the test pictures.
TEST_METRICS = "metrics-test"
#: Passes of a network for a picture in training: there, and back to the inputs and to the weights.
_PASSES_OF_A_STEP = 3


class SegmentationStages:
    """The stages of the segmentation network.

    Args:
        settings: The recipe.
        chosen: Of the network.
        pictures: Of the chain.
        out: The run directory.
        names: Classes of the masks; None: those that the run's own masks name.
        after: Names of the stages that make the masks.
        engine: Brings the pictures to processes.
    """

    def __init__(
        self,
        settings: ChainSettings,
        chosen: SegmentSettings,
        pictures: Pictures,
        out: Path,
        names: Sequence[str] | None,
        after: tuple[str, ...],
        engine: Engine,
    ) -> None:
        self.settings, self.chosen, self.pictures, self.out = settings, chosen, pictures, out
        self.names, self.after, self.dataset, self.engine = names, after, pictures.dataset, engine
        _check_truth(settings, chosen, pictures)

    def stages(self) -> Iterator[Stage]:
        """In their order."""
        chosen, test = self.chosen, self.pictures.test
        masks = self.settings.label_masks if self.settings.label_masks is not None else self.out / PSEUDO
        decides = _decides(chosen, self.names, self.settings.label_masks) | _corrected(masks)
        yield Stage(SEGMENT, self.out / "segmenter", decides, self.after, self._learn, self._learn_cost, trains=True)
        looks: dict[str, JSON] = {
            "inference": chosen.inference.model_dump(mode="json"),
            "test": picture_digest(self.dataset, (test,)),
        }
        yield Stage(PREDICT, self.out / "predictions", looks, (SEGMENT,), self._show, self._show_cost)
        if has_masks(self.dataset, test):
            scoring = {"settings": self.settings.evaluate.model_dump(mode="json")}
            folder = self.out / TEST_METRICS
            yield Stage(EVALUATE, folder, scoring, (PREDICT,), self._score, lambda: Cost(len(test)))
        if chosen.onnx:
            check_installed()
            count = min(COMPARED, len(test))
            yield Stage(EXPORT, self.out / "onnx", {}, (SEGMENT,), self._export, lambda: Cost(count))

    def _learn(self, watcher: Watcher) -> Outcome:
        given = self.settings.label_masks
        names = self.names if self.names is not None else classes_in(self.out / PSEUDO)
        _check_classes(self.chosen, names, self.dataset)
        masks = given if given is not None else self.out / PSEUDO
        taught = lesson(self.chosen, self.dataset, self.pictures.masks, masks, names)
        watcher.say(f"{SEGMENT}: learns {taught.supervision}")
        folder, device = self.out / "segmenter", self.settings.device
        return segment(self.chosen, taught, names, self.dataset, folder, device, watcher, self.engine)

    def _learn_cost(self) -> Cost:
        chosen, count = self.chosen, len(self.pictures.masks)
        looks = (1 + chosen.self_training) * _PASSES_OF_A_STEP * _views(chosen) * chosen.epochs * count
        return Cost(count, looks * chosen.crop**2 / PASS_PIXELS)

    def _show(self, watcher: Watcher) -> Outcome:
        segmenter, folder = self.out / "segmenter", self.out / "predictions"
        limited, device = self.pictures.test is self.pictures.masks, self.settings.device
        outcome = predict_all(segmenter, device, self.pictures.test, self.chosen, limited, folder, watcher, self.engine)
        self._write_card(None)
        return outcome

    def _show_cost(self) -> Cost:
        looks, count = self.chosen.inference, len(self.pictures.test)
        passes = len(looks.scales) * (1 + looks.flip) * count * mean_area(self.pictures.test) / PASS_PIXELS
        return Cost(count, passes)

    def _score(self, watcher: Watcher) -> Outcome:
        split, folder = test_split(self.dataset, self.pictures.data), self.out / TEST_METRICS
        scored = Scored(SEGMENT, self.out / "predictions" / "masks", split=split)
        outcome = score_all(self.settings, [scored], None, folder, watcher, self.engine)
        self._write_card(json.loads((folder / SEGMENT / "evaluation.json").read_text(encoding="utf-8")))
        return outcome

    def _export(self, watcher: Watcher) -> Outcome:
        segmenter, pictures = load_segmenter(self.out / "segmenter"), evenly(self.pictures.test, COMPARED)
        return write_onnx(segmenter, pictures, self.out / "onnx" / ONNX, watcher)

    def _write_card(self, evaluation: Mapping[str, Any] | None) -> None:
        record = read_record(self.out / "stages" / f"{SEGMENT}.json")
        write_model_card(self.out / "segmenter", self.settings, self.chosen, self.pictures, record, evaluation)


def _check_truth(settings: ChainSettings, chosen: SegmentSettings, pictures: Pictures) -> None:
    """What can be known of true masks before anything is done."""
    dataset = pictures.dataset
    if chosen.validation is not None:
        dataset.check_split(chosen.validation)
    if settings.label_masks == TRUE and all(dataset.mask(sample.id) is None for sample in pictures.masks):
        raise SettingError(f"{dataset.root} has no true masks of these pictures; name a folder of masks")
    if chosen.strong is not None and all(dataset.mask(sample.id) is None for sample in pictures.masks):
        raise SettingError(
            f"segment.strong needs true masks, and {dataset.root} has none of these pictures; leave it out"
        )


def _check_classes(settings: SegmentSettings, names: Sequence[str], dataset: Dataset) -> None:
    """True masks are in the numbers of the data set."""
    if (settings.strong or settings.validation) and tuple(names) != tuple(dataset.class_names):
        raise SettingError(
            "true masks (segment.strong, segment.validation) have the classes of the data set, and the classifier has "
            "others; train one (train), or leave them out"
        )


def _views(settings: SegmentSettings) -> int:
    """Pictures that a step sees for each one of its batch: a strong one, the weak one, UniMatch's two strong views."""
    return 1 if settings.semi is None else {"cct": 2, "unimatch": 4}[settings.semi.method]


def _decides(settings: SegmentSettings, names: Sequence[str] | None, masks: Path | str | None) -> dict[str, JSON]:
    """What decides the network: settings, classes, given masks and the list of the strong pictures."""
    values = {**settings.deciding(), "names": list(names or ()), "masks": _masks_digest(masks)}
    del values["onnx"]
    if not settings.self_training:  # which looks at the pictures
        del values["inference"]
    if settings.strong is not None and Path(settings.strong).is_file():
        values["strong_list"] = Path(settings.strong).read_text(encoding="utf-8", errors="replace")
    return values


def _corrected(masks: Path | str) -> dict[str, JSON]:
    """What people said of the masks, where it changes what is learnt; accepting a picture does not."""
    reviews = corrections_of(masks).reviews() if isinstance(masks, Path) else {}
    telling = {
        id_: [review.revision, review.status == "rejected"]
        for id_, review in sorted(reviews.items())
        if review.mask is not None or review.status == "rejected"
    }
    return {"corrections": digest(telling)} if telling else {}


def _masks_digest(masks: Path | str | None) -> str:
    """Equal where a folder holds the same files, by name, size and time; masks of the run itself have none.

    Raises:
        SettingError: There are no masks.
    """
    if masks is None or not isinstance(masks, Path):
        return str(masks or "")
    pictures = sorted(masks.rglob("*.png"))
    if not pictures:
        raise SettingError(f"{masks} holds no masks; name a folder of PNG files, the folder pseudo of a run, or true")
    beside = [folder / name for folder in (masks, masks.parent) for name in ("classes.json", CONFIDENCE)]
    files = [(os.path.relpath(path, masks), path.stat()) for path in (*pictures, *beside) if path.is_file()]
    return digest([(name, stat.st_size, stat.st_mtime_ns) for name, stat in files])
