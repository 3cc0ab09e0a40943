"""Which pictures a run works on, and which classes it explains in each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from PIL import Image

from advcam.classifiers.classifier import Classifier
from advcam.datasets.catalogue import open_dataset
from advcam.datasets.dataset import Dataset
from advcam.datasets.labels import label_samples
from advcam.datasets.pictures import find_pictures
from advcam.errors import LabelError, SettingError, counted
from advcam.pipeline.class_match import ClassMatch, Groups, read_groups
from advcam.pipeline.config import LocalizeSettings, ModelSettings
from advcam.types import Sample


class Chooser:
    """Chooses the outputs to explain in pictures whose labels do not name them; can be sent to another process.

    Args:
        top: Classes a picture where the classifier decides.
        class_names: Of the data set, where groups tell what its labels mean.
        groups: Outputs of the classifier for each of these classes; None: the classifier decides.
    """

    def __init__(self, top: int, class_names: Sequence[str] = (), groups: Groups | None = None) -> None:
        self.top, self.class_names, self.groups = top, tuple(class_names), groups
        self._match: ClassMatch | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_match": None}

    def choose(self, classifier: Classifier, sample: Sample, picture: Image.Image) -> list[int]:
        """The outputs to explain in a picture, each once."""
        if self.groups is None:
            return [prediction.class_id for prediction in classifier.predict(picture, self.top)]
        return list(dict.fromkeys(self.match(classifier).targets(picture, sample.labels or ())))

    def match(self, classifier: Classifier) -> ClassMatch:
        """The groups, by the outputs of a classifier.

        Raises:
            LabelError: See `ClassMatch`.
        """
        if self._match is None or self._match.classifier is not classifier:
            self._match = ClassMatch(classifier, self.class_names, self.groups)
        return self._match


@dataclass(frozen=True)
class Work:
    """The pictures of a run and their classes.

    Args:
        samples: What is worked on.
        unlabelled: Ids of the pictures that the labels leave out, and why.
        warnings: One line each.
        chooser: Chooses the outputs to explain where the labels do not name them.
        classifier: Whose outputs.
        named: Labels are names (or numbers) of outputs.
        class_ids: Outputs that they name, all pictures together.
        decided: The labels of every picture name its outputs.
        lines: Where the labels of a picture stand, by its id, such as "labels.csv, line 5"; others are left out.
        listing: Where all names of outputs are listed, in words.
    """

    samples: Sequence[Sample]
    unlabelled: Sequence[tuple[str, str]]
    warnings: Sequence[str]
    chooser: Chooser
    classifier: Classifier
    named: bool
    class_ids: frozenset[int] = frozenset()
    decided: bool = False
    lines: Mapping[str, str] = field(default_factory=dict)
    listing: str = ""

    def known(self, sample: Sample) -> list[int] | None:
        """The outputs that the labels of a picture name, each once; None where only the picture decides.

        Raises:
            LabelError: The classifier has no such output.
        """
        if not self.named or sample.labels is None:
            return None
        try:
            return list(dict.fromkeys(self.classifier.class_id(label) for label in sample.labels))
        except LabelError as error:
            where = ", ".join(filter(None, (self.lines.get(sample.id), sample.id)))
            raise LabelError("; ".join(filter(None, (f"{where}: {error}", self.listing)))) from error

    def checked(self) -> "Work":
        """The same, with what the labels of all pictures name.

        Raises:
            LabelError: The classifier has no such output.
        """
        class_ids: set[int] = set()
        decided = True
        for known in map(self.known, self.samples):
            class_ids.update(known or ())
            decided &= known is not None
        return replace(self, class_ids=frozenset(class_ids), decided=decided)

    def classes(self, sample: Sample, picture: Image.Image) -> list[int]:
        """The outputs to explain in a picture, each once."""
        known = self.known(sample)
        return self.chooser.choose(self.classifier, sample, picture) if known is None else known

    def count(self, sample: Sample) -> int:
        """About how many outputs that will be, for the cost."""
        known = self.known(sample)
        if known is not None:
            return len(known)
        return self.chooser.top if self.chooser.groups is None else len(sample.labels or ())


def find_work(settings: LocalizeSettings, classifier: Classifier) -> Work:
    """The pictures and classes that the settings name; a typo in a label is found before any work is done.

    Raises:
        AdvcamError: No pictures, labels that the classifier does not know, a data set that cannot be read, or settings
            that have no place beside each other.
    """
    _check_fit(settings)
    if settings.data is not None:
        return _of_dataset(settings, classifier)
    if not settings.inputs:
        raise SettingError(
            "which pictures? name files, folders or patterns, or a data set with --data ROOT --split NAME"
        )
    folder = settings.out.resolve()
    # The run's own overlays and masks are no input of the next session.
    found = [s for s in find_pictures(settings.inputs) if folder not in s.path.resolve().parents]
    labelled = label_samples(found, settings.labels)
    unlabelled = [(sample.id, f"{settings.labels} has no row for it") for sample in labelled.unlabelled]
    chooser = Chooser(settings.top)
    lines = {id_: f"{settings.labels}, line {line}" for id_, line in labelled.lines.items()}
    work = Work(labelled.samples, unlabelled, labelled.warnings, chooser, classifier, named=True, lines=lines)
    return replace(work, listing=_listing(settings.model)).checked()


def _listing(model: ModelSettings) -> str:
    """Where the names of a classifier's outputs are listed."""
    if model.class_names is not None:
        return f"{model.class_names} lists them"
    return "advcam models lite0 lists them" if model.num_classes in (None, 1000) else ""


