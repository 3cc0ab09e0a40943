from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms.v2 import functional as tv

from advcam.segment import augment
from advcam.segment.augment import (
    View,
    brightness,
    colour_jitter,
    contrast,
    cutmix_box,
    hue,
    random_view,
    saturation,
    strong_view,
)

FILL = (124, 116, 104)


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def noise(width: int = 40, height: int = 30, seed: int = 3) -> Image.Image:
    return Image.fromarray(generator(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def smooth(side: int = 48) -> np.ndarray:
    """Colours as photographs have them."""
    small = Image.fromarray(generator(5).integers(0, 256, (6, 6, 3), dtype=np.uint8))
    return np.array(small.resize((side, side), Image.Resampling.BICUBIC))


def numbered(width: int, height: int) -> np.ndarray:
    """A mask that tells each pixel apart."""
    return np.arange(1000, 1000 + width * height, dtype=np.int32).reshape(height, width)


def literal_views(picture: Image.Image, mask: np.ndarray, crop: int, factor: float) -> list[View]:
    """Resized as a whole, then every crop of it with padding, and its mirror image."""
    width, height = (max(1, round(length * factor)) for length in picture.size)
    pixels = np.array(picture.resize((width, height), Image.Resampling.BILINEAR))
    labels = np.array(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))
    views = []
    for top in range(min(0, height - crop), max(0, height - crop) + 1):
        for left in range(min(0, width - crop), max(0, width - crop) + 1):
            part = np.full((crop, crop, 3), FILL, dtype=np.uint8)
            part_mask = np.full((crop, crop), 255, dtype=np.int32)
            inside = np.zeros((crop, crop), dtype=bool)
            for y in range(crop):
                for x in range(crop):
                    if 0 <= y + top < height and 0 <= x + left < width:
                        part[y, x], part_mask[y, x] = pixels[y + top, x + left], labels[y + top, x + left]
                        inside[y, x] = True
            views += [View(part, part_mask, inside), View(part[:, ::-1], part_mask[:, ::-1], inside[:, ::-1])]
    return views


def same(found: View, expected: View) -> bool:
    """Colours may differ by the rounding of one byte."""
    near = np.abs(found.pixels.astype(int) - expected.pixels.astype(int)).max() <= 1
    return bool(near) and np.array_equal(found.mask, expected.mask) and np.array_equal(found.inside, expected.inside)


@pytest.mark.parametrize("size", [(9, 7), (7, 9), (5, 6), (6, 12), (14, 5)])
@pytest.mark.parametrize("factor", [0.6, 1.0, 1.3])
def test_a_view_is_a_part_of_the_resized_picture(size: tuple[int, int], factor: float) -> None:
    """Each is one of the possible ones, and all of them occur."""
    picture, mask = noise(*size), numbered(*size)
    possible = literal_views(picture, mask, 6, factor)
    random, seen = generator(), set()
    for _ in range(16 * len(possible)):
        view = random_view(picture, mask, 6, (factor, factor), FILL, random)
        matches = [number for number, expected in enumerate(possible) if same(view, expected)]
        assert matches
        seen.add(matches[0])
    assert len(seen) >= len(possible) - 1


def test_the_mask_follows_the_picture() -> None:
    """Objects of one colour on another: where the colour is pure the mask is right, at every size."""
    mask = np.zeros((60, 80), dtype=np.int32)
    mask[10:40, 20:60] = 7
    picture = Image.fromarray(np.where(mask[..., None] == 7, [255, 0, 0], [0, 0, 255]).astype(np.uint8))
    random = generator()
    for _ in range(100):
        view = random_view(picture, mask, 48, (0.4, 2.0), FILL, random)
        assert (view.mask[(view.pixels == (255, 0, 0)).all(axis=-1)] == 7).all()
        assert (view.mask[(view.pixels == (0, 0, 255)).all(axis=-1)] == 0).all()
        assert (view.mask[~view.inside] == 255).all()
        assert (view.pixels[~view.inside] == FILL).all()
        assert set(np.unique(view.mask[view.inside])) <= {0, 7}, "no value is made up on the border"


def test_factors_are_uniform() -> None:
    """The size of a square picture in a large view tells the factor."""
    picture, mask, random = noise(20, 20), numbered(20, 20), generator()
    sides = [random_view(picture, mask, 64, (0.5, 2.0), FILL, random).inside.sum() ** 0.5 for _ in range(600)]
    counts = np.histogram(sides, bins=[9.5, 17.5, 25, 32.5, 40.5])[0]
    assert counts.sum() == 600
    assert (abs(counts - 150) < 45).all()


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(1, 90),
    height=st.integers(1, 90),
    crop=st.integers(1, 40),
    scales=st.tuples(*[st.floats(0.01, 4)] * 2),
)
def test_any_size(width: int, height: int, crop: int, scales: tuple[float, float]) -> None:
    picture, mask = noise(width, height), numbered(width, height)
    view = random_view(picture, mask, crop, (min(scales), max(scales)), FILL, generator(width))
    assert view.pixels.shape == (crop, crop, 3)
    assert view.mask.shape == view.inside.shape == (crop, crop)
    assert (view.pixels.dtype, view.mask.dtype) == (np.uint8, np.int32)
    assert np.array_equal(view.mask == 255, ~view.inside)
    assert view.inside.any()


