"""The figures of an evaluation: what they plot, what they say of it, and that they can be drawn from odd data."""

import io
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from typing import Literal

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from advcam.colours import voc_palette
from advcam.report.evaluation_figures import (
    MAX_CLASSES,
    Bars,
    ClassScores,
    Mark,
    PictureTiles,
    ScoreCurves,
    classes_figure,
    curves_figure,
    faithfulness_figure,
    pictures_figure,
)
from advcam.report.figures import mask_overlay
from advcam.report.plotting import BLUE, GREY, render
from advcam.types import IGNORE, Box

GRID = np.linspace(0, 1, 11)
MARKS = [Mark(0.4, "fixed 0.4: 60.0 %"), Mark(0.35, "oracle 0.35: 61.2 %"), Mark(0.9, "label-free 0.9: 12.0 %")]
CURVES = ScoreCurves(
    title="generated, split train, 6 pictures",
    x_name="threshold",
    x=GRID,
    x_end=1,
    y_name="score (%)",
    lines={"mIoU": 60 * (1 - GRID), "foreground precision": 80 * GRID},
    marks=MARKS,
    levels={"centre, oracle: mIoU 30.0 %": 30.0, "random: mIoU 20.0 %": 20.0},
)
CLASSES = ClassScores("a title", {"cat": 50.0, "background": 90.0, "dog": 64.0}, background="background")
MASK = np.kron([[0, 1], [2, IGNORE]], np.ones((10, 15), dtype=np.int32)).astype(np.int32)
PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8))
MASKED = PictureTiles("a.jpg: mIoU 50.0 %", PICTURE, (20, 30), MASK, np.zeros_like(MASK))
BOXED = PictureTiles("b.jpg: IoU 10.0 %", PICTURE, (200, 300), (Box(3, 30, 20, 150, 120, 1.0),), ())
MEASURES = [
    Bars("insertion", {"predictions": 60.0, "centre": 50.0, "random": 40.0}, {"predictions": (55.0, 68.0)}),
    Bars("deletion", {"predictions": 20.0, "centre": 30.0, "random": 40.0}, {}),
]
FIGURES: dict[str, Callable[[], Figure]] = {
    "curves": lambda: curves_figure(CURVES),
    "classes": lambda: classes_figure(CLASSES),
    "masks": lambda: pictures_figure("title", {"the 1 worst": [MASKED], "the 2 best": [MASKED, MASKED]}),
    "boxes": lambda: pictures_figure("title", {"1 of 1 missed": [BOXED]}),
    "faithfulness": lambda: faithfulness_figure("title", MEASURES),
}


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def poles(axes: Axes) -> list[float]:
    return [one.get_segments()[0][0][0] for one in axes.collections if isinstance(one, LineCollection)]


def bar_names(figure: Figure) -> list[str]:
    return [label.get_text() for label in figure.axes[0].get_yticklabels()]


def test_curves_levels_and_thresholds_are_where_they_belong():
    figure = curves_figure(CURVES)
    (axes,) = figure.axes
    assert figure.get_suptitle() == CURVES.title
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("threshold", "score (%)")
    assert axes.get_xlim() == (0, 1)
    assert legend(figure) == [*CURVES.lines, *CURVES.levels]
    curves, levels = axes.lines[:2], axes.lines[2:]
    for line, values in zip(curves, CURVES.lines.values(), strict=True):
        np.testing.assert_array_equal(line.get_xdata(), GRID)
        np.testing.assert_array_equal(line.get_ydata(), values)
    assert [line.get_ydata()[0] for line in levels] == list(CURVES.levels.values())
    assert curves[0].get_linewidth() > curves[1].get_linewidth(), "the first is what the evaluation is about"
    assert sorted(poles(axes)) == sorted(mark.threshold for mark in MARKS)
    assert {text.get_text().strip() for text in axes.texts} == {mark.label for mark in MARKS}
    looks = [(line.get_color(), line._dash_pattern) for line in axes.lines]
    assert len({str(look) for look in looks}) == len(looks), "lines differ in more than their place"


