"""Generated scenes: their masks and boxes are what is seen in the picture."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advcam.colours import voc_palette
from advcam.datasets.synthetic.scenes import draw_scene

CLASSES = st.lists(st.integers(0, 19), max_size=5).map(tuple)
SIZES = st.tuples(st.integers(16, 120), st.integers(16, 120))


@given(seed=st.integers(0, 2**31), class_ids=CLASSES, size=SIZES)
@settings(max_examples=60, deadline=None)
def test_instances_share_no_pixel_and_fill_the_mask(seed: int, class_ids: tuple[int, ...], size: tuple[int, int]):
    scene = draw_scene(seed, class_ids, size)
    assert scene.picture.size == size
    assert scene.picture.mode == "RGB"
    covered = np.zeros(size[::-1], dtype=int)
    expected = np.zeros(size[::-1], dtype=int)
    for instance in scene.instances:
        assert instance.pixels.any()
        covered += instance.pixels
        expected[instance.pixels] = instance.class_id + 1
    assert covered.max(initial=0) <= 1
    np.testing.assert_array_equal(scene.label_mask, expected)
    assert scene.label_mask.dtype == np.int32
    assert scene.class_ids == tuple(int(number) - 1 for number in np.unique(expected) if number)


@given(seed=st.integers(0, 2**31), class_ids=CLASSES, size=SIZES)
@settings(max_examples=60, deadline=None)
def test_boxes_are_tight(seed: int, class_ids: tuple[int, ...], size: tuple[int, int]):
    for instance in draw_scene(seed, class_ids, size).instances:
        box, pixels = instance.box, instance.pixels
        assert box.class_id == instance.class_id
        inside = pixels[box.y0 : box.y1, box.x0 : box.x1]
        assert inside.sum() == pixels.sum()
        assert all(edge.any() for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]))


def test_instances_come_in_the_order_they_were_drawn_and_one_without_a_visible_pixel_is_left_out():
    def classes_of(seed: int) -> list[int]:
        return [instance.class_id for instance in draw_scene(seed, (0, 1, 1, 2), (16, 16)).instances]

    found = [classes_of(seed) for seed in range(400)]
    assert [0, 1, 1, 2] in found
    hidden = [classes for classes in found if len(classes) < 4]
    assert hidden  # in so small a picture some object is covered
    assert all(classes[-1] == 2 for classes in found)  # nothing covers the last one
    assert all(classes == sorted(classes) for classes in hidden)


def test_the_seed_decides_everything():
    first, again, other = (draw_scene(seed, (0, 3)) for seed in (4, 4, 5))
    np.testing.assert_array_equal(np.asarray(first.picture), np.asarray(again.picture))
    np.testing.assert_array_equal(first.label_mask, again.label_mask)
    assert (np.asarray(first.picture) != np.asarray(other.picture)).any()


@pytest.mark.parametrize("class_id", range(4))
def test_objects_have_the_colour_of_their_class_and_stand_out(class_id: int):
    scene = draw_scene(1, (class_id,))
    (instance,) = scene.instances
    picture = np.asarray(scene.picture, dtype=float)
    colour = voc_palette()[1 + class_id].astype(float) * 0.6 + 90
    # Noise of deviation 8 on a few hundred pixels: the mean is within 2; the ground is grey between 70 and 150.
    np.testing.assert_allclose(picture[instance.pixels].mean(axis=0), np.minimum(colour, 255), atol=3)
    ground = picture[~instance.pixels]
    assert (ground.max(axis=1) - ground.min(axis=1)).mean() < 30
    assert np.ptp(colour) > 60


def test_the_four_shapes_are_told_apart_by_how_much_of_their_box_they_fill():
    filled = {0: np.pi / 4, 1: 1, 2: 1 / 2, 3: np.pi / 4 * (1 - 1 / 9)}  # ellipse, rectangle, triangle, ring
    for class_id, share in filled.items():
        (instance,) = draw_scene(2, (class_id,), (400, 400)).instances
        box = instance.box
        area = (box.x1 - box.x0) * (box.y1 - box.y0)
        assert instance.pixels.sum() / area == pytest.approx(share, abs=0.02)
    ring = draw_scene(2, (3,), (400, 400)).instances[0]
    assert not ring.pixels[(ring.box.y0 + ring.box.y1) // 2, (ring.box.x0 + ring.box.x1) // 2]


def test_no_object_at_all():
    scene = draw_scene(0, ())
    assert scene.instances == ()
    assert scene.class_ids == ()
    assert not scene.label_mask.any()