def test_pictures_of_other_modes() -> None:
    view = random_view(noise().convert("L"), numbered(40, 30), 16, (1, 1), FILL, generator())
    assert (view.pixels == view.pixels[..., :1]).all()


def tensor(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)


def difference(found: np.ndarray, expected: torch.Tensor) -> int:
    """The largest one, in bytes."""
    return int((tensor(found).int() - expected.int()).abs().max())


@pytest.mark.parametrize("pixels", [np.array(noise()), smooth()], ids=["noise", "smooth"])
@pytest.mark.parametrize("factor", [0.5, 0.83, 1.0, 1.31, 1.5])
def test_colours_are_torchvisions(pixels: np.ndarray, factor: float) -> None:
    before = pixels.copy()
    assert difference(brightness(pixels, factor), tv.adjust_brightness(tensor(pixels), factor)) <= 1
    assert difference(contrast(pixels, factor), tv.adjust_contrast(tensor(pixels), factor)) <= 1
    assert difference(saturation(pixels, factor), tv.adjust_saturation(tensor(pixels), factor)) <= 2
    assert difference(saturation(pixels, 0), tv.rgb_to_grayscale(tensor(pixels), 3)) <= 1
    assert np.array_equal(pixels, before)


@pytest.mark.parametrize("turns", [-0.25, -0.1, 0.0, 0.07, 0.25])
def test_hues_are_torchvisions(turns: float) -> None:
    """In floats; with a byte for the hue a step of it is up to six steps of a colour."""
    pixels = smooth()
    expected = tv.adjust_hue(tensor(pixels).float() / 255, turns) * 255
    found = tensor(hue(pixels, turns)).float()
    assert (found - expected).abs().max() <= 9
    assert (found - expected).abs().mean() <= 0.75
    assert turns == 0 or (found - tensor(pixels).float()).abs().mean() > 5


def test_hues_in_closed_form() -> None:
    """A third of a turn takes red to green, a quarter forward and back is nothing, grey has no hue."""
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [90, 90, 90]]], dtype=np.uint8)
    assert difference(hue(colours, 1 / 3), tensor(colours[:, [1, 2, 0, 3]])) <= 6
    assert difference(hue(colours, -1 / 3), tensor(colours[:, [2, 0, 1, 3]])) <= 6
    assert difference(hue(hue(colours, 0.25), -0.25), tensor(colours)) <= 12
    assert np.array_equal(hue(colours, 0.2)[0, 3], [90, 90, 90])


def test_blur_is_torchvisions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Colours and greyscale are left out; the standard deviation is drawn from 0.1 to 2."""
    monkeypatch.setattr(augment, "_JITTER", 0.0)
    monkeypatch.setattr(augment, "_GREYSCALE", 0.0)
    monkeypatch.setattr(augment, "_BLUR", 1.0)
    pixels = np.array(noise())
    for seed in range(8):
        random = generator(seed)
        random.random(3)
        sigma = random.uniform(0.1, 2.0)
        side = 2 * int(np.ceil(3 * sigma)) + 1
        found = strong_view(pixels, generator(seed))
        assert difference(found, tv.gaussian_blur(tensor(pixels), [side, side], [sigma, sigma])) <= 1


def test_the_parts_of_a_strong_view(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jitter 80 %, greyscale 20 %, blur 50 % of the time, independently."""
    counts: Counter[str] = Counter()
    monkeypatch.setattr(augment, "colour_jitter", lambda pixels, _: counts.update(["jitter"]) or pixels)
    monkeypatch.setattr(augment, "saturation", lambda pixels, factor: counts.update([f"grey{factor}"]) or pixels)
    pixels, random = np.array(noise(12, 12)), generator()
    for _ in range(2000):
        counts["blur"] += not np.array_equal(strong_view(pixels, random), pixels)
    assert counts.keys() == {"jitter", "grey0.0", "blur"}
    assert abs(counts["jitter"] - 1600) < 80
    assert abs(counts["grey0.0"] - 400) < 80
    # The narrowest blurs (below 0.2 pixels, 1 in 20) change no byte.
    assert abs(counts["blur"] - 960) < 100