@pytest.mark.parametrize("thresholds", [(0.4, 0.35, 0.9), (0.5,) * 4, (0.1, 0.2, 0.3, 0.4), (0.0, 1.0), ()])
def test_flags_do_not_cover_each_other_and_stand_above_the_curves(thresholds: tuple[float, ...]):
    marks = [Mark(threshold, f"someone {threshold:g}: 12.3 %") for threshold in thresholds]
    figure = curves_figure(replace(CURVES, marks=marks))
    figure.draw_without_rendering()
    (axes,) = figure.axes
    boxes = [text.get_window_extent() for text in axes.texts]
    assert len(boxes) == len(thresholds)
    # Neighbouring lines of text may touch by a pixel or two of their white edges.
    assert not any(one.padded(-2).overlaps(other.padded(-2)) for one, other in combinations(boxes, 2))
    assert all(text.get_position()[1] > 100 for text in axes.texts)
    assert axes.get_ylim()[1] > max([100.0, *(text.get_position()[1] for text in axes.texts)])


def test_gaps_and_formulas_in_names_and_more_curves_than_colours():
    lines = {f"$x$ {number}": np.where(GRID < 0.5, np.nan, number) for number in range(6)}
    figure = curves_figure(replace(CURVES, title="$5 data", lines=lines, levels={}, marks=[]))
    assert figure.get_suptitle() == r"\$5 data"
    assert legend(figure) == [rf"\$x\$ {number}" for number in range(6)]
    assert np.isnan(figure.axes[0].lines[0].get_ydata()[:5]).all()
    assert len(render(figure, "png")) > 1000


def test_a_long_title_is_broken_into_lines_that_fit():
    figure = curves_figure(replace(CURVES, title=" ".join(["word"] * 60)))
    figure.draw_without_rendering()
    assert figure.get_suptitle().split() == ["word"] * 60
    assert figure._suptitle is not None
    assert figure._suptitle.get_window_extent().width < figure.bbox.width


def test_classes_are_sorted_and_the_mean_is_of_all():
    figure = classes_figure(CLASSES)
    (axes,) = figure.axes
    assert bar_names(figure) == ["background", "dog", "cat"]
    assert [patch.get_width() for patch in axes.patches] == [90, 64, 50]
    assert [to_hex(patch.get_facecolor()).upper() for patch in axes.patches] == [GREY, BLUE, BLUE]
    assert axes.lines[0].get_xdata()[0] == 68  # (50 + 90 + 64) / 3
    (words,) = (text.get_text() for text in axes.get_legend().get_texts())
    assert words == "mean of 3 classes, background included: 68.0 %"
    assert [text.get_text() for text in axes.texts] == ["90.0", "64.0", "50.0"]
    bottom, top = axes.get_ylim()
    assert bottom > top, "the best is at the top"


@pytest.mark.parametrize("count", [1, MAX_CLASSES, MAX_CLASSES + 1, 200])
def test_of_many_classes_the_best_and_the_worst_are_shown(count: int):
    values = {f"class {number}": 100.0 * number / count for number in range(count)}
    figure = classes_figure(ClassScores("title", values, background="class 0"))
    best_first = [f"class {number}" for number in reversed(range(count))]
    half = MAX_CLASSES // 2
    assert bar_names(figure) == (best_first if count <= MAX_CLASSES else best_first[:half] + best_first[-half:])
    assert figure.axes[0].lines[0].get_xdata()[0] == pytest.approx(np.mean(list(values.values())))
    cut = f"the {half} best and the {half} worst of {count} classes" in figure.get_suptitle()
    assert cut == (count > MAX_CLASSES)


def test_a_long_name_of_a_class_keeps_its_end():
    values = {"a" * 40 + "the end": 10.0}
    assert bar_names(classes_figure(ClassScores("t", values, "background"))) == ["..." + "a" * 20 + "the end"]


