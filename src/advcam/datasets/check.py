"""What a data set on disk really holds: counts for each split and class, and everything that is missing or broken.

The check reads every annotation and mask and the header of every picture; a broken one is a finding, and the check goes
on. Findings are counted by kind, and the first few of each are named.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np
from PIL import Image

from advcam.datasets.dataset import Dataset
from advcam.datasets.pictures import read_picture
from advcam.errors import AdvcamError, one_line
from advcam.types import IGNORE, Box, Sample

#: Findings of one kind that are named; the others are only counted.
NAMED = 5
#: Splits that must not share pictures.
_DISJOINT = ("train", "val", "test")


@dataclass
class Findings:
    """Problems by kind: how many, and the first few in words."""

    counts: Counter[str] = field(default_factory=Counter)
    named: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, words: str) -> None:
        """One more problem."""
        self.counts[kind] += 1
        if self.counts[kind] <= NAMED:
            self.named.setdefault(kind, []).append(words)


@dataclass
class SplitReport:
    """What a split holds.

    Args:
        pictures: Ids in its list, each once.
        labelled: Pictures with image labels.
        masks: Pictures with a label mask.
        boxed: Pictures with annotated boxes.
        boxes: Boxes in all.
        classes: Pictures that show a class, by its name, in the order of the data set; classes that do not occur too.
        problems: What is broken or missing.
        notes: What is unusual and may be meant so.
    """

    pictures: int = 0
    labelled: int = 0
    masks: int = 0
    boxed: int = 0
    boxes: int = 0
    classes: dict[str, int] = field(default_factory=dict)
    problems: Findings = field(default_factory=Findings)
    notes: Findings = field(default_factory=Findings)


def check_dataset(dataset: Dataset, decode: bool = False) -> dict[str, SplitReport]:
    """Check every split that is on disk.

    Args:
        dataset: The data set.
        decode: Decode every picture whole instead of its header; finds truncated files, takes much longer.

    Returns:
        A report for each split, by name.
    """
    reports = {split: check_split(dataset, split, decode) for split in dataset.splits}
    present = [split for split in _DISJOINT if split in reports]
    for first, second in combinations(present, 2):
        shared = set(_ids(dataset, first)) & set(_ids(dataset, second))
        for id_ in sorted(shared):
            reports[second].notes.add(f"also in split {first}", id_)
    return reports


def check_split(dataset: Dataset, split: str, decode: bool = False) -> SplitReport:
    """Check one split."""
    report = SplitReport(classes=dict.fromkeys(dataset.class_names, 0))
    seen: set[str] = set()
    for id_ in _ids(dataset, split, report.problems):
        if id_ in seen:
            report.problems.add("duplicate id", id_)
            continue
        seen.add(id_)
        _check_picture(dataset, id_, report, decode)
    report.pictures = len(seen)
    for problem in dataset.problems(split):
        report.problems.add("annotations and pictures do not fit together", problem)
    for name in (name for name, count in report.classes.items() if not count):
        report.notes.add("class without a picture", name)
    if not seen:
        report.notes.add("empty split", split)
    return report


def _ids(dataset: Dataset, split: str, problems: Findings | None = None) -> Iterator[str]:
    """The ids of a split up to where its list breaks."""
    try:
        yield from dataset.ids(split)
    except AdvcamError as error:
        if problems is not None:
            problems.add("broken list", one_line(error))


def _check_picture(dataset: Dataset, id_: str, report: SplitReport, decode: bool) -> None:
    try:
        sample = dataset.sample(id_)
    except AdvcamError as error:
        report.problems.add("broken annotation", one_line(error))
        return
    report.labelled += bool(sample.labels)
    for label in sample.labels or ():
        report.classes[label] = report.classes.get(label, 0) + 1
    size = _picture_size(sample.path, report.problems, decode)
    _check_mask(dataset, sample, size, report)
    _check_boxes(dataset, sample, size, report)


def _picture_size(path: Path, problems: Findings, decode: bool) -> tuple[int, int] | None:
    """(width, height) as a person sees the picture, None where there is no usable picture."""
    if not path.is_file():
        problems.add("picture missing", str(path))
        return None
    try:
        if decode:
            return read_picture(path).size
        with Image.open(path) as picture:
            turned = picture.getexif().get(0x0112, 1) in (5, 6, 7, 8)
            return (picture.height, picture.width) if turned else picture.size
    except Exception as error:  # noqa: BLE001, parsers raise nearly every type on damaged headers
        problems.add("picture unreadable", f"{path}: {one_line(error)}")
        return None


def _check_mask(dataset: Dataset, sample: Sample, size: tuple[int, int] | None, report: SplitReport) -> None:
    try:
        mask = dataset.mask(sample.id)
    except AdvcamError as error:
        report.problems.add("broken mask", one_line(error))
        return
    if mask is None:
        return
    report.masks += 1
    if size is not None and mask.shape != size[::-1]:
        height, width = mask.shape
        words = f"{sample.id}: mask {width} x {height}, picture {size[0]} x {size[1]}"
        report.problems.add("mask of another size than its picture", words)
    present = {int(value) for value in np.unique(mask)} - {0, IGNORE}
    if not present:
        report.notes.add("mask without an object", sample.id)
    labelled = {dataset.class_id(label) + 1 for label in sample.labels or ()}
    if sample.labels is not None and present != labelled:
        odd = ", ".join(dataset.class_names[number - 1] for number in sorted(present ^ labelled))
        report.notes.add("classes of mask and image labels differ", f"{sample.id}: {odd}")


def _check_boxes(dataset: Dataset, sample: Sample, size: tuple[int, int] | None, report: SplitReport) -> None:
    try:
        boxes = dataset.boxes(sample.id)
    except AdvcamError as error:
        report.problems.add("broken boxes", one_line(error))
        return
    if boxes is None:
        return
    report.boxed += 1
    report.boxes += len(boxes)
    for box in boxes:
        if size is not None and not _lies_inside(box, size):
            corners = f"({box.x0}, {box.y0}, {box.x1}, {box.y1})"
            report.problems.add("box outside of its picture", f"{sample.id}: {corners} in {size[0]} x {size[1]}")


def _lies_inside(box: Box, size: tuple[int, int]) -> bool:
    return 0 <= box.x0 < box.x1 <= size[0] and 0 <= box.y0 < box.y1 <= size[1]
