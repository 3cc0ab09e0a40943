from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader
from toys import Toy

from advcam.errors import PictureError
from advcam.training.augment import RECIPES, Normalisation, Preparation
from advcam.training.classification import (
    ClassificationObjective,
    EvaluationPictures,
    TrainingPictures,
    best_metric,
    class_scores,
    classification_metrics,
    measure,
)
from advcam.types import Sample

PREPARATION = Preparation(RECIPES["resized-crop"], 32, Normalisation((0.5,) * 3, (0.5,) * 3))


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def one_hot(classes: list[int], count: int = 3) -> Tensor:
    return functional.one_hot(torch.tensor(classes), count).float()


def test_multi_label_loss_is_the_soft_margin() -> None:
    scores, labels = random(5, 3), (random(5, 3, seed=1) > 0).float()
    objective = ClassificationObjective(Toy(), "multi-label")
    assert objective.loss(scores, labels) == pytest.approx(
        float(functional.multilabel_soft_margin_loss(scores, labels)), abs=1e-6
    )
    weights = torch.tensor([1.0, 4.0, 0.5])
    weighted = ClassificationObjective(Toy(), "multi-label", weights=weights).loss(scores, labels)
    literal = -(weights * labels * scores.sigmoid().log() + (1 - labels) * (-scores).sigmoid().log()).mean()
    assert weighted == pytest.approx(float(literal), abs=1e-6)


def test_single_label_loss() -> None:
    scores, classes = random(5, 3), torch.tensor([0, 2, 1, 1, 0])
    labels = one_hot(classes.tolist())
    plain = ClassificationObjective(Toy(), "single-label").loss(scores, labels)
    assert plain == pytest.approx(float(functional.cross_entropy(scores, classes)), abs=1e-6)
    smooth = ClassificationObjective(Toy(), "single-label", label_smoothing=0.3).loss(scores, labels)
    target = 0.7 * labels + 0.3 / 3
    assert smooth == pytest.approx(float(-(target * scores.log_softmax(dim=1)).sum(dim=1).mean()), abs=1e-6)


def test_class_weights_do_not_depend_on_how_a_batch_is_cut() -> None:
    scores, classes = random(4, 3), [0, 2, 1, 1]
    objective = ClassificationObjective(Toy(), "single-label", weights=torch.tensor([1.0, 2.0, 5.0]))
    each = [objective.loss(scores[n : n + 1], one_hot(classes)[n : n + 1]) for n in range(4)]
    assert objective.loss(scores, one_hot(classes)) == pytest.approx(float(sum(each) / 4), abs=1e-6)
    expected = -torch.tensor([1.0, 5, 2, 2]) * scores.log_softmax(dim=1)[range(4), classes]
    assert torch.allclose(torch.stack(each), expected, atol=1e-6)


def test_losses_of_half_precision_are_float32() -> None:
    scores = random(4, 3).bfloat16()
    for kind in ("multi-label", "single-label"):
        assert ClassificationObjective(Toy(), kind).loss(scores, one_hot([0, 1, 2, 1])).dtype == torch.float32


class Normed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.drop = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Dropout()

    def forward(self, pictures: Tensor) -> Tensor:
        return self.norm(self.conv(pictures))


@pytest.mark.parametrize("frozen", [True, False])
def test_frozen_statistics(frozen: bool) -> None:
    """Statistics stay; scale and shift get gradients all the same; other layers are in training mode."""
    objective = ClassificationObjective(Normed(), "multi-label", frozen_statistics=frozen).eval()
    assert objective.train() is objective
    norm = objective.network.norm
    assert (objective.network.drop.training, norm.training) == (True, not frozen)
    objective({"pictures": random(2, 3, 4, 4), "labels": one_hot([0, 1])}).backward()
    assert torch.equal(norm.running_mean, torch.zeros(3)) == frozen
    assert norm.weight.grad is not None
    assert norm.weight.grad.abs().sum() > 0
    objective.eval()
    assert not objective.network.drop.training


def test_class_maps_are_averaged() -> None:
    network = nn.Conv2d(3, 5, 1)
    pictures = random(2, 3, 4, 4)
    assert torch.allclose(class_scores(network, pictures), network(pictures).mean(dim=(2, 3)))


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    """Six pictures of one grey each; the numbers 1 and 4 cannot be read."""
    made = []
    for number in range(6):
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (40, 40), (40 * number,) * 3).save(path)
        made.append(Sample(path.name, path, (str(number),)))
    (tmp_path / "1.png").write_text("no picture")
    (tmp_path / "4.png").unlink()
    return made


