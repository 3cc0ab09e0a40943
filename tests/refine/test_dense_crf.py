"""The dense CRF: against pydensecrf, against sums over all pairs of pixels in float64, and closed forms."""

import math

import numpy as np
import pytest
import skimage.data
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydensecrf.densecrf import DenseCRF2D
from pydensecrf.utils import unary_from_labels, unary_from_softmax
from torch.nn import functional

from advcam.errors import PictureError, SettingError
from advcam.refine.dense_crf import DEEPLAB, IRN_LABELS, CrfSettings, dense_crf, label_unary, probability_unary

QUICK = settings(derandomize=True, deadline=None, max_examples=25)
NARROW = CrfSettings(iterations=3, gaussian_sxy=1.5, bilateral_sxy=4.0, bilateral_srgb=20.0)


def photograph(name, height, width):
    """A photograph of scikit-image, (1, 3, H, W), uint8, made small."""
    picture = torch.from_numpy(getattr(skimage.data, name)()).permute(2, 0, 1)[None].float()
    return functional.interpolate(picture, (height, width), mode="area").round().to(torch.uint8)


def blocky_labels(height, width, labels, seed=0):
    """Random labels in blocks of 9 pixels, every tenth pixel or so drawn anew, (1, H, W)."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, labels, (-(-height // 9), -(-width // 9)))
    blocks = np.kron(coarse, np.ones((9, 9), dtype=np.int64))[:height, :width]
    wrong = generator.random((height, width)) < 0.1
    return torch.from_numpy(np.where(wrong, generator.integers(0, labels, (height, width)), blocks))[None]


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def noise(*shape, seed=0):
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def by_pydensecrf(picture, unary, chosen):
    """Marginals of one picture (3, H, W) by the published program."""
    labels, height, width = unary.shape
    field = DenseCRF2D(width, height, labels)
    field.setUnaryEnergy(np.ascontiguousarray(unary.reshape(labels, -1).numpy()))
    field.addPairwiseGaussian(sxy=chosen.gaussian_sxy, compat=chosen.gaussian_weight)
    field.addPairwiseBilateral(
        sxy=chosen.bilateral_sxy,
        srgb=chosen.bilateral_srgb,
        rgbim=np.ascontiguousarray(picture.permute(1, 2, 0).numpy()),
        compat=chosen.bilateral_weight,
    )
    return torch.from_numpy(np.array(field.inference(chosen.iterations))).view(labels, height, width)


def literal_crf(picture, unary, chosen):
    """Mean field with sums over all pairs of pixels, from the equations of the paper, in float64."""
    labels, height, width = unary.shape
    y, x = np.mgrid[:height, :width]
    place = np.stack([y, x], -1).reshape(-1, 2).astype(float)
    colour = picture.permute(1, 2, 0).reshape(-1, 3).numpy().astype(float)

    def squares(features):
        return np.square(features[:, None] - features[None]).sum(-1)

    kernels = []
    for weight, distance in (
        (chosen.gaussian_weight, squares(place / chosen.gaussian_sxy)),
        (
            chosen.bilateral_weight,
            squares(place / chosen.bilateral_sxy) + squares(colour / chosen.bilateral_srgb),
        ),
    ):
        g = np.exp(-distance / 2)
        n = g.sum(1)
        kernels.append(weight * g / np.sqrt(n[:, None] * n[None]))
    u = unary.reshape(labels, -1).numpy().astype(float).T
    q = np.exp(-u) / np.exp(-u).sum(1, keepdims=True)
    for _ in range(chosen.iterations):
        energy = u - sum(k @ q for k in kernels)
        q = np.exp(-energy) / np.exp(-energy).sum(1, keepdims=True)
    return torch.from_numpy(q.T.reshape(labels, height, width))


@pytest.mark.parametrize("chosen", [IRN_LABELS, DEEPLAB], ids=["irn", "deeplab"])
@pytest.mark.parametrize(("name", "height", "width"), [("astronaut", 96, 120), ("coffee", 75, 113), ("cat", 90, 64)])
def test_agrees_with_pydensecrf(name, height, width, chosen):
    picture = photograph(name, height, width)
    unary = label_unary(blocky_labels(height, width, 6), 6)
    theirs, ours = by_pydensecrf(picture[0], unary[0], chosen), dense_crf(picture, unary, chosen)[0]
    assert (ours - theirs).abs().max() < 1e-2
    assert (ours.argmax(0) == theirs.argmax(0)).float().mean() > 0.995
    assert (theirs.argmax(0) != unary[0].argmin(0)).float().mean() > 0.02


@pytest.mark.parametrize("chosen", [IRN_LABELS, DEEPLAB], ids=["irn", "deeplab"])
def test_equals_pydensecrf_where_nothing_is_filled_up(chosen):
    # A factor that differs in its last bit gives other lattice points at some pixels, and there 0.001 to 0.4.
    picture, unary = torch.cat([noise(1, 3, 60, 80), photograph("coffee", 60, 80)], 2), drawn(1, 4, 120, 80)
    expected = by_pydensecrf(picture[0], unary[0], chosen)
    torch.testing.assert_close(dense_crf(picture, unary, chosen)[0], expected, atol=2e-4, rtol=0)


def test_approximates_sums_over_all_pairs():
    picture = photograph("astronaut", 24, 26)
    unary = label_unary(blocky_labels(24, 26, 3, seed=2), 3)
    chosen = CrfSettings(5, gaussian_sxy=2.0, gaussian_weight=1.0, bilateral_sxy=8.0, bilateral_srgb=30.0)
    expected, got = literal_crf(picture[0], unary[0], chosen), dense_crf(picture, unary, chosen)[0]
    assert (got - expected).abs().mean() < 0.03
    assert (got.argmax(0) == expected.argmax(0)).float().mean() > 0.97
    assert (expected.argmax(0) != unary[0].argmin(0)).float().mean() > 0.1


def test_no_iteration_is_the_softmax():
    unary = drawn(1, 4, 6, 5)
    torch.testing.assert_close(dense_crf(noise(1, 3, 6, 5), unary, CrfSettings(iterations=0)), (-unary).softmax(1))


def test_without_weights_it_is_the_softmax():
    unary = drawn(1, 4, 6, 5)
    chosen = CrfSettings(gaussian_weight=0, bilateral_weight=0)
    torch.testing.assert_close(dense_crf(noise(1, 3, 6, 5), unary, chosen), (-unary).softmax(1))


def test_one_pixel_by_hand():
    # Symmetric normalisation makes the kernel of a pixel with itself 1, so that each step adds w Q to -u.
    unary = torch.tensor([0.0, 1.0])
    expected = (-unary).softmax(0)
    for _ in range(2):
        expected = (5.0 * expected - unary).softmax(0)
    chosen = CrfSettings(iterations=2, gaussian_weight=2.0, bilateral_weight=3.0)
    torch.testing.assert_close(dense_crf(noise(1, 3, 1, 1), unary.view(1, 2, 1, 1), chosen).flatten(), expected)


def test_equal_energies_stay_equal():
    marginals = dense_crf(torch.full((1, 3, 9, 7), 80, dtype=torch.uint8), torch.full((1, 5, 9, 7), 2.0))
    torch.testing.assert_close(marginals, torch.full((1, 5, 9, 7), 0.2))


def test_wrong_pixels_in_flat_regions_are_put_right():
    picture = torch.zeros(1, 3, 20, 30)
    picture[..., 15:] = 200.0
    truth = (picture[:, 0] > 0).long()
    labels = truth.clone()
    labels[0, 5, 3] = 1
    labels[0, 11, 13:17] = torch.tensor([1, 1, 0, 0])
    assert torch.equal(dense_crf(picture, label_unary(labels, 2)).argmax(1), truth)


@QUICK
@given(
    height=st.integers(1, 9), width=st.integers(1, 9), labels=st.integers(1, 5), count=st.integers(1, 3),
    seed=st.integers(0, 1000),
)  # fmt: skip
def test_marginals_are_probabilities_and_a_batch_gives_what_its_pictures_give(height, width, labels, count, seed):
    pictures = noise(count, 3, height, width, seed=seed)
    unary = 3 * drawn(count, labels, height, width, seed=seed)
    marginals = dense_crf(pictures, unary, NARROW)
    assert marginals.shape == unary.shape
    assert marginals.dtype == torch.float32
    assert marginals.min() >= 0
    torch.testing.assert_close(marginals.sum(1), torch.ones(count, height, width))
    alone = [dense_crf(pictures[n : n + 1], unary[n : n + 1], NARROW) for n in range(count)]
    assert torch.equal(marginals, torch.cat(alone))


@pytest.mark.parametrize(("height", "width"), [(1, 40), (40, 1)])
def test_pictures_one_pixel_wide_agree_with_pydensecrf(height, width):
    picture, unary = noise(1, 3, height, width), drawn(1, 3, height, width)
    expected = by_pydensecrf(picture[0], unary[0], NARROW)
    torch.testing.assert_close(dense_crf(picture, unary, NARROW)[0], expected, atol=1e-4, rtol=0)


def test_the_order_of_labels_does_not_matter():
    picture, unary = photograph("cat", 30, 20), drawn(1, 4, 30, 20)
    order = [2, 0, 3, 1]
    torch.testing.assert_close(
        dense_crf(picture, unary[:, order]), dense_crf(picture, unary)[:, order], atol=1e-4, rtol=0
    )


def test_floats_equal_bytes_and_inputs_stay_as_they_are():
    picture, unary = photograph("cat", 30, 20), drawn(1, 4, 30, 20)
    before = unary.clone()
    assert torch.equal(dense_crf(picture.double(), unary.double()), dense_crf(picture, unary))
    assert torch.equal(unary, before)
    channels_last = unary.movedim(1, 3).contiguous()
    assert torch.equal(dense_crf(picture, channels_last.movedim(3, 1)), dense_crf(picture, unary))
    assert torch.equal(channels_last.movedim(3, 1), before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_what_the_cpu_gives():
    picture, unary = photograph("astronaut", 96, 120), drawn(1, 4, 96, 120)
    marginals = dense_crf(picture.cuda(), unary.cuda())
    assert marginals.is_cuda
    assert (marginals.cpu() - dense_crf(picture, unary)).abs().max() < 1e-3


@pytest.mark.parametrize(("labels", "confidence"), [(2, 0.7), (21, 0.7), (5, 0.95)])
def test_label_unary_equals_pydensecrf(labels, confidence):
    drawn_labels = blocky_labels(20, 30, labels)
    expected = unary_from_labels(drawn_labels[0].numpy(), labels, confidence, zero_unsure=False)
    got = label_unary(drawn_labels, labels, confidence)
    torch.testing.assert_close(got[0], torch.from_numpy(expected).view(labels, 20, 30))


def test_a_single_label_is_certain():
    unary = label_unary(torch.zeros(1, 2, 3, dtype=torch.int64), 1)
    torch.testing.assert_close(unary, torch.full((1, 1, 2, 3), -math.log(0.7)))
    assert torch.equal(dense_crf(noise(1, 3, 2, 3), unary), torch.ones(1, 1, 2, 3))


def test_probability_unary_equals_pydensecrf():
    probabilities = (4 * drawn(1, 5, 6, 7)).softmax(1)
    probabilities[0, :, 0, 0] = torch.tensor([1.0, 0, 0, 0, 0])
    expected = unary_from_softmax(probabilities[0].numpy())
    torch.testing.assert_close(probability_unary(probabilities)[0], torch.from_numpy(expected).view(5, 6, 7))


def test_the_published_settings():
    assert CrfSettings(10, 3, 3, 50, 5, 10) == IRN_LABELS
    assert CrfSettings(10, 1, 3, 67, 3, 4) == DEEPLAB


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("iterations", -1, "iterations of the dense CRF is at least 0; got -1"),
        ("gaussian_sxy", 0.0, "gaussian_sxy, a standard deviation, is positive and finite; got 0.0"),
        ("bilateral_srgb", math.nan, "bilateral_srgb, a standard deviation, is positive and finite; got nan"),
        ("bilateral_sxy", math.inf, "bilateral_sxy, a standard deviation, is positive and finite; got inf"),
        ("bilateral_weight", -2.0, "bilateral_weight is finite and not negative; got -2.0"),
    ],
)
def test_settings_out_of_range(field, value, message):
    with pytest.raises(SettingError) as caught:
        CrfSettings(**{field: value})
    assert str(caught.value) == message


NOT_RGB = (
    "a dense CRF takes RGB pictures with at least one pixel, (N, 3, H, W); got shape {}; repeat the channel of grey "
    "pictures three times"
)
OUT_OF_RANGE = "a dense CRF takes pictures with values from 0 to 255; got {0} to {0}; undo the normalisation"
OTHER_SHAPE = (
    "unary energies are (N, L, H, W) with at least one label, at the size of the pictures (1, 3, 4, 5); got shape {}; "
    "resize them to the pictures"
)
NOT_FINITE = "unary energies are finite; got NaN or infinity; use probability_unary, which cuts small probabilities off"
BLACK = torch.zeros(1, 3, 4, 5)


@pytest.mark.parametrize(
    ("pictures", "unary", "error", "message"),
    [
        (torch.zeros(2, 1, 4, 5), torch.zeros(2, 3, 4, 5), PictureError, NOT_RGB.format((2, 1, 4, 5))),
        (torch.zeros(1, 3, 0, 5), torch.zeros(1, 3, 0, 5), PictureError, NOT_RGB.format((1, 3, 0, 5))),
        (torch.full((1, 3, 4, 5), -2.0), torch.zeros(1, 3, 4, 5), PictureError, OUT_OF_RANGE.format("-2")),
        (torch.full((1, 3, 4, 5), math.nan), torch.zeros(1, 3, 4, 5), PictureError, OUT_OF_RANGE.format("nan")),
        (BLACK, torch.zeros(1, 3, 5, 4), SettingError, OTHER_SHAPE.format((1, 3, 5, 4))),
        (BLACK, torch.zeros(1, 0, 4, 5), SettingError, OTHER_SHAPE.format((1, 0, 4, 5))),
        (BLACK, torch.full((1, 2, 4, 5), math.nan), SettingError, NOT_FINITE),
        (BLACK, torch.full((1, 2, 4, 5), math.inf), SettingError, NOT_FINITE),
    ],
)
def test_unusable_inputs_are_refused(pictures, unary, error, message):
    with pytest.raises(error) as caught:
        dense_crf(pictures, unary)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(1, 2, 2).long(), 0), "a dense CRF takes at least 1 label; got num_labels=0"),
        ((torch.zeros(1, 2, 2).long(), 3, 1.0), "confidence lies between 0 and 1, both excluded; got 1.0"),
        ((torch.zeros(1, 2, 2), 3), "labels are (N, H, W), int64; got shape (1, 2, 2) of torch.float32"),
        (
            (torch.full((1, 2, 2), 255), 21),
            "labels count from 0 to 20; got 255 to 255; give pixels to ignore a label of their own",
        ),
    ],
)
def test_unusable_labels_are_refused(arguments, message):
    with pytest.raises(SettingError) as caught:
        label_unary(*arguments)
    assert str(caught.value) == message


def test_scores_are_no_probabilities():
    with pytest.raises(SettingError) as caught:
        probability_unary(torch.tensor([-1.0, 3.0]).view(1, 2, 1, 1))
    assert str(caught.value) == "probabilities lie between 0 and 1; got -1 to 3; take the softmax of scores first"
