"""Figures of the analyses of a climb, as a paper prints them: vector PDF or PNG, no state shared between figures.

Colours are Okabe and Ito's, which the colour-blind can tell apart; every pair of lines that shares a colour differs in
its dashes as well. Widths are those of a two-column page.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import cycle
from typing import Literal

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

BLUE, VERMILION, GREEN, BLACK, GREY = "#0072B2", "#D55E00", "#009E73", "#000000", "#666666"
BEST_THRESHOLD = "best threshold"
#: Colour, marker and dashes of lines that stand side by side.
LOOKS = (
    (BLUE, "o-"),
    (VERMILION, "s--"),
    (GREEN, "^-."),
    ("#CC79A7", "D:"),
    ("#E69F00", "v-"),
    ("#56B4E9", "P--"),
    (BLACK, "X-."),
)
#: Width of the text of a two-column page, inches.
PAGE_WIDTH = 7.16


@dataclass(frozen=True, eq=False)
class TrajectoryCurves:
    """What the climb does to the score and to the seeds, over the S steps.

    Args:
        score: Mean class score before softmax or sigmoid, (S,).
        rival: Mean score of the strongest other class, (S,).
        fixed, oracle: mIoU, precision and recall of the foreground at the fixed threshold, and at the threshold of
            the best mIoU of each step, percent, each (S, 3).
        threshold: The fixed threshold.
    """

    score: Numbers
    rival: Numbers
    fixed: Numbers
    oracle: Numbers
    threshold: float


@dataclass(frozen=True, eq=False)
class AmplificationCurves:
    """Amplification of both regions in one run; rows are climbs.

    Args:
        title: Of the panel, such as "λ = 0".
        discriminative, non_discriminative: Ratio of the sums, (climbs, S).
        discriminative_mean, non_discriminative_mean: Mean of the ratios, (climbs, S).
    """

    title: str
    discriminative: Numbers
    non_discriminative: Numbers
    discriminative_mean: Numbers
    non_discriminative_mean: Numbers


@dataclass(frozen=True, eq=False)
class LandscapePlanes:
    """Loss around one picture on the two planes.

    Args:
        title: Picture and class.
        grid: Coordinates on both axes, in lengths of the climb, (P,).
        climb, attack: Loss, [first axis, second axis], (P, P).
    """

    title: str
    grid: Numbers
    climb: Numbers
    attack: Numbers


@dataclass(frozen=True, eq=False)
class LandscapeLines:
    """Loss and score from the picture along the climb and along the attack; rows are climbs.

    Args:
        grid: Coordinates from 0, in lengths of the climb, (P,).
        loss_name: Of the vertical axis.
        climb_loss, attack_loss, climb_score, attack_score: (climbs, P).
    """

    grid: Numbers
    loss_name: str
    climb_loss: Numbers
    attack_loss: Numbers
    climb_score: Numbers
    attack_score: Numbers


@dataclass(frozen=True, eq=False)
class StepsPanel:
    """mIoU of the seeds at the best threshold of each step, for several values of one constant.

    Args:
        title: The constant.
        labels: Its values.
        miou: Percent, (S,) each; runs may differ in length.
    """

    title: str
    labels: Sequence[str]
    miou: Sequence[Numbers]


@dataclass(frozen=True)
class SweepPanel:
    """mIoU of the seeds over the values of one constant.

    Args:
        name: Of the constant, for the horizontal axis.
        values: As written at the axis, in order.
        oracle, fixed: mIoU at the best and at the fixed threshold, percent.
        chosen: Index of the base setting among the values, None if it is not there.
    """

    name: str
    values: Sequence[str]
    oracle: Sequence[float]
    fixed: Sequence[float]
    chosen: int | None


def render(figure: Figure, file_format: Literal["png", "pdf"]) -> bytes:
    """The figure as a file of 300 dots per inch or vectors, without the time of writing: equal data, equal bytes."""
    buffer = io.BytesIO()
    with _style():
        figure.savefig(buffer, format=file_format, metadata={"CreationDate": None} if file_format == "pdf" else {})
    return buffer.getvalue()


def trajectory_figure(curves: TrajectoryCurves) -> Figure:
    """Class score, mIoU, precision and recall over the steps."""
    with _panels([1] * 4, 2.2) as (figure, (scores, *seeds)):
        _steps(scores, "class score (before softmax)")
        _line(scores, curves.score, "climbed class", BLACK, "o-")
        _line(scores, curves.rival, "strongest other class", GREY, "s--")
        for column, (axes, name) in enumerate(
            zip(seeds, ("mIoU (%)", "foreground precision (%)", "foreground recall (%)"), strict=True)
        ):
            _steps(axes, name)
            _line(axes, curves.oracle[:, column], BEST_THRESHOLD, BLUE, "o-")
            _line(axes, curves.fixed[:, column], f"threshold {curves.threshold:g}", VERMILION, "s--")
        _legend_below(figure, scores, seeds[0])
    return figure


def amplification_figure(panels: Sequence[AmplificationCurves]) -> Figure:
    """Median amplification over the climbs, quartiles shaded; one panel a run, one vertical axis for all."""
    with _panels([1] * len(panels), 2.3, share_y=True) as (figure, row):
        for axes, curves in zip(row, panels, strict=True):
            _steps(axes, "amplification" if axes is row[0] else "")
            axes.set_yscale("log", base=2)
            axes.yaxis.set_major_formatter("{x:g}")
            axes.set_title(curves.title)
            axes.axhline(1, color=GREY, linewidth=0.7)
            for values, means, name, colour, marker in (
                (curves.non_discriminative, curves.non_discriminative_mean, "$R_{ND}$", VERMILION, "s"),
                (curves.discriminative, curves.discriminative_mean, "$R_D$", BLUE, "o"),
            ):
                _median_and_quartiles(axes, values, f"{name}, ratio of sums", colour, f"{marker}-")
                _line(axes, np.nanmedian(means, axis=0), f"{name}, mean of ratios", colour, f"{marker}:")
        _legend_below(figure, row[0])
    return figure


def landscape_figure(rows: Sequence[LandscapePlanes], loss_name: str) -> Figure:
    """Contours of the loss on the plane of the climb and on that of the attack; the two share levels and colours."""
    with _style():
        figure = _figure(PAGE_WIDTH * 0.7, 2.2 * len(rows) + 0.3)
        grid = figure.subplots(len(rows), 2, squeeze=False, sharex=True, sharey=True)
        for row, planes in zip(grid, rows, strict=True):
            levels = _levels(planes)
            for axes, loss in ((row[0], planes.climb), (row[1], planes.attack)):
                _contours(axes, planes.grid, loss, levels)
            _mark(row[0], 1, "$x^T$")
            row[0].set_title(_plain(planes.title), loc="left")
            row[0].set_ylabel("random direction")
            bar = figure.colorbar(row[0].collections[0], ax=list(row), shrink=0.9, pad=0.02)
            bar.set_label(loss_name)
        grid[-1][0].set_xlabel("along the climb (climb lengths)")
        grid[-1][1].set_xlabel("along the attack (climb lengths)")
    return figure


def lines_figure(lines: LandscapeLines) -> Figure:
    """Loss and class score ahead of the picture, along the climb and along the attack: each climb and their median."""
    with _panels([1, 1], 2.3) as (figure, (loss, score)):
        for axes, climb, attack, name in (
            (loss, lines.climb_loss, lines.attack_loss, lines.loss_name),
            (score, lines.climb_score, lines.attack_score, "class score (before softmax)"),
        ):
            axes.set_xlabel("distance from the picture (climb lengths)")
            axes.set_ylabel(name)
            for values, direction, colour, dashes in ((attack, "attack", VERMILION, "--"), (climb, "climb", BLUE, "-")):
                axes.plot(lines.grid, values.T, color=colour, linewidth=0.6, alpha=0.4)
                label = f"along the {direction} (median)"
                axes.plot(lines.grid, np.median(values, axis=0), dashes, color=colour, label=label, linewidth=2)
        _legend_below(figure, loss)
    return figure


def steps_figure(panels: Sequence[StepsPanel]) -> Figure:
    """mIoU at the best threshold over the steps; one panel a constant, one line a value, one vertical axis for all."""
    with _panels([1] * len(panels), 2.4, share_y=True) as (figure, row):
        for axes, panel in zip(row, panels, strict=True):
            _steps(axes, "mIoU at the best threshold (%)" if axes is row[0] else "")
            for curve, label, look in zip(panel.miou, panel.labels, cycle(LOOKS), strict=False):
                _line(axes, curve, label, *look)
            axes.legend(title=panel.title, title_fontsize=7)
    return figure


def sweeps_figure(panels: Sequence[SweepPanel], threshold: float) -> Figure:
    """mIoU over the values of each constant, the others at their base values; hollow rings mark the base setting."""
    with _panels([_room(panel) for panel in panels], 2.2, share_y=True) as (figure, row):
        for axes, panel in zip(row, panels, strict=True):
            places = np.arange(len(panel.values))
            for found, name, colour, style in (
                (panel.oracle, BEST_THRESHOLD, BLUE, "o-"),
                (panel.fixed, f"threshold {threshold:g}", VERMILION, "s--"),
            ):
                axes.plot(places, found, style, color=colour, label=name)
                if panel.chosen is not None:
                    ring = (panel.chosen, found[panel.chosen])
                    axes.plot(*ring, "o", markersize=9, markerfacecolor="none", markeredgecolor="black")
            axes.set_xlabel(panel.name)
            shown = places[:: _thinning(panel)]
            axes.set_xticks(shown, [panel.values[i] for i in shown])
            axes.margins(x=0.12)
        row[0].set_ylabel("mIoU (%)")
        _legend_below(figure, row[0])
    return figure


def _style() -> AbstractContextManager[None]:
    """Fonts and lines of all figures, while it lasts."""
    return rc_context(
        {
            "font.family": "DejaVu Sans",
            "font.size": 8,
            "axes.labelsize": 8,
            "axes.titlesize": 8,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.linewidth": 0.7,
            "legend.fontsize": 7,
            "legend.frameon": False,
            "lines.linewidth": 1.4,
            "lines.markersize": 3.5,
            "xtick.labelsize": 7,
            "ytick.labelsize": 7,
            "mathtext.fontset": "dejavusans",
            "pdf.fonttype": 42,  # TrueType: text stays text, as publishers ask
            "savefig.dpi": 300,
        }
    )


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


@contextmanager
def _panels(widths: Sequence[float], height: float, share_y: bool = False) -> Iterator[tuple[Figure, list[Axes]]]:
    """A row of panels of these relative widths over the whole page, under the style of this file."""
    with _style():
        figure = _figure(PAGE_WIDTH, height)
        row = list(figure.subplots(1, len(widths), squeeze=False, sharey=share_y, width_ratios=widths)[0])
        yield figure, row


def _steps(axes: Axes, name: str) -> None:
    axes.set_xlabel("step $t$")
    axes.set_ylabel(name)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _line(axes: Axes, values: Numbers, label: str, colour: str, style: str) -> None:
    axes.plot(np.arange(len(values)), values, style, color=colour, label=label)


def _median_and_quartiles(axes: Axes, values: Numbers, label: str, colour: str, style: str) -> None:
    low, middle, high = np.nanpercentile(values, (25, 50, 75), axis=0)
    _line(axes, middle, label, colour, style)
    axes.fill_between(np.arange(len(middle)), low, high, color=colour, alpha=0.15, linewidth=0)


def _legend_below(figure: Figure, *panels: Axes) -> None:
    entries = [entry for axes in panels for entry in zip(*axes.get_legend_handles_labels(), strict=True)]
    handles, labels = zip(*entries, strict=True)
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))


def _thinning(panel: SweepPanel) -> int:
    """Every how many values the axis names one."""
    return max(1, len(panel.values) // 6)


def _room(panel: SweepPanel) -> float:
    """Width of a panel by the letters under its axis."""
    return max(12, sum(len(value) + 2 for value in panel.values[:: _thinning(panel)]))


def _contours(axes: Axes, grid: Numbers, loss: Numbers, levels: Numbers) -> None:
    """Filled levels of a plane, the first axis across, every second one outlined."""
    axes.set_aspect("equal")
    filled = axes.contourf(grid, grid, loss.T, levels=levels, cmap="cividis")
    filled.set_edgecolor("face")  # else PDF viewers show white seams between the levels
    axes.contour(grid, grid, loss.T, levels=levels[2:-1:2], colors="white", linewidths=0.4)
    _mark(axes, 0, "$x^0$")


def _mark(axes: Axes, place: float, name: str) -> None:
    """A point on the first axis, with its name to the left above it."""
    axes.plot([place], [0], "o", color="white", markeredgecolor="black", markersize=4.5, clip_on=False)
    text = axes.annotate(name, (place, 0), (-4, 4), textcoords="offset points", color="white", ha="right")
    text.set_path_effects([withStroke(linewidth=1.5, foreground="black")])  # readable on light levels too


def _plain(title: str) -> str:
    """Names as they are: no formula between dollar signs, and the end of one that is wider than the figure."""
    shown = title if len(title) <= 64 else "..." + title[-61:]
    return shown.replace("$", r"\$")


def _levels(planes: LandscapePlanes) -> Numbers:
    """Round levels, about a dozen, over both planes; a flat landscape is given a range of its own."""
    low, high = (float(f([planes.climb, planes.attack])) for f in (np.min, np.max))
    return np.asarray(MaxNLocator(12).tick_values(low, high if high - low > 1e-6 else low + 1e-6))
