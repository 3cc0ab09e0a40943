"""Numbers for the classes of files, and masks in other numbers."""

import re
from pathlib import Path

import numpy as np
import pytest

from advcam.errors import DatasetError
from advcam.export.numbering import names_by_number, number_names, renumber


def test_classes_of_the_run_keep_their_numbers_and_others_get_new_ones():
    numbers = number_names(["wolf", "dog ", "background", "undecided", "fox", "wolf"], {1: "cat", 2: "dog"})
    assert numbers == {"wolf": 256, "dog ": 2, "background": 0, "undecided": 255, "fox": 257}
    assert names_by_number(numbers) == {256: "wolf", 2: "dog ", 257: "fox"}


def test_new_numbers_lie_above_those_of_the_run():
    assert number_names(["wolf"], {400: "cat"}) == {"wolf": 401}


def test_a_class_may_be_named_as_the_background_is():
    assert number_names(["background", "_background_"], {3: "background"}) == {"background": 3, "_background_": 0}


def test_a_mask_in_other_numbers():
    pixels = np.array([[7, 300], [65536, 7]])
    mask = renumber(pixels, {65536: 0, 7: 2, 300: 255, 9: 1}, Path("a.png"), "segment {}", "its JSON")
    assert mask.tolist() == [[2, 255], [0, 2]]
    assert mask.dtype == np.int32


@pytest.mark.parametrize("value", [6, 8, 10])
def test_a_pixel_that_stands_for_nothing_is_named(value):
    text = f"a.png holds the colour #{value:06x}, which stands for nothing in labelmap.txt"
    with pytest.raises(DatasetError, match=re.escape(text)):
        renumber(np.array([[7, value]]), {7: 1, 9: 2}, Path("a.png"), "colour #{:06x}", "labelmap.txt")
