"""From the labels of samples to what a network is to answer, and what is wrong with them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from advcam.classifiers.names import ClassIndex
from advcam.errors import LabelError, SettingError, counted
from advcam.types import Sample

Kind = Literal["multi-label", "single-label"]
_NAMED = 5


@dataclass(frozen=True, eq=False)
class Targets:
    """What the network is to answer.

    Args:
        kind: "multi-label": any number of classes a picture. "single-label": one.
        labels: (N, K), 1 where a picture shows a class, else 0.
        warnings: One line each.
    """

    kind: Kind
    labels: Tensor
    warnings: tuple[str, ...] = ()


def class_targets(
    samples: Sequence[Sample],
    class_names: Sequence[str],
    kind: Literal["auto", "multi-label", "single-label"] = "auto",
    *,
    allow_absent: bool = False,
) -> Targets:
    """The answers to pictures that are trained with.

    Args:
        samples: With labels; `()` says that a picture shows no class.
        class_names: The K classes.
        kind: "auto" is single-label where every picture has exactly one label.
        allow_absent: Single-label only: a class that no picture shows is a warning. It can never be answered.

    Raises:
        LabelError: No samples, samples without labels, labels of no class, nothing to tell apart, a class without a
            picture (single-label; of multi-label classifiers a warning, since lists of a data set's classes are often
            longer than a selection of its pictures).
        SettingError: single-label, and a picture with none or several labels.
    """
    labels = label_matrix(samples, class_names)
    counts = labels.sum(dim=1)
    chosen = kind if kind != "auto" else "single-label" if bool((counts == 1).all()) else "multi-label"
    if chosen == "single-label":
        _check_single(samples, counts)
    per_class = labels.sum(dim=0).long()
    shown = int((per_class > 0).sum())
    if shown == 0:
        raise LabelError(f"no picture of {len(samples)} shows a class; give the labels of the pictures")
    if chosen == "single-label" and shown == 1:
        name = class_names[int(per_class.argmax())]
        raise LabelError(
            f"all {len(samples)} pictures show {name}: there is nothing to tell apart; add a class, or pictures "
            'without the object and kind="multi-label"'
        )
    absent = [name for name, count in zip(class_names, per_class.tolist(), strict=True) if count == 0]
    if absent and chosen == "single-label" and not allow_absent:
        raise LabelError(
            f"no picture to train with shows {_names(absent)}; add pictures, remove the class from the list, or allow "
            "it with allow_absent"
        )
    return Targets(chosen, labels, tuple(_warnings(class_names, per_class.tolist(), len(samples))))


def label_matrix(samples: Sequence[Sample], class_names: Sequence[str]) -> Tensor:
    """(N, K), 1 where a picture shows a class, else 0.

    Raises:
        LabelError: No samples, samples without labels, labels of no class.
    """
    if not samples:
        raise LabelError("no pictures to train with; name pictures and their labels")
    unlabelled = [sample.id for sample in samples if sample.labels is None]
    if unlabelled:
        raise LabelError(
            f"{counted(len(unlabelled), 'picture')} of {len(samples)} without labels ({_names(unlabelled)}); label "
            "them or leave them out (an empty label says that a picture shows no class)"
        )
    index = ClassIndex(class_names)
    labels = torch.zeros((len(samples), len(class_names)))
    for number, sample in enumerate(samples):
        for label in sample.labels or ():
            try:
                labels[number, index.find(label)] = 1
            except LabelError as error:
                raise LabelError(f"{sample.id}: {error}") from error
    return labels


def balanced_weights(labels: Tensor, kind: Kind, highest: float = 10.0) -> Tensor:
    """Weights that make up for rare classes, (K,), between 1 / highest and highest.

    Args:
        labels: (N, K), 0 or 1.
        kind: Of a single-label classifier N / (K n_k), the weight of the class in the loss. Of a multi-label one
            (N - n_k) / n_k, the weight of its positive pictures. 1 for a class that no picture shows.
        highest: Limit; one picture among thousands would otherwise decide the training.
    """
    shown = labels.sum(dim=0)
    count = len(labels)
    weights = count / (labels.shape[1] * shown) if kind == "single-label" else (count - shown) / shown
    return torch.where(shown > 0, weights, 1.0).clamp(1 / highest, highest)


def _check_single(samples: Sequence[Sample], counts: Tensor) -> None:
    wrong = [samples[number].id for number in (counts != 1).nonzero().flatten().tolist()]
    if wrong:
        raise SettingError(
            f"a single-label classifier takes one label a picture; {counted(len(wrong), 'picture')} with none or "
            f'several: {_names(wrong)}; take kind="multi-label"'
        )


def _warnings(class_names: Sequence[str], per_class: Sequence[int], count: int) -> list[str]:
    named = list(zip(class_names, per_class, strict=True))
    absent = [name for name, shown in named if shown == 0]
    single = [name for name, shown in named if shown == 1]
    everywhere = [name for name, shown in named if shown == count > 1]
    texts = []
    if absent:
        texts.append(f"no picture to train with shows {_names(absent)}: nothing is learnt of it")
    if single:
        texts.append(f"one picture only shows {_names(single)}: what is learnt of it is that picture")
    if everywhere:
        texts.append(f"every picture shows {_names(everywhere)}: nothing tells it from its surroundings")
    return texts


def _names(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
