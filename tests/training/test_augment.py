import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import v2

from advcam.training.augment import (
    RECIPES,
    Normalisation,
    Preparation,
    flip,
    random_box,
    random_crop,
    resize_longest,
    squeeze,
    voc_evaluate,
    voc_train,
)

NORMALISE = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def picture(width: int = 60, height: int = 40) -> Image.Image:
    pixels = np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_normalisation_is_torchvisions() -> None:
    expected = v2.Compose(
        [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(NORMALISE.mean, NORMALISE.std)]
    )(picture())
    assert torch.allclose(NORMALISE(picture()), expected, atol=1e-6)
    assert NORMALISE(picture().convert("L")).shape == (3, 40, 60)


def literal_crop(pixels: torch.Tensor, size: int, top: int, left: int) -> torch.Tensor:
    """Pixel by pixel: position (y, x) of the crop lies at (y + top, x + left) of the picture, which may be outside."""
    crop = torch.zeros((3, size, size))
    for y in range(size):
        for x in range(size):
            if 0 <= y + top < pixels.shape[1] and 0 <= x + left < pixels.shape[2]:
                crop[:, y, x] = pixels[:, y + top, x + left]
    return crop


@pytest.mark.parametrize("size", [(6, 9), (9, 6), (5, 5), (8, 8), (12, 12), (8, 3)])
def test_random_crop(size: tuple[int, int]) -> None:
    """Each crop is one of the possible ones, and all of them occur."""
    pixels = torch.rand((3, *size), generator=torch.Generator().manual_seed(0)) + 0.1
    starts = [range(min(0, side - 8), max(0, side - 8) + 1) for side in size]
    possible = {(y, x): literal_crop(pixels, 8, y, x) for y in starts[0] for x in starts[1]}
    random, seen = generator(), set()
    for _ in range(400):
        crop = random_crop(pixels, 8, random)
        found = [place for place, expected in possible.items() if torch.equal(crop, expected)]
        assert len(found) == 1
        seen.add(found[0])
    assert seen == set(possible)


def test_flip() -> None:
    pixels = torch.arange(6.0).view(1, 2, 3)
    random = generator()
    results = [flip(pixels, random) for _ in range(400)]
    mirrored = [torch.equal(result, torch.tensor([[[2.0, 1, 0], [5, 4, 3]]])) for result in results]
    assert all(mirrored[n] or torch.equal(result, pixels) for n, result in enumerate(results))
    assert 150 < sum(mirrored) < 250


def test_the_voc_recipe_draws_the_longer_side(monkeypatch: pytest.MonkeyPatch) -> None:
    sides: list[int] = []

    def note(image: Image.Image, side: int) -> Image.Image:
        sides.append(side)
        return resize_longest(image, side)

    monkeypatch.setattr("advcam.training.augment.resize_longest", note)
    random = generator()
    for _ in range(300):
        assert voc_train(picture(6, 4), 64, NORMALISE, random).shape == (3, 64, 64)
    assert (min(sides), max(sides)) == (40, 80), "320 to 640 for a crop of 512, in proportion"
    voc_train(picture(), 512, NORMALISE, random)
    assert 320 <= sides[-1] <= 640


def test_padding_is_zero_after_normalisation() -> None:
    """The mean colour, not black: a white picture is nowhere below 0, and what is padded is exactly 0."""
    white = Image.new("RGB", (60, 30), "white")
    bright = (torch.ones(3) - torch.tensor(NORMALISE.mean)) / torch.tensor(NORMALISE.std)
    for pixels in (voc_train(white, 64, NORMALISE, generator(1)), voc_evaluate(white, 64, NORMALISE)):
        padded = (pixels == 0).all(dim=0)
        assert 0 < padded.sum() < padded.numel()
        assert torch.allclose(pixels[:, ~padded], bright[:, None].expand(3, int((~padded).sum())), atol=0.02)
    whole = voc_evaluate(white, 64, NORMALISE)
    assert not (whole[:, :32] == 0).any()
    assert (whole[:, 32:] == 0).all()


def test_resize_longest() -> None:
    assert resize_longest(picture(60, 40), 90).size == (90, 60)
    assert resize_longest(picture(40, 60), 30).size == (20, 30)
    assert resize_longest(picture(640, 20), 16).size == (16, 1)
    expected = picture().resize((90, 60), Image.Resampling.BICUBIC)
    assert np.array_equal(np.array(resize_longest(picture(), 90)), np.array(expected))


@settings(max_examples=60)
@given(width=st.integers(16, 400), height=st.integers(16, 400), seed=st.integers(0, 999))
def test_random_boxes(width: int, height: int, seed: int) -> None:
    x0, y0, x1, y1 = random_box(width, height, generator(seed))
    assert 0 <= x0 < x1 <= width
    assert 0 <= y0 < y1 <= height
    w, h = x1 - x0, y1 - y0
    assert (w - 1) / (h + 1) <= 4 / 3 + 1e-9
    assert (w + 1) / (h - 1) >= 3 / 4 - 1e-9
    if 0.6 < width / height < 1.6:
        assert w * h >= 0.25 * width * height


def test_wsol_evaluation_is_torchvisions_resize() -> None:
    expected = v2.Resize((224, 224), antialias=True)(picture(300, 200))
    assert torch.allclose(squeeze(picture(300, 200), 224, NORMALISE), NORMALISE(expected), atol=1e-6)


def test_wsol_training_is_a_part_of_the_resized_picture() -> None:
    side = NORMALISE(picture(80, 50).resize((32, 32), Image.Resampling.BILINEAR))
    crop = RECIPES["wsol"].train(picture(80, 50), 28, NORMALISE, generator(4))
    windows = [side[:, y : y + 28, x : x + 28] for y in range(5) for x in range(5)]
    assert any(torch.equal(crop, w) or torch.equal(crop, w.flip(-1)) for w in windows)


@pytest.mark.parametrize("name", list(RECIPES))
def test_recipes(name: str) -> None:
    """By the generator alone; of the size of the crop; for pictures of extreme proportions and any mode."""
    for odd in (picture(16, 400), picture(400, 16), picture().convert("L"), picture().convert("RGBA")):
        prepared = Preparation(RECIPES[name], 48, NORMALISE)
        torch.manual_seed(0)
        first, other = prepared.train(odd, generator(1)), prepared.train(odd, generator(2))
        torch.manual_seed(9)
        assert torch.equal(first, prepared.train(odd, generator(1)))
        assert not torch.equal(first, other)
        assert first.shape == prepared.evaluate(odd).shape == (3, 48, 48)
        assert torch.isfinite(first).all()