def evenly(samples: Sequence[Sample], count: int) -> list[Sample]:
    """At most `count` samples, spread evenly."""
    if len(samples) <= count:
        return list(samples)
    return [samples[i * len(samples) // count] for i in range(count)]


def samples_of(dataset: Dataset, split: str, root: Path) -> list[Sample]:
    """The samples of a split of a data set, whose root is called as the user called it, each once.

    Raises:
        SettingError: There is no such split, or it is empty.
    """
    dataset.check_split(split)
    samples = list({sample.id: sample for sample in dataset.samples(split)}.values())
    if not samples:
        raise SettingError(f"the split {split!r} of {root} is empty")
    return samples


def _check_fit(settings: LocalizeSettings) -> None:
    """Raise `SettingError` where something was set that would have no effect: nothing is ignored silently."""
    if settings.data is None:
        given = [name for name in ("split", "layout", "groups") if getattr(settings, name) is not None]
        if given:
            raise SettingError(f"--{given[0]} is for a data set; name it with --data ROOT, or leave --{given[0]} away")
    elif settings.labels not in ("data", "predicted"):
        raise SettingError(
            f"a data set brings its own labels; leave --labels {settings.labels} away, or write --labels predicted"
        )
    elif settings.labels == "predicted" and settings.groups is not None:
        raise SettingError(
            "groups tell what the labels of a data set mean; with --labels predicted leave --groups away"
        )


def _of_dataset(settings: LocalizeSettings, classifier: Classifier) -> Work:
    if settings.inputs or settings.split is None or settings.data is None:
        raise SettingError("a data set is named by --data ROOT --split NAME, without further pictures")
    dataset = open_dataset(settings.data, settings.layout)
    samples = samples_of(dataset, settings.split, settings.data)
    samples = samples if settings.limit is None else evenly(samples, settings.limit)
    if settings.groups is None:
        named = settings.labels != "predicted"
        work = Work(samples, (), (), Chooser(settings.top), classifier, named)
        return replace(work, listing=_listing(settings.model)).checked()
    chooser = Chooser(settings.top, dataset.class_names, read_groups(settings.groups))
    match = chooser.match(classifier)
    absent = {s.id: [label for label in s.labels or () if not match.covers(label)] for s in samples}
    covered = [s for s in samples if not absent[s.id]]
    rest = [
        (id_, f"{settings.groups} has no group for {', '.join(labels)}") for id_, labels in absent.items() if labels
    ]
    warning = (f"skipped {counted(len(rest), 'picture')} with a class that the groups leave out",) if rest else ()
    return Work(covered, rest, warning, chooser, classifier, named=False)
