import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from advcam.errors import SettingError
from advcam.segment.losses import balanced_cross_entropy, cross_entropy

LOSSES = [cross_entropy, balanced_cross_entropy]


def drawn(
    count: int = 3, classes: int = 4, small: tuple[int, int] = (3, 2), large: tuple[int, int] = (7, 5), seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Logits in float64 and masks with gaps."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn((count, classes, *small), generator=generator, dtype=torch.float64) * 3
    masks = torch.randint(classes, (count, *large), generator=generator)
    return logits, masks.masked_fill(torch.rand(masks.shape, generator=generator) < 0.3, 255)


def literal_enlarged(scores: Tensor, height: int, width: int) -> Tensor:
    """Bilinear, corners not aligned: the middle of pixel y lies at (y + 1/2) h / H - 1/2 of the small grid."""
    large = torch.zeros((len(scores), height, width), dtype=scores.dtype)
    for y in range(height):
        for x in range(width):
            v = min(max((y + 0.5) * scores.shape[1] / height - 0.5, 0), scores.shape[1] - 1)
            u = min(max((x + 0.5) * scores.shape[2] / width - 0.5, 0), scores.shape[2] - 1)
            for j, i in {(int(v) + b, int(u) + a) for a in (0, 1) for b in (0, 1)}:
                if j < scores.shape[1] and i < scores.shape[2]:
                    large[:, y, x] += max(0, 1 - abs(v - j)) * max(0, 1 - abs(u - i)) * scores[:, j, i]
    return large


def literal(logits: Tensor, masks: Tensor, weights: Tensor | None, bootstrap: float, balanced: bool) -> float:
    """Pixel by pixel, in float64."""
    total = 0.0
    for number, (scores, mask) in enumerate(zip(logits.double(), masks, strict=True)):
        kinds: dict[bool, list[float]] = {}
        probabilities = literal_enlarged(scores, *mask.shape).softmax(dim=0)
        for y, x in (mask != 255).nonzero().tolist():
            column, label = probabilities[:, y, x].tolist(), int(mask[y, x])
            loss = -(1 - bootstrap) * math.log(column[label]) - bootstrap * math.log(max(column))
            kinds.setdefault(balanced and label > 0, []).append(loss)
        picture = sum(sum(losses) / len(losses) for losses in kinds.values())
        total += picture * (1.0 if weights is None else float(weights[number]))
    return total / len(logits)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("bootstrap", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("weights", [None, torch.tensor([0.5, 0.0, 3.0])])
def test_losses_are_the_literal_ones(loss: object, bootstrap: float, weights: Tensor | None) -> None:
    logits, masks = drawn()
    expected = literal(logits, masks, weights, bootstrap, loss is balanced_cross_entropy)
    assert float(loss(logits, masks, weights, bootstrap)) == pytest.approx(expected, rel=1e-9)
    assert float(loss(logits.float(), masks, weights, bootstrap)) == pytest.approx(expected, rel=1e-5)


def test_one_picture_is_pytorchs_cross_entropy() -> None:
    logits, masks = drawn(count=1, small=(7, 5))
    assert torch.allclose(cross_entropy(logits, masks), functional.cross_entropy(logits, masks, ignore_index=255))


@pytest.mark.parametrize("loss", LOSSES)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 999), cut=st.integers(1, 4), bootstrap=st.sampled_from([0.0, 0.3]))
def test_a_loss_does_not_depend_on_how_a_batch_is_cut(loss: object, seed: int, cut: int, bootstrap: float) -> None:
    """Also where a picture has no known pixel, and pictures differ in how many they have."""
    logits, masks = drawn(count=5, seed=seed)
    masks[seed % 5] = 255
    masks[(seed + 1) % 5, 1:] = 255
    weights = torch.rand(5, generator=torch.Generator().manual_seed(seed))
    parts = [slice(0, cut), slice(cut, 5)]
    whole = loss(logits, masks, weights, bootstrap)
    cuts = [loss(logits[part], masks[part], weights[part], bootstrap) * len(masks[part]) / 5 for part in parts]
    assert torch.allclose(whole, sum(cuts), rtol=1e-9)


