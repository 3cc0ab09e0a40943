from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from skimage.measure import label, regionprops
from torch import Tensor, nn
from torch.nn import functional

from advcam.segment.semi.decoders import AuxiliaryDecoder
from advcam.segment.semi.perturbations import (
    dropout,
    feature_drop,
    feature_noise,
    guided_cutout,
    mask_context,
    mask_objects,
    object_boxes,
    virtual_adversarial,
)

MASKS = arrays(np.bool_, (2, 7, 9))


def features(seed: int = 0, shape: tuple[int, ...] = (2, 3, 4, 5)) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def foreground() -> Tensor:
    mask = torch.zeros(2, 8, 10, dtype=torch.bool)
    mask[0, 1:5, 2:9] = True
    mask[1, 6:, :4] = True
    return mask


def all_of_them() -> dict[str, Callable[[Tensor], Tensor]]:
    torch.manual_seed(0)
    decoder, mask = AuxiliaryDecoder(3, 4, 2), foreground()
    boxes = object_boxes(mask)
    return {
        "noise": lambda z: feature_noise(z, 0.3),
        "drop": lambda z: feature_drop(z, 0.6, 0.9),
        "dropout": lambda z: dropout(z, 0.5),
        "context": lambda z: mask_context(z, mask),
        "objects": lambda z: mask_objects(z, mask),
        "cutout": lambda z: guided_cutout(z, boxes, 0.5),
        "vat": lambda z: virtual_adversarial(z, decoder, torch.ones_like(mask), 2.0),
    }


@pytest.mark.parametrize("name", all_of_them())
def test_each_perturbs_a_copy_and_lets_gradients_through(name: str) -> None:
    z = features().requires_grad_()
    before = z.detach().clone()
    torch.manual_seed(3)
    perturbed = all_of_them()[name](z)
    assert perturbed.shape == z.shape
    assert torch.equal(z.detach(), before)
    assert not torch.equal(perturbed, z)
    (gradient,) = torch.autograd.grad(perturbed.sum(), z)
    factor = torch.ones_like(z) if name == "vat" else perturbed.detach() / before
    torch.testing.assert_close(gradient, factor)


@pytest.mark.parametrize("name", ["noise", "drop", "dropout", "cutout", "vat"])
def test_randomness_is_that_of_the_global_generator(name: str) -> None:
    perturb, z = all_of_them()[name], features()
    found = []
    for seed in (1, 1, 2, 3, 4, 5):
        torch.manual_seed(seed)
        found.append(perturb(z))
    assert torch.equal(found[0], found[1])
    assert not all(torch.equal(found[0], other) for other in found[2:])


def test_noise_is_uniform_and_another_at_each_place() -> None:
    torch.manual_seed(0)
    z = features(shape=(2, 20, 10, 10))
    noise = ((feature_noise(z, 0.3) - z) / z).flatten().sort().values
    torch.testing.assert_close(noise, torch.linspace(-0.3, 0.3, len(noise)), atol=0.02, rtol=0)
    assert not torch.equal(*(feature_noise(z[:1].expand_as(z), 0.3)).unbind())


def literal_drop(z: NDArray[np.float64], threshold: float) -> NDArray[np.float64]:
    """F-Drop, place by place."""
    _, height, width = z.shape
    sums = {(y, x): sum(abs(z[:, y, x])) for y in range(height) for x in range(width)}
    largest, out = max(sums.values()), z.copy()
    for (y, x), value in sums.items():
        if value / largest >= threshold:
            out[:, y, x] = 0
    return out


@pytest.mark.parametrize("threshold", [0.3, 0.6, 0.9, 1.0])
def test_feature_drop_is_the_literal_one(threshold: float) -> None:
    z = features().double()
    for got, one in zip(feature_drop(z, threshold, threshold), z, strict=True):
        np.testing.assert_array_equal(got, literal_drop(one.numpy(), threshold))


def test_threshold_of_the_feature_drop_is_uniform_and_each_pictures_own() -> None:
    torch.manual_seed(0)
    ramp = (torch.arange(1000) + 1).float().expand(300, 1, 1, 1000)
    kept = (feature_drop(ramp, 0.6, 0.9) > 0).sum(dim=(1, 2, 3)).sort().values / 1000
    torch.testing.assert_close(kept, torch.linspace(0.6, 0.9, 300), atol=0.04, rtol=0)


