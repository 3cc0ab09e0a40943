"""Sizes at which pictures are seen, a grid for them, and pictures made ready ahead."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from counted import Sizes, picture
from hypothesis import given, settings
from hypothesis import strategies as st
from literal import ToyNetwork
from PIL import Image

from advcam import CAM, AdvCAM, Classifier
from advcam.attribution.views import Ahead, as_images, input_size, pixels
from advcam.errors import PictureError, SettingError

# A grid of sizes


@settings(deadline=None)
@given(st.tuples(st.integers(16, 500), st.integers(16, 500)), st.sampled_from([0.5, 1.0, 2.0]), st.integers(1, 64))
def test_sizes_are_the_nearest_multiples(size: tuple[int, int], scale: float, unit: int) -> None:
    for side, found in zip(size, input_size(size, scale, unit), strict=True):
        assert found % unit == 0
        if side * scale - unit >= 32:  # the least side is not in the way
            assert abs(found - side * scale) <= unit / 2
        assert found >= 32


def seen_by(method: type[CAM] | type[AdvCAM], sizes: list[tuple[int, int]], **options: Any) -> Any:
    """What the network has seen, and the attributions of two classes of each picture."""
    classifier = Classifier.from_module(Sizes())
    Sizes.seen.clear()
    pictures = [picture(*size, seed=n) for n, size in enumerate(sizes)]
    results = method(classifier, flip=False, **options)(pictures, [[0, 2]] * len(sizes))
    return list(Sizes.seen), results


def test_pictures_of_nearly_one_size_go_together_on_a_grid() -> None:
    sizes = [(70, 61), (58, 66), (64, 64), (97, 64)]
    seen, results = seen_by(CAM, sizes, size_grid=32, scales=(1.0,))
    assert seen == [(3, 3, 64, 64), (1, 3, 64, 96)]
    assert [result.maps.shape for result in results] == [(2, 16, 18), (2, 17, 15), (2, 16, 16), (2, 16, 25)]
    climbing = partial(AdvCAM, iterations=2)
    assert seen_by(climbing, sizes, size_grid=32, scales=(1.0,))[0] == [  # type: ignore[arg-type]
        *[(3, 3, 64, 64), (6, 3, 64, 64), (6, 3, 64, 64)],
        *[(1, 3, 64, 96), (2, 3, 64, 96), (2, 3, 64, 96)],
    ]


@pytest.mark.parametrize("method", [CAM, AdvCAM])
def test_a_grid_of_one_changes_nothing(method: type[CAM] | type[AdvCAM]) -> None:
    sizes = [(70, 61), (33, 58), (70, 61)]
    plain_sizes, plain = seen_by(method, sizes)
    one_sizes, one = seen_by(method, sizes, size_grid=1)
    assert one_sizes == plain_sizes
    for ours, theirs in zip(one, plain, strict=True):
        np.testing.assert_array_equal(ours.maps, theirs.maps)
    assert seen_by(method, sizes, size_grid=16)[0] != plain_sizes


@pytest.mark.parametrize("grid", [0, -3, 513])
def test_impossible_grids(grid: int) -> None:
    with pytest.raises(SettingError) as caught:
        CAM(Classifier.from_module(ToyNetwork()), size_grid=grid)
    assert str(caught.value) == f"size_grid is a number of pixels between 1 and 512; got {grid}"


# Pictures made ready ahead


@settings(max_examples=40, deadline=None)
@given(st.permutations(range(9)), st.lists(st.integers(1, 4), min_size=9, max_size=9))
def test_every_picture_is_made_ready_once_and_few_are_kept(order: list[int], parts: list[int]) -> None:
    """Batches may grow, as on a GPU; each is asked for twice, as when the classes of a picture are divided."""
    made: list[int] = []

    class Noting(Ahead):
        def _begin(self, i: int) -> Any:
            made.append(i)
            return super()._begin(i)

    images = [picture(40, 40, seed) for seed in range(9)]
    with ThreadPoolExecutor(2) as pool:
        ahead = Noting(pool, images, [(36, 32)] * 9)
        ahead.expect(i for i in order for _ in range(2))
        start = 0
        for part in sorted(parts):
            wanted = order[start : start + part]
            for _ in range(2 if wanted else 0):
                found = ahead.get(wanted)
                assert torch.equal(found, torch.stack([pixels(images[i], (36, 32)) for i in wanted]))
                assert len(ahead.ready) <= 2 * len(wanted)
            start += part
    assert made == order


@pytest.mark.parametrize(
    "one", [Image.new("RGB", (32, 32)), np.zeros((32, 32, 3), np.uint8), np.zeros((32, 32), np.uint8)]
)
def test_one_picture_is_no_list_of_pictures(one):
    with pytest.raises(PictureError) as caught:
        as_images(one)
    assert str(caught.value) == (
        "pictures are a list, with a list of classes for each, as in attribute([picture], [['cat']])"
    )
    assert len(as_images(np.zeros((2, 32, 32, 3), np.uint8))) == 2
