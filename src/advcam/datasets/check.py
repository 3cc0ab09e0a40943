"""What a data set on disk really holds: counts for each split and class, and everything that is missing or broken.

The check reads every annotation and mask and the header of every picture, once, however many splits list it; a broken
one is a finding, and the check goes on. Findings are counted by kind, and the first few of each are named.
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from advcam.datasets.dataset import Dataset
from advcam.datasets.pictures import FORMATS, read_picture
from advcam.errors import AdvcamError, DatasetError, one_line, printable
from advcam.types import IGNORE, Box, Sample

#: Findings of one kind that are named; the others are only counted.
NAMED = 5
#: Splits that should not share pictures.
_DISJOINT = (
    *(("train", "val"), ("train", "test"), ("val", "test"), ("trainaug", "val"), ("trainaug", "test")),
    *(("trainval", "test"), ("main/train", "main/val")),
)
#: EXIF tag, and its values that turn a picture by a quarter.
_ORIENTATION, _QUARTER_TURNS = 0x0112, (5, 6, 7, 8)

#: Kind of finding and its words.
_Finding = tuple[str, str]


@dataclass
class Findings:
    """Problems by kind: how many, and the first few in words."""

    counts: Counter[str] = field(default_factory=Counter)
    named: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, words: str) -> None:
        """One more problem."""
        self.counts[kind] += 1
        if self.counts[kind] <= NAMED:
            self.named.setdefault(kind, []).append(printable(words))


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

    Raises:
        DatasetError: There is no split, or nothing tells what the splits are.
    """
    if not dataset.splits:
        raise DatasetError(f"{dataset.root} holds no list of a split of {dataset.title}; add its lists")
    pictures = _Pictures(dataset, decode)
    reports: dict[str, SplitReport] = {}
    listed: dict[str, set[str]] = {}
    for split in dataset.splits:
        reports[split], ids = _check_split(dataset, split, pictures)
        listed |= {split: ids} if any(split in pair for pair in _DISJOINT) else {}
    for first, second in _DISJOINT:
        for id_ in sorted(listed.get(first, set()) & listed.get(second, set())):
            reports[second].notes.add(f"also in split {first}", id_)
    return reports


def check_split(dataset: Dataset, split: str, decode: bool = False) -> SplitReport:
    """Check one split."""
    return _check_split(dataset, split, _Pictures(dataset, decode))[0]


@dataclass(frozen=True)
class _Record:
    """What was found in one picture; None where it has nothing of the kind."""

    labels: tuple[str, ...] | None = None
    masked: bool = False
    boxes: int | None = None
    problems: tuple[_Finding, ...] = ()
    notes: tuple[_Finding, ...] = ()


class _Pictures:
    """Looks at each picture once and remembers what it found, equal findings as one object."""

    def __init__(self, dataset: Dataset, decode: bool) -> None:
        self.dataset, self.decode = dataset, decode
        self._of_picture: dict[str, _Record] = {}
        self._different: dict[_Record, _Record] = {}

    def look(self, id_: str) -> _Record:
        """What a picture has and what is wrong with it."""
        if id_ not in self._of_picture:
            record = self._inspect(id_)
            self._of_picture[id_] = self._different.setdefault(record, record)
        return self._of_picture[id_]

    def _inspect(self, id_: str) -> _Record:
        try:
            sample = self.dataset.sample(id_)
        except AdvcamError as error:
            return _Record(problems=(("broken annotation", one_line(error)),))
        problems: list[_Finding] = []
        notes: list[_Finding] = []
        size = _picture_size(sample.path, self.decode, problems)
        masked = _check_mask(self.dataset, sample, size, problems, notes)
        boxes = _check_boxes(self.dataset, sample, size, problems)
        return _Record(sample.labels, masked, boxes, tuple(problems), tuple(notes))


