"""Labelled regions of a mask, painted again, and the names of labels."""

import tempfile

import numpy as np
import pytest
from annotated_pictures import CLASSES, annotated, label_masks, scene
from hypothesis import given, settings
from hypothesis import strategies as st

from advcam.colours import voc_palette
from advcam.errors import SettingError
from advcam.export.annotated import AnnotatedPicture
from advcam.export.labels import check_labels, colour, holds
from advcam.export.regions import Shape, paint, regions
from advcam.types import Instance


def picture(mask, objects=()):
    return AnnotatedPicture("a.png", "a", None, np.asarray(mask, dtype=np.int32), tuple(objects))


def painted(one, classes=CLASSES):
    shapes = [Shape({**classes, 255: "?"}[region.number], region.pixels, region.x, region.y) for region in regions(one)]
    return paint("a", one.size, shapes, classes, "?")


@st.composite
def pictures(draw):
    """Objects that overlap each other, cover more or less than the mask, and are of classes that it has not."""
    mask = draw(label_masks())
    pixels = st.lists(st.booleans(), min_size=mask.size, max_size=mask.size)
    objects = draw(st.lists(st.builds(Instance, st.integers(0, 2), pixels, st.floats(0, 1)), max_size=4))
    return picture(mask, [Instance(o.class_id, np.reshape(o.mask, mask.shape), o.score) for o in objects])


@settings(max_examples=150, deadline=None)
@given(one=pictures())
def test_painted_they_are_the_mask(one):
    found = painted(one)
    assert (found.mask == one.mask).all()
    assert found.names == {number: CLASSES[number] for number in np.unique(one.mask).tolist() if number in CLASSES}


@settings(max_examples=100, deadline=None)
@given(one=pictures())
def test_each_lies_in_the_smallest_rectangle_and_in_its_class(one):
    for region in regions(one):
        height, width = region.pixels.shape
        seen = one.mask[region.y : region.y + height, region.x : region.x + width][region.pixels]
        assert set(seen.tolist()) == {region.number}
        assert region.pixels.any(axis=0)[[0, -1]].all()
        assert region.pixels.any(axis=1)[[0, -1]].all()


def test_undecided_pixels_then_objects_then_the_rest_of_a_class():
    mask = [[1, 1, 0, 255], [1, 0, 2, 2]]
    left = Instance(0, np.array([[1, 0, 1, 1], [1, 0, 0, 0]], dtype=bool), 0.5)
    found = [(r.number, r.x, r.y, r.pixels.astype(int).tolist(), r.score) for r in regions(picture(mask, [left]))]
    assert found == [
        (255, 3, 0, [[1]], None),
        (1, 0, 0, [[1], [1]], 0.5),
        (1, 1, 0, [[1]], None),
        (2, 2, 1, [[1, 1]], None),
    ]


def test_connected_parts_are_all_of_a_corrected_mask():
    with tempfile.TemporaryDirectory() as folder:
        one = annotated(scene(), folder)
    assert [region.score for region in regions(one)] == [None] + [1.0] * len(one.objects)


def test_numbers_beyond_a_byte():
    classes = {254: "a", 256: "b", 1000: "c"}
    one = picture([[254, 255, 256, 1000, 0]])
    found = painted(one, classes)
    assert found.mask.tolist() == one.mask.tolist()
    assert found.names == classes


def test_later_shapes_lie_above_and_new_labels_get_new_numbers():
    full = np.ones((1, 2), dtype=bool)
    shapes = [Shape("cat", np.ones((1, 4), dtype=bool)), Shape("horse ", full, 1), Shape("cow", full[:, :1], 2)]
    shapes += [Shape("horse", full[:, :1], 3), Shape("background", full[:, :1])]
    found = paint("a", (1, 4), shapes, {1: "cat", 300: "dog"}, "?")
    assert found.mask.tolist() == [[0, 301, 302, 301]]
    assert found.names == {1: "cat", 301: "horse", 302: "cow"}


def test_background_may_be_a_class():
    found = paint("a", (1, 1), [Shape("background", np.ones((1, 1), dtype=bool))], {4: "background"}, "?")
    assert found.mask.tolist() == [[4]]
    assert found.names == {4: "background"}


class TestLabels:
    @pytest.mark.parametrize(
        ("classes", "words"),
        [
            ({1: "crane", 2: "crane "}, "the name of class 1, 'crane', is that of another class too"),
            ({1: "cat", 2: "undecided"}, "the name of class 2, 'undecided', is also the label of undecided pixels"),
            ({1: " "}, "the name of class 1, ' ', is empty, has more than 9 characters, or control characters"),
            ({1: "a" * 10}, "is empty, has more than 9 characters"),
            ({1: "a\tb"}, r"'a\\tb', is empty, has more than 9 characters, or control characters"),
        ],
    )
    def test_what_a_name_cannot_be(self, classes, words):
        with pytest.raises(SettingError, match=f"^Tool knows classes by their names alone, but .*{words}.*; rename it"):
            check_labels(classes, "Tool", longest=9)

    def test_names_that_are_held(self):
        check_labels(CLASSES | {4: "aaaaaaaaa"}, "Tool", longest=20)
        check_labels({1: "undecided"}, "Tool", undecided="__ignore__")

    @pytest.mark.parametrize("text", ["\x00", "a\n", "\x1b[0m", "\x7f\x00", "\ud800", "\uffff"])
    def test_what_xml_does_not_give_back(self, text):
        assert not holds(text)

    def test_colours(self):
        palette = ["#" + bytes(row).hex() for row in voc_palette()]
        assert [colour(number) for number in (1, 254, 255, 256, 509)] == [palette[n] for n in (1, 254, 255, 2, 1)]