def test_balance_of_an_undecided_network() -> None:
    """Every pixel costs log C; background and foreground count once each, however many pixels they have."""
    logits, masks = torch.zeros((3, 4, 6, 6)), torch.zeros((3, 6, 6), dtype=torch.int64)
    masks[0, 0, 0] = 3
    masks[1] = 2
    each = [float(balanced_cross_entropy(logits[n : n + 1], masks[n : n + 1])) for n in range(3)]
    assert each == pytest.approx([2 * math.log(4), math.log(4), math.log(4)])
    assert float(cross_entropy(logits, masks)) == pytest.approx(math.log(4))


def test_balance_makes_a_rare_class_count() -> None:
    """One foreground pixel of 100 decides half of the loss."""
    masks = torch.zeros((1, 10, 10), dtype=torch.int64)
    masks[0, 3, 3] = 1
    sure = torch.tensor([9.0, -9.0]).view(1, 2, 1, 1).expand(1, 2, 10, 10)
    assert float(balanced_cross_entropy(sure, masks)) == pytest.approx(18, abs=1e-4)
    assert float(cross_entropy(sure, masks)) == pytest.approx(0.18, abs=1e-4)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("bootstrap", [0.0, 0.4])
def test_a_picture_without_a_known_pixel_teaches_nothing(loss: object, bootstrap: float) -> None:
    logits, masks = drawn()
    masks[1] = 255
    logits.requires_grad_()
    loss(logits, masks, bootstrap=bootstrap).backward()
    assert torch.isfinite(logits.grad).all()
    assert not logits.grad[1].any()
    assert logits.grad[0].any()
    assert loss(logits[1:2].detach(), masks[1:2], bootstrap=bootstrap) == 0


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("bootstrap", [0.0, 0.4])
def test_unknown_pixels_have_no_gradient(loss: object, bootstrap: float) -> None:
    logits, masks = drawn(small=(7, 5))
    logits.requires_grad_()
    loss(logits, masks, bootstrap=bootstrap).backward()
    learnt = logits.grad.abs().sum(dim=1) > 0
    assert torch.equal(learnt, masks != 255)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients(loss: object) -> None:
    logits, masks = drawn(count=2, small=(2, 2), large=(4, 3))
    weights = torch.tensor([0.5, 2.0], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: loss(x, masks, weights, 0.3), logits.requires_grad_())


def test_the_own_answer_is_a_target_without_gradient() -> None:
    """Of one pixel: p minus (1 - b) of the label and b of the highest class."""
    scores = torch.tensor([0.3, 1.5, -0.2], dtype=torch.float64, requires_grad=True)
    cross_entropy(scores.view(1, 3, 1, 1), torch.tensor([[[0]]]), bootstrap=0.25).backward()
    target = torch.tensor([0.75, 0.25, 0.0], dtype=torch.float64)
    assert torch.allclose(scores.grad, scores.detach().softmax(dim=0) - target)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("bootstrap", [0.0, 0.2])
def test_half_precision_is_computed_in_float32(loss: object, bootstrap: float) -> None:
    logits, masks = drawn()
    half = logits.bfloat16()
    expected = loss(half.double(), masks, bootstrap=bootstrap)
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(half, masks, bootstrap=bootstrap)
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(float(expected), rel=1e-5)


def test_what_a_loss_does_not_take() -> None:
    logits, masks = drawn()
    with pytest.raises(
        SettingError, match=r"masks \(N, H, W\) of int64; got \(3, 4, 3, 2\) and \(3, 7, 5\) of .*int32"
    ):
        cross_entropy(logits, masks.int())
    with pytest.raises(SettingError, match=r"got \(2, 4, 3, 2\) and \(3, 7, 5\)"):
        balanced_cross_entropy(logits[:2], masks)
    with pytest.raises(SettingError, match=r"bootstrap is a share of the target, 0 to 1; got 1\.5"):
        cross_entropy(logits, masks, bootstrap=1.5)
