"""The stage "pseudo": label masks, boxes, and how sure each is, from the scores of the last stage before it.

pseudo/masks/<picture>.png   0 background, class number, 255 undecided
pseudo/classes.json          the class numbers
pseudo/boxes.json            boxes in pixels, 0-based, half open
pseudo/instances.json        objects: IRN's where it made some, else the connected parts of each class
pseudo/confidence.csv        a row for each picture and class, the most doubtful first
"""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from advcam.errors import RunError, one_line
from advcam.pipeline.chain.settings import PseudoLabelSettings
from advcam.pipeline.chain.stage import Outcome, Watcher
from advcam.pseudo.labels import PseudoLabel, PseudoSettings, pseudo_label
from advcam.pseudo.objects import instances, mask_boxes
from advcam.store.class_file import read_class_file
from advcam.store.classes import MOST_FIXED, ClassNumbers
from advcam.store.entries import PictureEntries
from advcam.store.files import write_text
from advcam.store.maps import MapStore
from advcam.store.masks import run_lengths, write_mask
from advcam.store.run import output_names
from advcam.types import DEFAULT_THRESHOLD, IGNORE, Attribution, BoxContours, Instance, Mask, Sample

NAME = "pseudo"
_WARNED = 5  # pictures that a note names


def pseudo_settings(settings: PseudoLabelSettings, threshold: float = DEFAULT_THRESHOLD) -> PseudoSettings:
    """The settings of `advcam.pseudo`.

    Args:
        settings: Of the recipe.
        threshold: Where the recipe has none.

    Raises:
        SettingError: Thresholds out of range, or crossed.
    """
    own = threshold if settings.threshold is None else settings.threshold
    # A band that does not fit a threshold found by a rule is narrowed; one that does not fit a given one is an error.
    band = settings.band if settings.threshold is not None else min(settings.band, 2 * min(own, 1 - own))
    return PseudoSettings(
        threshold=own,
        class_thresholds=settings.class_thresholds,
        background_power=settings.background_power,
        band=band,
        min_area=settings.min_area,
    )


def names_of_run(run: Path) -> tuple[str, ...]:
    """Names of the classes that a run of `advcam localize` explains, by class number.

    A run of more classes than fit a mask (ImageNet) names those that it met; the others are "class 7" here.

    Raises:
        RunError: Its classes.json is missing or damaged.
    """
    path = run / "classes.json"
    try:
        names = {entry.class_id: entry.name for entry in read_class_file(path)}
    except (OSError, ValueError) as error:
        problem = getattr(error, "strerror", None) or one_line(error)
        raise RunError(f"{path} is missing or damaged ({problem}); localize again in another folder") from error
    count = max(names, default=-1) + 1
    if len(names) < count:
        count = max(count, MOST_FIXED + 1)
    return tuple(names.get(number, f"class {number}") for number in range(count))