def test_dropout_takes_whole_channels_of_one_picture() -> None:
    torch.manual_seed(0)
    z = torch.ones(50, 40, 2, 3)
    factors = dropout(z, 0.4)
    assert torch.equal(factors, factors[:, :, :1, :1].expand_as(z))
    kept = factors[:, :, 0, 0] > 0
    torch.testing.assert_close(factors[:, :, 0, 0][kept], torch.full((int(kept.sum()),), 1 / 0.6))
    assert abs(kept.float().mean() - 0.6) < 0.03


@settings(deadline=None)
@given(MASKS)
def test_context_and_objects_are_complements(mask: NDArray[np.bool_]) -> None:
    z, given_mask = features(), torch.from_numpy(mask)
    context, objects = mask_context(z, given_mask), mask_objects(z, given_mask)
    assert torch.equal(context + objects, z)
    assert not (context * objects).any()
    for y in range(4):
        for x in range(5):
            inside = mask[:, int((y + 0.5) * 7 / 4), int((x + 0.5) * 9 / 5)]  # the pixel under the centre
            assert torch.equal(context[:, :, y, x] != 0, torch.from_numpy(inside)[:, None].expand(2, 3))


@settings(deadline=None)
@given(MASKS)
def test_boxes_are_those_of_another_library(mask: NDArray[np.bool_]) -> None:
    expected = set()
    for number, one in enumerate(mask):
        for region in regionprops(label(one, connectivity=2)):
            top, left, bottom, right = region.bbox
            expected.add((number, left, top, right, bottom))
    boxes = object_boxes(torch.from_numpy(mask)) * torch.tensor([1, 9, 7, 9, 7])
    assert {tuple(box) for box in boxes.round().int().tolist()} == expected
    assert len(boxes) == sum(label(one, connectivity=2).max() for one in mask)


def test_a_picture_of_background_has_no_box_and_is_left_whole() -> None:
    boxes = object_boxes(torch.zeros(2, 8, 8, dtype=torch.bool))
    assert boxes.shape == (0, 5)
    assert torch.equal(guided_cutout(features(), boxes, 0.4), features())


def literal_cutout(z: Tensor, boxes: Tensor, draws: Tensor, share: float) -> Tensor:
    """G-Cutout, box by box and place by place, in float64."""
    out = z.clone()
    for (number, left, top, right, bottom), (u, v) in zip(boxes.tolist(), draws.tolist(), strict=True):
        width, height = share * (right - left), share * (bottom - top)
        start_x, start_y = left + u * (right - left - width), top + v * (bottom - top - height)
        for y in range(z.shape[2]):
            for x in range(z.shape[3]):
                centre_x, centre_y = (x + 0.5) / z.shape[3], (y + 0.5) / z.shape[2]
                if start_x <= centre_x < start_x + width and start_y <= centre_y < start_y + height:
                    out[int(number), :, y, x] = 0
    return out


@pytest.mark.parametrize("seed", range(5))
def test_cutout_is_the_literal_one(seed: int) -> None:
    z = features(seed, (3, 2, 12, 11))
    mask = features(seed, (3, 1, 9, 10))[:, 0] > 0.8
    boxes = object_boxes(mask)
    torch.manual_seed(seed)
    got = guided_cutout(z, boxes, 0.7)
    torch.manual_seed(seed)
    assert torch.equal(got, literal_cutout(z, boxes, torch.rand(len(boxes), 2), 0.7))
    assert not torch.equal(got, z)


def test_a_cutout_has_its_size_and_comes_everywhere_in_its_box_and_nowhere_else() -> None:
    torch.manual_seed(0)
    mask = torch.zeros(20, 30, dtype=torch.bool)
    mask[5:15, 7:27] = True
    boxes = object_boxes(mask[None].expand(5000, -1, -1))
    cut = guided_cutout(torch.ones(5001, 1, 20, 30), boxes, 0.4)[:, 0] == 0
    assert (cut[:-1].sum(dim=(1, 2)) == 4 * 8).all()
    assert torch.equal(cut.any(dim=0), mask)
    assert not cut[-1].any()  # a picture without objects


def test_a_whole_box_or_nothing_is_cut() -> None:
    mask = foreground()
    z, boxes = torch.ones(2, 1, 8, 10), object_boxes(mask)
    assert torch.equal(guided_cutout(z, boxes, 1.0)[:, 0] == 0, mask)
    assert torch.equal(guided_cutout(z, boxes, 0.0), z)