def test_a_masked_picture_is_shown_beside_its_truth_and_its_prediction():
    figure = pictures_figure("title", {"the worst": [MASKED]})
    (part,) = figure.subfigs
    assert part.get_suptitle() == "the worst"
    picture, truth, prediction = part.axes
    assert [axes.get_title() for axes in part.axes] == ["picture", "truth", "prediction"]
    assert truth.get_xlabel() == MASKED.caption
    np.testing.assert_array_equal(picture.images[0].get_array(), np.asarray(PICTURE))
    shown = np.asarray(truth.images[0].get_array())
    ignored = MASK == IGNORE
    np.testing.assert_array_equal(shown[~ignored], np.asarray(mask_overlay(PICTURE, MASK))[~ignored])
    assert (shown[ignored] == voc_palette()[IGNORE]).all()
    found = np.asarray(prediction.images[0].get_array())
    np.testing.assert_array_equal(found, np.asarray(mask_overlay(PICTURE, np.zeros_like(MASK))))


def test_a_mask_of_another_size_than_its_thumbnail_covers_the_same_part():
    large = replace(MASKED, truth=np.kron(MASK, np.ones((3, 3), dtype=np.int32)).astype(np.int32))
    one, other = (pictures_figure("t", {"g": [tiles]}).subfigs[0].axes[1].images[0] for tiles in (MASKED, large))
    np.testing.assert_array_equal(one.get_array(), other.get_array())


def test_boxes_are_drawn_in_pixels_of_the_picture_and_no_box_is_nothing():
    picture, truth, prediction = pictures_figure("title", {"missed": [BOXED]}).subfigs[0].axes
    (outline,) = truth.patches
    assert (*outline.get_xy(), outline.get_width(), outline.get_height()) == (30, 20, 120, 100)
    assert to_hex(outline.get_edgecolor()) == to_hex(voc_palette()[4] / 255), "class 3 is number 4 of a mask"
    assert list(picture.patches) == list(prediction.patches) == []
    assert truth.images[0].get_extent() == [0, 300, 200, 0]


def test_groups_of_different_length_stand_side_by_side():
    figure = FIGURES["masks"]()
    assert [part.get_suptitle() for part in figure.subfigs] == ["the 1 worst", "the 2 best"]
    drawn = [sum(bool(axes.images) for axes in part.axes) for part in figure.subfigs]
    assert drawn == [3, 6]
    assert [len(part.axes) for part in figure.subfigs] == [6, 6], "rows are as high on either side"


def test_bars_have_their_height_and_their_interval():
    insertion, deletion = faithfulness_figure("title", MEASURES).axes
    for axes, measure in zip((insertion, deletion), MEASURES, strict=True):
        assert axes.get_title() == measure.name
        assert [patch.get_height() for patch in axes.patches] == list(measure.values.values())
        assert [label.get_text() for label in axes.get_xticklabels()] == list(measure.values)
        assert [text.get_text() for text in axes.texts] == [f"{value:g}" for value in measure.values.values()]
    (interval,) = (one.get_segments()[0] for one in insertion.collections if isinstance(one, LineCollection))
    np.testing.assert_allclose(interval, [[0, 55], [0, 68]])
    assert not deletion.collections
    assert [to_hex(patch.get_facecolor()).upper() == BLUE for patch in insertion.patches] == [True, False, False]


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_files_for_print_and_equal_data_are_equal_bytes(name: str):
    with Image.open(io.BytesIO(render(FIGURES[name](), "png"))) as picture:
        assert picture.info["dpi"][0] == pytest.approx(300, abs=1)
        assert picture.convert("L").getextrema()[0] < 128
    files: list[tuple[Literal["png", "pdf"], bytes]] = [("pdf", b"%PDF"), ("png", b"\x89PNG")]
    for kind, start in files:
        content = render(FIGURES[name](), kind)
        assert content.startswith(start)
        assert content == render(FIGURES[name](), kind)


def test_no_global_state_is_touched():
    before = dict(mpl.rcParams)
    for make in FIGURES.values():
        make()
    assert dict(mpl.rcParams) == before
    code = "import sys; import advcam.report.evaluation_figures; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
