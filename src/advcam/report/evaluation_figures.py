"""Figures of an evaluation: scores over the thresholds, classes, the worst and the best pictures, faithfulness.

Everything here turns numbers and arrays into a matplotlib figure. Scores are in per cent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from textwrap import wrap

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import Normal, Stroke, withStroke
from matplotlib.text import Text
from numpy.typing import NDArray
from PIL import Image

from advcam.colours import voc_palette
from advcam.report.figures import mask_overlay
from advcam.report.plotting import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    PAGE_WIDTH,
    VERMILION,
    Numbers,
    new_figure,
    page_style,
    plain,
)
from advcam.types import IGNORE, Box, Mask

#: Colour and dashes of the curves, the headline first, and dashes of the horizontal lines.
_CURVES = ((BLACK, "-"), (BLUE, "--"), (VERMILION, "-."), (GREEN, ":"))
_LEVELS = ((0, (6, 2)), (0, (3, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))
_PALE = "#AAAAAA"
#: Of more classes than this, the best and the worst half of so many are shown.
MAX_CLASSES = 40
_PALETTE = voc_palette()


@dataclass(frozen=True)
class Mark:
    """A threshold that somebody or something chose.

    Args:
        threshold: On the horizontal axis.
        label: Who chose it, and what came of it.
    """

    threshold: float
    label: str


@dataclass(frozen=True, eq=False)
class ScoreCurves:
    """Scores over thresholds, or precision over recall.

    Args:
        title: Data set, split, pictures.
        x_name, x: The horizontal axis, (T,); it is drawn from 0 to `x_end`.
        x_end: Highest possible value of x.
        y_name: The vertical axis.
        lines: Curves by name, percent, (T,) each; the first is the score that the evaluation is about. NaN is a gap.
        marks: Thresholds, in any order.
        levels: Scores to compare with, percent, by name: a horizontal line each.
    """

    title: str
    x_name: str
    x: Numbers
    x_end: float
    y_name: str
    lines: Mapping[str, Numbers]
    marks: Sequence[Mark]
    levels: Mapping[str, float]


@dataclass(frozen=True)
class ClassScores:
    """IoU of the classes.

    Args:
        title: Data set, split, pictures.
        values: Percent by name, at least one.
        background: Its name among the values.
    """

    title: str
    values: Mapping[str, float]
    background: str


@dataclass(frozen=True, eq=False)
class PictureTiles:
    """A picture with what is there and what was found.

    Args:
        caption: Its id and score.
        picture: RGB, at any size.
        size: (H, W) of the pixels in which boxes are given.
        truth, prediction: A label mask at any size, or boxes; no box is an empty tuple.
    """

    caption: str
    picture: Image.Image
    size: tuple[int, int]
    truth: Mask | Sequence[Box]
    prediction: Mask | Sequence[Box]


@dataclass(frozen=True)
class Bars:
    """One measure of several maps.

    Args:
        name: Of the measure, and which direction is better.
        values: Percent by whose maps.
        intervals: Ends, percent, for those that have an interval.
    """

    name: str
    values: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]


def curves_figure(curves: ScoreCurves) -> Figure:
    """Curves with a flag at each chosen threshold; horizontal lines for what a method must beat."""
    with page_style():
        figure = new_figure(PAGE_WIDTH, 3.2)
        axes = figure.subplots()
        _entitle(figure, curves.title)
        for place, ((name, values), (colour, dashes)) in enumerate(
            zip(curves.lines.items(), cycle(_CURVES), strict=False)
        ):
            axes.plot(curves.x, values, dashes, color=colour, label=plain(name), linewidth=1.2 if place else 2)
        for (name, value), pattern in zip(curves.levels.items(), cycle(_LEVELS), strict=False):
            axes.axhline(value, color=GREY, linestyle=pattern, linewidth=1, label=plain(name))
        axes.set_xlabel(curves.x_name)
        axes.set_ylabel(curves.y_name, y=0.4)
        axes.set_xlim(0, curves.x_end)
        axes.set_ylim(0, 101)
        axes.spines["left"].set_bounds(0, 100)
        axes.set_yticks(range(0, 101, 20))
        figure.legend(loc="outside right upper")
        _flags(figure, axes, curves.marks)
    return figure


def classes_figure(scores: ClassScores) -> Figure:
    """A bar for each class, the best at the top, and the mean of ALL classes, the background included."""
    names = sorted(scores.values, key=lambda name: -scores.values[name])
    title, half, mean = scores.title, MAX_CLASSES // 2, float(np.mean(list(scores.values.values())))
    places = list(range(len(names)))
    if len(names) > MAX_CLASSES:
        title += f"\nthe {half} best and the {half} worst of {len(names)} classes"
        names = names[:half] + names[-half:]
        places = [*range(half), *range(half + 1, MAX_CLASSES + 1)]  # a gap where classes are left out
    with page_style():
        figure = new_figure(PAGE_WIDTH * 0.7, 1 + 0.16 * len(names))
        axes = figure.subplots()
        _entitle(figure, title)
        colours = [GREY if name == scores.background else BLUE for name in names]
        bars = axes.barh(places, [scores.values[name] for name in names], color=colours, height=0.7)
        halo = [withStroke(linewidth=2, foreground="white")]
        axes.bar_label(bars, fmt="%.1f", padding=2, fontsize=6, path_effects=halo)
        words = f"mean of {len(scores.values)} classes, background included: {mean:.1f} %"
        axes.axvline(mean, color=VERMILION, linestyle="--", linewidth=1, label=words)
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1))
        axes.set_yticks(places, [plain(name, 30) for name in names])
        axes.set_ylim(places[-1] + 0.6, -0.6)
        axes.set_xlim(0, 108)
        axes.set_xticks(range(0, 101, 20))
        axes.set_xlabel("IoU (%)")
    return figure


def pictures_figure(title: str, groups: Mapping[str, Sequence[PictureTiles]]) -> Figure:
    """Picture, truth and prediction in three tiles; the groups stand side by side, each with a heading."""
    rows = max(map(len, groups.values()))
    with page_style():
        figure = new_figure(PAGE_WIDTH * len(groups) / 2, 0.6 + 1.15 * rows)
        _entitle(figure, title)
        parts = figure.subfigures(1, len(groups), squeeze=False, wspace=0.02)[0]
        for part, (heading, members) in zip(parts, groups.items(), strict=True):
            _column(part, heading, members, rows)
    return figure


def faithfulness_figure(title: str, measures: Sequence[Bars]) -> Figure:
    """Bars of each measure side by side, with the 95 % interval where there is one."""
    with page_style():
        figure = new_figure(PAGE_WIDTH, 2.4)
        _entitle(figure, title)
        row = figure.subplots(1, len(measures), squeeze=False, sharey=True)[0]
        row[0].set_ylabel("area under the curve (%)")
        for axes, measure in zip(row, measures, strict=True):
            colours = [BLUE, *[_PALE] * (len(measure.values) - 1)]
            axes.bar(list(measure.values), list(measure.values.values()), color=colours, width=0.6)
            for place, (name, value) in enumerate(measure.values.items()):
                axes.annotate(f"{value:.3g}", (place, value), (3, 1), textcoords="offset points", fontsize=7)
                if name in measure.intervals:
                    low, high = measure.intervals[name]
                    axes.errorbar(place, value, [[value - low], [high - value]], color=BLACK, linewidth=1, capsize=3)
            axes.set_title(measure.name)
    return figure


def _entitle(figure: Figure, title: str) -> None:
    """The title, as many lines as the figure needs for it."""
    lines = [part for line in title.splitlines() for part in wrap(line, int(14 * figure.get_figwidth()))]
    figure.suptitle("\n".join(lines).replace("$", r"\$"))


def _flags(figure: Figure, axes: Axes, marks: Sequence[Mark]) -> None:
    """A pole at each threshold, its label to the right of the top; where labels would meet, the left one is higher.

    A label stands above all poles that begin under it, so no pole crosses a label.
    """
    texts = [axes.text(mark.threshold, 102, f" {mark.label}", fontsize=7, va="bottom") for mark in marks]
    figure.draw_without_rendering()  # the layout settles, and with it the widths of the labels
    order = sorted(range(len(marks)), key=lambda i: -marks[i].threshold)
    heights: dict[int, int] = {}
    for i in order:
        start, end = marks[i].threshold, _right_end(axes, texts[i])
        met = [heights[j] for j in heights if start <= marks[j].threshold <= end]
        heights[i] = 1 + max(met, default=-1)
        bottom = 102 + 7 * heights[i]
        texts[i].set_y(bottom)
        axes.vlines(start, 0, bottom + 6, color=GREY, linewidth=0.8, clip_on=False)
    axes.set_ylim(0, 102 + 7 * (1 + max(heights.values(), default=-1)))


def _right_end(axes: Axes, text: Text) -> float:
    """Where a text ends, in data of the horizontal axis."""
    right = text.get_window_extent().x1
    return float(axes.transData.inverted().transform((right, 0))[0])


def _column(part: SubFigure, heading: str, members: Sequence[PictureTiles], rows: int) -> None:
    """The tiles of one group below each other."""
    part.suptitle(heading, fontweight="bold")
    grid = part.subplots(rows, 3, squeeze=False)
    for axes in grid.flat:
        axes.set_frame_on(False)
        axes.set(xticks=[], yticks=[])
    for axes, name in zip(grid[0], ("picture", "truth", "prediction"), strict=True):
        axes.set_title(name)
    for row, member in zip(grid, members, strict=False):
        for axes, marked in zip(row, (None, member.truth, member.prediction), strict=True):
            axes.set_anchor("N")  # tiles of one row begin at one height
            _tile(axes, member, marked)
        row[1].set_xlabel(plain(member.caption), fontsize=6, labelpad=1)


def _tile(axes: Axes, member: PictureTiles, marked: Mask | Sequence[Box] | None) -> None:
    height, width = member.size
    picture = np.asarray(member.picture)
    if marked is not None:
        picture = _masked(member.picture, marked if isinstance(marked, np.ndarray) else np.zeros((1, 1), np.int32))
    axes.imshow(picture, extent=(0, width, height, 0))
    for box in () if marked is None or isinstance(marked, np.ndarray) else marked:
        colour = _PALETTE[box.class_id % (IGNORE - 1) + 1] / 255
        sides = (box.x1 - box.x0, box.y1 - box.y0)
        outline = Rectangle((box.x0, box.y0), *sides, fill=False, edgecolor=colour, linewidth=1.5)
        outline.set_path_effects([Stroke(linewidth=2.7, foreground="white"), Normal()])  # dark colours on dark places
        axes.add_patch(outline)


def _masked(picture: Image.Image, mask: Mask) -> NDArray[np.uint8]:
    """The pale grey picture with the classes of a mask in VOC colours, ignored pixels in VOC's cream."""
    numbers = cv2.resize(mask, picture.size, interpolation=cv2.INTER_NEAREST)
    return np.where((numbers == IGNORE)[..., None], _PALETTE[IGNORE], np.asarray(mask_overlay(picture, mask)))
