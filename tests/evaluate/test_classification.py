import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.functional.classification import multiclass_accuracy, multilabel_average_precision

from advcam.errors import SettingError
from advcam.evaluate.classification import average_precision, top_k_accuracy


def literal_precision(scores: list[float], labels: list[bool]) -> float:
    """Sum over all distinct thresholds, from the highest, of (recall gained) times (precision)."""
    total, recall = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        claimed = [label for score, label in zip(scores, labels, strict=True) if score >= threshold]
        found = sum(claimed) / sum(labels)
        total += (found - recall) * sum(claimed) / len(claimed)
        recall = found
    return total


def data(count: int = 50, classes: int = 7, seed: int = 0, levels: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    scores = random.normal(size=(count, classes)).astype(np.float32)
    if levels:
        scores = random.integers(0, levels, (count, classes)).astype(np.float32)
    return scores, random.random((count, classes)) < 0.3


@pytest.mark.parametrize("levels", [None, 3, 1])
def test_average_precision_from_its_definition(levels: int | None) -> None:
    """Ties included: equal scores are one threshold, whatever their order."""
    scores, labels = data(levels=levels)
    expected = [literal_precision(scores[:, k].tolist(), labels[:, k].tolist()) for k in range(7)]
    assert average_precision(scores, labels) == pytest.approx(expected, abs=1e-12)
    shuffled = np.random.default_rng(1).permutation(50)
    assert average_precision(scores[shuffled], labels[shuffled]) == pytest.approx(expected, abs=1e-12)


def test_average_precision_is_torchmetrics() -> None:
    scores, labels = data(seed=4, levels=9)
    expected = multilabel_average_precision(
        torch.from_numpy(scores).softmax(dim=1), torch.from_numpy(labels).long(), num_labels=7, average=None
    )
    probabilities = torch.from_numpy(scores).softmax(dim=1).numpy()
    assert average_precision(probabilities, labels) == pytest.approx(expected.numpy(), abs=1e-6)


@given(st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=1, max_size=30))
def test_any_ranking(ranking: list[tuple[int, bool]]) -> None:
    scores = np.array([[score] for score, _ in ranking], dtype=np.float32)
    labels = np.array([[label] for _, label in ranking])
    (value,) = average_precision(scores, labels)
    if not labels.any():
        assert np.isnan(value)
    else:
        assert value == pytest.approx(literal_precision(scores[:, 0].tolist(), labels[:, 0].tolist()))
        assert labels.mean() - 1e-9 <= value <= 1 or value > 0
        assert average_precision(3 * scores + 1, labels)[0] == pytest.approx(value), "only the order counts"


def test_closed_forms() -> None:
    labels = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0], [0, 1, 0]], dtype=bool)
    scores = np.array([[4, 1, 1], [3, 2, 1], [2, 3, 1], [1, 4, 1]], dtype=np.float32)
    values = average_precision(scores, labels)
    assert values[:2] == pytest.approx([1.0, (1 / 1 + 2 / 4) / 2])
    assert np.isnan(values[2])


def test_top_k_is_torchmetrics() -> None:
    scores, _ = data(seed=2)
    classes = np.random.default_rng(5).integers(0, 7, 50)
    for k in (1, 2, 5):
        expected = multiclass_accuracy(
            torch.from_numpy(scores), torch.from_numpy(classes), num_classes=7, top_k=k, average="micro"
        )
        assert top_k_accuracy(scores, classes, k) == pytest.approx(float(expected))
    assert top_k_accuracy(scores, classes, 7) == 1.0


def test_a_network_that_says_nothing_is_never_right() -> None:
    assert top_k_accuracy(np.zeros((4, 3)), np.array([0, 1, 2, 0]), 1) == 0
    assert top_k_accuracy(np.full((4, 3), np.nan), np.array([0, 1, 2, 0]), 3) == 0
    assert np.isnan(top_k_accuracy(np.zeros((0, 3)), np.zeros(0, dtype=int)))


def test_what_is_refused() -> None:
    with pytest.raises(SettingError, match=r"scores \(N, K\) and labels \(N, K\); got \(4, 3\) and \(4,\)"):
        average_precision(np.zeros((4, 3)), np.zeros(4, dtype=bool))
    with pytest.raises(SettingError, match=r"got \(1, 1\) and \(1, 1\), and NaN or infinity"):
        average_precision(np.array([[np.nan]]), np.ones((1, 1), dtype=bool))
    with pytest.raises(SettingError, match=r"k from 1 on; got \(4, 3\), \(4,\) and k = 0"):
        top_k_accuracy(np.zeros((4, 3)), np.zeros(4, dtype=int), 0)
    with pytest.raises(SettingError, match="classes are 0 to 2; got 0 to 3"):
        top_k_accuracy(np.zeros((2, 3)), np.array([0, 3]))