def grey(number: int) -> float:
    return float(np.float32(40 * number / 255 - 0.5) / 0.5)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_unreadable_picture_is_replaced_and_reported(samples: list[Sample], workers: int) -> None:
    """Also where worker processes meet it."""
    data = TrainingPictures(samples, torch.eye(6), PREPARATION)
    loader = DataLoader(data, batch_size=6, num_workers=workers)
    for _ in range(2):
        (batch,) = list(loader)
        shown = [0, 2, 2, 3, 5, 5]
        assert batch["labels"].argmax(dim=1).tolist() == shown
        assert batch["pictures"].mean(dim=(1, 2, 3)).tolist() == pytest.approx([grey(n) for n in shown], abs=1e-5)
    reasons = data.pictures.unreadable()
    assert list(reasons) == ["1.png", "4.png"]
    assert "is damaged or in no format" in reasons["1.png"]
    assert reasons["4.png"].endswith("does not exist; did you mean " + str(samples[3].path.parent / "5.png") + "?") or (
        "does not exist" in reasons["4.png"]
    )


def test_no_picture_can_be_read(tmp_path: Path) -> None:
    gone = [Sample(f"{n}.png", tmp_path / f"{n}.png", ("a",)) for n in range(3)]
    with pytest.raises(PictureError, match=r"none of the 3 pictures to train with can be read; the first: .*0\.png"):
        TrainingPictures(gone, torch.eye(3), PREPARATION)[1]
    objective = ClassificationObjective(Toy(), "single-label")
    with pytest.raises(PictureError, match="none of the pictures to validate with can be read"):
        measure(objective, EvaluationPictures(gone, torch.eye(3), PREPARATION))


def test_augmentation_depends_on_seed_epoch_and_number_alone(samples: list[Sample]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    Image.fromarray(noise).save(samples[0].path)

    def look(seed: int, epoch: int) -> Tensor:
        data = TrainingPictures(samples[:1], torch.ones(1, 1), PREPARATION, seed)
        data.set_epoch(epoch)
        return data[0]["pictures"]

    assert torch.equal(look(1, 2), look(1, 2))
    assert not torch.equal(look(1, 2), look(1, 3))
    assert not torch.equal(look(1, 2), look(2, 2))


class Brightness(nn.Module):
    """The score of class k is highest where the grey is that of picture k."""

    def __init__(self) -> None:
        super().__init__()
        self.greys = nn.Parameter(torch.tensor([grey(n) for n in range(6)]))

    def forward(self, pictures: Tensor) -> Tensor:
        return -100 * (pictures.mean(dim=(1, 2, 3))[:, None] - self.greys) ** 2


@pytest.mark.parametrize("batch_size", [1, 4, 6])
def test_measure_leaves_unreadable_pictures_out(samples: list[Sample], batch_size: int) -> None:
    data = EvaluationPictures(samples, torch.eye(6), PREPARATION)
    single = measure(ClassificationObjective(Brightness(), "single-label"), data, batch_size=batch_size)
    assert (single["top_1"], single["top_5"]) == (1.0, 1.0)
    multi = measure(ClassificationObjective(Brightness(), "multi-label"), data, batch_size=batch_size)
    assert multi["mean_average_precision"] == 1.0
    assert list(data.pictures.unreadable()) == ["1.png", "4.png"]
    swapped = EvaluationPictures(samples, torch.eye(6).roll(1, dims=0), PREPARATION)
    assert measure(ClassificationObjective(Brightness(), "single-label"), swapped)["top_1"] == 0.0


def test_metrics() -> None:
    scores, labels = random(8, 3), one_hot([0, 1, 2, 0, 1, 2, 0, 1])
    single = classification_metrics(ClassificationObjective(Toy(), "single-label"), scores, labels)
    assert single["top_1"] == pytest.approx(float((scores.argmax(1) == labels.argmax(1)).float().mean()))
    assert "top_5" not in single, "three classes"
    assert single["loss"] == pytest.approx(float(functional.cross_entropy(scores, labels.argmax(1))), abs=1e-6)
    assert best_metric("single-label") in single
    multi = classification_metrics(ClassificationObjective(Toy(), "multi-label"), scores, labels)
    assert best_metric("multi-label") in multi
