"""Which outputs of a classifier stand for the classes of a data set.

A classifier trained for the data set has its names. One that was not (ImageNet for PASCAL VOC) is read through groups:
a JSON object that names, for each class of the data set, the outputs that mean it. In a picture the group stands for
its class by the one output that scores best there.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from advcam import untrusted
from advcam.attribution import views
from advcam.attribution.views import working_size
from advcam.classifiers.classifier import Classifier
from advcam.errors import LabelError, one_line

#: Outputs (numbers or names) of the classifier for each class of the data set.
Groups = Mapping[str, Sequence[int | str]]
#: Longer side at which groups are compared, as pictures are worked on by default.
WORKING_SIDE = 512


def read_groups(path: Path) -> dict[str, list[int | str]]:
    """Groups from a JSON object such as `{"cat": [281, 282, "Persian cat"]}`.

    Raises:
        LabelError: The file is missing, or holds something else.
    """
    try:
        content = untrusted.read_json(path)
    except (OSError, ValueError) as error:
        raise LabelError(
            f"{path} cannot be read as JSON groups of classes ({one_line(error)}); write it again"
        ) from error
    if not isinstance(content, dict) or not all(_is_group(group) for group in content.values()):
        raise LabelError(
            f'{path} is no object of lists; groups are written {{"cat": [281, "tabby"]}}: for each class of the data '
            "set the numbers or names of the classifier's outputs"
        )
    return content


class ClassMatch:
    """From the labels of a picture to the outputs of a classifier, and back.

    Args:
        classifier: Whose outputs.
        class_names: Of the data set.
        groups: None where the classifier has the data set's own names.

    Raises:
        LabelError: A group names an output that the classifier does not have, or a class that the data set lacks.
    """

    def __init__(self, classifier: Classifier, class_names: Sequence[str], groups: Groups | None = None) -> None:
        self.classifier = classifier
        self.class_names = tuple(class_names)
        unknown = sorted(set(groups or ()) - set(self.class_names))
        if unknown:
            raise LabelError(
                f"the groups name {unknown[0]!r}, but the data set has: {', '.join(self.class_names[:20])}"
            )
        self._groups = None if groups is None else self._numbers(groups)

    def covers(self, label: str) -> bool:
        """Whether some output stands for a class of the data set."""
        if self._groups is not None:
            return label in self._groups
        try:
            self.classifier.class_id(label)
        except LabelError:
            return False
        return True

    def targets(self, picture: Image.Image, labels: Sequence[str]) -> list[int]:
        """The output that stands for each label in this picture.

        Raises:
            LabelError: No output stands for a label.
        """
        if self._groups is None:
            return [self.classifier.class_id(label) for label in labels]
        missing = [label for label in labels if label not in self._groups]
        if missing:
            raise LabelError(f"the groups name no output for {missing[0]!r}; add it, or leave such pictures out")
        if not labels:
            return []
        scores = self._scores(picture)
        return [max(self._groups[label], key=lambda number: float(scores[number])) for label in labels]

    def ranked(self, picture: Image.Image, count: int) -> list[int]:
        """The classes of the data set that the classifier finds most probable, the best first.

        With groups, a class scores as its best output does.
        """
        return self.order(self._scores(picture), count)

    def order(self, scores: torch.Tensor, count: int) -> list[int]:
        """As `ranked`, from the scores (K,) of the outputs."""
        values = scores.tolist()
        best = {class_id: max(values[number] for number in outputs) for class_id, outputs in self._outputs.items()}
        return sorted(best, key=lambda class_id: -best[class_id])[:count]

    @cached_property
    def _outputs(self) -> dict[int, list[int]]:
        """The outputs that stand for each class of the data set, where there are any."""
        if self._groups is not None:
            return {self.class_names.index(name): group for name, group in self._groups.items()}
        covered = {number: name for number, name in enumerate(self.class_names) if self.covers(name)}
        return {number: [self.classifier.class_id(name)] for number, name in covered.items()}

    def _scores(self, picture: Image.Image) -> torch.Tensor:
        """Scores of the working picture, (K,): the groups are compared on what the climb starts from."""
        size = input_size(self.classifier, picture.size, WORKING_SIDE)
        resized = picture.convert("RGB").resize(size, Image.Resampling.BICUBIC)
        pixels = torch.from_numpy(np.array(resized)).permute(2, 0, 1)[None].float() / 255
        with torch.no_grad(), self.classifier.frozen():
            return self.classifier.respond(self.classifier.normalise(pixels)).scores[0]

    def _numbers(self, groups: Groups) -> dict[str, list[int]]:
        return {name: [self.classifier.class_id(member) for member in group] for name, group in groups.items()}


def input_size(classifier: Classifier, size: tuple[int, int], max_side: int) -> tuple[int, int]:
    """(width, height) at which a network sees a picture of a size: shrunk to a longer side, as the network needs it."""
    if classifier.fixed_size is not None:
        return classifier.fixed_size[1], classifier.fixed_size[0]
    return views.input_size(working_size(size, max_side), 1.0, classifier.size_multiple)


def _is_group(group: object) -> bool:
    return isinstance(group, list) and bool(group) and all(type(member) in (int, str) for member in group)