def _check_split(dataset: Dataset, split: str, pictures: _Pictures) -> tuple[SplitReport, set[str]]:
    """The report of a split, and its ids."""
    report, seen = SplitReport(), set[str]()
    try:
        report.classes = dict.fromkeys(dataset.class_names, 0)
        for id_ in dataset.ids(split):
            if id_ in seen:
                report.problems.add("duplicate id", id_)
            else:
                seen.add(id_)
                _count(pictures.look(id_), report)
        for problem in dataset.problems(split):
            report.problems.add("annotations and pictures do not fit together", problem)
    except AdvcamError as error:  # up to here the split could be read
        report.problems.add("broken list", one_line(error))
    report.pictures = len(seen)
    for name in (name for name, count in report.classes.items() if not count):
        report.notes.add("class without a picture", name)
    if not seen:
        report.notes.add("empty split", split)
    return report, seen


def _count(record: _Record, report: SplitReport) -> None:
    report.labelled += bool(record.labels)
    report.masks += record.masked
    report.boxed += record.boxes is not None
    report.boxes += record.boxes or 0
    for label in record.labels or ():
        report.classes[label] += 1
    for kind, words in record.problems:
        report.problems.add(kind, words)
    for kind, words in record.notes:
        report.notes.add(kind, words)


def _picture_size(path: Path, decode: bool, problems: list[_Finding]) -> tuple[int, int] | None:
    """(width, height) as a person sees the picture, None where there is no usable picture."""
    if not path.is_file():
        problems.append(("picture missing", str(path)))
        return None
    try:
        if decode:
            return read_picture(path).size
        Image.init()
        with Image.open(path, formats=[name for name in FORMATS if name in Image.OPEN]) as picture:
            turned = picture.getexif().get(_ORIENTATION) in _QUARTER_TURNS
            return (picture.height, picture.width) if turned else picture.size
    except Exception as error:  # noqa: BLE001, parsers raise nearly every type on damaged headers
        words = one_line(error)
        problems.append(("picture unreadable", words if str(path) in words else f"{path}: {words}"))
        return None


def _check_mask(
    dataset: Dataset,
    sample: Sample,
    size: tuple[int, int] | None,
    problems: list[_Finding],
    notes: list[_Finding],
) -> bool:
    """Whether there is a mask that can be read."""
    try:
        mask = dataset.mask(sample.id)
    except AdvcamError as error:
        problems.append(("broken mask", one_line(error)))
        return False
    if mask is None:
        return False
    if size is not None and mask.shape != size[::-1]:
        height, width = mask.shape
        words = f"{sample.id}: mask {width} x {height}, picture {size[0]} x {size[1]}"
        problems.append(("mask of another size than its picture", words))
    present = {int(number) for number in np.flatnonzero(np.bincount(mask.ravel()))} - {0, IGNORE}
    if not present:
        notes.append(("mask without an object", sample.id))
    labelled = {dataset.class_id(label) + 1 for label in sample.labels or ()}
    if sample.labels is not None and present != labelled:
        odd = ", ".join(dataset.class_names[number - 1] for number in sorted(present ^ labelled))
        notes.append(("classes of mask and image labels differ", f"{sample.id}: {odd}"))
    return True


def _check_boxes(
    dataset: Dataset, sample: Sample, size: tuple[int, int] | None, problems: list[_Finding]
) -> int | None:
    """How many boxes there are, None where boxes are not annotated or cannot be read."""
    try:
        boxes = dataset.boxes(sample.id)
    except AdvcamError as error:
        problems.append(("broken boxes", one_line(error)))
        return None
    for box in boxes or ():
        if size is not None and not _lies_inside(box, size):
            corners = f"({box.x0}, {box.y0}, {box.x1}, {box.y1})"
            problems.append(("box outside of its picture", f"{sample.id}: {corners} in {size[0]} x {size[1]}"))
    return None if boxes is None else len(boxes)


def _lies_inside(box: Box, size: tuple[int, int]) -> bool:
    return 0 <= box.x0 < box.x1 <= size[0] and 0 <= box.y0 < box.y1 <= size[1]
