from pathlib import Path

import pytest
import torch

from advcam.errors import LabelError, SettingError
from advcam.training.targets import balanced_weights, class_targets, label_matrix
from advcam.types import Sample

NAMES = ("cat", "dog", "fox")


def samples(*labels: tuple[str, ...] | None) -> list[Sample]:
    return [Sample(f"{n}.jpg", Path(f"/{n}.jpg"), shown) for n, shown in enumerate(labels)]


def test_one_label_a_picture_is_single_label() -> None:
    targets = class_targets(samples(("cat",), ("fox",), ("dog",), ("cat",), ("dog",), ("fox",)), NAMES)
    assert targets.kind == "single-label"
    assert targets.labels.argmax(dim=1).tolist() == [0, 2, 1, 0, 1, 2]
    assert targets.labels.sum() == 6
    assert targets.warnings == ()


@pytest.mark.parametrize("odd", [(), ("cat", "fox")])
def test_any_other_number_is_multi_label(odd: tuple[str, ...]) -> None:
    targets = class_targets(samples(("dog",), ("cat",), odd), NAMES)
    assert targets.kind == "multi-label"
    assert [NAMES[k] for k in targets.labels[2].nonzero().flatten()] == list(odd)


def test_names_are_found_as_users_write_them() -> None:
    assert label_matrix(samples(("Cat",), ("1",)), NAMES).argmax(dim=1).tolist() == [0, 1]


def refused(problem: type[Exception], *labels: tuple[str, ...] | None, **options: object) -> str:
    with pytest.raises(problem) as caught:
        class_targets(samples(*labels), NAMES, **options)
    return str(caught.value)


def test_labels_that_cannot_be_learnt_from() -> None:
    assert refused(LabelError) == "no pictures to train with; name pictures and their labels"
    assert refused(LabelError, ("cat",), None, None) == (
        "2 pictures of 3 without labels (1.jpg, 2.jpg); label them or leave them out (an empty label says that a "
        "picture shows no class)"
    )
    assert refused(LabelError, ("cat",), ("dgo",)) == (
        "1.jpg: the classifier has no class 'dgo'; it knows 3 classes, numbered 0 to 2"
    )
    assert refused(LabelError, (), ()) == "no picture of 2 shows a class; give the labels of the pictures"
    assert refused(LabelError, ("dog",), ("dog",)) == (
        "all 2 pictures show dog: there is nothing to tell apart; add a class, or pictures without the object and "
        'kind="multi-label"'
    )
    assert refused(LabelError, ("cat",), ("dog",)) == (
        "no picture to train with shows fox; add pictures, remove the class from the list, or allow it with "
        "allow_absent"
    )
    assert refused(SettingError, ("cat",), (), ("dog", "cat"), kind="single-label") == (
        "a single-label classifier takes one label a picture; 2 pictures with none or several: 1.jpg, 2.jpg; take "
        'kind="multi-label"'
    )


def test_labels_to_be_warned_of() -> None:
    allowed = class_targets(samples(("cat",), ("dog",), ("dog",)), NAMES, allow_absent=True)
    assert allowed.warnings == (
        "no picture to train with shows fox: nothing is learnt of it",
        "one picture only shows cat: what is learnt of it is that picture",
    )
    multi = class_targets(samples(("cat", "dog"), ("dog",), ("cat", "dog")), NAMES)
    assert multi.warnings == (
        "no picture to train with shows fox: nothing is learnt of it",
        "every picture shows dog: nothing tells it from its surroundings",
    )
    chosen = class_targets(samples(("cat",), ("cat",)), NAMES, kind="multi-label")
    assert chosen.kind == "multi-label"


def test_balanced_weights() -> None:
    labels = torch.zeros((40, 4))
    labels[:30, 0] = labels[30:, 1] = labels[0, 2] = 1
    multi = balanced_weights(labels, "multi-label")
    assert multi.tolist() == pytest.approx([10 / 30, 30 / 10, 10.0, 1.0]), "29 to 1 is cut off at 10"
    single = balanced_weights(labels, "single-label")
    assert single.tolist() == pytest.approx([40 / (4 * 30), 40 / (4 * 10), 10.0, 1.0])
