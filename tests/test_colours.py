"""The colours of masks and maps, against the published table and values worked out by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advcam.colours import blend, heat, voc_palette


class TestVocPalette:
    def test_shape_and_type(self):
        palette = voc_palette()
        assert palette.shape == (256, 3)
        assert palette.dtype == np.uint8

    @pytest.mark.parametrize(
        ("index", "colour"),
        [
            (0, (0, 0, 0)),
            (1, (128, 0, 0)),
            (2, (0, 128, 0)),
            (3, (128, 128, 0)),
            (4, (0, 0, 128)),
            (7, (128, 128, 128)),
            (8, (64, 0, 0)),
            (15, (192, 128, 128)),
            (20, (0, 64, 128)),
            (255, (224, 224, 192)),
        ],
    )
    def test_published_colours(self, index, colour):
        assert tuple(voc_palette()[index].tolist()) == colour

    def test_no_colour_occurs_twice(self):
        assert len(np.unique(voc_palette(), axis=0)) == 256


class TestHeat:
    def test_blue_is_nothing_and_red_is_everything(self):
        colours = heat(np.array([[0.0, 0.5, 1.0]]))
        assert colours.shape == (1, 3, 3)
        assert colours.dtype == np.uint8
        blue, middle, red = colours[0].astype(int)
        assert blue[2] > 100
        assert blue[:2].max() == 0
        assert middle[1] == 255
        assert red[0] > 100
        assert red[1:].max() == 0

    def test_values_out_of_range_take_the_nearest_colour(self):
        assert (heat(np.array([[-3.0, 7.0]])) == heat(np.array([[0.0, 1.0]]))).all()


class TestBlend:
    @pytest.mark.parametrize(("opacity", "expected"), [(0.0, 10), (1.0, 200), (0.5, 105), (0.25, 58)])
    def test_values(self, opacity, expected):
        picture = np.full((2, 3, 3), 10, dtype=np.uint8)
        mixed = blend(picture, np.full((2, 3, 3), 200, dtype=np.uint8), opacity)
        assert mixed.dtype == np.uint8
        assert (mixed == expected).all()

    @settings(derandomize=True, deadline=None)
    @given(st.integers(0, 255), st.integers(0, 255), st.floats(0, 1))
    def test_stays_between_the_two(self, below, above, opacity):
        pixel = np.full((1, 1, 3), below, dtype=np.uint8)
        mixed = blend(pixel, np.full((1, 1, 3), above, dtype=np.uint8), opacity)
        assert min(below, above) <= int(mixed[0, 0, 0]) <= max(below, above)