class Labelling:
    """Writes the pseudo-labels of a run.

    Args:
        source: Folder of the map store with the scores.
        samples: The pictures.
        class_names: Of the classifier.
        settings: How scores become labels.
        boxes: The largest part of each class, or all.
        objects: Folder of the instances that IRN made; None takes the connected parts.
        folder: Of the outputs.
        watcher: Hears of each picture.
    """

    def __init__(
        self,
        source: Path,
        samples: Sequence[Sample],
        class_names: Sequence[str],
        settings: PseudoSettings,
        boxes: BoxContours,
        objects: Path | None,
        folder: Path,
        watcher: Watcher,
    ) -> None:
        settings.check_names(class_names)
        self.store, self.samples, self.settings = MapStore(source), samples, settings
        self.numbers = ClassNumbers(folder / "classes.json", class_names)
        self.names = output_names([sample.id for sample in samples])
        self.boxes, self.objects, self.folder, self.watcher = boxes, objects, folder, watcher
        self.rows: list[tuple[float, str, str, int]] = []
        self.vanished: list[str] = []

    def run(self) -> Outcome:
        """All pictures that have scores, in the order of their list."""
        stored = self.store.index()
        there = [sample for sample in self.samples if sample.id in stored]
        self.numbers.extend(sorted(self.store.class_ids()))
        self.watcher.start("pseudo-labels", len(there))
        with (
            PictureEntries(self.folder / "boxes.json") as boxes,
            PictureEntries(self.folder / "instances.json") as instances,
        ):
            for sample in there:
                attribution = self.store.get(sample.id).attribution
                label = self._label(sample, attribution)
                boxes.add(sample.id, self._boxes(attribution, label.mask))
                instances.add(sample.id, self._instances(sample, attribution, label.mask))
                self.watcher.step()
        self._write_confidence()
        missing = [(sample.id, "it has no scores") for sample in self.samples if sample.id not in stored]
        if not there:
            raise RunError(f"{self.store.folder} holds no scores of these pictures; run the stage before this one")
        facts = [("masks", f"{len(there)}"), ("threshold", f"{self.settings.background:g}")]
        return Outcome(facts, self._notes(), missing)

    def _label(self, sample: Sample, attribution: Attribution) -> PseudoLabel:
        """The pseudo-label of a picture, written and noted."""
        label = pseudo_label(attribution, self.settings)
        write_mask(self.folder / "masks" / f"{self.names[sample.id]}.png", self._numbered(label.mask))
        self._note(sample, attribution, label)
        return label

    def _boxes(self, attribution: Attribution, mask: Mask) -> dict[str, object]:
        names = dict(zip(attribution.class_ids, attribution.class_names, strict=True))
        height, width = attribution.image_size
        boxes = [{"class": names[box.class_id], **asdict(box)} for box in mask_boxes(attribution, mask, self.boxes)]
        return {"height": height, "width": width, "boxes": boxes}

    def _instances(self, sample: Sample, attribution: Attribution, mask: Mask) -> list[dict[str, object]]:
        """The objects of IRN, or the connected parts of the mask."""
        if self.objects is not None:
            path = self.objects / f"{self.names[sample.id]}.json"
            return list(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else []
        return [instance_entry(one, attribution) for one in instances(attribution, mask, self.settings.min_area)]

    def _numbered(self, mask: Mask) -> Mask:
        """The mask in the class numbers of the run, what is undecided left so."""
        undecided = mask == IGNORE
        numbered = self.numbers.mask(mask * ~undecided)
        numbered[undecided] = IGNORE
        return numbered

    def _note(self, sample: Sample, attribution: Attribution, label: PseudoLabel) -> None:
        for class_id, name, sure in zip(
            attribution.class_ids, attribution.class_names, label.confidence.tolist(), strict=True
        ):
            self.rows.append((sure, sample.id, name, int((label.mask == class_id + 1).sum())))
            if class_id in label.vanished:
                self.vanished.append(f"{name} in {sample.id}")

    def _write_confidence(self) -> None:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["image", "class", "confidence", "pixels"])
        writer.writerows([id_, name, f"{sure:.4f}", pixels] for sure, id_, name, pixels in sorted(self.rows))
        write_text(self.folder / "confidence.csv", text.getvalue())

    def _notes(self) -> list[str]:
        if not self.vanished:
            return []
        named, more = ", ".join(self.vanished[:_WARNED]), len(self.vanished) - _WARNED
        rest = f" and {more} more (0 pixels in confidence.csv)" if more > 0 else ""
        noun = "class" if len(self.vanished) == 1 else "classes"
        return [f"{len(self.vanished):,} labelled {noun} got no pixel: {named}{rest}"]


def instance_entry(instance: Instance, attribution: Attribution) -> dict[str, object]:
    """An object in JSON: name and number of its class, score, and its mask in COCO's run lengths."""
    name = attribution.class_names[attribution.class_ids.index(instance.class_id)]
    score = round(instance.score, 4)
    return {
        "class": name,
        "class_id": instance.class_id,
        "score": score,
        "segmentation": run_lengths(instance.mask),
    }