def first_direction(z: Tensor, seed: int) -> Tensor:
    """The random start of I-VAT."""
    torch.manual_seed(seed)
    start = torch.rand_like(z) - 0.5
    return (start / start.flatten(1).norm(dim=1)[:, None, None, None]).double()


def decoders() -> dict[str, nn.Module]:
    torch.manual_seed(4)
    smooth = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.Tanh(), nn.ConvTranspose2d(5, 4, 2, stride=2))
    return {"published": AuxiliaryDecoder(3, 4, 2), "smooth": smooth}


@pytest.mark.parametrize("name", decoders())
def test_adversarial_direction_is_jacobian_fisher_jacobian(name: str) -> None:
    z, decoder, radius = features(), decoders()[name], 1.5
    inside = features(7, (2, 1, 8, 10))[:, 0] > -0.5
    start = first_direction(z, seed=5)
    torch.manual_seed(5)
    got = virtual_adversarial(z, decoder, inside, radius) - z
    decoder.double()
    for number, one in enumerate(z.double()):

        def logits_of(x: Tensor) -> Tensor:
            return decoder(x[None])[0]

        jacobian = torch.autograd.functional.jacobian(logits_of, one).reshape(4, 8, 10, -1)
        p, direction = logits_of(one).softmax(dim=0).detach(), torch.zeros(one.numel(), dtype=torch.float64)
        for y, x in inside[number].nonzero().tolist():
            fisher = torch.diag(p[:, y, x]) - torch.outer(p[:, y, x], p[:, y, x])
            direction += jacobian[:, y, x].T @ fisher @ jacobian[:, y, x] @ start[number].flatten()
        expected = radius * (direction / direction.norm()).reshape(one.shape)
        torch.testing.assert_close(got[number].double(), expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", decoders())
def test_adversarial_direction_is_the_published_one_in_double_precision(name: str) -> None:
    z, decoder = features(), decoders()[name]
    start = first_direction(z, seed=6)
    torch.manual_seed(6)
    got = virtual_adversarial(z, decoder, torch.ones(2, 8, 10, dtype=torch.bool), 1.0) - z
    decoder.double()
    target = decoder(z.double()).softmax(dim=1).detach()
    d = start.requires_grad_()
    changed = decoder(z.double() + 1e-6 * d).log_softmax(dim=1)
    (gradient,) = torch.autograd.grad(functional.kl_div(changed, target, reduction="sum"), d)
    expected = gradient / gradient.flatten(1).norm(dim=1)[:, None, None, None]
    torch.testing.assert_close(got.double(), expected, atol=1e-4, rtol=1e-3)


def test_adversarial_features_change_the_answer_more_than_random_ones() -> None:
    z, decoder = features(shape=(4, 3, 6, 6)), decoders()["smooth"]
    torch.manual_seed(0)
    adversarial = virtual_adversarial(z, decoder, torch.ones(4, 12, 12, dtype=torch.bool), 1.0)
    assert all(parameter.grad is None for parameter in decoder.parameters())
    torch.testing.assert_close((adversarial - z).flatten(1).norm(dim=1), torch.ones(4))

    def divergence(other: Tensor) -> Tensor:
        return functional.kl_div(decoder(other).log_softmax(1), decoder(z).softmax(1), reduction="none").sum((1, 2, 3))

    for seed in range(5):
        assert (divergence(adversarial) > 2 * divergence(z + first_direction(z, seed).float())).all()


def test_what_is_not_inside_has_no_say_in_the_adversarial_direction() -> None:
    z, inside = features(), torch.zeros(2, 4, 5, dtype=torch.bool)
    inside[0, :2] = True
    moved = virtual_adversarial(z, AuxiliaryDecoder(3, 4, 1), inside, 1.0) != z  # 1 x 1: a place answers for itself
    assert torch.equal(moved.any(dim=1), inside)


def test_pictures_do_not_see_each_other() -> None:
    z, mask = features(), foreground()
    perturbations: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "drop": lambda z, _: feature_drop(z, 0.7, 0.7),
        "context": mask_context,
        "objects": mask_objects,
        "cutout": lambda z, mask: guided_cutout(z, object_boxes(mask), 1.0),
    }
    for perturb in perturbations.values():
        alone = torch.cat([perturb(z[n : n + 1], mask[n : n + 1]) for n in range(2)])
        assert torch.equal(perturb(z, mask), alone)
