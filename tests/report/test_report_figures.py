"""Overlays show the right colours at the right places; the plot fits its axes whatever the scores are."""

import base64
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from advcam.colours import heat, voc_palette
from advcam.report.figures import (
    class_colour,
    coverage,
    data_uri,
    heat_gradient,
    heat_overlay,
    mask_overlay,
    round_ticks,
    score_plot,
    shrink,
    strip_steps,
)

finite = st.floats(-1e6, 1e6, allow_nan=False)


def grey(width: int = 8, height: int = 6) -> Image.Image:
    return Image.new("RGB", (width, height), (100, 100, 100))


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((840, 560), (420, 280)),
        ((200, 100), (200, 100)),
        ((420, 1260), (210, 630)),
        ((4000, 2), (420, 1)),
    ],
)
def test_shrink_keeps_the_proportions_and_never_enlarges(size: tuple[int, int], expected: tuple[int, int]):
    assert shrink(Image.new("RGB", size), 420).size == expected


def test_shrink_leaves_the_original_alone_and_gives_rgb():
    original = Image.new("RGBA", (840, 560))
    assert shrink(original, 420).mode == "RGB"
    assert (original.mode, original.size) == ("RGBA", (840, 560))


def test_data_uri_holds_the_picture_as_jpeg():
    kind, _, payload = data_uri(grey()).partition(",")
    decoded = Image.open(io.BytesIO(base64.b64decode(payload, validate=True)))
    assert kind == "data:image/jpeg;base64"
    assert (decoded.format, decoded.size) == ("JPEG", (8, 6))
    assert np.abs(np.asarray(decoded).astype(int) - 100).max() <= 2


def test_heat_overlay_is_red_where_the_map_is_high_and_blue_where_it_is_zero():
    half = np.zeros((6, 8), dtype=np.float32)
    half[:, 4:] = 0.9
    overlay = np.asarray(heat_overlay(grey(), half)).astype(int)
    assert overlay[3, 0, 2] > overlay[3, 0, 0]
    assert overlay[3, 7, 0] > overlay[3, 7, 2]
    np.testing.assert_array_equal(overlay[0, 0], np.rint((100 + heat(np.zeros((1, 1)))[0, 0]) / 2))


def test_mask_overlay_tints_the_class_and_pales_the_rest():
    mask = np.zeros((12, 16), dtype=np.int32)
    mask[:, 8:] = 2
    overlay = np.asarray(mask_overlay(grey(), mask)).astype(int)
    np.testing.assert_array_equal(overlay[0, 7], np.rint(0.4 * 100 + 0.6 * voc_palette()[2].astype(float)))
    assert overlay[0, 0, 0] > 100
    assert len(set(overlay[0, 0])) == 1


@pytest.mark.parametrize(("number", "row"), [(0, 0), (1, 1), (20, 20), (254, 254), (255, 1), (256, 2), (1000, 238)])
def test_class_numbers_beyond_the_palette_start_again_at_its_first_class(number: int, row: int):
    red, green, blue = voc_palette()[row]
    assert class_colour(number) == f"rgb({red}, {green}, {blue})"


def test_the_mask_and_its_legend_have_the_same_colour_beyond_the_palette():
    overlay = mask_overlay(grey(), np.full((6, 8), 300, dtype=np.int32))
    again = mask_overlay(grey(), np.full((6, 8), 46, dtype=np.int32))
    assert overlay.tobytes() == again.tobytes()
    assert class_colour(300) == class_colour(46)


def test_heat_gradient_runs_from_the_colour_of_zero_to_the_colour_of_one():
    first, last = heat(np.array([[0.0, 1.0]]))[0]
    assert heat_gradient().startswith(f"linear-gradient(90deg, rgb({first[0]}, {first[1]}, {first[2]}), ")
    assert heat_gradient().endswith(f", rgb({last[0]}, {last[1]}, {last[2]}))")


def test_coverage_is_the_share_of_pixels_strictly_above_the_threshold():
    quarter = np.zeros((40, 40), dtype=np.float32)
    quarter[:20, :20] = 1
    assert coverage(quarter, (40, 40), 0.3) == 0.25
    assert coverage(quarter, (160, 160), 0.3) == pytest.approx(0.25, abs=0.01)
    assert coverage(np.full((4, 4), 0.25, dtype=np.float32), (8, 8), 0.25) == 0


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, []),
        (1, [0]),
        (10, list(range(10))),
        (11, [0, 2, 4, 6, 8, 10]),
        (28, [0, 3, 6, 9, 12, 15, 18, 21, 24, 27]),
        (81, [0, 10, 20, 30, 40, 50, 60, 70, 80]),
        (12, [0, 2, 3, 5, 6, 8, 9, 11]),
    ],
)
def test_strip_steps_are_spread_evenly(count: int, expected: list[int]):
    assert strip_steps(count) == expected


@given(st.integers(11, 500))
def test_strip_steps_hold_both_ends_and_keep_their_distance(count: int):
    steps = strip_steps(count)
    distances = np.diff(steps)
    assert (steps[0], steps[-1]) == (0, count - 1)
    assert 6 <= len(steps) <= 10
    assert distances.max() - distances.min() <= 1


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (8.1, 17.72, [5, 10, 15, 20]),
        (0, 1, [0, 0.5, 1]),
        (-0.3, 0.3, [-0.4, -0.2, 0, 0.2, 0.4]),
    ],
)
def test_round_ticks(low: float, high: float, expected: list[float]):
    assert round_ticks(low, high) == expected


@given(finite, finite)
def test_round_ticks_enclose_the_range_at_equal_distances(one: float, other: float):
    low, high = sorted((one, other))
    ticks = round_ticks(low, high)
    distances = np.diff(ticks)
    assert 3 <= len(ticks) <= 7
    slack = 1e-9 * max(abs(low), abs(high), 1)
    assert ticks[0] <= low + slack
    assert ticks[-1] >= high - slack
    np.testing.assert_allclose(distances, distances[0], rtol=1e-6)


@given(st.lists(finite, min_size=2, max_size=90))
def test_score_plot_stays_inside_its_axes(scores: list[float]):
    plot = score_plot(scores)
    xs, ys = np.array(plot.points).T
    assert (xs[0], xs[-1]) == (plot.left, plot.right)
    assert (np.diff(xs) > 0).all()
    assert (ys >= plot.top - 0.01).all()
    assert (ys <= plot.bottom + 0.01).all()
    labels = [label for _, label in plot.y_ticks]
    assert len(set(labels)) == len(labels)


def test_score_plot_rises_with_the_score_and_names_round_steps():
    plot = score_plot([float(t) for t in range(28)])
    assert plot.points[0] == (56, 196)
    assert all(after[1] < before[1] for before, after in zip(plot.points, plot.points[1:], strict=False))
    assert [label for _, label in plot.x_ticks] == ["0", "10", "20"]
    assert [label for _, label in plot.y_ticks] == ["0", "10", "20", "30"]
    assert [label for _, label in score_plot([1.0, 2.0]).x_ticks] == ["0", "1"]


def test_score_plot_of_a_constant_score_is_a_line_in_the_middle():
    heights = {y for _, y in score_plot([7.0, 7.0, 7.0]).points}
    assert heights == {106}