def test_jitter_draws_every_order_and_the_whole_range(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, float]] = []
    for name in ("brightness", "contrast", "saturation", "hue"):
        monkeypatch.setattr(augment, name, lambda pixels, amount, name=name: calls.append((name, amount)) or pixels)
    random = generator()
    for _ in range(1200):
        colour_jitter(np.zeros((1, 1, 3), np.uint8), random)
    orders = Counter(tuple(name for name, _ in calls[start : start + 4]) for start in range(0, len(calls), 4))
    assert len(orders) == 24
    assert min(orders.values()) > 20
    for name, low, high in (
        ("brightness", 0.5, 1.5),
        ("contrast", 0.5, 1.5),
        ("saturation", 0.5, 1.5),
        ("hue", -0.25, 0.25),
    ):
        amounts = [amount for called, amount in calls if called == name]
        assert low <= min(amounts) < low + 0.02 * (high - low)
        assert high - 0.02 * (high - low) < max(amounts) <= high


def test_a_jitter_is_torchvisions_in_its_order() -> None:
    """The same amounts, in torchvision's functions."""
    changes = [tv.adjust_brightness, tv.adjust_contrast, tv.adjust_saturation, tv.adjust_hue]
    for seed in range(10):
        random = generator(seed)
        amounts = [*random.uniform(0.5, 1.5, 3), random.uniform(-0.25, 0.25)]
        expected = tensor(smooth())
        for number in random.permutation(4):
            expected = changes[number](expected, float(amounts[number]))
        found = tensor(colour_jitter(smooth(), generator(seed))).int()
        assert (found - expected.int()).abs().float().mean() < 3


def test_a_strong_view_leaves_its_picture_and_is_the_generators() -> None:
    pixels = np.array(noise())
    before = pixels.copy()
    views = [strong_view(pixels, generator(seed)) for seed in range(30)]
    assert np.array_equal(pixels, before)
    assert all(view.shape == pixels.shape and view.dtype == np.uint8 for view in views)
    assert all(np.array_equal(view, strong_view(pixels, generator(seed))) for seed, view in enumerate(views))
    assert len({view.tobytes() for view in views}) > 20


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 10**6), crop=st.integers(8, 200))
def test_a_cutmix_box(seed: int, crop: int) -> None:
    box = cutmix_box(crop, generator(seed))
    assert box.shape == (crop, crop)
    if box.any():
        rows, columns = np.flatnonzero(box.any(axis=1)), np.flatnonzero(box.any(axis=0))
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert box.sum() == height * width, "a whole rectangle"
        assert height * width <= 0.4 * crop**2
        assert (height + 1) * (width + 1) > 0.02 * crop**2
        assert height / (width + 1) < 1 / 0.3
        assert width / (height + 1) < 1 / 0.3


def literal_box(side: int, random: np.random.Generator) -> tuple[int, int, int, int] | None:
    """UniMatch's published drawing, as it reads."""
    if random.random() > 0.5:
        return None
    size = random.uniform(0.02, 0.4) * side * side
    while True:
        ratio = random.uniform(0.3, 1 / 0.3)
        w, h = int((size / ratio) ** 0.5), int((size * ratio) ** 0.5)
        x, y = int(random.integers(0, side)), int(random.integers(0, side))
        if x + w <= side and y + h <= side:
            return x, y, w, h


def test_cutmix_boxes_lie_as_in_unimatch() -> None:
    """Half of them are empty; each pixel is covered as often as by the literal drawing."""
    random, other, count = generator(1), generator(2), 4000
    boxes = [cutmix_box(32, random) for _ in range(count)]
    covered = np.zeros((32, 32))
    for _ in range(count):
        if (place := literal_box(32, other)) is not None:
            x, y, w, h = place
            covered[y : y + h, x : x + w] += 1
    assert abs(sum(box.any() for box in boxes) - count / 2) < 130
    assert np.abs(np.mean(boxes, axis=0) - covered / count).max() < 0.04
